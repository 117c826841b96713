/**
 * Keys as JWK: RFC 7517, RFC 7518 §6 (EC, RSA), RFC 8037 (Ed25519), RFC 9964 (ML-DSA: kty `AKP`, `priv` is
 * the seed) and, in the same shape, draft-ietf-jose-pq-composite-sigs.
 */
import { type Algorithm, algorithm, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, fromBase64Url, toBase64Url } from '../bytes.ts'
import { RSA_MEMBERS, rsaNumbers, rsaPrivateKey, rsaPublicKey } from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'

/** A JWK as we write it: text members only. */
export type Jwk = { readonly kty: string; readonly [member: string]: string }

/** What a JWK holds, raw. */
export interface JwkContent {
  /** From the key type, the curve and `alg`. */
  readonly algorithm: Algorithm
  /** Raw public key. */
  readonly publicKey: Bytes
  /** Raw private key, if the JWK has one. It is NOT yet known to belong to the public key. */
  readonly privateKey?: Bytes
}

/** Writes a JWK, with `alg`. Only what is given is written: without `privateKey` it is a public JWK. */
export function toJwk(
  entry: Algorithm,
  raw: { readonly publicKey: Uint8Array; readonly privateKey?: Uint8Array },
): Jwk {
  const { publicKey, privateKey } = raw
  const head = { ...entry.jwk, alg: entry.name }
  const secret = (name: string) =>
    privateKey === undefined ? {} : { [name]: toBase64Url(privateKey) }
  switch (entry.jwk.kty) {
    case 'OKP':
      return { ...head, x: toBase64Url(publicKey), ...secret('d') }
    case 'AKP':
      return { ...head, pub: toBase64Url(publicKey), ...secret('priv') }
    case 'EC': {
      const half = entry.privateBytes!
      const x = toBase64Url(publicKey.subarray(1, 1 + half))
      return { ...head, x, y: toBase64Url(publicKey.subarray(1 + half)), ...secret('d') }
    }
    case 'RSA': {
      const numbers = privateKey === undefined
        ? rsaNumbers(publicKey, 'public')
        : rsaNumbers(privateKey, 'private')
      return {
        ...head,
        ...Object.fromEntries(
          Object.entries(numbers).map(([name, value]) => [name, toBase64Url(value)]),
        ),
      }
    }
  }
}

/**
 * Reads a JWK. `alg` must agree with the key; an RSA key without `alg` is taken as `rsa`
 * (default `RS256`). A `use` other than `sig` is refused, and a `key_ops` without `sign` in a private or
 * `verify` in a public key.
 *
 * Errors: `jwk_malformed`, `algorithm_unsupported`.
 */
export function fromJwk(jwk: JsonObject, rsa: 'RS256' | 'PS256' = 'RS256'): JwkContent {
  const entry = algorithmOf(jwk, rsa)
  if (jwk.use !== undefined && jwk.use !== 'sig') throw malformed('"use" is not "sig"')
  const content = READ[entry.jwk.kty](jwk, entry)
  if (
    entry.publicBytes !== undefined && content.publicKey.length !== entry.publicBytes ||
    entry.privateBytes !== undefined && content.privateKey !== undefined &&
      content.privateKey.length !== entry.privateBytes
  ) throw malformed(`lengths do not fit ${entry.name}`)
  const operation = content.privateKey === undefined ? 'verify' : 'sign'
  const { key_ops: operations = [operation] } = jwk
  if (!Array.isArray(operations) || !operations.includes(operation)) {
    throw malformed(`"key_ops" does not allow ${operation}`)
  }
  return { algorithm: entry, ...content }
}

type Content = { publicKey: Bytes; privateKey?: Bytes }

const READ: Record<Algorithm['jwk']['kty'], (jwk: JsonObject, entry: Algorithm) => Content> = {
  OKP: (jwk) => ({ publicKey: member(jwk, 'x'), ...optional(jwk, 'd') }),
  AKP: (jwk) => ({ publicKey: member(jwk, 'pub'), ...optional(jwk, 'priv') }),
  EC: (jwk, entry) => {
    const [x, y] = [member(jwk, 'x'), member(jwk, 'y')]
    // RFC 7518 §6.2.1.2: each of the full length, or one point had many texts.
    if (x.length !== entry.privateBytes) throw malformed(`"x" does not fit ${entry.name}`)
    return { publicKey: concat(Uint8Array.of(4), x, y), ...optional(jwk, 'd') }
  },
  RSA: (jwk) => {
    if (jwk.oth !== undefined) throw malformed('"oth": more than two primes')
    const names = jwk.d === undefined ? RSA_MEMBERS.slice(0, 2) : RSA_MEMBERS
    const numbers = Object.fromEntries(names.map((name) => [name, member(jwk, name)]))
    // RFC 7518 §2, Base64urlUInt: the fewest octets.
    const padded = names.find((name) => numbers[name]![0] === 0 || numbers[name]!.length === 0)
    if (padded !== undefined) throw malformed(`"${padded}" begins with a zero`)
    const publicKey = rsaPublicKey(numbers)
    rsaNumbers(publicKey, 'public') // sizes
    if (jwk.d === undefined) return { publicKey }
    const privateKey = rsaPrivateKey(numbers)
    rsaNumbers(privateKey, 'private')
    return { publicKey, privateKey }
  },
}

function algorithmOf(jwk: JsonObject, rsa: 'RS256' | 'PS256'): Algorithm {
  const { kty, crv, alg } = jwk
  // EdDSA is what RFC 8037 called it before RFC 9864 gave each curve its own name.
  const named = alg === 'EdDSA' ? 'Ed25519' : alg
  if (named !== undefined && typeof named !== 'string') throw malformed('"alg" is not text')
  if (kty === 'RSA' || kty === 'AKP') {
    const entry = algorithm(named ?? (kty === 'RSA' ? rsa : ''))
    if (entry.jwk.kty !== kty) throw malformed('"alg" contradicts "kty"')
    return entry
  }
  const entry = Object.values(ALGORITHMS).find((one) => one.jwk.kty === kty && one.jwk.crv === crv)
  if (entry === undefined) {
    throw new SignetError('algorithm_unsupported', 'JWK of an unknown key type or curve')
  }
  if (named !== undefined && named !== entry.name) throw malformed('"alg" contradicts the curve')
  return entry
}

function member(jwk: JsonObject, name: string): Bytes {
  const text = jwk[name]
  if (typeof text !== 'string') throw malformed(`"${name}" is missing`)
  try {
    return fromBase64Url(text)
  } catch {
    throw malformed(`"${name}" is not unpadded base64url`) // the text may be secret
  }
}

function optional(jwk: JsonObject, name: string): { privateKey?: Bytes } {
  return jwk[name] === undefined ? {} : { privateKey: member(jwk, name) }
}

function malformed(why: string): SignetError {
  return new SignetError('jwk_malformed', `JWK: ${why}`)
}
