import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SignetError } from '../../src/errors.ts'
import { type Delivery, delivery, type DeliveryOptions } from '../../src/gateway/delivery.ts'
import { type GatewayStore, memoryGatewayStore } from '../../src/gateway/mod.ts'
import { enqueue, type Message, messagesOf } from '../../src/gateway/outbox.ts'
import { NOW } from './_gateway.ts'

interface Post {
  readonly store: GatewayStore
  readonly sent: string[]
  now: number
  /** What the receiver does with a message's body. */
  answer: (body: string, signal: AbortSignal) => Response | Promise<Response>
  carrier(options?: Partial<DeliveryOptions>): Delivery
  put(body: string, hook?: string, owner?: string): Promise<void>
  messages(hook?: string): Promise<Message[]>
  /** How many places of the queue are taken. */
  waiting(): Promise<number>
}

function post(): Post {
  const store = memoryGatewayStore()
  const hooks = new Map<string, string>()
  const at: Post = {
    store,
    sent: [],
    now: NOW,
    answer: () => new Response(null, { status: 204 }),
    carrier: (options) =>
      delivery({
        store,
        prepare: ({ url, body }) => Promise.resolve(new Request(url, { method: 'POST', body })),
        fetch: async (request) => {
          const body = await request.text()
          at.sent.push(body)
          return await at.answer(body, request.signal)
        },
        hooks: () => Promise.resolve([...hooks].sort().map(([hook, owner]) => ({ hook, owner }))),
        now: () => at.now,
        attempts: 3,
        retryAfter: 30,
        timeout: 10,
        ...options,
      }),
    async put(body, hook = 'h', owner = 'o') {
      const url = 'https://hooks.example/'
      hooks.set(hook, owner)
      const given = { hook, owner, event: `evt_${body}`, type: 'grant.created', body, url }
      await store.commit(enqueue(given, at.now))
    },
    async messages(hook = 'h') {
      const found = await store.records.list('document', { key: messagesOf(hook) })
      return found.map(({ record }) => record.value as unknown as Message)
    },
    waiting: async () =>
      (await store.records.list('document', { key: 'outbox:due', limit: 1000 })).length,
  }
  return at
}

test('a message that is refused comes again after twice the time, then is given up and told of', async () => {
  const at = post()
  at.answer = () => new Response('x'.repeat(10), { status: 500 })
  const carrier = at.carrier()
  await at.put('a')
  const told = async () => {
    const [{ status, attempts, lastError, dueAt }] = await at.messages() as [Message]
    return [status, attempts, lastError, dueAt - at.now]
  }
  assert.equal(await carrier.deliverDue(), 0)
  assert.deepEqual(await told(), ['pending', 1, 'HTTP 500', 30])
  at.now += 29
  await carrier.deliverDue()
  assert.equal(at.sent.length, 1, 'not before its time')
  at.now += 1
  await carrier.deliverDue()
  assert.deepEqual(await told(), ['pending', 2, 'HTTP 500', 60])
  at.now += 60
  await carrier.deliverDue()
  assert.deepEqual((await told()).slice(0, 3), ['failed', 3, 'HTTP 500'])
  at.now += 100_000
  await carrier.deliverDue()
  assert.deepEqual(at.sent, ['a', 'a', 'a'])
  assert.equal(await at.waiting(), 0)
})

test('redirects, no answer and a lost connection are refusals, told of in our own words', async () => {
  const at = post()
  const cases: [Post['answer'], string][] = [
    [
      () => new Response(null, { status: 302, headers: { location: 'http://10.0.0.1/' } }),
      'HTTP 302',
    ],
    [() => Promise.reject(new TypeError('connect ECONNREFUSED 10.1.2.3:5432')), 'no connection'],
    [
      () =>
        Promise.reject(
          new SignetError('usage_invalid', 'the host has an address that is not public'),
        ),
      'the host has an address that is not public',
    ],
    [
      (_, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      'no answer in time',
    ],
  ]
  for (const [i, [answer, said]] of cases.entries()) {
    at.answer = answer
    await at.put(`m${i}`, `h${i}`)
    await at.carrier({ timeout: 0.05 }).deliverDue()
    const [message] = await at.messages(`h${i}`)
    assert.deepEqual([message!.status, message!.lastError], ['pending', said])
  }
})

test('a process that ends between the claim and the answer loses no message', async () => {
  const at = post()
  const died = at.carrier({ fetch: () => new Promise(() => {}) })
  await at.put('a')
  void died.deliverDue() // never comes back, as if killed
  await new Promise((resolve) => setTimeout(resolve, 20))
  const carrier = at.carrier()
  assert.equal(await carrier.deliverDue(), 0, 'the other one may still be at it')
  at.now += 60
  assert.equal(await carrier.deliverDue(), 1)
  assert.deepEqual(at.sent, ['a'])
  assert.equal(await carrier.deliverDue(), 0)
})

test('a crash at every attempt does not make for endless attempts, nor does a long night', async () => {
  const at = post()
  const carrier = at.carrier({ prepare: () => Promise.reject(new Error('dies')), attempts: 3 })
  await at.put('old')
  at.now += 25 * 3600
  await carrier.deliverDue()
  assert.equal((await at.messages())[0]!.status, 'failed')
  assert.equal((await at.messages())[0]!.lastError, 'it was too late')
  assert.equal(at.sent.length, 0)

  await at.put('poison', 'p')
  for (let i = 0; i < 20; i++) {
    void at.carrier({ fetch: () => new Promise(() => {}) }).deliverDue()
    await new Promise((resolve) => setTimeout(resolve, 2))
    at.now += 100
  }
  const [message] = await at.messages('p')
  assert.equal(message!.status, 'failed')
  assert.equal(message!.attempts, 3 + 10 + 1)
})

test('two processes at once send a message once', async () => {
  const at = post()
  for (let i = 0; i < 20; i++) await at.put(`m${i}`, `h${i % 5}`)
  const carriers = [at.carrier(), at.carrier(), at.carrier()]
  const counts = await Promise.all(carriers.map((one) => one.deliverDue()))
  while (await at.waiting() > 0) await carriers[0]!.deliverDue()
  assert.equal(at.sent.length, 20)
  assert.equal(new Set(at.sent).size, 20)
  assert.ok(counts.reduce((a, b) => a + b) <= 20)
})

test('who answers slowly or not at all holds nobody else up, whatever their heap', async () => {
  const at = post()
  for (let i = 0; i < 450; i++) await at.put(`dead ${i}`, `dead${i % 10}`, 'slow')
  at.now++
  for (let i = 0; i < 3; i++) await at.put(`live ${i}`, 'live', 'quick')
  const stop = new AbortController()
  at.answer = (body, signal) =>
    body.startsWith('live')
      ? new Response()
      : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  const running = at.carrier({ timeout: 100 }).run(stop.signal)
  for (let left = 200; left > 0 && at.sent.filter((body) => body.startsWith('live')).length < 3;) {
    left--
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const live = at.sent.filter((body) => body.startsWith('live'))
  assert.deepEqual(live.toSorted(), ['live 0', 'live 1', 'live 2'])
  assert.equal(at.sent.length - live.length, 4, 'four at once for one owner')
  stop.abort()
  await running
  const all = (await Promise.all([...Array(10).keys()].map((i) => at.messages(`dead${i}`)))).flat()
  assert.equal(all.every(({ status }) => status === 'pending'), true)
  assert.equal(all.filter(({ lastError }) => lastError === 'interrupted').length, 4)
  assert.equal(await at.waiting(), 450)
})

test('a store that fails is told of, ends no loop, and spins in none', async () => {
  const at = post()
  await at.put('a')
  let fails = true
  const commit: GatewayStore['commit'] = (changes) =>
    fails ? Promise.reject(new SignetError('io_failed', 'disk')) : at.store.commit(changes)
  const faults: unknown[] = []
  const options = {
    store: { ...at.store, commit },
    onFault: (error: unknown) => faults.push(error),
  }
  await assert.rejects(at.carrier(options).deliverDue(), { code: 'io_failed' })
  assert.equal(at.sent.length, 0)
  const stop = new AbortController()
  const running = at.carrier(options).run(stop.signal)
  await new Promise((resolve) => setTimeout(resolve, 30))
  assert.ok(faults.length < 10, String(faults.length))
  fails = false
  while (at.sent.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  stop.abort()
  await running
  assert.equal(await at.waiting(), 0)
})

test('what nobody wants any more is forgotten, and what was told of long ago too', async () => {
  const at = post()
  await at.put('a')
  await at.carrier({ prepare: () => Promise.resolve(undefined) }).deliverDue()
  assert.deepEqual([await at.messages(), await at.waiting(), at.sent], [[], 0, []])

  await at.put('b')
  await at.carrier().deliverDue()
  at.now += 6 * 86_400
  await at.put('c')
  await at.carrier().deliverDue()
  assert.deepEqual((await at.messages()).map(({ event }) => event), ['evt_b', 'evt_c'])
  at.now += 2 * 86_400
  await at.put('d')
  await at.carrier().deliverDue()
  assert.deepEqual((await at.messages()).map(({ event }) => event), ['evt_c', 'evt_d'])
  assert.ok((await at.messages()).every(({ body }) => body === ''), 'what was said is not kept')
})

test('nobody reads the body of an answer, however long', async () => {
  const at = post()
  let read = 0
  let cancelled = false
  at.answer = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          read++
          controller.enqueue(new Uint8Array(65_536))
        },
        cancel() {
          cancelled = true
        },
      }),
    )
  await at.put('a')
  assert.equal(await at.carrier().deliverDue(), 1)
  assert.ok(cancelled)
  assert.ok(read < 3, String(read))
})

test('of a heap that waits for one nobody reads more than the front', async () => {
  const at = post()
  for (let i = 0; i < 1500; i++) await at.put(`dead ${i}`, `dead${i % 2}`, 'slow')
  await at.put('live', 'live', 'quick')
  let read = 0
  const list: GatewayStore['records']['list'] = async (kind, options) => {
    const found = await at.store.records.list(kind, options)
    read += found.length
    return found
  }
  at.answer = (body, signal) =>
    body === 'live'
      ? new Response()
      : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  const stop = new AbortController()
  const store = { ...at.store, records: { ...at.store.records, list } }
  const running = at.carrier({ store, timeout: 100 }).run(stop.signal)
  while (!at.sent.includes('live')) await new Promise((resolve) => setTimeout(resolve, 5))
  await new Promise((resolve) => setTimeout(resolve, 20))
  stop.abort()
  await running
  assert.ok(read < 700, `${read} places were read`)
})

test('addresses take turns: the heaps of those who never answer hold up none that does', async () => {
  const at = post()
  for (let i = 0; i < 30 * 20; i++) await at.put(`dead ${i}`, `dead${i % 20}`, `slow${i % 5}`)
  at.now++
  await at.put('live', 'live', 'quick')
  at.answer = (body, signal) =>
    body === 'live'
      ? new Response()
      : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  const stop = new AbortController()
  const running = at.carrier({ timeout: 0.02 }).run(stop.signal)
  while (!at.sent.includes('live')) await new Promise((resolve) => setTimeout(resolve, 2))
  const before = at.sent.indexOf('live')
  stop.abort()
  await running
  assert.ok(before < 60, `${before} attempts came first`)
})

test('what waits for an address that is gone is looked at behind a heap too', async () => {
  const at = post()
  for (let i = 0; i < 300; i++) await at.put(`gone ${i}`, 'gone', 'a')
  const carrier = at.carrier({
    hooks: () => Promise.resolve([]),
    prepare: () => Promise.resolve(undefined),
  })
  await carrier.deliverDue()
  assert.deepEqual([await at.waiting(), at.sent], [0, []])
})
