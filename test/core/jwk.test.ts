/** JWK and JWK Sets, and the thumbprints that name keys. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, fromBase64Url, toBase64Url, toHex, utf8 } from '../../src/bytes.ts'
import { KNOWN_ANSWERS } from '../../src/crypto/kat.ts'
import { KNOWN_ANSWERS as ML_DSA_ANSWERS } from '../../src/crypto/kat_ml_dsa.ts'
import { type ErrorCode, SignetError } from '../../src/errors.ts'
import type { JsonObject, JsonValue } from '../../src/json.ts'
import {
  fromJwk,
  publicKey,
  readPrivateKey,
  readPublicKeys,
  signMessage,
  thumbprint,
  toJwk,
} from '../../src/keys/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'
import rfc9964 from '../vectors/rfc9964_jose.json' with { type: 'json' }
import rsa from '../vectors/rsa_2048.json' with { type: 'json' }

/** RFC 8037 appendix A.1. */
const OKP = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
}
const { d: _, ...OKP_PUBLIC } = OKP
const EC = jwkOf('ES256')
const AKP = toJwk(ALGORITHMS['ML-DSA-65'], {
  publicKey: fromBase64(ML_DSA_ANSWERS['ML-DSA-65']!.publicKey),
  privateKey: fromBase64(ML_DSA_ANSWERS['ML-DSA-65']!.privateKey!),
})
const RSA: Record<string, string> = rsa.jwk
const RSA_PUBLIC = { kty: 'RSA', n: RSA.n!, e: RSA.e! }

function jwkOf(name: AlgorithmName) {
  const { publicKey, privateKey } = KNOWN_ANSWERS[name]!
  return toJwk(ALGORITHMS[name], {
    publicKey: fromBase64(publicKey),
    ...(privateKey === undefined ? {} : { privateKey: fromBase64(privateKey) }),
  })
}

function refuses(code: ErrorCode, cases: Readonly<Record<string, JsonValue>>): void {
  for (const [name, jwk] of Object.entries(cases)) {
    assert.throws(() => fromJwk(jwk as JsonObject), { code }, name)
  }
}

/** base64url with bytes put before it. */
const prefixed = (text: string, ...bytes: number[]) =>
  toBase64Url(Uint8Array.of(...bytes, ...fromBase64Url(text)))

test('fromJwk() refuses key types, curves and algorithms that it does not know', () => {
  const odd = [
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '',
    'none',
    'HS256',
    'ed25519',
  ]
  for (const name of odd) {
    refuses('algorithm_unsupported', {
      [`kty ${name}`]: { ...OKP, kty: name },
      [`crv ${name}`]: { ...OKP, crv: name },
      [`alg ${name} of RSA`]: { ...RSA_PUBLIC, alg: name },
      [`alg ${name} of AKP`]: { ...AKP, alg: name },
    })
    refuses('jwk_malformed', { [`alg ${name} of EC`]: { ...EC, alg: name } })
  }
  refuses('algorithm_unsupported', {
    'nothing': {},
    'no kty': { crv: 'Ed25519', x: OKP.x },
    'X25519': { ...OKP, crv: 'X25519' },
    'Ed448': { ...OKP, crv: 'Ed448' },
    'secp256k1': { ...EC, crv: 'secp256k1' },
    'a symmetric key': { kty: 'oct', k: 'AAAA' },
    'AKP without alg': { kty: 'AKP', pub: AKP.pub! },
    'the curve of another type': { ...EC, kty: 'OKP' },
    'RSA encryption': { ...RSA_PUBLIC, alg: 'RSA-OAEP' },
    'kty a number': { ...OKP, kty: 1 },
    'kty a list': { ...OKP, kty: ['OKP'] },
    'crv an object': { ...OKP, crv: {} },
  })
})

test('fromJwk() refuses an alg that contradicts the key', () => {
  refuses('jwk_malformed', {
    'ES256 of Ed25519': { ...OKP, alg: 'ES256' },
    'Ed25519 of P-256': { ...EC, alg: 'Ed25519' },
    'EdDSA of P-256': { ...EC, alg: 'EdDSA' },
    'ES384 of P-256': { ...EC, alg: 'ES384' },
    'ECDH-ES of P-256': { ...EC, alg: 'ECDH-ES' },
    'ES256 of RSA': { ...RSA_PUBLIC, alg: 'ES256' },
    'RS256 of AKP': { ...AKP, alg: 'RS256' },
    'the composite of ML-DSA': { ...AKP, alg: 'ML-DSA-65-Ed25519' },
    'a list': { ...OKP, alg: ['Ed25519'] },
    'null': { ...OKP, alg: null },
    'a number': { ...RSA_PUBLIC, alg: 0 },
  })
  assert.equal(fromJwk({ ...OKP, alg: 'EdDSA' }).algorithm, ALGORITHMS['Ed25519'])
  assert.equal(fromJwk(RSA_PUBLIC).algorithm, ALGORITHMS['RS256'])
  assert.equal(fromJwk(RSA_PUBLIC, 'PS256').algorithm, ALGORITHMS['PS256'])
  assert.equal(fromJwk({ ...RSA_PUBLIC, alg: 'RS256' }, 'PS256').algorithm, ALGORITHMS['RS256'])
})

test('fromJwk() refuses members of odd types and forms', () => {
  const types: JsonValue[] = [null, 0, 1e300, true, [], {}, ['AA'], { length: 32 }]
  const texts = ['', '=', ' ', `${OKP.x}=`, `${OKP.x}\n`, OKP.x.slice(1), OKP.x + 'A', 'é', '+/+/']
  for (const value of [...types, ...texts]) {
    const shown = JSON.stringify(value)
    refuses('jwk_malformed', {
      [`x ${shown}`]: { ...OKP, x: value },
      [`d ${shown}`]: { ...OKP, d: value },
      [`x of EC ${shown}`]: { ...EC, x: value },
      [`y of EC ${shown}`]: { ...EC, y: value },
      [`pub ${shown}`]: { ...AKP, pub: value },
      [`priv ${shown}`]: { ...AKP, priv: value },
    })
  }
  for (const value of types) refuses('jwk_malformed', { n: { ...RSA_PUBLIC, n: value } })
  const noncanonical = `${OKP.x.slice(0, -1)}p` // stray bits
  refuses('jwk_malformed', {
    'stray bits': { ...OKP, x: noncanonical },
    'no x': { kty: 'OKP', crv: 'Ed25519' },
    'no y': { ...EC, y: undefined } as unknown as JsonValue,
  })
})

test('fromJwk() refuses a second way to write a key', () => {
  const { x, y } = EC
  const whole = Uint8Array.of(...fromBase64Url(x!), ...fromBase64Url(y!))
  refuses('jwk_malformed', {
    'EC cut elsewhere': {
      ...EC,
      x: toBase64Url(whole.slice(0, 31)),
      y: toBase64Url(whole.slice(31)),
    },
    'EC with a zero before': { ...EC, x: prefixed(x!, 0) },
    'RSA n with a zero before': { ...RSA_PUBLIC, n: prefixed(RSA.n!, 0) },
    'RSA e with a zero before': { ...RSA_PUBLIC, e: 'AAEAAQ' },
    'RSA e empty': { ...RSA_PUBLIC, e: '' },
    'RSA n empty': { ...RSA_PUBLIC, n: '' },
    'RSA d with a zero before': { ...RSA, d: prefixed(RSA.d!, 0) },
    'RSA d empty': { ...RSA, d: '' },
  })
})

test('fromJwk() refuses RSA keys that are weak, costly or of three primes', () => {
  const ones = (bytes: number) => toBase64Url(new Uint8Array(bytes).fill(255))
  refuses('key_malformed', {
    '1024 bits': { ...RSA_PUBLIC, n: ones(128) },
    '8200 bits': { ...RSA_PUBLIC, n: ones(1025) },
    'half a megabyte': { ...RSA_PUBLIC, n: ones(500_000) },
    'exponent 3': { ...RSA_PUBLIC, e: 'Aw' },
    'exponent 2^16': { ...RSA_PUBLIC, e: 'AQAA' },
    'a huge exponent': { ...RSA_PUBLIC, e: ones(9) },
    'a huge d': { ...RSA, d: ones(100_000) },
    'a huge qi': { ...RSA, qi: ones(257) },
    'a prime twice': { ...RSA, p: RSA.q! },
  })
  refuses('jwk_malformed', {
    'three primes': { ...RSA, oth: [] },
    'no primes': { ...RSA_PUBLIC, d: RSA.d! },
  })
})

test('fromJwk() refuses a key for another use', () => {
  const operations: JsonValue[] = [[], ['encrypt'], ['sign'], [['verify']], 'verify', {}, null, [
    null,
  ]]
  for (const key_ops of operations) {
    refuses('jwk_malformed', { [JSON.stringify(key_ops)]: { ...OKP_PUBLIC, key_ops } })
  }
  refuses('jwk_malformed', {
    'verify in a private key': { ...OKP, key_ops: ['verify'] },
    'use enc': { ...OKP, use: 'enc' },
    'use a list': { ...OKP, use: ['sig'] },
    'use null': { ...OKP, use: null },
  })
  fromJwk({ ...OKP, key_ops: ['sign'], use: 'sig' })
  fromJwk({ ...OKP_PUBLIC, key_ops: ['verify', 'encrypt'] })
})

test('what fromJwk() takes toJwk() writes again', () => {
  for (const jwk of [{ ...OKP, alg: 'Ed25519' }, EC, AKP, RSA, { ...RSA_PUBLIC, alg: 'RS256' }]) {
    const { algorithm, ...raw } = fromJwk(jwk)
    assert.deepEqual({ ...toJwk(algorithm, raw) }, { ...jwk })
  }
})

test('a JWK changed anywhere is refused with a SignetError or is another key', async () => {
  const value = fc.oneof(
    fc.jsonValue() as fc.Arbitrary<JsonValue>,
    fc.constantFrom('__proto__', 'constructor', 'AQAB', 'Ed25519', 'ES512', 'EC', 'RSA'),
  )
  for (const jwk of [OKP, EC, AKP, RSA] as Record<string, string>[]) {
    const change = fc.tuple(fc.constantFrom(...Object.keys(jwk), 'use', 'key_ops', 'oth'), value)
    fc.assert(
      fc.property(fc.array(change, { maxLength: 3 }), (changes) => {
        const changed = { ...jwk, ...Object.fromEntries(changes) }
        try {
          fromJwk(changed)
        } catch (error) {
          assert.ok(error instanceof SignetError, String(error))
        }
      }),
      { numRuns: 200 },
    )
  }
  await Promise.resolve()
})

test('no part of a private key is in an error', async () => {
  const secrets = [OKP.d, RSA.d!, RSA.p!, RSA.q!, EC.d!, AKP.priv!].flatMap((text) => [
    text.slice(0, 20),
    text.slice(-20),
    fromBase64Url(text).slice(0, 16),
  ])
  const wrong: readonly [Record<string, unknown>, ErrorCode][] = [
    [{ ...OKP, d: `${OKP.d}=` }, 'jwk_malformed'],
    [{ ...OKP, d: `${OKP.d} ` }, 'jwk_malformed'],
    [{ ...OKP, d: OKP.d + 'AAAA' }, 'jwk_malformed'],
    [{ ...OKP, d: [OKP.d] }, 'jwk_malformed'],
    [{ ...OKP, x: 'AQ' }, 'jwk_malformed'],
    [{ ...OKP, crv: 'Ed448' }, 'algorithm_unsupported'],
    [{ ...EC, d: EC.d!.slice(1) }, 'jwk_malformed'],
    [{ ...RSA, p: `${RSA.p!}=` }, 'jwk_malformed'],
    [{ ...AKP, priv: AKP.priv!.slice(1) }, 'jwk_malformed'],
    [{ ...AKP, pub: OKP.x }, 'jwk_malformed'],
    [{ ...RSA, p: RSA.q! }, 'key_malformed'],
  ]
  for (const [jwk, code] of wrong) {
    const reading = readPrivateKey(JSON.stringify(jwk), { insecureClearKey: true })
    await refusal({ secrets }, reading, code)
  }
  for (const jwk of [OKP, EC, AKP, RSA]) {
    await refusal({ secrets }, readPublicKeys(JSON.stringify(jwk)), 'key_malformed')
    await refusal({ secrets }, readPrivateKey(JSON.stringify(jwk)), 'usage_invalid')
    const cut = JSON.stringify(jwk).slice(0, -2)
    await refusal({ secrets }, readPrivateKey(cut, { insecureClearKey: true }), 'json_malformed')
  }
})

test('a JWK whose halves are two keys is not opened', async () => {
  const other = fromBase64(KNOWN_ANSWERS['Ed25519']!.publicKey)
  const text = JSON.stringify({ ...OKP, x: toBase64Url(other) })
  await assert.rejects(readPrivateKey(text, { insecureClearKey: true }), (error) => {
    assert.ok(error instanceof SignetError)
    return ['key_mismatch', 'key_malformed'].includes(error.code)
  })
})

test('readPublicKeys() takes of a JWK Set what is for signatures and of a known type', async () => {
  const read = async (keys: unknown) => await readPublicKeys(JSON.stringify({ keys }))
  const foreign = [
    { kty: 'oct', alg: 'HS256' },
    { kty: 'OKP', crv: 'X25519', x: OKP.x },
    { kty: 'EC', crv: 'secp256k1' },
    { kty: 'new' },
    { ...RSA_PUBLIC, alg: 'RSA-OAEP' },
  ]
  const found = await read([...foreign, OKP_PUBLIC, { ...OKP_PUBLIC, use: 'enc' }, RSA_PUBLIC])
  assert.deepEqual(found.map((key) => key.algorithm.name), ['Ed25519', 'RS256'])
  assert.deepEqual(await read([]), [])
  await assert.rejects(read(foreign), { code: 'algorithm_unsupported' })
  await assert.rejects(read([OKP_PUBLIC, { ...OKP_PUBLIC, x: '' }]), { code: 'jwk_malformed' })
  await assert.rejects(read([OKP_PUBLIC, OKP]), { code: 'key_malformed' })
  await assert.rejects(read([OKP_PUBLIC, { kty: 'oct', k: 'c2VjcmV0' }]), { code: 'key_malformed' })
  for (const keys of [{}, 'keys', 1, [null], [[]], ['key']]) {
    await assert.rejects(read(keys), { code: 'jwk_malformed' }, JSON.stringify(keys))
  }
  for (const text of ['{"keys":null}', '{}', '{"kty":1}']) {
    await assert.rejects(readPublicKeys(text), (error) => error instanceof SignetError, text)
  }
  await assert.rejects(readPublicKeys('{"kty":"OKP","kty":"OKP"}'), { code: 'json_duplicate_key' })
  // Alone, a key of an unknown type is not passed over.
  await assert.rejects(readPublicKeys(JSON.stringify(foreign[1])), {
    code: 'algorithm_unsupported',
  })
})

test('thumbprints are those of RFC 7638, RFC 8037 and RFC 9964', async () => {
  // RFC 7638 §3.1
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP' +
    'ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMi' +
    'cAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XP' +
    'ksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'
  const example = { kty: 'RSA', n, e: 'AQAB', alg: 'RS256', kid: '2011-04-29' }
  assert.equal(await thumbprint(example), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  const [key] = await readPublicKeys(JSON.stringify(example))
  assert.equal(key!.id, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  // RFC 8037 appendix A.3
  assert.equal(await thumbprint(OKP), 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
  for (const { jwk } of rfc9964.examples) assert.equal(await thumbprint(jwk), jwk.kid, jwk.alg)
})

test('the ML-DSA-65 example of RFC 9964 opens, and its JWS verifies', async () => {
  const { jwk, jws } = rfc9964.examples.find(({ jwk }) => jwk.alg === 'ML-DSA-65')!
  const key = await readPrivateKey(JSON.stringify(jwk), { insecureClearKey: true })
  assert.equal(key.publicKey.id, jwk.kid)
  const at = jws.lastIndexOf('.')
  const signed = utf8(jws.slice(0, at))
  assert.equal(await key.publicKey.verify(signed, fromBase64Url(jws.slice(at + 1))), true)
  assert.equal(await key.publicKey.verify(utf8('other'), fromBase64Url(jws.slice(at + 1))), false)
  assert.ok(await key.publicKey.verify(signed, await signMessage(key, signed)))
})

test('thumbprint() refuses what has none', async () => {
  for (const kty of ['oct', '__proto__', 'constructor', '', 'okp', 1, null, undefined, ['OKP']]) {
    const jwk = { ...OKP, kty } as JsonObject
    await assert.rejects(thumbprint(jwk), { code: 'algorithm_unsupported' }, String(kty))
  }
  for (const x of [undefined, null, 1, ['x'], {}]) {
    const jwk = { ...OKP, x } as JsonObject
    await assert.rejects(thumbprint(jwk), { code: 'jwk_malformed' }, String(x))
  }
})

test('nobody changes a public key that verifies', async () => {
  const key = await publicKey(ALGORITHMS['Ed25519'], fromBase64Url(OKP.x))
  const id = key.id
  key.raw.fill(0)
  assert.equal(toHex(key.raw), toHex(fromBase64Url(OKP.x)))
  for (
    const [target, name] of [[key, 'id'], [key, 'raw'], [key.jwk, 'x'], [key.jwk, 'kty']] as const
  ) {
    assert.throws(() => Object.assign(target, { [name]: 'changed' }), TypeError, name)
  }
  assert.equal(key.id, id)
  const given = fromBase64Url(OKP.x)
  const copied = await publicKey(ALGORITHMS['Ed25519'], given)
  given.fill(0)
  assert.equal(copied.id, id)
  assert.equal(toBase64Url(copied.raw), OKP.x)
})
