/**
 * JWS in compact serialisation (RFC 7515 §3.1, §7.1): one header, one payload, one signature. What is signed
 * is the text as it travelled; the payload is not looked into before the signature holds.
 *
 * The algorithm is that of the trusted key. `alg` must name it (RFC 8725 §3.1), so `none` and the HMACs have no way
 * in. `typ` is always demanded (RFC 8725 §3.11), and every name in `crit` must be one that the caller
 * understands (RFC 7515 §4.1.11). Keys in headers (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
 */
import type { Algorithm } from '../algorithms.ts'
import { type Bytes, fromBase64Url, toBase64Url, utf8 } from '../bytes.ts'
import { type ErrorCode, isSignetError, quoted, SignetError } from '../errors.ts'
import { isObject, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { type Key, type PublicKey, signMessage, type SignOptions } from '../keys/mod.ts'

/** A JWS as it was received. Nothing of it has been verified. */
export interface Jws {
  /** The protected header. Unverified: `kid` is a hint at most. */
  readonly header: JsonObject
  /** The payload, decoded. Unverified. */
  readonly payload: Bytes
  /** Raw signature; ECDSA as r‖s (RFC 7518 §3.4). */
  readonly signature: Bytes
  /** What is signed: header and payload in base64url with a dot between, as ASCII. */
  readonly signingInput: Bytes
}

/**
 * A JWS whose signature holds under `key`. Only {@link verifyJws} makes one; the room exports the type alone.
 */
export class VerifiedJws {
  readonly #nominal = true
  /** The signed header. */
  readonly header: JsonObject
  /** The signed bytes. */
  readonly payload: Bytes
  /** The trusted key under which the signature holds. */
  readonly key: PublicKey
  /** What was signed. */
  readonly signingInput: Bytes

  /** Called by {@link verifyJws} alone. */
  constructor(jws: Jws, key: PublicKey) {
    this.header = jws.header
    this.payload = jws.payload
    this.signingInput = jws.signingInput
    this.key = key
  }
}

/** Options of {@link parseJws}. */
export interface ParseJwsOptions {
  /** Length of the text at most. Default 64 KiB. */
  readonly maxLength?: number | undefined
}

/** Options of {@link signJws}. */
export interface SignJwsOptions extends SignOptions {
  /** The kind of token: media type without `application/`. */
  readonly typ: string
  /** More members of the header. Those that a reader must understand are to be named in `crit` too. */
  readonly header?: JsonObject | undefined
}

/** What {@link verifyJws} demands. */
export interface VerifyJwsOptions {
  /** The kind of token; compared as RFC 7515 §4.1.9 says. `undefined` takes any: only for formats of others. */
  readonly typ: string | undefined
  /** Names in `crit` that the caller understands and acts on. Default: none. */
  readonly understands?: readonly string[] | undefined
}

/** Longest text that is read unless told otherwise. */
export const MAX_JWS_LENGTH: number = 64 * 1024

/** Reads compact serialisation, strictly. Errors: `token_malformed`, `too_large`. */
export function parseJws(text: string, options: ParseJwsOptions = {}): Jws {
  const { maxLength = MAX_JWS_LENGTH } = options
  // Tokens come out of JSON of strangers, where anything may stand.
  if (typeof text !== 'string') throw malformed('it is no text')
  if (text.length > maxLength) {
    throw new SignetError('too_large', `token: longer than ${maxLength} characters`)
  }
  const parts = text.split('.', 4)
  const [head, body, signature] = parts
  if (parts.length !== 3 || head === undefined || body === undefined || signature === undefined) {
    throw malformed('not three parts with dots between')
  }
  return {
    header: headerOf(head),
    payload: within('payload', () => fromBase64Url(body)),
    signature: within('signature', () => fromBase64Url(signature)),
    signingInput: utf8(text.slice(0, head.length + 1 + body.length)),
  }
}

/** Headers of the same signer are the same: those that were read last are kept, by their text. */
const headers = new Map<string, JsonObject>()
const MAX_HEADERS = 256
const MAX_KEPT_HEADER = 512

function headerOf(text: string): JsonObject {
  const known = headers.get(text)
  if (known !== undefined) return known
  const header = within('header', () => parseJson(fromBase64Url(text), { maxDepth: 8 }))
  if (!isObject(header)) throw malformed('the header is not an object')
  if (text.length > MAX_KEPT_HEADER) return header
  if (headers.size >= MAX_HEADERS) headers.clear()
  headers.set(text, frozen(header))
  return header
}

/** What is handed out twice must not be changed in between. */
function frozen<T extends JsonValue | undefined>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) frozen(member)
  return Object.freeze(value)
}

/** Signs a payload; the result is the compact serialisation. The header gets `alg`, `typ` and `kid`. */
export async function signJws(
  payload: Uint8Array,
  key: Key,
  options: SignJwsOptions,
): Promise<string> {
  const { algorithm, id } = key.publicKey
  const header = {
    ...options.header,
    alg: joseNames(algorithm)[0],
    typ: options.typ,
    kid: options.header?.kid ?? id,
  }
  const text = `${toBase64Url(utf8(JSON.stringify(header)))}.${toBase64Url(payload)}`
  const signature = await signMessage(key, utf8(text), options)
  return `${text}.${toBase64Url(signature)}`
}

/**
 * Verifies under a trusted key. Errors: `token_type`, `token_critical` (a `crit` that is malformed or names what
 * the caller does not understand), `algorithm_mismatch`, `signature_invalid`.
 */
export async function verifyJws(
  jws: Jws,
  key: PublicKey,
  options: VerifyJwsOptions,
): Promise<VerifiedJws> {
  checkHeader(jws.header, key.algorithm, options)
  if (!await key.verify(jws.signingInput, jws.signature)) {
    throw new SignetError(
      'signature_invalid',
      `the token's signature does not hold under ${key.id}`,
    )
  }
  return new VerifiedJws(jws, key)
}

function checkHeader(header: JsonObject, algorithm: Algorithm, options: VerifyJwsOptions): void {
  const { alg, typ, crit } = header
  if (typeof alg !== 'string' || !joseNames(algorithm).includes(alg)) {
    throw new SignetError(
      'algorithm_mismatch',
      `the token says ${typeof alg === 'string' ? quoted(alg) : 'no algorithm'}, ` +
        `its key is for ${algorithm.name}`,
    )
  }
  if (options.typ !== undefined && !isType(typ, options.typ)) {
    throw new SignetError('token_type', `the token is not of type ${options.typ}`)
  }
  if (crit === undefined) return
  const { understands = [] } = options
  if (
    !Array.isArray(crit) || crit.length === 0 ||
    !crit.every((name) =>
      typeof name === 'string' && understands.includes(name) && Object.hasOwn(header, name)
    )
  ) throw new SignetError('token_critical', 'the token demands what is not understood here')
}

/**
 * The names of an algorithm in `alg`, the written one first. For Ed25519 that is still `EdDSA` (RFC 8037): the name
 * of its own (RFC 9864) is unknown to many readers.
 */
function joseNames(algorithm: Algorithm): readonly string[] {
  return algorithm.name === 'Ed25519' ? ['EdDSA', 'Ed25519'] : [algorithm.name]
}

/** Media types compare without regard to case, and `application/` may be left out (RFC 7515 §4.1.9). */
function isType(typ: unknown, wanted: string): boolean {
  if (typeof typ !== 'string') return false
  return typ.toLowerCase().replace(/^application\//, '') === wanted.toLowerCase()
}

function within<T>(part: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!isSignetError(cause)) throw cause
    throw malformed(`its ${part} is not well formed`, cause)
  }
}

function malformed(why: string, cause?: unknown): SignetError {
  const code: ErrorCode = 'token_malformed'
  return new SignetError(code, `token: ${why}`, cause === undefined ? {} : { cause })
}
