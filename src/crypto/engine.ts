/**
 * What a signature engine is. There are two: the platform's WebCrypto (`webcrypto.ts`) and
 * `@noble/*` (`noble.ts`). Which one serves an algorithm is decided by `selftest.ts`.
 *
 * Keys are raw here (see `Algorithm`): Ed25519 32 bytes, EC an uncompressed point and a scalar,
 * ML-DSA its encoded public key and its seed, RSA the DER structures of RFC 8017 appendix A.1.
 */
import type { Algorithm, SigningMode } from '../algorithms.ts'
import type { Bytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** What is signed, and what it is. */
export interface SigningInput {
  /** Whether `bytes` are the message, its digest, or ML-DSA's mu. */
  readonly mode: SigningMode
  /** The message, the digest (length of the algorithm's hash), or 64 bytes of mu. */
  readonly bytes: Uint8Array
}

/**
 * Checks that an input is one: a mode of the algorithm (`mode_unsupported`), and a digest or mu of the right
 * length (`digest_malformed`). ECDSA would cut a longer digest off without a word (FIPS 186-5 §6.4.1), so
 * that many inputs had one signature.
 */
export function checkInput(algorithm: Algorithm, input: SigningInput): void {
  const { mode, bytes } = input
  if (!algorithm.modes.includes(mode)) {
    throw new SignetError('mode_unsupported', `${algorithm.name} does not work on a ${mode}`)
  }
  if (mode === 'message') return
  const length = mode === 'digest' ? DIGESTS[algorithm.hash!] : 64
  if (bytes.length !== length) {
    throw new SignetError(
      'digest_malformed',
      `a ${mode} for ${algorithm.name} has ${length} bytes, not ${bytes.length}`,
    )
  }
}

const DIGESTS = { 'SHA-256': 32, 'SHA-384': 48, 'SHA-512': 64 } as const

/** Signs with one private key, which it does not give away. */
export interface RawSigner {
  /** The modes it serves. */
  readonly modes: readonly SigningMode[]
  /** The signature in the form of `Algorithm`. */
  sign(input: SigningInput): Promise<Bytes>
}

/** Says whether a signature holds under one public key. Never throws because of the signature. */
export type RawVerifier = (input: SigningInput, signature: Uint8Array) => Promise<boolean>

/** A key pair as raw bytes. */
export interface RawKeyPair {
  /** Raw public key. */
  readonly publicKey: Bytes
  /** Raw private key. */
  readonly privateKey: Bytes
}

/** The engines' names. */
export type EngineName = 'native' | 'noble'

/** An engine. `context` is ML-DSA's context string (FIPS 204 §5.2); no other algorithm has one. */
export interface Engine {
  /** Which engine this is. */
  readonly name: EngineName
  /** A new key pair, exportable. */
  generate(algorithm: Algorithm): Promise<RawKeyPair>
  /** A new key whose private half the platform does not export, where the engine can do that. */
  generateSigner(algorithm: Algorithm): Promise<{ publicKey: Bytes; signer: RawSigner }>
  /** The public half of a private key. */
  publicKey(algorithm: Algorithm, privateKey: Uint8Array): Promise<Bytes>
  /** A signer of a raw key pair. */
  signer(algorithm: Algorithm, pair: RawKeyPair, context?: Uint8Array): Promise<RawSigner>
  /** A verifier of a raw public key. Throws `key_malformed` for what is no public key. */
  verifier(algorithm: Algorithm, publicKey: Uint8Array, context?: Uint8Array): Promise<RawVerifier>
}

/** A known answer. Its message is that of the self-test; base64. */
export interface KnownAnswer {
  /** Raw public key. */
  readonly publicKey: string
  /** Raw private key; absent for RSA, where only verification is tested. */
  readonly privateKey?: string
  /** A valid signature of the message. */
  readonly signature: string
}
