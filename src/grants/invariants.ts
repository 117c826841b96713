/**
 * The invariants between a parent and its child: I1 to I5 (draft §4), and ours about the audience. The same
 * function judges before a child is signed and whenever a chain is verified.
 */
import { SignetError } from '../errors.ts'
import { widening } from './capability.ts'
import { capabilityOf, type GrantClaims, THUMBPRINT_URI } from './claims.ts'
import { MAX_DEPTH, MAX_LIFETIME, MAX_SKEW } from './sizes.ts'

/** What a parent is to its child. */
export interface ParentLink {
  /** Its claims. */
  readonly claims: GrantClaims
  /** Thumbprint of its holder's key. */
  readonly holder: string
  /** SHA-256 of its signing input, base64url. */
  readonly hash: string
}

/** Bounds of time. All in seconds. */
export interface TimeBounds {
  /** The time it is. */
  readonly now: number
  /** How far in the future `iat` may lie. */
  readonly skew: number
  /** Longest time from `iat` to `exp`. */
  readonly maxLifetime: number
}

/** Bounds of time, with the defaults filled in. */
export function timeBounds(options: {
  readonly now?: number | undefined
  readonly skew?: number | undefined
  readonly maxLifetime?: number | undefined
}): TimeBounds {
  const { now = Date.now() / 1000, skew = MAX_SKEW, maxLifetime = MAX_LIFETIME } = options
  // NaN would answer no to every comparison, and so let everything pass.
  if (!Number.isFinite(now) || !(skew >= 0) || !(maxLifetime > 0)) {
    throw new TypeError('the time is a number of seconds')
  }
  return { now, skew, maxLifetime }
}

/** Checks the times of one token against the clock (I3). */
export function checkTimes(
  { iat, exp }: GrantClaims,
  { now, skew, maxLifetime }: TimeBounds,
): void {
  if (!(iat <= now + skew)) {
    throw new SignetError('grant_not_yet_valid', 'the grant was issued in the future', {
      where: 'iat',
      remedy: 'compare the clocks of this machine and of the issuer',
    })
  }
  if (!(exp > now)) {
    throw new SignetError('grant_expired', 'the grant has expired', { where: 'exp' })
  }
  if (!(exp - iat <= maxLifetime)) {
    throw new SignetError('grant_lifetime', `the grant is valid for more than ${maxLifetime} s`, {
      where: 'exp',
    })
  }
}

/** Checks what a root must be (draft §7 step 3). */
export function checkRoot(claims: GrantClaims, maxDepth: number = MAX_DEPTH): void {
  if (claims.depth !== 0) throw depth('a root has depth 0', 'del_depth')
  if (claims.parentHash !== undefined) throw unlinked('a root has no parent', 'par_hash')
  if (claims.maxDepth > maxDepth) {
    throw depth(`the chain may become deeper than ${maxDepth}`, 'del_max_depth')
  }
  if (claims.iss.startsWith(THUMBPRINT_URI)) throw unlinked('a root is issued by an issuer', 'iss')
  if (claims.capability === undefined) throw noTools()
}

/** Checks a child against its parent. The signature is checked elsewhere. */
export function checkChild(
  parent: ParentLink,
  child: GrantClaims,
  maxDepth: number = MAX_DEPTH,
): void {
  const above = parent.claims
  if (child.iss !== THUMBPRINT_URI + parent.holder) {
    throw unlinked('it was not issued by the holder of its parent', 'iss')
  }
  if (child.depth !== above.depth + 1) {
    throw depth('a child is one deeper than its parent', 'del_depth')
  }
  if (child.depth > above.maxDepth || child.depth > child.maxDepth || child.depth > maxDepth) {
    throw depth('the chain is deeper than it may be', 'del_depth')
  }
  if (child.maxDepth > above.maxDepth) {
    throw depth('a child lets the chain become deeper than its parent', 'del_max_depth')
  }
  if (child.exp > above.exp) {
    throw new SignetError('grant_lifetime', 'a child outlives its parent', { where: 'exp' })
  }
  if (child.iat < above.iat) {
    throw new SignetError('grant_lifetime', 'a child is older than its parent', { where: 'iat' })
  }
  if (child.parentHash !== parent.hash) throw unlinked('it has another parent', 'par_hash')
  const wider = widening(capabilityOf(above), capabilityOf(child))
  if (wider !== undefined) throw widened(wider, 'authorization_details')
  // A child that names nobody would be for everybody.
  if (above.audience !== undefined) {
    if (
      child.audience === undefined || !child.audience.every((one) => above.audience!.includes(one))
    ) {
      throw widened('a child is for more than its parent is', 'aud')
    }
  }
}

/** Checks what a leaf must be (draft §7 step 6a). */
export function checkLeaf(claims: GrantClaims): void {
  if (claims.capability === undefined) throw noTools()
}

function noTools(): SignetError {
  return new SignetError('grant_malformed', 'grant: no entry of tools', {
    where: 'authorization_details',
  })
}

function depth(why: string, where: string): SignetError {
  return new SignetError('grant_depth', why, { where })
}

function unlinked(why: string, where: string): SignetError {
  return new SignetError('grant_unlinked', `the chain does not hold together: ${why}`, { where })
}

function widened(why: string, where: string): SignetError {
  return new SignetError('grant_widened', why, { where })
}
