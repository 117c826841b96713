/**
 * What the log costs, against what it cannot be cheaper than: a bare write with fdatasync, and bare
 * SHA-256; and against the append of `@grantex/gemma`, which is not durable. All in one run on one disk;
 * compare ratios, not figures of different days.
 *
 * `deno run -A bench/log.ts [entries]` (also with node and bun); `--big` fills ten million first, with as
 * many callers as share a write, and shows that memory stays flat: many minutes, and 4 GB of disk.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileLogStorage } from '../backends/log_fs.ts'
import { nodeSha256 } from '../backends/node_sha256.ts'
import { ALGORITHMS } from '../src/algorithms.ts'
import { generateKey } from '../src/keys/mod.ts'
import { openLog, treeHasher, verifyLog } from '../src/log/mod.ts'

const big = process.argv.includes('--big')
const entries = Number(
  process.argv.find((arg) => /^[0-9]+$/.test(arg)) ?? (big ? 10_000_000 : 100_000),
)
const CALLERS = 64
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'))
const say = (what: string, figure: number, unit: string) =>
  console.log(`${what.padEnd(52)} ${figure.toFixed(figure < 10 ? 2 : 0).padStart(10)} ${unit}`)
const event = (i: number) => ({
  type: 'tool.call',
  actor: 'did:example:agent-7',
  action: 'calendar.read',
  outcome: 'ok',
  ref: 'grant-01HXYZ',
  data: { i, rows: 12 },
})

const key = await generateKey(ALGORITHMS['Ed25519'])
const storage = fileLogStorage(join(folder, 'log'))
const log = await openLog(storage, key, { origin: 'example.com/bench', sha256: nodeSha256 })

// One caller that waits for each entry, in turns with the bare write, because a disk has moods.
const bare: number[] = []
const single: number[] = []
const handle = await open(join(folder, 'bare'), 'w')
const line = new Uint8Array(330)
const timed = async (into: number[], work: () => Promise<unknown>) => {
  const from = performance.now()
  await work()
  into.push((performance.now() - from) * 1000)
}
for (let i = 0; i < 1500; i++) {
  await timed(bare, async () => {
    await handle.write(line)
    await handle.datasync()
  })
  await timed(single, () => log.append(event(i)))
}
await handle.close()
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!
say('bare write + fdatasync', median(bare), 'µs')
say('single awaited durable append', median(single), 'µs')
say('  ratio (target ≤ 1.3)', median(single) / median(bare), '×')

/** Appends so many entries; gives how many a second. */
async function fill(count: number, callers: number): Promise<number> {
  let left = count
  const from = performance.now()
  await Promise.all(Array.from({ length: callers }, async () => {
    while (left-- > 0) await log.append(event(left))
  }))
  return count / (performance.now() - from) * 1000
}

// In turns, again; ours waits for the disk, theirs does not.
const theirs = await gemma(join(folder, 'gemma.jsonl'))
const rates = { ours: 0, theirs: 0 }
const ROUNDS = 4
const part = Math.ceil(Math.min(entries, 100_000) / ROUNDS)
for (let round = 0; round < ROUNDS; round++) {
  rates.ours += await fill(part, CALLERS) / ROUNDS
  rates.theirs += await theirs(500) / ROUNDS
}
say('durable appends, 64 callers (target ≥ 20 000)', rates.ours, '/s')
say('@grantex/gemma 0.1.1, appends that are not durable', rates.theirs, '/s')
say('  ratio (target ≥ 10)', rates.ours / rates.theirs, '×')
const memory = () =>
  say(`resident memory at ${log.size} entries`, process.memoryUsage().rss / 1e6, 'MB')
memory()
if (big) {
  while (log.size < entries) {
    await fill(Math.min(entries - log.size, entries / 10), 4096)
    memory()
  }
}

let at = performance.now()
await log.checkpoint()
say('publish', performance.now() - at, 'ms')
const proofs: number[] = []
for (let i = 0; i < 200; i++) {
  at = performance.now()
  await log.prove(Math.floor(Math.random() * log.size))
  proofs.push(performance.now() - at)
}
say(`proof of one of ${log.size} entries, median`, median(proofs), 'ms')
say('  slowest', Math.max(...proofs), 'ms')
const head = await log.checkpoint()
await log.close()
if (big) {
  rmSync(folder, { recursive: true })
  process.exit() // verification is measured on less
}
const hasher = treeHasher(nodeSha256)
const bodies: Uint8Array[] = []
at = performance.now()
const report = await verifyLog(storage, head, { hasher, onEntry: (_, entry) => bodies.push(entry) })
const verify = performance.now() - at
if (!report.whole) throw report.faults[0]
// The least that it can cost: the leaves, and one node for each.
const pair = new Uint8Array(65)
at = performance.now()
for (const body of bodies) {
  nodeSha256(body)
  nodeSha256(pair)
}
const hashing = performance.now() - at
say('full verification (target ≥ 300 000)', head.size / verify * 1000, 'leaves/s')
say('  against bare SHA-256 of the same (target ≥ 0.5)', hashing / verify, '×')
rmSync(folder, { recursive: true })

/** Appends so many entries to a log of `@grantex/gemma`, one after the other as its chain wants; gives the rate. */
async function gemma(logPath: string): Promise<(count: number) => Promise<number>> {
  const { createOfflineAuditLog } = await import('@grantex/gemma')
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const signingKey = { publicKey, privateKey, algorithm: 'Ed25519' }
  const theirs = createOfflineAuditLog({ signingKey, logPath })
  return async (count) => {
    const from = performance.now()
    for (let i = 0; i < count; i++) {
      await theirs.append({
        action: 'calendar.read',
        agentDID: 'did:example:agent-7',
        grantId: 'grant-01HXYZ',
        scopes: ['calendar:read'],
        result: 'success',
        metadata: { i, rows: 12 },
      })
    }
    return count / (performance.now() - from) * 1000
  }
}
