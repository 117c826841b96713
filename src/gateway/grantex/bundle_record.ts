/** What the dialect keeps with a bundle, on top of what the gateway does. */
import type { JsonObject } from '../../json.ts'
import type { BundleRecord } from '../records.ts'
import type { Stored } from '../store.ts'
import { type Call, notFound } from './call.ts'

/** A chain of entries of one bundle. */
export interface ChainExtra {
  readonly dialect: 'grantex-ts' | 'grantex-py'
  readonly seq: number
  readonly hash: string
  readonly time: number
}

/** What the dialect keeps with a bundle. */
export interface BundleExtra {
  readonly dialect: 'grantex'
  readonly tenant: string
  readonly scopes: readonly string[]
  readonly ttl: string
  readonly deviceId?: string | undefined
  readonly devicePlatform?: string | undefined
  /** When the newest generation was issued. */
  readonly issuedAt: number
  /** The audit keys of all generations, public JWKs, the newest last. Not `keys`: they open nothing of ours. */
  readonly auditKeys: readonly JsonObject[]
  /** `jti` of its token. */
  readonly jti: string
  readonly lastSyncAt?: number | undefined
  /** Logs that devices began under the bundle; more than one is a finding. */
  readonly chains: readonly ChainExtra[]
}

/** The dialect's part of a bundle. */
export function bundleExtra(bundle: BundleRecord): BundleExtra {
  return bundle.extra as unknown as BundleExtra
}

/** A bundle of the caller, 404 if there is none. */
export async function bundleOf(call: Call, id: string): Promise<Stored<BundleRecord>> {
  const found = await call.dialect.world.store.records.get('bundle', id)
  const extra = found?.record.extra
  if (found === undefined || extra?.dialect !== 'grantex' || extra.tenant !== call.tenant) {
    throw notFound('Consent bundle')
  }
  return found
}

/** Logs that a device may begin under one bundle: it lost its file, or a client restarted its numbers. */
export const MAX_CHAINS = 16

/** The name under which the entries of a chain are kept. */
export function logName(bundle: string, chain: number): string {
  return `grantex:${bundle}:${chain}`
}
