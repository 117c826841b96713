/**
 * A verifier that remembers the chains it has verified. What it remembers is found by the whole text of the chain, so
 * that no two chains can be taken for each other; what depends on the time is checked again each time.
 */
import { checkSizes, type GrantChain } from './chain.ts'
import { SignetError } from '../errors.ts'
import { timeBounds } from './invariants.ts'
import type { VerifiedGrant } from './verified.ts'
import { type TrustedIssuer, verifyGrant, type VerifyGrantOptions } from './verify.ts'

/** Options of {@link grantVerifier}: those of `verifyGrant`, but the time, which comes with each chain. */
export interface GrantVerifierOptions extends Omit<VerifyGrantOptions, 'now'> {
  /** Most chains that are remembered. Default 1000. */
  readonly maxGrants?: number | undefined
  /** Most characters of chains that are remembered. Default 16 Mi. */
  readonly maxChars?: number | undefined
}

/** Verifies chains under fixed trust. When the issuers or their keys change, make another one. */
export interface GrantVerifier {
  /** As `verifyGrant`; the second time it costs microseconds. `now` in seconds; default: the clock. */
  verify(chain: GrantChain, now?: number): Promise<VerifiedGrant>
}

/** Makes a {@link GrantVerifier}. Chains that do not hold are not remembered. */
export function grantVerifier(
  trusted: readonly TrustedIssuer[],
  options: GrantVerifierOptions = {},
): GrantVerifier {
  const { maxGrants = 1000, maxChars = 16 * 2 ** 20, ...rest } = options
  const pinned = trusted.map(({ issuer, keys }) => ({ issuer, keys: [...keys] }))
  /** Least recently used first. */
  const known = new Map<string, VerifiedGrant>()
  let chars = 0

  const remember = (text: string, grant: VerifiedGrant) => {
    if (text.length > maxChars || maxGrants < 1 || known.has(text)) return
    known.set(text, grant)
    chars += text.length
    for (const oldest of known.keys()) {
      if (known.size <= maxGrants && chars <= maxChars) break
      known.delete(oldest)
      chars -= oldest.length
    }
  }

  return {
    async verify(given, now = Date.now() / 1000) {
      // Read once: what is verified must be what is remembered.
      const chain = Array.isArray(given) ? [...given] : given
      checkSizes(chain)
      // With the lengths in front: the same text cut elsewhere is another chain.
      const text = `${chain.map(({ length }) => length)} ${chain.join('')}`
      const grant = known.get(text)
      if (grant === undefined) {
        const fresh = await verifyGrant(chain, pinned, { ...rest, now })
        remember(text, fresh)
        return fresh
      }
      known.delete(text)
      known.set(text, grant)
      checkNow(grant, now, rest.skew)
      return grant
    },
  }
}

/** The times of all links: a child begins no sooner and ends no later than its parent, so the leaf stands for them. */
function checkNow(grant: VerifiedGrant, time: number, skew: number | undefined): void {
  const bounds = timeBounds({ now: time, skew })
  if (!(grant.expiresAt > bounds.now)) {
    throw new SignetError('grant_expired', 'the grant has expired', { where: 'exp' })
  }
  if (!(grant.issuedAt <= bounds.now + bounds.skew)) {
    throw new SignetError('grant_not_yet_valid', 'the grant was issued in the future', {
      where: 'iat',
    })
  }
}
