/**
 * A grant as it travels: a chain of tokens, root first, in an array or as a text with one token per line. Nothing
 * here is verified.
 */
import { toBase64Url } from '../bytes.ts'
import { type Jws, parseJws } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
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

/**
 * Refuses a chain in which a token stands twice (draft §7 step 2c). Only `jti` is taken out of the payloads, by the
 * platform's parser, and forgotten: claims are read when the signature holds, strictly, and then compared again.
 */
export function checkCycle(tokens: readonly Jws[]): void {
  checkDistinct(tokens.map(({ payload }) => {
    let json: unknown
    try {
      json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    } catch { // also a stack that is too deep
      throw malformed('the claims are not JSON')
    }
    const jti = typeof json === 'object' && json !== null
      ? (json as { jti?: unknown }).jti
      : undefined
    if (typeof jti !== 'string' || jti === '') throw malformed('a token without a name', 'jti')
    return jti
  }))
}

/** Refuses names that stand twice. */
export function checkDistinct(names: readonly string[]): void {
  if (new Set(names).size !== names.length) {
    throw new SignetError('grant_cycle', 'a token stands twice in the chain', { where: 'jti' })
  }
}

/** Claims as JSON, strictly. Errors: those of {@link parseJson}. */
export function claimsJson(payload: Uint8Array): JsonObject {
  const json = parseJson(payload, { what: 'claims', maxDepth: MAX_JSON_DEPTH, maxValues: 20_000 })
  if (!isObject(json)) throw malformed('the claims are not an object')
  return json
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
