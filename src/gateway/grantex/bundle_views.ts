/** Bundles, looked at: lists, one, and whether it still counts. */
import type { JsonObject } from '../../json.ts'
import type { BundleRecord } from '../records.ts'
import { bundleStanding } from '../standing.ts'
import { everyRecord } from '../store.ts'
import { agentsOf } from './agents.ts'
import { bundleExtra, bundleOf } from './bundle_record.ts'
import { type Answer, badRequest, type Call, iso } from './call.ts'

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
  const { store } = call.dialect.world
  const standing = await bundleStanding(call.dialect.world, record)
  const grant = (await store.records.get('grant', record.grant))?.record
  const isOver = standing.state !== 'active'
  const data = {
    bundleId: record.id,
    status: !isOver ? 'active' : standing.reason === 'expired' ? 'expired' : 'revoked',
    revokedAt: isOver && standing.at !== undefined ? iso(standing.at) : null,
    revokedBy: record.status === 'revoked' ? call.tenant : null,
    reason: isOver ? standing.reason : null,
    grantRevoked: grant?.status !== 'active',
    checkpointAt: bundleExtra(record).issuedAt * 1000,
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
