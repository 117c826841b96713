/**
 * The one table of signature algorithms. Everything below receives an entry of it, never a name,
 * and the entry comes from a trusted key, never from a message.
 *
 * Signatures inside Signet have one form for each algorithm, the `signature` form of the entry:
 * `raw` bytes as the algorithm defines them; for ECDSA r‖s of fixed length (IEEE P1363, RFC 7518 §3.4).
 */
import { quoted, SignetError } from './errors.ts'

/** The names, as registered for JOSE (RFC 7518, RFC 9864, RFC 9964; the composite: draft-ietf-jose-pq-composite-sigs). */
export type AlgorithmName =
  | 'Ed25519'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'RS256'
  | 'PS256'
  | 'ML-DSA-44'
  | 'ML-DSA-65'
  | 'ML-DSA-65-Ed25519'

/** What is handed to a signer: the whole message, its digest, or ML-DSA's message representative mu. */
export type SigningMode = 'message' | 'digest' | 'external-mu'

/** The family decides which code signs; nothing else may depend on a name. */
export type AlgorithmFamily = 'eddsa' | 'ecdsa' | 'rsa' | 'ml-dsa' | 'composite'

/** All that the implementation knows about one algorithm. */
export interface Algorithm {
  /** JOSE `alg`. */
  readonly name: AlgorithmName
  /** Which code signs. */
  readonly family: AlgorithmFamily
  /** Members that a JWK of this algorithm must have, besides the key itself. */
  readonly jwk: { readonly kty: 'OKP' | 'EC' | 'RSA' | 'AKP'; readonly crv?: string }
  /** WebCrypto parameters for import and generation. */
  readonly webcrypto: Readonly<Record<string, unknown>>
  /** Object identifier of the SPKI algorithm, dotted. */
  readonly oid: string
  /** DER of the SPKI algorithm parameters; empty when they must be absent. */
  readonly parameters: readonly number[]
  /** Digest of the message in `digest` mode. */
  readonly hash?: 'SHA-256' | 'SHA-384' | 'SHA-512'
  /** Length of the raw public key in bytes; RSA has none (its public key is an RFC 8017 RSAPublicKey in DER). */
  readonly publicBytes?: number
  /** Length of the raw private key (seed or scalar) in bytes; RSA has none (RFC 8017 RSAPrivateKey in DER). */
  readonly privateBytes?: number
  /** Length of a signature in bytes; RSA's is that of its modulus. */
  readonly signatureBytes?: number
  /** Name in Sigstore's `PublicKeyDetails` (sigstore_common.proto), where OMS bundles of old carry it. */
  readonly sigstore?: string
  /** Modes that make sense for the algorithm; a key declares those that it serves. */
  readonly modes: readonly SigningMode[]
}

const NULL = [0x05, 0x00]
const EC_OID = '1.2.840.10045.2.1'
const RSA_OID = '1.2.840.113549.1.1.1'

function ecdsa(
  name: AlgorithmName,
  crv: string,
  hash: 'SHA-256' | 'SHA-384' | 'SHA-512',
  bytes: number,
  parameters: readonly number[],
): Algorithm {
  return {
    name,
    family: 'ecdsa',
    jwk: { kty: 'EC', crv },
    webcrypto: { name: 'ECDSA', namedCurve: crv, hash },
    oid: EC_OID,
    parameters,
    hash,
    publicBytes: 1 + 2 * bytes,
    privateBytes: bytes,
    signatureBytes: 2 * bytes,
    sigstore: `PKIX_ECDSA_${crv.replace('-', '')}_${hash.replace('-', '_')}`,
    modes: ['message', 'digest'],
  }
}

function rsa(name: AlgorithmName, scheme: string): Algorithm {
  return {
    name,
    family: 'rsa',
    jwk: { kty: 'RSA' },
    webcrypto: { name: scheme, hash: 'SHA-256', saltLength: 32 },
    oid: RSA_OID,
    parameters: NULL,
    hash: 'SHA-256',
    modes: ['message', 'digest'],
  }
}

/** JWK as RFC 9964. The private key is the 32-byte seed. */
function mlDsa(
  name: AlgorithmName,
  oid: string,
  publicBytes: number,
  signatureBytes: number,
): Algorithm {
  return {
    name,
    family: 'ml-dsa',
    jwk: { kty: 'AKP' },
    webcrypto: { name },
    oid,
    parameters: [],
    publicBytes,
    privateBytes: 32,
    signatureBytes,
    modes: ['message', 'external-mu'],
  }
}

/** The table. Nobody changes it: whoever could would choose what verifies. */
export const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm>> = frozen({
  // RFC 8032; OID RFC 8410 §3.
  'Ed25519': {
    name: 'Ed25519',
    family: 'eddsa',
    jwk: { kty: 'OKP', crv: 'Ed25519' },
    webcrypto: { name: 'Ed25519' },
    oid: '1.3.101.112',
    parameters: [],
    publicBytes: 32,
    privateBytes: 32,
    signatureBytes: 64,
    modes: ['message'],
  },
  // FIPS 186-5; curve OIDs RFC 5480 §2.1.1.1; hash by curve as in OMS's algorithm registry.
  'ES256': ecdsa('ES256', 'P-256', 'SHA-256', 32, [6, 8, 42, 134, 72, 206, 61, 3, 1, 7]),
  'ES384': ecdsa('ES384', 'P-384', 'SHA-384', 48, [6, 5, 43, 129, 4, 0, 34]),
  'ES512': ecdsa('ES512', 'P-521', 'SHA-512', 66, [6, 5, 43, 129, 4, 0, 35]),
  // RFC 8017; salt length of PS256 RFC 7518 §3.5.
  'RS256': rsa('RS256', 'RSASSA-PKCS1-v1_5'),
  'PS256': rsa('PS256', 'RSA-PSS'),
  // FIPS 204 Table 2; OIDs RFC 9881 §2. ML-DSA-44 is what transparency logs cosign with (C2SP tlog-cosignature).
  'ML-DSA-44': mlDsa('ML-DSA-44', '2.16.840.1.101.3.4.3.17', 1312, 2420),
  'ML-DSA-65': mlDsa('ML-DSA-65', '2.16.840.1.101.3.4.3.18', 1952, 3309),
  // draft-ietf-lamps-pq-composite-sigs: id-MLDSA65-Ed25519-SHA512; ML-DSA part first in all encodings.
  'ML-DSA-65-Ed25519': {
    name: 'ML-DSA-65-Ed25519',
    family: 'composite',
    jwk: { kty: 'AKP' },
    webcrypto: {},
    oid: '1.3.6.1.5.5.7.6.48',
    parameters: [],
    hash: 'SHA-512',
    publicBytes: 1984,
    privateBytes: 64,
    signatureBytes: 3373,
    modes: ['message', 'digest'],
  },
})

/** The entry of a name, or `algorithm_unsupported`. Names that JOSE used before are no aliases. */
export function algorithm(name: string): Algorithm {
  const entry = Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name as AlgorithmName] : undefined
  if (entry === undefined) {
    throw new SignetError('algorithm_unsupported', `unknown algorithm ${quoted(name)}`, {
      remedy: `known are ${Object.keys(ALGORITHMS).join(', ')}`,
    })
  }
  return entry
}

/** A value that is frozen to the last member. */
function frozen<T extends object>(value: T): T {
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null) frozen(member)
  }
  return Object.freeze(value)
}
