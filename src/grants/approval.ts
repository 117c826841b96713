/**
 * Approvals: k of n named keys sign for one call under one grant. An approval is bound to the hash of the leaf and to
 * the hash of the arguments, so it can be moved to no other grant, tool or call; it expires, and it counts once.
 *
 * The approver's public key travels in the header (`jwk`), and is believed because its thumbprint stands in the
 * grant. No directory of approvers is needed.
 */
import { utf8 } from '../bytes.ts'
import { type Jws, parseJws, signJws, verifyJws } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { isObject } from '../json.ts'
import type { Key, PublicKey, SignOptions } from '../keys/mod.ts'
import { argumentDigest, type JudgedCall } from './arguments.ts'
import { claimsJson } from './chain.ts'
import { holderJwk, holderKey, thumbprintUri } from './holder_key.ts'
import type { TimeBounds } from './invariants.ts'
import { provableArguments } from './proof.ts'
import { isName } from './sizes.ts'
import { uuid7 } from './uuid.ts'
import type { VerifiedGrant } from './verified.ts'

/** `typ` of an approval. */
export const APPROVAL_TYPE = 'signet-approval+jwt'
/** Most approvals that are looked at for one call. */
export const MAX_APPROVALS = 64

/** What is approved. */
export interface ApprovedCall {
  /** `id` of the grant: the hash of its leaf. */
  readonly grant: string
  /** The tool. */
  readonly tool: string
  /** The arguments, to the last one. */
  readonly args: unknown
  /** When the approval expires, in seconds. */
  readonly expiresAt: number
}

/** Signs an approval. Errors: `pop_mismatch` (arguments that are no JSON object), the key's. */
export async function signApproval(
  key: Key,
  call: ApprovedCall,
  options: SignOptions & { readonly now?: number | undefined; readonly jti?: string | undefined } =
    {},
): Promise<string> {
  const { now = Date.now() / 1000 } = options
  const claims = {
    jti: options.jti ?? uuid7(now * 1000),
    iss: thumbprintUri(key.publicKey),
    iat: Math.floor(now),
    exp: call.expiresAt,
    link: call.grant,
    tool: call.tool,
    args: argumentsHash(call.args),
  }
  return await signJws(utf8(JSON.stringify(claims)), key, {
    typ: APPROVAL_TYPE,
    header: { jwk: holderJwk(key.publicKey) },
    signal: options.signal,
  })
}

/** SHA-256 of the RFC 8785 form of arguments, base64url. */
export function argumentsHash(args: unknown): string {
  return argumentDigest(provableArguments(args).text)
}

/** An approval that holds for a call. */
export interface HeldApproval {
  /** Thumbprint of the key that gave it. */
  readonly approver: string
  /** Its name. */
  readonly jti: string
  /** When it expires, in seconds. */
  readonly expiresAt: number
}

/**
 * Those of some approvals that hold for a call, one per approver. `named` are the thumbprints that count; others are
 * left out before any signature is checked, and so is what does not hold.
 */
export async function heldApprovals(
  texts: readonly string[],
  named: ReadonlySet<string>,
  grant: VerifiedGrant,
  call: JudgedCall,
  times: TimeBounds,
): Promise<ReadonlyMap<string, HeldApproval>> {
  const held = new Map<string, HeldApproval>()
  const args = argumentDigest(call.args.text)
  for (const text of texts.slice(0, MAX_APPROVALS)) {
    try {
      const jws = parseJws(text)
      const { kid } = jws.header
      if (typeof kid !== 'string' || !named.has(kid) || held.has(kid)) continue
      const approver = await approverKey(jws)
      if (approver.id !== kid) continue
      const { payload } = await verifyJws(jws, approver, { typ: APPROVAL_TYPE })
      const claims = claimsJson(payload)
      const { jti, iat, exp } = claims
      if (
        isName(jti) && claims.iss === thumbprintUri(approver) &&
        typeof iat === 'number' && Number.isSafeInteger(iat) && iat <= times.now + times.skew &&
        typeof exp === 'number' && Number.isSafeInteger(exp) && exp > times.now && exp > iat &&
        exp - iat <= times.maxLifetime &&
        claims.link === grant.id && claims.tool === call.tool && claims.args === args
      ) held.set(approver.id, { approver: approver.id, jti, expiresAt: exp })
    } catch (error) {
      if (!isSignetError(error)) throw error
    }
  }
  return held
}

async function approverKey({ header: { jwk } }: Jws): Promise<PublicKey> {
  if (isObject(jwk)) return await holderKey(jwk)
  throw new SignetError('key_malformed', 'an approval names no key')
}
