/**
 * Scopes: the simple face of a grant. A scope is the name of a tool, granted with any arguments. Names match when
 * they are equal, unit for unit: no wildcards, no prefixes, no hierarchy, no folding of case. `calendar` does not
 * contain `calendar:read`, and `calendar:*` is refused, because whoever writes it means something else.
 */
import { quoted, SignetError } from '../errors.ts'
import type { ToolsJson } from './capability.ts'
import { MAX_NAME_BYTES } from './sizes.ts'

/** RFC 6749 §3.3, without the asterisk. */
const SCOPE = /^[\x21\x23-\x29\x2b-\x5b\x5d-\x7e]+$/

/** A list of scopes, each checked and none twice. Errors: `scope_malformed`. */
export function parseScopes(scopes: unknown): readonly string[] {
  // Text would pass `includes`, and match parts of names.
  if (!Array.isArray(scopes)) throw malformedScope('scopes are a list')
  return [
    ...new Set(scopes.map((scope: unknown) => {
      if (typeof scope !== 'string' || scope.length > MAX_NAME_BYTES || !SCOPE.test(scope)) {
        throw malformedScope(
          typeof scope === 'string' ? `${quoted(scope)} is no scope` : 'a scope is a text',
        )
      }
      return scope
    })),
  ]
}

/** A space-separated list as in OAuth (RFC 6749 §3.3). Errors: `scope_malformed`. */
export function parseScopeText(text: string): readonly string[] {
  return text === '' ? [] : parseScopes(text.split(' '))
}

/** The tools that scopes stand for. Errors: `scope_malformed`. */
export function scopesToTools(scopes: readonly string[]): ToolsJson {
  return Object.fromEntries(parseScopes(scopes).map((scope) => [scope, {}]))
}

function malformedScope(why: string): SignetError {
  return new SignetError('scope_malformed', why, {
    remedy: 'a scope is one name in printable ASCII; it matches exactly, so there are no wildcards',
  })
}
