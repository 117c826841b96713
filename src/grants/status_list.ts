/**
 * Token Status List (draft-ietf-oauth-status-list): one status of 1, 2, 4 or 8 bits for each token of an
 * issuer, packed into bytes from the least significant bit on (§4.1), compressed with ZLIB, and signed as a
 * JWT of type `statuslist+jwt` (§5.1).
 *
 * A list says what was true when it was issued. Whether that is new enough, whoever asks has to decide; where
 * an index lies outside of the list there is no statement at all, and the token is refused (§8.3).
 */
import * as v from 'valibot'
import { type Bytes, fromBase64Url, toBase64Url } from '../bytes.ts'
import { parseJws, signJws, verifyJws } from '../envelope/mod.ts'
import { quoted, SignetError } from '../errors.ts'
import { canonicalBytes, type JsonObject, parseJson } from '../json.ts'
import type { Key, PublicKey, SignOptions } from '../keys/mod.ts'
import { conform } from '../schema.ts'
import { deflate, inflate } from './zlib.ts'

/** The type in the header of the token. */
export const STATUS_LIST_TYPE = 'statuslist+jwt'
/** What an HTTP answer with such a token is called. */
export const STATUS_LIST_MEDIA_TYPE = 'application/statuslist+jwt'

/** Statuses that the draft names (§7.1). Whatever is not valid is refused, known or not. */
export const TOKEN_STATUS = { valid: 0, invalid: 1, suspended: 2 } as const

/** Bits of one status. */
export type StatusBits = 1 | 2 | 4 | 8

/** The list as it stands in the token (§4.2). */
export interface PackedStatusList {
  /** Bits of one status. */
  readonly bits: StatusBits
  /** The statuses, compressed, base64url. */
  readonly lst: string
}

/** Most bytes of statuses: 32 million tokens of one bit. A list that unpacks to more is refused. */
const MAX_BYTES = 4 * 1024 * 1024
/** Longest token; random statuses do not compress. */
const MAX_TOKEN = 6 * 1024 * 1024

/** A list of statuses that can be read and written. Nothing says whose it is. */
export class StatusList {
  /** Bits of one status. */
  readonly bits: StatusBits
  readonly #bytes: Bytes

  /** A list of bytes as the draft packs them, which it keeps and changes. */
  constructor(bits: StatusBits, bytes: Bytes) {
    if (![1, 2, 4, 8].includes(bits)) throw new TypeError('a status has 1, 2, 4 or 8 bits')
    this.bits = bits
    this.#bytes = bytes
  }

  /** A list of so many tokens at least, all of them valid. */
  static of(size: number, bits: StatusBits = 1): StatusList {
    if (!Number.isSafeInteger(size) || size < 1 || size * bits / 8 > MAX_BYTES) {
      throw new SignetError('status_list_malformed', `a status list cannot have ${size} statuses`)
    }
    return new StatusList(bits, new Uint8Array(Math.ceil(size * bits / 8)))
  }

  /** Number of statuses. */
  get size(): number {
    return this.#bytes.length * 8 / this.bits
  }

  /** The statuses, packed; a copy. */
  get bytes(): Bytes {
    return this.#bytes.slice()
  }

  /** The status at an index. Errors: `status_unknown` outside of the list. */
  get(index: number): number {
    const [byte, shift] = this.#place(index)
    return this.#bytes[byte]! >> shift & (1 << this.bits) - 1
  }

  /** Sets the status at an index. Errors: `status_unknown` outside of the list; one too large for its bits. */
  set(index: number, status: number): void {
    const [byte, shift] = this.#place(index)
    const mask = (1 << this.bits) - 1
    if (!Number.isInteger(status) || status < 0 || status > mask) {
      throw new SignetError(
        'status_list_malformed',
        `a status of ${this.bits} bits is at most ${mask}`,
      )
    }
    this.#bytes[byte] = this.#bytes[byte]! & ~(mask << shift) | status << shift
  }

  #place(index: number): [byte: number, shift: number] {
    // Powers of two: exact for every safe integer. Shifts of the index itself would wrap at 2^32.
    const byte = Math.floor(index * this.bits / 8)
    if (!Number.isSafeInteger(index) || index < 0 || byte >= this.#bytes.length) {
      throw new SignetError('status_unknown', `the status list says nothing about index ${index}`)
    }
    return [byte, index % (8 / this.bits) * this.bits]
  }
}

/** Compresses a list; the same bytes in every runtime. */
export function packStatusList(list: StatusList): PackedStatusList {
  return { bits: list.bits, lst: toBase64Url(deflate(list.bytes)) }
}

const PackedSchema = v.looseObject({
  bits: v.picklist([1, 2, 4, 8]),
  lst: v.string(),
  aggregation_uri: v.optional(v.string()),
})

/**
 * Unpacks a list, to 4 MiB unless told otherwise. Errors: `status_list_malformed`, `too_large`.
 */
export async function unpackStatusList(
  packed: unknown,
  options: { readonly maxBytes?: number } = {},
): Promise<StatusList> {
  const { maxBytes = MAX_BYTES } = options
  const { bits, lst } = conform(PackedSchema, packed, 'status_list_malformed', 'status list')
  try {
    return new StatusList(bits, await inflate(fromBase64Url(lst, 'lst'), maxBytes))
  } catch (cause) {
    if (!(cause instanceof SignetError) || cause.code === 'too_large') throw cause
    throw new SignetError('status_list_malformed', `status list: ${cause.message}`, { cause })
  }
}

/** What {@link signStatusList} says of a list. Times in seconds since 1970. */
export interface StatusListFacts {
  /** Where the list is published, and what the tokens in it name. */
  readonly uri: string
  /** When it was true. */
  readonly issuedAt: number
  /** When it stops to count. */
  readonly expiresAt?: number | undefined
  /** Seconds after which a fresh one should be got. */
  readonly ttl?: number | undefined
  /** Who says so. */
  readonly issuer?: string | undefined
}

/** Signs a list as JWT. */
export async function signStatusList(
  list: StatusList,
  key: Key,
  facts: StatusListFacts,
  options: SignOptions = {},
): Promise<string> {
  const { uri, issuedAt, expiresAt, ttl, issuer } = facts
  const claims: JsonObject = {
    iss: issuer,
    sub: uri,
    iat: issuedAt,
    exp: expiresAt,
    ttl,
    status_list: { ...packStatusList(list) },
  }
  return await signJws(canonicalBytes(claims), key, { ...options, typ: STATUS_LIST_TYPE })
}

const Time = v.pipe(v.number(), v.finite(), v.minValue(0))
const ClaimsSchema = v.looseObject({
  iss: v.optional(v.string()),
  sub: v.pipe(v.string(), v.minLength(1)),
  iat: Time,
  exp: v.optional(Time),
  ttl: v.optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
  status_list: v.unknown(),
})

/** What a status means for the token that names it. */
export type StatusVerdict = 'valid' | 'invalid' | 'suspended'

/** A list that a trusted key signed. Only {@link openStatusList} makes one. Its age is another question. */
export interface VerifiedStatusList extends StatusListFacts {}
/** See the interface: what is said of a list, and these. */
export class VerifiedStatusList {
  readonly #list: StatusList
  /** The key that signed. */
  readonly key: PublicKey
  /** The token. */
  readonly token: string

  /** Called by {@link openStatusList} alone. */
  constructor(list: StatusList, facts: StatusListFacts, key: PublicKey, token: string) {
    Object.assign(this, facts)
    this.#list = list
    this.key = key
    this.token = token
    Object.freeze(this)
  }

  /** Number of statuses. */
  get size(): number {
    return this.#list.size
  }

  /** The status at an index. Errors: `status_unknown` outside of the list. */
  get(index: number): number {
    return this.#list.get(index)
  }

  /** What the status at an index means: nothing but `VALID` is valid. Errors: `status_unknown`. */
  verdict(index: number): StatusVerdict {
    const status = this.#list.get(index)
    if (status === TOKEN_STATUS.valid) return 'valid'
    return status === TOKEN_STATUS.suspended ? 'suspended' : 'invalid'
  }
}

/** Options of {@link openStatusList}. */
export interface OpenStatusListOptions {
  /** The list must be this one. */
  readonly uri?: string | undefined
  /** Most bytes that it may unpack to. Default 4 MiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Reads a token and verifies it under the trusted key that `kid` names. Times are NOT judged: see
 * {@link checkStatusListAge}.
 *
 * Errors: those of `parseJws` and `verifyJws`; `signer_untrusted`; `status_list_malformed`;
 * `status_list_foreign` (another `sub` than wanted); `too_large`.
 */
export async function openStatusList(
  token: string,
  keys: readonly PublicKey[],
  options: OpenStatusListOptions = {},
): Promise<VerifiedStatusList> {
  const jws = parseJws(token, { maxLength: MAX_TOKEN })
  const key = keys.find(({ id }) => id === jws.header.kid)
  if (key === undefined) {
    throw new SignetError('signer_untrusted', 'no trusted key signed the status list')
  }
  const verified = await verifyJws(jws, key, { typ: STATUS_LIST_TYPE })
  const value = parseJson(verified.payload, { what: 'status list' })
  const claims = conform(ClaimsSchema, value, 'status_list_malformed', 'status list')
  if (options.uri !== undefined && claims.sub !== options.uri) {
    throw new SignetError(
      'status_list_foreign',
      `the status list is that of ${quoted(claims.sub)}, not of ${quoted(options.uri)}`,
    )
  }
  const { maxBytes } = options
  const list = await unpackStatusList(
    claims.status_list,
    maxBytes === undefined ? {} : { maxBytes },
  )
  const { iss: issuer, iat: issuedAt, exp: expiresAt, ttl } = claims
  const facts = { uri: claims.sub, issuer, issuedAt, expiresAt, ttl }
  return new VerifiedStatusList(list, facts, key, token)
}

/** How old a list may be. All in seconds. */
export interface StatusListAge {
  /** Seconds since 1970. */
  readonly now: number
  /** How far clocks may differ. */
  readonly skew: number
  /** Since it was issued, at most. Default: no limit besides `exp`. */
  readonly maxAge?: number | undefined
}

/**
 * Judges the times of a list. `ttl` is advice to whoever can ask anew, and not judged. Errors:
 * `status_list_early` (issued in the future), `status_list_expired`, `status_list_stale`.
 */
export function checkStatusListAge(
  list: Pick<VerifiedStatusList, 'issuedAt' | 'expiresAt'>,
  { now, skew, maxAge }: StatusListAge,
): void {
  const { issuedAt, expiresAt } = list
  if (issuedAt > now + skew) {
    throw new SignetError('status_list_early', 'the status list was issued in the future')
  }
  if (expiresAt !== undefined && now >= expiresAt + skew) {
    throw new SignetError('status_list_expired', 'the status list has expired', { remedy: SYNC })
  }
  if (maxAge !== undefined && now - issuedAt > maxAge + skew) {
    throw new SignetError(
      'status_list_stale',
      `the status list is ${Math.round(now - issuedAt)} s old, more than ${maxAge} s`,
      { remedy: SYNC },
    )
  }
}

const SYNC = 'sync with the server'
