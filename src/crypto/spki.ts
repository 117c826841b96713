/**
 * SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and PKCS#8 (RFC 5958) of the table's algorithms.
 * ML-DSA private keys are read as seed (RFC 9881 §6 `seed`, and the `both` form, whose seed is used)
 * and written as seed; composite keys are the two seeds (draft-ietf-lamps-pq-composite-sigs).
 */
import { type Algorithm, type AlgorithmName, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, equalBytes, owned } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { der, derInteger, derOid, DerReader, TAG } from './der.ts'
import type { RawKeyPair } from './engine.ts'
import { rsaNumbers, rsaPublicFromPrivate } from './rsa.ts'

const ZERO = Uint8Array.of(0)
const SEED = 0x80 // [0] IMPLICIT OCTET STRING
const PUBLIC_OF_EC = 0xa1 // [1] EXPLICIT BIT STRING (RFC 5915)

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
  const bits = info.read(TAG.bitString)
  info.end()
  if (bits[0] !== 0) info.fail('the key is not a whole number of bytes')
  const publicKey = owned(bits.slice(1))
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
  const found = UNWRAP[algorithm.family](info.read(TAG.octetString))
  // Attributes [0] and publicKey [1] may follow (RFC 5958 §2); the attributes mean nothing to us.
  if (info.peek() === 0xa0) info.read(0xa0)
  const appended = info.peek() === 0x81 ? info.read(0x81).slice(1) : undefined
  info.end()
  if (algorithm.privateBytes !== undefined && found.privateKey.length !== algorithm.privateBytes) {
    info.fail(`a private key of ${algorithm.name} has ${algorithm.privateBytes} bytes`)
  }
  const publicKey = found.publicKey ?? appended
  if (publicKey === undefined) return { algorithm, privateKey: found.privateKey }
  checkPublic(algorithm, publicKey)
  return { algorithm, privateKey: found.privateKey, publicKey }
}

/**
 * PKCS#8 of the older structures that OpenSSL writes as `EC PRIVATE KEY` (RFC 5915, with its curve) and
 * `RSA PRIVATE KEY` (RFC 8017); undefined for any other label.
 */
export function traditionalToPkcs8(label: string, body: Uint8Array): Bytes | undefined {
  const identify = {
    'EC PRIVATE KEY': () => {
      const reader = new DerReader(body, 'EC private key').open(TAG.sequence)
      reader.readNumber()
      reader.read(TAG.octetString)
      if (reader.peek() !== 0xa0) reader.fail('it does not say its curve')
      return der(TAG.sequence, derOid(ALGORITHMS.ES256.oid), reader.read(0xa0))
    },
    'RSA PRIVATE KEY': () => identifier(ALGORITHMS.RS256),
  }[label]
  if (identify === undefined) return undefined
  return der(TAG.sequence, derInteger(ZERO), identify(), der(TAG.octetString, body))
}

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

const UNWRAP: Record<Algorithm['family'], (body: Bytes) => Unwrapped> = {
  eddsa: (body) => ({ privateKey: only(body, TAG.octetString) }),
  ecdsa: (body) => {
    const reader = new DerReader(body, 'EC private key').open(TAG.sequence)
    if (reader.readNumber() !== 1) reader.fail('an unknown version')
    const privateKey = reader.read(TAG.octetString)
    if (reader.peek() === 0xa0) reader.read(0xa0) // the curve again
    if (reader.peek() !== PUBLIC_OF_EC) return { privateKey }
    return { privateKey, publicKey: reader.open(PUBLIC_OF_EC).read(TAG.bitString).slice(1) }
  },
  rsa: (body) => {
    rsaNumbers(body, 'private')
    return { privateKey: body, publicKey: rsaPublicFromPrivate(body) }
  },
  'ml-dsa': (body) => {
    const reader = new DerReader(body, 'ML-DSA private key')
    if (reader.peek() === SEED) return { privateKey: only(body, SEED) }
    if (reader.peek() === TAG.sequence) {
      return { privateKey: reader.open(TAG.sequence).read(TAG.octetString) }
    }
    throw new SignetError('key_malformed', 'ML-DSA private key has no seed', {
      remedy: 'export it again in seed form (RFC 9881 §6)',
    })
  },
  composite: (body) => ({ privateKey: body }),
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

/** Checks the length of a raw public key, and of RSA its structure. */
export function checkPublic(algorithm: Algorithm, publicKey: Uint8Array): void {
  if (algorithm.family === 'rsa') {
    rsaNumbers(publicKey, 'public')
    return
  }
  const right = publicKey.length === algorithm.publicBytes &&
    (algorithm.family !== 'ecdsa' || publicKey[0] === 4)
  if (!right) {
    throw new SignetError(
      'key_malformed',
      `a public key of ${algorithm.name} has ${algorithm.publicBytes} bytes` +
        (algorithm.family === 'ecdsa' ? ' and is an uncompressed point' : ''),
    )
  }
}
