/**
 * Export for servers that only know OAuth: the claims of an RFC 8693 token, with who acts for whom as nested `act`
 * (§4.1). LOSSY, and always towards less: what the other side could not express or enforce is left out. So `scope`
 * holds only tools without constraints and without limits of any link; constraints, depth, revocation and the proof
 * of possession do not survive. Nobody may make a grant out of this again.
 */
import { SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { ToolsJson } from './capability.ts'
import { THUMBPRINT_URI } from './claims.ts'
import type { Limits } from './limit_terms.ts'
import type { VerifiedGrant } from './verified.ts'

/** Claims for a token that somebody else signs. */
export type ExchangeClaims = JsonObject & {
  readonly sub: string
  readonly act: JsonObject
  readonly scope: string
}

/**
 * The claims. `subject` is for whom all act (a grant itself has none); default: the root's issuer. The outermost `act`
 * is the leaf's holder, and the ones before it are inside. `cnf` (RFC 7800) names the leaf's key by `jkt` (RFC 9449).
 *
 * Errors: `policy_denied` if no tool is left.
 */
export function toExchangeClaims(
  grant: VerifiedGrant,
  options: { readonly subject?: string | undefined } = {},
): ExchangeClaims {
  const scopes = plainScopes(grant.capability, grant.links.map(({ limits }) => limits))
  if (scopes.length === 0) {
    throw new SignetError('policy_denied', 'nothing of the grant can be said in scopes', {
      remedy: 'tools with constraints or limits need a verifier that understands grants',
    })
  }
  const act = grant.links.reduce<JsonObject | undefined>((inner, { holderThumbprint }) => ({
    sub: THUMBPRINT_URI + holderThumbprint,
    ...inner === undefined ? {} : { act: inner },
  }), undefined)!
  return {
    iss: grant.issuer,
    sub: options.subject ?? grant.issuer,
    ...grant.audience === undefined ? {} : { aud: grant.audience },
    iat: grant.issuedAt,
    exp: grant.expiresAt,
    scope: scopes.join(' '),
    cnf: { jkt: grant.holder.id },
    act,
  }
}

/**
 * The tools that the name alone says all of: without constraints and without limits. Whoever goes by a scope enforces
 * neither.
 */
export function plainScopes(
  tools: ToolsJson,
  limits: readonly (Limits | undefined)[],
): readonly string[] {
  return Object.keys(tools).filter((tool) =>
    Object.keys(tools[tool]!).length === 0 &&
    // A space would make two scopes of one name.
    /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(tool) &&
    !limits.some((one) => one?.has(tool) || one?.has('*'))
  )
}
