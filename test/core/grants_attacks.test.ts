/** Attacks on grants, each of which must end in its refusal. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { toBase64Url, utf8 } from '../../src/bytes.ts'
import { signJws } from '../../src/envelope/mod.ts'
import {
  extensionsOf,
  formatChain,
  holderJwk,
  issueGrant,
  makePop,
  memoryReplayStore,
  parseChain,
  parseScopes,
  parseScopeText,
  verifyGrant,
  verifyPop,
} from '../../src/grants/mod.ts'
import { generateKey, type Key, toPublicPem } from '../../src/keys/mod.ts'
import {
  alice,
  bob,
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
  TRUSTED,
  verdict,
} from './_grants.ts'

const root = (claims: Claims = {}, header: object = {}) => forge(issuer, rootClaims(claims), header)

test('alg none, HS256 and every other name are refused, whatever the signature is', async () => {
  const good = await root()
  assert.equal(await verdict([good]), 'ok')
  for (
    const alg of [
      'none',
      'None',
      'NONE',
      '',
      'HS256',
      'HS512',
      'RS256',
      'ES256',
      'EdDSa',
      1,
      null,
      undefined,
    ]
  ) {
    assert.equal(await verdict([await root({}, { alg })]), 'algorithm_mismatch', String(alg))
  }
  const [, body] = good.split('.') as [string, string]
  const bare = `${
    toBase64Url(utf8(`{"alg":"none","typ":"aat+jwt","kid":"${issuer.publicKey.id}"}`))
  }.${body}.`
  assert.equal(await verdict([bare]), 'algorithm_mismatch')
})

test('an HMAC under the public key as secret is no signature', async () => {
  const head = toBase64Url(utf8(`{"alg":"HS256","typ":"aat+jwt","kid":"${issuer.publicKey.id}"}`))
  const text = `${head}.${toBase64Url(utf8(JSON.stringify(rootClaims())))}`
  for (const secret of [issuer.publicKey.raw, utf8(toPublicPem(issuer.publicKey))]) {
    const hmac = await crypto.subtle.importKey(
      'raw',
      secret,
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign'],
    )
    const mac = new Uint8Array(await crypto.subtle.sign('HMAC', hmac, utf8(text)))
    assert.equal(await verdict([`${text}.${toBase64Url(mac)}`]), 'algorithm_mismatch')
  }
})

test('a token of another kind of key is refused under the pinned key, and keys in headers count for nothing', async () => {
  const foreign = await generateKey(ALGORITHMS.ES256)
  const header = { alg: 'ES256', kid: issuer.publicKey.id }
  assert.equal(await verdict([await forge(foreign, rootClaims(), header)]), 'algorithm_mismatch')
  const jwk = holderJwk(mallory.publicKey)
  for (const more of [{ jwk }, { jku: 'https://evil.example/jwks' }, { x5c: ['AAAA'] }]) {
    const kid = issuer.publicKey.id
    assert.equal(
      await verdict([await forge(mallory, rootClaims(), { ...more, kid })]),
      'signature_invalid',
    )
    assert.equal(await verdict([await forge(mallory, rootClaims(), more)]), 'signer_untrusted')
  }
})

test('a missing or unknown kid is refused; no key is tried', async () => {
  for (
    const kid of [undefined, null, '', 'unknown', mallory.publicKey.id, 0, {}, [
      issuer.publicKey.id,
    ]]
  ) {
    assert.equal(await verdict([await root({}, { kid })]), 'signer_untrusted')
  }
})

test('an issuer speaks with its own keys only', async () => {
  const other = 'https://other.example.com'
  const trusted = [...TRUSTED, { issuer: other, keys: [mallory.publicKey] }]
  const of = async (key: typeof issuer, iss: string) => {
    const chain = [await forge(key, rootClaims({ iss }))]
    return await verifyGrant(chain, trusted, { now: NOW }).then(() => 'ok', ({ code }) => code)
  }
  assert.equal(await of(issuer, ISSUER), 'ok')
  assert.equal(await of(mallory, other), 'ok')
  assert.equal(await of(mallory, ISSUER), 'signer_untrusted')
  assert.equal(await of(issuer, other), 'signer_untrusted')
  assert.equal(await of(issuer, `${ISSUER}/`), 'signer_untrusted')
  assert.equal(await verdict([await root()], { now: NOW }), 'ok')
})

test('claims that are missing or of the wrong type are refused', async () => {
  const wrong: Claims = {
    jti: [undefined, '', 1, null, {}],
    iss: [undefined, '', 'no uri', 1, 'https://a b', null],
    iat: [undefined, `${NOW}`, NOW + 0.5, -1, null, true],
    exp: [undefined, `${NOW + 3600}`, NOW + 0.5, -1, null, NOW, 0, true],
    del_depth: [undefined, '0', -1, 0.5, null, [0], false],
    del_max_depth: [undefined, '3', -1, 0.5, null, 65, 1e9],
    authorization_details: [
      undefined,
      null,
      {},
      'calendar:read',
      [],
      [1],
      [{}],
      [{ type: 'attenuating_agent_token' }],
      details(['calendar:read']),
      details('calendar:read'),
      details(null),
      details({ 'calendar:read': [] }),
      details({ 'calendar:read': null }),
      details({ 'calendar:read': { day: 'any' } }),
      details({ '': {} }),
    ],
    status: [1, {}, { status_list: { idx: -1, uri: 'https://a' } }, {
      status_list: { idx: 1 },
      other: {},
    }],
  }
  for (const [claim, values] of Object.entries(wrong)) {
    for (const value of values as unknown[]) {
      assert.equal(
        await verdict([await root({ [claim]: value })]),
        'grant_malformed',
        `${claim}: ${JSON.stringify(value)}`,
      )
    }
  }
  // A depth of a child, which has its own place in the checks.
  for (const depth of ['1', -1, 1.5, null]) {
    assert.equal(await verdict(await pair({ del_depth: depth })), 'grant_malformed')
  }
})

test('claims that two readers could read differently are refused', async () => {
  const text = JSON.stringify(rootClaims())
  const raw = async (body: string) => await verdict([await forge(issuer, body)])
  assert.equal(await raw(text), 'ok')
  assert.equal(await raw(`{"jti":"a",${text.slice(1)}`), 'json_duplicate_key')
  assert.equal(
    await raw(text.replace('{}', '{"x":{"constraint_type":"wildcard","constraint_type":"exact"}}')),
    'json_duplicate_key',
  )
  assert.equal(await raw(text.replace('"del_depth":0', '"del_depth":0.0')), 'ok')
  assert.equal(
    await raw(text.replace('"del_depth":0', '"del_depth":9007199254740993')),
    'json_number_unsafe',
  )
  assert.equal(await raw(`[${text}]`), 'grant_malformed')
  assert.equal(await raw(`${text} x`), 'json_malformed')
  assert.equal(await raw(`\ufeff${text}`), 'json_malformed')
  assert.equal(await raw(text.replace('{}', '{"\\ud800":{}}')), 'json_surrogate')
  const deep = `${'['.repeat(200)}${']'.repeat(200)}`
  assert.equal(await raw(`${text.slice(0, -1)},"x":${deep}}`), 'json_too_deep')
  assert.equal(await raw(text.replaceAll('":', '": ')), 'ok')
  assert.equal(await raw('null'), 'grant_malformed')
})

test('a token that was issued in the future is refused', async () => {
  assert.equal(await verdict([await root({ iat: NOW + 40 })], { now: NOW + 10 }), 'ok')
  assert.equal(
    await verdict([await root({ iat: NOW + 41 })], { now: NOW + 10 }),
    'grant_not_yet_valid',
  )
})

test('a session token, a proof or an approval is no grant', async () => {
  for (const typ of [undefined, 'JWT', 'at+jwt', 'aat-pop+jwt', 'signet-approval+jwt', 'aat', 1]) {
    assert.equal(await verdict([await root({}, { typ })]), 'token_type', String(typ))
  }
  assert.equal(await verdict([await root({}, { typ: 'application/AAT+jwt' })]), 'ok')
})

test('scopes are a list of whole names, not a text to search in', async () => {
  for (
    const scopes of [
      'calendar:read',
      { 0: 'a' },
      [1],
      [''],
      ['a b'],
      ['a"b'],
      ['*'],
      ['calendar:*'],
      ['ä'],
      [null],
    ]
  ) {
    assert.throws(() => parseScopes(scopes), { code: 'scope_malformed' })
  }
  assert.deepEqual(parseScopeText('calendar:read mail:send calendar:read'), [
    'calendar:read',
    'mail:send',
  ])
  assert.throws(() => parseScopeText('calendar:read  mail:send'), { code: 'scope_malformed' })
  const grant = await verifyGrant(
    [await root({ authorization_details: details({ 'calendar:read': {} }) })],
    TRUSTED,
    { now: NOW },
  )
  for (
    const tool of [
      'calendar',
      'calendar:',
      'calendar:rea',
      'calendar:read:all',
      'Calendar:Read',
      'alendar:read',
      '',
      '*',
      '__proto__',
      'constructor',
      'toString',
    ]
  ) {
    assert.equal(grant.check(tool, {}).allowed, false, tool)
    assert.equal(grant.allows(tool), false)
  }
  assert.equal(grant.check('calendar:read', {}).allowed, true)
})

test('names out of the object prototype are tools and arguments like any other', async () => {
  const tools = '{"__proto__":{"constructor":{"constraint_type":"exact","value":1}}}'
  const body = JSON.stringify(rootClaims({ authorization_details: details('TOOLS') })).replace(
    '"TOOLS"',
    tools,
  )
  const grant = await verifyGrant([await forge(issuer, body)], TRUSTED, { now: NOW })
  assert.deepEqual(grant.tools, ['__proto__'])
  assert.equal(grant.check('__proto__', {}).allowed, false)
  assert.equal(grant.check('__proto__', { constructor: 1 }).allowed, true)
  assert.equal(grant.check('toString', {}).allowed, false)
})

test('a chain that is cut, reordered, spliced, doubled or led on by strangers is refused', async () => {
  const first = await root()
  const second = await forge(alice, childClaims(first))
  const third = await forge(bob, childClaims(second, bob))
  assert.equal(await verdict([first, second, third]), 'ok')
  assert.equal(await verdict([]), 'grant_malformed')
  assert.equal(await verdict([second, third]), 'signer_untrusted')
  assert.equal(await verdict([first, third]), 'grant_unlinked')
  assert.equal(await verdict([second, first, third]), 'signer_untrusted')
  assert.equal(await verdict([first, third, second]), 'grant_unlinked')
  assert.equal(await verdict([first, second, second]), 'grant_cycle')
  assert.equal(await verdict([first, second, third, first]), 'grant_cycle')
  const other = await root({ jti: 'other' })
  assert.equal(await verdict([other, second, third]), 'grant_unlinked')
  const sibling = await forge(alice, childClaims(first, alice, { jti: 'sibling' }))
  assert.equal(await verdict([first, sibling]), 'ok')
  assert.equal(await verdict([first, sibling, third]), 'grant_unlinked')
  const renamed = await forge(alice, childClaims(first, alice, { jti: 'root' }))
  assert.equal(await verdict([first, renamed]), 'grant_cycle')
})

test('an edited token is refused', async () => {
  const [first, second] = await pair() as [string, string]
  for (const at of [first, second]) {
    const chain = (edited: string) => [first, second].map((one) => one === at ? edited : one)
    const [head, body, signature] = at.split('.') as [string, string, string]
    const claims = JSON.parse(atob(body.replaceAll('-', '+').replaceAll('_', '/')))
    const other = toBase64Url(utf8(JSON.stringify({ ...claims, exp: claims.exp + 1 })))
    assert.equal(await verdict(chain(`${head}.${other}.${signature}`)), 'signature_invalid')
    assert.equal(
      await verdict(
        chain(`${head}.${body}.${signature.replace(/^./, (c) => c === 'A' ? 'B' : 'A')}`),
      ),
      'signature_invalid',
    )
    assert.equal(await verdict(chain(`${head}.${body}.`)), 'signature_invalid')
    for (
      const broken of [`${head}.${body}`, `${at}.x`, `${at}=`, ` ${at}`, `${head}..${signature}x`]
    ) {
      assert.match(await verdict(chain(broken)), /^token_malformed$/)
    }
  }
})

test('a signature that fails is told of before whatever is wrong with the claims', async () => {
  const faults: Record<string, Claims> = {
    grant_malformed: { exp: NOW - 1 },
    constraint_unknown: { authorization_details: details({ t: { a: { constraint_type: 'x' } } }) },
    grant_depth: { del_depth: 1 },
    grant_expired: { iat: NOW - 20, exp: NOW - 10 },
    signer_untrusted: { iss: 'https://other.example.com' },
  }
  for (const [code, fault] of Object.entries(faults)) {
    assert.equal(await verdict([await forge(issuer, rootClaims(fault))]), code)
    // The pinned key's name, and a signature of somebody else.
    const forged = await forge(mallory, rootClaims(fault), { kid: issuer.publicKey.id })
    assert.equal(await verdict([forged]), 'signature_invalid', code)
  }
  const first = await root()
  const fault = { authorization_details: 1 }
  const child = (signer: Key) =>
    forge(signer, childClaims(first, alice, fault), { kid: alice.publicKey.id })
  assert.equal(await verdict([first, await child(alice)]), 'grant_malformed')
  assert.equal(await verdict([first, await child(mallory)]), 'signature_invalid')
})

test('registered constraints are shown no claims that nobody signed', async () => {
  const shown: string[] = []
  const extensions = extensionsOf({
    type: 'seen',
    validate: ({ at }) => shown.push(String(at)) > 0,
    check: () => true,
    subsumes: () => true,
  })
  const claims = (at: string) =>
    rootClaims({ authorization_details: details({ t: { a: { constraint_type: 'seen', at } } }) })
  const forged = await forge(mallory, claims('forged'), { kid: issuer.publicKey.id })
  assert.equal(await verdict([forged], { extensions }), 'signature_invalid')
  assert.equal(await verdict([await forge(issuer, claims('signed'))], { extensions }), 'ok')
  assert.deepEqual(shown, ['signed'])
})

test('what is too large is refused before it is looked at', async () => {
  const token = await root()
  assert.equal(await verdict([`${token}${'A'.repeat(65536)}`]), 'too_large')
  assert.equal(await verdict(Array.from({ length: 66 }, () => token)), 'too_large')
  assert.equal(await verdict(Array.from({ length: 5 }, () => 'A'.repeat(60_000))), 'too_large')
  const scopes = (count: number) =>
    details(Object.fromEntries(Array.from({ length: count }, (_, i) => [`s:${i}`, {}])))
  assert.equal(await verdict([await root({ authorization_details: scopes(256) })]), 'ok')
  assert.equal(
    await verdict([await root({ authorization_details: scopes(257) })]),
    'grant_malformed',
  )
  assert.equal(await verdict([await root({ authorization_details: scopes(10_000) })]), 'too_large')
  await assert.rejects(
    issueGrant(issuer, {
      issuer: ISSUER,
      holder: alice.publicKey,
      scopes: Array.from({ length: 10_000 }, (_, i) => `s:${i}`),
      lifetime: 60,
    }, { now: NOW }),
    { code: 'grant_malformed' },
  )
  const named = (length: number) => details({ ['n'.repeat(length)]: {} })
  assert.equal(await verdict([await root({ authorization_details: named(256) })]), 'ok')
  assert.equal(
    await verdict([await root({ authorization_details: named(257) })]),
    'grant_malformed',
  )
})

test('a proof is refused that was used, is stale, foreign, malformed or not canonical', async () => {
  const chain = await pair()
  const grant = await verifyGrant(chain, TRUSTED, { now: NOW })
  const args = { b: 1, a: 'x' }
  const call = { tool: 'calendar:read', args }
  const replay = memoryReplayStore({ now: () => NOW })
  const leaf = grant.links[1]!.jti
  const good = { aat_id: leaf, aat_tool: call.tool, hta: { a: 'x', b: 1 }, iat: NOW, jti: 'p' }
  const tell = async (claims: unknown, header: object = {}, options: object = {}) => {
    const pop = await forge(bob, claims, { typ: 'aat-pop+jwt', kid: undefined, ...header })
    return await verifyPop(pop, grant, call, { replay, now: NOW, ...options })
      .then(() => 'ok', ({ code }) => code)
  }
  assert.equal(await tell({ tail: 0, ...good }), 'pop_malformed', 'the order of its members')
  assert.equal(await tell(` ${JSON.stringify(good)}`), 'pop_malformed', 'a space')
  assert.equal(await tell(good), 'ok')
  assert.equal(await tell(good), 'pop_replayed')
  const wrong: [object, string][] = [
    [{ aat_id: 'root' }, 'pop_mismatch'],
    [{ aat_tool: 'calendar' }, 'pop_mismatch'],
    [{ hta: { a: 'x', b: 2 } }, 'pop_mismatch'],
    [{ hta: { a: 'x' } }, 'pop_mismatch'],
    [{ hta: [] }, 'pop_malformed'],
    [{ hta: undefined }, 'pop_malformed'],
    [{ iat: NOW + 31 }, 'pop_stale'],
    [{ iat: NOW - 31 }, 'pop_stale'],
    [{ iat: `${NOW}` }, 'pop_malformed'],
    [{ jti: '' }, 'pop_malformed'],
    [{ jti: undefined }, 'pop_malformed'],
  ]
  for (const [change, code] of wrong) {
    assert.equal(await tell({ ...good, ...change }), code, JSON.stringify(change))
  }
  assert.equal(await tell({ ...good, jti: 'r' }, {}, { audience: 'here' }), 'pop_mismatch')
  assert.equal(await tell({ ...good }, { typ: 'aat+jwt' }), 'token_type')
  assert.equal(await tell({ ...good }, { alg: 'none' }), 'algorithm_mismatch')
  for (
    const [said, asked, code] of [
      ['here', 'here', 'ok'],
      ['there', 'here', 'pop_mismatch'],
      [undefined, 'here', 'pop_mismatch'],
      ['here', undefined, 'pop_mismatch'],
    ] as const
  ) {
    const pop = await makePop(chain, bob, { ...call, audience: said }, { now: NOW })
    const answer = await verifyPop(pop, grant, call, { replay, now: NOW, audience: asked })
      .then(() => 'ok', (error) => error.code)
    assert.equal(answer, code)
  }
})

test('a forged proof uses up no name', async () => {
  const chain = await pair()
  const grant = await verifyGrant(chain, TRUSTED, { now: NOW })
  const call = { tool: 'calendar:read', args: {} }
  const replay = memoryReplayStore({ now: () => NOW })
  const forged = await makePop(chain, mallory, call, { now: NOW, jti: 'one' })
  await assert.rejects(verifyPop(forged, grant, call, { replay, now: NOW }), {
    code: 'signature_invalid',
  })
  const real = await makePop(chain, bob, call, { now: NOW, jti: 'one' })
  await verifyPop(real, grant, call, { replay, now: NOW })
})

test('of many presentations of one proof at once, one passes', async () => {
  const chain = await pair()
  const grant = await verifyGrant(chain, TRUSTED, { now: NOW })
  const call = { tool: 'calendar:read', args: {} }
  const replay = memoryReplayStore({ now: () => NOW })
  const pop = await makePop(chain, bob, call, { now: NOW })
  const answers = await Promise.allSettled(
    Array.from({ length: 20 }, () => verifyPop(pop, grant, call, { replay, now: NOW })),
  )
  assert.equal(answers.filter(({ status }) => status === 'fulfilled').length, 1)
})

test('parseChain() takes lines of tokens and nothing else', async () => {
  const chain = await pair()
  assert.deepEqual(parseChain(formatChain(chain)), chain)
  assert.deepEqual(parseChain(chain.join('\r\n')), chain)
  for (const text of ['', '\n\n', 'a b', '{"access_token":"x"}', 'ä']) {
    assert.throws(() => parseChain(text), { code: 'grant_malformed' })
  }
  assert.throws(() => parseChain('A'.repeat(300_000)), { code: 'too_large' })
  await assert.rejects(verifyGrant('a.b.c' as unknown as string[], TRUSTED), {
    code: 'grant_malformed',
  })
  await assert.rejects(verifyGrant([1 as unknown as string], TRUSTED), { code: 'grant_malformed' })
})

test('a grant of another signer with the right words is not ours', async () => {
  const token = await signJws(utf8(JSON.stringify(rootClaims())), mallory, { typ: 'aat+jwt' })
  assert.equal(await verdict([token]), 'signer_untrusted')
})

test('holders are told apart also by keys that no canonical JSON holds', async () => {
  // Deeper than canonical JSON goes, and no deeper than claims may.
  const odd = JSON.parse('['.repeat(70) + ']'.repeat(70))
  const cnf = ({ publicKey }: typeof alice) => ({ jwk: { ...holderJwk(publicKey), odd } })
  assert.equal(
    await verdict([await forge(issuer, rootClaims({ cnf: cnf(mallory) }))]),
    'grant_malformed',
  )
  // Given to bob. What mallory signs must not count, though her key was read before.
  const root = await forge(issuer, rootClaims({ cnf: cnf(bob) }))
  const child = await forge(mallory, childClaims(root, mallory))
  assert.equal(await verdict([root, child]), 'grant_malformed')
})
