/** How each algorithm is signed and generated on a token. */
import { Buffer } from 'node:buffer'
import type { Algorithm, AlgorithmFamily, SigningMode } from '../../src/algorithms.ts'
import { concat } from '../../src/bytes.ts'
import { type Attribute, CK, type Mechanism } from './cryptoki.ts'
import { curveOf } from './objects.ts'

/** One family on a token. */
export interface Signing {
  /** The one mode that is served: the token gets a digest wherever it can, and never hashes by itself. */
  readonly mode: SigningMode
  /** Number of the mechanism, to be looked up in the token's list. */
  readonly number: number
  /** The mechanism with its parameter. */
  mechanism(): Mechanism
  /** What is handed to the token, made of the digest or message. */
  input(bytes: Uint8Array): Uint8Array
  /** Mechanism of a new pair. */
  readonly generate: number
  /** Attributes of the new public key. */
  template(algorithm: Algorithm): readonly Attribute[]
}

const curve = (algorithm: Algorithm): readonly Attribute[] => [
  { type: CK.attribute.ecParams, value: curveOf(algorithm) },
]

const ECDSA: Signing = {
  mode: 'digest',
  number: CK.mechanism.ecdsa,
  mechanism: () => ({ mechanism: CK.mechanism.ecdsa, parameter: null }),
  input: (digest) => digest,
  generate: CK.mechanism.ecKeyPair,
  template: curve,
}

const EDDSA: Signing = {
  mode: 'message',
  number: CK.mechanism.eddsa,
  mechanism: () => ({ mechanism: CK.mechanism.eddsa, parameter: null }),
  input: (message) => message,
  generate: CK.mechanism.edwardsKeyPair,
  template: curve,
}

const rsaTemplate = (): readonly Attribute[] => [
  { type: CK.attribute.modulusBits, value: 3072 },
  { type: CK.attribute.publicExponent, value: Buffer.from([1, 0, 1]) },
]

/** DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2, note 1). */
const DIGEST_INFO = Uint8Array.of(
  ...[0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01],
  ...[0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20],
)

const RSA_PKCS1: Signing = {
  mode: 'digest',
  number: CK.mechanism.rsaPkcs,
  mechanism: () => ({ mechanism: CK.mechanism.rsaPkcs, parameter: null }),
  input: (digest) => concat(DIGEST_INFO, digest),
  generate: CK.mechanism.rsaKeyPair,
  template: rsaTemplate,
}

const RSA_PSS: Signing = {
  ...RSA_PKCS1,
  number: CK.mechanism.rsaPss,
  mechanism: () => ({
    mechanism: CK.mechanism.rsaPss,
    parameter: {
      type: CK.pssParameters,
      hashAlg: CK.mechanism.sha256,
      mgf: CK.mgf1Sha256,
      saltLen: 32,
    },
  }),
  input: (digest) => digest,
}

const FAMILIES: Partial<Record<AlgorithmFamily, Signing>> = { ecdsa: ECDSA, eddsa: EDDSA }

/** How an algorithm is served, or undefined. */
export function signingOf(algorithm: Algorithm): Signing | undefined {
  if (algorithm.family !== 'rsa') return FAMILIES[algorithm.family]
  return algorithm.name === 'PS256' ? RSA_PSS : RSA_PKCS1
}
