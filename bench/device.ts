/**
 * What acting offline costs, against what it cannot be cheaper than: two bare durable writes for an action, and the
 * log's own export for a sync. All in one run on one disk; compare ratios, not figures of different days.
 *
 * `deno run -A bench/device.ts [entries]` (also with node and bun)
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileDeviceStorage } from '../backends/device_fs.ts'
import { fileLogStorage } from '../backends/log_fs.ts'
import { nodeSha256 } from '../backends/node_sha256.ts'
import { ALGORITHMS } from '../src/algorithms.ts'
import {
  acceptSync,
  type Fetch,
  formatSyncAnswer,
  issueGrant,
  openDevice,
  openStatusList,
  sealBundle,
  signStatusList,
  StatusList,
  syncDevice,
  type SyncHead,
} from '../src/grants/mod.ts'
import { generateKey } from '../src/keys/mod.ts'
import { openLog, treeHasher } from '../src/log/mod.ts'

const entries = Number(process.argv[2] ?? 100_000)
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'))
const say = (what: string, figure: number, unit: string) =>
  console.log(`${what.padEnd(56)} ${figure.toFixed(figure < 10 ? 3 : 0).padStart(10)} ${unit}`)
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!
const rss = () => process.memoryUsage().rss / 1e6

const issuer = 'https://grants.example'
const uri = `${issuer}/status/1`
const [server, key] = [await generateKey(ALGORITHMS.Ed25519), await generateKey(ALGORITHMS.Ed25519)]
const now = Math.floor(Date.now() / 1000)

// Status list.
const list = StatusList.of(1_000_000)
for (let revoked = 0; revoked < 10_000;) {
  const index = Math.floor(Math.random() * list.size)
  if (list.get(index) === 1) continue
  list.set(index, 1)
  revoked++
}
let from = performance.now()
const token = await signStatusList(list, server, { uri, issuedAt: now })
say('status list of a million, pack and sign', performance.now() - from, 'ms')
from = performance.now()
const listed = await openStatusList(token, [server.publicKey])
say('  verify and unpack', performance.now() - from, 'ms')
let sum = 0
from = performance.now()
for (let i = 0; i < 2_000_000; i++) sum += listed.get(i * 7919 % 1_000_000)
say('  one look-up (target < 1000)', (performance.now() - from) / 2, 'ns')
if (sum === 0) throw new Error('nobody was revoked')

// A device with one grant.
const grant = await issueGrant(server, {
  issuer,
  holder: key.publicKey,
  lifetime: 86400,
  scopes: ['calendar:read'],
  status: { idx: 7, uri },
})
const clear = StatusList.of(64)
const bundle = await sealBundle({
  issuer,
  id: 'b',
  device: key.publicKey,
  issuedAt: now,
  expiresAt: now + 86400,
  generation: 1,
  grant,
  keys: [server.publicKey],
  keysExpireAt: now + 86400,
  statusLists: [await signStatusList(clear, server, { uri, issuedAt: now })],
  log: { origin: 'grants.example/devices/1' },
  sync: `${issuer}/bundles/b`,
  offline: { maxAge: 86400, skew: 60 },
}, server)
const device = await openDevice({
  key,
  storage: fileDeviceStorage(join(folder, 'state')),
  log: fileLogStorage(join(folder, 'log')),
  trusted: [{ issuer, keys: [server.publicKey] }],
  sha256: nodeSha256,
  maxWaiting: Infinity,
})
await device.enroll(bundle)
from = performance.now()
for (let i = 0; i < 100_000; i++) device.report('calendar:read')
say('judging a whole bundle, warm', (performance.now() - from) / 100, 'µs')

// One caller, in turns with bare writes and with bare appends, because a disk has moods.
const plain = await openLog(fileLogStorage(join(folder, 'plain')), key, {
  origin: 'grants.example/plain',
  sha256: nodeSha256,
})
const handle = await open(join(folder, 'bare'), 'w')
const line = new Uint8Array(330)
const event = { type: 'action.intent', action: 'calendar:read', data: { day: 'monday' } }
const [bare, appends, acts]: number[][] = [[], [], []]
const timed = async (into: number[], work: () => Promise<unknown>) => {
  const start = performance.now()
  await work()
  into.push((performance.now() - start) * 1000)
}
for (let i = 0; i < 700; i++) {
  await timed(bare!, async () => {
    for (let n = 0; n < 2; n++) {
      await handle.write(line)
      await handle.datasync()
    }
  })
  await timed(appends!, async () => {
    await plain.append(event)
    await plain.append(event)
  })
  await timed(acts!, () => device.act('calendar:read', { day: 'monday' }, () => {}))
}
await handle.close()
await plain.close()
say('two bare writes + fdatasync', median(bare!), 'µs')
say('two bare durable appends', median(appends!), 'µs')
say('guarded action: judged, intent, run, outcome', median(acts!), 'µs')
say('  against two appends (target ≤ 1.5)', median(acts!) / median(appends!), '×')
say('  against two bare writes', median(acts!) / median(bare!), '×')

let left = entries / 2
from = performance.now()
await Promise.all(Array.from({ length: 64 }, async () => {
  while (left-- > 0) await device.act('calendar:read', { day: 'monday' }, () => {})
}))
say('guarded actions, 64 callers', entries / 2 / (performance.now() - from) * 1000, '/s')

// A server that keeps its head and forgets the entries: what grows is the device's.
const hasher = treeHasher(nodeSha256)
const { log } = device
let head: SyncHead | undefined
const fetch: Fetch = async (_, { body }) => {
  const outcome = await acceptSync(
    {
      head: () => Promise.resolve(head),
      append(_, next) {
        head = next
        return Promise.resolve(true)
      },
    },
    body!,
    { origin: log!.origin, verifiers: log!.verifiers, now: Date.now() / 1000, hasher },
  )
  return new Response(formatSyncAnswer({ ...outcome, status: { state: 'active' } }))
}
await log!.checkpoint()
const before = rss()
let most = before
const quarters: number[] = []
from = performance.now()
const { sent } = await syncDevice(device, {
  fetch,
  onProgress(done, size) {
    const used = rss()
    most = Math.max(most, used)
    if (done * 4 / size >= quarters.length + 1) quarters.push(used)
  },
})
say(`sync of ${sent} entries, both sides`, sent / (performance.now() - from) * 1000, 'entries/s')
say('  resident memory before', before, 'MB')
for (const [i, used] of quarters.entries()) say(`  after ${(i + 1) * 25} %`, used, 'MB')
say('  most', most, 'MB')
await device.close()
from = performance.now()
const again = await openDevice({
  key,
  storage: fileDeviceStorage(join(folder, 'state')),
  log: fileLogStorage(join(folder, 'log')),
  trusted: [{ issuer, keys: [server.publicKey] }],
  sha256: nodeSha256,
})
say('opening the device again', performance.now() - from, 'ms')
await again.close()
rmSync(folder, { recursive: true })
