import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concat, equalBytes, fromUtf8, utf8 } from '../../src/bytes.ts'
import { ED25519_NOTE, noteVerifier } from '../../src/envelope/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  acceptSync,
  type Device,
  formatSyncHead,
  type KnownGrant,
  memorySyncStore,
  parseSyncAnswer,
  parseSyncMessage,
  pullBundle,
  refreshDevice,
  syncDevice,
  type SyncDeviceOptions,
} from '../../src/grants/mod.ts'
import { canonicalBytes, type JsonObject } from '../../src/json.ts'
import type { Key } from '../../src/keys/mod.ts'
import { exportRange, memoryLogStorage, openLog, parseEntry } from '../../src/log/mod.ts'
import {
  enrolled,
  HOUR,
  makeBundle,
  newPlaces,
  open,
  type Places,
  T0,
  typesOf,
} from './_devices.ts'
import { type SyncServer, syncServer } from './_sync_server.ts'

const READ = 'calendar:read'
const ORIGIN = 'grants.example/devices/1'
const nothing = () => {}

interface World {
  readonly places: Places
  readonly device: Device
  readonly server: SyncServer
  readonly slept: number[]
  sync(more?: SyncDeviceOptions): ReturnType<typeof syncDevice>
}

async function world(actions = 3): Promise<World> {
  const { places, device } = await enrolled()
  const server = syncServer(places.key.publicKey, ORIGIN, places.now)
  const slept: number[] = []
  for (let i = 0; i < actions; i++) await device.act(READ, { i }, nothing)
  const options = {
    fetch: server.fetch,
    random: () => 0.5,
    sleep: (ms: number) => Promise.resolve(void slept.push(ms)),
  }
  const sync = (more = {}) => syncDevice(device, { ...options, ...more })
  return { places, device, server, slept, sync }
}

/** What the server has, after checking that it is the log, in order, each entry once. */
async function taken({ device, server }: World): Promise<string[]> {
  const log = device.log!
  await log.checkpoint()
  const view = log.view()
  for (const [i, { index, bytes }] of server.store.entries.entries()) {
    assert.equal(index, i)
    assert.ok(equalBytes(bytes, await view.entry(i)), `entry ${i}`)
  }
  return server.store.entries.map(({ bytes }) => parseEntry(bytes).type)
}

function offline(): never {
  throw new TypeError('network')
}

test('parseSyncMessage() and parseSyncAnswer() refuse what is none', () => {
  const claimed = { size: 0, root: new Uint8Array(32) }
  const head = formatSyncHead({ generation: 1, claimed })
  const bad: Uint8Array[] = [
    new Uint8Array(),
    utf8('{}'),
    utf8('{}\n'),
    utf8('[]\nx\n'),
    head,
    utf8('{"format":"signet-sync@v2"}\n'),
    concat(head.slice(1), utf8('x\n')),
    new Uint8Array(9e6),
  ]
  for (const body of bad) {
    assert.throws(
      () => parseSyncMessage(body),
      (error) => isSignetError(error, 'sync_malformed', 'too_large'),
    )
  }
  for (const text of ['', '{}', '[]', '{"acknowledged":{"size":-1,"root":""}}', 'null']) {
    assert.throws(() => parseSyncAnswer(text), { code: 'sync_malformed' })
  }
})

test('acceptSync() refuses messages of other keys and names, and edited ones, and takes nothing', async () => {
  const { device, places } = await world()
  const log = device.log!
  const checkpoint = await log.checkpoint()
  const view = log.view()
  const parts: Uint8Array[] = [
    formatSyncHead({ generation: 1, claimed: { size: 0, root: new Uint8Array(32) } }),
  ]
  for await (const part of exportRange(view, { start: 0, end: log.size }, checkpoint)) {
    parts.push(part)
  }
  const message = concat(...parts)
  const store = memorySyncStore()
  const verifiers = [await noteVerifier(ORIGIN, places.key.publicKey, ED25519_NOTE)]
  const options = { origin: ORIGIN, verifiers, now: T0 + 10 }
  const other = (await newPlaces()).key.publicKey
  await assert.rejects(
    acceptSync(store, message, {
      ...options,
      verifiers: [await noteVerifier(ORIGIN, other, ED25519_NOTE)],
    }),
    { code: 'signer_untrusted' },
  )
  await assert.rejects(acceptSync(store, message, { ...options, origin: 'x.example' }), {
    code: 'checkpoint_origin',
  })
  const lines = fromUtf8(message).split('\n')
  const edits: ((lines: string[]) => void)[] = [
    (all) => all.splice(3, 1),
    (all) => all.splice(3, 0, all[3]!),
    (all) => [all[3], all[4]] = [all[4]!, all[3]!],
    (all) => all[3] = all[3]!.replace('device', 'devise'),
    (all) => all[1] = all[1]!.replace('"from":0', '"from":1'),
    (all) => all.pop(),
  ]
  for (const edit of edits) {
    const edited = [...lines]
    edit(edited)
    await assert.rejects(
      acceptSync(store, utf8(edited.join('\n')), options),
      (error) => isSignetError(error, 'proof_malformed', 'proof_invalid'),
    )
  }
  assert.equal(await store.head(), undefined)
  assert.equal((await acceptSync(store, message, options)).accepted, log.size)
  await device.close()
})

test('a sync sends what the server has not, once, and brings its word back', async () => {
  const all = await world()
  const first = await all.sync()
  assert.equal(first.acknowledged, 8)
  assert.equal(first.sent, 8)
  assert.deepEqual(first.verdicts, [])
  assert.deepEqual(await taken(all), [
    'log.created',
    'device.enrolled',
    ...Array(3).fill(['action.intent', 'action.outcome']).flat(),
  ])
  assert.equal(all.device.acknowledged!.size, 8)
  // The entry that tells of it waits for the next time, and alone makes no further one.
  assert.equal((await all.sync()).sent, 1)
  assert.equal((await all.sync()).sent, 0)
  assert.equal((await typesOf(all.device)).filter((type) => type === 'device.synced').length, 1)
  await all.device.close()
})

test('answers that get lost at any place cost nothing and double nothing', async () => {
  for (const lost of [1, 2, 3, 4]) {
    const all = await world(6)
    all.server.after = (response, n) => (n === lost ? offline() : response)
    await all.sync({ batch: 4 })
    assert.equal(all.server.store.entries.length, 14)
    await taken(all)
    assert.equal(all.slept.length, 1)
    await all.device.close()
  }
})

test('a sync that is cut goes on where it was, also after a restart', async () => {
  const all = await world(10)
  all.server.after = (response, n) => (n >= 3 ? offline() : response)
  await assert.rejects(all.sync({ batch: 4, attempts: 2 }), { code: 'sync_failed' })
  assert.equal(all.device.acknowledged!.size, 4)
  await all.device.close()
  all.server.after = undefined
  const device = await open(all.places)
  const again = { ...all, device }
  const { sent } = await syncDevice(device, { fetch: all.server.fetch, batch: 4 })
  assert.ok(sent >= 22 - 8 - 4 && sent <= 22)
  await taken(again)
  await device.close()
})

test('syncs at once, and actions meanwhile, lose and double nothing', async () => {
  const all = await world(20)
  const acting = (async () => {
    for (let i = 0; i < 30; i++) await all.device.act(READ, { i }, nothing)
  })()
  await Promise.all([all.sync({ batch: 3 }), all.sync({ batch: 5 }), acting])
  await all.sync()
  const types = await taken(all)
  assert.equal(types.filter((type) => type === 'action.intent').length, 50)
  assert.equal(types.filter((type) => type === 'action.outcome').length, 50)
  await all.device.close()
})

test('what passes is tried again with growing waits; Retry-After is kept to; the rest is told at once', async () => {
  const statuses = [503, 429, 500, 408]
  const all = await world()
  all.server.before = (_, n) =>
    n <= statuses.length ? new Response('', { status: statuses[n - 1]! }) : undefined
  await all.sync()
  assert.deepEqual(all.slept, [250, 500, 1000, 2000])
  await all.device.close()

  for (
    const [value, wait] of [['7', 7000], [new Date((T0 + 12) * 1000).toUTCString(), 2000]] as const
  ) {
    const one = await world()
    one.server.before = (_, n) =>
      n > 1 ? undefined : new Response('', {
        status: 429,
        headers: { 'retry-after': value, date: new Date((T0 + 10) * 1000).toUTCString() },
      })
    await one.sync()
    assert.deepEqual(one.slept, [wait])
    await one.device.close()
  }

  for (const status of [302, 307, 400, 401, 403, 404, 409, 410, 422]) {
    const one = await world()
    one.server.before = () => Response.json({ code: 'why' }, { status })
    await assert.rejects(one.sync(), { code: 'sync_refused', where: String(status) })
    assert.equal(one.server.seen.length, 1)
    await one.device.close()
  }

  const busy = await world()
  busy.server.before = () => new Response('', { status: 503, headers: { 'retry-after': '3600' } })
  await assert.rejects(busy.sync(), { code: 'sync_failed', remedy: 'try again in 3600 s' })
  assert.deepEqual([busy.server.seen.length, busy.slept], [1, []])
  busy.server.before = offline
  await assert.rejects(busy.sync(), { code: 'sync_failed' })
  assert.equal(busy.slept.length, 5)
  await busy.device.close()
})

test('each attempt is signed anew, with a nonce of its own', async () => {
  const all = await world()
  all.server.after = (response, n) => (n === 1 ? offline() : response)
  await all.sync()
  const signatures = all.server.seen.map(({ headers }) => headers.get('signature'))
  assert.equal(new Set(signatures).size, signatures.length)
  await all.device.close()
})

test('a request that the platform sent twice is signed and sent once more', async () => {
  const all = await world()
  const { fetch } = all.server
  await all.sync({
    fetch: async (url, init) => {
      // The answer to the first one got lost below.
      if (all.server.seen.length === 0) await fetch(url, init)
      return await fetch(url, init)
    },
  })
  assert.equal(all.server.store.entries.length, 8)
  await all.device.close()
})

test('a device whose clock is wrong signs by the clock of the server', async () => {
  const all = await world()
  all.server.now = all.places.now + 2 * HOUR
  await all.sync()
  assert.equal(all.server.store.entries.length, 8)
  await all.device.close()
})

test('a signal and a timeout end a sync', async () => {
  const all = await world()
  await assert.rejects(all.sync({ signal: AbortSignal.abort() }), { code: 'aborted' })
  const stop = new AbortController()
  all.server.before = () => {
    stop.abort()
    throw new Error('cut')
  }
  await assert.rejects(all.sync({ signal: stop.signal }), { code: 'aborted' })
  const hanging: SyncDeviceOptions['fetch'] = (_, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  await assert.rejects(all.sync({ fetch: hanging, timeout: 5, attempts: 2 }), {
    code: 'sync_failed',
  })
  await all.device.close()
})

test('a server that takes less at once gets less, down to one entry', async () => {
  const all = await world(8)
  all.server.before = ({ body }) =>
    body.length > 2500 ? new Response('', { status: 413 }) : undefined
  await all.sync()
  assert.equal(all.server.store.entries.length, 18)
  await taken(all)
  await all.device.close()
  const bytes = await world(8)
  await bytes.sync({ batchBytes: 2000 })
  assert.ok(bytes.server.seen.length > 3)
  await taken(bytes)
  await bytes.device.close()
})

test('a revocation arrives with a sync of nothing too, and ends the acting', async () => {
  const all = await world()
  await all.sync()
  await all.sync()
  all.server.status = { state: 'revoked', at: T0 + 5, reason: 'lost' }
  const result = await all.sync()
  assert.deepEqual([result.sent, result.status.state], [0, 'revoked'])
  await assert.rejects(all.device.act(READ, {}, nothing), { code: 'bundle_revoked' })
  // The denial is an entry, and goes to the server like all others.
  const over = { allows: () => true, expiresAt: T0 + 5, revokedAt: T0 + 5 }
  all.server.options = { grantOf: () => over }
  await all.sync()
  assert.ok((await taken(all)).includes('action.denied'))
  await all.device.close()
})

test('what a server does not keep waits on the device, which is told, and hears all else', async () => {
  const all = await world(10)
  const quota = { entries: 9, bytes: 1e9 }
  all.server.store = memorySyncStore(quota)
  const full = (error: unknown) =>
    isSignetError(error, 'log_quota') && /ceilings/.test(error.remedy ?? '') &&
    /9 entries/.test(error.message)
  await assert.rejects(all.sync(), full)
  // The probe, all, as many as there was room for, and one message more.
  assert.equal(all.server.seen.length, 4)
  assert.equal((await taken(all)).length, 9)
  assert.equal(all.device.acknowledged!.size, 9)
  const { size } = all.device.log!
  assert.equal((await typesOf(all.device)).length, size)
  all.server.bundle = await makeBundle(all.places.key, { generation: 2, issuedAt: T0 + 5 })
  await assert.rejects(all.sync({ batch: 2 }), full)
  assert.equal(all.device.bundle!.generation, 2)
  await all.device.act(READ, {}, nothing)
  all.server.status = { state: 'revoked', at: T0 + 5, reason: 'lost' }
  await assert.rejects(
    all.sync(),
    (error) => full(error) && /revoked/.test((error as Error).message),
  )
  await assert.rejects(all.device.act(READ, {}, nothing), { code: 'bundle_revoked' })
  // Nothing more is written down for it, however often it is tried.
  const before = all.device.log!.size
  for (let i = 0; i < 3; i++) await assert.rejects(all.sync(), full)
  assert.equal(all.device.log!.size, before)
  quota.entries = 1000
  const { sent } = await all.sync()
  assert.equal(sent, before - 9)
  assert.equal((await taken(all)).length, before)
  await all.device.close()
})

test('as many entries go to a server as it has bytes for', async () => {
  const all = await world(10)
  const log = all.device.log!
  await log.checkpoint()
  const view = log.view()
  const lengths: number[] = []
  for (let i = 0; i < log.size; i++) lengths.push((await view.entry(i)).length)
  const room = lengths.slice(0, 13).reduce((sum, length) => sum + length, 0)
  for (const bytes of [0, lengths[0]! - 1, room - 1, room]) {
    all.server.store = memorySyncStore({ entries: 1000, bytes })
    await assert.rejects(all.sync({ batch: 8 }), { code: 'log_quota' })
    const count = { [room]: 13, [room - 1]: 12 }[bytes] ?? 0
    assert.equal(all.server.store.entries.length, count)
    // Another server, which knows nothing of this log yet.
    if (count > 0) assert.equal(all.device.acknowledged!.size, count)
  }
  await all.device.close()
})

test('a server that refuses whatever comes is asked no more, and its words are quoted', async () => {
  const all = await world(10)
  const refusal = { code: 'no\u001b[2J', entries: 1e9, bytes: 1e9 }
  all.server.store = { ...memorySyncStore(), append: () => Promise.resolve(refusal) }
  await assert.rejects(
    all.sync(),
    (error) => isSignetError(error, 'sync_refused') && !error.message.includes('\u001b'),
  )
  assert.ok(all.server.seen.length <= 8, `${all.server.seen.length}`)
  assert.equal(all.device.acknowledged?.size ?? 0, 0)
  await all.device.close()
})

test('a refreshed bundle comes with the answer, amid entries that were not sent, and all still count', async () => {
  const all = await world(6)
  all.server.bundle = await makeBundle(all.places.key, { generation: 2, issuedAt: T0 + 5 })
  all.server.after = (response, n) => (n === 3 ? offline() : response)
  const result = await all.sync({ batch: 4 })
  assert.equal(result.refreshed, true)
  assert.equal(all.device.bundle!.generation, 2)
  await all.device.act(READ, {}, nothing)
  await all.sync()
  assert.deepEqual((await taken(all)).slice(-3), [
    'device.refreshed',
    'action.intent',
    'action.outcome',
  ])
  assert.ok(all.server.store.entries.every(({ verdict }) => verdict === undefined))
  await all.device.close()
})

test('a bundle in an answer that is not ours is refused, and the one we have stays', async () => {
  const all = await world()
  all.server.bundle = await makeBundle(all.places.key, { generation: 2, signer: all.places.key })
  await assert.rejects(all.sync(), { code: 'signer_untrusted' })
  assert.equal(all.device.bundle!.generation, 1)
  await all.device.close()
})

test('entries that are not as they should be are taken with a verdict, and block nothing', async () => {
  const storage = memoryLogStorage()
  const { key } = await newPlaces()
  let now = T0 * 1000
  const log = await openLog(storage, key, { origin: ORIGIN, clock: () => now })
  const intent = (ref: string) => log.append({ type: 'action.intent', action: READ, ref })
  await intent('known')
  await intent('stranger')
  now += 3600_000
  await intent('known')
  await intent('expired')
  await intent('narrow')
  now += 3600_000
  await log.append({ type: 'action.outcome', ref: '3' })
  await intent('stranger')
  await intent('later')
  const checkpoint = await log.checkpoint()
  const parts: Uint8Array[] = [
    formatSyncHead({ generation: 1, claimed: { size: 0, root: new Uint8Array(32) } }),
  ]
  for await (const part of exportRange(log.view(), { start: 0, end: 9 }, checkpoint)) {
    parts.push(part)
  }
  const store = memorySyncStore()
  const [never, allows] = [T0 + 9e6, (tool: string) => tool === READ]
  const grants: Record<string, KnownGrant> = {
    known: { allows, expiresAt: never, revokedAt: T0 + 1800 },
    later: { allows, expiresAt: never },
    expired: { allows, expiresAt: T0 + 3600 - 300 },
    narrow: { allows: (tool) => tool !== READ, expiresAt: never },
  }
  const outcome = await acceptSync(store, concat(...parts), {
    origin: ORIGIN,
    verifiers: log.verifiers,
    now: T0 + 3600,
    grantOf: (id) => grants[id],
  })
  assert.deepEqual(outcome.verdicts, [
    { index: 2, code: 'entry_grant_unknown' },
    { index: 3, code: 'entry_after_revocation' },
    { index: 4, code: 'entry_after_expiry' },
    { index: 5, code: 'entry_outside_grant' },
    { index: 6, code: 'entry_early' },
    { index: 7, code: 'entry_grant_unknown' },
    { index: 8, code: 'entry_early' },
  ])
  assert.deepEqual([outcome.accepted, outcome.acknowledged.size], [9, 9])
  await log.close()
})

/** A log of raw lines under one checkpoint, as a device would make that does not keep to the rules. */
async function rawMessage(key: Key, lines: readonly Uint8Array[]): Promise<Uint8Array> {
  const { formatTreeHead, rootOf, defaultHasher } = await import('../../src/log/mod.ts')
  const { noteSigner, signNote } = await import('../../src/envelope/mod.ts')
  const root = rootOf(lines.map((line) => defaultHasher.leaf(line)))
  const text = formatTreeHead({ origin: ORIGIN, size: lines.length, root })
  const checkpoint = await signNote(text, [await noteSigner(ORIGIN, key)])
  const head = {
    format: 'signet-log-range@v1',
    from: 0,
    to: lines.length,
    left: [],
    right: [],
    checkpoint,
  }
  const claimed = { size: 0, root: new Uint8Array(32) }
  const body = lines.flatMap((line) => [line, utf8('\n')])
  return concat(
    formatSyncHead({ generation: 1, claimed }),
    canonicalBytes(head),
    utf8('\n'),
    ...body,
  )
}

test('entries that no log of ours would write are quarantined too', async () => {
  const { key } = await newPlaces()
  const entry = (seq: number, time: string, more: JsonObject = {}) =>
    canonicalBytes({ seq, time, type: 'action.intent', v: 1, ...more })
  const at = '2027-01-15T08:00:00.000Z'
  const message = await rawMessage(key, [
    entry(0, at),
    utf8('no entry at all'),
    new Uint8Array(),
    entry(7, at),
    entry(4, '2027-01-15T07:59:59.000Z'),
    utf8(fromUtf8(entry(5, at)).replace('{', '{ ')),
    entry(6, at, { unknown: 1 }),
    entry(7, at),
  ])
  const verifiers = [await noteVerifier(ORIGIN, key.publicKey, ED25519_NOTE)]
  const options = { origin: ORIGIN, verifiers, now: T0 + 10 }
  const store = memorySyncStore()
  const outcome = await acceptSync(store, message, options)
  assert.deepEqual(outcome.verdicts.map(({ index, code }) => `${index} ${code}`), [
    '1 entry_malformed',
    '2 entry_malformed',
    '3 entry_misplaced',
    '4 entry_time_back',
    '5 entry_malformed',
    '6 entry_malformed',
  ])
  assert.equal(outcome.accepted, 8)
  assert.deepEqual((await acceptSync(store, message, options)).accepted, 0)
})

test('a log that went back, forked or was replaced is told to both sides, and nothing is taken', async () => {
  const all = await world(4)
  await all.sync()
  await all.device.close()
  const had = all.server.store.entries.length
  const attempt = async (actions: number, expected: string) => {
    const twin = await newPlaces()
    const device = await open({ ...twin, key: all.places.key })
    await device.enroll(await makeBundle(all.places.key))
    for (let i = 0; i < actions; i++) await device.act(READ, { other: i }, nothing)
    await assert.rejects(syncDevice(device, { fetch: all.server.fetch }), { code: expected })
    assert.equal(all.server.store.entries.length, had)
    await device.close()
  }
  // Another log of the same key and name: shorter, as long, longer.
  await attempt(1, 'log_replaced')
  await attempt(4, 'log_replaced')
  await attempt(9, 'log_replaced')
})

test('acceptSync() tells a log that went back from one that forked after a common beginning', async () => {
  const storage = memoryLogStorage()
  const { key } = await newPlaces()
  const options = { origin: ORIGIN, clock: () => T0 * 1000 }
  const log = await openLog(storage, key, options)
  for (let i = 0; i < 5; i++) await log.append({ type: 'a', data: i })
  const early = await log.checkpoint()
  const earlyView = log.view()
  for (let i = 0; i < 5; i++) await log.append({ type: 'b', data: i })
  const late = await log.checkpoint()
  const lateView = log.view()
  const store = memorySyncStore()
  const accept = { origin: ORIGIN, verifiers: log.verifiers, now: T0 }
  const rangeOf = async (view: typeof lateView, start: number, end: number, under: typeof late) => {
    const parts: Uint8Array[] = [
      formatSyncHead({ generation: 1, claimed: { size: 0, root: new Uint8Array(32) } }),
    ]
    for await (const part of exportRange(view, { start, end }, under)) parts.push(part)
    return concat(...parts)
  }
  const probeOf = async (view: typeof lateView, under: typeof late, from = 0) => {
    const head = await store.head()
    const claimed = head ?? { size: 0, root: new Uint8Array(32) }
    const first = await view.hashes(0)
    const consistency = from === 0 ? [] : await view.consistency({ ...claimed, origin: ORIGIN })
    return formatSyncHead({
      generation: 1,
      claimed,
      probe: { checkpoint: under.note, consistency, first },
    })
  }
  await acceptSync(store, await rangeOf(lateView, 0, 6, late), accept)
  // Beyond what the server has, it cannot judge: it says where it stands.
  const gap = await acceptSync(store, await rangeOf(lateView, 8, 11, late), accept)
  assert.deepEqual([gap.log, gap.acknowledged.size, gap.accepted], ['unproven', 6, 0])
  assert.equal(
    (await acceptSync(store, await probeOf(lateView, late, 6), accept)).log,
    'consistent',
  )
  await assert.rejects(
    acceptSync(store, await probeOf(lateView, late), accept).then(({ log }) => {
      assert.equal(log, 'forked') // without its proof
      throw Object.assign(new Error(), { code: 'as expected' })
    }),
    { code: 'as expected' },
  )
  // From the middle, over what is there, to new entries.
  assert.equal((await acceptSync(store, await rangeOf(lateView, 3, 9, late), accept)).accepted, 3)
  assert.equal((await acceptSync(store, await rangeOf(lateView, 0, 11, late), accept)).accepted, 2)
  assert.equal(
    (await acceptSync(store, await probeOf(earlyView, early), accept)).log,
    'rolled_back',
  )
  assert.equal(
    (await acceptSync(store, await rangeOf(earlyView, 0, 6, early), accept)).log,
    'rolled_back',
  )
  // Signed before what the server has: overtaken on its way. Afterwards: it went back.
  const older = async (sentAt: number, known?: number) => {
    const head = { ...(await store.head())!, sentAt: known }
    const kept = { ...store, head: () => Promise.resolve(head) }
    const message = await rangeOf(earlyView, 0, 6, early)
    return (await acceptSync(kept, message, { ...accept, sentAt })).log
  }
  assert.equal(await older(T0 + 1), 'rolled_back')
  assert.equal(await older(T0 + 1, T0), 'rolled_back')
  assert.equal(await older(T0, T0), 'consistent')

  // The same beginning, byte for byte, and another end.
  const lines: Uint8Array[] = []
  for (let i = 0; i < 6; i++) lines.push(await lateView.entry(i))
  for (let i = 6; i < 14; i++) {
    lines.push(canonicalBytes({ seq: i, time: '2027-01-15T08:00:00.000Z', type: 'c', v: 1 }))
  }
  const forked = await acceptSync(store, await rawMessage(key, lines), accept)
  assert.deepEqual([forked.log, forked.accepted, forked.acknowledged.size], ['forked', 0, 11])
  const shorter = await acceptSync(store, await rawMessage(key, lines.slice(0, 9)), accept)
  assert.equal(shorter.log, 'forked')
  await log.close()
})

test('a server that lost entries, or claims more than there are, is not believed blindly', async () => {
  const all = await world(4)
  await all.sync()
  // Put back to an earlier state, it gets again what it lost.
  const fresh = syncServer(all.places.key.publicKey, ORIGIN, all.places.now)
  await all.sync({ fetch: fresh.fetch })
  assert.equal(fresh.store.entries.length, (await all.device.log!.checkpoint()).size)
  const lie = (change: (answer: JsonObject & Record<string, unknown>) => void) => {
    all.server.after = async (response) => {
      const answer = await response.json()
      change(answer)
      return Response.json(answer)
    }
  }
  lie((answer) => answer.acknowledged = { size: 99, root: 'A'.repeat(43) + '=' })
  await assert.rejects(all.sync(), { code: 'log_rolled_back' })
  lie((answer) => answer.acknowledged = { size: 3, root: 'A'.repeat(43) + '=' })
  await assert.rejects(all.sync(), { code: 'log_forked' })
  lie((answer) => delete answer.status)
  await assert.rejects(all.sync(), { code: 'sync_malformed' })
  await all.device.close()
})

test('refresh and pull bring bundles, and the end of one', async () => {
  const all = await world()
  const bundle = await makeBundle(all.places.key, { generation: 2 })
  all.server.refreshed = () => Promise.resolve({ bundle, status: { state: 'active' } })
  await refreshDevice(all.device, { fetch: all.server.fetch })
  assert.equal(all.device.bundle!.generation, 2)
  const pulled = await pullBundle(all.places.key, all.device.bundle!.sync, {
    fetch: all.server.fetch,
    now: () => all.places.now,
  })
  assert.equal(pulled.bundle, bundle)
  all.server.refreshed = () => Promise.resolve({ status: { state: 'revoked', at: T0 } })
  await assert.rejects(refreshDevice(all.device, { fetch: all.server.fetch }), {
    code: 'bundle_revoked',
  })
  await assert.rejects(all.device.act(READ, {}, nothing), { code: 'bundle_revoked' })
  all.server.refreshed = () => Promise.resolve({ bundle: 7 })
  await assert.rejects(refreshDevice(all.device, { fetch: all.server.fetch }), {
    code: 'sync_malformed',
  })
  await all.device.close()
})

test('a device that waits too long to sync refuses, and acts again once it has', async () => {
  const all = await world()
  all.places.now += 23 * HOUR
  all.server.now = all.places.now
  const next = await makeBundle(all.places.key, { generation: 2, issuedAt: all.places.now })
  await all.device.heard({ bundle: next, serverTime: all.places.now })
  all.places.now += 2 * HOUR
  all.server.now = all.places.now
  await assert.rejects(all.device.act(READ, {}, nothing), { code: 'checkpoint_stale' })
  await all.sync()
  await all.device.act(READ, {}, nothing)
  await all.device.close()
})
