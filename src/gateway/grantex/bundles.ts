/**
 * Consent bundles. One comes to be only where somebody said yes: a grant of the principal that was approved and
 * covers the scopes, or a policy that allows them for this agent and principal. Else it is refused with 403.
 */
import * as v from 'valibot'
import { newGrantexAuditKey } from '../../interop/grantex/mod.ts'
import type { JsonObject } from '../../json.ts'
import { newId } from '../ids.ts'
import type { AgentRecord, Asked, BundleRecord, GrantRecord } from '../records.ts'
import {
  bundleStanding,
  grantStanding,
  revokeBundle as endBundle,
  revokeGrant as endGrant,
} from '../standing.ts'
import { everyRecord, retrying, type Stored } from '../store.ts'
import { agentOf, type Issued, newGrant, newToken, supersede } from './authority.ts'
import { extraOf } from './grant_extra.ts'
import {
  type Answer,
  askedFor,
  bodyOf,
  type Call,
  type Dialect,
  iso,
  MOST_OFFLINE,
  Refusal,
  scopeList,
  scopesOf,
  secondsOf,
  text,
} from './call.ts'
import { bundleExtra, bundleOf } from './bundle_record.ts'
import { checkScopes } from './consent.ts'
import { told } from './events.ts'
import { admitted } from './people.ts'
import { isAllowedByPolicy } from './policies.ts'

const REVOKED = 'revoked by the developer'
/** Audit keys of one bundle, over its whole life. */
const MAX_GENERATIONS = 1000

const CREATE = v.object({
  agentId: text(128),
  userId: text(200),
  scopes: scopeList,
  offlineTTL: v.optional(v.string(), '72h'),
  offlineAuditKeyAlgorithm: v.optional(v.literal('Ed25519')),
  deviceId: v.optional(text(200)),
  devicePlatform: v.optional(text(100)),
})

/** `POST /v1/consent-bundles`. */
export async function createBundle(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { store, now: clock } = dialect.world
  const asks = bodyOf(call, CREATE)
  const seconds = secondsOf(asks.offlineTTL)
  if (seconds === undefined) throw new Refusal(400, 'INVALID_TTL', 'offlineTTL is no duration')
  if (seconds > MOST_OFFLINE) throw new Refusal(422, 'INVALID_TTL', 'offlineTTL is above 168h')
  const { record: agent } = await agentOf(dialect, tenant, asks.agentId, true)
  checkScopes(agent.tools, asks.scopes)
  await admitted(dialect, asks.userId, tenant)
  const now = clock()
  const asked = askedFor(dialect, asks.scopes, offlineSeconds(dialect, seconds), dialect.maxDepth)
  const id = newId('bundle_', now * 1000)
  const audit = await newGrantexAuditKey()
  const extra = {
    dialect: 'grantex' as const,
    tenant,
    scopes: asks.scopes,
    ttl: asks.offlineTTL,
    deviceId: asks.deviceId,
    devicePlatform: asks.devicePlatform,
    issuedAt: now,
    auditKeys: [audit.publicKey.jwk],
    chains: [],
  }
  return await retrying(async () => {
    const { grant, token, changes } = await authority(call, agent, asks.userId, asked, id)
    const record: BundleRecord = {
      id,
      grant: grant.id,
      agent: agent.id,
      principal: asks.userId,
      // No device of ours: its audit key travelled, and must open nothing else.
      device: `grantex:${id}`,
      deviceKey: {},
      generation: 1,
      jws: '',
      keys: [],
      createdAt: now,
      expiresAt: Math.min(now + asked.duration, grant.expiresAt),
      seenAt: now,
      status: 'active',
      extra: { ...extra, jti: grant.jti },
    }
    const created = await told(dialect, tenant, [[
      'consent_bundle.created',
      { bundleId: id, agentId: agent.id, grantId: grant.id, userId: asks.userId },
    ]])
    await store.commit([...changes, { put: 'bundle', record, version: 0 }, ...created])
    return { status: 201, body: wireBundle(dialect, record, token, audit.pem) }
  })
}

/** The grant under which a bundle may be issued, with a token of its own; 403 where nobody said yes. */
async function authority(
  call: Call,
  agent: AgentRecord,
  principal: string,
  asked: Asked,
  bundle: string,
): Promise<Issued> {
  const { dialect, tenant } = call
  const now = dialect.world.now()
  if (await isAllowed(dialect, agent, principal, asked)) {
    const expiresAt = now + asked.duration
    return await newGrant(dialect, {
      ...{ agent: agent.id, principal, developer: tenant, asked, expiresAt, bundle },
    })
  }
  const consented = await consentedGrant(call, agent, principal, scopesOf(asked))
  if (consented === undefined) {
    throw new Refusal(
      403,
      'CONSENT_REQUIRED',
      'the principal has not consented to these scopes, and no policy allows them; ' +
        'ask with POST /v1/authorize first',
    )
  }
  // The token is narrower than the grant: what was asked, not all that was once consented to.
  const isPart = scopesOf(asked).length < scopesOf(consented.record.asked).length
  const expiresAt = Math.min(now + asked.duration, consented.record.expiresAt)
  if (isPart) {
    const { audience, maxDepth } = consented.record.asked
    return await newGrant(dialect, {
      ...{ agent: agent.id, principal, developer: tenant, isPart, bundle },
      asked: { ...asked, audience, maxDepth: Math.min(asked.maxDepth, maxDepth) },
      ...{ parent: consented.record, expiresAt: consented.record.expiresAt },
      tokenExpiresAt: expiresAt,
    })
  }
  return await newToken(dialect, consented, expiresAt, bundle)
}

/** Whether a bundle may come to be without a person. Errors: 403 `POLICY_DENIED`. */
async function isAllowed(
  dialect: Dialect,
  agent: AgentRecord,
  principal: string,
  asked: Asked,
): Promise<boolean> {
  return await isAllowedByPolicy(dialect, agent, principal, asked) || dialect.isSandbox
}

/** The grant of this principal to this agent that has the scopes and holds longest. */
async function consentedGrant(
  call: Call,
  agent: AgentRecord,
  principal: string,
  scopes: readonly string[],
): Promise<Stored<GrantRecord> | undefined> {
  const { dialect, tenant } = call
  let best: Stored<GrantRecord> | undefined
  const { records } = dialect.world.store
  for await (const found of everyRecord(records, 'grant', `principal:${principal}`)) {
    const { record } = found
    if (record.agent !== agent.id || extraOf(record)?.developer !== tenant) continue
    if (record.request === undefined || record.parent !== undefined) continue
    const has = scopesOf(record.asked)
    if (!scopes.every((scope) => has.includes(scope))) continue
    if ((await grantStanding(dialect.world, record)).state !== 'active') continue
    if (best === undefined || record.expiresAt > best.record.expiresAt) best = found
  }
  return best
}

function wireBundle(
  dialect: Dialect,
  bundle: BundleRecord,
  grantToken: string,
  offlineAuditKey: JsonObject,
): JsonObject {
  const { issuedAt } = bundleExtra(bundle)
  const offlineExpiresAt = iso(bundle.expiresAt)
  return {
    bundleId: bundle.id,
    grantToken,
    jwksSnapshot: { keys: dialect.jwks, fetchedAt: iso(issuedAt), validUntil: offlineExpiresAt },
    offlineAuditKey,
    checkpointAt: issuedAt * 1000,
    syncEndpoint: `${dialect.base}/v1/audit/offline-sync`,
    offlineExpiresAt,
  }
}

/** `POST /v1/consent-bundles/:id/refresh`: a new token and a new audit key. Earlier keys stay known. */
export async function refreshBundle(call: Call): Promise<Answer> {
  bodyOf(call, v.looseObject({}), true)
  const fresh = await renew(call, call.params[0]!)
  return { status: 200, body: fresh }
}

/** The next generation of a bundle, as it goes over the wire. Errors: 404, 409. */
export async function renew(call: Call, id: string): Promise<JsonObject> {
  const { dialect } = call
  const { store, now: clock } = dialect.world
  const audit = await newGrantexAuditKey()
  return await retrying(async () => {
    const { record: bundle, version } = await bundleOf(call, id)
    const now = clock()
    const found = await store.records.get('grant', bundle.grant)
    const standing = await bundleStanding(dialect.world, bundle)
    if (bundle.status === 'revoked') throw conflict('BUNDLE_REVOKED', 'the bundle is revoked')
    if (bundle.expiresAt <= now) throw conflict('BUNDLE_EXPIRED', 'the bundle has expired')
    if (standing.state !== 'active' || found === undefined) {
      throw conflict('GRANT_INACTIVE', 'the grant is no longer good')
    }
    const extra = bundleExtra(bundle)
    if (extra.auditKeys.length >= MAX_GENERATIONS) {
      throw conflict('BUNDLE_EXPIRED', 'the bundle was refreshed too often; make a new one')
    }
    const seconds = offlineSeconds(dialect, secondsOf(extra.ttl)!)
    const grant = await extended(dialect, found.record, seconds)
    const { version: grantVersion } = found
    const { grant: renewed, token, changes } = await newToken(
      dialect,
      { record: grant, version: grantVersion },
      now + seconds,
      id,
    )
    const record: BundleRecord = {
      ...bundle,
      generation: bundle.generation + 1,
      expiresAt: Math.min(now + seconds, grant.expiresAt),
      seenAt: now,
      extra: {
        ...extra,
        issuedAt: now,
        jti: renewed.jti,
        auditKeys: [...extra.auditKeys, audit.publicKey.jwk],
      } as unknown as JsonObject,
    }
    await store.commit([
      ...changes,
      ...await supersede(dialect, extra.jti),
      { put: 'bundle', record, version },
    ])
    return wireBundle(dialect, record, token, audit.pem)
  })
}

/** How long a bundle is good at a time: what was asked for, cut to what the operator lets any device go alone. */
function offlineSeconds({ world: { ceilings } }: Dialect, seconds: number): number {
  return Math.min(seconds, ceilings.offlineAge, ceilings.duration)
}

/** A grant that a policy gave goes on if the policy still allows it; one that a person gave ends when they said. */
async function extended(
  dialect: Dialect,
  grant: GrantRecord,
  seconds: number,
): Promise<GrantRecord> {
  if (grant.request !== undefined || grant.parent !== undefined) return grant
  const agent = await dialect.world.store.records.get('agent', grant.agent)
  const still = agent !== undefined &&
    await isAllowed(dialect, agent.record, grant.principal, grant.asked)
  return still
    ? { ...grant, expiresAt: Math.max(grant.expiresAt, dialect.world.now() + seconds) }
    : grant
}

function conflict(code: string, message: string): Refusal {
  return new Refusal(409, code, message)
}

/** `POST /v1/consent-bundles/:id/revoke`; idempotent. */
export async function revokeBundle(call: Call): Promise<Answer> {
  const { revokeGrant } = bodyOf(call, v.object({ revokeGrant: v.optional(v.boolean()) }), true)
  const { world } = call.dialect
  const { record: { id, grant } } = await bundleOf(call, call.params[0]!)
  const { revokedAt } = await endBundle(world, id, REVOKED)
  if (revokeGrant === true) await endGrant(world, grant, REVOKED)
  return {
    status: 200,
    body: { bundleId: id, status: 'revoked', revokedAt: iso(revokedAt!) },
  }
}
