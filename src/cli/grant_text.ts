/** What people read about a grant. */
import type { CallDecision, VerifiedGrant } from '../grants/mod.ts'
import { printable, table } from './text.ts'

/** One token of a chain, in a report. */
export interface LinkReport {
  readonly jti: string
  readonly issuer: string
  readonly holder: string
  readonly issuedAt: string
  readonly expiresAt: string
  readonly limits?: Readonly<Record<string, unknown>> | undefined
  /** What is known about its revocation. */
  readonly revocation: string
}

/** The report of a verified grant. */
export function grantText(
  grant: VerifiedGrant,
  links: readonly LinkReport[],
  call: CallDecision | undefined,
  ok: boolean,
): string {
  const { audience, scopes, tools } = grant
  const constrained = tools.filter((tool) => !scopes.includes(tool))
  const facts = [
    ['issuer', grant.issuer],
    ['holder', grant.holder.id],
    ['audience', audience === undefined ? 'anybody who trusts the issuer' : audience.join(', ')],
    ['depth', `${grant.depth} of at most ${grant.maxDepth}`],
    ['expires', links.at(-1)!.expiresAt],
    ['scopes', scopes.length === 0 ? 'none' : scopes.join(', ')],
    ['constrained', constrained.length === 0 ? 'none' : constrained.join(', ')],
  ].map((row) => row.map(printable))
  const chain = links.map(({ jti, holder, expiresAt, revocation, limits }, at) =>
    [
      `  ${at}`,
      jti,
      `for ${holder}`,
      `until ${expiresAt}`,
      revocation,
      limits === undefined ? '' : `limits on ${Object.keys(limits).join(', ')}`,
    ].map(printable)
  )
  const parts = [table(facts), table(chain)]
  if (call !== undefined) {
    parts.push(
      call.allowed ? 'the call is covered' : `denied: ${printable(call.reason)} [${call.code}]`,
    )
    if (links.some(({ limits }) => limits !== undefined)) {
      parts.push('limits are counted where the call is made, not here')
    }
  }
  return [...parts, ok ? 'valid' : 'NOT valid'].join('\n')
}
