/** The public half of a key: what verifies, and what a key is called. */
import type { Algorithm } from '../algorithms.ts'
import { type Bytes, owned, toBase64Url, utf8 } from '../bytes.ts'
import {
  checkPublic,
  type EngineName,
  type RawVerifier,
  rawVerifier,
  type SigningInput,
} from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import { canonicalize, type JsonObject } from '../json.ts'
import { type Jwk, toJwk } from './jwk.ts'

/** A public key. It carries its algorithm; nothing a message says can change it. */
export interface PublicKey {
  /** RFC 7638 thumbprint over SHA-256, base64url without padding. */
  readonly id: string
  /** The only algorithm that this key verifies. */
  readonly algorithm: Algorithm
  /** The raw key, see `Algorithm`; each time a copy. */
  readonly raw: Bytes
  /** The key as JWK, without `kid`. */
  readonly jwk: Jwk
  /**
   * True if the signature holds; a malformed one is false. Throws `mode_unsupported` and `digest_malformed` for
   * what is no input of the algorithm.
   */
  verify(message: Uint8Array | SigningInput, signature: Uint8Array): Promise<boolean>
}

/** Options of {@link publicKey}. */
export interface PublicKeyOptions {
  /** Forces an engine past the self-test. For tests and comparisons. */
  readonly engine?: EngineName | undefined
}

/** Makes a {@link PublicKey} of raw bytes, or says that they are none (`key_malformed`). */
export async function publicKey(
  algorithm: Algorithm,
  raw: Uint8Array,
  options: PublicKeyOptions = {},
): Promise<PublicKey> {
  checkPublic(algorithm, raw)
  const bytes = owned(raw.slice())
  const jwk = Object.freeze(toJwk(algorithm, { publicKey: bytes }))
  let verifier: Promise<RawVerifier> | undefined
  return Object.freeze({
    id: await thumbprint(jwk),
    algorithm,
    // What verifies must not change under the hands of whoever reads it.
    get raw() {
      return bytes.slice()
    },
    jwk,
    async verify(message: Uint8Array | SigningInput, signature: Uint8Array) {
      verifier ??= rawVerifier(algorithm, bytes, { ...options, checked: true })
      const input = message instanceof Uint8Array
        ? { mode: 'message', bytes: message } as const
        : message
      return await (await verifier)(input, signature)
    },
  })
}

/** Members that identify a key (RFC 7638 §3.2, RFC 8037 §2, RFC 9964 §3). */
const REQUIRED = { OKP: ['crv', 'x'], EC: ['crv', 'x', 'y'], RSA: ['e', 'n'], AKP: ['alg', 'pub'] }

/**
 * RFC 7638 thumbprint of a JWK: SHA-256, base64url. Members that do not identify the key may be anything.
 *
 * Errors: `algorithm_unsupported` (key type), `jwk_malformed` (a member is missing or not text).
 */
export async function thumbprint(jwk: JsonObject): Promise<string> {
  const { kty } = jwk
  if (typeof kty !== 'string' || !Object.hasOwn(REQUIRED, kty)) {
    throw new SignetError('algorithm_unsupported', 'JWK of an unknown key type')
  }
  const names = ['kty', ...REQUIRED[kty as keyof typeof REQUIRED]]
  const wrong = names.find((name) => typeof jwk[name] !== 'string')
  if (wrong !== undefined) throw new SignetError('jwk_malformed', `JWK: "${wrong}" is missing`)
  const members = Object.fromEntries(names.map((name) => [name, jwk[name]]))
  const digest = await crypto.subtle.digest('SHA-256', utf8(canonicalize(members)))
  return toBase64Url(new Uint8Array(digest))
}
