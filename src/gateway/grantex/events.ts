/**
 * What happens, as webhooks are told of it. Each function gives the changes by which a message gets into the outbox; they
 * are committed with what happened, or not at all.
 */
import type { JsonObject } from '../../json.ts'
import { newId } from '../ids.ts'
import { enqueue } from '../outbox.ts'
import type { BundleRecord, GrantRecord } from '../records.ts'
import type { Change } from '../store.ts'
import { type Dialect, iso, scopesOf } from './call.ts'
import { extraOf } from './grant_extra.ts'
import { type EventType, webhooksOf } from './webhooks.ts'

/** Something that happened, and what is told of it. */
export type Happening = readonly [EventType, JsonObject]

/** Messages to all webhooks of a developer that want to know. */
export async function told(
  { world: { store, now }, webhooks }: Dialect,
  tenant: string,
  happenings: readonly Happening[],
): Promise<Change[]> {
  if (webhooks === undefined) return []
  const hooks = await webhooksOf(store, tenant)
  if (hooks.length === 0) return []
  const at = now()
  return happenings.flatMap(([type, data]) => {
    const event = newId('evt_', at * 1000)
    const body = JSON.stringify({ id: event, type, createdAt: iso(at), data })
    return hooks.filter(({ events }) => events.includes(type))
      .flatMap(({ id: hook, url }) => enqueue({ hook, owner: tenant, event, type, body, url }, at))
  })
}

/** A grant that came to be. */
export function grantCreated(grant: GrantRecord): Happening {
  const { depth } = extraOf(grant)!
  return ['grant.created', {
    ...grantData(grant),
    ...(depth === 0 ? {} : { delegationDepth: depth, parentGrantId: grant.parent }),
  }]
}

/** A token of a grant. */
export function tokenIssued(grant: GrantRecord, jti: string, expiresAt: number): Happening {
  return ['token.issued', { tokenId: jti, ...grantData(grant), expiresAt: iso(expiresAt) }]
}

/** The end of a grant. One message for each, of those that were made out of it too. */
export async function grantRevoked(
  dialect: Dialect,
  grant: GrantRecord,
  cascade: boolean,
): Promise<Change[]> {
  const extra = extraOf(grant)
  if (extra === undefined) return []
  const { id: grantId, agent: agentId, principal: principalId, reason } = grant
  return await told(dialect, extra.developer, [
    ['grant.revoked', { grantId, cascade, agentId, principalId, reason }],
  ])
}

/** The end of a bundle. */
export async function bundleRevoked(dialect: Dialect, bundle: BundleRecord): Promise<Change[]> {
  const { id: bundleId, grant: grantId, extra = {}, reason } = bundle
  if (extra.dialect !== 'grantex' || typeof extra.tenant !== 'string') return []
  return await told(dialect, extra.tenant, [
    ['consent_bundle.revoked', { bundleId, grantId, reason }],
  ])
}

function grantData(grant: GrantRecord): JsonObject {
  return {
    grantId: grant.id,
    agentId: grant.agent,
    principalId: grant.principal,
    scopes: scopesOf(grant.asked),
    expiresAt: iso(grant.expiresAt),
  }
}
