/**
 * What the log costs, against what it cannot be cheaper than: a bare write with fdatasync, and bare
 * SHA-256; against the append of `@grantex/gemma`, which is not durable; and, where Go is, against Tessera's
 * log in a folder. All in one run on one disk; compare ratios, not figures of different days.
 *
 * What is waited for: our append resolves when the entry is in the journal, written and synced; tiles and
 * checkpoint follow, at most 250 ms later. Tessera has no journal: its future resolves when the entry's bundle,
 * the tiles above it and the state of the tree are each written with O_SYNC and their folders synced; the
 * checkpoint follows, at most 250 ms later as it is set here. So both survive a power cut, and Tessera's is
 * integrated besides. "Published" has our callers wait for tiles and checkpoint too, which is more than
 * Tessera's future promises.
 *
 * `deno run -A bench/log.ts [entries] [--keep folder]` (also with node and bun). With `entries` above 100 000
 * the log is filled up to so many, by as many callers as share a write, and shows that memory stays flat and
 * proofs cheap: ten million take five minutes and 2.5 GB of disk. `--keep` leaves the log and its key in a folder.
 */
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fileKeys } from '../backends/file_keys.ts'
import { fileLogStorage } from '../backends/log_fs.ts'
import { folderChecker } from '../backends/log_pool.ts'
import { nodeSha256 } from '../backends/node_sha256.ts'
import { ALGORITHMS } from '../src/algorithms.ts'
import { formatVkey } from '../src/envelope/mod.ts'
import { parseKeyUri } from '../src/keys/mod.ts'
import { openLog, treeHasher, verifyLog } from '../src/log/mod.ts'
import { buildTessera, lacksGo, runTessera } from './tessera/build.ts'
import type { ProofFigures, Spread } from './_log_proofs.ts'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: 'string' } },
})
const entries = Number(positionals[0] ?? 100_000)
/** Above this the log is filled up, and not verified: that is measured on less. */
const BIG = 1_000_000
const CALLERS = 64
const folder = flags.keep ?? mkdtempSync(join(tmpdir(), 'signet-bench-'))
mkdirSync(folder, { recursive: true })
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

const key = await fileKeys({ insecureClearKey: true }).generate(
  parseKeyUri(`file:${join(folder, 'key.pem')}`),
  ALGORITHMS['Ed25519'],
)
const storage = fileLogStorage(join(folder, 'log'))
const options = { origin: 'example.com/bench', sha256: nodeSha256 }
let log = await openLog(storage, key, options)
const vkey = formatVkey(log.verifiers[0]!)
writeFileSync(join(folder, 'vkey'), `${vkey}\n`)

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

/** Appends so many entries, and waits for a checkpoint over each if asked to; gives how many a second. */
async function fill(count: number, callers: number, publish = false): Promise<number> {
  let left = count
  const from = performance.now()
  await Promise.all(Array.from({ length: callers }, async () => {
    while (left-- > 0) {
      await log.append(event(left))
      if (publish) await log.checkpoint()
    }
  }))
  return count / (performance.now() - from) * 1000
}

// In turns, again; ours waits for the disk, that of @grantex/gemma does not. Tessera gathers entries until there
// are as many as callers, or for 5 ms: to gather more is no use, for all callers wait then.
const without = lacksGo()
const program = without === undefined ? buildTessera() : undefined
const { length } = (await log.append(event(100_000))).entry
const gemmas = await gemma(join(folder, 'gemma.jsonl'))
const rates = { ours: 0, gemma: 0, tessera: 0 }
const ROUNDS = 4
const part = Math.ceil(Math.min(entries, 100_000) / ROUNDS)
for (let round = 0; round < ROUNDS; round++) {
  rates.ours += await fill(part, CALLERS) / ROUNDS
  rates.gemma += await gemmas(500) / ROUNDS
  if (program !== undefined) rates.tessera += tessera(program, 3000, CALLERS) / ROUNDS
}
say('durable appends, 64 callers (target ≥ 20 000)', rates.ours, '/s')
say('@grantex/gemma 0.1.1, appends that are not durable', rates.gemma, '/s')
say('  ratio (target ≥ 10)', rates.ours / rates.gemma, '×')
if (program === undefined) console.log(`Tessera is not compared: ${without}`)
else {
  say('Tessera 1.0.4, durable and integrated, 64 callers', rates.tessera, '/s')
  say('  ratio', rates.ours / rates.tessera, '×')
  const cases = [
    { what: '1 caller', callers: 1, publish: false, ours: 1000, theirs: 200 },
    { what: '64 callers, published', callers: CALLERS, publish: true, ours: 3000, theirs: 3000 },
    { what: '4096 callers', callers: 4096, publish: false, ours: 40_000, theirs: 20_000 },
  ]
  for (const { what, callers, publish, ours, theirs } of cases) {
    const rates = { ours: 0, theirs: 0 }
    for (let round = 0; round < 2; round++) {
      rates.ours += await fill(ours, callers, publish) / 2
      rates.theirs += tessera(program, theirs, callers) / 2
    }
    say(`durable appends, ${what}`, rates.ours, '/s')
    say('  Tessera, durable and integrated', rates.theirs, '/s')
    say('  ratio', rates.ours / rates.theirs, '×')
  }
}

const memory = () =>
  say(`resident memory at ${log.size} entries`, process.memoryUsage().rss / 1e6, 'MB')
memory()
const step = entries / 10
while (entries > 100_000 && log.size < entries) {
  const goal = Math.min(entries, (Math.floor(log.size / step) + 1) * step)
  const rate = await fill(goal - log.size, 4096)
  memory()
  console.error(`  filled at ${rate.toFixed(0)} / s`)
}

let at = performance.now()
const since = () => performance.now() - at
await log.checkpoint()
say('publish the rest', since(), 'ms')
const published: number[] = []
for (let i = 0; i < 50; i++) {
  await log.append(event(i))
  at = performance.now()
  await log.checkpoint()
  published.push(since())
}
say('publish one entry: tiles, signature, checkpoint', median(published), 'ms')
const proofs: number[] = []
for (let i = 0; i < 1000; i++) {
  at = performance.now()
  await log.prove(Math.floor(Math.random() * log.size))
  proofs.push(since())
}
say(`proof of one of ${log.size} entries, by its writer (target < 5)`, median(proofs), 'ms')
await log.close()
at = performance.now()
log = await openLog(storage, key, options)
say('open the log for writing', since(), 'ms')
const head = await log.checkpoint()
await log.close()

// Whoever has just come: a process that has read nothing of the log.
const child = spawnSync(process.execPath, [
  ...(process.versions.deno ? ['run', '-A'] : []),
  fileURLToPath(new URL('_log_proofs.ts', import.meta.url)),
  join(folder, 'log'),
  vkey,
], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
const found: ProofFigures = JSON.parse(child.stdout)
const sayProofs = (what: string, { median, p99, max }: Spread) =>
  say(
    `  ${what}`,
    median,
    `ms median, ${p99.toFixed(2)} in 99 of 100, at most ${max.toFixed(1)}`,
  )
console.log('proof of a random entry, made in a new process:')
say('  the very first, with checkpoint, entry and verification', found.first, 'ms')
sayProofs('nothing cached by us', found.coldView)
sayProofs('one view, with its cache', found.warmView)
if (found.coldDisk !== undefined) sayProofs('nor cached by the system: the disk', found.coldDisk)
if (entries > BIG) {
  cleanUp()
  process.exit()
}
// Verified as `signet log verify` does it, in turns with the least that it can cost: the leaves, and one node for each.
const hasher = treeHasher(nodeSha256)
const bodies: Uint8Array[] = []
await verifyLog(storage, head, { hasher, onEntry: (_, entry) => bodies.push(entry) })
const pair = new Uint8Array(65)
const verified: Record<string, number[]> = { hashing: [], one: [], all: [] }
for (let round = 0; round < 5; round++) {
  await timed(verified.hashing!, () => {
    for (const body of bodies) {
      nodeSha256(body)
      nodeSha256(pair)
    }
    return Promise.resolve()
  })
  for (const [name, threads] of [['one', 1], ['all', undefined]] as const) {
    const checker = folderChecker(join(folder, 'log'), { threads })
    await timed(verified[name]!, async () => {
      const report = await verifyLog(storage, head, { hasher, checker })
      if (!report.whole) throw report.faults[0]
    })
  }
}
const [hashing, one, all] = Object.values(verified).map(median) as [number, number, number]
say('full verification, one thread (target ≥ 300 000)', head.size / one * 1e6, 'leaves/s')
say('  against bare SHA-256 of the same (target ≥ 0.5)', hashing / one, '×')
say('full verification, all threads', head.size / all * 1e6, 'leaves/s')
cleanUp()

function cleanUp(): void {
  if (flags.keep === undefined) rmSync(folder, { recursive: true })
  else console.error(`the log is in ${join(folder, 'log')}, its verifier key is ${vkey}`)
}

/** Has Tessera append so many entries, as long as ours, to a new log; gives how many a second. */
function tessera(program: string, count: number, callers: number): number {
  const place = mkdtempSync(join(folder, 'tessera-'))
  const figures = { folder: place, entries: count, callers, batch: callers, bytes: length }
  const args = Object.entries(figures).map(([name, value]) => `-${name}=${value}`)
  const { ok, out, err } = runTessera(program, ['append', ...args], { timeout: 300_000 })
  if (!ok) throw new Error(err)
  rmSync(place, { recursive: true })
  return JSON.parse(out).rate
}

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
