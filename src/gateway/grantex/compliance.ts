/** What an auditor takes along: counts, grants, the online log, and whether its chain holds when it is recomputed. */
import { type OnlineAuditEntry, onlineAuditHash } from '../../interop/grantex/mod.ts'
import type { JsonObject } from '../../json.ts'
import { agentsOf } from './agents.ts'
import { onlineEntries } from './audit.ts'
import { type Answer, type Call, iso } from './call.ts'
import { grantsOf, grantView } from './grants.ts'
import { policiesOf } from './policies.ts'

/** Most grants of one answer. */
const MAX_LIST = 1000

/** `GET /v1/compliance/summary`. */
export async function summary(call: Call): Promise<Answer> {
  return { status: 200, body: await summaryOf(call, await grantsFor(call)) }
}

/** `GET /v1/compliance/export/grants`. */
export async function exportGrants(call: Call): Promise<Answer> {
  const grants = await grantsFor(call)
  return { status: 200, body: { generatedAt: nowOf(call), total: grants.length, grants } }
}

/** `GET /v1/compliance/export/audit`. */
export async function exportAudit(call: Call): Promise<Answer> {
  const entries = await onlineEntries(call, {})
  return { status: 200, body: { generatedAt: nowOf(call), total: entries.length, entries } }
}

/** `GET /v1/compliance/evidence-pack`. */
export async function evidencePack(call: Call): Promise<Answer> {
  const grants = await grantsFor(call)
  const auditEntries = await onlineEntries(call, {})
  return {
    status: 200,
    body: {
      meta: { generatedAt: nowOf(call), developerId: call.tenant, schemaVersion: '1.0' },
      summary: await summaryOf(call, grants),
      grants,
      auditEntries,
      policies: await policiesOf(call),
      chainIntegrity: await integrity(auditEntries),
    },
  }
}

async function grantsFor(call: Call): Promise<JsonObject[]> {
  const grants: JsonObject[] = []
  for await (const grant of grantsOf(call)) {
    grants.push(grantView(grant, call.dialect.world.now()))
    if (grants.length === MAX_LIST) break
  }
  return grants
}

async function summaryOf(call: Call, grants: readonly JsonObject[]): Promise<JsonObject> {
  const agents: JsonObject[] = []
  for await (const { record: { status } } of agentsOf(call)) agents.push({ status })
  const entries = await onlineEntries(call, {})
  return {
    generatedAt: nowOf(call),
    agents: counts(agents, ['active', 'suspended']),
    grants: counts(grants, ['active', 'revoked', 'expired']),
    auditEntries: counts(entries, ['success', 'failure', 'blocked']),
    policies: { total: (await policiesOf(call)).length },
  }
}

function counts(all: readonly JsonObject[], kinds: readonly string[]): JsonObject {
  const count = (kind: string) => all.filter(({ status }) => status === kind).length
  return { total: all.length, ...Object.fromEntries(kinds.map((kind) => [kind, count(kind)])) }
}

async function integrity(entries: readonly JsonObject[]): Promise<JsonObject> {
  let previous: string | null = null
  for (const [i, { entryId: id, hash, ...rest }] of entries.entries()) {
    const content = { id, ...rest } as unknown as OnlineAuditEntry
    if (content.prevHash !== previous || await onlineAuditHash(content) !== hash) {
      return { valid: false, checkedEntries: i, firstBrokenAt: String(id) }
    }
    previous = String(hash)
  }
  return { valid: true, checkedEntries: entries.length, firstBrokenAt: null }
}

const nowOf = (call: Call): string => iso(call.dialect.world.now())
