import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { toBase64Url, utf8 } from '../../src/bytes.ts'
import { signJws } from '../../src/envelope/mod.ts'
import {
  type GrantexClaims,
  grantexKeys,
  mintGrantexToken,
  verifyGrantexToken,
  type VerifyGrantexTokenOptions,
} from '../../src/interop/mod.ts'
import { generateKey, type Key, readPrivateKey, signMessage } from '../../src/keys/mod.ts'
import rsaJwk from '../vectors/rsa_2048.json' with { type: 'json' }

const NOW = 1_790_000_000
const ISSUER = 'https://signet.example'
const key = await readPrivateKey(JSON.stringify(rsaJwk.jwk), { insecureClearKey: true })
const other = await generateKey(ALGORITHMS['RS256'])
const jwk = (one: Key, kid: string) => ({ ...one.publicKey.jwk, use: 'sig', kid })
const trust = { issuer: ISSUER, keys: await grantexKeys({ keys: [jwk(key, 'k1')] }) }
const CLAIMS: GrantexClaims = {
  issuer: ISSUER,
  principal: 'user_1',
  agent: 'did:grantex:ag_1',
  developer: 'dev_1',
  scopes: ['calendar:read', 'email:send'],
  grant: 'grnt_1',
  id: 'tok_1',
  issuedAt: NOW - 10,
  expiresAt: NOW + 3600,
  depth: 0,
}
const PAYLOAD = {
  iss: ISSUER,
  sub: 'user_1',
  agt: 'did:grantex:ag_1',
  scp: ['calendar:read', 'email:send'],
  grnt: 'grnt_1',
  jti: 'tok_1',
  iat: NOW - 10,
  exp: NOW + 3600,
}

/** A token with whatever header and payload, signed by `by`. */
async function forge(payload: unknown, header: object = {}, by: Key = key): Promise<string> {
  const text = [{ alg: 'RS256', kid: 'k1', ...header }, payload]
    .map((part) => toBase64Url(utf8(typeof part === 'string' ? part : JSON.stringify(part))))
    .join('.')
  return `${text}.${toBase64Url(await signMessage(by, utf8(text)))}`
}

const verify = (token: string, options: VerifyGrantexTokenOptions = {}) =>
  verifyGrantexToken(token, trust, { now: NOW, ...options })

async function refuses(token: string, code: string, options?: VerifyGrantexTokenOptions) {
  await assert.rejects(verify(token, options), { name: 'SignetError', code })
}

test('verifyGrantexToken() refuses every algorithm but RS256, whoever signed', async () => {
  for (const alg of ['none', 'HS256', 'RS512', 'PS256', 'EdDSA', 'rs256', '', 7, undefined]) {
    await refuses(await forge(PAYLOAD, { alg }), 'algorithm_mismatch')
  }
  const [head, body] = (await forge(PAYLOAD, { alg: 'none' })).split('.')
  await refuses(`${head}.${body}.`, 'algorithm_mismatch')
})

test('verifyGrantexToken() refuses HS256 with the public key as secret', async () => {
  const input = [{ alg: 'HS256', kid: 'k1' }, PAYLOAD]
    .map((part) => toBase64Url(utf8(JSON.stringify(part)))).join('.')
  const hmac = await crypto.subtle.importKey(
    'raw',
    utf8(JSON.stringify(jwk(key, 'k1'))),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  )
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', hmac, utf8(input)))
  await refuses(`${input}.${toBase64Url(mac)}`, 'algorithm_mismatch')
})

test('verifyGrantexToken() refuses a missing, unknown or similar kid, even if some key fits', async () => {
  for (const kid of [undefined, '', 'k2', 'K1', 'k1 ', 1, null, ['k1'], '__proto__']) {
    await refuses(await forge(PAYLOAD, { kid }), 'signer_untrusted')
  }
})

test('verifyGrantexToken() refuses a signature of another key and changed text', async () => {
  await refuses(await forge(PAYLOAD, {}, other), 'signature_invalid')
  const [head, , signature] = (await forge(PAYLOAD)).split('.')
  const body = toBase64Url(utf8(JSON.stringify({ ...PAYLOAD, scp: ['admin'] })))
  await refuses(`${head}.${body}.${signature}`, 'signature_invalid')
})

test('verifyGrantexToken() refuses other kinds of token and what must be understood', async () => {
  await refuses(await forge(PAYLOAD, { typ: 'dpop+jwt' }), 'token_type')
  await refuses(await forge(PAYLOAD, { typ: 'aat+jwt' }), 'token_type')
  await refuses(await forge(PAYLOAD, { typ: 5 }), 'token_type')
  await refuses(await forge(PAYLOAD, { crit: ['b64'], b64: true }), 'token_critical')
  await refuses(await forge({ ...PAYLOAD, purpose: 'principal_dashboard' }), 'token_type')
  const session = { iss: ISSUER, sub: 'user_1', jti: 's', iat: NOW, exp: NOW + 60 }
  await refuses(await forge({ ...session, purpose: 'principal_dashboard' }), 'token_type')
  await refuses(await forge(session), 'token_claims')
})

test('verifyGrantexToken() refuses each claim that is missing or of a wrong kind', async () => {
  const wrong: Record<string, readonly unknown[]> = {
    iss: [undefined, '', 5],
    sub: [undefined, '', 5],
    agt: [undefined, '', ['x']],
    jti: [undefined, '', 5],
    iat: [undefined, '1', -1, null],
    exp: [undefined, '9999999999', null, 1e300, NOW - 20],
    scp: [undefined, 'calendar:readonly', [], ['a', 1], [''], { 0: 'a', length: 1 }, [
      'a'.repeat(257),
    ]],
    delegationDepth: ['9', -5, 1.5, null, 1e9],
    grnt: [5, ''],
    aud: [['x'], 5, ''],
    nbf: ['1', NOW + 999_999],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      await refuses(await forge({ ...PAYLOAD, [name]: value }), 'token_claims')
    }
  }
  const many = Array.from({ length: 10_000 }, (_, i) => `scope:${i % 9}`)
  await refuses(await forge({ ...PAYLOAD, scp: many.slice(0, 101) }), 'token_claims')
  await refuses(await forge({ ...PAYLOAD, scp: many }), 'too_large')
  for (const text of ['[]', 'null', '{"iss":"a","iss":"b"}', '{', '\ufeff{}', '9'.repeat(400)]) {
    await refuses(await forge(text), 'token_claims')
  }
})

test('verifyGrantexToken() refuses a depth that contradicts the parent', async () => {
  const parent = { parentGrnt: 'grnt_0', parentAgt: 'did:grantex:ag_0' }
  await refuses(await forge({ ...PAYLOAD, ...parent }), 'token_claims')
  await refuses(await forge({ ...PAYLOAD, ...parent, delegationDepth: 0 }), 'token_claims')
  await refuses(await forge({ ...PAYLOAD, delegationDepth: 1 }), 'token_claims')
  await refuses(await forge({ ...PAYLOAD, delegationDepth: 1, parentGrnt: 'g' }), 'token_claims')
  const good = await forge({ ...PAYLOAD, ...parent, delegationDepth: 2 })
  assert.equal((await verify(good, { maxDepth: 2 })).claims.depth, 2)
  await refuses(good, 'grant_depth', { maxDepth: 1 })
})

test('verifyGrantexToken() refuses another issuer, audience, time and scope', async () => {
  await refuses(await forge({ ...PAYLOAD, iss: `${ISSUER}/` }), 'token_issuer')
  await refuses(await forge({ ...PAYLOAD, iat: NOW + 31 }), 'grant_not_yet_valid')
  await refuses(await forge({ ...PAYLOAD, nbf: NOW + 31 }), 'grant_not_yet_valid')
  await refuses(await forge({ ...PAYLOAD, exp: NOW - 5 }), 'grant_expired', { skew: 5 })
  await refuses(await forge(PAYLOAD), 'grant_audience', { requireAudience: true })
  const aimed = await forge({ ...PAYLOAD, aud: 'https://api.example' })
  await refuses(aimed, 'grant_audience')
  await refuses(aimed, 'grant_audience', { audience: 'https://api.example/' })
  assert.ok(await verify(aimed, { audience: 'https://api.example' }))
  await refuses(await forge(PAYLOAD), 'scope_missing', { scopes: ['calendar:read', 'read'] })
  await refuses(await forge({ ...PAYLOAD, scp: ['calendar:*'] }), 'scope_missing', {
    scopes: ['calendar:read'],
  })
})

test('verifyGrantexToken() refuses what is no compact JWS', async () => {
  const token = await forge(PAYLOAD)
  for (const bad of ['', '.', '..', 'a.b.c', token + '.x', token.slice(0, -3), ` ${token}`]) {
    await refuses(bad, 'token_malformed')
  }
  await refuses('a'.repeat(70_000), 'too_large')
})

test('a token that was minted verifies, and says what it was given', async () => {
  const token = await mintGrantexToken(CLAIMS, key, 'k1')
  const { claims, key: signer } = await verify(token, { scopes: ['email:send'], maxDepth: 0 })
  assert.equal(signer.id, key.publicKey.id)
  const plain = Object.fromEntries(
    Object.entries(claims).filter(([, value]) => value !== undefined),
  )
  assert.deepEqual(plain, { ...CLAIMS })
  const child = {
    ...CLAIMS,
    ...{ depth: 1, parentGrant: 'grnt_1', parentAgent: CLAIMS.agent, audience: 'aud' },
  }
  const verified = await verify(await mintGrantexToken(child, key, 'k1'), { audience: 'aud' })
  assert.deepEqual({ ...verified.claims }, child)
})

test('mintGrantexToken() refuses what it would not take, and keys that are not RS256', async () => {
  const rejects = (claims: Partial<GrantexClaims>) =>
    assert.rejects(mintGrantexToken({ ...CLAIMS, ...claims }, key), { code: 'token_claims' })
  await rejects({ scopes: [] })
  await rejects({ principal: '' })
  await rejects({ depth: 1 })
  await rejects({ parentGrant: 'g' })
  await rejects({ expiresAt: CLAIMS.issuedAt })
  const ed = await generateKey(ALGORITHMS['Ed25519'])
  await assert.rejects(mintGrantexToken(CLAIMS, ed), { code: 'algorithm_mismatch' })
})

test('grantexKeys() refuses ambiguous, private and short keys and leaves other kinds out', async () => {
  const code = (keys: unknown, code: string) =>
    assert.rejects(grantexKeys(JSON.parse(JSON.stringify({ keys }))), { name: 'SignetError', code })
  await code([jwk(key, 'a'), jwk(other, 'a')], 'jwk_malformed')
  await code([{ ...jwk(key, 'a'), kid: undefined }], 'jwk_malformed')
  await code([{ ...jwk(key, 'a'), use: 'enc' }], 'jwk_malformed')
  await code('none', 'jwk_malformed')
  await code([1], 'jwk_malformed')
  const short = await crypto.subtle.generateKey(
    {
      ...{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024 },
      publicExponent: Uint8Array.of(1, 0, 1),
    },
    true,
    ['sign', 'verify'],
  ).catch(() => undefined) // some platforms make none so short
  if (short !== undefined) {
    const { n, e } = await crypto.subtle.exportKey('jwk', short.publicKey)
    await code([{ kty: 'RSA', alg: 'RS256', kid: 'a', n, e }], 'key_malformed')
  }
  const ed = {
    kty: 'OKP',
    crv: 'Ed25519',
    alg: 'EdDSA',
    kid: 'b',
    x: toBase64Url(new Uint8Array(32)),
  }
  const noAlg = { ...jwk(other, 'c'), alg: undefined }
  const found = await grantexKeys(JSON.parse(JSON.stringify({ keys: [jwk(key, 'a'), ed, noAlg] })))
  assert.deepEqual([...found.keys()], ['a'])
})

test('a token of ours under another type is not taken for a grant', async () => {
  const text = await signJws(utf8(JSON.stringify(PAYLOAD)), key, {
    typ: 'signet-bundle+jwt',
    header: { kid: 'k1' },
  })
  await refuses(text, 'token_type')
})
