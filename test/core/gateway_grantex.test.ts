import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import {
  digestOf,
  type GatewayStore,
  grantexRoutes,
  memoryGatewayStore,
  newGrantexKey,
} from '../../src/gateway/mod.ts'
import {
  GRANTEX_START,
  grantexAuditKey,
  type GrantexBundle,
  type GrantexChain,
  type GrantexDialect,
  grantexKeys,
  onlineAuditHash,
  parseGrantexBundle,
  verifyGrantexToken,
  writeGrantexEntry,
} from '../../src/interop/grantex/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'
import {
  allowAll,
  asks,
  BASE,
  bundleFor,
  call,
  type Face,
  face,
  good,
  newAgent,
  newBundle,
  refused,
  rsa,
  SCOPES,
  tokenOf,
  VERIFIER,
} from './_grantex_face.ts'
import {
  approve,
  asDevice,
  asOperator,
  authorize as authorizeNative,
  bodyOf,
  claimsOf,
  consentPage,
  device,
  granted,
  ISSUER,
  NOW,
  parFields,
  postForm,
  REDIRECT,
  scene,
  session,
  signedForm,
  tokenFields,
} from './_gateway.ts'

async function entries(
  bundle: GrantexBundle,
  count: number,
  from: GrantexChain = GRANTEX_START,
  dialect: GrantexDialect = 'grantex-ts',
  mark: string = 'x',
): Promise<{ texts: string[]; chain: GrantexChain }> {
  const key: Key = await grantexAuditKey(bundle)
  const texts: string[] = []
  let chain = from
  for (let i = 0; i < count; i++) {
    const event = {
      ...{
        action: `tool:${mark}`,
        agent: 'did:grantex:x',
        grant: 'grnt_x',
        scopes: ['calendar:read'],
      },
      ...{ result: 'success', time: NOW * 1000 + i },
    }
    const line = await writeGrantexEntry(dialect, event, chain, key)
    texts.push(line.text)
    chain = line
  }
  return { texts, chain }
}

const upload = (at: Face, bundleId: string, texts: readonly string[], key = at.apiKey) =>
  call(
    at,
    'POST',
    '/v1/audit/offline-sync',
    `{"bundleId":${JSON.stringify(bundleId)},"entries":[${texts.join(',')}]}`,
    key,
  )

test('a bundle is refused where nobody has said yes, and where a policy says no', async () => {
  const at = await face()
  const agent = await newAgent(at)
  await refused(call(at, 'POST', '/v1/consent-bundles', bundleFor(agent)), 403, 'CONSENT_REQUIRED')
  // A policy that allows another principal allows nobody else.
  const other = await face({}, () => ({ effect: 'allow', principal: 'bob' }))
  const theirs = await newAgent(other)
  const asked = call(other, 'POST', '/v1/consent-bundles', bundleFor(theirs))
  await refused(asked, 403, 'CONSENT_REQUIRED')
  const strict = await face({ insecureSandboxApproval: true }, () => ({ effect: 'deny' }))
  const denied = await newAgent(strict)
  const forBundle = call(strict, 'POST', '/v1/consent-bundles', bundleFor(denied))
  await refused(forBundle, 403, 'POLICY_DENIED')
  await refused(call(strict, 'POST', '/v1/authorize', asks(denied)), 403, 'POLICY_DENIED')
})

test('outside the sandbox nobody approves but the person, on the page', async () => {
  const at = await face()
  const agent = await newAgent(at)
  const challenge = { redirectUri: REDIRECT, codeChallenge: await digestOf(VERIFIER) }
  const authorize = (more: object) => call(at, 'POST', '/v1/authorize', asks(agent, more))
  await refused(
    authorize({ ...challenge, redirectUri: 'https://evil.example/' }),
    400,
    'BAD_REQUEST',
  )
  await refused(authorize({ ...challenge, redirectUri: undefined }), 400, 'BAD_REQUEST')
  await refused(authorize({ redirectUri: REDIRECT }), 400, 'BAD_REQUEST')
  await refused(authorize({ ...challenge, codeChallengeMethod: 'plain' }), 400, 'BAD_REQUEST')
  const asked = await good(authorize({ ...challenge, state: 's' }), 201)
  assert.equal(asked.code, undefined)
  const id = asked.authRequestId
  for (const path of [`/v1/authorize/${id}/approve`, `/v1/consent/${id}/approve`]) {
    await refused(call(at, 'POST', path), 403, 'CONSENT_REQUIRED')
  }
  // Somebody else than the principal sees nothing.
  assert.equal((await consentPage(at, id, await session(at, 'mallory'))).response.status, 403)
  const to = await approve(at, id, await session(at, 'alice'))
  const code = to.searchParams.get('code')!
  const redeem = (more: object) => call(at, 'POST', '/v1/token', { code, agentId: agent, ...more })
  await refused(redeem({}), 400, 'BAD_REQUEST')
  await refused(redeem({ codeVerifier: 'w'.repeat(43) }), 400, 'BAD_REQUEST')
  await refused(redeem({ codeVerifier: VERIFIER, agentId: 'ag_x' }), 400, 'BAD_REQUEST')
  const { grantId } = await good(redeem({ codeVerifier: VERIFIER }), 201)

  // Now there is a consent to issue bundles under; what it does not cover is still refused.
  const bundle = await newBundle(at, agent)
  const trust = { issuer: BASE, keys: await grantexKeys(bundle.jwksSnapshot.keys) }
  const { claims } = await verifyGrantexToken(bundle.grantToken, trust, { now: NOW })
  assert.deepEqual([claims.grant, claims.depth, claims.principal], [grantId, 0, 'alice'])
  // The consent was for an hour: a bundle of 72 hours does not outlive it.
  assert.equal(claims.expiresAt, NOW + 3600)
  assert.equal(Date.parse(bundle.offlineExpiresAt) / 1000, NOW + 3600)
  const narrow = await newBundle(at, agent, { scopes: ['mail:send'], offlineTTL: '10m' })
  const part = (await verifyGrantexToken(narrow.grantToken, trust, { now: NOW })).claims
  assert.deepEqual([part.scopes, part.depth, part.expiresAt], [['mail:send'], 0, NOW + 600])
  assert.notEqual(part.grant, grantId)
  const forBob = call(at, 'POST', '/v1/consent-bundles', bundleFor(agent, { userId: 'bob' }))
  await refused(forBob, 403, 'CONSENT_REQUIRED')
  // The end of the consent is the end of both.
  await good(call(at, 'DELETE', `/v1/grants/${grantId}`), 204)
  for (const { grantToken: token, bundleId } of [bundle, narrow]) {
    assert.deepEqual(await good(call(at, 'POST', '/v1/tokens/verify', { token })), { valid: false })
    assert.equal((await good(upload(at, bundleId, []))).revocationStatus, 'revoked')
    const path = `/v1/consent-bundles/${bundleId}/refresh`
    await refused(call(at, 'POST', path), 409, 'BUNDLE_REVOKED')
  }
})

test('a code is good once, of two at once too, and its second coming ends the grant', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agentId = await newAgent(at)
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks(agentId)), 201)
  const both = await Promise.all(
    [1, 2, 3].map(() => call(at, 'POST', '/v1/token', { code, agentId })),
  )
  assert.deepEqual(both.map(({ status }) => status).toSorted(), [201, 400, 400])
  const token = both.find(({ status }) => status === 201)!.body.grantToken
  assert.equal((await good(call(at, 'POST', '/v1/tokens/verify', { token }))).valid, false)
  const late = await good(call(at, 'POST', '/v1/authorize', asks(agentId)), 201)
  at.now += 601
  await refused(call(at, 'POST', '/v1/token', { code: late.code, agentId }), 400, 'BAD_REQUEST')
})

test('developers see and touch nothing of each other', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agent = await newAgent(at)
  const { grantToken: token, grantId } = await tokenOf(at, agent)
  const bundle = await newBundle(at, agent)
  const { bundleId } = bundle
  const other = await newGrantexKey(at.store, 'dev_two', NOW)
  const paths: [string, string, unknown?][] = [
    ['GET', `/v1/agents/${agent}`],
    ['PATCH', `/v1/agents/${agent}`, { name: 'mine' }],
    ['DELETE', `/v1/agents/${agent}`],
    ['POST', '/v1/authorize', asks(agent)],
    ['GET', `/v1/grants/${grantId}`],
    ['DELETE', `/v1/grants/${grantId}`],
    ['POST', '/v1/consent-bundles', bundleFor(agent)],
    ['GET', `/v1/consent-bundles/${bundleId}`],
    ['GET', `/v1/consent-bundles/${bundleId}/audit`],
    ['GET', `/v1/consent-bundles/${bundleId}/revocation-status`],
    ['POST', `/v1/consent-bundles/${bundleId}/refresh`],
    ['POST', `/v1/consent-bundles/${bundleId}/revoke`],
    ['POST', '/v1/audit/offline-sync', { bundleId, entries: [] }],
  ]
  for (const [method, path, body] of paths) {
    await refused(call(at, method, path, body, other), 404, 'NOT_FOUND')
  }
  for (const path of ['/v1/agents', '/v1/grants', '/v1/consent-bundles', '/v1/audit/entries']) {
    const [list] = Object.values(await good(call(at, 'GET', path, undefined, other)))
    assert.deepEqual(list, [], path)
  }
  assert.equal((await good(call(at, 'POST', '/v1/tokens/verify', { token }, other))).valid, false)
  const theirs = await good(
    call(at, 'POST', '/v1/agents', { name: 'x', scopes: SCOPES }, other),
    201,
  )
  const steal = { parentGrantToken: token, subAgentId: theirs.agentId, scopes: ['mail:send'] }
  await refused(call(at, 'POST', '/v1/grants/delegate', steal, other), 403, 'FORBIDDEN')
  assert.equal((await good(call(at, 'POST', '/v1/tokens/verify', { token }))).valid, true)
})

test('no key, another key, a session for a key and a key for a session are 401', async () => {
  const at = await face()
  const { sessionToken } = await good(
    call(at, 'POST', '/v1/principal-sessions', { principalId: 'alice', expiresIn: '1h' }),
    201,
  )
  for (const key of ['', 'short', 'x'.repeat(40), sessionToken, at.operator, `${at.apiKey}x`]) {
    await refused(call(at, 'GET', '/v1/agents', undefined, key), 401, 'UNAUTHORIZED')
  }
  await refused(call(at, 'GET', '/v1/principal/grants'), 401, 'UNAUTHORIZED')
  await good(call(at, 'GET', '/v1/principal/grants', undefined, sessionToken))
  at.now += 3601
  const late = call(at, 'GET', '/v1/principal/grants', undefined, sessionToken)
  await refused(late, 401, 'UNAUTHORIZED')
  // A developer's key opens nothing of the operator's.
  const headers = { authorization: `Bearer ${at.apiKey}` }
  const admin = await at.fetch(new Request(`${ISSUER}/admin/agents`, { headers }))
  assert.equal(admin.status, 401)
})

test('a principal sees and revokes their own grants only', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agent = await newAgent(at)
  const mine = await tokenOf(at, agent)
  const theirs = await tokenOf(at, agent, { principalId: 'bob' })
  const { sessionToken } = await good(
    call(at, 'POST', '/v1/principal-sessions', { principalId: 'alice' }),
    201,
  )
  const { grants } = await good(call(at, 'GET', '/v1/principal/grants', undefined, sessionToken))
  assert.deepEqual(grants.map(({ grantId }: { grantId: string }) => grantId), [mine.grantId])
  const revoke = (id: string) =>
    call(at, 'DELETE', `/v1/principal/grants/${id}`, undefined, sessionToken)
  await refused(revoke(theirs.grantId), 404, 'NOT_FOUND')
  await good(revoke(mine.grantId), 204)
  const { status } = await good(call(at, 'GET', `/v1/grants/${mine.grantId}`))
  assert.equal(status, 'revoked')
})

test('delegation narrows in scopes, time, audience and depth, and ends with its parent', async () => {
  const at = await face({ insecureSandboxApproval: true, maxDepth: 2 })
  const agent = await newAgent(at)
  const sub = await newAgent(at)
  const parent = await tokenOf(at, agent, { audience: 'https://api.example' })
  const delegate = (parentGrantToken: string, more = {}) =>
    call(at, 'POST', '/v1/grants/delegate', {
      ...{ parentGrantToken, subAgentId: sub, scopes: ['mail:send'], expiresIn: '30d' },
      ...more,
    })
  await refused(delegate(parent.grantToken, { scopes: ['mail:send', 'admin'] }), 400, 'BAD_REQUEST')
  await refused(delegate(parent.grantToken, { scopes: ['mail'] }), 400, 'BAD_REQUEST')
  await refused(delegate(parent.grantToken, { subAgentId: 'ag_x' }), 404, 'NOT_FOUND')
  await refused(delegate(parent.grantToken.slice(0, -6) + 'AAAAAA'), 400, 'BAD_REQUEST')
  const child = await good(delegate(parent.grantToken), 201)
  const keys = await grantexKeys(
    await good(call(at, 'GET', '/.well-known/jwks.json', undefined, '')),
  )
  const options = { now: NOW, audience: 'https://api.example' }
  const { claims } = await verifyGrantexToken(child.grantToken, { issuer: BASE, keys }, options)
  assert.deepEqual(
    [claims.depth, claims.parentGrant, claims.audience, claims.expiresAt, claims.scopes],
    [1, parent.grantId, 'https://api.example', NOW + 3600, ['mail:send']],
  )
  const grandchild = await good(delegate(child.grantToken), 201)
  const deep = delegate(grandchild.grantToken)
  await refused(deep, 403, 'DELEGATION_DEPTH_EXCEEDED')
  const valid = async (token: string) =>
    (await good(call(at, 'POST', '/v1/tokens/verify', { token }))).valid
  assert.equal(await valid(grandchild.grantToken), true)
  // The sub-agent is suspended: nothing of it, nor of what it passed on, is good meanwhile.
  await good(call(at, 'PATCH', `/v1/agents/${sub}`, { status: 'suspended' }))
  assert.deepEqual([await valid(parent.grantToken), await valid(child.grantToken)], [true, false])
  const refresh = { refreshToken: child.refreshToken, agentId: sub }
  await refused(call(at, 'POST', '/v1/token/refresh', refresh), 400, 'BAD_REQUEST')
  await good(call(at, 'PATCH', `/v1/agents/${sub}`, { status: 'active' }))
  await good(call(at, 'DELETE', `/v1/grants/${parent.grantId}`), 204)
  assert.equal(await valid(grandchild.grantToken), false)
  const { status } = await good(call(at, 'GET', `/v1/grants/${grandchild.grantId}`))
  assert.equal(status, 'revoked')
})

test('delegation gives no scope that the sub-agent is not registered for, and none that a policy denies', async () => {
  const at = await face({}, allowAll)
  const token = await tokenOf(at, await newAgent(at))
  const pass = (subAgentId: string) =>
    call(at, 'POST', '/v1/grants/delegate', {
      parentGrantToken: token.grantToken,
      subAgentId,
      scopes: ['mail:send'],
    })
  const narrow = await newAgent(at, { scopes: ['calendar:read'] })
  await refused(pass(narrow), 422, 'INVALID_SCOPES')
  const denied = await newAgent(at)
  await good(pass(denied), 201)
  const policy = { name: 'no', effect: 'deny', agentId: denied }
  await good(call(at, 'POST', '/v1/policies', policy), 201)
  await refused(pass(denied), 403, 'POLICY_DENIED')
  await good(pass(await newAgent(at)), 201)
})

test("the operator's ceilings bound grants, bundles, their refreshing and delegation", async () => {
  const ceilings = { duration: 3600, offlineAge: 60, maxDepth: 0 }
  const at = await face({}, allowAll, { ceilings })
  const agent = await newAgent(at)
  const token = await tokenOf(at, agent, { expiresIn: '90d' })
  assert.equal(Date.parse(token.expiresAt), (NOW + 3600) * 1000)
  const pass = { parentGrantToken: token.grantToken, subAgentId: agent, scopes: SCOPES }
  await refused(call(at, 'POST', '/v1/grants/delegate', pass), 403, 'DELEGATION_DEPTH_EXCEEDED')
  const asked = bundleFor(agent, { offlineTTL: '168h' })
  const bundle = await good(call(at, 'POST', '/v1/consent-bundles', asked), 201)
  assert.equal(Date.parse(bundle.offlineExpiresAt), (NOW + 60) * 1000)
  assert.equal(claimsOf(bundle.grantToken).exp, NOW + 60)
  at.now += 30
  const next = await good(call(at, 'POST', `/v1/consent-bundles/${bundle.bundleId}/refresh`))
  assert.equal(Date.parse(next.offlineExpiresAt), (NOW + 90) * 1000)
  assert.equal(claimsOf(next.grantToken).exp, NOW + 90)
})

test('codes and agents of the dialect are none to the native flow', async () => {
  const at = await face({}, allowAll)
  const agent = await newAgent(at)
  const codeChallenge = await digestOf(VERIFIER)
  const asked = asks(agent, { redirectUri: REDIRECT, codeChallenge, codeChallengeMethod: 'S256' })
  const { code, authRequestId } = await good(call(at, 'POST', '/v1/authorize', asked), 201)
  const who = await device()
  const fields = tokenFields(agent, code, who)
  assert.equal(
    (await bodyOf(await signedForm(at, who, '/oauth/token', fields), 400)).error,
    'invalid_grant',
  )
  const pushed = await postForm(at, '/oauth/par', await parFields(agent))
  assert.equal((await bodyOf(pushed, 401)).code, 'client_unknown')
  assert.notEqual((await authorizeNative(at, agent, authRequestId)).status, 303)
  const root = await granted(at, who, undefined, { max_depth: '1' })
  const exchanged = await signedForm(at, who, '/oauth/token', {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: root.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:aat',
    client_id: agent,
    holder_cnf: who.cnf,
    req_cnf: who.cnf,
    scope: 'mail:send',
  })
  assert.equal((await bodyOf(exchanged, 401)).code, 'client_unknown')
  // What was refused there is still good here.
  await good(call(at, 'POST', '/v1/token', { code, agentId: agent, codeVerifier: VERIFIER }), 201)
})

test('a developer does not undo what the operator suspended', async () => {
  const at = await face({}, allowAll)
  const agent = await newAgent(at)
  const token = await tokenOf(at, agent)
  const set = (status: string) => call(at, 'PATCH', `/v1/agents/${agent}`, { status })
  const operator = (verb: string) => asOperator(at, 'POST', `/admin/agents/${agent}/${verb}`)
  const isGood = async () =>
    (await good(call(at, 'POST', '/v1/tokens/verify', { token: token.grantToken }))).valid
  // Whoever of the two was first.
  await good(set('suspended'))
  await operator('suspend')
  await good(set('suspended'))
  await refused(set('active'), 403, 'FORBIDDEN')
  assert.equal(await isGood(), false)
  await operator('resume')
  assert.equal(await isGood(), true)
  await operator('suspend')
  await refused(set('active'), 403, 'FORBIDDEN')
  await operator('resume')
  await good(set('active'))
  // Their own suspension they lift.
  await good(set('suspended'))
  assert.equal(await isGood(), false)
  await good(set('active'))
  assert.equal(await isGood(), true)
})

test('the token of a bundle ends with the bundle, whoever revokes it; the grant goes on', async () => {
  const at = await face({}, allowAll)
  const agent = await newAgent(at)
  const isGood = async (token: string) =>
    (await good(call(at, 'POST', '/v1/tokens/verify', { token }))).valid
  for (const by of ['developer', 'operator']) {
    const first = await good(call(at, 'POST', '/v1/consent-bundles', bundleFor(agent)), 201)
    const path = `/v1/consent-bundles/${first.bundleId}`
    const { grantToken } = await good(call(at, 'POST', `${path}/refresh`))
    assert.deepEqual([await isGood(first.grantToken), await isGood(grantToken)], [true, true])
    if (by === 'developer') await good(call(at, 'POST', `${path}/revoke`, {}))
    else await bodyOf(await asOperator(at, 'POST', `/admin/bundles/${first.bundleId}/revoke`))
    assert.deepEqual([await isGood(first.grantToken), await isGood(grantToken)], [false, false])
    const pass = { parentGrantToken: grantToken, subAgentId: agent, scopes: ['mail:send'] }
    await refused(call(at, 'POST', '/v1/grants/delegate', pass), 400, 'BAD_REQUEST')
    const { grnt } = claimsOf(grantToken)
    assert.equal((await good(call(at, 'GET', `/v1/grants/${grnt}`))).status, 'active')
  }
})

test('a refresh token that comes twice ends its grant, and another developer ends nothing', async () => {
  const at = await face({}, allowAll)
  const agentId = await newAgent(at)
  const { refreshToken } = await tokenOf(at, agentId)
  const refresh = (key = at.apiKey, agent = agentId) =>
    call(at, 'POST', '/v1/token/refresh', { refreshToken, agentId: agent }, key)
  const { grantToken } = await good(refresh(), 201)
  const isGood = async () =>
    (await good(call(at, 'POST', '/v1/tokens/verify', { token: grantToken }))).valid
  await refused(refresh(await newGrantexKey(at.store, 'dev_two', NOW)), 400, 'BAD_REQUEST')
  await refused(refresh(at.apiKey, 'ag_other'), 400, 'BAD_REQUEST')
  assert.equal(await isGood(), true)
  await refused(refresh(), 400, 'BAD_REQUEST')
  assert.equal(await isGood(), false)
})

test('a refreshed token does not outlive the grant, and the one before fades out', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agentId = await newAgent(at)
  const first = await tokenOf(at, agentId)
  at.now += 1800
  const { refreshToken } = first
  const second = await good(call(at, 'POST', '/v1/token/refresh', { refreshToken, agentId }), 201)
  assert.equal(second.expiresAt, first.expiresAt)
  const valid = async (token: string) =>
    (await good(call(at, 'POST', '/v1/tokens/verify', { token }))).valid
  assert.deepEqual([await valid(first.grantToken), await valid(second.grantToken)], [true, true])
  at.now += 301
  assert.deepEqual([await valid(first.grantToken), await valid(second.grantToken)], [false, true])
  at.now += 1800
  assert.equal(await valid(second.grantToken), false)
})

test('two devices with one bundle, and a log begun anew, are taken and found out', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  const { bundleId } = bundle
  const first = await entries(bundle, 5)
  const second = await entries(bundle, 4, GRANTEX_START, 'grantex-ts', 'y')
  assert.deepEqual((await good(upload(at, bundleId, first.texts))).log, 'consistent')
  const told = await good(upload(at, bundleId, second.texts))
  assert.deepEqual([told.accepted, told.log], [4, 'replaced'])
  // Both go on, each on its own.
  const more = await entries(bundle, 2, first.chain)
  assert.equal((await good(upload(at, bundleId, more.texts))).accepted, 2)
  assert.equal((await good(upload(at, bundleId, [...first.texts, ...more.texts]))).accepted, 7)
  const python = await entries(bundle, 2, GRANTEX_START, 'grantex-py')
  assert.equal((await good(upload(at, bundleId, python.texts))).log, 'replaced')
  const findings = await at.store.records.list('finding', { key: `bundle:${bundleId}` })
  assert.deepEqual(findings.map(({ record }) => record.kind), Array(2).fill('grantex:LOG_REPLACED'))
  for (
    const [chain, texts] of [first.texts.concat(more.texts), second.texts, python.texts].entries()
  ) {
    const path = `/v1/consent-bundles/${bundleId}/audit?format=jsonl&chain=${chain}`
    assert.equal(await good(call(at, 'GET', path)), texts.map((text) => text + '\n').join(''))
  }
})

test('a fork is refused, kept as a finding once, and hides nothing', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  const { bundleId } = bundle
  const trunk = await entries(bundle, 3)
  const left = await entries(bundle, 2, trunk.chain, 'grantex-ts', 'left')
  const right = await entries(bundle, 2, trunk.chain, 'grantex-ts', 'right')
  await good(upload(at, bundleId, [...trunk.texts, ...left.texts]))
  for (const texts of [right.texts, [...trunk.texts, ...right.texts], right.texts]) {
    const told = await refused(upload(at, bundleId, texts), 409, 'AUDIT_CHAIN_CONFLICT')
    assert.deepEqual([told.errors[0].code, told.errors[0].seq], ['DUPLICATE_SEQ', 4])
  }
  const findings = await at.store.records.list('finding', { key: `bundle:${bundleId}` })
  assert.deepEqual(findings.map(({ record }) => [record.kind, record.evidence]), [
    ['grantex:DUPLICATE_SEQ', right.texts[0]],
  ])
  // What was stored once and comes again under the same number but with other content is no repetition.
  const changed = trunk.texts[1]!.replace('success', 'failure')
  const told = await refused(upload(at, bundleId, [changed]), 400, 'INVALID_AUDIT_ENTRIES')
  assert.equal(told.errors[0].code, 'INVALID_HASH')
})

test('the same upload ten times at once is stored once', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  const { texts } = await entries(bundle, 20)
  const all = await Promise.all(
    Array.from({ length: 10 }, () => upload(at, bundle.bundleId, texts)),
  )
  assert.deepEqual(
    all.map(({ status, body }) => [status, body.accepted]),
    Array(10).fill([200, 20]),
  )
  const { body } = await call(at, 'GET', `/v1/consent-bundles/${bundle.bundleId}/audit`)
  assert.equal(body.entries.length, 20)
})

test('a refresh in the middle of unsynced entries strands none of them', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  const { bundleId } = bundle
  const before = await entries(bundle, 3)
  const path = `/v1/consent-bundles/${bundleId}/refresh`
  let fresh = bundle
  for (const body of [undefined, '', '{}']) {
    fresh = parseGrantexBundle(JSON.stringify(await good(call(at, 'POST', path, body))))
  }
  await refused(call(at, 'POST', path, '{'), 400, 'BAD_REQUEST')
  const after = await entries(fresh, 3, before.chain)
  const told = await good(upload(at, bundleId, [...before.texts, ...after.texts]))
  assert.equal(told.accepted, 6)
  // A key of another bundle counts for nothing.
  const other = await newBundle(at, await newAgent(at))
  const foreign = await entries(other, 1, after.chain)
  const answer = await refused(upload(at, bundleId, foreign.texts), 400, 'INVALID_AUDIT_ENTRIES')
  assert.equal(answer.errors[0].code, 'INVALID_SIGNATURE')
})

test('a policy that allows no longer ends the refreshing, an expired bundle does too', async () => {
  let allows = true
  const at = await face({}, (asked) => allows ? allowAll(asked) : { effect: 'ask' })
  const bundle = await newBundle(at, await newAgent(at), { offlineTTL: '1h' })
  const path = `/v1/consent-bundles/${bundle.bundleId}/refresh`
  at.now += 1800
  const longer = await good(call(at, 'POST', path))
  assert.equal(Date.parse(longer.offlineExpiresAt) / 1000, NOW + 5400)
  allows = false
  at.now += 1800
  const same = await good(call(at, 'POST', path))
  assert.equal(Date.parse(same.offlineExpiresAt) / 1000, NOW + 5400)
  at.now += 1801
  await refused(call(at, 'POST', path), 409, 'BUNDLE_EXPIRED')
})

test('bundles: times, scopes, lists and revocation are checked as the original documents them', async () => {
  const at = await face({}, allowAll)
  const agent = await newAgent(at)
  const create = (more: object) => call(at, 'POST', '/v1/consent-bundles', bundleFor(agent, more))
  await refused(create({ offlineTTL: '72' }), 400, 'INVALID_TTL')
  await refused(create({ offlineTTL: '-1h' }), 400, 'INVALID_TTL')
  await refused(create({ offlineTTL: '0h' }), 400, 'INVALID_TTL')
  await refused(create({ offlineTTL: '169h' }), 422, 'INVALID_TTL')
  await refused(create({ scopes: ['payments:initiate'] }), 422, 'INVALID_SCOPES')
  await refused(create({ scopes: [] }), 400, 'BAD_REQUEST')
  await refused(create({ scopes: Array(101).fill('mail:send') }), 400, 'BAD_REQUEST')
  await refused(create({ offlineAuditKeyAlgorithm: 'RSA' }), 400, 'BAD_REQUEST')
  await refused(create({ agentId: 'ag_none' }), 404, 'NOT_FOUND')
  const made = []
  for (let i = 0; i < 5; i++) made.push((await newBundle(at, agent)).bundleId)
  const list = (query: string) => call(at, 'GET', `/v1/consent-bundles?${query}`)
  const first = await good(list('limit=3'))
  assert.equal(first.bundles.length, 3)
  const rest = await good(list(`limit=3&cursor=${first.nextCursor}`))
  assert.equal(rest.nextCursor, undefined)
  const seen = [...first.bundles, ...rest.bundles].map(({ id }: { id: string }) => id)
  assert.deepEqual(seen.toSorted(), made.toSorted())
  await refused(list('limit=0'), 400, 'BAD_REQUEST')
  await refused(list('cursor=2026-01-01'), 400, 'BAD_REQUEST')
  const path = `/v1/consent-bundles/${made[0]}/revoke`
  const once = await good(call(at, 'POST', path))
  at.now += 10
  assert.deepEqual(await good(call(at, 'POST', path, '{}')), once)
  assert.equal((await good(list('status=revoked'))).bundles.length, 1)
  const state = await good(call(at, 'GET', `/v1/consent-bundles/${made[0]}/revocation-status`))
  assert.deepEqual([state.status, state.data.status, state.revokedAt], [
    ...['revoked', 'revoked', once.revokedAt],
  ])
})

test('what is done after a revocation is taken and remarked', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  at.now -= 60
  await good(call(at, 'POST', `/v1/consent-bundles/${bundle.bundleId}/revoke`))
  at.now += 60
  const { texts } = await entries(bundle, 1)
  const told = await good(upload(at, bundle.bundleId, texts))
  assert.equal(told.revocationStatus, 'revoked')
  const codes = told.errors.map(({ code }: { code: string }) => code)
  assert.ok(codes.includes('AFTER_REVOCATION'))
})

test('the online log chains what belongs together, in the order of its numbers', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agentId = await newAgent(at)
  const { grantId } = await tokenOf(at, agentId)
  const entry = {
    ...{ agentId, agentDid: `did:grantex:${agentId}`, grantId, principalId: 'alice' },
    ...{ action: 'x', metadata: { b: 1, a: 'é' } },
  }
  const log = (more: object) => call(at, 'POST', '/v1/audit/log', { ...entry, ...more })
  await refused(log({ principalId: 'bob' }), 400, 'BAD_REQUEST')
  await refused(log({ agentDid: 'did:grantex:ag_other' }), 400, 'BAD_REQUEST')
  await refused(log({ grantId: 'grnt_none' }), 404, 'NOT_FOUND')
  await refused(log({ status: 'great' }), 400, 'BAD_REQUEST')
  await Promise.all(Array.from({ length: 8 }, () => good(log({}), 201)))
  const { entries } = await good(call(at, 'GET', '/v1/audit/entries'))
  let previous: string | null = null
  for (const { entryId: id, hash, ...rest } of entries) {
    assert.equal(rest.prevHash, previous)
    assert.equal(await onlineAuditHash({ id, ...rest }), hash)
    assert.deepEqual((await good(call(at, 'GET', `/v1/audit/${id}`))).hash, hash)
    previous = hash
  }
  assert.equal(entries.length, 8)
  const none = await good(call(at, 'GET', '/v1/audit/entries?action=y'))
  assert.deepEqual(none.entries, [])
})

test('rates: headers on routes with a key, none on the keys themselves, 429 says when to come again', async () => {
  const at = await face({ rate: 3 })
  const keys = await call(at, 'GET', '/.well-known/jwks.json', undefined, '')
  assert.equal(keys.headers.get('x-ratelimit-limit'), null)
  assert.deepEqual(Object.keys(keys.body.keys[0]).toSorted(), [
    'alg',
    'e',
    'kid',
    'kty',
    'n',
    'use',
  ])
  const remaining = []
  for (let i = 0; i < 3; i++) {
    const { headers } = await call(at, 'GET', '/v1/agents')
    remaining.push(headers.get('x-ratelimit-remaining'))
  }
  assert.deepEqual(remaining, ['2', '1', '0'])
  const body = await refused(call(at, 'GET', '/v1/agents'), 429, 'RATE_LIMIT_EXCEEDED')
  assert.match(body.message, /retry in [0-9]+ seconds/)
  at.now += 60
  assert.equal((await call(at, 'GET', '/v1/agents')).status, 200)
})

test('no route answers anything hostile with a failure of the server', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agent = await newAgent(at)
  const { bundleId } = await newBundle(at, agent)
  const { grantId } = await tokenOf(at, agent)
  const posts = [
    ...['agents', 'authorize', 'token', 'token/refresh', 'tokens/verify', 'tokens/revoke'],
    ...[
      'grants/verify',
      'grants/delegate',
      'audit/log',
      'audit/offline-sync',
      'principal-sessions',
    ],
    ...['consent-bundles', `consent-bundles/${bundleId}/refresh`, `authorize/${grantId}/approve`],
  ]
  const bodies = [
    ...['', '{', '[]', 'null', '1', '"x"', '{"__proto__":{"x":1}}', '\u0000', '{"a":1,"a":2}'],
    `${'['.repeat(5000)}`,
    `{"a":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`,
    JSON.stringify({ agentId: { $ne: 1 }, scopes: 'x', token: [], code: 1, entries: {} }),
    JSON.stringify({
      token: 'a.b.c',
      scopes: ['\ud800'],
      agentId: agent,
      name: '\ud800',
      jti: '../x',
    }),
    JSON.stringify({ bundleId, entries: [{ seq: 1e400 }, null] }),
    JSON.stringify({ bundleId, entries: [{ seq: '1' }] }),
    JSON.stringify({ ...asks(agent), scopes: ['__proto__'], expiresIn: '99999999999d' }),
    JSON.stringify({ token: `${btoa('{"alg":"none"}')}.e30.` }),
  ]
  for (const path of posts) {
    for (const body of bodies) {
      const { status, body: told } = await call(at, 'POST', `/v1/${path}`, body)
      assert.ok(status < 500, `${path} ${body.slice(0, 60)}: ${status} ${JSON.stringify(told)}`)
    }
  }
  const big = `{"a":"${'x'.repeat(1024 * 1024)}"}`
  await refused(call(at, 'POST', '/v1/agents', big), 413, 'PAYLOAD_TOO_LARGE')
  const many = await upload(at, bundleId, Array(1001).fill('{}'))
  assert.equal(many.body.code, 'PAYLOAD_TOO_LARGE')
  const paths = [
    '/v1/agents/..%2f..',
    '/v1/grants/%00',
    '/v1/audit/x',
    '/v1/x',
    '/',
    '//',
    '/v1/agents/',
  ]
  for (const path of paths) assert.equal((await call(at, 'GET', path)).status, 404, path)
  for (const method of ['PUT', 'DELETE', 'PATCH']) {
    assert.equal((await call(at, method, '/v1/audit/alog_x', '{}')).status, 404)
  }
})

test('a store that fails is a 500 that tells nothing', async () => {
  const store = memoryGatewayStore()
  let isBroken = false
  const wrapped: GatewayStore = {
    ...store,
    commit: (changes) =>
      isBroken ? Promise.reject(new Error('secret of the inside')) : store.commit(changes),
  }
  const own = await scene({ dialects: [grantexRoutes({ key: rsa })], store: wrapped })
  const apiKey = await newGrantexKey(wrapped, 'dev_one', NOW)
  isBroken = true
  const told = await call({ ...own, apiKey, now: NOW }, 'POST', '/v1/agents', { name: 'x' })
  assert.deepEqual([told.status, told.body.code], [500, 'INTERNAL_ERROR'])
  assert.ok(!JSON.stringify(told.body).includes('secret'))
})

test('grantexRoutes() refuses keys that are not RS256 and paths that are none', async () => {
  const ed = await generateKey(ALGORITHMS['Ed25519'])
  await assert.rejects(scene({ dialects: [grantexRoutes({ key: ed })] }), {
    code: 'algorithm_mismatch',
  })
  for (const path of ['', '/', 'x', '/X', '/a/']) {
    await assert.rejects(scene({ dialects: [grantexRoutes({ key: rsa, path })] }), {
      code: 'usage_invalid',
    })
  }
})

test("developers' policies deny outside the sandbox, and allow inside it only", async () => {
  const at = await face({}, allowAll)
  const agent = await newAgent(at)
  const policy = (more: object) => call(at, 'POST', '/v1/policies', { name: 'p', ...more })
  await refused(policy({ effect: 'allow' }), 403, 'FORBIDDEN')
  await refused(policy({ effect: 'maybe' }), 400, 'BAD_REQUEST')
  await refused(policy({ effect: 'deny', timeOfDayStart: '24:00' }), 400, 'BAD_REQUEST')
  const create = () => call(at, 'POST', '/v1/consent-bundles', bundleFor(agent))
  const { id } = await good(policy({ effect: 'deny', scopes: ['mail:send', 'x'] }), 201)
  await refused(create(), 403, 'POLICY_DENIED')
  await refused(call(at, 'POST', '/v1/authorize', asks(agent)), 403, 'POLICY_DENIED')
  const change = (body: object) => call(at, 'PATCH', `/v1/policies/${id}`, body)
  await refused(change({ effect: 'allow' }), 403, 'FORBIDDEN')
  const other = await newGrantexKey(at.store, 'dev_two', NOW)
  await refused(call(at, 'DELETE', `/v1/policies/${id}`, undefined, other), 404, 'NOT_FOUND')
  // NOW is 14:13 UTC.
  for (
    const [timeOfDayStart, timeOfDayEnd, status] of [
      ['00:00', '14:00', 201],
      ['14:00', '15:00', 403],
      ['22:00', '06:00', 201],
      ['14:10', '06:00', 403],
    ]
  ) {
    await good(change({ timeOfDayStart, timeOfDayEnd }))
    assert.equal((await create()).status, status, `${timeOfDayStart}`)
  }
  await good(change({ principalId: 'bob' }))
  assert.equal((await create()).status, 201)
  await good(call(at, 'DELETE', `/v1/policies/${id}`), 204)
  const sandbox = await face({ insecureSandboxApproval: true })
  const tried = await newAgent(sandbox)
  await good(call(sandbox, 'POST', '/v1/policies', { name: 'p', effect: 'allow' }), 201)
  const told = await good(call(sandbox, 'POST', '/v1/authorize', asks(tried)), 201)
  assert.equal(told.policyEnforced, true)
})

test("the log says which rule of the operator's policy decided a call", async () => {
  const at = await face({}, ({ tools, principalHint: principal }) => {
    if ('mail:send' in tools) return { effect: 'deny', rule: 'no-mail' }
    return principal === 'alice' ? { effect: 'allow', rule: 'hers', principal } : { effect: 'ask' }
  })
  const agent = await newAgent(at)
  const decided = async (path: string, body: object, status: number) => {
    await good(call(at, 'POST', path, body), status)
    return at.events.at(-1)?.decision
  }
  assert.equal('decision' in at.events.at(-1)!, false)
  const [scopes, allowed] = [['calendar:read'], {
    effect: 'allow',
    rule: 'hers',
    principal: 'alice',
  }]
  const denied = { effect: 'deny', rule: 'no-mail' }
  assert.deepEqual(await decided('/v1/authorize', asks(agent), 403), denied)
  assert.deepEqual(await decided('/v1/consent-bundles', bundleFor(agent), 403), denied)
  assert.deepEqual(await decided('/v1/authorize', asks(agent, { scopes }), 201), allowed)
  assert.deepEqual(await decided('/v1/consent-bundles', bundleFor(agent, { scopes }), 201), allowed)
  const others = bundleFor(agent, { scopes, userId: 'bob' })
  assert.deepEqual(await decided('/v1/consent-bundles', others, 403), { effect: 'ask' })
})

test('the evidence pack recomputes the chain', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agentId = await newAgent(at)
  const { grantId } = await tokenOf(at, agentId)
  const entry = {
    ...{ agentId, agentDid: `did:grantex:${agentId}`, grantId, principalId: 'alice', action: 'x' },
  }
  for (let i = 0; i < 3; i++) await good(call(at, 'POST', '/v1/audit/log', entry), 201)
  const pack = () => call(at, 'GET', '/v1/compliance/evidence-pack')
  const { chainIntegrity, summary } = await good(pack())
  assert.deepEqual(chainIntegrity, { valid: true, checkedEntries: 3, firstBrokenAt: null })
  assert.deepEqual(summary.grants, { total: 1, active: 1, revoked: 0, expired: 0 })
  const [first] = await at.store.records.list('document', { key: 'grantex:entries:dev_one' })
  const value = { ...first!.record.value, action: 'y' }
  const record = { ...first!.record, value }
  await at.store.commit([{ put: 'document', record, version: first!.version }])
  const { chainIntegrity: broken } = await good(pack())
  assert.deepEqual([broken.valid, broken.checkedEntries], [false, 0])
})

test('the page of permissions runs its own script alone', async () => {
  const at = await face()
  const page = await call(at, 'GET', '/permissions', undefined, '')
  assert.match(
    page.headers.get('content-security-policy')!,
    /default-src 'none'; script-src 'self'/,
  )
  assert.match(page.body, /<script src="permissions.js">/)
  const script = await call(at, 'GET', '/permissions.js', undefined, '')
  assert.match(script.headers.get('content-type')!, /^text\/javascript/)
})

test('a bundle under a consent for one audience is for that audience, narrowed or not', async () => {
  const at = await face()
  const agent = await newAgent(at)
  const audience = 'https://api.example'
  const challenge = { redirectUri: REDIRECT, codeChallenge: await digestOf(VERIFIER), audience }
  const { authRequestId } = await good(
    call(at, 'POST', '/v1/authorize', asks(agent, challenge)),
    201,
  )
  const to = await approve(at, authRequestId, await session(at, 'alice'))
  const code = to.searchParams.get('code')!
  await good(call(at, 'POST', '/v1/token', { code, agentId: agent, codeVerifier: VERIFIER }), 201)
  for (const scopes of [SCOPES, ['mail:send']]) {
    const bundle = await newBundle(at, agent, { scopes })
    const trust = { issuer: BASE, keys: await grantexKeys(bundle.jwksSnapshot.keys) }
    const { claims } = await verifyGrantexToken(bundle.grantToken, trust, { now: NOW, audience })
    assert.deepEqual([claims.audience, claims.scopes], [audience, scopes])
    // It can be renewed as long as the consent holds, and no longer.
    at.now += 60
    const path = `/v1/consent-bundles/${bundle.bundleId}/refresh`
    const longer = await good(call(at, 'POST', path))
    assert.equal(Date.parse(longer.offlineExpiresAt) / 1000, NOW + 3600)
    at.now -= 60
  }
})

test('no token, no code and no private key lies in the store', async () => {
  const at = await face({ insecureSandboxApproval: true })
  const agent = await newAgent(at)
  const token = await tokenOf(at, agent)
  const bundle = await newBundle(at, agent)
  const { sessionToken } = await good(
    call(at, 'POST', '/v1/principal-sessions', { principalId: 'alice' }),
    201,
  )
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks(agent)), 201)
  const secrets = [at.apiKey, sessionToken, code, token.refreshToken, 'PRIVATE KEY']
  secrets.push(...[token.grantToken, bundle.grantToken].map((text) => text.split('.')[2]!))
  let all = ''
  for (const kind of ['agent', 'request', 'grant', 'bundle', 'session', 'document'] as const) {
    const found = await at.store.records.list(kind, { limit: 1000 })
    all += JSON.stringify(found)
  }
  assert.ok(all.includes(bundle.bundleId))
  for (const secret of secrets) assert.ok(!all.includes(secret), secret.slice(0, 8))
})

test('an audit key, which travelled, opens nothing of the gateway', async () => {
  const at = await face({}, allowAll)
  const bundle = await newBundle(at, await newAgent(at))
  const key = await grantexAuditKey(bundle)
  for (const path of [`/bundles/${bundle.bundleId}`, '/bundles']) {
    assert.equal((await asDevice(at, { key, cnf: '' }, 'GET', path)).status, 401)
  }
  const path = `/bundles/${bundle.bundleId}/refresh`
  assert.equal((await asDevice(at, { key, cnf: '' }, 'POST', path)).status, 401)
})
