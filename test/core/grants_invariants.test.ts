/** The invariants I1 to I6 of the draft, each broken in every way it can be, under valid signatures. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  authorizeCall,
  holderJwk,
  issueGrant,
  makePop,
  memoryReplayStore,
  narrowGrant,
  type NarrowTerms,
  thumbprintUri,
  verifyGrant,
  verifyPop,
} from '../../src/grants/mod.ts'
import {
  alice,
  bob,
  carol,
  childClaims,
  type Claims,
  details,
  forge,
  ISSUER,
  issuer,
  mallory,
  NOW,
  pair,
  rootClaims,
  TOOLS,
  TRUSTED,
  verdict,
} from './_grants.ts'

/** Each case is the good chain with one thing changed. */
async function refusedChildren(code: string, cases: Record<string, Claims>): Promise<void> {
  assert.equal(await verdict(await pair()), 'ok')
  for (const [name, change] of Object.entries(cases)) {
    assert.equal(await verdict(await pair(change)), code, name)
  }
}

test('I1: a child is issued by the holder of its parent, and by nobody else', async () => {
  await refusedChildren('grant_unlinked', {
    'by its own holder': { iss: thumbprintUri(bob.publicKey) },
    'by the issuer': { iss: ISSUER },
    'by the bare thumbprint': { iss: `urn:${alice.publicKey.id}` },
    'in other letters': { iss: thumbprintUri(alice.publicKey).toUpperCase() },
  })
  const root = await forge(issuer, rootClaims())
  const claims = childClaims(root)
  assert.equal(
    await verdict([root, await forge(mallory, claims, { kid: undefined })]),
    'signature_invalid',
  )
  assert.equal(await verdict([root, await forge(mallory, claims)]), 'grant_unlinked')
  assert.equal(
    await verdict([root, await forge(issuer, claims, { kid: undefined })]),
    'signature_invalid',
  )
  assert.equal(await verdict([root, await forge(alice, claims, { kid: undefined })]), 'ok')
})

test('I2: depth grows by one, and ceilings only fall', async () => {
  await refusedChildren('grant_depth', {
    'not deeper': { del_depth: 0 },
    'two deeper': { del_depth: 2 },
    'a higher ceiling': { del_max_depth: 4 },
    'below its own depth': { del_max_depth: 0 },
  })
  assert.equal(await verdict(await pair({ del_max_depth: 1 })), 'ok')
  assert.equal(await verdict(await pair({ del_max_depth: 0 }, { del_max_depth: 0 })), 'grant_depth')
  assert.equal(await verdict([await forge(issuer, rootClaims({ del_depth: 1 }))]), 'grant_depth')
  assert.equal(await verdict(await pair(), { maxDepth: 2 }), 'grant_depth')
  assert.equal(await verdict(await pair(), { maxDepth: 3 }), 'ok')
})

test('I3: a child neither outlives nor predates its parent, and nothing outlives the clock', async () => {
  await refusedChildren('grant_lifetime', {
    'a second longer': { exp: NOW + 3601 },
    'a second older': { iat: NOW - 1 },
  })
  const root = [await forge(issuer, rootClaims())]
  assert.equal(await verdict(root, { now: NOW + 3599 }), 'ok')
  assert.equal(await verdict(root, { now: NOW + 3600 }), 'grant_expired')
  assert.equal(await verdict(root, { now: NOW - 30 }), 'ok')
  assert.equal(await verdict(root, { now: NOW - 31 }), 'grant_not_yet_valid')
  assert.equal(await verdict(root, { maxLifetime: 3599 }), 'grant_lifetime')
  const shorter = await pair({ exp: NOW + 60 })
  assert.equal(await verdict(shorter, { now: NOW + 59 }), 'ok')
  assert.equal(await verdict(shorter, { now: NOW + 60 }), 'grant_expired')
  const long = await forge(issuer, rootClaims({ exp: NOW + 90 * 86400 + 1 }))
  assert.equal(await verdict([long]), 'grant_lifetime')
  assert.equal(await verdict([await forge(issuer, rootClaims({ exp: NOW + 90 * 86400 }))]), 'ok')
})

test('I3: a live child of an expired parent is refused', async () => {
  const root = await forge(issuer, rootClaims({ exp: NOW + 5 }))
  const child = await forge(alice, childClaims(root, alice, { exp: NOW + 3600 }))
  assert.equal(await verdict([root, child], { now: NOW + 1 }), 'grant_lifetime')
  assert.equal(await verdict([root, child], { now: NOW + 10 }), 'grant_expired')
})

test('I4: a child has no tool, argument or value more than its parent', async () => {
  const path = (constraint: object) => ({
    authorization_details: details({ read_file: { path: constraint } }),
  })
  await refusedChildren('grant_widened', {
    'another tool': { authorization_details: details({ ...TOOLS, write_file: {} }) },
    'a tool in other letters': { authorization_details: details({ 'Calendar:read': {} }) },
    'a longer name': { authorization_details: details({ 'calendar:read ': {} }) },
    'no constraints': { authorization_details: details({ read_file: {} }) },
    'another argument': {
      authorization_details: details({ read_file: { file: TOOLS.read_file['path'] } }),
    },
    'an argument more': {
      authorization_details: details({
        read_file: { ...TOOLS.read_file, mode: { constraint_type: 'exact', value: 'r' } },
      }),
    },
    'a value more': path({ constraint_type: 'one_of', values: ['/a', '/b', '/c'] }),
    'another value': path({ constraint_type: 'exact', value: '/c' }),
    'anything': path({ constraint_type: 'wildcard' }),
    'all but something': path({ constraint_type: 'not_one_of', excluded: ['/c'] }),
  })
  for (
    const change of [
      { authorization_details: details({ 'calendar:read': {} }) },
      { authorization_details: details({}) },
      {
        authorization_details: details({
          'calendar:read': { day: { constraint_type: 'wildcard' } },
        }),
      },
      path({ constraint_type: 'exact', value: '/b' }),
      path({ constraint_type: 'one_of', values: [] }),
    ]
  ) assert.equal(await verdict(await pair(change)), 'ok')
})

test('I4: what is not granted any more does not come back further down', async () => {
  const [root, child] = await pair({ authorization_details: details({ 'calendar:read': {} }) }) as [
    string,
    string,
  ]
  const again = await forge(bob, childClaims(child, bob, { authorization_details: details(TOOLS) }))
  assert.equal(await verdict([root, child, again]), 'grant_widened')
})

test('a link without an entry of tools allows nothing, and cannot be a root or a leaf', async () => {
  const empty = { authorization_details: [] }
  const [root, child] = await pair(empty) as [string, string]
  assert.equal(await verdict([root, child]), 'grant_malformed')
  assert.equal(await verdict([await forge(issuer, rootClaims(empty))]), 'grant_malformed')
  const below = (tools: unknown) =>
    forge(bob, childClaims(child, bob, { authorization_details: details(tools) }))
  assert.equal(await verdict([root, child, await below({})]), 'ok')
  assert.equal(await verdict([root, child, await below({ 'calendar:read': {} })]), 'grant_widened')
  assert.equal(
    await verdict(await pair({ authorization_details: [...details({}), ...details({})] })),
    'grant_malformed',
  )
  const others = { authorization_details: [{ type: 'payment', amount: 1 }, ...details({})] }
  assert.equal(await verdict(await pair(others)), 'ok')
})

test('I5: a child belongs to one parent, not to another of the same holder', async () => {
  await refusedChildren('grant_unlinked', { 'to nothing': { par_hash: 'A'.repeat(43) } })
  await refusedChildren('grant_malformed', {
    'no word': { par_hash: 'short' },
    'no text': { par_hash: 5 },
  })
  await refusedChildren('grant_unlinked', { 'no parent': { par_hash: undefined } })
  const [first, second] = await Promise.all(
    ['task-1', 'task-2'].map((jti) => forge(issuer, rootClaims({ jti }))),
  ) as [string, string]
  const child = await forge(alice, childClaims(first))
  assert.equal(await verdict([first, child]), 'ok')
  assert.equal(await verdict([second, child]), 'grant_unlinked')
  const orphan = await forge(issuer, rootClaims({ par_hash: 'A'.repeat(43) }))
  assert.equal(await verdict([orphan]), 'grant_unlinked')
})

test('I6: only who has the key of the leaf can use a grant', async () => {
  const chain = await pair()
  const grant = await verifyGrant(chain, TRUSTED, { now: NOW })
  const call = { tool: 'calendar:read', args: { day: 1 } }
  const options = { replay: memoryReplayStore({ now: () => NOW }), now: NOW }
  for (const key of [alice, issuer, mallory]) {
    const pop = await makePop(chain, key, call, { now: NOW })
    await assert.rejects(verifyPop(pop, grant, call, options), { code: 'signature_invalid' })
  }
  const pop = await makePop(chain, bob, call, { now: NOW })
  assert.equal((await verifyPop(pop, grant, call, options)).issuedAt, NOW)
  // A proof under the parent's grant is none under the child's.
  const above = await makePop(chain.slice(0, 1), bob, call, { now: NOW })
  await assert.rejects(verifyPop(above, grant, call, options), { code: 'pop_mismatch' })
  const answer = await authorizeCall(grant, {
    ...call,
    now: NOW,
    possession: { proof: chain[1]!, replay: options.replay },
  })
  assert.equal(answer.allowed ? 'allowed' : answer.code, 'pop_invalid')
})

test('the audience only shrinks, and the verifier must be named', async () => {
  const chain = (root: unknown, child: unknown) => pair({ aud: child }, { aud: root })
  for (const child of [undefined, 'c', ['a', 'c'], ['a', 'b', 'c']]) {
    assert.equal(await verdict(await chain(['a', 'b'], child), { audience: 'a' }), 'grant_widened')
  }
  assert.equal(await verdict(await chain(['a', 'b'], 'a'), { audience: 'a' }), 'ok')
  assert.equal(await verdict(await chain(undefined, 'a'), { audience: 'a' }), 'ok')
  assert.equal(await verdict(await chain(['a', 'b'], 'a'), { audience: 'b' }), 'grant_audience')
  assert.equal(await verdict(await chain('abc', 'abc'), { audience: 'b' }), 'grant_audience')
  assert.equal(await verdict(await chain('a', 'a')), 'grant_audience')
  assert.equal(await verdict(await pair(), { audience: 'a' }), 'ok')
  assert.equal(
    await verdict(await pair(), { audience: 'a', requireAudience: true }),
    'grant_audience',
  )
  for (const aud of [[], '', [1], {}, ['']]) {
    assert.equal(await verdict([await forge(issuer, rootClaims({ aud }))]), 'grant_malformed')
  }
})

test('limits must be named in crit, so that nobody overlooks them', async () => {
  const limits = { 'calendar:read': { calls: { max: 1 } } }
  const token = (claims: Claims, header: object) => forge(issuer, rootClaims(claims), header)
  const marked = { crit: ['limits'], limits: true }
  assert.equal(await verdict([await token({ limits }, marked)]), 'ok')
  assert.equal(await verdict([await token({ limits }, {})]), 'grant_malformed')
  assert.equal(await verdict([await token({}, marked)]), 'grant_malformed')
  assert.equal(await verdict([await token({ limits }, { crit: ['limits'] })]), 'token_critical')
  assert.equal(
    await verdict([await token({ limits }, { ...marked, limits: false })]),
    'grant_malformed',
  )
  assert.equal(
    await verdict([await token({}, { crit: ['exp'], exp: true })]),
    'token_critical',
  )
  for (
    const wrong of [
      {},
      { x: {} },
      { x: { call: { max: 1 } } },
      { x: { calls: {} } },
      { x: { calls: { max: -1 } } },
      { x: { calls: { max: '1' } } },
      { x: { calls: { max: 1, per_seconds: 0 } } },
      { x: { budget: { argument: 'a' } } },
      { x: { budget: { argument: 'a', max: -1 } } },
      { x: { budget: { argument: 'a', max: 1e-10 } } },
      { x: { approval: { keys: [], quorum: 1 } } },
      { x: { approval: { keys: [bob.publicKey.id], quorum: 2 } } },
      { x: { approval: { keys: [bob.publicKey.id, bob.publicKey.id], quorum: 2 } } },
      { x: { offline_max_age: 1.5 } },
    ]
  ) assert.equal(await verdict([await token({ limits: wrong }, marked)]), 'grant_malformed')
})

test('narrowGrant() signs nothing that a verifier would refuse', async () => {
  const root = await issueGrant(issuer, {
    issuer: ISSUER,
    holder: alice.publicKey,
    tools: TOOLS,
    audience: ['a', 'b'],
    lifetime: 3600,
    maxDepth: 1,
  }, { now: NOW })
  const narrow = (terms: Partial<NarrowTerms>, key = alice, chain: readonly string[] = root) =>
    narrowGrant(chain, key, { holder: bob.publicKey, ...terms }, { now: NOW })
  const refused: [Partial<NarrowTerms>, string][] = [
    [{ scopes: ['write'] }, 'grant_widened'],
    [{ scopes: ['read_file'] }, 'grant_widened'],
    [{ audience: ['a', 'c'] }, 'grant_widened'],
    [{ maxDepth: 2 }, 'grant_depth'],
    [{ maxDepth: 0 }, 'grant_depth'],
    [{ scopes: ['calendar:*'] }, 'scope_malformed'],
    [
      { tools: { read_file: { path: { constraint_type: 'glob', value: '*' } } } },
      'constraint_unknown',
    ],
    [{ lifetime: 0 }, 'grant_malformed'],
    [{ more: { del_depth: 0 } }, 'usage_invalid'],
  ]
  for (const [terms, code] of refused) await assert.rejects(narrow(terms), { code })
  await assert.rejects(narrow({}, mallory), { code: 'grant_unlinked' })
  await assert.rejects(
    narrowGrant(root, alice, { holder: bob.publicKey }, { now: NOW + 3600 }),
    { code: 'grant_expired' },
  )
  const child = await narrow({ scopes: ['calendar:read'] })
  assert.equal(await verdict(child, { audience: 'b' }), 'ok')
  await assert.rejects(narrow({ holder: carol.publicKey }, bob, child), { code: 'grant_depth' })
})

test('a holder key that is private, foreign or none is refused', async () => {
  const jwk = holderJwk(alice.publicKey)
  const holders: unknown[] = [
    undefined,
    {},
    { kid: 'x' },
    { jwk: null },
    { jwk: { ...jwk, d: 'AAAA' } },
    { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB', p: 'AQAB' } },
    { jwk: { kty: 'oct', k: 'AAAA' } },
    { jwk: { ...jwk, x: 'AAAA' } },
    { jwk: { ...jwk, crv: 'X25519' } },
    // The neutral element: under it everybody can sign.
    { jwk: { ...jwk, x: `AQ${'A'.repeat(41)}` } },
  ]
  for (const cnf of holders) {
    assert.equal(await verdict([await forge(issuer, rootClaims({ cnf }))]), 'grant_malformed')
  }
})
