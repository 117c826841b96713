import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import fc from 'fast-check'
import { type Algorithm, ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, concat, fromBase64, fromHex, toHex, utf8 } from '../../src/bytes.ts'
import {
  checkPair,
  checkPublic,
  COMPOSITE_LABEL,
  compositeMessage,
  derivePublic,
  type EngineName,
  generateRaw,
  type RawKeyPair,
  rawSigner,
  rawVerifier,
  type SigningInput,
} from '../../src/crypto/mod.ts'
import type { Engine } from '../../src/crypto/engine.ts'
import { KNOWN_ANSWERS } from '../../src/crypto/kat.ts'
import { noble } from '../../src/crypto/noble.ts'
import { faultOf, MESSAGE } from '../../src/crypto/selftest.ts'
import { SignetError } from '../../src/errors.ts'
import rfc8032 from '../vectors/rfc8032_ed25519.json' with { type: 'json' }

const ED25519 = ALGORITHMS['Ed25519']
const ES256 = ALGORITHMS['ES256']
const ML_DSA = ALGORITHMS['ML-DSA-65']
const COMPOSITE = ALGORITHMS['ML-DSA-65-Ed25519']
/** The engine that serves here, and the portable one. */
const ENGINES: readonly (EngineName | undefined)[] = [undefined, 'noble']

const input = (bytes: Uint8Array): SigningInput => ({ mode: 'message', bytes })
const message = input(utf8('message'))
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))

for (const engine of ENGINES) {
  const on = `on ${engine ?? 'the chosen engine'}`

  test(`Ed25519 ${on} signs and verifies RFC 8032 §7.1`, async () => {
    for (const vector of rfc8032.vectors) {
      const privateKey = fromHex(vector.privateKey)
      const publicKey = await derivePublic(ED25519, privateKey, { engine })
      assert.equal(toHex(publicKey), vector.publicKey, vector.name)
      const { sign } = await rawSigner(ED25519, { privateKey, publicKey }, { engine })
      const signed = input(fromHex(vector.message))
      assert.equal(toHex(await sign(signed)), vector.signature, vector.name)
      const verify = await rawVerifier(ED25519, publicKey, { engine })
      assert.equal(await verify(signed, fromHex(vector.signature)), true, vector.name)
    }
  })

  test(`Ed25519 ${on} refuses weak and non-canonical public keys`, async () => {
    const weak = [
      '00'.repeat(32),
      `01${'00'.repeat(31)}`,
      `ec${'ff'.repeat(30)}7f`,
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      `ed${'ff'.repeat(30)}7f`,
      `ee${'ff'.repeat(30)}7f`,
      'ff'.repeat(32),
    ].map((hex) => fromHex(hex))
    for (const point of weak) {
      const mirrored = point.slice()
      mirrored[31]! ^= 0x80
      for (const publicKey of [point, mirrored]) {
        const code = { code: 'key_malformed' }
        await assert.rejects(rawVerifier(ED25519, publicKey, { engine }), code, toHex(publicKey))
        const composite = concat(new Uint8Array(ML_DSA.publicBytes!), publicKey)
        assert.throws(() => checkPublic(COMPOSITE, composite), code)
      }
    }
  })

  for (const algorithm of [ES256, ALGORITHMS['ES384'], ALGORITHMS['ES512']]) {
    test(`${algorithm.name} ${on} refuses what is no point of the curve`, async () => {
      const good = fromBase64(KNOWN_ANSWERS[algorithm.name]!.publicKey)
      const off = good.slice()
      off[off.length - 1]! ^= 1
      const zero = concat(Uint8Array.of(4), new Uint8Array(good.length - 1))
      const beyond = concat(Uint8Array.of(4), new Uint8Array(good.length - 1).fill(0xff))
      const half = (good.length - 1) / 2
      const compressed = concat(Uint8Array.of(2), good.slice(1, 1 + half))
      const hybrid = concat(Uint8Array.of(6), good.slice(1))
      for (
        const publicKey of [
          off,
          zero,
          beyond,
          compressed,
          hybrid,
          Uint8Array.of(0),
          new Uint8Array(),
        ]
      ) {
        const refused = rawVerifier(algorithm, publicKey, { engine })
        await assert.rejects(refused, { code: 'key_malformed' }, toHex(publicKey).slice(0, 20))
      }
    })
  }

  test(`no private key that is none signs ${on}`, async () => {
    for (const algorithm of [ES256, ALGORITHMS['ES512']]) {
      const publicKey = fromBase64(KNOWN_ANSWERS[algorithm.name]!.publicKey)
      for (const fill of [0, 0xff]) {
        const privateKey = new Uint8Array(algorithm.privateBytes!).fill(fill)
        await assert.rejects(derivePublic(algorithm, privateKey, { engine }), {
          code: 'key_malformed',
        })
        const pair = { privateKey, publicKey }
        await assert.rejects(rawSigner(algorithm, pair, { engine }), { code: 'key_malformed' })
      }
    }
  })

  test(`halves of two keys are no pair ${on}`, async () => {
    for (const algorithm of [ED25519, ES256, ML_DSA, COMPOSITE]) {
      const [one, two] = [await generateRaw(algorithm), await generateRaw(algorithm)]
      await checkPair(algorithm, one, { engine })
      const mixed = { privateKey: one.privateKey, publicKey: two.publicKey }
      // Some platforms see it when the key is imported, the others when it signs.
      await assert.rejects(checkPair(algorithm, mixed, { engine }), (error) => {
        assert.ok(error instanceof SignetError)
        return ['key_mismatch', 'key_malformed'].includes(error.code)
      })
    }
  })

  test(`no bytes are a signature ${on} but a signature`, async () => {
    for (const algorithm of [ED25519, ES256, ML_DSA, COMPOSITE]) {
      const pair = await generateRaw(algorithm)
      const verify = await rawVerifier(algorithm, pair.publicKey, { engine })
      const right = await (await rawSigner(algorithm, pair, { engine })).sign(message)
      const length = algorithm.signatureBytes!
      const wrong = fc.oneof(
        fc.uint8Array({ maxLength: 80 }),
        fc.uint8Array({ minLength: length, maxLength: length }),
        fc.tuple(fc.nat(length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
          const changed = right.slice()
          changed[at]! ^= flip
          return changed
        }),
        fc.constantFrom(
          new Uint8Array(length),
          new Uint8Array(length).fill(255),
          concat(right, right),
        ),
      )
      await fc.assert(
        fc.asyncProperty(wrong, async (bytes) => !await verify(message, bytes)),
        { numRuns: 40 },
      )
      assert.equal(await verify(message, right), true)
    }
  })

  test(`a digest or mu of the wrong length or mode is no input ${on}`, async () => {
    for (
      const [algorithm, mode] of [[ES256, 'digest'], [ML_DSA, 'external-mu'], [
        COMPOSITE,
        'digest',
      ]] as const
    ) {
      const { publicKey } = await generateRaw(algorithm)
      const verify = await rawVerifier(algorithm, publicKey, { engine })
      const signature = new Uint8Array(algorithm.signatureBytes!)
      for (const length of [0, 31, 33, 63, 65, 1000]) {
        const refused = verify({ mode, bytes: new Uint8Array(length) }, signature)
        await assert.rejects(refused, { code: 'digest_malformed' }, `${algorithm.name} ${length}`)
      }
    }
    const verify = await rawVerifier(ED25519, fromHex(rfc8032.vectors[0]!.publicKey), { engine })
    for (const mode of ['digest', 'external-mu', 'constructor', '__proto__', ''] as const) {
      const odd = { mode: mode as 'digest', bytes: new Uint8Array(64) }
      await assert.rejects(verify(odd, new Uint8Array(64)), { code: 'mode_unsupported' })
    }
  })
}

test('the points that are taken are those of the portable curves', () => {
  const taken = (algorithm: Algorithm, publicKey: Uint8Array) => {
    try {
      checkPublic(algorithm, publicKey)
      return true
    } catch (error) {
      assert.ok(error instanceof SignetError && error.code === 'key_malformed')
      return false
    }
  }
  const edwards = (bytes: Uint8Array) => {
    try {
      return !ed25519.Point.fromBytes(bytes).isSmallOrder()
    } catch {
      return false
    }
  }
  let count = 0
  fc.assert(fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
    if (taken(ED25519, bytes)) count++
    assert.equal(taken(ED25519, bytes), edwards(bytes))
  }))
  assert.ok(count > 10)
  for (
    const [algorithm, curve] of [[ES256, p256], [ALGORITHMS['ES384'], p384], [
      ALGORITHMS['ES512'],
      p521,
    ]] as const
  ) {
    const { Point, utils } = curve
    for (let i = 0; i < 5; i++) {
      const point = Point.BASE.multiply(Point.Fn.fromBytes(utils.randomSecretKey())).toBytes(false)
      assert.ok(taken(algorithm, point))
      point[point.length - 1]! ^= 1
      assert.equal(taken(algorithm, point), false)
    }
    // A coordinate with the prime added is the same point in another encoding.
    const small = [...Array(40).keys()].map(BigInt).find((x) => {
      try {
        return Point.fromBytes(concat(Uint8Array.of(2), Point.Fp.toBytes(x)))
      } catch {
        return false
      }
    })!
    const { y } = Point.fromBytes(concat(Uint8Array.of(2), Point.Fp.toBytes(small)))
    const bytes = Point.Fp.toBytes(y)
    assert.ok(taken(algorithm, concat(Uint8Array.of(4), Point.Fp.toBytes(small), bytes)))
    const hex = (small + Point.Fp.ORDER).toString(16).padStart(2 * bytes.length, '0')
    assert.equal(taken(algorithm, concat(Uint8Array.of(4), fromHex(hex), bytes)), false)
  }
})

// Composite signatures: draft-ietf-lamps-pq-composite-sigs.

async function composite(): Promise<{ pair: RawKeyPair; signature: Bytes }> {
  const pair = await generateRaw(COMPOSITE)
  return { pair, signature: await (await rawSigner(COMPOSITE, pair)).sign(message) }
}

const AT = ML_DSA.signatureBytes!

test('a composite signature with its halves swapped is refused', async () => {
  const { pair, signature } = await composite()
  const verify = await rawVerifier(COMPOSITE, pair.publicKey)
  assert.equal(await verify(message, signature), true)
  assert.equal(await verify(message, concat(signature.slice(AT), signature.slice(0, AT))), false)
  const swapped = concat(pair.publicKey.slice(-32), pair.publicKey.slice(0, -32))
  // What now stands where the Ed25519 key belongs is a point by chance only.
  const turned = rawVerifier(COMPOSITE, swapped).then((verify) => verify(message, signature))
  const verdict = await turned.catch((error) => error.code)
  assert.ok(verdict === false || verdict === 'key_malformed', String(verdict))
})

test('a composite signature with one half wrong or of another message is refused', async () => {
  const { pair, signature } = await composite()
  const verify = await rawVerifier(COMPOSITE, pair.publicKey)
  const other = await (await rawSigner(COMPOSITE, pair)).sign(input(utf8('other message')))
  const mixes = {
    'ML-DSA of another message': concat(other.slice(0, AT), signature.slice(AT)),
    'Ed25519 of another message': concat(signature.slice(0, AT), other.slice(AT)),
    'ML-DSA empty': concat(new Uint8Array(AT), signature.slice(AT)),
    'Ed25519 empty': concat(signature.slice(0, AT), new Uint8Array(64)),
    'ML-DSA alone': signature.slice(0, AT),
    'Ed25519 alone': signature.slice(AT),
    'one byte more': concat(signature, Uint8Array.of(0)),
    'one byte less': signature.slice(0, -1),
  }
  for (const [name, mixed] of Object.entries(mixes)) {
    assert.equal(await verify(message, mixed), false, name)
  }
})

test('both halves of a composite key must be the key of the signature', async () => {
  const { pair, signature } = await composite()
  const other = await generateRaw(COMPOSITE)
  const at = ML_DSA.publicBytes!
  const mixes = [
    concat(pair.publicKey.slice(0, at), other.publicKey.slice(at)),
    concat(other.publicKey.slice(0, at), pair.publicKey.slice(at)),
  ]
  for (const publicKey of mixes) {
    assert.equal(await (await rawVerifier(COMPOSITE, publicKey))(message, signature), false)
  }
})

test('neither half of a composite signature passes for a signature of its own', async () => {
  const { pair, signature } = await composite()
  const mPrime = await compositeMessage(message)
  const mlDsa = pair.publicKey.slice(0, ML_DSA.publicBytes)
  const ed25519 = pair.publicKey.slice(ML_DSA.publicBytes)
  for (const engine of ENGINES) {
    // The context keeps the ML-DSA half apart even from a signature of M' itself.
    const alone = await rawVerifier(ML_DSA, mlDsa, { engine })
    for (const signed of [message, input(mPrime)]) {
      assert.equal(await alone(signed, signature.slice(0, AT)), false)
    }
    const labelled = await rawVerifier(ML_DSA, mlDsa, { engine, context: COMPOSITE_LABEL })
    assert.equal(await labelled(input(mPrime), signature.slice(0, AT)), true)
    // Ed25519 has no context: only the prefix of M' keeps its half apart.
    const half = await rawVerifier(ED25519, ed25519, { engine })
    assert.equal(await half(message, signature.slice(AT)), false)
  }
})

test('an ML-DSA half that was signed without the label is refused', async () => {
  const { pair, signature } = await composite()
  const mlDsa = {
    privateKey: pair.privateKey.slice(0, 32),
    publicKey: pair.publicKey.slice(0, ML_DSA.publicBytes),
  }
  const unlabelled = await (await rawSigner(ML_DSA, mlDsa)).sign(
    input(await compositeMessage(message)),
  )
  const verify = await rawVerifier(COMPOSITE, pair.publicKey)
  assert.equal(await verify(message, concat(unlabelled, signature.slice(AT))), false)
})

test('a composite context is part of what is signed, and has at most 255 bytes', async () => {
  const { pair, signature } = await composite()
  const context = utf8('context')
  const within = await rawVerifier(COMPOSITE, pair.publicKey, { context })
  assert.equal(await within(message, signature), false)
  const signed = await (await rawSigner(COMPOSITE, pair, { context })).sign(message)
  assert.equal(await within(message, signed), true)
  assert.equal(await (await rawVerifier(COMPOSITE, pair.publicKey))(message, signed), false)
  // An empty context and none are one.
  const empty = await rawVerifier(COMPOSITE, pair.publicKey, { context: new Uint8Array() })
  assert.equal(await empty(message, signature), true)
  await compositeMessage(message, new Uint8Array(255))
  await assert.rejects(compositeMessage(message, new Uint8Array(256)), { code: 'usage_invalid' })
})

test("a composite key's M' is what the draft says", async () => {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-512', message.bytes as Bytes))
  const label = 'COMPSIG-MLDSA65-Ed25519-SHA512'
  const expected = concat(
    utf8('CompositeAlgorithmSignatures2025'),
    utf8(label),
    Uint8Array.of(2),
    utf8('ab'),
    digest,
  )
  assert.equal(toHex(await compositeMessage(message, utf8('ab'))), toHex(expected))
  assert.equal(
    toHex(await compositeMessage({ mode: 'digest', bytes: digest }, utf8('ab'))),
    toHex(expected),
  )
})

// The self-test finds what is wrong with an engine.

const known = KNOWN_ANSWERS['Ed25519']!

/** The portable engine with one thing broken. */
function broken(change: Partial<Engine>): Engine {
  return { ...noble, ...change }
}

const faults: Readonly<Record<string, [Partial<Engine>, RegExp]>> = {
  'an engine that refuses all': [
    { verifier: () => Promise.resolve(() => Promise.resolve(false)) },
    /refuses a valid signature/,
  ],
  'an engine that accepts all': [
    { verifier: () => Promise.resolve(() => Promise.resolve(true)) },
    /accepts an invalid signature/,
  ],
  'an engine that throws on import': [
    { verifier: () => Promise.reject(new DOMException('no', 'NotSupportedError')) },
    /throws NotSupportedError/,
  ],
  'an engine that throws on verify': [
    { verifier: () => Promise.resolve(() => Promise.reject(new TypeError('no'))) },
    /throws TypeError/,
  ],
  'an engine that signs nonsense': [
    {
      signer: () =>
        Promise.resolve({ modes: ['message'], sign: () => Promise.resolve(random(64)) }),
    },
    /refuses its own signature/,
  ],
  'an engine that does not sign': [
    { signer: () => Promise.reject(new DOMException('no', 'OperationError')) },
    /throws OperationError/,
  ],
  'an engine that signs another message': [
    {
      signer: async (algorithm: Algorithm, pair: RawKeyPair) => {
        const { sign } = await noble.signer(algorithm, pair)
        return { modes: ['message'], sign: () => sign(input(utf8('something else'))) }
      },
    },
    /refuses its own signature/,
  ],
}

for (const [name, [change, fault]] of Object.entries(faults)) {
  test(`the self-test finds ${name}`, async () => {
    assert.match(await faultOf(broken(change), ED25519, known) ?? 'nothing', fault)
  })
}

test('the self-test finds an engine that ignores the context', async () => {
  const { KNOWN_ANSWERS } = await import('../../src/crypto/kat_ml_dsa.ts')
  const answer = KNOWN_ANSWERS['ML-DSA-65 with context']!
  assert.equal(await faultOf(noble, ML_DSA, answer, COMPOSITE_LABEL), undefined)
  const deaf = broken({
    verifier: (algorithm, publicKey) => noble.verifier(algorithm, publicKey, COMPOSITE_LABEL),
  })
  assert.equal(await faultOf(deaf, ML_DSA, answer, COMPOSITE_LABEL), 'it ignores the context')
  const mute = broken({ verifier: (algorithm, publicKey) => noble.verifier(algorithm, publicKey) })
  assert.equal(await faultOf(mute, ML_DSA, answer, COMPOSITE_LABEL), 'it refuses a valid signature')
})

test('the self-test finds nothing wrong with the portable engine', async () => {
  for (const [name, answer] of Object.entries(KNOWN_ANSWERS)) {
    const algorithm = ALGORITHMS[name as keyof typeof ALGORITHMS]
    if (algorithm.family === 'rsa') continue
    assert.equal(await faultOf(noble, algorithm, answer), undefined, name)
  }
  assert.equal(MESSAGE.mode, 'message')
})
