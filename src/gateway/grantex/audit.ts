/** The online audit log: one chain of hashes for each developer, appended to and never changed. */
import * as v from 'valibot'
import type { OnlineAuditEntry } from '../../interop/grantex/mod.ts'
import { onlineAuditHash } from '../../interop/grantex/mod.ts'
import type { JsonObject, JsonValue } from '../../json.ts'
import { mapOf } from '../../schema.ts'
import { newId } from '../ids.ts'
import { everyRecord, retrying } from '../store.ts'
import { agentOf, grantOf } from './authority.ts'
import { type Answer, badRequest, bodyOf, type Call, iso, notFound, text } from './call.ts'

const MAX_LIST = 1000
const ENTRY = v.object({
  agentId: text(128),
  agentDid: text(512),
  grantId: text(128),
  principalId: text(200),
  action: text(256),
  metadata: v.optional(mapOf(v.custom<JsonValue>(() => true)), {}),
  status: v.optional(v.picklist(['success', 'failure', 'blocked']), 'success'),
})

const headId = (tenant: string) => `grantex:audit:${tenant}`
const entryKey = (id: string) => `grantex:entry:${id}`

/** `POST /v1/audit/log`. Agent, grant and principal must be the caller's and belong together. */
export async function logEntry(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { store, now } = dialect.world
  const asks = bodyOf(call, ENTRY)
  const { record: agent } = await agentOf(dialect, tenant, asks.agentId)
  const { record: grant } = await grantOf(dialect, tenant, asks.grantId)
  const belongs = grant.agent === agent.id && grant.principal === asks.principalId &&
    asks.agentDid === `did:grantex:${agent.id}`
  if (!belongs) throw badRequest('agent, grant and principal do not belong together')
  return await retrying(async () => {
    const head = await store.records.get('document', headId(tenant))
    const last = head?.record.value.hash
    const content: OnlineAuditEntry = {
      id: newId('alog_', now() * 1000),
      ...asks,
      developerId: tenant,
      timestamp: iso(now()),
      prevHash: typeof last === 'string' ? last : null,
    }
    const entry = { ...content, hash: await onlineAuditHash(content) }
    const number = typeof head?.record.value.size === 'number' ? head.record.value.size : 0
    await store.commit([
      {
        put: 'document',
        record: {
          // In the order of the chain, whatever the clock says.
          id: `grantex:entry:${tenant}:${String(number).padStart(12, '0')}`,
          keys: [`grantex:entries:${tenant}`, entryKey(entry.id)],
          value: { ...entry },
        },
        version: 0,
      },
      {
        put: 'document',
        record: { id: headId(tenant), keys: [], value: { hash: entry.hash, size: number + 1 } },
        version: head?.version ?? 0,
      },
    ])
    return { status: 201, body: entryView({ ...entry }) }
  })
}

/** `GET /v1/audit/entries`. */
export async function listEntries(call: Call): Promise<Answer> {
  const filter: Record<string, string> = {}
  for (const name of ['agentId', 'grantId', 'principalId', 'action']) {
    const wanted = call.query.get(name)
    if (wanted !== null) filter[name] = wanted
  }
  return { status: 200, body: { entries: await onlineEntries(call, filter) } }
}

/** Entries of the caller that have these members. */
export async function onlineEntries(
  call: Call,
  filter: Readonly<Record<string, string>>,
): Promise<JsonObject[]> {
  const entries: JsonObject[] = []
  const { records } = call.dialect.world.store
  for await (
    const { record } of everyRecord(records, 'document', `grantex:entries:${call.tenant}`)
  ) {
    if (Object.entries(filter).some(([name, value]) => record.value[name] !== value)) continue
    entries.push(entryView(record.value))
    if (entries.length === MAX_LIST) break
  }
  return entries
}

/** `GET /v1/audit/:id`. */
export async function getEntry(call: Call): Promise<Answer> {
  const id = call.params[0]!
  const [found] = /^alog_[0-9A-Z]{26}$/.test(id)
    ? await call.dialect.world.store.records.list('document', { key: entryKey(id), limit: 1 })
    : []
  if (found?.record.value.developerId !== call.tenant) throw notFound('Audit entry')
  return { status: 200, body: entryView(found.record.value) }
}

function entryView({ id, ...rest }: JsonObject): JsonObject {
  return { entryId: id, ...rest }
}
