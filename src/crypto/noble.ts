/**
 * The engine over `@noble/*`: for runtimes that lack an algorithm or fail its self-test, and for the
 * modes that WebCrypto has not. It makes no promise of constant time. RSA it does not know.
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { ml_dsa44, ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import type { Algorithm, SigningMode } from '../algorithms.ts'
import { type Bytes, owned } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import type { Engine, RawSigner, RawVerifier, SigningInput } from './engine.ts'

const ML_DSA = { 'ML-DSA-44': ml_dsa44, 'ML-DSA-65': ml_dsa65 } as const
const CURVES = { 'P-256': p256, 'P-384': p384, 'P-521': p521 } as const

interface Primitive {
  readonly modes: readonly SigningMode[]
  publicKey(privateKey: Uint8Array): Uint8Array
  /** Throws for bytes that are no public key. */
  check(publicKey: Uint8Array): void
  sign(input: SigningInput, privateKey: Uint8Array): Uint8Array
  verify(input: SigningInput, signature: Uint8Array, publicKey: Uint8Array): boolean
}

function primitive(algorithm: Algorithm, context?: Uint8Array): Primitive {
  switch (algorithm.family) {
    case 'eddsa':
      return {
        modes: ['message'],
        publicKey: (privateKey) => ed25519.getPublicKey(privateKey),
        check: (publicKey) => void ed25519.Point.fromBytes(publicKey),
        sign: ({ bytes }, privateKey) => ed25519.sign(bytes, privateKey),
        // RFC 8032 §5.1.7 with canonical points; noble's default is the looser ZIP 215.
        verify: ({ bytes }, signature, publicKey) =>
          ed25519.verify(signature, bytes, publicKey, { zip215: false }),
      }
    case 'ecdsa': {
      const curve = CURVES[algorithm.jwk.crv as keyof typeof CURVES]
      // High s is valid ECDSA (FIPS 186-5): OpenSSL and every HSM make it.
      const options = (input: SigningInput) => ({
        prehash: input.mode === 'message',
        lowS: false,
        format: 'compact',
      } as const)
      return {
        modes: ['message', 'digest'],
        publicKey: (privateKey) => curve.getPublicKey(privateKey, false),
        check: (publicKey) => curve.Point.fromBytes(publicKey).assertValidity(),
        sign: (input, privateKey) => curve.sign(input.bytes, privateKey, options(input)),
        verify: (input, signature, publicKey) =>
          curve.verify(signature, input.bytes, publicKey, options(input)),
      }
    }
    case 'ml-dsa': {
      const options = context === undefined ? {} : { context }
      const scheme = ML_DSA[algorithm.name as keyof typeof ML_DSA]
      return {
        modes: ['message', 'external-mu'],
        publicKey: (privateKey) => scheme.keygen(privateKey).publicKey,
        check: () => {},
        sign: ({ mode, bytes }, privateKey) => {
          const { secretKey } = scheme.keygen(privateKey)
          return mode === 'message'
            ? scheme.sign(bytes, secretKey, options)
            : scheme.internal.sign(bytes, secretKey, { externalMu: true })
        },
        verify: ({ mode, bytes }, signature, publicKey) =>
          mode === 'message'
            ? scheme.verify(signature, bytes, publicKey, options)
            : scheme.internal.verify(signature, bytes, publicKey, { externalMu: true }),
      }
    }
    default:
      throw new SignetError('algorithm_unsupported', `no portable code for ${algorithm.name}`)
  }
}

function checkMode(served: readonly SigningMode[], input: SigningInput, name: string): void {
  if (!served.includes(input.mode)) {
    throw new SignetError('mode_unsupported', `${name} cannot work on a ${input.mode}`)
  }
}

/** The portable engine. */
export const noble: Engine = {
  name: 'noble',

  async generate(algorithm) {
    const { utils } = algorithm.family === 'ecdsa'
      ? CURVES[algorithm.jwk.crv as keyof typeof CURVES]
      : { utils: { randomSecretKey: () => crypto.getRandomValues(new Uint8Array(32)) } }
    const privateKey = owned(utils.randomSecretKey())
    return { privateKey, publicKey: await this.publicKey(algorithm, privateKey) }
  },

  async generateSigner(algorithm) {
    const pair = await this.generate(algorithm)
    return { publicKey: pair.publicKey, signer: await this.signer(algorithm, pair) }
  },

  publicKey(algorithm, privateKey) {
    try {
      return Promise.resolve(owned(primitive(algorithm).publicKey(privateKey)))
    } catch (cause) {
      return Promise.reject(
        cause instanceof SignetError
          ? cause
          : new SignetError('key_malformed', `not a private key of ${algorithm.name}`, { cause }),
      )
    }
  },

  async signer(algorithm, { privateKey }, context) {
    const { modes, sign } = primitive(algorithm, context)
    await this.publicKey(algorithm, privateKey) // throws for what is no private key
    const held = privateKey.slice()
    const signer: RawSigner = {
      modes,
      // deno-lint-ignore require-await -- a fault must reject, not throw
      async sign(input): Promise<Bytes> {
        checkMode(modes, input, algorithm.name)
        return owned(sign(input, held))
      },
    }
    return signer
  },

  // deno-lint-ignore require-await -- a fault must reject, not throw
  async verifier(algorithm, publicKey, context): Promise<RawVerifier> {
    const { modes, check, verify } = primitive(algorithm, context)
    try {
      check(publicKey)
    } catch (cause) {
      throw new SignetError('key_malformed', `not a public key of ${algorithm.name}`, { cause })
    }
    // deno-lint-ignore require-await -- a fault must reject, not throw
    return async (input, signature) => {
      checkMode(modes, input, algorithm.name)
      try {
        return verify(input, signature, publicKey)
      } catch {
        return false // noble throws on lengths that cannot be
      }
    }
  },
}
