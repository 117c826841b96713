import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8 } from '../../src/bytes.ts'
import { isSignetError, SignetError } from '../../src/errors.ts'
import {
  type Device,
  deviceKek,
  deviceKey,
  issueGrant,
  openDevice,
  peekDevice,
} from '../../src/grants/mod.ts'
import type { JsonObject } from '../../src/json.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { generateKey, keyring, memoryKek, memoryKeys } from '../../src/keys/mod.ts'
import { type LogStorage, memoryAnchor, memoryLogStorage } from '../../src/log/mod.ts'
import {
  enrolled,
  entriesOf,
  HOUR,
  ISSUER,
  makeBundle,
  newKey,
  newPlaces,
  open,
  serverKey,
  T0,
  trusted,
  typesOf,
} from './_devices.ts'

const READ = 'calendar:read'
const nothing = () => 'ran'
/** A tool that must not run. */
const never = () => assert.fail('the tool ran')

test('act() refuses a device without a bundle, and runs nothing', async () => {
  const device = await open(await newPlaces())
  await assert.rejects(device.act(READ, {}, never), { code: 'device_unenrolled' })
  await device.close()
  await assert.rejects(device.act(READ, {}, never), { code: 'key_closed' })
})

test('act() refuses tools that are not granted, by exact name, and logs each denial', async () => {
  const { device } = await enrolled()
  for (
    const tool of ['calendar:write', 'calendar', 'calendar:*', 'calendar:read ', '', '__proto__']
  ) {
    await assert.rejects(device.act(tool, {}, never), { code: 'tool_denied' })
  }
  await assert.rejects(device.act('x'.repeat(1e6), {}, never), { code: 'tool_denied' })
  await assert.rejects(device.act('\ud800', {}, never), { code: 'tool_denied' })
  const types = await typesOf(device)
  assert.equal(types.filter((type) => type === 'action.denied').length, 8)
  assert.ok(!types.includes('action.intent'))
  await device.close()
})

test('act() refuses arguments that are no JSON object, or lie about themselves', async () => {
  const { device } = await enrolled()
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  const trap = {
    get now(): never {
      throw new Error('trap')
    },
  }
  const bad: unknown[] = [
    null,
    undefined,
    5,
    'text',
    [1],
    new Date(),
    new Map(),
    { n: NaN },
    { f: nothing },
    { big: 2n ** 70n },
    { n: 2 ** 53 },
    { s: '\udfff' },
    cycle,
    trap,
    new Proxy({}, {
      ownKeys: () => {
        throw new Error('trap')
      },
    }),
  ]
  for (const args of bad) {
    await assert.rejects(
      device.act(READ, args as JsonObject, never),
      (error) => isSignetError(error, 'arguments_malformed', 'json_too_deep'),
      String(typeof args),
    )
  }
  await device.close()
})

test('act() logs intent, runs with a copy of what was judged, and logs the outcome', async () => {
  const { device } = await enrolled()
  const args = { day: 'monday', list: [1] }
  const result = await device.act(READ, args, async (copy, { intent }) => {
    const before = await entriesOf(device)
    assert.deepEqual([before.at(-1)!.type, before.at(-1)!.seq], ['action.intent', intent])
    args.list.push(2)
    return copy
  }, { trace: 'abc' })
  assert.deepEqual(result, { day: 'monday', list: [1] })
  const [intent, outcome] = (await entriesOf(device)).slice(-2)
  assert.deepEqual([intent!.action, intent!.ref, intent!.trace], [READ, device.grant!.id, 'abc'])
  assert.deepEqual(Object.keys(intent!.data as JsonObject).sort(), [
    'at',
    'bundle',
    'digest',
    'generation',
  ])
  assert.deepEqual(
    [outcome!.type, outcome!.ref, outcome!.outcome],
    ['action.outcome', String(intent!.seq), 'ok'],
  )
  await device.close()
})

test('act() logs that a tool failed, by the kind of its error alone, and throws that error', async () => {
  const { device } = await enrolled()
  const fault = new RangeError('secret text')
  await assert.rejects(
    device.act(READ, {}, () => {
      throw fault
    }),
    fault,
  )
  await assert.rejects(device.act(READ, {}, () => Promise.reject('plain')), (e) => e === 'plain')
  const log = JSON.stringify(await entriesOf(device))
  assert.ok(!log.includes('secret text') && log.includes('RangeError'))
  await device.close()
})

test('arguments are logged as digest, plain, or as commitments', async () => {
  for (const record of ['digest', 'plain', 'private'] as const) {
    const { device } = await enrolled({}, { record })
    await device.act(READ, { who: 'Ada Lovelace' }, nothing)
    const intent = (await entriesOf(device)).find(({ type }) => type === 'action.intent')!
    assert.equal(JSON.stringify(intent).includes('Ada'), record === 'plain')
    assert.equal(intent.private !== undefined, record === 'private')
    await device.close()
  }
})

test('a disk that refuses the intent keeps the tool from running, and gives its limits back', async () => {
  const storage = memoryLogStorage()
  let full = false
  const log: LogStorage = {
    ...storage,
    async lock() {
      const writer = await storage.lock()
      return {
        ...writer,
        append: (record) =>
          full
            ? Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }))
            : writer.append(record),
      }
    },
  }
  const { device } = await enrolled({ terms: { limits: { '*': { calls: { max: 1 } } } } }, { log })
  full = true
  await assert.rejects(device.act(READ, {}, never))
  full = false
  await device.act(READ, {}, () => {
    full = true
  }).then(() => assert.fail('the outcome is not in the log'), (error) => {
    assert.ok(isSignetError(error, 'outcome_not_logged'), String(error))
  })
  full = false
  await assert.rejects(device.act(READ, {}, never), { code: 'calls_exhausted' })
  await device.close()
})

test('limits hold for calls at once, and are counted again from the log when the device is opened', async () => {
  const limits = {
    '*': { calls: { max: 5 } },
    'mail:send': { budget: { argument: 'cost', max: 10 }, calls: { max: 3, per_seconds: 60 } },
  }
  const { places, device } = await enrolled({ terms: { limits } })
  const calls = await Promise.allSettled(
    Array.from({ length: 9 }, () => device.act('mail:send', { cost: 0.1 }, nothing)),
  )
  assert.equal(calls.filter(({ status }) => status === 'fulfilled').length, 3)
  await assert.rejects(device.act('mail:send', { cost: 0.1 }, never), { code: 'rate_exceeded' })
  places.now += 120
  await assert.rejects(device.act('mail:send', { cost: 9.8 }, never), { code: 'budget_exhausted' })
  await assert.rejects(device.act('mail:send', { cost: -1 }, never), { code: 'amount_malformed' })
  await device.close()

  const again = await open(places)
  await assert.rejects(again.act('mail:send', { cost: 9.8 }, never), { code: 'budget_exhausted' })
  await again.act('mail:send', { cost: 9.7 }, nothing)
  // A state that is written in between takes over what was counted, and nothing twice.
  await again.heard({ serverTime: places.now })
  await again.act(READ, {}, nothing)
  await again.close()

  const third = await open(places)
  await assert.rejects(third.act(READ, {}, never), { code: 'calls_exhausted' })
  await third.close()
})

test('a signal that was given before begins nothing', async () => {
  const { device } = await enrolled()
  await assert.rejects(device.act(READ, {}, never, { signal: AbortSignal.abort() }), {
    code: 'aborted',
  })
  assert.ok(!(await typesOf(device)).includes('action.intent'))
  await device.close()
})

test('a backlog that the server has not taken refuses actions at its bound', async () => {
  const { device } = await enrolled({}, { maxWaiting: 6 })
  await device.act(READ, {}, nothing)
  await device.act(READ, {}, nothing)
  await assert.rejects(device.act(READ, {}, never), { code: 'sync_backlog' })
  await device.close()
})

test('denials without end neither stop what is allowed nor fill the disk, and are counted', async () => {
  const { places, device } = await enrolled({}, { maxWaiting: 10 })
  const denied = async (tool: string, i = 0) =>
    await assert.rejects(device.act(tool, { i }, never), { code: 'tool_denied' })
  for (let i = 0; i < 100; i++) await denied('not:granted')
  assert.equal((await typesOf(device)).filter((type) => type === 'action.denied').length, 1)
  // Other arguments, another tool: worth an entry each, as far as there is room.
  for (let i = 1; i < 100; i++) await denied(`not:granted:${i % 3}`, i)
  await device.act(READ, {}, nothing)
  places.now += 3600
  for (let i = 0; i < 100; i++) await denied('not:granted')
  await device.act(READ, {}, nothing)
  await device.close()
  const again = await open(places)
  const entries = (await entriesOf(again)).filter(({ type }) => type === 'action.denied')
  assert.ok(entries.length <= 12, `${entries.length}`)
  const counted = entries.map(({ data }) => Number((data as JsonObject).more ?? 1))
  assert.equal(counted.reduce((sum, one) => sum + one), 299)
  await again.close()
})

test('denials from before a device was opened again do not stop what is allowed either', async () => {
  const { places, device } = await enrolled({}, { maxWaiting: 10 })
  const deny = (to: Device, i: number) => to.act('not:granted', { i }, never).catch(() => {})
  for (let i = 0; i < 15; i++) await deny(device, i)
  await device.close()
  const again = await open(places, { maxWaiting: 10 })
  await again.act(READ, {}, nothing)
  for (let i = 0; i < 15; i++) await deny(again, i)
  const types = await typesOf(again)
  // What was only counted until it was closed is told in one more.
  assert.equal(types.filter((type) => type === 'action.denied').length, 11)
  await again.close()
})

test('a minute has a bounded number of entries of denials, and the next tells what had none', async () => {
  const { places, device } = await enrolled()
  const size = device.log!.size
  for (let i = 0; i < 200; i++) await device.act('not:granted', { i }, never).catch(() => {})
  assert.equal(device.log!.size - size, 64)
  places.now += 60
  await device.act('not:granted', {}, never).catch(() => {})
  const [more, last] = (await entriesOf(device)).slice(-2)
  assert.deepEqual([more!.outcome, (more!.data as JsonObject).more], ['repeated', 136])
  assert.equal(last!.outcome, 'tool_denied')
  // A server that is heard is told as well.
  await device.act('not:granted', {}, never).catch(() => {})
  await device.heard({ serverTime: places.now })
  assert.equal((await entriesOf(device)).at(-1)!.outcome, 'repeated')
  await device.close()
})

test('what was begun and not ended is told once when the device is opened again', async () => {
  const { places, device } = await enrolled()
  await device.act(READ, {}, nothing)
  let finish = () => {}
  const hanging = device.act('mail:send', {}, () => new Promise<void>((done) => finish = done))
  while (!(await typesOf(device)).slice(-1).includes('action.intent')) await undefined
  // A state written meanwhile must not lose the open intent.
  await device.heard({ serverTime: places.now })
  await device.close()
  finish()
  await assert.rejects(hanging, { code: 'outcome_not_logged' })

  const again = await open(places)
  assert.equal(again.unresolved.length, 1)
  const told = (await entriesOf(again)).at(-1)!
  assert.equal(told.type, 'device.recovered')
  assert.deepEqual((told.data as { intents: number[] }).intents, [again.unresolved[0]!.index])
  await again.close()
  const third = await open(places)
  assert.deepEqual(third.unresolved, [])
  assert.equal((await typesOf(third)).filter((type) => type === 'device.recovered').length, 1)
  await third.close()
})

test('a clock that was set back is refused, also after a restart, until the server says the time', async () => {
  const { places, device } = await enrolled()
  places.now += 2 * HOUR
  await device.act(READ, {}, nothing)
  places.now -= HOUR
  await assert.rejects(device.act(READ, {}, never), { code: 'clock_set_back' })
  await device.close()
  const again = await open(places)
  await assert.rejects(again.act(READ, {}, never), { code: 'clock_set_back' })
  // Not by a bundle in a file: it may have been held back for just this.
  const refreshed = await makeBundle(places.key, { generation: 2, issuedAt: T0 + 100 })
  await again.enroll(refreshed)
  await assert.rejects(again.act(READ, {}, never), { code: 'clock_set_back' })
  const next = await makeBundle(places.key, { generation: 3, issuedAt: Math.floor(places.now) })
  await again.heard({ bundle: next, serverTime: places.now })
  await again.act(READ, {}, nothing)
  await again.close()
  const third = await open(places)
  await third.act(READ, {}, nothing)
  await third.close()
})

test('a clock that was far ahead once, and was put right by the server, is watched as before', async () => {
  const limits = { 'mail:send': { calls: { max: 1, per_seconds: 60 } } }
  const { places, device } = await enrolled({ terms: { limits } })
  places.now = T0 + 70 * 365 * 24 * HOUR
  await assert.rejects(device.act(READ, {}, never), { code: 'grant_expired' })
  places.now = T0 + 100
  const terms = { limits }
  const fresh = await makeBundle(places.key, { generation: 2, issuedAt: T0 + 100, terms })
  await device.heard({ bundle: fresh, serverTime: T0 + 100 })
  await device.close()
  const codes: string[] = []
  // The time of the log itself stands still from now on: it never goes back.
  for (const hours of [1, 23, 1, 22, 1, 23.1, 25]) {
    places.now = T0 + 100 + hours * HOUR
    const again = await open(places)
    codes.push(await again.act('mail:send', {}, nothing).catch((error) => error.code))
    await again.close()
  }
  const back = 'clock_set_back'
  assert.deepEqual(codes, ['ran', 'ran', back, back, back, 'ran', 'status_list_stale'])
})

test('a time that was looked at only is known when the device is opened again', async () => {
  const { places, device } = await enrolled()
  places.now = T0 + 20 * HOUR
  assert.equal(device.report(READ).ok, true)
  await device.close()
  places.now = T0 + 10
  const again = await open(places)
  assert.equal(again.report(READ).worst?.code, 'clock_set_back')
  await again.close()
  // The end of an action is a time as well.
  const second = await enrolled()
  await second.device.act(READ, {}, () => void (second.places.now = T0 + 20 * HOUR))
  const kept = [...second.places.storage.slots]
  await second.device.close()
  assert.deepEqual(second.places.storage.slots, kept, 'an entry tells of it already')
  second.places.now = T0 + 10
  const last = await open(second.places)
  assert.equal(last.report(READ).worst?.code, 'clock_set_back')
  await last.close()
})

test('a device closes its log, also when its state cannot be written', async () => {
  const { places, device } = await enrolled()
  const { save } = places.storage
  places.storage.save = () => Promise.reject(new SignetError('io_failed', 'no space'))
  places.now = T0 + 2 * HOUR
  device.report()
  await assert.rejects(device.close(), { code: 'io_failed' })
  places.storage.save = save
  await (await open(places)).close() // the lock was given back
})

test('an older bundle is refused, and an older one that was put back on disk is noticed', async () => {
  const { places, device } = await enrolled()
  const first = device.bundle!.token
  await device.enroll(await makeBundle(places.key, { generation: 2 }))
  await assert.rejects(device.enroll(first), { code: 'bundle_rolled_back' })
  const other = await makeBundle(places.key, { id: 'bundle-0', issuedAt: T0 - 1 })
  await assert.rejects(device.enroll(other), { code: 'bundle_rolled_back' })
  const kept = [...places.storage.slots]
  await device.heard({ bundle: await makeBundle(places.key, { generation: 3 }) })
  await device.act(READ, {}, nothing)
  await device.close()

  places.storage.slots.splice(0, 2, ...kept)
  let again = await open(places)
  const codes = again.report().findings.map(({ code }) => code)
  assert.deepEqual(codes, ['device_state_rolled_back', 'bundle_rolled_back'])
  await assert.rejects(again.act(READ, {}, never), { code: 'device_state_rolled_back' })
  // Hearing from the server is not enough, nor is being opened again after it.
  await again.heard({ serverTime: places.now })
  await again.heard({ serverTime: places.now, revoked: undefined })
  await again.close()
  again = await open(places)
  await assert.rejects(again.act(READ, {}, never), { code: 'device_state_rolled_back' })
  // A file cannot heal it, a fresh bundle from the server can.
  const next = await makeBundle(places.key, { generation: 4 })
  await assert.rejects(again.enroll(next), { code: 'device_state_rolled_back' })
  await assert.rejects(
    again.heard({ bundle: await makeBundle(places.key, { generation: 2, issuedAt: T0 + 5 }) }),
    { code: 'bundle_rolled_back' },
  )
  await again.heard({ bundle: next, serverTime: places.now })
  await again.act(READ, {}, nothing)
  await again.close()
  const third = await open(places)
  assert.equal(third.report().ok, true)
  await third.close()
})

test('a state that is gone is noticed, and one that never was is none', async () => {
  const { places, device } = await enrolled()
  await device.close()
  places.storage.slots.fill(undefined)
  const again = await open(places)
  assert.equal(again.bundle, undefined)
  assert.ok(again.report().findings.some(({ code }) => code === 'device_state_rolled_back'))
  await assert.rejects(again.act(READ, {}, never), { code: 'device_unenrolled' })
  await again.close()
})

test('a torn state gives way to the one before it, and that is told; two torn ones are an error', async () => {
  const { places, device } = await enrolled()
  await device.heard({ serverTime: places.now })
  await device.close()
  const newest = places.storage.slots.findIndex((_, i) => i === 0)
  const whole = places.storage.slots[newest]!
  for (const torn of [whole.slice(0, -1), whole.slice(0, 10), new Uint8Array()]) {
    places.storage.slots[newest] = torn
    const again = await open(places)
    assert.equal(again.torn, true)
    assert.equal(again.bundle?.generation, 1)
    await again.act(READ, {}, nothing)
    await again.close()
    places.storage.slots[newest] = whole
  }
  places.storage.slots.fill(whole.slice(0, -1))
  await assert.rejects(open(places), { code: 'key_mismatch' })
})

test('a log that went back behind the state, or is another one, does not open', async () => {
  const { places, device } = await enrolled()
  await device.act(READ, {}, nothing)
  await device.heard({ serverTime: places.now })
  await device.close()
  await assert.rejects(open({ ...places, log: memoryLogStorage() }), { code: 'log_rolled_back' })
  // The beginning of another log of the same key and name.
  const twin = await newPlaces()
  const other = await open({ ...twin, key: places.key })
  await other.enroll(await makeBundle(places.key))
  for (let i = 0; i < 9; i++) await other.act(READ, {}, nothing)
  await other.close()
  await assert.rejects(open({ ...places, log: twin.log }), { code: 'log_forked' })
  await assert.rejects(open({ ...places, key: await newKey() }), { code: 'key_mismatch' })
})

test('state and log put back together are noticed by an anchor', async () => {
  const anchor = memoryAnchor()
  const places = await newPlaces()
  const device = await open(places, { anchor })
  await device.enroll(await makeBundle(places.key))
  await device.act(READ, {}, nothing)
  await device.close()
  const old = await newPlaces()
  const replica = await open({ ...old, key: places.key })
  await replica.enroll(await makeBundle(places.key))
  await replica.close()
  await assert.rejects(open({ ...old, key: places.key }, { anchor }), { code: 'log_replaced' })
})

test('two devices cannot share one bundle, nor two openings one log', async () => {
  const { places, device } = await enrolled()
  const second = await open(await newPlaces())
  await assert.rejects(second.enroll(device.bundle!.token), { code: 'offline_audience' })
  assert.equal(second.bundle, undefined)
  await assert.rejects(open(places), { code: 'log_locked' })
  await device.close()
  await second.close()
})

test('what the server says: revoked stays revoked, and a fresh bundle is taken', async () => {
  const { places, device } = await enrolled()
  await device.heard({ revoked: { at: T0 + 5, reason: 'lost' } })
  await assert.rejects(device.act(READ, {}, never), { code: 'bundle_revoked' })
  await device.heard({ bundle: await makeBundle(places.key, { generation: 2 }) })
  await assert.rejects(device.act(READ, {}, never), { code: 'bundle_revoked' })
  await device.close()
  const again = await open(places)
  assert.deepEqual(again.revoked, { at: T0 + 5, reason: 'lost' })
  await assert.rejects(again.act(READ, {}, never), { code: 'bundle_revoked' })
  // A new enrolment is a new beginning.
  await again.heard({ bundle: await makeBundle(places.key, { id: 'bundle-2' }) })
  await again.act(READ, {}, nothing)
  await again.close()
})

test('changing to another bundle and back forgets neither a revocation nor a generation', async () => {
  const { places, device } = await enrolled()
  const first = device.bundle!.token
  await device.heard({ bundle: await makeBundle(places.key, { generation: 2 }) })
  await device.heard({ revoked: { reason: 'lost' }, serverTime: T0 + 20 })
  // Of the same second, so that neither is the older one.
  const second = await makeBundle(places.key, { id: 'bundle-2' })
  await device.enroll(second)
  await device.act(READ, {}, nothing)
  await assert.rejects(device.enroll(first), { code: 'bundle_rolled_back' })
  await device.enroll(await makeBundle(places.key, { generation: 2 }))
  await assert.rejects(device.act(READ, {}, never), { code: 'bundle_revoked' })
  await device.close()
  const again = await open(places)
  assert.deepEqual(again.revoked, { reason: 'lost' })
  await again.enroll(second)
  await again.act(READ, {}, nothing)
  await again.enroll(await makeBundle(places.key, { generation: 3 }))
  await assert.rejects(again.act(READ, {}, never), { code: 'bundle_revoked' })
  await again.close()
})

test('a revocation counts at once, even if the disk takes nothing', async () => {
  const { places, device } = await enrolled()
  places.storage.save = () => Promise.reject(new SignetError('io_failed', 'no space'))
  await assert.rejects(device.heard({ revoked: {} }), { code: 'io_failed' })
  await assert.rejects(device.act(READ, {}, never), { code: 'bundle_revoked' })
  await device.close()
})

test('a revocation counts even where the bundle that came along is no good', async () => {
  const { places, device } = await enrolled()
  const bundle = await makeBundle(places.key, { generation: 2, signer: await newKey() })
  await assert.rejects(device.heard({ revoked: {}, bundle }), { code: 'signer_untrusted' })
  await assert.rejects(device.act(READ, {}, never), { code: 'bundle_revoked' })
  await device.close()
})

test('a state put back from before a revocation does not bring the authority back', async () => {
  const { places, device } = await enrolled()
  const kept = [...places.storage.slots]
  await device.heard({ revoked: { at: T0 } })
  await device.close()
  places.storage.slots.splice(0, 2, ...kept)
  const again = await open(places)
  assert.equal(again.revoked, undefined)
  await assert.rejects(again.act(READ, {}, never), { code: 'device_state_rolled_back' })
  await again.close()
})

test('heard() refuses bundles of others and heads that are not of this log', async () => {
  const { places, device } = await enrolled()
  const stranger = await newKey()
  const refused = async (code: string, making: Parameters<typeof makeBundle>[1]) =>
    await assert.rejects(
      device.heard({ bundle: await makeBundle(places.key, { generation: 2, ...making }) }),
      { code },
      code,
    )
  await refused('signer_untrusted', { signer: stranger })
  await refused('signer_untrusted', { issuer: 'https://evil.example' })
  await refused('checkpoint_origin', { log: { origin: 'another.example/log' } })
  await refused('grant_holder', {
    grant: await issueGrant(serverKey, {
      issuer: ISSUER,
      holder: stranger.publicKey,
      lifetime: HOUR,
      scopes: [READ],
    }, { now: T0 }),
  })
  const root = new Uint8Array(32)
  await assert.rejects(device.heard({ acknowledged: { size: 2, root } }), { code: 'log_forked' })
  await assert.rejects(device.heard({ acknowledged: { size: 99, root } }), {
    code: 'log_rolled_back',
  })
  assert.equal(device.bundle!.generation, 1)
  await device.act(READ, {}, nothing)
  await device.close()
})

test('a server that changes its key is known by the bundle before', async () => {
  const { places, device } = await enrolled()
  const next = await newKey()
  const overlapping = [serverKey.publicKey, next.publicKey]
  await device.heard({ bundle: await makeBundle(places.key, { generation: 2, keys: overlapping }) })
  await device.heard({
    bundle: await makeBundle(places.key, { generation: 3, signer: next, keys: overlapping }),
  })
  await device.close()
  const again = await open(places)
  assert.equal(again.bundle?.generation, 3)
  await again.act(READ, {}, nothing)
  await again.close()
})

test('the state is unreadable without its key, and bound to the device', async () => {
  const { places, device } = await enrolled()
  await device.close()
  for (const state of places.storage.slots) {
    if (state === undefined) continue
    const text = new TextDecoder('latin1').decode(state)
    assert.ok(!text.includes('bundle') && !text.includes('grants.example'))
  }
  await assert.rejects(open(places, { kek: await memoryKek('k') }), { code: 'key_mismatch' })
  const kek = await memoryKek('k')
  const own = await newPlaces()
  const sealed = await open(own, { kek })
  await sealed.enroll(await makeBundle(own.key))
  await sealed.close()
  const stolen = { ...await newPlaces(), storage: own.storage }
  await assert.rejects(open(stolen, { kek }), { code: 'key_mismatch' })
  await (await open(own, { kek })).close()
})

test('a device makes its key where there is none, and opens it where there is', async () => {
  const ring = keyring(memoryKeys())
  const made = await Promise.all([deviceKey(ring, 'memory:d'), deviceKey(ring, 'memory:d')])
  const again = await deviceKey(ring, 'memory:d')
  assert.deepEqual(made.map(({ publicKey }) => publicKey.id), Array(2).fill(again.publicKey.id))
  assert.equal(again.publicKey.algorithm.name, 'Ed25519')
  await assert.rejects(deviceKey(ring, 'other:d'), { code: 'uri_malformed' })
})

test('a device that is in use can be looked at by its state', async () => {
  const places = await newPlaces()
  const options = { ...places, trusted, clock: () => places.now * 1000 }
  assert.equal((await peekDevice(options)).report.worst?.code, 'device_unenrolled')
  const device = await open(places)
  await device.enroll(await makeBundle(places.key))
  const peeked = await peekDevice({ ...options, tool: READ })
  assert.deepEqual([peeked.report.ok, peeked.bundle?.generation], [true, 1])
  await device.heard({ revoked: {} })
  assert.equal((await peekDevice(options)).report.worst?.code, 'bundle_revoked')
  await assert.rejects(peekDevice({ ...options, key: await newKey() }), { code: 'key_mismatch' })
  await device.close()
})

test('a state is written now and then while nobody is heard, and counts what it should', async () => {
  const limits = { '*': { calls: { max: 20 } } }
  const { places, device } = await enrolled({ terms: { limits } }, { saveEvery: 5 })
  const before = [...places.storage.slots]
  const calls = Array.from({ length: 18 }, () => device.act(READ, {}, nothing))
  await Promise.all(calls)
  await device.close()
  assert.notDeepEqual(places.storage.slots, before)
  const again = await open(places)
  await again.act(READ, {}, nothing)
  await again.act(READ, {}, nothing)
  await assert.rejects(again.act(READ, {}, never), { code: 'calls_exhausted' })
  assert.deepEqual(again.unresolved, [])
  await again.close()
})

test('a device wants an Ed25519 key', async () => {
  const key = await generateKey(ALGORITHMS.ES256)
  const places = await newPlaces()
  await assert.rejects(openDevice({ ...places, key, trusted }), { code: 'algorithm_unsupported' })
  await assert.rejects(deviceKek(key), { code: 'algorithm_unsupported' })
})

test('entries of a device hold no argument, token or message of an error', async () => {
  const { device } = await enrolled()
  await device.act(READ, { password: 'hunter2' }, nothing)
  await assert.rejects(device.act('other', { password: 'hunter2' }, never))
  const log = device.log!
  await log.checkpoint()
  for (let i = 0; i < log.size; i++) {
    const text = fromUtf8(await log.view().entry(i))
    assert.ok(!text.includes('hunter2') && !text.includes('eyJ'), text)
  }
  await device.close()
})
