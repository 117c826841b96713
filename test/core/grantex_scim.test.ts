import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type GatewayStore,
  grantexRoutes,
  grantexWebhooks,
  memoryGatewayStore,
  newGrantexKey,
} from '../../src/gateway/mod.ts'
import { asks, bundleFor, call, type Face, face, good, newAgent } from './_grantex_face.ts'
import { refused, rsa, SCOPES, tokenOf, type Told } from './_grantex_face.ts'
import {
  asOperator,
  authorize,
  bodyOf,
  codeFor,
  consentPage,
  device,
  granted,
  ISSUER,
  NOW,
  postForm,
  push,
  registered,
  session,
  signedForm,
  tokenFields,
} from './_gateway.ts'

const USER = 'urn:ietf:params:scim:schemas:core:2.0:User'
const PATCH = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'
const sandbox = { insecureSandboxApproval: true }

interface Provisioned extends Face {
  readonly token: string
  scim(method: string, path: string, body?: unknown, token?: string): Promise<Told>
  /** Makes a user; the answer. */
  user(more?: object): Promise<Told['body']>
  patch(id: string, ...operations: object[]): Promise<Told>
}

async function provisioned(options = {}, store?: GatewayStore): Promise<Provisioned> {
  const at = await face({ ...sandbox, ...options }, undefined, store === undefined ? {} : { store })
  const { token } = await good(call(at, 'POST', '/v1/scim/tokens', { label: 'idp' }), 201)
  const scim: Provisioned['scim'] = (method, path, body, bearer = token) =>
    call(at, method, `/scim/v2${path}`, body, bearer)
  const user = async (more = {}) =>
    await good(scim('POST', '/Users', { schemas: [USER], userName: 'alice', ...more }), 201)
  const patch = (id: string, ...Operations: object[]) =>
    scim('PATCH', `/Users/${id}`, { schemas: [PATCH], Operations })
  return Object.assign(at, { token, scim, user, patch })
}

/** Refused in the form of SCIM (RFC 7644 §3.12). */
async function scimRefused(told: Promise<Told>, status: number, scimType?: string): Promise<void> {
  const { status: got, body, headers } = await told
  assert.deepEqual([got, body.scimType], [status, scimType], JSON.stringify(body))
  assert.equal(headers.get('content-type'), 'application/scim+json')
  assert.deepEqual(body.schemas, ['urn:ietf:params:scim:api:messages:2.0:Error'])
  assert.equal(body.status, String(status), 'a text, as RFC 7644 has it')
  assert.equal(typeof body.detail, 'string')
}

const active = async (at: Face, grantToken: string) =>
  (await good(call(at, 'POST', '/v1/grants/verify', { token: grantToken }))).active

test('SCIM opens with its own tokens only, and they open nothing else', async () => {
  const at = await provisioned()
  const { id } = await at.user()
  for (const key of ['', at.apiKey, 'x'.repeat(40), at.operator]) {
    await scimRefused(at.scim('GET', '/Users', undefined, key), 401)
    await scimRefused(at.scim('DELETE', `/Users/${id}`, undefined, key), 401)
  }
  const { headers } = await at.scim('GET', '/Users', undefined, '')
  assert.equal(headers.get('www-authenticate'), 'Bearer')
  for (const path of ['/v1/agents', '/v1/scim/tokens', '/v1/grants', '/v1/webhooks']) {
    await refused(call(at, 'GET', path, undefined, at.token), 401, 'UNAUTHORIZED')
  }
  await refused(call(at, 'POST', '/v1/scim/tokens', { label: 'x' }, at.token), 401, 'UNAUTHORIZED')
  assert.equal((await at.scim('GET', '/ServiceProviderConfig', undefined, '')).status, 200)
})

test('a token is shown once, told of without it, and dead when deleted; developers share none', async () => {
  const at = await provisioned()
  for (const body of [{}, { label: '' }, { label: 7 }, { label: 'x'.repeat(201) }]) {
    await refused(call(at, 'POST', '/v1/scim/tokens', body), 400, 'BAD_REQUEST')
  }
  const { tokens: [told] } = await good(call(at, 'GET', '/v1/scim/tokens'))
  assert.deepEqual(Object.keys(told), ['id', 'label', 'createdAt', 'lastUsedAt'])
  assert.equal(told.lastUsedAt, null)
  await good(at.scim('GET', '/Users'))
  const { tokens: [used] } = await good(call(at, 'GET', '/v1/scim/tokens'))
  assert.equal(used.lastUsedAt, new Date(NOW * 1000).toISOString())
  for (const { record } of await at.store.records.list('document', { limit: 1000 })) {
    assert.ok(!JSON.stringify(record).includes(at.token))
  }
  const other = await newGrantexKey(at.store, 'dev_two', NOW)
  assert.deepEqual(await good(call(at, 'GET', '/v1/scim/tokens', undefined, other)), { tokens: [] })
  const gone = (key?: string) => call(at, 'DELETE', `/v1/scim/tokens/${told.id}`, undefined, key)
  await refused(gone(other), 404, 'NOT_FOUND')
  await good(gone(), 204)
  await refused(gone(), 404, 'NOT_FOUND')
  await scimRefused(at.scim('GET', '/Users'), 401)
})

test("a developer's users are nobody else's", async () => {
  const at = await provisioned()
  const { id } = await at.user()
  const key = await newGrantexKey(at.store, 'dev_two', NOW)
  const { token } = await good(call(at, 'POST', '/v1/scim/tokens', { label: 'x' }, key), 201)
  for (const [method, body] of [['GET'], ['PUT', { userName: 'x' }], ['DELETE']] as const) {
    await scimRefused(at.scim(method, `/Users/${id}`, body, token), 404)
  }
  const op = { Operations: [{ op: 'replace', path: 'active', value: false }] }
  await scimRefused(at.scim('PATCH', `/Users/${id}`, op, token), 404)
  for (
    const filter of ['', '?filter=userName%20eq%20%22alice%22', `?filter=id%20eq%20%22${id}%22`]
  ) {
    assert.equal((await good(at.scim('GET', `/Users${filter}`, undefined, token))).totalResults, 0)
  }
  // The same name there is another person: what becomes of it concerns only what that developer's agents got.
  const { grantToken } = await tokenOf(at, await newAgent(at))
  const theirs = await good(
    at.scim('POST', '/Users', { userName: 'alice', active: false }, token),
    201,
  )
  await good(at.scim('DELETE', `/Users/${theirs.id}`, undefined, token), 204)
  assert.equal(await active(at, grantToken), true)
  await tokenOf(at, await newAgent(at))
})

test('a user as it must not be is refused, and nothing of it is kept', async () => {
  const at = await provisioned()
  const post = (body: unknown) => at.scim('POST', '/Users', body)
  for (const body of ['', '{', '[]', 'null', '"x"', '{"userName":"a","userName":"b"}']) {
    await scimRefused(post(body), 400, 'invalidSyntax')
  }
  await scimRefused(post({ userName: 'a', USERNAME: 'b' }), 400, 'invalidSyntax')
  await scimRefused(post({ userName: 'a', schemas: [] }), 400, 'invalidSyntax')
  await scimRefused(post({ userName: 'a', schemas: [PATCH] }), 400, 'invalidSyntax')
  for (
    const wrong of [
      ...[{}, { userName: '' }, { userName: null }, { userName: 7 }, { userName: 'x'.repeat(201) }],
      ...[{ active: 'maybe' }, { active: 1 }, { displayName: {} }, { externalId: [] }],
      ...[{ emails: 'a@b.example' }, { emails: [{}] }, { emails: [{ value: 7 }] }],
      ...[{ emails: Array(21).fill({ value: 'a@b.example' }) }, { name: 'Alice' }],
      {
        emails: [{ value: 'a@b.example', primary: true }, { value: 'c@b.example', primary: true }],
      },
    ].map((one) =>
      'userName' in one || Object.keys(one).length === 0 ? one : { userName: 'a', ...one }
    )
  ) await scimRefused(post(wrong), 400, 'invalidValue')
  assert.equal((await good(at.scim('GET', '/Users'))).totalResults, 0)
})

test('a userName is one user, whatever its case, of two at once too', async () => {
  const at = await provisioned()
  await at.user({ userName: 'Alice@x.example' })
  for (const userName of ['Alice@x.example', 'alice@X.example']) {
    await scimRefused(at.scim('POST', '/Users', { userName }), 409, 'uniqueness')
  }
  const bob = await at.user({ userName: 'bob' })
  const taken = { op: 'replace', path: 'userName', value: 'ALICE@x.example' }
  await scimRefused(at.patch(bob.id, taken), 409, 'uniqueness')
  await scimRefused(
    at.scim('PUT', `/Users/${bob.id}`, { userName: 'alice@x.example' }),
    409,
    'uniqueness',
  )
  const both = await Promise.all(
    [1, 2, 3].map(() => at.scim('POST', '/Users', { userName: 'carol' })),
  )
  assert.deepEqual(both.map(({ status }) => status).toSorted(), [201, 409, 409])
})

test('a user goes in and comes out as RFC 7643 has it; a password is not kept', async () => {
  const at = await provisioned()
  const content = {
    externalId: 'e1',
    displayName: 'Älice',
    name: { givenName: 'Alice', familyName: 'X' },
    emails: [{ value: 'a@x.example', type: 'work', primary: true }, { value: 'b@x.example' }],
  }
  const given = {
    ...content,
    id: 'scimu_mine',
    meta: { resourceType: 'Group' },
    password: 'hunter2hunter2',
    nickName: null,
    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': { department: 'x' },
    schemas: [USER, 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'],
  }
  const { status, body, headers } = await at.scim('POST', '/Users', { userName: 'alice', ...given })
  assert.equal(status, 201)
  const location = `${ISSUER}/grantex/scim/v2/Users/${body.id}`
  const iso = new Date(NOW * 1000).toISOString()
  assert.match(body.id, /^scimu_[0-9A-Z]{26}$/)
  assert.deepEqual(body, {
    ...{ schemas: [USER], id: body.id, userName: 'alice', active: true, ...content },
    meta: { resourceType: 'User', created: iso, lastModified: iso, location },
  })
  assert.equal(headers.get('location'), location)
  assert.deepEqual(await good(at.scim('GET', `/Users/${body.id}`)), body)
  for (const { record } of await at.store.records.list('document', { limit: 1000 })) {
    assert.ok(!JSON.stringify(record).includes('hunter2'))
  }
  at.now += 5
  const replaced = await good(
    at.scim('PUT', `/Users/${body.id}`, { UserName: 'alice', displayname: 'Al' }),
  )
  assert.deepEqual([replaced.displayName, replaced.externalId, replaced.emails], [
    'Al',
    undefined,
    [],
  ])
  assert.equal(replaced.meta.lastModified, new Date((NOW + 5) * 1000).toISOString())
  await good(at.scim('DELETE', `/Users/${body.id}`), 204)
  for (const method of ['GET', 'DELETE']) {
    await scimRefused(at.scim(method, `/Users/${body.id}`), 404)
  }
  await scimRefused(at.scim('PUT', `/Users/${body.id}`, { userName: 'alice' }), 404)
  await scimRefused(at.patch(body.id, { op: 'remove', path: 'displayName' }), 404)
})

test('lists go page by page; filters are those that there are', async () => {
  const at = await provisioned()
  for (let i = 0; i < 5; i++) await at.user({ userName: `u${i}`, externalId: `e${i % 2}` })
  const list = async (query: string) => await good(at.scim('GET', `/Users?${query}`))
  const page = await list('startIndex=2&count=2')
  assert.deepEqual(
    [page.totalResults, page.startIndex, page.itemsPerPage, page.Resources.length],
    [5, 2, 2, 2],
  )
  assert.deepEqual((await list('count=0')).Resources, [])
  assert.equal((await list('count=-1')).itemsPerPage, 0)
  assert.equal((await list('startIndex=0')).startIndex, 1)
  assert.deepEqual((await list('startIndex=9')).Resources, [])
  for (const query of ['count=x', 'startIndex=1.5', 'count=1e3', 'count=']) {
    await scimRefused(at.scim('GET', `/Users?${query}`), 400, 'invalidValue')
  }
  const found = async (filter: string) =>
    (await list(new URLSearchParams({ filter }).toString())).Resources
      .map(({ userName }: { userName: string }) => userName)
  assert.deepEqual(await found('userName eq "U3"'), ['u3'])
  assert.deepEqual(await found(`${USER}:USERNAME EQ "u3"`), ['u3'])
  assert.deepEqual((await found('externalId eq "e1"')).toSorted(), ['u1', 'u3'])
  assert.deepEqual(await found('userName eq "nobody"'), [])
  for (
    const filter of [
      ...['', 'userName', 'userName eq', 'userName eq u3', 'userName sw "u"', 'userName eq "u3'],
      ...['active eq true', 'userName eq "u3" or userName eq "u1"', 'userName eq "\\x"'],
    ]
  ) {
    const query = new URLSearchParams({ filter })
    await scimRefused(at.scim('GET', `/Users?${query}`), 400, 'invalidFilter')
  }
})

test('PATCH refuses what it cannot do, as a whole', async () => {
  const at = await provisioned()
  const { id } = await at.user({ emails: [{ value: 'a@x.example', type: 'work' }] })
  const before = await good(at.scim('GET', `/Users/${id}`))
  const cases: [object, string][] = [
    [{ op: 'move', path: 'displayName', value: 'x' }, 'invalidSyntax'],
    [{ path: 'displayName', value: 'x' }, 'invalidSyntax'],
    [{ op: 'replace', path: 'displayName' }, 'invalidValue'],
    [{ op: 'replace', value: 'x' }, 'invalidValue'],
    [{ op: 'remove' }, 'noTarget'],
    [{ op: 'replace', path: 'id', value: 'x' }, 'mutability'],
    [{ op: 'replace', path: 'meta.created', value: 'x' }, 'mutability'],
    [{ op: 'remove', path: 'userName' }, 'mutability'],
    [{ op: 'remove', path: 'active' }, 'mutability'],
    [{ op: 'replace', path: 'userName', value: '' }, 'invalidValue'],
    [{ op: 'replace', path: 'userName', value: null }, 'invalidValue'],
    [{ op: 'replace', path: 'active', value: 'no' }, 'invalidValue'],
    [{ op: 'replace', path: 'password', value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: '__proto__', value: {} }, 'invalidPath'],
    [{ op: 'replace', path: 'constructor.prototype', value: {} }, 'invalidPath'],
    [{ op: 'replace', path: 'name.nick', value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: 'displayName.x', value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: 7, value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: 'emails[type eq "home"].value', value: 'x' }, 'noTarget'],
    [{ op: 'replace', path: 'emails[type sw "w"].value', value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: 'emails[type eq "work"].size', value: 'x' }, 'invalidPath'],
    [{ op: 'replace', path: 'emails[type eq "work"].value', value: 7 }, 'invalidValue'],
  ]
  for (const [operation, type] of cases) {
    const first = { op: 'replace', path: 'displayName', value: 'Changed' }
    await scimRefused(at.patch(id, first, operation), 400, type)
  }
  await scimRefused(at.scim('PATCH', `/Users/${id}`, {}), 400, 'invalidSyntax')
  await scimRefused(at.scim('PATCH', `/Users/${id}`, { Operations: [] }), 400, 'invalidSyntax')
  await scimRefused(at.scim('PATCH', `/Users/${id}`, { Operations: [7] }), 400, 'invalidSyntax')
  const many = Array(101).fill({ op: 'remove', path: 'displayName' })
  await scimRefused(at.patch(id, ...many), 400, 'tooMany')
  assert.deepEqual(await good(at.scim('GET', `/Users/${id}`)), before)
})

test('PATCH adds, replaces and removes, as providers write it', async () => {
  const at = await provisioned()
  const { id } = await at.user()
  const step = async (...operations: object[]) => await good(at.patch(id, ...operations))
  const emails = async (...operations: object[]) => (await step(...operations)).emails
  assert.equal((await step({ op: 'Add', path: 'displayName', value: 'A' })).displayName, 'A')
  // Okta: no path; Entra ID: texts for truth values, paths with dots, filters.
  assert.equal((await step({ op: 'replace', value: { active: false, foo: 1 } })).active, false)
  assert.equal((await step({ op: 'Replace', path: 'active', value: 'True' })).active, true)
  const named = await step({ op: 'Add', value: { 'name.givenName': 'Al', [`${USER}:title`]: 'x' } })
  assert.deepEqual(named.name, { givenName: 'Al' })
  const both = await step({ op: 'replace', path: 'NAME', value: { familyName: 'X' } })
  assert.deepEqual(both.name, { givenName: 'Al', familyName: 'X' })
  assert.deepEqual(
    await emails({ op: 'add', path: 'emails[type eq "work"].value', value: 'w@x.example' }),
    [{ value: 'w@x.example', type: 'work' }],
  )
  const home = { value: 'h@x.example', type: 'home', primary: true }
  assert.equal((await emails({ op: 'add', path: `${USER}:emails`, value: [home] })).length, 2)
  assert.deepEqual(
    await emails({ op: 'add', path: 'emails', value: { value: 'n@x.example', primary: true } }),
    [
      { value: 'w@x.example', type: 'work', primary: false },
      { ...home, primary: false },
      { value: 'n@x.example', primary: true },
    ],
  )
  const [work] = await emails(
    { op: 'replace', path: 'emails[type eq "work"].value', value: 'v@x.example' },
    { op: 'remove', path: 'emails[type eq "home"]' },
    { op: 'replace', path: 'emails[value eq "n@x.example"].primary', value: false },
  )
  assert.equal(work.value, 'v@x.example')
  assert.deepEqual(await emails({ op: 'remove', path: 'emails' }), [])
  assert.equal((await step({ op: 'remove', path: 'displayName' })).displayName, undefined)
  assert.equal((await step({ op: 'remove', path: 'name.givenName' })).name.givenName, undefined)
})

test('whoever is not active any more loses their grants, with all below, and gets nothing new', async () => {
  const at = await provisioned()
  const agentId = await newAgent(at)
  const { id } = await at.user()
  const { grantToken, refreshToken } = await tokenOf(at, agentId)
  const child = await good(
    call(at, 'POST', '/v1/grants/delegate', {
      ...{ parentGrantToken: grantToken, subAgentId: agentId, scopes: SCOPES.slice(0, 1) },
    }),
    201,
  )
  const bundle = await good(call(at, 'POST', '/v1/consent-bundles', bundleFor(agentId)), 201)
  const other = await tokenOf(at, agentId, { principalId: 'bob' })
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks(agentId)), 201)
  const { sessionToken } = await good(
    call(at, 'POST', '/v1/principal-sessions', { principalId: 'alice' }),
    201,
  )
  assert.equal(
    (await good(at.patch(id, { op: 'replace', path: 'active', value: false }))).active,
    false,
  )

  for (const token of [grantToken, child.grantToken, bundle.grantToken]) {
    assert.equal(await active(at, token), false)
  }
  assert.equal(await active(at, other.grantToken), true, 'nobody else')
  const barred = (told: Promise<Told>) => refused(told, 403, 'PRINCIPAL_INACTIVE')
  await barred(call(at, 'POST', '/v1/authorize', asks(agentId)))
  await barred(call(at, 'POST', '/v1/authorize', asks(agentId, { principalId: 'ALICE' })))
  await barred(call(at, 'POST', '/v1/token', { code, agentId }))
  await barred(call(at, 'POST', '/v1/consent-bundles', bundleFor(agentId)))
  await barred(call(at, 'POST', '/v1/principal-sessions', { principalId: 'alice' }))
  await barred(call(at, 'GET', '/v1/principal/grants', undefined, sessionToken))
  await refused(
    call(at, 'POST', '/v1/token/refresh', { refreshToken, agentId }),
    400,
    'BAD_REQUEST',
  )
  const { revocationStatus } = await good(
    call(at, 'POST', '/v1/audit/offline-sync', { bundleId: bundle.bundleId, entries: [] }),
  )
  assert.equal(revocationStatus, 'revoked')

  // Whoever comes back begins anew.
  await good(at.patch(id, { op: 'replace', path: 'active', value: true }))
  assert.equal(await active(at, grantToken), false)
  await tokenOf(at, agentId)
})

test('a PUT that says nothing of it wakes nobody; a removed user stays barred until made anew', async () => {
  const at = await provisioned()
  const agentId = await newAgent(at)
  const { id } = await at.user()
  await good(at.patch(id, { op: 'replace', path: 'active', value: false }))
  assert.equal((await good(at.scim('PUT', `/Users/${id}`, { userName: 'alice' }))).active, false)
  const asked = () => call(at, 'POST', '/v1/authorize', asks(agentId))
  await refused(asked(), 403, 'PRINCIPAL_INACTIVE')
  await good(at.scim('PUT', `/Users/${id}`, { userName: 'alice', active: true }))
  const { grantToken } = await tokenOf(at, agentId)
  await good(at.scim('DELETE', `/Users/${id}`), 204)
  assert.equal(await active(at, grantToken), false)
  await refused(asked(), 403, 'PRINCIPAL_INACTIVE')
  await at.user()
  await good(asked(), 201)
})

test('a user who gets another name loses what was given under the one before', async () => {
  const at = await provisioned()
  const agentId = await newAgent(at)
  const { id } = await at.user()
  const { grantToken } = await tokenOf(at, agentId)
  await good(at.patch(id, { op: 'replace', path: 'userName', value: 'alicia' }))
  assert.equal(await active(at, grantToken), false)
  await refused(call(at, 'POST', '/v1/authorize', asks(agentId)), 403, 'PRINCIPAL_INACTIVE')
  const again = await tokenOf(at, agentId, { principalId: 'alicia' })
  await good(at.patch(id, { op: 'replace', path: 'active', value: false }))
  assert.equal(await active(at, again.grantToken), false)
  await at.user({ userName: 'alice' }) // the name is free
})

test('a removal that breaks off in the middle is fail-closed, and ends when it is asked for again', async () => {
  const store = memoryGatewayStore()
  let left = Infinity
  const commit: GatewayStore['commit'] = (changes) =>
    left-- > 0 ? store.commit(changes) : Promise.reject(new Error('crash'))
  const at = await provisioned({}, { ...store, commit })
  const agentId = await newAgent(at)
  for (let steps = 0, isDone = false; !isDone; steps++) {
    assert.ok(steps < 20)
    const { id } = await at.user({ userName: `u${steps}` })
    const { grantToken } = await tokenOf(at, agentId, { principalId: `u${steps}` })
    left = steps
    const { status } = await at.scim('DELETE', `/Users/${id}`)
    left = Infinity
    isDone = status === 204
    if (!isDone && steps > 0) {
      const asked = call(at, 'POST', '/v1/authorize', asks(agentId, { principalId: `u${steps}` }))
      await refused(asked, 403, 'PRINCIPAL_INACTIVE')
    }
    if (!isDone) await good(at.scim('DELETE', `/Users/${id}`), 204)
    assert.equal(await active(at, grantToken), false)
  }
})

test('the dialect twice on one gateway admits and bars as once', async () => {
  const store = memoryGatewayStore()
  const twice = await face(sandbox, undefined, {
    store,
    dialects: [
      grantexRoutes({ key: rsa, ...sandbox }),
      grantexRoutes({ key: rsa, path: '/b', ...sandbox }),
    ],
  })
  const { token } = await good(call(twice, 'POST', '/v1/scim/tokens', { label: 'x' }), 201)
  const user = { userName: 'alice' }
  const { id } = await good(call(twice, 'POST', '/scim/v2/Users', user, token), 201)
  const agentId = await newAgent(twice)
  await tokenOf(twice, agentId)
  await good(call(twice, 'DELETE', `/scim/v2/Users/${id}`, undefined, token), 204)
  await refused(call(twice, 'POST', '/v1/authorize', asks(agentId)), 403, 'PRINCIPAL_INACTIVE')
})

test('of a code redeemed while its principal is barred, no grant is left', async () => {
  const at = await provisioned()
  const agentId = await newAgent(at)
  for (let i = 0; i < 10; i++) {
    const { id } = await at.user({ userName: `p${i}` })
    const asked = asks(agentId, { principalId: `p${i}` })
    const { code } = await good(call(at, 'POST', '/v1/authorize', asked), 201)
    const [redeemed] = await Promise.all([
      call(at, 'POST', '/v1/token', { code, agentId }),
      at.patch(id, { op: 'replace', path: 'active', value: false }),
    ])
    if (redeemed.status === 201) assert.equal(await active(at, redeemed.body.grantToken), false)
    else assert.equal(redeemed.body.code, 'PRINCIPAL_INACTIVE')
  }
})

test("users of the server's directory sign in, consent and hold grants of its own, or do none of it", async () => {
  const at = await provisioned({ directory: 'dev_one' })
  const { id } = await at.user()
  const who = await device()
  const held = await granted(at, who)
  const cookie = await session(at)
  const agent = await registered(at)
  const request = await push(at, agent)
  const code = await codeFor(at, agent)
  const made = await asOperator(at, 'POST', '/admin/sign-in-codes', { principal: 'alice' })
  const { code: signIn } = await bodyOf(made, 201)
  await good(at.patch(id, { op: 'replace', path: 'active', value: false }))

  const entered = await postForm(at, '/sign-in', { code: signIn, back: '/consent/x' })
  assert.equal(entered.status, 403)
  assert.equal(entered.headers.get('set-cookie'), null)
  const page = await consentPage(at, request, cookie)
  assert.deepEqual([page.response.status, page.token], [403, ''])
  const redeemed = await signedForm(at, who, '/oauth/token', tokenFields(agent, code, who))
  assert.notEqual(redeemed.status, 200)
  const shown = await asOperator(at, 'GET', `/admin/grants/${held.grant_id}`)
  assert.equal((await bodyOf(shown)).state, 'revoked')
  assert.equal((await authorize(at, agent, request)).status, 303, 'a policy asks the person')
})

test('of a native code redeemed while its principal is barred by the directory, no grant is left', async () => {
  const at = await provisioned({ directory: 'dev_one' })
  const agent = await registered(at)
  const who = await device()
  const { id } = await at.user()
  for (let i = 0; i < 10; i++) {
    await good(at.patch(id, { op: 'replace', path: 'active', value: true }))
    const code = await codeFor(at, agent)
    const redeem = signedForm(at, who, '/oauth/token', tokenFields(agent, code, who))
    for (let wait = 0; wait < 40 * i; wait++) await Promise.resolve() // meet it elsewhere each time
    await good(at.patch(id, { op: 'replace', path: 'active', value: false }))
    const answer = await redeem
    if (answer.status !== 200) continue
    const shown = await asOperator(at, 'GET', `/admin/grants/${(await answer.json()).grant_id}`)
    assert.equal((await bodyOf(shown)).state, 'revoked')
  }
})

test("users of a developer who is not the server's directory sign in as they did", async () => {
  const at = await provisioned()
  const { id } = await at.user()
  const held = await granted(at, await device())
  await good(at.patch(id, { op: 'replace', path: 'active', value: false }))
  await session(at)
  const shown = await asOperator(at, 'GET', `/admin/grants/${held.grant_id}`)
  assert.equal((await bodyOf(shown)).state, 'active')
})

test('nothing hostile makes webhooks or SCIM a failure of the server', async () => {
  const store = memoryGatewayStore()
  const fetch = () => Promise.resolve(new Response())
  const webhooks = grantexWebhooks({ store, fetch, key: new Uint8Array(32) })
  const at = await provisioned({ webhooks }, store)
  const { id } = await at.user()
  const lone = '\\ud800'
  const bodies = [
    ...[
      '',
      '{',
      '[]',
      'null',
      '1',
      '"x"',
      '{"__proto__":{"userName":"x"}}',
      '\u0000',
      '{"a":1,"a":2}',
    ],
    ...['['.repeat(5000), `{"a":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`],
    ...[`{"userName":"${lone}"}`, `{"userName":"a","name":{"givenName":"${lone}"}}`],
    ...[`{"url":"https://${lone}.example/","events":["grant.created"]}`, `{"label":"${lone}"}`],
    ...['{"url":{"href":"x"},"events":{"length":1}}', '{"userName":"a","emails":{"length":1e9}}'],
    ...['{"userName":"a","emails":[[[[]]]]}', '{"userName":"a","name":[]}', '{"schemas":{}}'],
    ...['path', 'op', 'value'].flatMap((name) =>
      ['{}', '[]', '7', 'null', `"${lone}"`, '"emails[type eq \\"\\"]"', '"__proto__"'].map((
        value,
      ) =>
        `{"Operations":[{"op":"add","path":"name","value":{},"${name}x":1},{"${name}":${value}}]}`
      )
    ),
    ...['toString', 'constructor', '__proto__', 'emails[', 'emails[type eq "x"].', ' '].map((
      path,
    ) => JSON.stringify({ Operations: [{ op: 'add', path, value: { __proto__: null, x: 1 } }] })),
    `{"Operations":[{"op":"add","path":"emails[type eq \\"${lone}\\"].value","value":"x"}]}`,
    `{"Operations":[{"op":"replace","value":{"userName":"${lone}"}}]}`,
  ]
  const fine = ({ status, body }: Told, what: string) =>
    assert.ok(status < 500, `${what}: ${status} ${JSON.stringify(body)}`)
  for (const body of bodies) {
    for (const path of ['/v1/webhooks', '/v1/scim/tokens']) {
      fine(await call(at, 'POST', path, body), `${path} ${body.slice(0, 80)}`)
    }
    fine(await at.scim('POST', '/Users', body), body.slice(0, 80))
    for (const method of ['PUT', 'PATCH']) {
      fine(await at.scim(method, `/Users/${id}`, body), `${method} ${body.slice(0, 80)}`)
    }
  }
  const filters = [
    ...[
      `userName eq "${lone}"`,
      `id eq "${lone}"`,
      `externalId eq "${lone}"`,
      `userName eq "\u0000"`,
    ],
    ...[
      'id eq "../x"',
      'id eq ""',
      `userName eq "${'x'.repeat(5000)}"`,
      `${'('.repeat(3000)}`,
      '%',
    ],
  ]
  for (const filter of filters) {
    fine(await at.scim('GET', `/Users?${new URLSearchParams({ filter })}`), filter.slice(0, 80))
  }
  for (const query of ['count=999999999', 'startIndex=999999999', 'count=-999999999', 'x=%ff']) {
    fine(await at.scim('GET', `/Users?${query}`), query)
  }
  for (const path of ['/Users/..%2f..', '/Users/%00', '/Users/', '/Groups', '/Users/x/y', '']) {
    assert.equal((await at.scim('GET', path)).status, 404, path)
  }
  fine(
    await call(at, 'POST', '/v1/authorize', { agentId: 'x', principalId: '\ud800' }),
    'principal',
  )
  const agentId = await newAgent(at)
  const asked = `{"agentId":"${agentId}","principalId":"${lone}","scopes":["mail:send"]}`
  fine(await call(at, 'POST', '/v1/authorize', asked), asked)
})
