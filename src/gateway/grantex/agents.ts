/** Agents of the dialect. */
import * as v from 'valibot'
import { isSignetError } from '../../errors.ts'
import type { JsonObject } from '../../json.ts'
import { newId } from '../ids.ts'
import type { AgentRecord } from '../records.ts'
import { resumeAgent, revokeGrant, suspendAgent } from '../standing.ts'
import { everyRecord, retrying } from '../store.ts'
import { agentOf, didOf } from './authority.ts'
import { type Answer, bodyOf, type Call, iso, Refusal, scopeList, text } from './call.ts'

/** To a site over TLS, or to this machine (RFC 8252 §7.3); no fragment (RFC 6749 §3.1.2). */
const redirect = v.pipe(
  text(2000),
  v.url(),
  v.regex(/^(https:\/\/|http:\/\/(127\.0\.0\.1|\[::1\]|localhost)[:/])[^#]*$/),
)
const redirects = v.pipe(v.array(redirect), v.maxLength(20))
const NEW = v.object({
  name: text(200),
  description: v.optional(v.pipe(v.string(), v.maxLength(2000))),
  scopes: v.optional(v.union([scopeList, v.pipe(v.array(v.string()), v.maxLength(0))]), []),
  // Not in Grantex: consent goes back to registered addresses only.
  redirectUris: v.optional(redirects, []),
})
const CHANGE = v.partial(v.object({
  ...NEW.entries,
  status: v.picklist(['active', 'suspended']),
}))

/** `POST /v1/agents`. */
export async function createAgent(call: Call): Promise<Answer> {
  const { name, description, scopes, redirectUris } = bodyOf(call, NEW)
  const now = call.dialect.world.now()
  const record: AgentRecord = {
    id: newId('ag_', now * 1000),
    name,
    description,
    status: 'active',
    redirectUris,
    tools: scopes,
    tenant: call.tenant,
    createdAt: now,
    extra: { dialect: 'grantex', updatedAt: now },
  }
  await call.dialect.world.store.commit([{ put: 'agent', record, version: 0 }])
  return { status: 201, body: agentView(record) }
}

/** `GET /v1/agents`. */
export async function listAgents(call: Call): Promise<Answer> {
  const agents: JsonObject[] = []
  for await (const { record } of agentsOf(call)) agents.push(agentView(record))
  return { status: 200, body: { agents } }
}

/** All agents of the caller. */
export async function* agentsOf(call: Call): AsyncGenerator<{ readonly record: AgentRecord }> {
  const { records } = call.dialect.world.store
  for await (const found of everyRecord(records, 'agent', `tenant:${call.tenant}`)) {
    if (found.record.extra?.dialect === 'grantex') yield found
  }
}

/** `GET /v1/agents/:id`. */
export async function getAgent(call: Call): Promise<Answer> {
  const { record } = await agentOf(call.dialect, call.tenant, call.params[0]!)
  return { status: 200, body: agentView(record) }
}

/** `PATCH /v1/agents/:id`. A suspended agent's grants are not good while it is so. */
export async function changeAgent(call: Call): Promise<Answer> {
  const { status, ...change } = bodyOf(call, CHANGE)
  const { record: { id } } = await agentOf(call.dialect, call.tenant, call.params[0]!)
  if (status === 'suspended') await suspendAgent(call.dialect.world, id, 'tenant')
  if (status === 'active') {
    try {
      await resumeAgent(call.dialect.world, id, 'tenant')
    } catch (error) {
      if (!isSignetError(error, 'policy_denied')) throw error
      throw new Refusal(403, 'FORBIDDEN', error.message)
    }
  }
  return await retrying(async () => {
    const { record, version } = await agentOf(call.dialect, call.tenant, call.params[0]!)
    const { scopes, ...rest } = Object.fromEntries(
      Object.entries(change).filter(([, value]) => value !== undefined),
    ) as typeof change
    const changed: AgentRecord = {
      ...record,
      ...rest,
      ...(scopes === undefined ? {} : { tools: scopes }),
      extra: { ...record.extra, updatedAt: call.dialect.world.now() },
    }
    await call.dialect.world.store.commit([{ put: 'agent', record: changed, version }])
    return { status: 200, body: agentView(changed) }
  })
}

/** `DELETE /v1/agents/:id`: its grants are revoked first. */
export async function deleteAgent(call: Call): Promise<Answer> {
  const { dialect, tenant, params: [id] } = call
  const { record: { id: agent } } = await agentOf(dialect, tenant, id!)
  const { store } = dialect.world
  for await (const { record } of everyRecord(store.records, 'grant', `agent:${agent}`)) {
    await revokeGrant(dialect.world, record.id, 'the agent was deleted')
  }
  await retrying(async () => {
    const { version } = await agentOf(dialect, tenant, agent)
    await store.commit([{ remove: 'agent', id: agent, version }])
  })
  return { status: 204 }
}

function agentView(agent: AgentRecord): JsonObject {
  const updated = agent.extra?.updatedAt
  return {
    agentId: agent.id,
    did: didOf(agent),
    developerId: agent.tenant,
    name: agent.name,
    description: agent.description ?? null,
    scopes: agent.tools ?? [],
    status: agent.status,
    createdAt: iso(agent.createdAt),
    updatedAt: iso(typeof updated === 'number' ? updated : agent.createdAt),
  }
}
