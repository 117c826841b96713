/**
 * A grant as it travels: a chain of tokens, root first, in an array or as a text with one token per line. Nothing
 * here is verified.
 */
import { fromUtf8, toBase64Url } from '../bytes.ts'
import { type Jws, parseJws } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { isObject, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { portableSha256, type Sha256 } from '../log/mod.ts'
import { malformed, MAX_CHAIN_CHARS, MAX_DEPTH, MAX_JSON_DEPTH, MAX_TOKEN_CHARS } from './sizes.ts'

/** A grant as it travels: compact JWS, root first. */
export type GrantChain = readonly string[]

/** Reads a chain out of a text with one token per line. Errors: `grant_malformed`, `too_large`. */
export function parseChain(text: string): GrantChain {
  if (text.length > MAX_CHAIN_CHARS + MAX_DEPTH * 2) throw tooLarge('chain', MAX_CHAIN_CHARS)
  const chain = text.split(/\r?\n/).filter((line) => line !== '')
  if (!chain.every((token) => /^[\w.-]+$/.test(token))) {
    throw malformed('a line is no token: base64url with dots between')
  }
  checkSizes(chain)
  return chain
}

/** A chain as a text with one token per line. */
export function formatChain(chain: GrantChain): string {
  return chain.map((token) => `${token}\n`).join('')
}

/** Checks the sizes of a chain (draft §7 steps 1, 2a, 2b). Errors: `grant_malformed`, `too_large`. */
export function checkSizes(chain: GrantChain): void {
  if (!Array.isArray(chain) || chain.length === 0) throw malformed('an empty chain')
  if (chain.length > MAX_DEPTH + 1) throw tooLarge('chain', `${MAX_DEPTH + 1} tokens`)
  let sum = 0
  for (const token of chain as readonly unknown[]) {
    if (typeof token !== 'string') throw malformed('a token is no text')
    if (token.length > MAX_TOKEN_CHARS) throw tooLarge('token', MAX_TOKEN_CHARS)
    sum += token.length
  }
  if (sum > MAX_CHAIN_CHARS) throw tooLarge('chain', MAX_CHAIN_CHARS)
}

function tooLarge(what: string, limit: number | string): SignetError {
  return new SignetError(
    'too_large',
    `grant: a ${what} of more than ${limit}${typeof limit === 'number' ? ' characters' : ''}`,
  )
}

/** The tokens of a chain, taken apart. Errors: those of {@link checkSizes}, and `token_malformed`. */
export function readTokens(chain: GrantChain): Jws[] {
  checkSizes(chain)
  return chain.map((token) => parseJws(token, { maxLength: MAX_TOKEN_CHARS }))
}

/** A token of which as much was looked at as may be before its signature holds. */
export interface Peeked extends Jws {
  /** Its name. Unverified. */
  readonly jti: string
  /** The holder's key as it stands there, if it does. Unverified: good for nothing but to begin early. */
  readonly holder: JsonObject | undefined
  /** The claims as JSON, strictly. Nobody reads more of it before the signature holds. */
  readonly json: JsonObject
}

/**
 * Looks at tokens before their signatures hold (draft §7 step 2c): that each is JSON with a name, and that none stands
 * twice. Only `jti` and the holder's key are taken out; claims are read when the signature holds.
 */
export function peekTokens(tokens: readonly Jws[]): Peeked[] {
  const peeked = tokens.map((token): Peeked => {
    const json = claimsJson(token.payload)
    const { jti, cnf } = json
    if (typeof jti !== 'string' || jti === '') throw malformed('a token without a name', 'jti')
    const holder = isObject(cnf) && isObject(cnf.jwk) ? cnf.jwk : undefined
    return { ...token, jti, holder, json }
  })
  checkDistinct(peeked.map(({ jti }) => jti))
  return peeked
}

/** Refuses names that stand twice. */
export function checkDistinct(names: readonly string[]): void {
  if (new Set(names).size !== names.length) {
    throw new SignetError('grant_cycle', 'a token stands twice in the chain', { where: 'jti' })
  }
}

/**
 * Claims as JSON, strictly. Where the text is plain the platform's parser does it, in half the time: when writing what
 * it read gives the same text again, no name stood twice and no number was changed. What that does not show is looked
 * for: long numbers, lone surrogates, and depth.
 *
 * Errors: those of strict JSON, and `grant_malformed`.
 */
export function claimsJson(payload: Uint8Array): JsonObject {
  const text = fromUtf8(payload, 'claims')
  const json = plainJson(text) ?? parseJson(text, { what: 'claims', maxDepth: MAX_JSON_DEPTH })
  if (!isObject(json)) throw malformed('the claims are not an object')
  return json
}

function plainJson(text: string): JsonValue | undefined {
  // At least as many brackets and braces open as there are levels.
  const levels = occurrences(text, '[') + occurrences(text, '{')
  if (levels > MAX_JSON_DEPTH || text.includes('\\ud') || /[0-9]{16}/.test(text)) return undefined
  try {
    const json = JSON.parse(text)
    return JSON.stringify(json) === text ? json : undefined
  } catch { // the strict parser says what is wrong
    return undefined
  }
}

function occurrences(text: string, unit: string): number {
  let count = 0
  for (let at = text.indexOf(unit); at >= 0; at = text.indexOf(unit, at + 1)) count++
  return count
}

/** What a child calls its parent: SHA-256 of the signing input (draft §4.6). */
export function linkHash({ signingInput }: Jws, sha256: Sha256 = portableSha256): string {
  return toBase64Url(sha256(signingInput))
}

/**
 * The claim `limits` and its mention in `crit` belong together: without the mention a reader that does not know the
 * claim would leave it out of account.
 */
export function checkCritical(header: JsonObject, hasLimits: boolean): void {
  const { crit } = header
  const isMarked = Array.isArray(crit) && crit.includes('limits') && header.limits === true
  if (isMarked !== hasLimits) {
    throw malformed('"limits" in the claims and in "crit" do not agree', 'limits')
  }
}

/** Names in `crit` that are understood here. */
export const UNDERSTOOD: readonly string[] = ['limits']
