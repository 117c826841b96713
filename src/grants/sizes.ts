/**
 * How large anything in a grant may be. A token is a stranger's program: whoever reads it must be able to say
 * beforehand what that costs. Figures are those that draft-niyikiza-oauth-attenuating-agent-tokens-01
 * recommends (§4.3, §4.4, appendix B.5).
 */
import { type ErrorCode, quoted, SignetError } from '../errors.ts'

/** One token, in characters (base64url and dots: characters are bytes). */
export const MAX_TOKEN_CHARS: number = 64 * 1024
/** All tokens of a chain together, in characters. */
export const MAX_CHAIN_CHARS: number = 256 * 1024
/** Tools in one token. */
export const MAX_TOOLS: number = 256
/** Constraints in one tool's map. Those inside of `all` and `any` count too, so that no comparison explodes. */
export const MAX_CONSTRAINTS: number = 64
/** How deep constraints nest; one that holds no other has depth 1. */
export const MAX_CONSTRAINT_DEPTH: number = 32
/** A tool's or an argument's name, in bytes of UTF-8. */
export const MAX_NAME_BYTES: number = 256
/** One value in a constraint, in bytes of its canonical form. */
export const MAX_VALUE_BYTES: number = 4096
/** The ceiling on `del_max_depth`; a chain has at most one token more. */
export const MAX_DEPTH: number = 64
/** Longest time between `iat` and `exp`, in seconds: 90 days. */
export const MAX_LIFETIME: number = 90 * 24 * 3600
/** How far in the future `iat` may lie, in seconds. */
export const MAX_SKEW: number = 30
/** How deep the JSON of a token nests: each nested constraint takes two levels. */
export const MAX_JSON_DEPTH: number = 2 * MAX_CONSTRAINT_DEPTH + 40

/** True for a name of a tool or an argument: some bytes, not too many, and with a form in UTF-8. */
export function isName(text: unknown): text is string {
  if (typeof text !== 'string' || text === '' || text.length > MAX_NAME_BYTES) return false
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 <= MAX_NAME_BYTES) return text.isWellFormed()
  return text.isWellFormed() && new TextEncoder().encode(text).length <= MAX_NAME_BYTES
}

/** A place in a token. It becomes text only when there is a fault to tell of. */
export type Place = string | { readonly inside: Place; readonly at: string | number }

function placeText(place: Place): string {
  if (typeof place === 'string') return place
  const { inside, at } = place
  return `${placeText(inside)}[${typeof at === 'number' ? at : quoted(at)}]`
}

/** What to throw where a grant is not of the form that it should be. */
export function malformed(why: string, where?: Place): SignetError {
  return refusedAt('grant_malformed', `grant: ${why}`, where)
}

/** An error with its place. */
export function refusedAt(
  code: ErrorCode,
  message: string,
  where: Place | undefined,
  remedy?: string,
): SignetError {
  return new SignetError(code, message, {
    ...where === undefined ? {} : { where: placeText(where) },
    ...remedy === undefined ? {} : { remedy },
  })
}
