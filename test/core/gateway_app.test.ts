import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { isSignetError, SignetError } from '../../src/errors.ts'
import { gateway, memoryGatewayStore, type Routes } from '../../src/gateway/mod.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  device,
  granted,
  ISSUER,
  postForm,
  refused,
  registered,
  scene,
  send,
} from './_gateway.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

test('gateway() refuses issuers that are no origin, and keys that are not Ed25519', async () => {
  const key = await generateKey(ALGORITHMS['Ed25519'])
  const store = memoryGatewayStore()
  for (
    const issuer of [
      '',
      'gateway.example',
      'http://gateway.example',
      'https://gateway.example/',
      'https://gateway.example/path',
      'https://u:p@gateway.example',
      'https://gateway.example?x',
      'https://GATEWAY.example',
      'ftp://gateway.example',
    ]
  ) {
    const usage = (error: unknown) => isSignetError(error, 'usage_invalid')
    assert.throws(() => gateway({ issuer, key, store }), usage, issuer)
  }
  for (const wrong of [-1, 1.5, NaN, Infinity, '5', null] as number[]) {
    for (const name of ['duration', 'maxDepth', 'logEntries', 'logBytes']) {
      const usage = (error: unknown) => isSignetError(error, 'usage_invalid')
      const made = () => gateway({ issuer: ISSUER, key, store, ceilings: { [name]: wrong } })
      assert.throws(made, usage, `${name} ${wrong}`)
    }
  }
  // What no verifier takes is not given.
  for (const [name, most] of [['duration', 90 * 86_400], ['maxDepth', 64]] as const) {
    const made = (value: number) =>
      gateway({ issuer: ISSUER, key, store, ceilings: { [name]: value } })
    made(most)
    assert.throws(
      () => made(most + 1),
      (error) => isSignetError(error, 'usage_invalid') && error.message.includes(`${name}`),
    )
  }
  const ec = await generateKey(ALGORITHMS['ES256'])
  assert.throws(
    () => gateway({ issuer: ISSUER, key: ec, store }),
    (error) => isSignetError(error, 'key_usage'),
  )
  gateway({ issuer: 'http://127.0.0.1:8787', key, store })
})

test('what is not there is 404, and another method is 405 with Allow', async () => {
  const at = await scene()
  for (const path of ['/', '/admin', '/oauth', '/bundles/a/b/c', '/..%2fadmin', '/%', '/status/']) {
    const answer = await send(at, 'GET', path)
    assert.equal(answer.status, 404, path)
  }
  for (
    const [method, path, allow] of [
      ['GET', '/oauth/par', 'POST'],
      ['DELETE', '/admin/agents', 'GET, POST'],
      ['PUT', '/consent/x', 'GET, POST'],
      ['POST', '/.well-known/jwks.json', 'GET'],
      ['OPTIONS', '/oauth/token', 'POST'],
    ] as const
  ) {
    const answer = await send(at, method, path)
    assert.equal(answer.headers.get('allow'), allow)
    await refused(answer, 405, 'method_refused')
  }
  assert.equal((await send(at, 'HEAD', '/.well-known/jwks.json')).status, 200)
})

test('bodies that are too large, no JSON, or of another type are refused', async () => {
  const at = await scene()
  const authorization = `Bearer ${at.operator}`
  const post = (body: BodyInit, headers: Record<string, string> = JSON_TYPE) =>
    send(at, 'POST', '/admin/agents', { body, headers: { authorization, ...headers } })
  await refused(post('x'.repeat(256 * 1024 + 1)), 413, 'too_large')
  // Of unknown length: counted as it comes, and left off in the middle.
  let sent = 0
  const endless = new ReadableStream({
    pull(controller) {
      sent++
      controller.enqueue(new Uint8Array(64 * 1024))
    },
  })
  const init = { method: 'POST', body: endless, duplex: 'half', headers: JSON_TYPE }
  const request = new Request(`${ISSUER}/admin/agents`, init as RequestInit)
  request.headers.set('authorization', authorization)
  await refused(at.fetch(request), 413, 'too_large')
  assert.ok(sent < 20)
  await refused(post('{'), 400, 'json_malformed')
  await refused(post('{"name":"a","name":"b"}'), 400, 'json_duplicate_key')
  await refused(post('['.repeat(100)), 400, 'json_too_deep')
  await refused(post('"\ud800"'.replace('\ud800', '\\ud800')), 400, 'json_surrogate')
  await refused(post(Uint8Array.of(0xff)), 400, 'encoding_invalid')
  await refused(post('null'), 400, 'request_malformed')
  await refused(post(''), 400, 'json_malformed')
  await refused(post('{"name":"x","redirect_uris":[],"admin":true}'), 400, 'request_malformed')
  await refused(post('{}', { 'content-type': 'text/plain' }), 415, 'media_type_refused')
  await refused(post('{}', { 'content-type': 'application/jsonx' }), 415, 'media_type_refused')
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const many = Array.from({ length: 201 }, (_, i) => `a${i}=1`).join('&')
  const flood = send(at, 'POST', '/oauth/par', { body: many, headers: form })
  await refused(flood, 400, 'request_malformed')
})

test('a hundred junk fields, and a URL without end, are refused', async () => {
  const at = await scene()
  const junk = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-junk-${i}`, 'x']))
  const path = '/.well-known/jwks.json'
  await refused(send(at, 'GET', path, { headers: junk }), 431, 'fields_too_large')
  await refused(send(at, 'GET', `${path}?${'x'.repeat(9000)}`), 431, 'fields_too_large')
})

test('too many requests of one client are answered with when to come again', async () => {
  const at = await scene({ rates: { read: 3 } })
  const get = (client: string) =>
    at.fetch(new Request(`${ISSUER}/.well-known/jwks.json`), { client })
  for (let i = 0; i < 3; i++) assert.equal((await get('a')).status, 200)
  const answer = await get('a')
  assert.equal(answer.headers.get('retry-after'), '20')
  await refused(answer, 429, 'rate_limited')
  assert.equal((await get('b')).status, 200)
  at.now += 20
  assert.equal((await get('a')).status, 200)
  assert.equal((await get('a')).status, 429)
})

test("the operator's routes are for the operator alone", async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id, grant_id: grant } = await granted(at, who)
  const routes = [
    ['GET', '/admin/agents'],
    ['POST', '/admin/agents'],
    ['GET', '/admin/agents/x'],
    ['PATCH', '/admin/agents/x'],
    ['POST', '/admin/agents/x/suspend'],
    ['POST', '/admin/agents/x/resume'],
    ['POST', '/admin/sign-in-codes'],
    ['GET', '/admin/grants'],
    ['GET', `/admin/grants/${grant}`],
    ['POST', `/admin/grants/${grant}/revoke`],
    ['GET', '/admin/bundles'],
    ['GET', `/admin/bundles/${id}`],
    ['POST', `/admin/bundles/${id}/revoke`],
    ['GET', `/admin/bundles/${id}/audit`],
    ['GET', `/admin/bundles/${id}/verdicts`],
    ['GET', '/admin/findings'],
    ['GET', '/admin/findings/x'],
  ] as const
  const wrong = ['', 'Bearer', 'Bearer x', `Basic ${at.operator}`, `Bearer ${at.operator}x`]
  for (const [method, path] of routes) {
    for (const authorization of wrong) {
      const answer = await send(at, method, path, { headers: { authorization } })
      assert.ok(answer.headers.get('www-authenticate')?.startsWith('Bearer'))
      await refused(answer, 401, 'unauthenticated')
    }
    await refused(asDevice(at, who, method, path), 401, 'unauthenticated')
  }
  const found = (await at.store.records.list('operator'))[0]!
  const record = { ...found.record, revokedAt: at.now }
  await at.store.commit([{ put: 'operator', record, version: found.version }])
  await refused(asOperator(at, 'GET', '/admin/agents'), 401, 'unauthenticated')
})

test('POST /admin/agents refuses redirect URIs that nobody may register', async () => {
  const at = await scene()
  for (
    const uri of [
      '',
      '/cb',
      'http://app.example/cb',
      'https://u:p@app.example/',
      'https://app.example/#x',
      'javascript:alert(1)',
      'data:text/html,x',
      'file:///etc/passwd',
      'app:/cb',
      'urn:ietf:wg:oauth:2.0:oob',
    ]
  ) {
    const agent = { name: 'a', redirect_uris: [uri] }
    await refused(asOperator(at, 'POST', '/admin/agents', agent), 400, 'request_malformed')
  }
  for (const uri of ['http://127.0.0.1:9/cb', 'http://[::1]/', 'com.example.app:/cb']) {
    await registered(at, { redirect_uris: [uri] })
  }
})

test('lists come in pages that skip and repeat nothing', async () => {
  const at = await scene()
  const made = new Set<string>()
  for (let i = 0; i < 5; i++) made.add(await registered(at))
  for (const query of ['?limit=0', '?limit=201', '?limit=x', '?limit=-1', '?limit=1e2']) {
    await refused(asOperator(at, 'GET', `/admin/agents${query}`), 400, 'request_malformed')
  }
  const seen: string[] = []
  for (let after = ''; after !== undefined;) {
    const page = await bodyOf(await asOperator(at, 'GET', `/admin/agents?limit=2&after=${after}`))
    seen.push(...page.items.map(({ id }: { id: string }) => id))
    after = page.next
  }
  assert.deepEqual(new Set(seen), made)
  assert.equal(seen.length, 5)
})

test('a fault of our own says nothing of the inside, to nobody but the log', async () => {
  const secret = 'path /var/lib/secret'
  const faults: Routes = (app) => {
    app.get('/fault', () => {
      throw new TypeError(secret)
    })
    app.get('/consent/fault/page', () => {
      throw new SignetError('io_failed', secret)
    })
  }
  const at = await scene({ dialects: [faults] })
  for (const [path, status] of [['/fault', 500], ['/consent/fault/page', 503]] as const) {
    const answer = await send(at, 'GET', path)
    assert.equal(answer.status, status)
    assert.doesNotMatch(await answer.text(), /secret/)
    assert.match(String(at.events.at(-1)?.error), /secret/)
  }
})

test('every answer has a name, and headers that make browsers careful', async () => {
  const at = await scene()
  const answers = [
    await send(at, 'GET', '/.well-known/jwks.json'),
    await send(at, 'GET', '/nothing'),
    await send(at, 'GET', '/sign-in'),
    await postForm(at, '/oauth/par', {}),
  ]
  for (const { headers } of answers) {
    assert.match(headers.get('x-request-id')!, /^[0-9a-f-]{36}$/)
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.match(headers.get('content-security-policy')!, /default-src 'none'/)
    assert.match(headers.get('strict-transport-security')!, /max-age/)
    assert.ok(headers.has('cache-control'))
    assert.ok(headers.has('referrer-policy'))
  }
  assert.equal(answers[1]!.headers.get('content-type'), 'application/problem+json')
  const problem = await bodyOf(answers[1]!, 404)
  assert.equal(problem.type, 'urn:signet:error:not_found')
  assert.equal(problem.instance, `urn:uuid:${answers[1]!.headers.get('x-request-id')}`)
})

test('the log of requests holds no secret, no token, no query', async () => {
  const at = await scene()
  const who = await device()
  const { access_token: token } = await granted(at, who)
  await send(at, 'GET', '/sign-in?code=sgin_secret')
  const text = JSON.stringify(at.events)
  assert.ok(at.events.length > 5)
  for (const part of [token, 'sgin_', 'sgco_', at.operator, 'alice', '?']) {
    assert.equal(text.includes(part), false, part)
  }
})

test('nothing that is kept would let a reader of the store in', async () => {
  const kept: string[] = []
  const store = memoryGatewayStore()
  const at = await scene({
    store: {
      ...store,
      commit(changes) {
        kept.push(JSON.stringify(changes))
        return store.commit(changes)
      },
    },
  })
  const who = await device()
  await granted(at, who)
  const text = kept.join('\n')
  assert.ok(text.length > 1000)
  for (const prefix of ['sgin_', 'sgco_', 'sgop_', '"d":']) {
    assert.equal(text.includes(prefix), false, prefix)
  }
})

test('a body in very many pieces is read as one in a single piece', async () => {
  const { fetch } = await scene()
  const bytes = utf8(`client_id=${'x'.repeat(200_000)}`)
  let at = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.subarray(at++, at))
      else controller.close()
    },
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const init = { method: 'POST', headers, body, duplex: 'half' }
  await refused(fetch(new Request(`${ISSUER}/oauth/par`, init)), 401, 'client_unknown')
})
