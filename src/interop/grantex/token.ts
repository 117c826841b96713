/**
 * Grantex grant tokens: JWTs under RS256 with the scopes in `scp`. Their own clients leave much unchecked (the
 * issuer, the kind of token, missing claims, a depth that lies); here nothing of that passes.
 *
 * NOT checked here: revocation. The token is a bearer's; nothing binds it to a device.
 */
import { fromUtf8, utf8 } from '../../bytes.ts'
import { parseJws, signJws, verifyJws } from '../../envelope/mod.ts'
import { isSignetError, quoted, SignetError } from '../../errors.ts'
import { isObject, type JsonObject, type JsonValue, parseJson } from '../../json.ts'
import { fromJwk, type Key, type PublicKey, publicKey } from '../../keys/mod.ts'

/** What a grant token says. */
export interface GrantexClaims {
  /** `iss`: URL of the server that issued it. */
  readonly issuer: string
  /** `sub`: the person who granted. */
  readonly principal: string
  /** `aud`, if the token is for somebody in particular. */
  readonly audience?: string | undefined
  /** `agt`: DID of the agent. */
  readonly agent: string
  /** `dev`: account of the developer. */
  readonly developer?: string | undefined
  /** `scp`. */
  readonly scopes: readonly string[]
  /** `grnt`, or `jti` where that is missing, as in their clients. */
  readonly grant: string
  /** `jti`. */
  readonly id: string
  /** `iat`, seconds since 1970. */
  readonly issuedAt: number
  /** `exp`, seconds since 1970. */
  readonly expiresAt: number
  /** `parentAgt`: who passed the grant on. */
  readonly parentAgent?: string | undefined
  /** `parentGrnt`: the grant that this one is a part of. */
  readonly parentGrant?: string | undefined
  /** `delegationDepth`; 0 for a grant that nobody passed on. */
  readonly depth: number
}

/** A grant token whose signature and claims hold. Only {@link verifyGrantexToken} makes one. */
export class VerifiedGrantexToken {
  readonly #nominal = true
  /** What it says. */
  readonly claims: GrantexClaims
  /** The trusted key under which its signature holds. */
  readonly key: PublicKey

  /** Called by {@link verifyGrantexToken} alone. */
  constructor(claims: GrantexClaims, key: PublicKey) {
    this.claims = Object.freeze(claims)
    this.key = key
    Object.freeze(this)
  }
}

/** Whose tokens are taken. */
export interface GrantexTrust {
  /** Must be the token's `iss`, to the letter. */
  readonly issuer: string
  /** The issuer's RS256 keys by `kid`. */
  readonly keys: ReadonlyMap<string, PublicKey>
}

/** Options of {@link verifyGrantexToken}. */
export interface VerifyGrantexTokenOptions {
  /** Seconds since 1970. Default: the clock. */
  readonly now?: number | undefined
  /** Seconds that clocks may differ. Default 30, at most 300. */
  readonly skew?: number | undefined
  /** Who verifies. A token with `aud` must name it; a token without is taken unless `requireAudience`. */
  readonly audience?: string | undefined
  /** Refuses tokens without `aud`, which Grantex's own bundles are. */
  readonly requireAudience?: boolean | undefined
  /** Takes tokens for whomever: for the issuer itself, which is asked about all of them. */
  readonly insecureAnyAudience?: boolean | undefined
  /** Scopes that must be in the token, each to the letter. */
  readonly scopes?: readonly string[] | undefined
  /** How often the grant may have been passed on at most. */
  readonly maxDepth?: number | undefined
}

const MAX_SCOPES = 100
const MAX_SCOPE = 256
const MAX_KEYS = 100

/**
 * The RS256 keys of a JWKS by `kid`. Keys of other kinds, which a Grantex server publishes beside them, are left
 * out; so is a key that does not say `alg: RS256`. Errors: `jwk_malformed` (a key without `kid`, a `kid` that
 * stands twice, a private key), `key_malformed` (below 2048 bits).
 */
export async function grantexKeys(jwks: JsonValue): Promise<ReadonlyMap<string, PublicKey>> {
  const list = isObject(jwks) ? jwks.keys : jwks
  if (!Array.isArray(list) || list.length > MAX_KEYS) {
    throw new SignetError('jwk_malformed', 'the key set is not a list, or a very long one')
  }
  const keys = new Map<string, PublicKey>()
  for (const jwk of list as readonly JsonValue[]) {
    if (!isObject(jwk)) throw new SignetError('jwk_malformed', 'a key of the set is not an object')
    if (jwk.kty !== 'RSA' || jwk.alg !== 'RS256') continue
    const { kid } = jwk
    if (typeof kid !== 'string' || kid === '') {
      throw new SignetError('jwk_malformed', 'a key of the set has no kid')
    }
    if (keys.has(kid)) throw new SignetError('jwk_malformed', `two keys have kid ${quoted(kid)}`)
    const found = fromJwk(jwk)
    if (found.privateKey !== undefined) {
      throw new SignetError('jwk_malformed', 'a private key stands where a public one belongs')
    }
    keys.set(kid, await publicKey(found.algorithm, found.publicKey))
  }
  return keys
}

/**
 * Verifies a grant token.
 *
 * Errors: `token_malformed`, `too_large`, `token_type` (another kind of token), `token_critical`,
 * `algorithm_mismatch` (anything but RS256), `signer_untrusted` (no or an unknown `kid`), `signature_invalid`,
 * `token_issuer`, `token_claims` (a claim is missing or not of its form), `grant_audience`, `grant_expired`,
 * `grant_not_yet_valid`, `scope_missing`, `grant_depth`.
 */
export async function verifyGrantexToken(
  token: string,
  trust: GrantexTrust,
  options: VerifyGrantexTokenOptions = {},
): Promise<VerifiedGrantexToken> {
  const jws = parseJws(token)
  const { alg, kid, typ } = jws.header
  // First of all, so that `none` and HMACs have their own refusal.
  if (alg !== 'RS256') throw new SignetError('algorithm_mismatch', 'the token is not under RS256')
  // The service writes no typ, its specification "JWT". Any other is another kind of token (RFC 8725 §3.11).
  if (typ !== undefined && (typeof typ !== 'string' || !/^(application\/)?jwt$/i.test(typ))) {
    throw new SignetError('token_type', 'the token is not of the kind of a grant')
  }
  const key = typeof kid === 'string' ? trust.keys.get(kid) : undefined
  if (key === undefined || key.algorithm.name !== 'RS256') {
    throw new SignetError(
      'signer_untrusted',
      typeof kid === 'string'
        ? `no trusted key is called ${quoted(kid)}`
        : 'the token does not name its key',
    )
  }
  const { payload } = await verifyJws(jws, key, { typ: undefined })
  const claims = readClaims(payload)
  if (claims.issuer !== trust.issuer) {
    throw new SignetError('token_issuer', `the token is of the issuer ${quoted(claims.issuer)}`)
  }
  checkUse(claims, options)
  return new VerifiedGrantexToken(claims, key)
}

/** Makes a grant token under an RS256 key of at least 2048 bits. Errors: `token_claims`, `algorithm_mismatch`. */
export async function mintGrantexToken(
  claims: GrantexClaims,
  key: Key,
  kid: string = key.publicKey.id,
): Promise<string> {
  if (key.publicKey.algorithm.name !== 'RS256') {
    throw new SignetError('algorithm_mismatch', 'grant tokens of Grantex are under RS256')
  }
  const isDelegated = claims.depth > 0 || claims.parentGrant !== undefined
  const payload = utf8(JSON.stringify({
    iss: claims.issuer,
    sub: claims.principal,
    aud: claims.audience,
    agt: claims.agent,
    dev: claims.developer,
    scp: claims.scopes,
    grnt: claims.grant,
    jti: claims.id,
    iat: claims.issuedAt,
    exp: claims.expiresAt,
    ...(isDelegated
      ? {
        parentAgt: claims.parentAgent,
        parentGrnt: claims.parentGrant,
        delegationDepth: claims.depth,
      }
      : {}),
  }))
  readClaims(payload) // what we issue, we would take
  return await signJws(payload, key, { typ: 'JWT', header: { kid } })
}

function readClaims(payload: Uint8Array): GrantexClaims {
  let json: JsonValue
  try {
    json = parseJson(fromUtf8(payload), { maxDepth: 8, what: 'token' })
  } catch (cause) {
    if (!isSignetError(cause)) throw cause
    throw new SignetError('token_claims', 'the token does not hold strict JSON', { cause })
  }
  if (!isObject(json)) throw malformed('the claims are not an object')
  // The service signs sessions of its dashboard with the same key; their clients take them for grants.
  if (json.purpose !== undefined) {
    throw new SignetError('token_type', 'the token is for another purpose than a grant')
  }
  const id = text(json, 'jti')
  const claims = {
    issuer: text(json, 'iss'),
    principal: text(json, 'sub'),
    audience: optional(json, 'aud'),
    agent: text(json, 'agt'),
    developer: optional(json, 'dev'),
    scopes: scopesOf(json.scp),
    grant: optional(json, 'grnt') ?? id,
    id,
    issuedAt: seconds(json, 'iat'),
    expiresAt: seconds(json, 'exp'),
    parentAgent: optional(json, 'parentAgt'),
    parentGrant: optional(json, 'parentGrnt'),
    depth: depthOf(json.delegationDepth),
  }
  if (claims.expiresAt <= claims.issuedAt) throw malformed('"exp" is not after "iat"')
  const hasParent = claims.parentGrant !== undefined
  if (hasParent !== claims.depth > 0 || hasParent !== (claims.parentAgent !== undefined)) {
    throw malformed('"delegationDepth" contradicts the parent')
  }
  if (json.nbf !== undefined && seconds(json, 'nbf') > claims.expiresAt) {
    throw malformed('"nbf" is after "exp"')
  }
  return json.nbf === undefined
    ? claims
    // `nbf` is in no token of theirs; where somebody sets it, it counts as the later beginning.
    : { ...claims, issuedAt: Math.max(claims.issuedAt, seconds(json, 'nbf')) }
}

function checkUse(claims: GrantexClaims, options: VerifyGrantexTokenOptions): void {
  const { now = Date.now() / 1000, skew = 30, scopes = [], maxDepth = Infinity } = options
  if (!(skew >= 0 && skew <= 300)) throw new RangeError('skew is not between 0 and 300 seconds')
  if (!Number.isFinite(now)) throw new RangeError('now is no time')
  if (claims.issuedAt > now + skew) {
    throw new SignetError('grant_not_yet_valid', 'the token begins in the future')
  }
  if (now >= claims.expiresAt + skew) {
    throw new SignetError('grant_expired', 'the token has expired', {
      where: new Date(claims.expiresAt * 1000).toISOString(),
    })
  }
  const wrongAudience = claims.audience === undefined
    ? options.requireAudience === true
    : claims.audience !== options.audience
  if (wrongAudience && options.insecureAnyAudience !== true) {
    throw new SignetError('grant_audience', 'the token is not for this verifier')
  }
  const missing = scopes.find((scope) => !claims.scopes.includes(scope))
  if (missing !== undefined) {
    throw new SignetError('scope_missing', `the grant has no scope ${quoted(missing)}`)
  }
  if (claims.depth > maxDepth) {
    throw new SignetError('grant_depth', `the grant was passed on ${claims.depth} times`)
  }
}

function text(json: JsonObject, name: string): string {
  const value = json[name]
  if (typeof value !== 'string' || value === '' || value.length > 2048) {
    throw malformed(`"${name}" is missing or no text of fair length`)
  }
  return value
}

function optional(json: JsonObject, name: string): string | undefined {
  return json[name] === undefined ? undefined : text(json, name)
}

function seconds(json: JsonObject, name: string): number {
  const value = json[name]
  // RFC 7519 §2 allows fractions; a date of JavaScript ends at 8.64e12.
  if (typeof value !== 'number' || !(value >= 0 && value <= 8.64e12)) {
    throw malformed(`"${name}" is missing or no time`)
  }
  return value
}

function scopesOf(value: JsonValue | undefined): readonly string[] {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_SCOPES &&
    value.every((scope) => typeof scope === 'string' && scope !== '' && scope.length <= MAX_SCOPE)
  if (!isList) throw malformed(`"scp" is not a list of 1 to ${MAX_SCOPES} scopes`)
  return Object.freeze([...value as string[]])
}

function depthOf(value: JsonValue | undefined): number {
  if (value === undefined) return 0
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 1000) {
    return value
  }
  throw malformed('"delegationDepth" is no count')
}

function malformed(why: string): SignetError {
  return new SignetError('token_claims', `token: ${why}`)
}
