/** Chains that no honest program would sign: claims and headers exactly as told, with valid signatures. */
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, toBase64Url, utf8 } from '../../src/bytes.ts'
import { parseJws } from '../../src/envelope/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  holderJwk,
  thumbprintUri,
  type ToolsJson,
  type TrustedIssuer,
  verifyGrant,
  type VerifyGrantOptions,
} from '../../src/grants/mod.ts'
import { generateKey, type Key, signMessage } from '../../src/keys/mod.ts'
import { portableSha256 } from '../../src/log/mod.ts'

export const NOW = 1_800_000_000
export const ISSUER = 'https://auth.example.com'

const person = (): Promise<Key> => generateKey(ALGORITHMS.Ed25519)
export const issuer: Key = await person()
export const alice: Key = await person()
export const bob: Key = await person()
export const carol: Key = await person()
export const mallory: Key = await person()

export const TRUSTED: readonly TrustedIssuer[] = [{ issuer: ISSUER, keys: [issuer.publicKey] }]

export type Claims = Record<string, unknown>

export const details = (tools: unknown): unknown[] => [{ type: 'attenuating_agent_token', tools }]

/** Tools that the chains here begin with. */
export const TOOLS: ToolsJson & { readonly read_file: ToolsJson[string] } = {
  'calendar:read': {},
  'read_file': { path: { constraint_type: 'one_of', values: ['/a', '/b'] } },
}

/** Signs what it is given. Members that are undefined are left out. */
export async function forge(key: Key, claims: unknown, header: object = {}): Promise<string> {
  const head = { alg: 'EdDSA', typ: 'aat+jwt', kid: key.publicKey.id, ...header }
  const body = typeof claims === 'string' ? claims : JSON.stringify(claims)
  const text = `${toBase64Url(utf8(JSON.stringify(head)))}.${toBase64Url(utf8(body))}`
  return `${text}.${toBase64Url(await signMessage(key, utf8(text)))}`
}

/** Claims of a good root for alice. */
export function rootClaims(more: Claims = {}): Claims {
  return {
    jti: 'root',
    iss: ISSUER,
    iat: NOW,
    exp: NOW + 3600,
    del_depth: 0,
    del_max_depth: 3,
    cnf: { jwk: holderJwk(alice.publicKey) },
    authorization_details: details(TOOLS),
    ...more,
  }
}

export const hashOf = (token: string): string =>
  toBase64Url(portableSha256(parseJws(token).signingInput))

/** Claims of a good child of a token, with all its authority, for bob. */
export function childClaims(parent: string, signer: Key = alice, more: Claims = {}): Claims {
  const above = JSON.parse(fromUtf8(parseJws(parent).payload))
  return {
    jti: `${above.jti}+`,
    iss: thumbprintUri(signer.publicKey),
    iat: above.iat,
    exp: above.exp,
    del_depth: above.del_depth + 1,
    del_max_depth: above.del_max_depth,
    par_hash: hashOf(parent),
    cnf: { jwk: holderJwk(bob.publicKey) },
    ...above.aud === undefined ? {} : { aud: above.aud },
    authorization_details: above.authorization_details,
    ...more,
  }
}

/** A root and a child with the given changes. */
export async function pair(child: Claims = {}, root: Claims = {}): Promise<string[]> {
  const token = await forge(issuer, rootClaims(root))
  return [token, await forge(alice, childClaims(token, alice, child))]
}

/** `ok`, or the code with which a chain is refused; a raw error is none of the answers. */
export async function verdict(
  chain: readonly string[],
  options: VerifyGrantOptions = {},
): Promise<string> {
  try {
    await verifyGrant(chain, TRUSTED, { now: NOW + 10, ...options })
    return 'ok'
  } catch (error) {
    if (isSignetError(error)) return error.code
    throw error
  }
}
