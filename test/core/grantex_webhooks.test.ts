import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromHex, utf8 } from '../../src/bytes.ts'
import {
  type GatewayStore,
  grantexWebhooks,
  memoryGatewayStore,
  newGrantexKey,
  type WebhookOptions,
} from '../../src/gateway/mod.ts'
import { asOperator, NOW } from './_gateway.ts'
import {
  asks,
  call,
  type Face,
  face,
  good,
  newAgent,
  newBundle,
  refused,
  SCOPES,
  tokenOf,
} from './_grantex_face.ts'

const URL_ = 'https://hooks.example/in?a=b'
const ALL = ['grant.created', 'grant.revoked', 'token.issued']
const BUNDLES = ['consent_bundle.created', 'consent_bundle.synced', 'consent_bundle.revoked']

interface Sent {
  readonly url: string
  readonly headers: Headers
  readonly body: string
  readonly redirect: string
}

interface Wired extends Face {
  readonly sent: Sent[]
  deliver(): Promise<number>
}

async function wired(more: Partial<WebhookOptions> = {}, given?: GatewayStore): Promise<Wired> {
  const sent: Sent[] = []
  const store = given ?? memoryGatewayStore()
  const clock = { now: () => NOW }
  const webhooks = grantexWebhooks({
    store,
    key: new Uint8Array(32).fill(1),
    async fetch(request) {
      const { url, headers, redirect } = request
      sent.push({ url, headers, redirect, body: await request.text() })
      return new Response(null, { status: 200 })
    },
    now: () => clock.now(),
    ...more,
  })
  const at = await face({ webhooks, insecureSandboxApproval: true }, undefined, { store })
  clock.now = () => at.now
  return Object.assign(at, { sent, deliver: () => webhooks.deliverDue() })
}

const hook = async (at: Face, events: readonly string[] = ALL, url = URL_) =>
  await good(call(at, 'POST', '/v1/webhooks', { url, events }), 201)

// deno-lint-ignore no-explicit-any -- looked into by tests only
const bodies = (at: Wired): any[] => at.sent.map(({ body }) => JSON.parse(body))

/** As a receiver does: HMAC-SHA-256 keyed by the text of the secret, over the text that is said to be signed. */
async function holds(secret: string, text: string, field: string | null): Promise<boolean> {
  const [, digest = ''] = /^sha256=([0-9a-f]{64})$/.exec(field ?? '') ?? []
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', utf8(secret), algorithm, false, ['verify'])
  return await crypto.subtle.verify('HMAC', key, fromHex(digest), utf8(text))
}

test('a webhook is refused where it could reach inside, for unknown events, and beyond the tenth', async () => {
  const at = await wired()
  const post = (body: unknown) => call(at, 'POST', '/v1/webhooks', body)
  for (
    const url of [
      ...['http://hooks.example/', 'https://127.0.0.1/', 'https://localhost/', 'https://10.0.0.1/'],
      ...['https://169.254.169.254/latest/meta-data', 'https://u:p@hooks.example/', 'x', '', 7],
    ]
  ) await refused(post({ url, events: ALL }), 400, 'BAD_REQUEST')
  for (const events of [[], ['grant.exploded'], 'grant.created', [7], undefined, null]) {
    await refused(post({ url: URL_, events }), 400, 'BAD_REQUEST')
  }
  for (const body of ['', '[]', '{', 'null']) await refused(post(body), 400, 'BAD_REQUEST')
  const made = await Promise.all(Array.from({ length: 15 }, () => post({ url: URL_, events: ALL })))
  assert.equal(made.filter(({ status }) => status === 201).length, 10)
  assert.equal(made.filter(({ body }) => body.code === 'PLAN_LIMIT_EXCEEDED').length, 5)
  const { webhooks } = await good(call(at, 'GET', '/v1/webhooks'))
  assert.equal(webhooks.length, 10)
})

test('a server that sends none takes none', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const asked = call(at, 'POST', '/v1/webhooks', { url: URL_, events: ALL })
  await refused(asked, 501, 'NOT_IMPLEMENTED')
  assert.deepEqual(await good(call(at, 'GET', '/v1/webhooks')), { webhooks: [] })
})

test('developers see, remove and are told of what is theirs only', async () => {
  const at = await wired()
  const { id } = await hook(at)
  const other = await newGrantexKey(at.store, 'dev_two', NOW)
  const theirs = (method: string, path: string) => call(at, method, path, undefined, other)
  assert.deepEqual(await good(theirs('GET', '/v1/webhooks')), { webhooks: [] })
  await refused(theirs('DELETE', `/v1/webhooks/${id}`), 404, 'NOT_FOUND')
  await refused(theirs('GET', `/v1/webhooks/${id}/deliveries`), 404, 'NOT_FOUND')
  const agent = await good(
    call(at, 'POST', '/v1/agents', { name: 'x', scopes: SCOPES }, other),
    201,
  )
  const asks = { agentId: agent.agentId, principalId: 'bob', scopes: SCOPES }
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks, other), 201)
  await good(call(at, 'POST', '/v1/token', { code, agentId: agent.agentId }, other), 201)
  await at.deliver()
  assert.deepEqual(at.sent, [])
})

test('no secret lies in the store, and each webhook has its own', async () => {
  const at = await wired()
  const [one, two] = [await hook(at), await hook(at)]
  assert.match(one.secret, /^[0-9a-f]{64}$/)
  assert.notEqual(one.secret, two.secret)
  const { webhooks } = await good(call(at, 'GET', '/v1/webhooks'))
  assert.deepEqual(Object.keys(webhooks[0]), ['id', 'url', 'events', 'createdAt'])
  await tokenOf(at, await newAgent(at))
  for (const { record } of await at.store.records.list('document', { limit: 1000 })) {
    const text = JSON.stringify(record)
    assert.ok(!text.includes(one.secret) && !text.includes(two.secret), record.id)
    assert.ok(!/eyJ|PRIVATE KEY|code_|ref_/.test(text) || !record.id.startsWith('outbox:'), text)
  }
})

test('a delivery is signed twice: over its body, and over its time and body, anew each time', async () => {
  let fails = true
  const seen: Headers[] = []
  const at = await wired({
    fetch(request) {
      seen.push(request.headers)
      return Promise.resolve(new Response(null, { status: fails ? 503 : 200 }))
    },
  })
  const { secret } = await hook(at, ['grant.created'])
  await tokenOf(at, await newAgent(at))
  const [message] = (await at.store.records.list('document', { limit: 1000 }))
    .map(({ record }) => record).filter(({ id }) => id.startsWith('outbox:message:'))
  const body = String(message!.value.body)
  await at.deliver()
  fails = false
  at.now += 30
  await at.deliver()
  assert.equal(seen.length, 2)
  for (const [i, headers] of seen.entries()) {
    const time = headers.get('x-grantex-timestamp')
    assert.equal(time, String(NOW + 30 * i))
    assert.equal(headers.get('content-type'), 'application/json')
    assert.ok(await holds(secret, body, headers.get('x-grantex-signature')))
    assert.ok(await holds(secret, `${time}.${body}`, headers.get('x-grantex-signature-v2')))
    assert.ok(!await holds(secret, `${NOW - 1}.${body}`, headers.get('x-grantex-signature-v2')))
    assert.ok(!await holds(`${secret}0`, body, headers.get('x-grantex-signature')))
  }
})

test('what is told: each grant, each token, each end with those below, each bundle', async () => {
  const at = await wired()
  await hook(at, [...ALL, ...BUNDLES])
  const agentId = await newAgent(at)
  const { grantToken, grantId } = await tokenOf(at, agentId)
  const child = await good(
    call(at, 'POST', '/v1/grants/delegate', {
      ...{ parentGrantToken: grantToken, subAgentId: agentId, scopes: SCOPES.slice(0, 1) },
    }),
    201,
  )
  const { bundleId } = await newBundle(at, agentId)
  await good(call(at, 'POST', `/v1/consent-bundles/${bundleId}/revoke`, {}))
  await good(call(at, 'DELETE', `/v1/grants/${grantId}`), 204)
  await good(call(at, 'DELETE', `/v1/grants/${grantId}`), 204) // tells nothing new
  await at.deliver()
  const told = bodies(at)
  for (const { id, type, createdAt, data, ...rest } of told) {
    assert.deepEqual(rest, {})
    assert.match(id, /^evt_[0-9A-Z]{26}$/)
    assert.equal(createdAt, new Date(NOW * 1000).toISOString())
    assert.ok([...ALL, ...BUNDLES].includes(type))
    assert.equal(typeof data, 'object')
  }
  const of = (type: string) => told.filter((one) => one.type === type).map(({ data }) => data)
  const created = of('grant.created')
  assert.equal(created.length, 3)
  const [first] = created.filter((data) => data.grantId === grantId)
  const iso = new Date((NOW + 3600) * 1000).toISOString()
  assert.deepEqual(first, {
    grantId,
    agentId,
    principalId: 'alice',
    scopes: SCOPES,
    expiresAt: iso,
  })
  const [narrowed] = created.filter((data) => data.grantId === child.grantId)
  assert.deepEqual([narrowed.parentGrantId, narrowed.delegationDepth], [grantId, 1])
  assert.equal(of('token.issued').length, 3)
  assert.ok(of('token.issued').every(({ tokenId }) => /^tok_/.test(tokenId)))
  const ends = of('grant.revoked').map((data) => [data.grantId, data.cascade, data.reason])
  assert.deepEqual(
    ends.toSorted(),
    [
      [grantId, true, 'revoked by the developer'],
      [child.grantId, false, 'revoked by the developer'],
    ].toSorted(),
  )
  assert.deepEqual(of('consent_bundle.created').map((data) => data.bundleId), [bundleId])
  assert.deepEqual(of('consent_bundle.revoked').map((data) => data.bundleId), [bundleId])
  assert.ok(at.sent.every(({ url, redirect }) => url === URL_ && redirect === 'manual'))
})

test("the operator's revocation, and the end of a grant whose code came twice, are told of too", async () => {
  const at = await wired()
  await hook(at, ['grant.revoked'])
  const agentId = await newAgent(at)
  const { grantId } = await tokenOf(at, agentId)
  assert.equal((await asOperator(at, 'POST', `/admin/grants/${grantId}/revoke`)).status, 200)
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks(agentId)), 201)
  const token = () => call(at, 'POST', '/v1/token', { code, agentId })
  const { grantId: second } = await good(token(), 201)
  await refused(token(), 400, 'BAD_REQUEST')
  await at.deliver()
  assert.deepEqual(
    bodies(at).map(({ data }) => data.grantId).toSorted(),
    [grantId, second].toSorted(),
  )
})

test('what could not be committed is not told, and what was is not lost', async () => {
  const store = memoryGatewayStore()
  let fails = false
  const commit: GatewayStore['commit'] = (changes) =>
    fails ? Promise.reject(new Error('disk')) : store.commit(changes)
  const at = await wired({}, { ...store, commit })
  await hook(at, ALL)
  const agentId = await newAgent(at)
  const asks = { agentId, principalId: 'alice', scopes: SCOPES }
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks), 201)
  fails = true
  await refused(call(at, 'POST', '/v1/token', { code, agentId }), 500, 'INTERNAL_ERROR')
  fails = false
  await at.deliver()
  assert.deepEqual(at.sent, [])
  await good(call(at, 'POST', '/v1/token', { code, agentId }), 201)
  // Another process, over the same store: the one that answered is gone.
  const after = await wired({}, store)
  assert.equal(await after.deliver(), 2)
  assert.deepEqual(bodies(after).map(({ type }) => type).toSorted(), [
    'grant.created',
    'token.issued',
  ])
})

test('a webhook that is deleted gets nothing more, and leaves nothing behind', async () => {
  const at = await wired()
  const { id } = await hook(at)
  await tokenOf(at, await newAgent(at))
  const list = async () =>
    (await at.store.records.list('document', { limit: 1000 })).map(({ record }) => record.id)
  assert.equal((await list()).filter((one) => one.startsWith('outbox:')).length, 4)
  await good(call(at, 'DELETE', `/v1/webhooks/${id}`), 204)
  await refused(call(at, 'DELETE', `/v1/webhooks/${id}`), 404, 'NOT_FOUND')
  assert.equal(await at.deliver(), 0)
  assert.deepEqual(at.sent, [])
  assert.deepEqual((await list()).filter((one) => one.startsWith('outbox:')), [])
})

test('a place that is no longer allowed, and a key that is another, are told of and not sent to', async () => {
  const store = memoryGatewayStore()
  const before = await wired({ insecureLoopback: true }, store)
  const { id } = await hook(before, ALL, 'http://127.0.0.1:9/')
  await tokenOf(before, await newAgent(before))
  const errors = async (at: Face) =>
    (await good(call(at, 'GET', `/v1/webhooks/${id}/deliveries`))).deliveries
      .map(({ status, lastError }: Record<string, string>) => `${status} ${lastError}`)
  const strict = await wired({}, store)
  await strict.deliver()
  assert.deepEqual(strict.sent, [])
  assert.match((await errors(before))[0], /^pending this is no place to send to: it is not https:/)
  const other = await wired({ insecureLoopback: true, key: new Uint8Array(32) }, store)
  other.now += 40
  await other.deliver()
  assert.deepEqual(other.sent, [])
  assert.match((await errors(before))[0], /^pending the key of the server has changed/)
})

test('deliveries are listed by state, page by page', async () => {
  let status = 500
  const at = await wired({
    fetch: () => Promise.resolve(new Response(null, { status })),
    attempts: 1,
  })
  const { id } = await hook(at, ['token.issued'])
  const agentId = await newAgent(at)
  const list = (query = '') => call(at, 'GET', `/v1/webhooks/${id}/deliveries${query}`)
  for (const query of ['?status=x', '?page=0', '?page=-1', '?page=x', '?pageSize=0', '?page=1e3']) {
    await refused(list(query), 400, 'BAD_REQUEST')
  }
  await tokenOf(at, agentId)
  await at.deliver()
  status = 200
  at.now++
  await tokenOf(at, agentId)
  await at.deliver()
  at.now++
  await tokenOf(at, agentId)
  const all = await good(list())
  assert.deepEqual([all.total, all.page, all.pageSize], [3, 1, 20])
  const [waits, came, failed] = all.deliveries
  assert.deepEqual([waits.status, waits.attempts, waits.maxAttempts], ['pending', 0, 1])
  assert.deepEqual([came.status, came.lastError], ['delivered', null])
  assert.equal(came.deliveredAt, new Date((NOW + 1) * 1000).toISOString())
  assert.deepEqual([failed.status, failed.lastError], ['failed', 'HTTP 500'])
  assert.deepEqual([failed.webhookId, failed.eventType, failed.url], [id, 'token.issued', URL_])
  assert.equal((await good(list('?status=failed'))).total, 1)
  const second = await good(list('?page=2&pageSize=2'))
  assert.deepEqual(second.deliveries.map((one: { id: string }) => one.id), [failed.id])
})

test('grantexWebhooks() refuses a key that is none, and times that are none', () => {
  const store = memoryGatewayStore()
  const fetch = () => Promise.resolve(new Response())
  const key = new Uint8Array(32)
  for (
    const wrong of [
      { key: new Uint8Array(31) },
      { key: new Uint8Array() },
      { attempts: 0 },
      { attempts: NaN },
      { retryAfter: 0 },
      { timeout: -1 },
    ]
  ) {
    assert.throws(() => grantexWebhooks({ store, fetch, key, ...wrong }), { code: 'usage_invalid' })
  }
})
