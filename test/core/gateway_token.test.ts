import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  holderJwk,
  narrowGrant,
  openBundle,
  openStatusList,
  TOKEN_STATUS,
  verifyGrant,
} from '../../src/grants/mod.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  claimsOf,
  codeFor,
  type Device,
  device,
  type Fields,
  formOf,
  granted,
  ISSUER,
  NOW,
  postForm,
  refused,
  registered,
  type Scene,
  scene,
  send,
  signed,
  signedForm,
  tokenFields,
} from './_gateway.ts'
import { childClaims, forge, hashOf } from './_grants.ts'
import { SignetError } from '../../src/errors.ts'
import {
  type Change,
  type GatewayStore,
  memoryGatewayStore,
  type PolicyDecision,
  type PolicyQuestion,
} from '../../src/gateway/mod.ts'
import { fromJwk, publicKey } from '../../src/keys/mod.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

test('POST /oauth/token refuses a request that the new holder did not sign', async () => {
  const at = await scene()
  const agent = await registered(at)
  const [who, thief] = [await device(), await device()]
  const code = await codeFor(at, agent)
  const fields = tokenFields(agent, code, who)
  await refused(postForm(at, '/oauth/token', fields), 400, 'http_signature_missing')
  await refused(signedForm(at, thief, '/oauth/token', fields), 401, 'signer_untrusted')
  const cnf = { ...fields, req_cnf: undefined }
  await refused(signedForm(at, who, '/oauth/token', cnf), 400, 'request_malformed')
  const mac = { ...fields, req_cnf: '{"jwk":{"kty":"oct","k":"AAAA"}}' }
  await refused(signedForm(at, who, '/oauth/token', mac), 400, 'algorithm_unsupported')
  const exposed = JSON.parse(who.cnf)
  exposed.jwk.d = 'A'.repeat(43)
  const private_ = { ...fields, req_cnf: JSON.stringify(exposed) }
  await refused(signedForm(at, who, '/oauth/token', private_), 400, 'key_exposed')
  assert.equal((await signedForm(at, who, '/oauth/token', fields)).status, 200)
})

test('POST /oauth/token refuses a replayed signature', async () => {
  const at = await scene()
  const agent = await registered(at)
  const who = await device()
  const fields = formOf(tokenFields(agent, 'sgco_x', who))
  const request = await signed(at, who, 'POST', '/oauth/token', fields, FORM)
  await refused(at.fetch(request.clone()), 400, 'code_refused')
  await refused(at.fetch(request.clone()), 401, 'request_replayed')
})

test('POST /oauth/token refuses wrong verifiers, clients, redirects and codes alike', async () => {
  const at = await scene()
  const agent = await registered(at)
  const other = await registered(at)
  const who = await device()
  const code = await codeFor(at, agent)
  const cases: Fields[] = [
    { code: 'sgco_none' },
    { code: code + 'x' },
    { code_verifier: 'w'.repeat(43) },
    { code_verifier: 'v' },
    { code_verifier: 'v'.repeat(44) },
    { client_id: other },
    { client_id: 'agent_none' },
    { redirect_uri: 'https://app.example/cb' },
  ]
  const messages = new Set<string>()
  for (const more of cases) {
    const answer = await signedForm(at, who, '/oauth/token', tokenFields(agent, code, who, more))
    const { error, error_description: text } = await bodyOf(answer, 400)
    assert.equal(error, 'invalid_grant')
    messages.add(text)
  }
  assert.equal(messages.size, 1)
  for (const missing of ['code', 'code_verifier', 'redirect_uri', 'client_id']) {
    const fields = tokenFields(agent, code, who, { [missing]: undefined })
    await refused(signedForm(at, who, '/oauth/token', fields), 400, 'request_malformed')
  }
  for (const type of ['client_credentials', 'password', '__proto__', 'toString']) {
    const fields = tokenFields(agent, code, who, { grant_type: type })
    const answer = await signedForm(at, who, '/oauth/token', fields)
    assert.equal((await bodyOf(answer, 400)).error, 'unsupported_grant_type')
  }
  const fields = tokenFields(agent, code, who)
  assert.equal((await signedForm(at, who, '/oauth/token', fields)).status, 200)
})

test('POST /oauth/token takes a code once, and for a minute', async () => {
  const at = await scene()
  const agent = await registered(at)
  const who = await device()
  const late = await codeFor(at, agent)
  at.now += 60
  await refused(
    signedForm(at, who, '/oauth/token', tokenFields(agent, late, who)),
    400,
    'code_refused',
  )
  const code = await codeFor(at, agent)
  const fields = tokenFields(agent, code, who)
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => signedForm(at, who, '/oauth/token', fields)),
  )
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400, 400])
  // The one whose code it was came again, perhaps since the answer got lost. Nothing is taken away.
  const { bundles } = await bodyOf(await asDevice(at, who, 'GET', '/bundles'))
  assert.equal(bundles.length, 1)
  assert.deepEqual(bundles[0].status, { state: 'active' })
})

test('a code that comes again with another key was stolen: its grant ends', async () => {
  const at = await scene()
  const agent = await registered(at)
  const [who, thief] = [await device(), await device()]
  const code = await codeFor(at, agent)
  const { bundle_id: id } = await bodyOf(
    await signedForm(at, who, '/oauth/token', tokenFields(agent, code, who)),
  )
  const wrong = tokenFields(agent, code, thief, { code_verifier: 'w'.repeat(43) })
  await refused(signedForm(at, thief, '/oauth/token', wrong), 400, 'code_refused')
  assert.equal((await asDevice(at, who, 'POST', `/bundles/${id}/refresh`)).status, 200)
  const right = tokenFields(agent, code, thief)
  await refused(signedForm(at, thief, '/oauth/token', right), 400, 'code_refused')
  await refused(asDevice(at, who, 'POST', `/bundles/${id}/refresh`), 403, 'policy_denied')
})

test('POST /oauth/token gives nothing to an agent that was suspended meanwhile', async () => {
  const at = await scene()
  const agent = await registered(at)
  const who = await device()
  const code = await codeFor(at, agent)
  await bodyOf(await asOperator(at, 'POST', `/admin/agents/${agent}/suspend`))
  const fields = tokenFields(agent, code, who)
  await refused(signedForm(at, who, '/oauth/token', fields), 401, 'client_unknown')
})

test('POST /oauth/token gives a grant and a bundle that verify offline', async () => {
  const at = await scene()
  const who = await device()
  const answer = await granted(at, who, undefined, {
    resource: 'https://api.example/',
    duration: '7200',
    offline_max_age: '3600',
    max_depth: '2',
    limits: '{"mail:send":{"calls":{"max":3}}}',
  })
  assert.equal(answer.token_type, 'aat')
  assert.equal(answer.expires_in, 7200)
  const pinned = [{ issuer: ISSUER, keys: [at.key.publicKey] }]
  const grant = await verifyGrant([answer.access_token], pinned, {
    now: at.now,
    audience: 'https://api.example/',
  })
  assert.deepEqual(grant.scopes, ['calendar:read', 'mail:send'])
  assert.equal(grant.holder.id, who.key.publicKey.id)
  assert.equal(grant.maxDepth, 2)
  assert.ok(grant.isLimited && grant.isRevocable)
  const bundle = await openBundle(answer.bundle, pinned)
  assert.equal(bundle.id, answer.bundle_id)
  assert.equal(bundle.expiresAt, NOW + 3600)
  assert.equal(bundle.sync, `${ISSUER}/bundles/${bundle.id}`)
  assert.deepEqual(bundle.grant, [answer.access_token])
  assert.equal(bundle.device.id, who.key.publicKey.id)
  const { status } = grant.links[0]!
  const list = await openStatusList(bundle.statusLists[0]!, [at.key.publicKey], {
    uri: status!.uri,
  })
  assert.equal(list.get(status!.idx), TOKEN_STATUS.valid)
})

const grantsOf = (at: Scene) => at.store.records.list('grant')

const exchangeFields = (token: string, holder: string, agent: string, cnf: string, more = {}) => ({
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token: token,
  subject_token_type: 'urn:ietf:params:oauth:token-type:aat',
  client_id: agent,
  holder_cnf: holder,
  req_cnf: cnf,
  scope: 'mail:send',
  ...more,
})

test('a grant is narrowed by the server for its holder alone, and only narrowed', async () => {
  const at = await scene()
  const [who, child, thief] = [await device(), await device(), await device()]
  const root = await granted(at, who, undefined, { duration: '7200', max_depth: '1' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const fields = (more = {}) => exchangeFields(root.access_token, who.cnf, agent, child.cnf, more)
  const path = '/oauth/token'
  const stolen = exchangeFields(root.access_token, thief.cnf, agent, thief.cnf)
  await refused(signedForm(at, thief, path, stolen), 401, 'signer_untrusted')
  await refused(signedForm(at, child, path, fields()), 401, 'signer_untrusted')
  for (const scope of ['payments:initiate', 'mail:send payments:initiate', 'mail']) {
    await refused(signedForm(at, who, path, fields({ scope })), 400, 'grant_widened')
  }
  await refused(
    signedForm(at, who, path, fields({ subject_token_type: 'x' })),
    400,
    'request_malformed',
  )
  const elsewhere = await scene()
  const foreign = await granted(elsewhere, who)
  const theirs = fields({ subject_token: foreign.access_token })
  await refused(signedForm(at, who, path, theirs), 401, 'signer_untrusted')
  const answer = await bodyOf(
    await signedForm(at, who, path, fields({ duration: '86400', max_depth: '5' })),
  )
  assert.equal(answer.expires_in, 7200)
  const claims = claimsOf(answer.access_token)
  assert.equal(claims.del_max_depth, 0)
  assert.deepEqual(Object.keys(claims.authorization_details[0].tools), ['mail:send'])
  // The child cannot be passed on.
  const deeper = exchangeFields(answer.access_token, child.cnf, agent, thief.cnf)
  await refused(signedForm(at, child, path, deeper), 403, 'grant_depth')
})

test('a grant goes under the name of its own agent, or of one that takes from it, and no other', async () => {
  const at = await scene()
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '2' })
  const [stranger, bank] = [await registered(at), await registered(at, { name: 'Bank' })]
  // Takes from another agent, which says nothing of this one; and what an agent takes, it does not give.
  const elsewhere = await registered(at, { takes_from: [stranger, bank] })
  const allow = (agent: string, takesFrom: unknown) =>
    asOperator(at, 'PATCH', `/admin/agents/${agent}`, { takes_from: takesFrom })
  await bodyOf(await allow(root.agent, [stranger]))
  const to = (agent: string, more = {}) => {
    const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf, more)
    return signedForm(at, who, '/oauth/token', fields)
  }
  const [{ size }, { length }] = [await at.store.status.head('1'), await grantsOf(at)]
  for (const agent of [stranger, bank, elsewhere]) {
    const answer = await to(agent)
    assert.match((await answer.clone().json()).remedy, /takes_from/)
    await refused(answer, 403, 'policy_denied')
  }
  await refused(to('agent_none'), 401, 'client_unknown')
  // Refused before anything came to be.
  assert.equal((await at.store.status.head('1')).size, size)
  assert.equal((await grantsOf(at)).length, length)

  // A record from before agents said so is read, and takes from nobody.
  const { record, version } = (await at.store.records.get('agent', bank))!
  assert.equal('takesFrom' in record, false)
  await bodyOf(await asOperator(at, 'GET', `/admin/agents/${bank}`))
  const updated = await bodyOf(await allow(bank, [stranger, root.agent]))
  assert.deepEqual(updated.takes_from, [stranger, root.agent])
  assert.equal((await at.store.records.get('agent', bank))?.version, version + 1)
  const made = await bodyOf(await to(bank, { max_depth: '1' }))
  const kept = (await at.store.records.get('grant', made.grant_id))!.record
  assert.deepEqual([kept.agent, kept.parent], [bank, root.grant_id])
  const own = await bodyOf(await to(root.agent))
  assert.equal((await at.store.records.get('grant', own.grant_id))?.record.agent, root.agent)
  const of = await registered(at, { takes_from: [root.agent] })
  await bodyOf(await to(of))

  // It is the agent of the grant itself that counts, not of one above.
  const fields = exchangeFields(made.access_token, child.cnf, of, who.cnf)
  await refused(signedForm(at, child, '/oauth/token', fields), 403, 'policy_denied')
  await bodyOf(await asOperator(at, 'POST', `/admin/agents/${bank}/suspend`))
  await refused(to(bank), 401, 'client_unknown')
  await bodyOf(await asOperator(at, 'POST', `/admin/agents/${bank}/resume`))
  await bodyOf(await to(bank))
  await bodyOf(await allow(bank, []))
  await refused(to(bank), 403, 'policy_denied')
})

test('PATCH /admin/agents/:id takes from the operator whom an agent takes grants from, and nothing else', async () => {
  const at = await scene()
  const agent = await registered(at)
  const path = `/admin/agents/${agent}`
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ takes_from: [agent] })
  await refused(send(at, 'PATCH', path, { headers, body }), 401, 'unauthenticated')
  for (
    const wrong of [
      {},
      { takes_from: agent },
      { takes_from: [1] },
      { takes_from: ['agent_none'] },
      { takes_from: ['*'] },
      { takes_from: Array(101).fill(agent) },
      { takes_from: [], status: 'active' },
      { takes_from: [], tenant: 'x' },
    ]
  ) await refused(asOperator(at, 'PATCH', path, wrong), 400, 'request_malformed')
  const more = { name: 'x', redirect_uris: [], takes_from: ['agent_none'] }
  await refused(asOperator(at, 'POST', '/admin/agents', more), 400, 'request_malformed')
  const none = asOperator(at, 'PATCH', '/admin/agents/agent_none', { takes_from: [] })
  await refused(none, 404, 'not_found')
  assert.deepEqual((await bodyOf(await asOperator(at, 'GET', path))).takes_from, [])
})

test('what a policy denies is not narrowed either; its other answers change nothing', async () => {
  const says: { decision: PolicyDecision } = { decision: { effect: 'ask' } }
  const asked: PolicyQuestion[] = []
  const decide = (question: PolicyQuestion) => {
    asked.push(question)
    return says.decision
  }
  const at = await scene({ decide })
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '1' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf)
  says.decision = { effect: 'deny', rule: 'no-mail', reason: 'no mail' }
  await refused(signedForm(at, who, '/oauth/token', fields), 403, 'policy_denied')
  assert.equal((await grantsOf(at)).length, 1)
  const { agent: { id }, principalHint, holder, tools, maxDepth } = asked.at(-1)!
  assert.deepEqual([id, principalHint, maxDepth], [agent, 'alice', 0])
  assert.deepEqual(Object.keys(tools), ['mail:send'])
  assert.equal(typeof holder, 'string')
  says.decision = { effect: 'ask' }
  await bodyOf(await signedForm(at, who, '/oauth/token', fields))
  assert.equal((await grantsOf(at)).length, 2)
})

test('what an agent takes no more at the moment of an exchange comes not to be', async () => {
  const hook: { meddle?: () => Promise<unknown> } = {}
  const isChild = (change: Change) =>
    'put' in change && change.put === 'grant' && !!change.record.parent
  const at = await scene({
    store: meddled((changes) => changes.some(isChild) ? hook.meddle : undefined),
  })
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '1' })
  const agent = await registered(at, { takes_from: [root.agent] })
  hook.meddle = () => asOperator(at, 'PATCH', `/admin/agents/${agent}`, { takes_from: [] })
  const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf)
  await refused(signedForm(at, who, '/oauth/token', fields), 403, 'policy_denied')
  assert.equal((await grantsOf(at)).length, 1)
})

test('exchanges of one grant at once are all answered', async () => {
  const at = await scene()
  const who = await device()
  const root = await granted(at, who, undefined, { max_depth: '1' })
  const others = await Promise.all(Array.from({ length: 6 }, () => device()))
  const answers = await Promise.all(others.map(({ cnf }) => {
    const fields = exchangeFields(root.access_token, who.cnf, root.agent, cnf)
    return signedForm(at, who, '/oauth/token', fields)
  }))
  assert.deepEqual(answers.map(({ status }) => status), Array(6).fill(200))
})

test('an agent that is suspended at the moment of an exchange stops it, however far above', async () => {
  const hook: { meddle?: (() => Promise<unknown>) | undefined } = {}
  const isChild = (change: Change) =>
    'put' in change && change.put === 'grant' && change.version === 0 && !!change.record.parent
  const at = await scene({
    store: meddled((changes) => changes.some(isChild) ? hook.meddle : undefined),
  })
  const [who, child, last] = [await device(), await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '3' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const first = exchangeFields(root.access_token, who.cnf, agent, child.cnf, { max_depth: '2' })
  const made = await bodyOf(await signedForm(at, who, '/oauth/token', first))
  hook.meddle = async () => {
    hook.meddle = undefined
    await bodyOf(await asOperator(at, 'POST', `/admin/agents/${root.agent}/suspend`))
  }
  const fields = exchangeFields(made.access_token, child.cnf, agent, last.cnf)
  await refused(signedForm(at, child, '/oauth/token', fields), 403, 'policy_denied')
  assert.equal((await grantsOf(at)).length, 2)
})

test('a grant with an audience or limits is not widened by way of the server', async () => {
  const at = await scene()
  const [who, child] = [await device(), await device()]
  const agent = await registered(at)
  const limited = await granted(at, who, agent, {
    max_depth: '1',
    limits: '{"*":{"calls":{"max":1}}}',
  })
  const path = '/oauth/token'
  const of = (token: string, more = {}) =>
    signedForm(at, who, path, exchangeFields(token, who.cnf, agent, child.cnf, more))
  await refused(of(limited.access_token), 403, 'policy_denied')
  const aimed = await granted(at, who, agent, {
    max_depth: '1',
    resource: 'https://a.example/',
  })
  await refused(of(aimed.access_token, { resource: 'https://b.example/' }), 403, 'grant_audience')
  const answer = await bodyOf(await of(aimed.access_token))
  assert.deepEqual(claimsOf(answer.access_token).aud, ['https://a.example/'])
})

test('a grant is not widened by what its holder put beside the verified tools', async () => {
  const at = await scene()
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '2' })
  const above = claimsOf(root.access_token).authorization_details
  const agent = await registered(at, { takes_from: [root.agent] })
  const decoy = { type: 'decoy', tools: { 'payments:initiate': {} } }
  for (const details of [[decoy, ...above], [...above, decoy]]) {
    const claims = childClaims(root.access_token, who.key, {
      cnf: { jwk: holderJwk(who.key.publicKey) },
      authorization_details: details,
    })
    const chain = `${root.access_token}\n${await forge(who.key, claims)}`
    const of = (scope: string) =>
      signedForm(
        at,
        who,
        '/oauth/token',
        exchangeFields(chain, who.cnf, agent, child.cnf, { scope }),
      )
    await refused(of('payments:initiate'), 400, 'grant_widened')
    assert.equal((await of('mail:send')).status, 200)
    const operator = { authorization: `Bearer ${at.operator}` }
    const told = await bodyOf(await postForm(at, '/oauth/introspect', { token: chain }, operator))
    assert.deepEqual(told.authorization_details, above)
  }
})

test('a child of a grant goes no longer without contact than the grant itself', async () => {
  const at = await scene()
  const [who, child] = [await device(), await device()]
  const week = { duration: '604800', offline_max_age: '604800' }
  const root = await granted(at, who, undefined, { ...week, max_depth: '1', offline_max_age: '60' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf, week)
  const { bundle } = await bodyOf(await signedForm(at, who, '/oauth/token', fields))
  const { offline, exp } = claimsOf(bundle)
  assert.deepEqual([offline.max_age, exp], [60, NOW + 60])
})

test('no scope names a tool that has constraints or limits; introspection tells these', async () => {
  const at = await scene()
  const operator = { authorization: `Bearer ${at.operator}` }
  const to = { constraint_type: 'exact', value: 'me@example.com' }
  const details = [{
    type: 'attenuating_agent_token',
    tools: { 'calendar:read': {}, 'mail:send': { to } },
  }]
  const asked = { scope: undefined, authorization_details: JSON.stringify(details) }
  const limits = { 'calendar:read': { calls: { max: 1 } } }
  const cases = [[asked, 'calendar:read'], [
    { ...asked, limits: JSON.stringify(limits) },
    undefined,
  ]]
  for (const [more, scope] of cases as [Fields, string | undefined][]) {
    const { access_token: token, ...root } = await granted(at, await device(), undefined, more)
    assert.equal(root.scope, scope)
    const told = await bodyOf(await postForm(at, '/oauth/introspect', { token }, operator))
    assert.equal(told.scope, scope)
    assert.deepEqual(told.authorization_details, details)
    assert.deepEqual(
      told.limits,
      scope === undefined ? [{ link: hashOf(token), limits }] : undefined,
    )
  }
  const all = await granted(at, await device(), undefined, { limits: '{"*":{"calls":{"max":1}}}' })
  assert.equal(all.scope, undefined)
})

test('a chain that the holder narrowed offline is exchanged at its own width', async () => {
  const at = await scene()
  const [who, middle, child] = [await device(), await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '3' })
  const chain = await narrowGrant([root.access_token], who.key, {
    holder: middle.key.publicKey,
    scopes: ['mail:send'],
  }, { now: at.now })
  const agent = await registered(at, { takes_from: [root.agent] })
  const fields = (scope: string) =>
    exchangeFields(chain.join('\n'), middle.cnf, agent, child.cnf, { scope })
  const path = '/oauth/token'
  await refused(signedForm(at, middle, path, fields('calendar:read')), 400, 'grant_widened')
  const answer = await bodyOf(await signedForm(at, middle, path, fields('mail:send')))
  await asOperator(at, 'POST', `/admin/grants/${root.grant_id}/revoke`)
  await refused(
    asDevice(at, child, 'POST', `/bundles/${answer.bundle_id}/refresh`),
    403,
    'policy_denied',
  )
  await refused(signedForm(at, middle, path, fields('mail:send')), 403, 'policy_denied')
})

test('revoking a grant revokes all that was made of it, in the status list too', async () => {
  const at = await scene()
  const [who, child, grandchild] = [await device(), await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '3' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const path = '/oauth/token'
  const one = await bodyOf(
    await signedForm(
      at,
      who,
      path,
      exchangeFields(root.access_token, who.cnf, agent, child.cnf, { max_depth: '1' }),
    ),
  )
  const two = await bodyOf(
    await signedForm(
      at,
      child,
      path,
      exchangeFields(one.access_token, child.cnf, agent, grandchild.cnf),
    ),
  )
  const verdict = async (token: string) => {
    const { idx, uri } = claimsOf(token).status.status_list
    const answer = await send(at, 'GET', new URL(uri).pathname)
    assert.equal(answer.headers.get('content-type'), 'application/statuslist+jwt')
    const list = await openStatusList(await answer.text(), [at.key.publicKey], { uri })
    return list.get(idx)
  }
  const tokens = [root, one, two].map(({ access_token: token }) => token)
  assert.deepEqual(await Promise.all(tokens.map(verdict)), [0, 0, 0])
  const active = async (token: string) =>
    (await bodyOf(
      await postForm(at, '/oauth/introspect', { token }, {
        authorization: `Bearer ${at.operator}`,
      }),
    )).active
  assert.deepEqual(await Promise.all(tokens.map(active)), [true, true, true])
  const answer = await bodyOf(await asOperator(at, 'POST', `/admin/grants/${one.grant_id}/revoke`))
  assert.equal(answer.revoked.length, 4)
  assert.deepEqual(await Promise.all(tokens.map(verdict)), [0, 1, 1])
  assert.deepEqual(await Promise.all(tokens.map(active)), [true, false, false])
  const again = await bodyOf(await asOperator(at, 'POST', `/admin/grants/${one.grant_id}/revoke`))
  assert.deepEqual(again.revoked, [])
  await refused(asOperator(at, 'POST', '/admin/grants/none/revoke'), 404, 'not_found')
})

test('suspending an agent stops everything of theirs, and resuming gives back what was not revoked', async () => {
  const at = await scene()
  const [who, other] = [await device(), await device()]
  const kept = await granted(at, who)
  const ended = await granted(at, other, kept.agent)
  await asOperator(at, 'POST', `/admin/grants/${ended.grant_id}/revoke`)
  await asOperator(at, 'POST', `/admin/agents/${kept.agent}/suspend`)
  const verdict = async ({ access_token: token }: { access_token: string }) => {
    const { idx, uri } = claimsOf(token).status.status_list
    const text = await (await send(at, 'GET', new URL(uri).pathname)).text()
    return (await openStatusList(text, [at.key.publicKey], { uri })).get(idx)
  }
  assert.deepEqual(await Promise.all([kept, ended].map(verdict)), [2, 1])
  const refresh = () => asDevice(at, who, 'POST', `/bundles/${kept.bundle_id}/refresh`)
  await refused(refresh(), 403, 'policy_denied')
  const seen = await bodyOf(await asDevice(at, who, 'GET', `/bundles/${kept.bundle_id}`))
  assert.equal(seen.status.state, 'suspended')
  assert.equal(seen.bundle, undefined)
  await asOperator(at, 'POST', `/admin/agents/${kept.agent}/resume`)
  assert.deepEqual(await Promise.all([kept, ended].map(verdict)), [0, 1])
  assert.equal((await refresh()).status, 200)
})

test('a revocation that is too much for the store at once is done in parts', async () => {
  const store = memoryGatewayStore()
  const at = await scene({
    store: {
      ...store,
      commit(changes) {
        if (changes.length <= 5) return store.commit(changes)
        return Promise.reject(new SignetError('too_large', 'too much at once'))
      },
    },
  })
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '1' })
  for (let i = 0; i < 8; i++) {
    const agent = await registered(at, { takes_from: [root.agent] })
    const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf)
    await bodyOf(await signedForm(at, who, '/oauth/token', fields))
  }
  const { revoked } = await bodyOf(
    await asOperator(at, 'POST', `/admin/grants/${root.grant_id}/revoke`),
  )
  assert.equal(revoked.length, 18)
  assert.equal((await store.status.read('1')).values.size, 9)
})

test('resuming an agent gives nothing back where another one is still suspended', async () => {
  const at = await scene()
  const [who, child] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '1' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const fields = exchangeFields(root.access_token, who.cnf, agent, child.cnf)
  const made = await bodyOf(await signedForm(at, who, '/oauth/token', fields))
  const statuses = async () => {
    const { values } = await at.store.status.read('1')
    return [root, made].map(({ access_token: token }) =>
      values.get(claimsOf(token).status.status_list.idx) ?? 0
    )
  }
  const set = (id: string, verb: string) => asOperator(at, 'POST', `/admin/agents/${id}/${verb}`)
  await set(agent, 'suspend')
  assert.deepEqual(await statuses(), [0, 2])
  await set(root.agent, 'suspend')
  assert.deepEqual(await statuses(), [2, 2])
  await set(root.agent, 'resume')
  assert.deepEqual(await statuses(), [0, 2])
  await set(root.agent, 'suspend')
  await set(agent, 'resume')
  assert.deepEqual(await statuses(), [2, 2])
  await set(root.agent, 'resume')
  assert.deepEqual(await statuses(), [0, 0])
  await refused(set('agent_none', 'suspend'), 404, 'not_found')
  await refused(set('agent_none', 'resume'), 404, 'not_found')
})

/** A store in which something happens just before some commits, as with a second process. */
function meddled(
  meddle: (changes: readonly Change[]) => (() => Promise<unknown>) | undefined,
): GatewayStore {
  const store = memoryGatewayStore()
  let isBusy = false
  return {
    ...store,
    async commit(changes) {
      const what = isBusy ? undefined : meddle(changes)
      isBusy ||= what !== undefined
      await what?.()
      if (what !== undefined) isBusy = false
      await store.commit(changes)
    },
  }
}

const listed = async (at: Scene, token: string) => {
  const { idx, uri } = claimsOf(token).status.status_list
  const text = await (await send(at, 'GET', new URL(uri).pathname)).text()
  return (await openStatusList(text, [at.key.publicKey], { uri })).get(idx)
}

test('a revocation at the moment of resuming an agent stands, in the status list too', async () => {
  // Before the agent's record is written, before a grant's value is, and after that.
  for (const nth of [0, 1, 2]) {
    const hook: { revoke?: () => Promise<Response> } = {}
    let left = Infinity
    const at = await scene({
      store: meddled(() => left-- === 0 ? hook.revoke : undefined),
    })
    const grant = await granted(at, await device())
    await asOperator(at, 'POST', `/admin/agents/${grant.agent}/suspend`)
    const revoke = () => asOperator(at, 'POST', `/admin/grants/${grant.grant_id}/revoke`)
    hook.revoke = revoke
    left = nth
    await bodyOf(await asOperator(at, 'POST', `/admin/agents/${grant.agent}/resume`))
    if (nth === 2) await bodyOf(await revoke())
    assert.equal(await listed(at, grant.access_token), 1, `${nth}`)
  }
})

test('a revocation at the moment of suspending an agent stands once the agent is resumed', async () => {
  const hook: { revoke?: () => Promise<Response> } = {}
  const isSuspending = (change: Change) => 'status' in change && change.value === 2
  const at = await scene({
    store: meddled((changes) => changes.some(isSuspending) ? hook.revoke : undefined),
  })
  const grant = await granted(at, await device())
  hook.revoke = () => asOperator(at, 'POST', `/admin/grants/${grant.grant_id}/revoke`)
  await asOperator(at, 'POST', `/admin/agents/${grant.agent}/suspend`)
  assert.notEqual(await listed(at, grant.access_token), 0)
  await asOperator(at, 'POST', `/admin/agents/${grant.agent}/resume`)
  assert.equal(await listed(at, grant.access_token), 1)
})

test('whoever makes new grants again and again cannot keep theirs from being revoked', async () => {
  const hook: { meddle?: () => Promise<void> } = {}
  const isRevoking = (change: Change) => 'status' in change && change.value === 1
  const at = await scene({
    store: meddled((changes) => changes.some(isRevoking) ? hook.meddle : undefined),
  })
  const [who, other] = [await device(), await device()]
  const root = await granted(at, who, undefined, { max_depth: '3' })
  const agent = await registered(at, { takes_from: [root.agent] })
  const children: string[] = []
  const exchange = async (token: string, from: Device, to: Device) => {
    const fields = exchangeFields(token, from.cnf, agent, to.cnf, { max_depth: '2' })
    const answer = await signedForm(at, from, '/oauth/token', fields)
    if (answer.status === 200) children.push((await answer.json()).access_token)
  }
  hook.meddle = async () => {
    await exchange(root.access_token, who, other)
    for (const child of [...children]) await exchange(child, other, other)
  }
  const answer = await asOperator(at, 'POST', `/admin/grants/${root.grant_id}/revoke`)
  const { revoked } = await bodyOf(answer)
  assert.ok(children.length > 0)
  assert.equal(revoked.length, 2 * (1 + children.length))
  for (const token of [root.access_token, ...children]) assert.equal(await listed(at, token), 1)
})

test('POST /oauth/introspect and /oauth/revoke answer whom they may', async () => {
  const at = await scene()
  const [who, thief] = [await device(), await device()]
  const { access_token: token, grant_id: id } = await granted(at, who)
  const operator = { authorization: `Bearer ${at.operator}` }
  await refused(postForm(at, '/oauth/introspect', { token }), 401, 'unauthenticated')
  for (const wrong of ['', 'x', token + 'x', token.slice(0, -4) + 'AAAA', 'a.b.c']) {
    const answer = await postForm(at, '/oauth/introspect', { token: wrong }, operator)
    if (wrong === '') await refused(answer, 400, 'request_malformed')
    else assert.deepEqual(await bodyOf(answer), { active: false })
  }
  const found = await bodyOf(await postForm(at, '/oauth/introspect', { token }, operator))
  assert.equal(found.active, true)
  assert.equal(found.sub, 'alice')
  assert.equal(found.scope, 'calendar:read mail:send')
  await refused(postForm(at, '/oauth/revoke', { token }), 400, 'http_signature_missing')
  await refused(signedForm(at, thief, '/oauth/revoke', { token }), 401, 'signer_untrusted')
  assert.equal((await at.store.records.get('grant', id))?.record.status, 'active')
  await bodyOf(await signedForm(at, who, '/oauth/revoke', { token }))
  assert.equal((await at.store.records.get('grant', id))?.record.status, 'revoked')
  await bodyOf(await postForm(at, '/oauth/revoke', { token: 'unknown' }, operator))
})

test('GET /.well-known/jwks.json publishes the signing key and those beside it', async () => {
  const next = await device()
  const at = await scene({ published: [next.key.publicKey] })
  const { keys } = await bodyOf(await send(at, 'GET', '/.well-known/jwks.json'))
  assert.deepEqual(
    keys.map(({ kid, alg, use }: Record<string, string>) => [kid, alg, use]),
    [at.key, next.key].map((key) => [key.publicKey.id, 'EdDSA', 'sig']),
  )
  for (const jwk of keys) {
    assert.equal('d' in jwk, false)
    const { algorithm, publicKey: raw } = fromJwk(jwk)
    assert.equal((await publicKey(algorithm, raw)).id, jwk.kid)
  }
  // What was signed before the keys changed places still counts.
  const who = await device()
  const { access_token: token } = await granted(at, who)
  const rotated = await scene({
    store: at.store,
    key: next.key,
    published: [at.key.publicKey],
  })
  const authorization = `Bearer ${rotated.operator}`
  const answer = await postForm(rotated, '/oauth/introspect', { token }, { authorization })
  assert.equal((await bodyOf(answer)).active, true)
})

test('GET /.well-known/oauth-authorization-server names what is there', async () => {
  const at = await scene()
  const metadata = await bodyOf(await send(at, 'GET', '/.well-known/oauth-authorization-server'))
  assert.equal(metadata.issuer, ISSUER)
  assert.deepEqual(metadata.code_challenge_methods_supported, ['S256'])
  for (const [name, value] of Object.entries<string>(metadata)) {
    if (!/_(?:endpoint|uri)$/.test(name)) continue
    const { pathname } = new URL(value)
    assert.notEqual((await send(at, 'GET', pathname)).status, 404, name)
  }
})
