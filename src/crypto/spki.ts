/**
 * SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and PKCS#8 (RFC 5958) of the table's algorithms.
 * ML-DSA private keys are read as seed (RFC 9881 §6 `seed`, and the `both` form, whose seed is used)
 * and written as seed; composite keys are the two seeds (draft-ietf-lamps-pq-composite-sigs).
 */
import { type Algorithm, type AlgorithmName, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, equalBytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { der, derInteger, derOid, DerReader, TAG } from './der.ts'
import type { RawKeyPair } from './engine.ts'
import { isCurvePoint, isEd25519Point } from './points.ts'
import { rsaNumbers, rsaPublicFromPrivate } from './rsa.ts'

const ZERO = Uint8Array.of(0)
const SEED = 0x80 // [0] IMPLICIT OCTET STRING
const CURVE_OF_EC = 0xa0 // [0] EXPLICIT ECParameters (RFC 5915)
const PUBLIC_OF_EC = 0xa1 // [1] EXPLICIT BIT STRING (RFC 5915)
const PUBLIC_OF_V2 = 0x81 // [1] IMPLICIT BIT STRING (RFC 5958)

/** `SubjectPublicKeyInfo` in DER of a raw public key. */
export function toSpki(algorithm: Algorithm, publicKey: Uint8Array): Bytes {
  return der(TAG.sequence, identifier(algorithm), der(TAG.bitString, ZERO, publicKey))
}

/** What {@link fromSpki} and {@link fromPkcs8} found. For RSA the algorithm is that of option `rsa`. */
export interface FoundKey {
  /** The algorithm that the structure names. */
  readonly algorithm: Algorithm
}

/** Reads `SubjectPublicKeyInfo`. RSA keys name no signature scheme: `rsa` decides, default `RS256`. */
export function fromSpki(
  encoded: Uint8Array,
  rsa: AlgorithmName = 'RS256',
): FoundKey & { readonly publicKey: Bytes } {
  const outer = new DerReader(encoded, 'public key (SPKI)')
  const info = outer.open(TAG.sequence)
  outer.end()
  const algorithm = readIdentifier(info, rsa)
  const publicKey = readBits(info, TAG.bitString)
  info.end()
  checkPublic(algorithm, publicKey)
  return { algorithm, publicKey }
}

/** `PrivateKeyInfo` in DER. EC keys carry their public point, as OpenSSL and WebCrypto expect. */
export function toPkcs8(algorithm: Algorithm, pair: RawKeyPair): Bytes {
  const body = WRAP[algorithm.family](pair)
  return der(TAG.sequence, derInteger(ZERO), identifier(algorithm), der(TAG.octetString, body))
}

/**
 * Reads `PrivateKeyInfo` (versions 0 and 1). `publicKey` is present only where the structure holds one;
 * it is NOT yet known to belong to the private key.
 */
export function fromPkcs8(
  encoded: Uint8Array,
  rsa: AlgorithmName = 'RS256',
): FoundKey & { readonly privateKey: Bytes; readonly publicKey?: Bytes } {
  const outer = new DerReader(encoded, 'private key (PKCS#8)')
  const info = outer.open(TAG.sequence)
  outer.end()
  if (info.readNumber() > 1) info.fail('an unknown version')
  const algorithm = readIdentifier(info, rsa)
  const found = UNWRAP[algorithm.family](info.read(TAG.octetString), algorithm)
  // Attributes [0] and publicKey [1] may follow (RFC 5958 §2); the attributes mean nothing to us.
  if (info.peek() === 0xa0) info.read(0xa0)
  const appended = info.peek() === PUBLIC_OF_V2 ? readBits(info, PUBLIC_OF_V2) : undefined
  info.end()
  if (algorithm.privateBytes !== undefined && found.privateKey.length !== algorithm.privateBytes) {
    info.fail(`a private key of ${algorithm.name} has ${algorithm.privateBytes} bytes`)
  }
  const publicKey = found.publicKey ?? appended
  if (publicKey !== undefined && appended !== undefined && !equalBytes(publicKey, appended)) {
    throw new SignetError('key_mismatch', 'the private key holds two different public keys')
  }
  if (publicKey === undefined) return { algorithm, privateKey: found.privateKey }
  checkPublic(algorithm, publicKey)
  return { algorithm, privateKey: found.privateKey, publicKey }
}

/**
 * PKCS#8 of the older structures that OpenSSL writes as `EC PRIVATE KEY` (RFC 5915, with its curve) and
 * `RSA PRIVATE KEY` (RFC 8017); undefined for any other label.
 */
export function traditionalToPkcs8(label: string, body: Uint8Array): Bytes | undefined {
  const kind = TRADITIONAL.get(label)?.(body)
  if (kind === undefined) return undefined
  return der(TAG.sequence, derInteger(ZERO), kind, der(TAG.octetString, body))
}

/** The algorithm of an older structure, as `AlgorithmIdentifier`. */
const TRADITIONAL = new Map<string, (body: Uint8Array) => Bytes>([
  ['EC PRIVATE KEY', (body) => {
    const reader = new DerReader(body, 'EC private key').open(TAG.sequence)
    reader.readNumber()
    reader.read(TAG.octetString)
    if (reader.peek() !== CURVE_OF_EC) reader.fail('it does not say its curve')
    return der(TAG.sequence, derOid(ALGORITHMS.ES256.oid), reader.read(CURVE_OF_EC))
  }],
  ['RSA PRIVATE KEY', () => identifier(ALGORITHMS.RS256)],
])

type Unwrapped = { readonly privateKey: Bytes; readonly publicKey?: Bytes }

const WRAP: Record<Algorithm['family'], (pair: RawKeyPair) => Bytes> = {
  eddsa: ({ privateKey }) => der(TAG.octetString, privateKey),
  ecdsa: ({ privateKey, publicKey }) =>
    der(
      TAG.sequence,
      derInteger(Uint8Array.of(1)),
      der(TAG.octetString, privateKey),
      der(PUBLIC_OF_EC, der(TAG.bitString, ZERO, publicKey)),
    ),
  rsa: ({ privateKey }) => privateKey,
  'ml-dsa': ({ privateKey }) => der(SEED, privateKey),
  composite: ({ privateKey }) => privateKey,
}

const UNWRAP: Record<Algorithm['family'], (body: Bytes, algorithm: Algorithm) => Unwrapped> = {
  eddsa: (body) => ({ privateKey: only(body, TAG.octetString) }),
  ecdsa: (body, { parameters }) => {
    const outer = new DerReader(body, 'EC private key')
    const reader = outer.open(TAG.sequence)
    outer.end()
    if (reader.readNumber() !== 1) reader.fail('an unknown version')
    const privateKey = reader.read(TAG.octetString)
    if (reader.peek() === CURVE_OF_EC) {
      const curve = reader.read(CURVE_OF_EC)
      if (!equalBytes(curve, Uint8Array.from(parameters))) reader.fail('it names two curves')
    }
    if (reader.peek() === undefined) return { privateKey }
    const wrapper = reader.open(PUBLIC_OF_EC)
    const publicKey = readBits(wrapper, TAG.bitString)
    wrapper.end()
    reader.end()
    return { privateKey, publicKey }
  },
  rsa: (body) => {
    rsaNumbers(body, 'private')
    return { privateKey: body, publicKey: rsaPublicFromPrivate(body) }
  },
  'ml-dsa': (body) => {
    const reader = new DerReader(body, 'ML-DSA private key')
    if (reader.peek() === SEED) return { privateKey: only(body, SEED) }
    if (reader.peek() === TAG.sequence) {
      const both = reader.open(TAG.sequence)
      reader.end()
      const privateKey = both.read(TAG.octetString)
      both.read(TAG.octetString) // the expanded key: the seed makes it again
      both.end()
      return { privateKey }
    }
    throw new SignetError('key_malformed', 'ML-DSA private key has no seed', {
      remedy: 'export it again in seed form (RFC 9881 §6)',
    })
  },
  composite: (body) => ({ privateKey: body }),
}

/** The content of a BIT STRING of whole bytes. */
function readBits(reader: DerReader, tag: number): Bytes {
  const bits = reader.read(tag)
  if (bits[0] !== 0) reader.fail('a key is not a whole number of bytes')
  return bits.slice(1)
}

function only(body: Bytes, tag: number): Bytes {
  const reader = new DerReader(body, 'private key')
  const content = reader.read(tag)
  reader.end()
  return content
}

function identifier(algorithm: Algorithm): Bytes {
  return der(TAG.sequence, derOid(algorithm.oid), Uint8Array.from(algorithm.parameters))
}

function readIdentifier(info: DerReader, rsa: AlgorithmName): Algorithm {
  const body = info.read(TAG.sequence)
  const found = Object.values(ALGORITHMS).filter((entry) =>
    equalBytes(body, concat(derOid(entry.oid), Uint8Array.from(entry.parameters)))
  )
  const entry = found.find((candidate) => candidate.name === rsa) ?? found[0]
  if (entry === undefined) {
    throw new SignetError('algorithm_unsupported', 'the key is of an algorithm that is not known', {
      remedy: `known are ${Object.keys(ALGORITHMS).join(', ')}`,
    })
  }
  return entry
}

/** Checks that raw bytes are a public key of an algorithm (`key_malformed`). */
export function checkPublic(algorithm: Algorithm, publicKey: Uint8Array): void {
  if (algorithm.family === 'rsa') {
    rsaNumbers(publicKey, 'public')
    return
  }
  const { name, publicBytes } = algorithm
  if (publicKey.length !== publicBytes) {
    throw new SignetError('key_malformed', `a public key of ${name} has ${publicBytes} bytes`)
  }
  if (!IS_POINT[algorithm.family](publicKey, algorithm)) {
    throw new SignetError('key_malformed', `this is no point that can be a public key of ${name}`)
  }
}

const IS_POINT: Record<
  Exclude<Algorithm['family'], 'rsa'>,
  (publicKey: Uint8Array, algorithm: Algorithm) => boolean
> = {
  eddsa: isEd25519Point,
  ecdsa: (publicKey, { jwk }) => isCurvePoint(jwk.crv!, publicKey),
  'ml-dsa': () => true, // every string of the right length is one (FIPS 204 §7.2)
  // The Ed25519 half comes last.
  composite: (publicKey) => isEd25519Point(publicKey.subarray(-32)),
}
