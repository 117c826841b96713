/** Ours and the reference implementation's seals, each verified by both. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { folderTree } from '../../backends/fs.ts'
import {
  ALGORITHMS,
  isSignetError,
  type Key,
  readPrivateKey,
  sealModel,
  type SealOptions,
  toPublicPem,
  trustKeys,
  verifyModel,
} from '../../mod.ts'
import { fromBase64, toBase64 } from '../../src/bytes.ts'
import { generateRaw } from '../../src/crypto/mod.ts'
import { insecureToClearPem } from '../../src/keys/mod.ts'
import { type BundleJson, bytesOf, jsonOf } from '../core/_seals.ts'
import { type Job, reference, referenceTest } from './_model_signing.ts'
import { inTemp } from './_temp.ts'

/** Names that sort, quote and encode in different ways, but for those that one of the two refuses. */
const AWKWARD = {
  'config.json': '{}\n',
  'sub/vocab.txt': 'a\nb\n',
  'sub-2/x.bin': 'component order puts this behind sub/, code-point order before',
  'sub.txt': 'x',
  'Z': 'x',
  'é.txt': 'composed',
  'e\u0301\u0302': 'decomposed',
  '模型 ü/wei ghts.bin': 'x'.repeat(100_000),
  '\u{1f600}.bin': 'astral, in UTF-16 before the next',
  '\uffee.bin': 'not astral',
  '.hidden/.x': '',
  'empty': '',
  '-rf': '',
  'it\'s "quoted" $HOME `x`': 'x',
  '%2e%2e': 'x',
  'a+b=c&d': 'x',
  '...': 'x',
}
/** The reference splits the names of shards at every colon, and fails on these. */
const COLONS = { 'path:with:colons:0:10': 'x', 'C:': 'x' }
const IGNORED = { '.gitignore': 'x', '.git/HEAD': 'x', '.gitattributes': '' }

function write(folder: string, files: Readonly<Record<string, string>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

/** A key on disk as the reference wants it, and here. */
async function keyIn(folder: string, name: 'ES256' | 'ES384' | 'ES512') {
  const pem = insecureToClearPem(ALGORITHMS[name], await generateRaw(ALGORITHMS[name]))
  const key = await readPrivateKey(pem, { insecureClearKey: true })
  const [privatePath, publicPath] = [join(folder, `${name}.pem`), join(folder, `${name}.pub`)]
  writeFileSync(privatePath, pem)
  writeFileSync(publicPath, toPublicPem(key.publicKey))
  return { key, privatePath, publicPath }
}

async function seal(model: string, bundle: string, key: Key, options: Partial<SealOptions> = {}) {
  const { bundles } = await sealModel(folderTree(model), [{ key }], { name: 'tiny', ...options })
  writeFileSync(bundle, bundles[0]!)
}

/** Our verdict: `ok`, `differs`, or a code. */
async function verdict(model: string, bundle: string, key: Key): Promise<string> {
  try {
    const bytes = new Uint8Array(readFileSync(bundle))
    const trust = trustKeys(key.publicKey)
    const { ok } = await verifyModel([{ name: 'seal', bytes }], folderTree(model), trust)
    return ok ? 'ok' : 'differs'
  } catch (error) {
    if (!isSignetError(error)) throw error
    return error.code
  }
}

const cliVerify = (
  model: string,
  bundle: string,
  key: string,
): Job => ['cli', 'verify', 'key', model, '--signature', bundle, '--public_key', key]
const cliSign = (
  model: string,
  bundle: string,
  key: string,
): Job => ['cli', 'sign', 'key', model, '--signature', bundle, '--private_key', key]

const CURVES = ['ES256', 'ES384', 'ES512'] as const

referenceTest(
  'the reference verifies what we seal, on every curve, with metadata and sizes',
  () =>
    inTemp(async (folder) => {
      const model = write(join(folder, 'model'), { ...AWKWARD, ...COLONS, ...IGNORED })
      const metadata = { version: '1', framework: 'pytorch', author: 'Zoë', description: 'd' }
      const jobs: Job[] = []
      for (const name of CURVES) {
        const { key, publicPath } = await keyIn(folder, name)
        const bundle = join(folder, `${name}.sig`)
        await seal(model, bundle, key, { metadata })
        assert.equal(await verdict(model, bundle, key), 'ok')
        jobs.push(cliVerify(model, bundle, publicPath), ['verify', model, bundle, publicPath])
      }
      assert.deepEqual(reference(jobs), jobs.map(() => ({ ok: true, error: '' })))
      // The reference looks, so its yes means something.
      writeFileSync(join(model, 'Z'), 'y')
      for (const { ok, error } of reference(jobs)) {
        assert.ok(!ok)
        assert.match(error, /Hash mismatch for \W+Z\W+:/)
      }
    }),
)

referenceTest(
  'the reference verifies a bundle of ours that lies in the model, and paths left out',
  () =>
    inTemp(async (folder) => {
      const { key, publicPath } = await keyIn(folder, 'ES256')
      const model = write(join(folder, 'model'), { ...AWKWARD, 'cache/x': 'x' })
      const bundle = join(model, 'model.sig')
      await seal(model, bundle, key, { ignore: ['cache', 'model.sig'] })
      writeFileSync(join(model, 'cache/y'), 'later')
      assert.equal(await verdict(model, bundle, key), 'ok')
      const [done] = reference([cliVerify(model, bundle, publicPath)])
      assert.deepEqual(done, { ok: true, error: '' })
    }),
)

referenceTest(
  'the reference verifies our BLAKE3, and no shards but its own',
  () =>
    inTemp(async (folder) => {
      const { key, publicPath } = await keyIn(folder, 'ES256')
      const model = write(join(folder, 'model'), AWKWARD)
      const bundle = join(folder, 'seal.sig')
      await seal(model, bundle, key, { hash: 'blake3' })
      const [blake3] = reference([['verify', model, bundle, publicPath]])
      assert.deepEqual(blake3, { ok: true, error: '' })
      // It calls the digest of a shard "sha256-sharded-4096", which the schema of OMS v1.0 does not know.
      await seal(model, bundle, key, { method: 'shards', shardSize: 4096 })
      const [shards] = reference([['verify', model, bundle, publicPath]])
      assert.ok(!shards!.ok)
      assert.match(
        shards!.error,
        /algorithm=\W+sha256\W+, [^]*algorithm=\W+sha256-sharded-4096\W+,/,
      )
    }),
)

referenceTest(
  'we verify what the reference seals, by every method that it has',
  () =>
    inTemp(async (folder) => {
      const model = write(join(folder, 'model'), { ...AWKWARD, ...IGNORED })
      const jobs: Job[] = []
      const checks: (() => Promise<string>)[] = []
      for (const name of CURVES) {
        const { key, privatePath } = await keyIn(folder, name)
        const bundle = (what: string) => {
          const path = join(folder, `${name}-${what}.sig`)
          checks.push(() => verdict(model, path, key))
          return path
        }
        jobs.push(cliSign(model, bundle('cli'), privatePath))
        for (const digest of ['sha256', 'blake2', 'blake3']) {
          jobs.push(['sign', 'files', digest, 0, model, bundle(digest), privatePath])
        }
        jobs.push(['sign', 'shards', 'sha256', 4096, model, bundle('shards'), privatePath])
        jobs.push(['sign', 'shards', 'blake2', 100, model, bundle('blake-shards'), privatePath])
      }
      assert.deepEqual(reference(jobs), jobs.map(() => ({ ok: true, error: '' })))
      for (const [i, check] of checks.entries()) assert.equal(await check(), 'ok', String(jobs[i]))
      writeFileSync(join(model, '.hidden/.x'), 'no longer empty')
      for (const [i, check] of checks.entries()) {
        assert.equal(await check(), 'differs', String(jobs[i]))
      }
    }),
)

referenceTest(
  'a model of one file: each verifies the other, but for the name that the reference gives it',
  () =>
    inTemp(async (folder) => {
      const { key, privatePath, publicPath } = await keyIn(folder, 'ES256')
      const whole = write(join(folder, 'model'), { 'weights.bin': 'weights' })
      const model = join(whole, 'weights.bin')
      const [ours, theirs] = [join(folder, 'ours.sig'), join(folder, 'theirs.sig')]
      await seal(model, ours, key)
      const [signed, verified, asFolder, asFile] = reference([
        cliSign(model, theirs, privatePath),
        cliVerify(model, theirs, publicPath),
        cliVerify(whole, ours, publicPath),
        cliVerify(model, ours, publicPath),
      ])
      assert.deepEqual([signed, verified, asFolder].map((done) => done!.error), ['', '', ''])
      // It looks for the name "." where OMS v1.0 §5.2.1 has the name of the file.
      assert.match(asFile!.error, /Extra files found in model 'weights.bin': \./)
      for (const path of [model, whole]) assert.equal(await verdict(path, theirs, key), 'ok')
      for (const path of [model, whole]) assert.equal(await verdict(path, ours, key), 'ok')
      writeFileSync(model, 'Weights')
      assert.equal(await verdict(model, theirs, key), 'differs')
    }),
)

/** Numbers below `limit` in an order that depends on the seed alone. */
function random(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5 | 0
    return ((state ^ (state >>> 13)) >>> 0) % limit
  }
}

const FILES = {
  'config.json': '{"d":8}',
  'sub/a': 'aaa',
  'sub-2/b': 'bbb',
  'weights.bin': 'weights',
}

/** Does something to a model and a seal; says whether both should still hold. */
type Mutation = (
  model: string,
  bundle: BundleJson,
  pick: (limit: number) => number,
) => boolean | void

const flip = (field: string, bundle: Record<string, unknown>, pick: (limit: number) => number) => {
  const bytes = fromBase64(String(bundle[field]))
  bytes[pick(bytes.length)]! ^= 1 << pick(8)
  bundle[field] = toBase64(bytes)
}
const anyFile = (pick: (limit: number) => number) => Object.keys(FILES)[pick(4)]!

const MUTATIONS: Readonly<Record<string, readonly [times: number, Mutation]>> = {
  'nothing': [1, () => true],
  'a bit of the payload': [8, (_, { dsseEnvelope }, pick) => flip('payload', dsseEnvelope, pick)],
  'a bit of the signature': [
    6,
    (_, { dsseEnvelope }, pick) => flip('sig', dsseEnvelope.signatures[0]!, pick),
  ],
  'a bit of a file': [4, (model, _, pick) => {
    const path = join(model, anyFile(pick))
    const bytes = readFileSync(path)
    bytes[pick(bytes.length)]! ^= 1 << pick(8)
    writeFileSync(path, bytes)
  }],
  'a byte behind a file': [
    1,
    (model, _, pick) => writeFileSync(join(model, anyFile(pick)), 'x', { flag: 'a' }),
  ],
  'a file gone': [2, (model, _, pick) => rmSync(join(model, anyFile(pick)))],
  'a file more': [1, (model) => writeFileSync(join(model, 'evil.py'), 'import os')],
  'a file more in a folder': [1, (model) => writeFileSync(join(model, 'sub/evil.py'), '')],
  'a file renamed': [1, (model) => renameSync(join(model, 'sub/a'), join(model, 'sub/A'))],
  'two files swapped': [1, (model) => {
    writeFileSync(join(model, 'sub/a'), FILES['sub-2/b'])
    writeFileSync(join(model, 'sub-2/b'), FILES['sub/a'])
  }],
  'a file under .git': [1, (model) => {
    write(model, { '.git/hooks/x': '' })
    return true
  }],
  'another hint': [1, (_, bundle) => {
    bundle.verificationMaterial.publicKey = { hint: '00'.repeat(32) }
  }],
  'no hint': [1, (_, bundle) => {
    bundle.verificationMaterial.publicKey = { hint: '' }
    return true
  }],
  'no log entries': [1, (_, bundle) => {
    delete bundle.verificationMaterial.tlogEntries
    return true
  }],
  'another key id': [1, (_, { dsseEnvelope }) => {
    dsseEnvelope.signatures[0]!.keyid = 'ceo@bigbank.example'
    return true
  }],
  'no signature': [1, (_, { dsseEnvelope }) => void (dsseEnvelope.signatures = [])],
  'a foreign signature first': [1, (_, { dsseEnvelope }) => {
    dsseEnvelope.signatures.unshift({ sig: 'MAYCAQECAQE=', keyid: '' })
  }],
  'another payload type': [
    1,
    (_, { dsseEnvelope }) => void (dsseEnvelope.payloadType = 'text/plain'),
  ],
  'another media type': [
    1,
    (_, bundle) => void (bundle.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.2'),
  ],
  'a member more': [1, (_, bundle) => void (bundle.extra = 1)],
}

for (const sealer of ['us', 'the reference'] as const) {
  referenceTest(
    `what is tampered with after ${sealer} sealed it both refuse`,
    () =>
      inTemp(async (folder) => {
        const { key, privatePath, publicPath } = await keyIn(folder, 'ES256')
        const model = write(join(folder, 'model'), FILES)
        const sealed = join(folder, 'sealed.sig')
        if (sealer === 'us') await seal(model, sealed, key)
        else assert.ok(reference([cliSign(model, sealed, privatePath)])[0]!.ok)

        const pick = random(20261121)
        const cases: { what: string; ok: boolean; ours: string; job: Job }[] = []
        for (const [name, [times, mutate]] of Object.entries(MUTATIONS)) {
          for (let i = 0; i < times; i++) {
            const at = join(folder, `case-${cases.length}`)
            cpSync(model, join(at, 'model'), { recursive: true })
            const json = jsonOf(new Uint8Array(readFileSync(sealed)))
            const ok = mutate(join(at, 'model'), json, pick) ?? false
            const bundle = join(at, 'seal.sig')
            writeFileSync(bundle, bytesOf(json))
            const ours = await verdict(join(at, 'model'), bundle, key)
            const job = cliVerify(join(at, 'model'), bundle, publicPath)
            cases.push({ what: `${name}, time ${i + 1}`, ok, ours, job })
          }
        }
        const theirs = reference(cases.map(({ job }) => job))
        for (const [i, { what, ok, ours }] of cases.entries()) {
          assert.equal(ours === 'ok', ok, `${what}: we say ${ours}`)
          assert.equal(theirs[i]!.ok, ok, `${what}: the reference says ${theirs[i]!.error}`)
        }
        assert.ok(cases.length > 30)
      }),
  )
}
