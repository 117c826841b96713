/** What every store of a gateway must do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  type AgentRecord,
  everyRecord,
  type GatewayStore,
  NONCE_SLACK,
  retrying,
} from '../../src/gateway/mod.ts'
import { logOf, message, sync } from '../core/_device_logs.ts'
import { device, granted, NOW, scene } from '../core/_gateway.ts'

/** A place for one store. */
export interface GatewayPlace {
  /** The store as a process sees it that just started. The clock is that of the place. */
  open(): GatewayStore
  /** Sets the clock, seconds since 1970. */
  clock(now: number): void
  /** Removes the place. */
  remove(): void
}

const conflict = (error: unknown) => isSignetError(error, 'store_conflict')
const agent = (id: string, more: Partial<AgentRecord> = {}): AgentRecord => ({
  id,
  name: id,
  status: 'active',
  redirectUris: [],
  createdAt: 1,
  ...more,
})
const put = (record: AgentRecord, version = 0) => ({ put: 'agent', record, version }) as const
const entry = (text: string, code?: string) => ({ bytes: utf8(text), code, at: 7 })

/** Runs the suite. */
export function gatewayStoreSuite(name: string, place: () => GatewayPlace): void {
  const on = (title: string, fn: (store: GatewayStore, place: GatewayPlace) => Promise<void>) =>
    test(`${name} of a gateway: ${title}`, async () => {
      const where = place()
      try {
        await fn(where.open(), where)
      } finally {
        where.remove()
      }
    })

  on('commit refuses a version that is not the one kept, and then does nothing', async (store) => {
    await assert.rejects(store.commit([put(agent('a'), 1)]), conflict)
    await store.commit([put(agent('a'))])
    for (const version of [0, 2]) {
      const list = { status: 's', index: 0, value: 1 } as const
      const log = { append: 'l', size: 0, entries: [entry('x')] }
      await assert.rejects(
        store.commit([put(agent('b')), list, log, put(agent('a', { name: 'new' }), version)]),
        conflict,
      )
    }
    assert.equal(await store.records.get('agent', 'b'), undefined)
    assert.equal((await store.records.get('agent', 'a'))?.record.name, 'a')
    assert.equal((await store.status.read('s')).values.size, 0)
    assert.equal(await store.logs.size('l'), 0)
    await store.commit([put(agent('a', { name: 'new' }), 1)])
    assert.deepEqual(await store.records.get('agent', 'a'), {
      record: agent('a', { name: 'new' }),
      version: 2,
    })
  })

  on('commit refuses to change one thing twice', async (store) => {
    await assert.rejects(store.commit([put(agent('a')), put(agent('a'))]), conflict)
    const twice = { append: 'l', size: 0, entries: [entry('x')] }
    await assert.rejects(store.commit([twice, twice]), conflict)
    assert.equal(await store.logs.size('l'), 0)
  })

  on('commit refuses to append anywhere but at the end', async (store) => {
    await assert.rejects(store.commit([{ append: 'l', size: 1, entries: [entry('x')] }]), conflict)
    await store.commit([{ append: 'l', size: 0, entries: [entry('a'), entry('b', 'bad')] }])
    for (const size of [0, 1, 3]) {
      await assert.rejects(store.commit([{ append: 'l', size, entries: [entry('x')] }]), conflict)
    }
    await store.commit([{ append: 'l', size: 2, entries: [entry('c\n\0\u2028')] }])
    await store.commit([{ append: 'other', size: 0, entries: [entry('o')] }])
    assert.deepEqual(await store.logs.entries('l', 1, 9), [
      entry('b', 'bad'),
      entry('c\n\0\u2028'),
    ])
    assert.deepEqual(await store.logs.entries('l', 0, 1), [entry('a')])
    assert.deepEqual(await store.logs.entries('none', 0, 1), [])
  })

  on('entries are given by bytes too, one at least', async (store) => {
    const texts = ['aaaa', 'bb', 'cc', 'd', 'eeeeeeee', 'f']
    await store.commit([{ append: 'l', size: 0, entries: texts.map((text) => entry(text)) }])
    const page = async (from: number, limit: number, max: number) =>
      (await store.logs.entries('l', from, limit, max)).map(({ bytes }) => bytes.length)
    assert.deepEqual(await page(0, 9, 6), [4, 2])
    assert.deepEqual(await page(0, 9, 7), [4, 2])
    assert.deepEqual(await page(0, 1, 7), [4])
    assert.deepEqual(await page(0, 9, 1), [4])
    assert.deepEqual(await page(4, 9, 1), [8])
    assert.deepEqual(await page(4, 9, 9), [8, 1])
    assert.deepEqual(await page(6, 9, 9), [])
    assert.deepEqual(await page(1, 9, 0), [2])
  })

  on('insert takes a nonce once, until it has expired', async (store, place) => {
    place.clock(100)
    assert.equal(await store.nonces.insert('n', 105), true)
    assert.equal(await store.nonces.insert('n', 105), false)
    place.clock(105)
    assert.equal(await store.nonces.insert('n', 200), false)
    assert.equal(await place.open().nonces.insert('n', 200), false)
    // Nor when the clock was ahead for a while, and others were forgotten meanwhile.
    place.clock(105 + 1000)
    assert.equal(await store.nonces.insert('other', 1200), true)
    place.clock(105)
    assert.equal(await store.nonces.insert('n', 200), false)
    place.clock(105 + NONCE_SLACK + 1)
    assert.equal(await store.nonces.insert('n', 200), true)
    place.clock(106)
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => store.nonces.insert('many', 200)),
    )
    assert.equal(answers.filter((taken) => taken).length, 1)
  })

  on('allocate gives no index twice', async (store, place) => {
    const other = place.open()
    const given = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : other).status.allocate('s')),
    )
    assert.deepEqual(given.sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i))
    assert.equal(await store.status.allocate('t'), 0)
    assert.equal((await store.status.read('s')).size, 20)
  })

  on('values of a status list are what was set last', async (store) => {
    const before = await store.status.read('s')
    assert.deepEqual(before, { size: 0, version: 0, values: new Map() })
    await store.commit([
      { status: 's', index: 3, value: 1 },
      { status: 's', index: 4, value: 2 },
    ])
    await store.commit([{ status: 's', index: 4, value: 0 }])
    const after = await store.status.read('s')
    assert.deepEqual(after.values, new Map([[3, 1]]))
    assert.notEqual(after.version, before.version)
    assert.deepEqual(await store.status.head('s'), { size: after.size, version: after.version })
    assert.deepEqual(await store.status.head('none'), { size: 0, version: 0 })
  })

  on('list follows the keys of records, as they are now, in pages', async (store) => {
    for (const id of ['c', 'a', 'b', 'd']) {
      await store.commit([put(agent(id, { tenant: id === 'd' ? 'other' : 't' }))])
    }
    const ids = async (options: Parameters<typeof store.records.list>[1]) =>
      (await store.records.list('agent', options)).map(({ record }) => record.id)
    assert.deepEqual(await ids({}), ['a', 'b', 'c', 'd'])
    assert.deepEqual(await ids({ key: 'tenant:t', limit: 2 }), ['a', 'b'])
    assert.deepEqual(await ids({ key: 'tenant:t', after: 'b', limit: 2 }), ['c'])
    await store.commit([put(agent('a', { tenant: 'other' }), 1)])
    assert.deepEqual(await ids({ key: 'tenant:t' }), ['b', 'c'])
    assert.deepEqual(await ids({ key: "tenant:t' OR 1=1 --" }), [])
    await store.commit([{ remove: 'agent', id: 'b', version: 1 }])
    assert.deepEqual(await ids({ key: 'tenant:t' }), ['c'])
    await assert.rejects(store.commit([{ remove: 'agent', id: 'b', version: 1 }]), conflict)
    const every = []
    for await (const { record } of everyRecord(store.records, 'agent')) every.push(record.id)
    assert.deepEqual(every, ['a', 'c', 'd'])
  })

  on('what comes out is a copy of what went in', async (store) => {
    const record = { ...agent('a'), redirectUris: ['x'] }
    const bytes = utf8('abc')
    await store.commit([
      { put: 'agent', record, version: 0 },
      { append: 'l', size: 0, entries: [{ bytes, at: 1 }] },
    ])
    record.redirectUris.push('y')
    bytes[0] = 0
    assert.deepEqual((await store.records.get('agent', 'a'))?.record.redirectUris, ['x'])
    const [read] = await store.logs.entries('l', 0, 1)
    read!.bytes[1] = 0
    assert.deepEqual((await store.logs.entries('l', 0, 1))[0]!.bytes, utf8('abc'))
  })

  on(
    'a log grows no further than its ceilings, with two processes at once and after a restart',
    async (store, place) => {
      place.clock(NOW)
      const ceilings = { logEntries: 5, logBytes: 100_000 }
      const one = await scene({ store, ceilings })
      const { key } = one
      const two = await scene({ store: place.open(), key, ceilings })
      const who = await device()
      const { bundle_id: id } = await granted(one, who)
      const log = await logOf(who, 8, NOW)
      const ends = [3, 4, 5, 6, 8, 3, 5, 8]
      const bodies = await Promise.all(ends.map((end) => message(log, 0, end)))
      const answers = await Promise.all(
        bodies.map((body, i) => sync(i % 2 === 0 ? one : two, who, id, body)),
      )
      for (const [i, { acknowledged: { size }, refused }] of answers.entries()) {
        assert.ok(size <= 5, `${size}`)
        assert.equal(refused?.code, ends[i]! > 5 ? 'log_quota' : undefined)
      }
      const again = await scene({ store: place.open(), key, ceilings })
      const name = who.key.publicKey.id
      const entries = await store.logs.entries(name, 0, 99)
      const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
      const { state } = (await store.records.get('log', name))!.record
      assert.deepEqual([state.size, state.bytes, entries.length], [5, bytes, 5])
      const last = await sync(again, who, id, await message(log))
      assert.deepEqual(last.refused, { code: 'log_quota', entries: 0, bytes: 100_000 - bytes })
      assert.equal(last.acknowledged.size, 5)
    },
  )

  on('many writers at once lose nothing when they try again', async (store, place) => {
    const stores = [store, place.open()]
    await store.commit([put(agent('n', { createdAt: 0 }))])
    await Promise.all(Array.from({ length: 20 }, (_, i) =>
      retrying(async () => {
        const { records, commit } = stores[i % 2]!
        const { record, version } = (await records.get('agent', 'n'))!
        await commit([put({ ...record, createdAt: record.createdAt + 1 }, version)])
      })))
    assert.equal((await place.open().records.get('agent', 'n'))?.record.createdAt, 20)
  })
}
