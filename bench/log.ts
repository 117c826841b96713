/**
 * What the log costs, against what it cannot be cheaper than: a bare write with fdatasync, and bare
 * SHA-256. All in one run on one disk; compare ratios, not figures of different days.
 *
 * `deno run -A bench/log.ts [entries]` (also with node and bun)
 */
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

const entries = Number(process.argv[2] ?? 100_000)
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

let left = entries
const from = performance.now()
await Promise.all(Array.from({ length: 64 }, async () => {
  while (left-- > 0) await log.append(event(left))
}))
const seconds = (performance.now() - from) / 1000
say('durable appends, 64 callers (target ≥ 20 000)', entries / seconds, '/s')
say('resident memory', process.memoryUsage().rss / 1e6, 'MB')

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
