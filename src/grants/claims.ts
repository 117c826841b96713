/**
 * The claims of one token (draft §3.2), read strictly. Beside those of the draft there are ours, each of which only
 * shrinks what a token allows: `aud` (RFC 7519 §4.1.3), `status` (Token Status List §6.1) and `limits`.
 * Other claims are ignored, as the draft demands.
 *
 * Numbers of time are whole seconds: a fraction would let two readers round to two answers.
 */
import { isObject, type JsonObject, type JsonValue } from '../json.ts'
import { type Capability, NO_CAPABILITY, parseCapability } from './capability.ts'
import { type ConstraintExtensions, NO_EXTENSIONS } from './constraints.ts'
import { type Limits, parseLimits } from './limit_terms.ts'
import { malformed, MAX_DEPTH } from './sizes.ts'

/** `typ` of a grant's tokens. */
export const GRANT_TYPE = 'aat+jwt'
/** Type of the entry of `authorization_details` that holds the tools. */
export const DETAIL_TYPE = 'attenuating_agent_token'
/** RFC 9278: how derived tokens name their issuer. A thumbprint follows. */
export const THUMBPRINT_URI = 'urn:ietf:params:oauth:jwk-thumbprint:sha-256:'

/** Where the status of a token is found: bit `idx` of the list at `uri`. */
export interface StatusRef {
  /** Index in the list. */
  readonly idx: number
  /** Address, and name, of the list. */
  readonly uri: string
}

/** The claims of a token, read. */
export interface GrantClaims {
  /** Name of the token, unique among its issuer's. */
  readonly jti: string
  /** Root: the issuer's URI. Derived: the thumbprint URI of the key that signed. */
  readonly iss: string
  /** Issued, in seconds. */
  readonly iat: number
  /** Expires, in seconds: no longer valid at that second. */
  readonly exp: number
  /** The holder's public key, as it stands in the token. */
  readonly holder: JsonObject
  /** Tokens above this one. */
  readonly depth: number
  /** How deep the chain may become. */
  readonly maxDepth: number
  /** Hash of the parent's signing input; undefined in a root. */
  readonly parentHash: string | undefined
  /** What is allowed; undefined when there is no entry of ours, which allows nothing. */
  readonly capability: Capability | undefined
  /** For whom; undefined: for everybody who trusts the issuer. */
  readonly audience: readonly string[] | undefined
  /** Where to ask whether it was revoked. */
  readonly status: StatusRef | undefined
  /** How often, how much, and so on. */
  readonly limits: Limits | undefined
}

/** Most entries of `aud` and of `authorization_details`. */
const MAX_LIST = 64
/** Longest identifier: `jti`, `iss`, an audience, an address. */
const MAX_ID_CHARS = 2048

/** Members of a JWK that are private or secret, of whatever kind of key (RFC 7518 §6, RFC 9964, RFC 8037). */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/** Reads claims. They count for nothing before their signature holds. Errors: `grant_malformed`, `constraint_unknown`. */
export function parseClaims(
  json: JsonValue,
  extensions: ConstraintExtensions = NO_EXTENSIONS,
): GrantClaims {
  if (!isObject(json)) throw malformed('the claims are not an object')
  const { par_hash: parentHash, cnf } = json
  if (
    parentHash !== undefined && !(typeof parentHash === 'string' && /^[\w-]{43}$/.test(parentHash))
  ) {
    throw malformed('"par_hash" is no SHA-256 in base64url', 'par_hash')
  }
  if (!isObject(cnf) || !isObject(cnf.jwk)) throw malformed('no holder key', 'cnf')
  const holder = cnf.jwk
  if (SECRET_MEMBERS.some((name) => Object.hasOwn(holder, name))) {
    // Not parsed any further, and never shown: somebody published a private key.
    throw malformed('the holder key is not public', 'cnf.jwk')
  }
  const claims = {
    jti: text(json, 'jti'),
    iss: uri(json.iss, 'iss'),
    iat: seconds(json, 'iat'),
    exp: seconds(json, 'exp'),
    holder,
    depth: count(json, 'del_depth'),
    maxDepth: count(json, 'del_max_depth'),
    parentHash,
    capability: parseDetails(json.authorization_details, extensions),
    audience: json.aud === undefined ? undefined : parseAudience(json.aud),
    status: json.status === undefined ? undefined : parseStatus(json.status),
    limits: json.limits === undefined ? undefined : parseLimits(json.limits),
  }
  if (claims.exp <= claims.iat) throw malformed('"exp" is not after "iat"', 'exp')
  return claims
}

function text(json: JsonObject, claim: string): string {
  const value = json[claim]
  if (typeof value === 'string' && value !== '' && value.length <= MAX_ID_CHARS) return value
  throw malformed(`"${claim}" is no text`, claim)
}

/** An absolute URI, in the letters that RFC 3986 allows. */
function uri(value: JsonValue | undefined, where: string): string {
  if (
    typeof value === 'string' && value.length <= MAX_ID_CHARS &&
    /^[A-Za-z][A-Za-z0-9+.-]*:[\w.~:/?#[\]@!$&'()*+,;=%-]+$/.test(value)
  ) return value
  throw malformed(`"${where}" is no URI`, where)
}

function seconds(json: JsonObject, claim: string): number {
  const value = json[claim]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw malformed(`"${claim}" is no time in whole seconds`, claim)
}

function count(json: JsonObject, claim: string): number {
  const value = json[claim]
  if (
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= MAX_DEPTH
  ) return value
  throw malformed(`"${claim}" is no whole number from 0 to ${MAX_DEPTH}`, claim)
}

function parseDetails(
  json: JsonValue | undefined,
  extensions: ConstraintExtensions,
): Capability | undefined {
  if (!Array.isArray(json) || json.length > MAX_LIST) {
    throw malformed('no list of authorization_details, or too long a one', 'authorization_details')
  }
  const entries = json.map((entry: JsonValue) => {
    // RFC 9396 §2: each is an object with a type.
    if (isObject(entry) && typeof entry.type === 'string') return entry
    throw malformed('a detail without a type', 'authorization_details')
  })
  const [ours, ...more] = entries.filter(({ type }) => type === DETAIL_TYPE)
  if (more.length > 0) throw malformed(`two entries of ${DETAIL_TYPE}`, 'authorization_details')
  return ours === undefined ? undefined : parseCapability(ours.tools, extensions)
}

function parseAudience(json: JsonValue): readonly string[] {
  const list: readonly JsonValue[] = Array.isArray(json) ? json : [json]
  if (list.length === 0 || list.length > MAX_LIST) {
    throw malformed('"aud" is empty or too long', 'aud')
  }
  return list.map((one) => {
    if (typeof one === 'string' && one !== '' && one.length <= MAX_ID_CHARS) return one
    throw malformed('"aud" is no text', 'aud')
  })
}

function parseStatus(json: JsonValue): StatusRef {
  const list = isObject(json) ? json.status_list : undefined
  // Another way to say the status is one that nobody here would ask.
  if (!isObject(list) || Object.keys(json as JsonObject).length !== 1) {
    throw malformed('"status" is no reference to a status list', 'status')
  }
  const { idx } = list
  if (typeof idx !== 'number' || !Number.isSafeInteger(idx) || idx < 0) {
    throw malformed('"idx" is no index', 'status.status_list.idx')
  }
  return { idx, uri: uri(list.uri, 'status.status_list.uri') }
}

/** What a token allows; nothing when it has no entry of ours. */
export function capabilityOf(claims: GrantClaims): Capability {
  return claims.capability ?? NO_CAPABILITY
}
