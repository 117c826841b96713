/** Makes roots: the first token of a chain, signed by an issuer. */
import { utf8 } from '../bytes.ts'
import { parseJws, signJws } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import type { JsonObject, JsonValue } from '../json.ts'
import type { Key, PublicKey, SignOptions } from '../keys/mod.ts'
import type { ToolsJson } from './capability.ts'
import { checkSizes, claimsJson, type GrantChain } from './chain.ts'
import { DETAIL_TYPE, GRANT_TYPE, type GrantClaims, parseClaims, type StatusRef } from './claims.ts'
import { type ConstraintExtensions, NO_EXTENSIONS } from './constraints.ts'
import { holderJwk } from './holder_key.ts'
import { checkRoot, checkTimes, timeBounds } from './invariants.ts'
import type { LimitsJson } from './limit_terms.ts'
import { scopesToTools } from './scopes.ts'
import { MAX_TOKEN_CHARS } from './sizes.ts'
import { uuid7 } from './uuid.ts'

/** What a token allows, whoever signs it. */
export interface GrantTerms {
  /** Who may use it, and narrow it. */
  readonly holder: PublicKey
  /** Tools with their constraints, as in the token: `{read_file: {path: {constraint_type: …}}}`. */
  readonly tools?: ToolsJson | undefined
  /** Tools without constraints, by name. */
  readonly scopes?: readonly string[] | undefined
  /** For whom. */
  readonly audience?: string | readonly string[] | undefined
  /** Where its status will be found. */
  readonly status?: StatusRef | undefined
  /** How often, how much, with whose approval. */
  readonly limits?: LimitsJson | undefined
  /** Its name. Default: a fresh UUIDv7. */
  readonly jti?: string | undefined
  /** More claims, for others. Those that mean something here are refused (`usage_invalid`). */
  readonly more?: JsonObject | undefined
}

/** Terms of a root. */
export interface IssueTerms extends GrantTerms {
  /** The issuer's URI, `iss`. */
  readonly issuer: string
  /** Seconds until it expires. */
  readonly lifetime: number
  /** How many may be added to the chain. Default 0: the holder cannot pass it on. */
  readonly maxDepth?: number | undefined
}

/** Options of {@link issueGrant} and of `narrowGrant`. */
export interface IssueOptions extends SignOptions {
  /** The time, in seconds. Default: the clock. */
  readonly now?: number | undefined
  /** Longest lifetime, in seconds. Default 90 days. */
  readonly maxLifetime?: number | undefined
  /** Registered constraint types. */
  readonly extensions?: ConstraintExtensions | undefined
}

/**
 * Issues a root; the result is a chain of one token. What a verifier would refuse is not signed: the token is read
 * back by the verifier's own code first.
 *
 * Errors: `grant_malformed`, `constraint_unknown`, `scope_malformed`, `grant_lifetime`, `too_large`,
 * `usage_invalid`, and the key's.
 */
export async function issueGrant(
  key: Key,
  terms: IssueTerms,
  options: IssueOptions = {},
): Promise<GrantChain> {
  const iat = Math.floor(options.now ?? Date.now() / 1000)
  const claims = termsToClaims(terms, {
    iss: terms.issuer,
    iat,
    exp: iat + terms.lifetime,
    del_depth: 0,
    del_max_depth: terms.maxDepth ?? 0,
  })
  const { token } = await signToken(key, claims, options, (read) => checkRoot(read))
  return [token]
}

/** The claims of terms; `fixed` are those that follow from the place in the chain. */
export function termsToClaims(terms: GrantTerms, fixed: JsonObject): JsonObject {
  const { tools = {}, scopes = [], audience, status, limits, more = {} } = terms
  const unconstrained = scopesToTools(scopes)
  const both = Object.keys(unconstrained).find((tool) => Object.hasOwn(tools, tool))
  if (both !== undefined) {
    throw new SignetError('usage_invalid', 'a tool is named as a scope and with constraints')
  }
  const claims = {
    jti: terms.jti ?? uuid7(typeof fixed.iat === 'number' ? fixed.iat * 1000 : 0),
    ...fixed,
    cnf: { jwk: holderJwk(terms.holder) },
    ...audience === undefined ? {} : { aud: audience as JsonValue },
    ...status === undefined ? {} : { status: { status_list: { ...status } } },
    ...limits === undefined ? {} : { limits: limits as JsonValue },
    authorization_details: [{ type: DETAIL_TYPE, tools: { ...unconstrained, ...tools } }],
  }
  const taken = Object.keys(more).find((name) =>
    Object.hasOwn(claims, name) || OUR_CLAIMS.includes(name)
  )
  if (taken !== undefined) {
    throw new SignetError(
      'usage_invalid',
      'a claim that has a meaning cannot be added as another',
      {
        where: taken,
      },
    )
  }
  return { ...claims, ...more }
}

const OUR_CLAIMS = ['par_hash', 'aud', 'status', 'limits', 'nbf', 'crit']

/** Signs claims after the verifier's code has read them, and `check` has agreed. */
export async function signToken(
  key: Key,
  claims: JsonObject,
  options: IssueOptions,
  check: (read: GrantClaims) => void,
): Promise<{ readonly token: string; readonly claims: GrantClaims }> {
  const payload = utf8(JSON.stringify(claims))
  const read = parseClaims(claimsJson(payload), options.extensions ?? NO_EXTENSIONS)
  check(read)
  checkTimes(read, timeBounds({ ...options, now: options.now ?? read.iat }))
  const header = read.limits === undefined ? {} : { crit: ['limits'], limits: true }
  const token = await signJws(payload, key, { typ: GRANT_TYPE, header, signal: options.signal })
  parseJws(token, { maxLength: MAX_TOKEN_CHARS })
  checkSizes([token])
  return { token, claims: read }
}
