import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newSignInCode } from '../../src/gateway/mod.ts'
import {
  approve,
  authorize,
  bodyOf,
  consentPage,
  ISSUER,
  NOW,
  parFields,
  postForm,
  push,
  REDIRECT,
  refused,
  registered,
  scene,
  send,
  session,
} from './_gateway.ts'

test('POST /oauth/par refuses a request without PKCE, or with plain', async () => {
  const at = await scene()
  const agent = await registered(at)
  for (
    const more of [
      { code_challenge: undefined },
      { code_challenge_method: undefined },
      { code_challenge_method: 'plain' },
      { code_challenge: 'short' },
      { code_challenge: 'v'.repeat(44) },
    ]
  ) {
    const fields = await parFields(agent, more)
    await refused(postForm(at, '/oauth/par', fields), 400, 'request_malformed')
  }
})

test('POST /oauth/par refuses every redirect URI but a registered one, letter by letter', async () => {
  const at = await scene()
  const agent = await registered(at)
  for (
    const uri of [
      undefined,
      'https://evil.example/cb',
      REDIRECT + '/',
      REDIRECT + '&y=1',
      REDIRECT.toUpperCase(),
      REDIRECT.replace('?x=1', ''),
      REDIRECT.replace('app.', 'app.evil.'),
      REDIRECT.replace('https', 'http'),
      `${REDIRECT}#x`,
      '',
    ]
  ) {
    const fields = await parFields(agent, { redirect_uri: uri })
    await refused(postForm(at, '/oauth/par', fields), 400, 'request_malformed')
  }
})

test('POST /oauth/par refuses what is unknown, doubled, too much or not registered', async () => {
  const at = await scene()
  const agent = await registered(at, { tools: ['calendar:read', 'mail:send'] })
  const cases: [object, number, string][] = [
    [{ client_id: 'agent_none' }, 401, 'client_unknown'],
    [{ client_id: undefined }, 400, 'request_malformed'],
    [{ client_id: [agent, agent] }, 400, 'request_malformed'],
    [{ response_type: 'token' }, 400, 'request_malformed'],
    [{ scope: undefined }, 400, 'request_malformed'],
    [{ scope: 'calendar:read payments:initiate' }, 400, 'scope_refused'],
    [{ scope: 'calendar:readonly' }, 400, 'scope_refused'],
    [{ authorization_details: '[]' }, 400, 'request_malformed'],
    [{ scope: undefined, authorization_details: '[{"type":"x"}]' }, 400, 'request_malformed'],
    [{ scope: undefined, authorization_details: '{' }, 400, 'json_malformed'],
    [{ scope: undefined, authorization_details: ' '.repeat(32 * 1024 + 1) }, 413, 'too_large'],
    [
      {
        scope: undefined,
        authorization_details:
          '[{"type":"attenuating_agent_token","tools":{"mail:send":{"to":{"constraint_type":"regex"}}}}]',
      },
      400,
      'constraint_unknown',
    ],
    [{ duration: '0' }, 400, 'request_malformed'],
    [{ duration: '-1' }, 400, 'request_malformed'],
    [{ duration: '1e3' }, 400, 'request_malformed'],
    [{ duration: String(91 * 86400) }, 400, 'request_malformed'],
    [{ offline_max_age: String(8 * 86400) }, 400, 'request_malformed'],
    [{ max_depth: '9' }, 400, 'request_malformed'],
    [{ limits: '{"*":{}}' }, 400, 'grant_malformed'],
    [{ limits: `{}${' '.repeat(32 * 1024)}` }, 413, 'too_large'],
    [
      { scope: Array.from({ length: 257 }, (_, i) => `t${i}`).join(' ') },
      400,
      'grant_malformed',
    ],
    [{ resource: `https://a.example/${'x'.repeat(2000)}` }, 400, 'request_malformed'],
    [{ limits: '{"*":{"calls":{"max":1},"x":1}}' }, 400, 'grant_malformed'],
    [{ resource: 'not absolute' }, 400, 'request_malformed'],
    [{ state: 'x'.repeat(1025) }, 400, 'request_malformed'],
    [{ login_hint: 'two words' }, 400, 'request_malformed'],
    [{ request_uri: 'urn:x' }, 400, 'request_malformed'],
  ]
  for (const [more, status, code] of cases) {
    const fields = await parFields(agent, more as Record<string, string>)
    await refused(postForm(at, '/oauth/par', fields), status, code)
  }
})

test('POST /oauth/par answers errors in the form of OAuth', async () => {
  const at = await scene()
  const response = await postForm(at, '/oauth/par', await parFields('agent_none'))
  assert.equal(response.headers.get('content-type'), 'application/json')
  const body = await bodyOf(response, 401)
  assert.equal(body.error, 'invalid_client')
  assert.equal(body.request_id, response.headers.get('x-request-id'))
})

test('requests that became no grant are forgotten, those too that a policy denied', async () => {
  const at = await scene({ decide: () => ({ effect: 'deny' }) })
  const agent = await registered(at)
  const count = async () => (await at.store.records.list('request', { limit: 1000 })).length
  for (let i = 0; i < 40; i++) {
    const id = await push(at, agent)
    if (i % 2 === 0) await authorize(at, agent, id)
    at.now += 700
  }
  assert.ok(await count() <= 2, `${await count()}`)
})

test('GET /oauth/authorize refuses what was not pushed, and another client', async () => {
  const at = await scene()
  const agent = await registered(at)
  const id = await push(at, agent)
  const other = await registered(at)
  assert.equal((await authorize(at, other, id)).status, 400)
  assert.equal((await authorize(at, agent, 'req_none')).status, 404)
  assert.equal((await send(at, 'GET', `/oauth/authorize?client_id=${agent}`)).status, 400)
  const late = await push(at, agent)
  at.now += 600
  const answer = await authorize(at, agent, late)
  assert.equal(answer.status, 404)
  assert.equal(answer.headers.get('location'), null)
})

test('GET /consent/:id shows nothing to whoever is not signed in', async () => {
  const at = await scene()
  const id = await push(at, await registered(at))
  for (const cookie of ['', 'signet=x', '__Host-signet=', '__Host-signet=forged']) {
    const { response, text } = await consentPage(at, id, cookie)
    assert.equal(response.status, 303)
    assert.equal(response.headers.get('location'), `/sign-in?back=%2Fconsent%2F${id}`)
    assert.equal(text, '')
  }
})

test('POST /consent/:id refuses whoever merely knows the id of the request', async () => {
  const at = await scene()
  const id = await push(at, await registered(at))
  const fields = { decision: 'approve', tool: 'mail:send', token: '' }
  for (const cookie of ['', '__Host-signet=forged', `__Host-signet=${id}`]) {
    const answer = await postForm(at, `/consent/${id}`, fields, { cookie })
    assert.equal(answer.status, 401)
    assert.equal(answer.headers.get('location'), null)
  }
  // The operator's key is no principal's session.
  const authorization = `Bearer ${at.operator}`
  assert.equal((await postForm(at, `/consent/${id}`, fields, { authorization })).status, 401)
  assert.equal((await at.store.records.get('request', id))?.record.status, 'pending')
})

test('POST /consent/:id refuses forms that its own page did not give out', async () => {
  const at = await scene()
  const agent = await registered(at)
  const [id, other] = [await push(at, agent), await push(at, agent)]
  const [alice, bob] = [await session(at), await session(at, 'bob')]
  const mine = (await consentPage(at, id, alice)).token
  const fields = (token?: string) => ({ decision: 'approve', tool: 'mail:send', token })
  for (
    const [token, cookie] of [
      [undefined, alice],
      ['', alice],
      ['x', alice],
      [(await consentPage(at, other, alice)).token, alice],
      [(await consentPage(at, id, bob)).token, alice],
      [mine, bob],
    ] as const
  ) {
    assert.equal((await postForm(at, `/consent/${id}`, fields(token), { cookie })).status, 403)
  }
  for (
    const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: ISSUER + '.evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ] as Record<string, string>[]
  ) {
    const answer = await postForm(at, `/consent/${id}`, fields(mine), { cookie: alice, ...headers })
    assert.equal(answer.status, 403)
  }
  assert.equal((await at.store.records.get('request', id))?.record.status, 'pending')
  const own = { cookie: alice, origin: ISSUER, 'sec-fetch-site': 'same-origin' }
  assert.equal((await postForm(at, `/consent/${id}`, fields(mine), own)).status, 303)
})

test('POST /consent/:id lets only the one who was asked decide, and only once', async () => {
  const at = await scene()
  const id = await push(at, await registered(at), { login_hint: 'alice' })
  const bob = await session(at, 'bob')
  assert.equal((await consentPage(at, id, bob)).response.status, 403)
  const alice = await session(at)
  const { token } = await consentPage(at, id, alice)
  await approve(at, id, alice)
  const again = { decision: 'approve', tool: 'mail:send', token }
  assert.equal((await postForm(at, `/consent/${id}`, again, { cookie: alice })).status, 404)
})

test('POST /consent/:id gives no more than was asked, and less where less was ticked', async () => {
  const at = await scene()
  const agent = await registered(at)
  const cookie = await session(at)
  const none = await push(at, agent)
  const { token } = await consentPage(at, none, cookie)
  for (const tool of [undefined, 'payments:initiate', '__proto__', 'constructor']) {
    const fields = { token, decision: 'approve', tool }
    assert.equal((await postForm(at, `/consent/${none}`, fields, { cookie })).status, 400)
  }
  const id = await push(at, agent)
  await approve(at, id, cookie, { tool: ['mail:send', 'payments:initiate'] })
  assert.deepEqual((await at.store.records.get('request', id))?.record.tools, { 'mail:send': {} })
})

test('a denial, and anything that is no approval, goes back as access_denied', async () => {
  const at = await scene()
  const cookie = await session(at)
  for (const decision of ['deny', undefined, 'APPROVE', '']) {
    const id = await push(at, await registered(at))
    const { token } = await consentPage(at, id, cookie)
    const fields = { token, decision, tool: 'mail:send' }
    const answer = await postForm(at, `/consent/${id}`, fields, { cookie })
    const to = new URL(answer.headers.get('location')!)
    assert.equal(to.searchParams.get('error'), 'access_denied')
    assert.equal(to.searchParams.get('code'), null)
    assert.equal((await at.store.records.get('request', id))?.record.status, 'denied')
  }
})

test('a suspended agent gets no page and no approval', async () => {
  const at = await scene()
  const agent = await registered(at)
  const id = await push(at, agent)
  const cookie = await session(at)
  const { token } = await consentPage(at, id, cookie)
  const found = (await at.store.records.get('agent', agent))!
  const record = { ...found.record, status: 'suspended' } as const
  await at.store.commit([{ put: 'agent', record, version: found.version }])
  assert.equal((await consentPage(at, id, cookie)).response.status, 401)
  const fields = { token, decision: 'approve', tool: 'mail:send' }
  assert.equal((await postForm(at, `/consent/${id}`, fields, { cookie })).status, 401)
  await refused(postForm(at, '/oauth/par', await parFields(agent)), 401, 'client_unknown')
})

test('a sign-in code works once, for ten minutes, and looking at it does not use it up', async () => {
  const at = await scene()
  const code = await newSignInCode(at.store, 'alice', NOW)
  const looked = await send(at, 'GET', `/sign-in?code=${code}`)
  assert.equal(looked.headers.get('set-cookie'), null)
  // A stranger's link would sign one in as the stranger: the page says as whom.
  assert.match(await looked.text(), /You sign in as <code>alice<\/code>/)
  for (const path of ['/sign-in', '/sign-in?code=x', `/sign-in?code=${code}x`]) {
    assert.doesNotMatch(await (await send(at, 'GET', path)).text(), /You sign in as/)
  }
  for (const wrong of ['', 'x', code + 'x', `sgin_${'A'.repeat(43)}`]) {
    assert.equal((await postForm(at, '/sign-in', { code: wrong })).status, 401)
  }
  assert.equal(
    (await postForm(at, '/sign-in', { code }, { origin: 'https://evil.example' })).status,
    403,
  )
  assert.equal((await postForm(at, '/sign-in', { code })).status, 200)
  const again = await postForm(at, '/sign-in', { code })
  assert.equal(again.status, 401)
  assert.equal(again.headers.get('set-cookie'), null)
  const old = await newSignInCode(at.store, 'alice', NOW)
  at.now += 600
  assert.equal((await postForm(at, '/sign-in', { code: old })).status, 401)
})

test('the session is a cookie for this host alone, and ends', async () => {
  const at = await scene()
  const code = await newSignInCode(at.store, 'alice', NOW)
  const answer = await postForm(at, '/sign-in', { code, back: '//evil.example' })
  assert.equal(answer.status, 200)
  const cookie = answer.headers.get('set-cookie')!
  assert.match(cookie, /^__Host-signet=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; .*; Secure$/)
  const id = await push(at, await registered(at))
  const name = cookie.split(';')[0]!
  assert.equal((await consentPage(at, id, name)).response.status, 200)
  at.now += 3600
  const late = await push(at, await registered(at))
  assert.equal((await consentPage(at, late, name)).response.status, 303)
})

test('the consent page says who, what and how long, and loads nothing', async () => {
  const at = await scene()
  const agent = await registered(at, {
    name: '<script>alert(1)</script>\u202e',
    description: '"><img src=x>',
  })
  const tools = {
    'mail:send': { to: { constraint_type: 'one_of', values: ['<b>a@example.com</b>'] } },
    'pay:€': {
      amount: { constraint_type: 'range', max: 10, min: 0, min_inclusive: false },
      x: { constraint_type: 'any', constraints: [{ constraint_type: 'wildcard' }] },
    },
  }
  const id = await push(at, agent, {
    scope: undefined,
    authorization_details: JSON.stringify([{ type: 'attenuating_agent_token', tools }]),
    limits: '{"mail:send":{"calls":{"max":3,"per_seconds":86400}},"*":{"calls":{"max":9}}}',
    duration: '7200',
    offline_max_age: '5400',
    max_depth: '2',
    resource: 'https://api.example/',
  })
  const { response, text } = await consentPage(at, id, await session(at))
  assert.equal(response.status, 200)
  const policy = response.headers.get('content-security-policy')!
  assert.match(
    policy,
    /default-src 'none'; style-src 'nonce-[\w-]+'; form-action 'self' https:\/\/app\.example;/,
  )
  assert.match(policy, /frame-ancestors 'none'; base-uri 'none'/)
  assert.equal(response.headers.get('cache-control'), 'no-store')
  assert.equal(response.headers.get('x-frame-options'), 'DENY')
  assert.doesNotMatch(text, /<script|<img|<b>|\u202e|https?:[^<"]*\.(?:js|css)/)
  for (
    const words of [
      '&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]',
      'to: one of &quot;&lt;b&gt;a@example.com&lt;/b&gt;&quot;',
      'amount: more than 0, at most 10',
      'x: (anything)',
      'at most 3 calls in 24 hours',
      'at most 9 calls in all',
      '2 hours',
      'up to 90 minutes without contact',
      'up to 2 deep',
      'https://api.example/',
      agent,
      'alice',
      'app.example',
    ]
  ) assert.ok(text.includes(words), words)
})

test('a policy can allow at once, deny, or ask', async () => {
  let effect: 'allow' | 'deny' | 'ask' = 'deny'
  const seen: unknown[] = []
  const at = await scene({
    decide: (asked) => {
      seen.push(asked)
      return effect === 'allow' ? { effect, principal: 'alice' } : { effect }
    },
  })
  const agent = await registered(at)
  const go = async (more = {}) => await authorize(at, agent, await push(at, agent, more))
  const denied = new URL((await go()).headers.get('location')!)
  assert.equal(denied.searchParams.get('error'), 'access_denied')
  effect = 'ask'
  assert.match((await go()).headers.get('location')!, /^\/consent\/req_/)
  effect = 'allow'
  const allowed = new URL((await go()).headers.get('location')!)
  assert.match(allowed.searchParams.get('code')!, /^sgco_/)
  assert.equal(allowed.searchParams.get('state'), 's1')
  assert.equal(allowed.searchParams.get('iss'), ISSUER)
  assert.equal(allowed.searchParams.get('x'), '1')
  // What a named person was asked for no policy gives away for another.
  assert.match((await go({ login_hint: 'bob' })).headers.get('location')!, /^\/consent\//)
  assert.equal(seen.length, 4)
})

test('requests that nobody decided in time are forgotten, and no other', async () => {
  const at = await scene()
  const agent = await registered(at)
  const early = [await push(at, agent), await push(at, agent)]
  const decided = await push(at, agent)
  await approve(at, decided, await session(at))
  at.now += 700
  const late = await push(at, agent)
  for (const id of early) assert.equal(await at.store.records.get('request', id), undefined)
  for (const id of [decided, late]) assert.ok(await at.store.records.get('request', id))
})
