/** Certificate seals, to and from OpenSSF's `model_signing`, the reference implementation. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import {
  formatBundle,
  importKey,
  parseBundle,
  parseCertificate,
  sealModel,
  streamTree,
  toPem,
  verifySeal,
} from '../../mod.ts'
import { equalBytes, fromBase64 } from '../../src/bytes.ts'
import { fromPkcs8 } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import vectors from '../vectors/certificates.json' with { type: 'json' }
import { inFolder, type Outcome, signet } from './_signet.ts'

const { leafKey, ...certificates } = vectors
type Name = keyof typeof certificates
const NAMES = Object.keys(certificates) as Name[]
const bytes = (name: Name) => fromBase64(certificates[name])
const pemOf = (...names: readonly Name[]) =>
  names.map((name) => toPem('CERTIFICATE', bytes(name))).join('')

const program = process.env.SIGNET_MODEL_SIGNING
const isAbsent = program === undefined || !existsSync(program)
const skip = isAbsent && process.env.CI !== 'true' &&
  'SIGNET_MODEL_SIGNING names no model_signing program'

function stockTest(name: string, work: (folder: string) => unknown): void {
  test(`model_signing: ${name}`, { skip, timeout: 120_000 }, () => {
    if (isAbsent) throw new Error('SIGNET_MODEL_SIGNING names no model_signing program')
    return inFolder(work)
  })
}

function run(cwd: string, command: string, ...args: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  return { code: status, out: stdout, err: stderr }
}

/** Model, key, certificates and roots, in files. The model is a folder: of a file alone the two disagree on the name. */
function lay(folder: string): void {
  const files = {
    'model/weights.bin': 'w'.repeat(1000),
    'leaf.pem': pemOf('leaf'),
    'intermediate.pem': pemOf('intermediate'),
    'chain.pem': pemOf('leaf', 'intermediate'),
    'root.pem': pemOf('root'),
    'other.pem': pemOf('rootRsa'),
    'key.pem': toPem('PRIVATE KEY', fromBase64(leafKey)),
  }
  mkdirSync(join(folder, 'model'))
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
  }
}

const OURS = ['model', 'sign', 'model', '--key', 'key.pem', '--insecure-clear-key'] as const
const THEIRS = [
  ...['sign', 'certificate', 'model', '--signature', 'their.sig'],
  ...['--private_key', 'key.pem', '--signing_certificate', 'leaf.pem'],
  ...['--certificate_chain', 'intermediate.pem'],
]

stockTest('a seal of ours verifies there under its root, and under no other', (folder) => {
  lay(folder)
  const sealed = signet(folder, ...OURS, '--certificate', 'chain.pem', '--out', 'our.sig')
  assert.equal(sealed.code, 0, sealed.err)
  const verify = (root: string) =>
    run(
      folder,
      program!,
      ...['verify', 'certificate', 'model', '--signature', 'our.sig'],
      ...['--certificate_chain', root],
    )
  const ok = verify('root.pem')
  assert.equal(ok.code, 0, ok.err)
  assert.equal(verify('other.pem').code, 1)
  writeFileSync(join(folder, 'model', 'weights.bin'), 'v'.repeat(1000))
  assert.equal(verify('root.pem').code, 1)
})

stockTest('a seal of theirs verifies here under its root, and under no other', (folder) => {
  lay(folder)
  const sealed = run(folder, program!, ...THEIRS)
  assert.equal(sealed.code, 0, sealed.err)
  const verify = (root: string, ...more: string[]) =>
    signet(folder, 'model', 'verify', 'model', '--signature', 'their.sig', '--root', root, ...more)
  const ok = verify('root.pem')
  assert.equal(ok.code, 0, ok.err)
  assert.match(ok.out, /CN=leaf,O=Good/)
  assert.equal(verify('root.pem', '--identity', 'CN=leaf,O=Good').code, 0)
  const stranger = verify('root.pem', '--identity', 'CN=somebody,O=Good')
  assert.equal(stranger.code, 4)
  assert.match(stranger.err, /CN=leaf,O=Good.*signer_untrusted/)
  assert.equal(verify('other.pem').code, 4)
  writeFileSync(join(folder, 'model', 'weights.bin'), 'v'.repeat(1000))
  assert.equal(verify('root.pem').code, 5)
})

test('a certificate of another key is refused before anything is sealed', () =>
  inFolder((folder) => {
    lay(folder)
    writeFileSync(join(folder, 'chain.pem'), pemOf('rsa256', 'rsaCa'))
    const sealed = signet(folder, ...OURS, '--certificate', 'chain.pem', '--out', 'our.sig')
    assert.equal(sealed.code, 2, sealed.err)
    assert.match(sealed.err, /key_mismatch/)
    assert.ok(!existsSync(join(folder, 'our.sig')))
  }))

/** What the reference takes and we do not, each with what we say. There is nothing the other way round. */
const STRICTER: Partial<Record<Name, RegExp>> = {
  server: /does not allow code signing/,
  anyUsage: /does not allow code signing/,
  agreement: /does not allow digital signatures/,
  caForServers: /extended key usage/,
  caLeaf: /it is a CA/,
  certSignWithoutCa: /is not a CA/,
  expired: /it expired/,
  expiredCa: /it expired/,
  sha1: /SHA-1/,
  weak: /1024 bits/,
  long: /more than 8 certificates/,
  ofNamelessCa: /names no issuer/,
  ncOfLeaf: /constrains names/,
  ncMany: /too many names/,
  ncBoxLess: /can't be judged/,
  ncBoxQuoted: /can't be judged/,
  ncDnsAddress: /can't be judged/,
  ncDnsWildcard: /can't be judged/,
  ncWildcard: /can't be judged/,
}

const ROOTS = ['root', 'rootRsa', 'rootEd25519', 'rootWeak'] as const

/** A leaf and those of the vectors that its key identifiers lead to, without the roots. */
function chainOf(leaf: Name): Name[] {
  const chain = [leaf]
  for (;;) {
    const id = parseCertificate(bytes(chain.at(-1)!)).extensions.authorityKeyId?.keyId
    const issuer = NAMES.find((name) =>
      id !== undefined && !chain.includes(name) &&
      parseCertificate(bytes(name)).extensions.subjectKeyId === id
    )
    if (issuer === undefined || (ROOTS as readonly Name[]).includes(issuer)) return chain
    chain.push(issuer)
  }
}

const VERDICTS = `
import json, logging, pathlib, sys
logging.disable()
from model_signing import verifying
verdicts = {}
for bundle in pathlib.Path('.').glob('*.sig'):
    config = verifying.Config().use_certificate_verifier(certificate_chain=[pathlib.Path('roots.pem')])
    try:
        config.verify(pathlib.Path('model'), bundle)
        verdicts[bundle.stem] = True
    except Exception as error:
        verdicts[bundle.stem] = False
print(json.dumps(verdicts))
`

stockTest('it takes every chain that we take; what else it takes is known', async (folder) => {
  lay(folder)
  writeFileSync(join(folder, 'roots.pem'), pemOf(...ROOTS))
  const { algorithm, privateKey, publicKey } = fromPkcs8(fromBase64(leafKey))
  const key = await importKey(algorithm, { privateKey, publicKey: publicKey! })
  const tree = streamTree(new Map([['weights.bin', new Uint8Array(1000).fill(0x77)]]))
  const sealer = { key, chain: [bytes('leaf')] }
  const { bundles } = await sealModel(tree, [sealer], { name: 'model' })
  const { envelope } = parseBundle(bundles[0]!)
  const trust = { signers: [], roots: ROOTS.map((name) => ({ certificate: bytes(name) })) }
  const now = Date.parse('2030-01-01T00:00:00Z') / 1000

  const { spki } = parseCertificate(bytes('leaf'))
  const leaves = NAMES.filter((name) => equalBytes(parseCertificate(bytes(name)).spki, spki))
  const ours: Partial<Record<Name, string>> = {}
  for (const leaf of leaves) {
    const chain = chainOf(leaf).map(bytes)
    const bundle = formatBundle({ material: { method: 'certificate', chain }, envelope })
    writeFileSync(join(folder, `${leaf}.sig`), bundle)
    try {
      await verifySeal(bundle, trust, { now })
      ours[leaf] = 'taken'
    } catch (error) {
      assert.ok(isSignetError(error), String(error))
      ours[leaf] = error.message
    }
  }
  const python = run(folder, join(dirname(program!), 'python'), '-c', VERDICTS)
  assert.equal(python.code, 0, python.err)
  const theirs = JSON.parse(python.out) as Record<Name, boolean>
  assert.equal(Object.keys(theirs).length, leaves.length)
  for (const leaf of leaves) {
    const reason = STRICTER[leaf]
    assert.equal(
      theirs[leaf],
      ours[leaf] === 'taken' || reason !== undefined,
      `${leaf}: ${ours[leaf]}`,
    )
    if (reason !== undefined) assert.match(ours[leaf]!, reason)
  }
  assert.ok(Object.values(theirs).includes(false) && Object.values(ours).includes('taken'))
})
