/** Grants as files, and what their tokens say. */
import { fromUtf8 } from '../bytes.ts'
import { parseJws } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { type GrantChain, parseChain } from '../grants/mod.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import type { Run } from './context.ts'

const MAX_FILE = 2 ** 20

/** The chain of a file. Nothing of it is verified. */
export async function readChain(run: Run, file: string): Promise<GrantChain> {
  return parseChain(fromUtf8(await run.backends.readFile(file, MAX_FILE), 'grant'))
}

/** The claims of a token, unverified. */
export function claimsOf(token: string): JsonObject {
  const claims = parseJson(parseJws(token).payload, { what: 'claims', maxDepth: 128 })
  if (isObject(claims)) return claims
  throw new SignetError('grant_malformed', 'grant: the claims are not an object')
}

/** Seconds since 1970 as people read them. */
export function iso(at: number): string {
  return at > 8.64e12 ? String(at) : new Date(at * 1000).toISOString()
}
