/** Other people's signatures: Wycheproof, and the composite vectors of the draft, on every engine. */
import assert from 'node:assert/strict'
import { type Algorithm, ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, fromBase64, fromHex, toHex } from '../../src/bytes.ts'
import {
  derivePublic,
  type EngineName,
  fromPkcs8,
  rawSigner,
  rawVerifier,
  selfTest,
} from '../../src/crypto/mod.ts'
import { SignetError } from '../../src/errors.ts'
import { vectors, vectorTest } from './_vectors.ts'

interface Wycheproof {
  readonly numberOfTests: number
  readonly testGroups: readonly {
    readonly publicKey: string | { readonly pk?: string; readonly uncompressed?: string }
    readonly tests: readonly {
      readonly tcId: number
      readonly comment: string
      readonly msg: string
      readonly sig: string
      readonly ctx?: string
      readonly result: 'valid' | 'invalid'
    }[]
  }[]
}

const FILES: readonly (readonly [Algorithm, string])[] = [
  [ALGORITHMS['Ed25519'], 'wycheproof/ed25519_test.json'],
  [ALGORITHMS['ES256'], 'wycheproof/ecdsa_secp256r1_sha256_p1363_test.json'],
  [ALGORITHMS['ML-DSA-65'], 'wycheproof/mldsa_65_verify_test.json'],
]

/** Whether WebCrypto serves an algorithm here. Deno 2.9.6 does ML-DSA, but not with a context. */
async function isNative(algorithm: Algorithm, context: boolean = false): Promise<boolean> {
  return (await selfTest(algorithm, context)).engine?.name === 'native'
}

for (const [algorithm, file] of FILES) {
  const engines = await isNative(algorithm) ? ['native', 'noble'] as const : ['noble'] as const
  for (const engine of engines) {
    vectorTest(`Wycheproof: ${algorithm.name} on ${engine}`, file, async () => {
      const { numberOfTests, testGroups } = vectors<Wycheproof>(file)
      const wrong: string[] = []
      let count = 0
      for (const { publicKey, tests } of testGroups) {
        const hex = typeof publicKey === 'string'
          ? publicKey
          : publicKey.pk ?? publicKey.uncompressed!
        for (const { tcId, comment, msg, sig, ctx, result } of tests) {
          count++
          const context = ctx === undefined ? undefined : fromHex(ctx)
          const served = engine === 'noble' || await isNative(algorithm, ctx !== undefined)
          const by = served ? engine : undefined
          const is = await verdict(algorithm, fromHex(hex), by, context, msg, sig)
          if (is !== result) wrong.push(`${tcId} (${comment}): ${is}`)
        }
      }
      assert.deepEqual(wrong, [])
      assert.equal(count, numberOfTests)
    })
  }
}

async function verdict(
  algorithm: Algorithm,
  publicKey: Bytes,
  engine: EngineName | undefined,
  context: Bytes | undefined,
  msg: string,
  sig: string,
): Promise<'valid' | 'invalid'> {
  try {
    const verify = await rawVerifier(algorithm, publicKey, { engine, context })
    return await verify({ mode: 'message', bytes: fromHex(msg) }, fromHex(sig))
      ? 'valid'
      : 'invalid'
  } catch (error) {
    // What is no key, or no context, is refused before any signature is looked at.
    assert.ok(error instanceof SignetError, String(error))
    assert.ok(['key_malformed', 'usage_invalid'].includes(error.code), error.code)
    return 'invalid'
  }
}

interface Composite {
  readonly m: string
  readonly ctx: string
  readonly tests: readonly {
    readonly tcId: string
    readonly pk: string
    readonly sk: string
    readonly sk_pkcs8: string
    readonly s: string
    readonly sWithContext: string
  }[]
}

const COMPOSITE = 'composite/mldsa65-ed25519-sha512.json'
const DRAFT: Readonly<Record<string, Algorithm>> = {
  'id-ML-DSA-65': ALGORITHMS['ML-DSA-65'],
  'id-MLDSA65-Ed25519-SHA512': ALGORITHMS['ML-DSA-65-Ed25519'],
}

for (const [tcId, algorithm] of Object.entries(DRAFT)) {
  for (const engine of [undefined, 'noble'] as const) {
    vectorTest(`${COMPOSITE}: ${tcId} on ${engine ?? 'the chosen engine'}`, COMPOSITE, async () => {
      const { m, ctx, tests } = vectors<Composite>(COMPOSITE)
      const vector = tests.find((test) => test.tcId === tcId)!
      const message = { mode: 'message', bytes: fromBase64(m) } as const
      const publicKey = fromBase64(vector.pk)
      const context = fromBase64(ctx)
      const plain = await rawVerifier(algorithm, publicKey, { engine })
      const within = await rawVerifier(algorithm, publicKey, { engine, context })
      const [s, sWithContext] = [fromBase64(vector.s), fromBase64(vector.sWithContext)]
      assert.equal(await plain(message, s), true)
      assert.equal(await within(message, sWithContext), true)
      // Neither passes for the other, nor for another context.
      assert.equal(await plain(message, sWithContext), false)
      assert.equal(await within(message, s), false)
      const cut = { engine, context: context.subarray(1) }
      assert.equal(
        await (await rawVerifier(algorithm, publicKey, cut))(message, sWithContext),
        false,
      )

      const { privateKey, algorithm: named } = fromPkcs8(fromBase64(vector.sk_pkcs8))
      assert.equal(named, algorithm)
      assert.equal(toHex(privateKey), toHex(fromBase64(vector.sk)))
      assert.equal(toHex(await derivePublic(algorithm, privateKey, { engine })), toHex(publicKey))
      const pair = { privateKey, publicKey }
      const signer = await rawSigner(algorithm, pair, { engine, context })
      assert.equal(await within(message, await signer.sign(message)), true)
    })
  }
}

vectorTest(
  'a composite signature does not verify as the ML-DSA-65 it contains',
  COMPOSITE,
  async () => {
    const { m, tests } = vectors<Composite>(COMPOSITE)
    const vector = tests.find(({ tcId }) => tcId === 'id-MLDSA65-Ed25519-SHA512')!
    const [publicKey, signature] = [fromBase64(vector.pk), fromBase64(vector.s)]
    const { publicBytes, signatureBytes } = ALGORITHMS['ML-DSA-65']
    for (const engine of [undefined, 'noble'] as const) {
      const half = await rawVerifier(ALGORITHMS['ML-DSA-65'], publicKey.slice(0, publicBytes), {
        engine,
      })
      const message = { mode: 'message', bytes: fromBase64(m) } as const
      assert.equal(await half(message, signature.slice(0, signatureBytes)), false)
    }
  },
)
