/** The suite of stores over a real Deno KV, which Deno has behind a flag only: run by gateway_kv.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type KvDatabase, kvGatewayStore } from '../../backends/gateway_kv.ts'
import { isSignetError } from '../../src/errors.ts'
import { delivery } from '../../src/gateway/delivery.ts'
import { enqueue } from '../../src/gateway/outbox.ts'
import { gatewayStoreSuite } from '../suites/gateway_store_suite.ts'

type Kv = KvDatabase & { close(): void }
const { openKv } = Deno as unknown as { openKv(path: string): Promise<Kv> }
const opened = await Promise.all(Array.from({ length: 13 }, () => openKv(':memory:')))

gatewayStoreSuite('the Deno KV store', () => {
  const kv = opened.pop()!
  let now = 0
  return {
    open: () => kvGatewayStore(kv, { now: () => now }),
    clock: (time) => void (now = time),
    remove: () => kv.close(),
  }
})

test('the Deno KV store keeps values of any length, and refuses what is too much at once', async () => {
  const kv = opened.pop()!
  const store = kvGatewayStore(kv)
  for (const [i, length] of [200_000, 59_000, 150_000].entries()) {
    const record = {
      id: 'a',
      name: 'x'.repeat(length),
      status: 'active',
      redirectUris: [],
      createdAt: i,
    } as const
    await store.commit([{ put: 'agent', record, version: i }])
    assert.deepEqual((await store.records.get('agent', 'a'))?.record, record)
  }
  const bytes = new Uint8Array(65_535).fill(7)
  await store.commit([{ append: 'l', size: 0, entries: [{ bytes, at: 1 }] }])
  assert.deepEqual((await store.logs.entries('l', 0, 9))[0]?.bytes, bytes)
  const entries = Array.from({ length: 1000 }, () => ({ bytes: new Uint8Array(10), at: 1 }))
  await assert.rejects(
    store.commit([{ append: 'l', size: 1, entries }]),
    (error) => isSignetError(error, 'too_large'),
  )
  assert.equal(await store.logs.size('l'), 1)
  kv.close()
})

test('the Deno KV store holds the outbox: thirty messages in one commit, retries, none twice', async () => {
  const kv = opened.pop()!
  const store = kvGatewayStore(kv)
  let now = 1_790_000_000
  const hooks = Array.from({ length: 10 }, (_, i) => `h${i}`)
  const url = 'https://hooks.example/'
  const changes = hooks.flatMap((hook) =>
    [1, 2, 3].flatMap((i) =>
      enqueue({ hook, owner: hook, event: `e${i}`, type: 'x', body: `${hook} ${i}`, url }, now)
    )
  )
  assert.equal(changes.length, 60)
  await store.commit(changes)
  const sent: string[] = []
  const carrier = () =>
    delivery({
      hooks: () => Promise.resolve([]),
      store,
      prepare: ({ body }) => Promise.resolve(new Request(url, { method: 'POST', body })),
      async fetch(request) {
        const body = await request.text()
        const isFirst = !sent.includes(body)
        sent.push(body)
        return new Response(null, { status: isFirst && body.endsWith('2') ? 500 : 200 })
      },
      now: () => now,
      ...{ attempts: 3, retryAfter: 30, timeout: 10 },
    })
  await Promise.all([carrier().deliverDue(), carrier().deliverDue()])
  await carrier().deliverDue()
  assert.equal(sent.length, 30)
  now += 30
  assert.equal(await carrier().deliverDue(), 10)
  assert.equal(sent.length, 40)
  assert.deepEqual(await store.records.list('document', { key: 'outbox:due' }), [])
  kv.close()
})

test('the last', () => opened.forEach((kv) => kv.close()))
