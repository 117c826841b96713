/**
 * Logs to and from others: a log of ours judged by the code of transparency.dev (Tessera's fsck and client)
 * and of Go's checksum database; a log that Tessera wrote read by ours. The program is in `bench/tessera`;
 * without Go the tests are skipped with the reason, and fail if `CI=true`.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { buildTessera, lacksGo, runTessera } from '../../bench/tessera/build.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, toBase64 } from '../../src/bytes.ts'
import { formatVkey, noteVerifier, parseVkey } from '../../src/envelope/mod.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  LOG_SCHEMES,
  LogView,
  openCheckpoint,
  openLog,
  treeHasher,
  type VerifiedCheckpoint,
  verifyProof,
} from '../../src/log/mod.ts'
import { inTemp } from './_temp.ts'

const why = lacksGo()
const skip = why !== undefined && process.env.CI !== 'true' && why
const sha256 = nodeSha256
const hasher = treeHasher(sha256)

/** A test in a fresh folder that needs the program. The first one builds it. */
function tesseraTest(name: string, fn: (folder: string, program: string) => unknown): void {
  test(name, { skip, timeout: 300_000 }, async () => {
    if (why !== undefined) throw new Error(why)
    await inTemp((folder) => fn(folder, buildTessera()))
  })
}

interface Request {
  folder: string
  vkey: string
  proofs: { index: number; entry: string; hashes: string[] }[]
  earlier: { checkpoint: string; hashes: string[] }[]
}

const SIZES = [1, 2, 255, 256, 257, 511, 65_536, 65_537, 70_000]
const INDEXES = [0, 1, 255, 256, 4711, 65_535, 65_536, 65_791, 69_887, 69_888, 69_999]

/** A log with tiles on three levels, and what others need to judge it. */
async function makeLog(folder: string): Promise<Request> {
  const storage = fileLogStorage(folder)
  const key = await generateKey(ALGORITHMS['Ed25519'])
  // Who does not know that algorithm takes the line for one of somebody else's.
  const alsoSign = [await generateKey(ALGORITHMS['ML-DSA-44'])]
  const log = await openLog(storage, key, { origin: 'example.com/tessera', sha256, alsoSign })
  const heads: VerifiedCheckpoint[] = []
  for (const size of SIZES) {
    const missing = Array.from({ length: size - log.size })
    await Promise.all(missing.map((_, i) => log.append({ type: 'test', data: `ü${i}` })))
    heads.push(await log.checkpoint())
  }
  await log.close()
  assert.deepEqual(heads.map(({ size }) => size), SIZES)
  const head = heads.pop()!
  const view = new LogView(storage, head, { hasher })
  const proofs = []
  for (const index of INDEXES) {
    const { hashes } = await view.prove(index, head)
    const entry = toBase64(await view.entry(index))
    proofs.push({ index, entry, hashes: hashes.map(toBase64) })
  }
  const earlier = []
  for (const old of heads) {
    const hashes = (await view.consistency(old)).map(toBase64)
    earlier.push({ checkpoint: old.note, hashes })
  }
  return { folder, vkey: formatVkey(log.verifiers[0]!), proofs, earlier }
}

tesseraTest(
  'others refuse what is wrong with a log of ours, and find nothing wrong with it',
  async (temp, program) => {
    const folder = join(temp, 'log')
    const request = await makeLog(folder)
    const judge = (input: Request) => runTessera(program, ['verify'], { input })

    const refuses = (what: RegExp, change: (request: Request) => void) => {
      const changed = structuredClone(request)
      change(changed)
      const { ok, err } = judge(changed)
      assert.ok(!ok, String(change))
      assert.match(err, what)
    }
    const other = await generateKey(ALGORITHMS['Ed25519'])
    const verifier = await noteVerifier('example.com/tessera', other.publicKey)
    refuses(/fsck: .*checkpoint/, (it) => it.vkey = formatVkey(verifier))
    refuses(/proof of entry 1: .*/, (it) => it.proofs[1]!.hashes.reverse())
    refuses(/proof of entry 4711: /, (it) => it.proofs[4]!.hashes.pop())
    refuses(/proof of entry 0: another entry/, (it) => it.proofs[0]!.entry = it.proofs[1]!.entry)
    refuses(/proof of entry 3: /, (it) => it.proofs[2]!.index = 3)
    refuses(/consistency: /, (it) => it.earlier[3]!.hashes = it.earlier[2]!.hashes)
    refuses(/consistency: /, (it) => it.earlier[5]!.hashes.reverse())
    refuses(/consistency: /, (it) => {
      it.earlier[6]!.checkpoint = it.earlier[6]!.checkpoint.replace('65536', '65535')
    })

    const damaged = (path: string, at: number) => {
      const whole = readFileSync(join(folder, path))
      const bad = Uint8Array.from(whole)
      bad[at]! ^= 1
      writeFileSync(join(folder, path), bad)
      refuses(/fsck: /, () => {})
      writeFileSync(join(folder, path), whole)
    }
    damaged('tile/entries/017', 100)
    damaged('tile/0/200', 8191)
    damaged('tile/0/273.p/112', 0)
    damaged('tile/1/000', 32)
    damaged('tile/1/001.p/17', 0)
    damaged('tile/2/000.p/1', 31)
    damaged('checkpoint', 25)

    const { ok, out, err } = judge(request)
    assert.ok(ok, err)
    const [inclusion, consistency] = [INDEXES.length, SIZES.length - 1]
    assert.deepEqual(JSON.parse(out), { size: 70_000, inclusion, consistency })
  },
)

tesseraTest(
  'we prove entries from a log that Tessera wrote, unless it was tampered with',
  async (folder, program) => {
    const run = runTessera(program, ['append', '-folder', folder, '-entries', '1000'])
    assert.ok(run.ok, run.err)
    const { vkey } = JSON.parse(run.out)
    const log = [await parseVkey(vkey, LOG_SCHEMES)]
    const storage = fileLogStorage(folder)
    const head = await openCheckpoint((await storage.read('checkpoint'))!, log)
    assert.equal(head.size, 1000)
    const entries = new Set<string>()
    const view = new LogView(storage, head, { hasher })
    for (const index of Array(1000).keys()) {
      const entry = await view.entry(index)
      await verifyProof(await view.prove(index, head), entry, { log, hasher })
      entries.add(fromUtf8(entry.subarray(0, 19), 'entry'))
    }
    // The callers came in no order.
    const sent = Array.from({ length: 1000 }, (_, i) => String(i + 1).padStart(19, '0'))
    assert.deepEqual([...entries].toSorted(), sent)

    const tile = join(folder, 'tile/0/002')
    const bad = readFileSync(tile)
    bad[0]! ^= 1
    writeFileSync(tile, bad)
    const again = new LogView(storage, head, { hasher })
    await assert.rejects(again.prove(600, head), { code: 'log_corrupt' })
  },
)
