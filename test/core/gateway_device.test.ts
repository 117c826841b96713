import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import {
  type Device as OpenDevice,
  type DeviceStorage,
  type Fetch,
  openDevice,
  refreshDevice,
  syncDevice,
} from '../../src/grants/mod.ts'
import { memoryLogStorage, parseEntry } from '../../src/log/mod.ts'
import { asOperator, type Device, device, granted, ISSUER, type Scene, scene } from './_gateway.ts'

/** Two states in memory, as a disk would keep them. */
function memoryStates(): DeviceStorage {
  const states: Uint8Array<ArrayBuffer>[] = []
  return {
    load: () => Promise.resolve([...states]),
    save(generation, state) {
      states[generation % 2] = state
      return Promise.resolve()
    },
  }
}

function open(at: Scene, who: Device): Promise<OpenDevice> {
  return openDevice({
    key: who.key,
    storage: memoryStates(),
    log: memoryLogStorage(),
    trusted: [{ issuer: ISSUER, keys: [at.key.publicKey] }],
    clock: () => at.now * 1000,
  })
}

/** The network between device and gateway; `lose` swallows the answer of the next requests. */
function network(at: Scene): { fetch: Fetch; lose: number } {
  const net = {
    lose: 0,
    fetch: async (url: string, init: object) => {
      const response = await at.fetch(new Request(url, init as RequestInit))
      if (net.lose-- > 0) throw new TypeError('the connection was cut')
      return response
    },
  }
  return net
}

test('a real device lives its life: acts offline, syncs, is refreshed, is revoked', async () => {
  const at = await scene()
  const who = await device()
  const { bundle, grant_id: grant } = await granted(at, who, undefined, { offline_max_age: '3600' })
  const opened = await open(at, who)
  const net = network(at)
  const options = { fetch: net.fetch, sleep: () => Promise.resolve(), now: () => at.now }
  await opened.enroll(bundle)
  for (let i = 0; i < 5; i++) {
    assert.equal(await opened.act('mail:send', { i }, () => Promise.resolve(i)), i)
  }
  await assert.rejects(opened.act('payments:initiate', {}, () => Promise.resolve(1)))

  net.lose = 2
  const first = await syncDevice(opened, { ...options, batch: 4 })
  assert.equal(first.status.state, 'active')
  assert.deepEqual(first.verdicts, [])
  const kept = await at.store.logs.entries(who.key.publicKey.id, 0, 1000)
  assert.equal(kept.length, first.acknowledged)
  assert.deepEqual(kept.map(({ bytes }) => parseEntry(bytes).seq), kept.map((_, i) => i))
  const types = kept.map(({ bytes }) => parseEntry(bytes).type)
  assert.equal(types.filter((type) => type === 'action.intent').length, 5)
  assert.equal(types.filter((type) => type === 'action.denied').length, 1)

  at.now += 3000
  await refreshDevice(opened, options)
  assert.equal(opened.bundle?.generation, 2)
  at.now += 3000
  await opened.act('mail:send', {}, () => Promise.resolve(1))
  assert.equal((await syncDevice(opened, options)).refreshed, true)
  assert.equal(opened.bundle?.generation, 3)

  await asOperator(at, 'POST', `/admin/grants/${grant}/revoke`, { reason: 'lost' })
  // Not yet heard of: that is what offline means.
  await opened.act('mail:send', {}, () => Promise.resolve(1))
  const last = await syncDevice(opened, options)
  assert.deepEqual(last.status, { state: 'revoked', at: at.now, reason: 'lost' })
  await assert.rejects(opened.act('mail:send', {}, () => Promise.resolve(1)))
  await assert.rejects(refreshDevice(opened, options), (error) => isSignetError(error))
  await syncDevice(opened, options)
  await opened.close()
})

test('a device whose clock is wrong signs by the clock of the server', async () => {
  const at = await scene()
  const who = await device()
  const { bundle } = await granted(at, who)
  const opened = await open(at, who)
  await opened.enroll(bundle)
  const { fetch } = network(at)
  const result = await syncDevice(opened, { fetch, now: () => at.now - 4000 })
  assert.equal(result.status.state, 'active')
  await opened.close()
})
