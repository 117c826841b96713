/** The dialect's part of the gateway's grants. */
import type { GrantRecord } from '../records.ts'

/** What the dialect keeps with a grant. */
export interface GrantExtra {
  readonly [name: string]: string | number | undefined
  readonly dialect: 'grantex'
  readonly developer: string
  readonly depth: number
  readonly parentAgent?: string | undefined
}

/** The dialect's part of a grant; undefined for a grant that is not of the dialect. */
export function extraOf(grant: GrantRecord): GrantExtra | undefined {
  return grant.extra?.dialect === 'grantex' ? grant.extra as unknown as GrantExtra : undefined
}
