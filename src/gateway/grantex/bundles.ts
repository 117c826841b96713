/**
 * Consent bundles. One comes to be only where somebody said yes: a grant of the principal that was approved and
 * covers the scopes, or a policy that allows them for this agent and principal. Else it is refused with 403.
 */
import * as v from 'valibot'
import { newGrantexAuditKey } from '../../interop/grantex/mod.ts'
import type { JsonObject } from '../../json.ts'
import { newId } from '../ids.ts'
import type { AgentRecord, Asked, BundleRecord, GrantRecord } from '../records.ts'
import { type Change, everyRecord, retrying, type Stored } from '../store.ts'
import {
  agentOf,
  type Effective,
  effective,
  extraOf,
  newGrant,
  newToken,
  revokeGrants,
  supersede,
} from './authority.ts'
import {
  type Answer,
  askedFor,
  badRequest,
  bodyOf,
  type Call,
  type Dialect,
  iso,
  notFound,
  Refusal,
  scopeList,
  scopesOf,
  secondsOf,
  text,
} from './call.ts'
import { agentsOf } from './agents.ts'
import { checkScopes } from './consent.ts'
import { isAllowedByPolicy } from './policies.ts'

/** 168 hours. */
const MOST_OFFLINE = 7 * 86_400
/** Audit keys of one bundle, over its whole life. */
const MAX_GENERATIONS = 1000

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
  /** `jti` of its token. */
  readonly jti: string
  readonly lastSyncAt?: number | undefined
  readonly revokedBy?: string | undefined
  readonly grantRevoked?: boolean | undefined
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

/** A bundle's own state and that of its grant: the worst counts. */
export async function bundleState(dialect: Dialect, bundle: BundleRecord): Promise<Effective> {
  if (bundle.status === 'revoked') {
    return { isActive: false, reason: 'bundle_revoked', at: bundle.revokedAt }
  }
  const grant = (await dialect.world.store.records.get('grant', bundle.grant))?.record
  return grant === undefined
    ? { isActive: false, reason: 'revoked' }
    : await effective(dialect, grant)
}

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
  const now = clock()
  const asked = askedFor(asks.scopes, seconds, dialect.maxDepth)
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
    chains: [],
  }
  return await retrying(async () => {
    const { grant, changes } = await authority(call, agent, asks.userId, asked)
    const record: BundleRecord = {
      id,
      grant: grant.id,
      agent: agent.id,
      principal: asks.userId,
      // Not the thumbprint itself: an audit key of theirs travels, and must open nothing of ours.
      device: `grantex:${audit.publicKey.id}`,
      deviceKey: audit.publicKey.jwk,
      generation: 1,
      jws: '',
      keys: [],
      createdAt: now,
      expiresAt: Math.min(now + seconds, grant.expiresAt),
      seenAt: now,
      status: 'active',
      extra: { ...extra, jti: grant.jti },
    }
    await store.commit([...changes, { put: 'bundle', record, version: 0 }])
    return { status: 201, body: wireBundle(dialect, record, grant, audit.pem) }
  })
}

/** The grant under which a bundle may be issued, with a token of its own; 403 where nobody said yes. */
async function authority(
  call: Call,
  agent: AgentRecord,
  principal: string,
  asked: Asked,
): Promise<{ readonly grant: GrantRecord; readonly changes: readonly Change[] }> {
  const { dialect, tenant } = call
  const now = dialect.world.now()
  if (await isAllowed(dialect, agent, principal, asked)) {
    const expiresAt = now + asked.duration
    return await newGrant(dialect, {
      ...{ agent: agent.id, principal, developer: tenant, asked, expiresAt },
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
    return await newGrant(dialect, {
      ...{ agent: agent.id, principal, developer: tenant, asked, isPart },
      ...{ parent: consented.record, expiresAt: consented.record.expiresAt },
      tokenExpiresAt: expiresAt,
    })
  }
  const { grant, change } = await newToken(dialect, consented.record, expiresAt)
  return {
    grant,
    changes: [{ put: 'grant', record: grant, version: consented.version }, change],
  }
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
    if (!(await effective(dialect, record)).isActive) continue
    if (best === undefined || record.expiresAt > best.record.expiresAt) best = found
  }
  return best
}

function wireBundle(
  dialect: Dialect,
  bundle: BundleRecord,
  grant: GrantRecord,
  offlineAuditKey: JsonObject,
): JsonObject {
  const { issuedAt } = bundleExtra(bundle)
  const offlineExpiresAt = iso(bundle.expiresAt)
  return {
    bundleId: bundle.id,
    grantToken: grant.token,
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
    const state = await bundleState(dialect, bundle)
    if (bundle.status === 'revoked') throw conflict('BUNDLE_REVOKED', 'the bundle is revoked')
    if (bundle.expiresAt <= now) throw conflict('BUNDLE_EXPIRED', 'the bundle has expired')
    if (!state.isActive || found === undefined) {
      throw conflict('GRANT_INACTIVE', 'the grant is no longer good')
    }
    if (bundle.keys.length >= MAX_GENERATIONS) {
      throw conflict('BUNDLE_EXPIRED', 'the bundle was refreshed too often; make a new one')
    }
    const extra = bundleExtra(bundle)
    const seconds = secondsOf(extra.ttl)!
    const grant = await extended(dialect, found.record, seconds)
    const { grant: renewed, change } = await newToken(dialect, grant, now + seconds)
    const record: BundleRecord = {
      ...bundle,
      generation: bundle.generation + 1,
      keys: [...bundle.keys, bundle.deviceKey],
      device: `grantex:${audit.publicKey.id}`,
      deviceKey: audit.publicKey.jwk,
      expiresAt: Math.min(now + seconds, grant.expiresAt),
      seenAt: now,
      extra: { ...extra, issuedAt: now, jti: renewed.jti } as unknown as JsonObject,
    }
    await store.commit([
      change,
      ...await supersede(dialect, extra.jti),
      { put: 'grant', record: renewed, version: found.version },
      { put: 'bundle', record, version },
    ])
    return wireBundle(dialect, record, renewed, audit.pem)
  })
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
  const { store, now } = call.dialect.world
  const record = await retrying(async () => {
    const { record, version } = await bundleOf(call, call.params[0]!)
    const extra = bundleExtra(record)
    const isNew = record.status !== 'revoked'
    if (!isNew && (revokeGrant !== true || extra.grantRevoked === true)) return record
    const revoked: BundleRecord = {
      ...record,
      status: 'revoked',
      revokedAt: record.revokedAt ?? now(),
      extra: {
        ...extra,
        revokedBy: call.tenant,
        grantRevoked: revokeGrant === true || extra.grantRevoked === true,
      } as unknown as JsonObject,
    }
    await store.commit([{ put: 'bundle', record: revoked, version }])
    return revoked
  })
  if (revokeGrant === true) await revokeGrants(call.dialect, record.grant, 'bundle_revoked')
  return {
    status: 200,
    body: { bundleId: record.id, status: 'revoked', revokedAt: iso(record.revokedAt!) },
  }
}

/** `GET /v1/consent-bundles`. The cursor is the id of the last bundle; a page that has a next one says so. */
export async function listBundles(call: Call): Promise<Answer> {
  const { dialect, query } = call
  const limit = Number(query.get('limit') ?? '50')
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw badRequest('limit is 1 to 100')
  const cursor = query.get('cursor') ?? ''
  if (!/^(bundle_[0-9A-Z]{26})?$/.test(cursor)) throw badRequest('bad cursor')
  const [status, agentId] = [query.get('status'), query.get('agentId')]
  const found: BundleRecord[] = []
  for await (const { record: agent } of agentsOf(call)) {
    if (agentId !== null && agent.id !== agentId) continue
    const { records } = dialect.world.store
    for await (const { record } of everyRecord(records, 'bundle', `agent:${agent.id}`)) {
      if (record.extra?.dialect !== 'grantex' || record.id <= cursor) continue
      if (status === null || statusOf(record, dialect.world.now()) === status) found.push(record)
    }
  }
  found.sort((a, b) => a.id < b.id ? -1 : 1)
  const page = found.slice(0, limit)
  return {
    status: 200,
    body: {
      bundles: page.map((record) => bundleView(record, dialect.world.now())),
      ...(found.length > limit ? { nextCursor: page.at(-1)!.id } : {}),
    },
  }
}

/** `GET /v1/consent-bundles/:id`. */
export async function getBundle(call: Call): Promise<Answer> {
  const { record } = await bundleOf(call, call.params[0]!)
  return { status: 200, body: bundleView(record, call.dialect.world.now()) }
}

/** `GET /v1/consent-bundles/:id/revocation-status`: flat as the documents say, and under `data` as the service does. */
export async function revocationStatus(call: Call): Promise<Answer> {
  const { record } = await bundleOf(call, call.params[0]!)
  const state = await bundleState(call.dialect, record)
  const extra = bundleExtra(record)
  const at = state.isActive ? undefined : state.at
  const data = {
    bundleId: record.id,
    status: state.isActive ? 'active' : state.reason === 'expired' ? 'expired' : 'revoked',
    revokedAt: at === undefined || state.isActive ? null : iso(at),
    revokedBy: extra.revokedBy ?? null,
    reason: state.isActive ? null : state.reason,
    grantRevoked: extra.grantRevoked ?? false,
    checkpointAt: extra.issuedAt * 1000,
  }
  return { status: 200, body: { ...data, data } }
}

function statusOf(bundle: BundleRecord, now: number): string {
  return bundle.status === 'active' && bundle.expiresAt <= now ? 'expired' : bundle.status
}

function bundleView(bundle: BundleRecord, now: number): JsonObject {
  const extra = bundleExtra(bundle)
  return {
    id: bundle.id,
    agentId: bundle.agent,
    grantId: bundle.grant,
    userId: bundle.principal,
    scopes: extra.scopes,
    status: statusOf(bundle, now),
    deviceId: extra.deviceId ?? null,
    devicePlatform: extra.devicePlatform ?? null,
    offlineTTL: extra.ttl,
    offlineExpiresAt: iso(bundle.expiresAt),
    checkpointAt: iso(extra.issuedAt),
    auditEntryCount: extra.chains.reduce((sum, { seq }) => sum + seq, 0),
    lastSyncAt: extra.lastSyncAt === undefined ? null : iso(extra.lastSyncAt),
    createdAt: iso(bundle.createdAt),
    revokedAt: bundle.revokedAt === undefined ? null : iso(bundle.revokedAt),
  }
}
