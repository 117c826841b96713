/** SubjectPublicKeyInfo and PKCS#8: what is refused, and with which code. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Algorithm, type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, concat, fromBase64, fromBase64Url, toHex } from '../../src/bytes.ts'
import {
  der,
  derInteger,
  derOid,
  fromPkcs8,
  fromSpki,
  generateRaw,
  type RawKeyPair,
  RSA_MEMBERS,
  TAG,
  toPkcs8,
  toSpki,
  traditionalToPkcs8,
} from '../../src/crypto/mod.ts'
import { KNOWN_ANSWERS } from '../../src/crypto/kat.ts'
import { type ErrorCode, SignetError } from '../../src/errors.ts'
import { fromJwk, importKey } from '../../src/keys/mod.ts'
import rsa from '../vectors/rsa_2048.json' with { type: 'json' }

const { 'Ed25519': ED25519, 'ES256': ES256, 'ML-DSA-65': ML_DSA } = ALGORITHMS
const ZERO = Uint8Array.of(0)
const ONE = Uint8Array.of(1)
const integer = (hex: number[]) => derInteger(Uint8Array.from(hex))
const sequence = (...parts: Uint8Array[]) => der(TAG.sequence, ...parts)
const octets = (bytes: Uint8Array) => der(TAG.octetString, bytes)
const bits = (bytes: Uint8Array, unused: number = 0) =>
  der(TAG.bitString, Uint8Array.of(unused), bytes)
const identifier = (oid: string, ...parameters: Uint8Array[]) =>
  sequence(derOid(oid), ...parameters)
const spki = (id: Uint8Array, key: Uint8Array) => sequence(id, bits(key))
const pkcs8 = (
  id: Uint8Array,
  body: Uint8Array,
  version: Uint8Array = ZERO,
  ...rest: Uint8Array[]
) => sequence(derInteger(version), id, octets(body), ...rest)

/** A key pair of each algorithm, made once. */
const pairs = new Map<string, Promise<RawKeyPair>>()
function pairOf(algorithm: Algorithm): Promise<RawKeyPair> {
  let pair = pairs.get(algorithm.family === 'rsa' ? 'RSA' : algorithm.name)
  if (pair === undefined) {
    pair = algorithm.family === 'rsa' ? Promise.resolve(rsaPair()) : generateRaw(algorithm)
    pairs.set(algorithm.family === 'rsa' ? 'RSA' : algorithm.name, pair)
  }
  return pair
}

function rsaPair(): RawKeyPair {
  const { publicKey, privateKey } = fromJwk(rsa.jwk)
  return { publicKey, privateKey: privateKey! }
}

const raw = (name: AlgorithmName) => fromBase64(KNOWN_ANSWERS[name]!.publicKey)
const NULL = der(TAG.null)
const EC = '1.2.840.10045.2.1'
const P256 = derOid('1.2.840.10045.3.1.7')
const RSA = '1.2.840.113549.1.1.1'

/** Runs a reader over hostile bytes; anything but a SignetError fails the test. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    assert.ok(error instanceof SignetError, String(error))
    return undefined
  }
}

function refuses(code: ErrorCode, cases: Readonly<Record<string, () => unknown>>): void {
  for (const [name, work] of Object.entries(cases)) assert.throws(work, { code }, name)
}

test('fromSpki() refuses structures that are not DER to the last byte', () => {
  const good = toSpki(ED25519, raw('Ed25519'))
  const id = identifier(ED25519.oid)
  refuses('der_malformed', {
    'nothing': () => fromSpki(new Uint8Array()),
    'bytes behind': () => fromSpki(concat(good, ZERO)),
    'cut off': () => fromSpki(good.slice(0, -1)),
    'an element more': () => fromSpki(sequence(id, bits(raw('Ed25519')), NULL)),
    'no bit string': () => fromSpki(sequence(id, octets(raw('Ed25519')))),
    'unused bits': () => fromSpki(sequence(id, bits(raw('Ed25519'), 1))),
    'an empty bit string': () => fromSpki(sequence(id, der(TAG.bitString))),
    'no algorithm': () => fromSpki(sequence(bits(raw('Ed25519')))),
    'a PKCS#8 key': () => fromSpki(pkcs8(id, octets(new Uint8Array(32)))),
  })
})

test('fromSpki() refuses algorithms and parameters that it does not know to the bit', () => {
  refuses('algorithm_unsupported', {
    'Ed448': () => fromSpki(spki(identifier('1.3.101.113'), new Uint8Array(57))),
    'X25519': () => fromSpki(spki(identifier('1.3.101.110'), new Uint8Array(32))),
    'Ed25519 with NULL': () => fromSpki(spki(identifier(ED25519.oid, NULL), raw('Ed25519'))),
    'ML-DSA with NULL': () => fromSpki(spki(identifier(ML_DSA.oid, NULL), new Uint8Array(1952))),
    'EC without a curve': () => fromSpki(spki(identifier(EC), raw('ES256'))),
    'secp256k1': () => fromSpki(spki(identifier(EC, derOid('1.3.132.0.10')), raw('ES256'))),
    'RSA without NULL': () => fromSpki(spki(identifier(RSA), raw('RS256'))),
    'RSASSA-PSS': () => fromSpki(spki(identifier('1.2.840.113549.1.1.10'), raw('RS256'))),
    'an empty identifier': () => fromSpki(spki(sequence(), raw('Ed25519'))),
  })
})

test('fromSpki() refuses keys that are none', () => {
  const compressed = concat(Uint8Array.of(2), raw('ES256').slice(1, 33))
  refuses('key_malformed', {
    'Ed25519 too short': () => fromSpki(spki(identifier(ED25519.oid), new Uint8Array(31))),
    'Ed25519 too long': () => fromSpki(spki(identifier(ED25519.oid), new Uint8Array(33))),
    'Ed25519 of small order': () => fromSpki(spki(identifier(ED25519.oid), new Uint8Array(32))),
    'EC compressed': () => fromSpki(spki(identifier(EC, P256), compressed)),
    'EC at infinity': () => fromSpki(spki(identifier(EC, P256), ZERO)),
    'EC of another curve': () => fromSpki(spki(identifier(EC, P256), raw('ES384'))),
    'ML-DSA too short': () => fromSpki(spki(identifier(ML_DSA.oid), new Uint8Array(1951))),
    'nothing': () => fromSpki(spki(identifier(ED25519.oid), new Uint8Array())),
  })
})

test('RSA keys that are weak, costly or odd are refused', () => {
  const modulus = (bytes: number, last: number = 1) => {
    const n = new Uint8Array(bytes).fill(0xff)
    n[bytes - 1] = last
    return n
  }
  const key = (n: Uint8Array, e: number[]) =>
    fromSpki(spki(identifier(RSA, NULL), sequence(derInteger(n), integer(e))))
  const good = [1, 0, 1]
  key(modulus(256), good)
  key(modulus(1024), good)
  refuses('key_malformed', {
    '1024 bits': () => key(modulus(128), good),
    '2047 bits': () => key(concat(Uint8Array.of(0x7f), modulus(255)), good),
    '8193 bits': () => key(concat(ONE, modulus(1024)), good),
    'a million bits': () => key(modulus(125_000), good),
    'a modulus of zero': () => key(ZERO, good),
    'an even modulus': () => key(modulus(256, 0xfe), good),
    'an exponent of 3': () => key(modulus(256), [3]),
    'an exponent of 1': () => key(modulus(256), [1]),
    'an even exponent': () => key(modulus(256), [1, 0, 0]),
    'a huge exponent': () => key(modulus(256), new Array(9).fill(0xff)),
    'a modulus below the exponent': () => key(ONE, good),
  })
  refuses('der_malformed', {
    'a negative modulus': () =>
      fromSpki(
        spki(identifier(RSA, NULL), sequence(der(TAG.integer, modulus(256)), integer(good))),
      ),
    'bytes behind': () => fromSpki(spki(identifier(RSA, NULL), concat(raw('RS256'), ZERO))),
    'no DER at all': () => fromSpki(spki(identifier(RSA, NULL), new Uint8Array(256))),
  })
})

test('fromPkcs8() refuses private RSA numbers that are longer than the modulus', () => {
  const [n, e, d, p, q, dp, dq, qi] = RSA_MEMBERS.map((name) => fromBase64Url(rsa.jwk[name]))
  const build = (numbers: Uint8Array[], version: Uint8Array = ZERO) =>
    fromPkcs8(
      pkcs8(identifier(RSA, NULL), sequence(derInteger(version), ...numbers.map(derInteger))),
    )
  build([n!, e!, d!, p!, q!, dp!, dq!, qi!])
  const huge = new Uint8Array(100_000).fill(0xff)
  refuses('key_malformed', {
    'd': () => build([n!, e!, huge, p!, q!, dp!, dq!, qi!]),
    'p': () => build([n!, e!, d!, huge, q!, dp!, dq!, qi!]),
    'qi': () => build([n!, e!, d!, p!, q!, dp!, dq!, huge]),
  })
  refuses('der_malformed', {
    'three primes': () => build([n!, e!, d!, p!, q!, dp!, dq!, qi!], ONE),
    'a number less': () => build([n!, e!, d!, p!, q!, dp!, dq!]),
    'a number more': () => build([n!, e!, d!, p!, q!, dp!, dq!, qi!, n!]),
  })
})

test('fromPkcs8() refuses structures that are not DER to the last byte', async () => {
  const { privateKey } = await pairOf(ED25519)
  const id = identifier(ED25519.oid)
  const body = octets(privateKey)
  const appended = (content: Uint8Array) => der(0x81, content)
  refuses('der_malformed', {
    'nothing': () => fromPkcs8(new Uint8Array()),
    'bytes behind': () => fromPkcs8(concat(pkcs8(id, body), ZERO)),
    'bytes behind the seed': () => fromPkcs8(pkcs8(id, concat(body, ZERO))),
    'the seed bare': () => fromPkcs8(pkcs8(id, privateKey)),
    'a seed too short': () => fromPkcs8(pkcs8(id, octets(privateKey.slice(1)))),
    'a seed too long': () => fromPkcs8(pkcs8(id, octets(concat(privateKey, ZERO)))),
    'version 2': () => fromPkcs8(pkcs8(id, body, Uint8Array.of(2))),
    'an unknown element': () => fromPkcs8(pkcs8(id, body, ONE, NULL)),
    'a public key of unused bits': () =>
      fromPkcs8(pkcs8(id, body, ONE, appended(concat(ONE, raw('Ed25519'))))),
    'an empty public key': () => fromPkcs8(pkcs8(id, body, ONE, appended(new Uint8Array()))),
    'two public keys': () =>
      fromPkcs8(pkcs8(id, body, ONE, ...[0, 0].map(() => appended(concat(ZERO, raw('Ed25519')))))),
  })
  const attributes = der(0xa0, sequence())
  const found = fromPkcs8(pkcs8(id, body, ONE, attributes, appended(concat(ZERO, raw('Ed25519')))))
  assert.equal(toHex(found.publicKey!), toHex(raw('Ed25519')))
})

test('fromPkcs8() refuses EC keys that contradict themselves', async () => {
  const { privateKey, publicKey } = await pairOf(ES256)
  const other = raw('ES256')
  const id = identifier(EC, P256)
  const curve = (oid: Uint8Array) => der(0xa0, oid)
  const point = (bytes: Uint8Array, unused?: number) => der(0xa1, bits(bytes, unused))
  const key = (...parts: Uint8Array[]) => sequence(derInteger(ONE), octets(privateKey), ...parts)
  const good = fromPkcs8(pkcs8(id, key(curve(P256), point(publicKey))))
  assert.equal(toHex(good.publicKey!), toHex(publicKey))
  assert.equal(fromPkcs8(pkcs8(id, key())).publicKey, undefined)
  refuses('der_malformed', {
    'two curves': () => fromPkcs8(pkcs8(id, key(curve(derOid('1.3.132.0.34')), point(publicKey)))),
    'bytes behind': () => fromPkcs8(pkcs8(id, concat(key(point(publicKey)), ZERO))),
    'an element more': () => fromPkcs8(pkcs8(id, key(point(publicKey), NULL))),
    'an element within the point': () =>
      fromPkcs8(pkcs8(id, key(der(0xa1, bits(publicKey), NULL)))),
    'unused bits': () => fromPkcs8(pkcs8(id, key(point(publicKey, 7)))),
    'an unknown element': () => fromPkcs8(pkcs8(id, key(NULL))),
    'version 0': () => fromPkcs8(pkcs8(id, sequence(derInteger(ZERO), octets(privateKey)))),
    'a scalar too short': () =>
      fromPkcs8(pkcs8(id, sequence(derInteger(ONE), octets(privateKey.slice(1))))),
  })
  refuses('key_mismatch', {
    'two public keys': () =>
      fromPkcs8(pkcs8(id, key(point(publicKey)), ONE, der(0x81, ZERO, other))),
  })
  refuses('key_malformed', {
    'a point off the curve': () => fromPkcs8(pkcs8(id, key(point(flipped(publicKey))))),
    'a compressed point': () =>
      fromPkcs8(pkcs8(id, key(point(concat(Uint8Array.of(2), publicKey.slice(1, 33)))))),
  })
})

function flipped(bytes: Uint8Array): Bytes {
  const out = new Uint8Array(bytes)
  out[out.length - 1]! ^= 1
  return out
}

test('fromPkcs8() takes an ML-DSA key as seed or as both, and not expanded', async () => {
  const { privateKey } = await pairOf(ML_DSA)
  const id = identifier(ML_DSA.oid)
  const seed = der(0x80, privateKey)
  const expanded = octets(new Uint8Array(4032))
  for (const body of [seed, sequence(octets(privateKey), expanded)]) {
    assert.equal(toHex(fromPkcs8(pkcs8(id, body)).privateKey), toHex(privateKey))
  }
  assert.throws(() => fromPkcs8(pkcs8(id, expanded)), (error) => {
    assert.ok(error instanceof SignetError && error.code === 'key_malformed')
    return /seed form/.test(error.remedy ?? '')
  })
  refuses('der_malformed', {
    'bytes behind the seed': () => fromPkcs8(pkcs8(id, concat(seed, ZERO))),
    'a seed too short': () => fromPkcs8(pkcs8(id, der(0x80, privateKey.slice(1)))),
    'a third element': () => fromPkcs8(pkcs8(id, sequence(octets(privateKey), expanded, NULL))),
    'bytes behind both': () =>
      fromPkcs8(pkcs8(id, concat(sequence(octets(privateKey), expanded), ZERO))),
    'one of both': () => fromPkcs8(pkcs8(id, sequence(octets(privateKey)))),
  })
})

test('traditionalToPkcs8() knows two labels', async () => {
  const { privateKey } = await pairOf(ES256)
  const ec = sequence(derInteger(ONE), octets(privateKey), der(0xa0, P256))
  const found = fromPkcs8(traditionalToPkcs8('EC PRIVATE KEY', ec)!)
  assert.equal(found.algorithm, ES256)
  for (const label of ['PRIVATE KEY', 'DSA PRIVATE KEY', 'constructor', '__proto__', '']) {
    assert.equal(traditionalToPkcs8(label, ec), undefined, label)
  }
  refuses('der_malformed', {
    'no curve': () =>
      traditionalToPkcs8('EC PRIVATE KEY', sequence(derInteger(ONE), octets(privateKey))),
    'no DER': () => traditionalToPkcs8('EC PRIVATE KEY', Uint8Array.of(1, 2, 3)),
    'no RSA key': () => fromPkcs8(traditionalToPkcs8('RSA PRIVATE KEY', Uint8Array.of(1, 2, 3))!),
  })
})

test("a private key with somebody else's public key is not imported", async () => {
  for (const algorithm of [ED25519, ES256]) {
    const { privateKey } = await pairOf(algorithm)
    const foreign = { privateKey, publicKey: raw(algorithm.name) }
    await assert.rejects(importKey(algorithm, foreign), (error) => {
      // Some platforms see it when the key is imported, the others when it signs.
      assert.ok(error instanceof SignetError)
      return ['key_mismatch', 'key_malformed'].includes(error.code)
    })
  }
})

for (const algorithm of Object.values(ALGORITHMS)) {
  test(`${algorithm.name}: what fromSpki() takes has no other form`, async () => {
    const { publicKey } = await pairOf(algorithm)
    const good = toSpki(algorithm, publicKey)
    const found = fromSpki(good, algorithm.name)
    assert.equal(found.algorithm, algorithm)
    assert.equal(toHex(found.publicKey), toHex(publicKey))
    const head = good.length - publicKey.length + 8
    const edit = fc.record({
      at: fc.nat(head),
      cut: fc.nat(2),
      put: fc.uint8Array({ maxLength: 2 }),
    })
    fc.assert(
      fc.property(edit, ({ at, cut, put }) => {
        const bytes = concat(good.slice(0, at), put, good.slice(at + cut))
        const taken = attempt(() => fromSpki(bytes, algorithm.name))
        if (taken !== undefined) {
          assert.equal(toHex(toSpki(taken.algorithm, taken.publicKey)), toHex(bytes))
        }
      }),
      { numRuns: 300 },
    )
  })

  test(`${algorithm.name}: fromPkcs8() throws nothing but SignetError`, async () => {
    const pair = await pairOf(algorithm)
    const good = toPkcs8(algorithm, pair)
    assert.equal(toHex(fromPkcs8(good, algorithm.name).privateKey), toHex(pair.privateKey))
    const edit = fc.record({
      at: fc.nat(good.length),
      cut: fc.nat(2),
      put: fc.uint8Array({ maxLength: 2 }),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        const bytes = edits.reduce(
          (all, { at, cut, put }) => concat(all.slice(0, at), put, all.slice(at + cut)),
          good,
        )
        attempt(() => fromPkcs8(bytes, algorithm.name))
      }),
      { numRuns: 300 },
    )
  })
}
