/**
 * Policies: the operator's hook, and what developers write down. A developer's policy can deny. It can allow in the
 * sandbox only: their key lies on their devices, and whoever holds it would consent for everybody.
 */
import * as v from 'valibot'
import type { JsonObject } from '../../json.ts'
import { newId } from '../ids.ts'
import type { AgentRecord, Asked } from '../records.ts'
import { everyRecord, retrying, type Stored } from '../store.ts'
import type { DocumentRecord } from '../records.ts'
import {
  type Answer,
  bodyOf,
  type Call,
  type Dialect,
  iso,
  notFound,
  Refusal,
  scopeList,
  scopesOf,
  text,
} from './call.ts'

const MAX_POLICIES = 200
const clock = v.pipe(v.string(), v.regex(/^([01][0-9]|2[0-3]):[0-5][0-9]$/))
const NEW = v.object({
  name: text(200),
  effect: v.picklist(['allow', 'deny']),
  priority: v.optional(v.pipe(v.number(), v.safeInteger())),
  agentId: v.optional(text(128)),
  principalId: v.optional(text(200)),
  scopes: v.optional(scopeList),
  timeOfDayStart: v.optional(clock),
  timeOfDayEnd: v.optional(clock),
})

const idOf = (id: string) => `grantex:policy:${id}`
const keyOf = (tenant: string) => `grantex:policies:${tenant}`

/**
 * Whether policies allow what is asked for without a person. A denial counts more than whatever allows.
 * Errors: 403 `POLICY_DENIED`.
 */
export async function isAllowedByPolicy(
  dialect: Dialect,
  agent: AgentRecord,
  principal: string,
  asked: Asked,
): Promise<boolean> {
  const { store, decide, now } = dialect.world
  const refuse = (reason: string) => new Refusal(403, 'POLICY_DENIED', reason)
  const decision = await decide({ ...asked, agent, principalHint: principal })
  if (decision.effect === 'deny') throw refuse(decision.reason ?? 'a policy denies it')
  const scopes = scopesOf(asked)
  const time = iso(now()).slice(11, 16)
  let isAllowed = decision.effect === 'allow' && decision.principal === principal
  for await (const { record } of everyRecord(store.records, 'document', keyOf(agent.tenant!))) {
    const policy = record.value
    if (!fits(policy, agent.id, principal, time)) continue
    const named = Array.isArray(policy.scopes) ? policy.scopes as readonly string[] : scopes
    if (policy.effect === 'deny' && scopes.some((scope) => named.includes(scope))) {
      throw refuse(`the policy ${policy.id} denies it`)
    }
    const covers = scopes.every((scope) => named.includes(scope))
    if (policy.effect === 'allow' && dialect.isSandbox && covers) isAllowed = true
  }
  return isAllowed
}

function fits(policy: JsonObject, agent: string, principal: string, time: string): boolean {
  const { agentId = agent, principalId = principal } = policy
  const { timeOfDayStart: start = '00:00', timeOfDayEnd: end = '24:00' } = policy
  const [from, to] = [String(start), String(end)]
  // A window from 22:00 to 06:00 goes over midnight.
  const isNow = from <= to ? time >= from && time < to : time >= from || time < to
  return agentId === agent && principalId === principal && isNow
}

/** `POST /v1/policies`. */
export async function createPolicy(call: Call): Promise<Answer> {
  const { dialect: { world: { store, now } }, tenant } = call
  const asks = bodyOf(call, NEW)
  checkEffect(call, asks.effect)
  const held = await store.records.list('document', { key: keyOf(tenant), limit: MAX_POLICIES })
  if (held.length >= MAX_POLICIES) {
    throw new Refusal(402, 'PLAN_LIMIT_EXCEEDED', `${MAX_POLICIES} policies are the most`)
  }
  const id = newId('pol_', now() * 1000)
  const value = { id, ...asks, tenant, createdAt: iso(now()), updatedAt: iso(now()) }
  const record = { id: idOf(id), keys: [keyOf(tenant)], value }
  await store.commit([{ put: 'document', record, version: 0 }])
  return { status: 201, body: view(value) }
}

/** `GET /v1/policies`. */
export async function listPolicies(call: Call): Promise<Answer> {
  return { status: 200, body: { policies: await policiesOf(call) } }
}

/** All policies of the caller. */
export async function policiesOf(call: Call): Promise<JsonObject[]> {
  const policies: JsonObject[] = []
  const { records } = call.dialect.world.store
  for await (const { record } of everyRecord(records, 'document', keyOf(call.tenant))) {
    policies.push(view(record.value))
  }
  return policies
}

/** `GET /v1/policies/:id`. */
export async function getPolicy(call: Call): Promise<Answer> {
  return { status: 200, body: view((await policyOf(call)).record.value) }
}

/** `PATCH /v1/policies/:id`. */
export async function changePolicy(call: Call): Promise<Answer> {
  const change = bodyOf(call, v.partial(NEW))
  if (change.effect !== undefined) checkEffect(call, change.effect)
  const { store, now } = call.dialect.world
  return await retrying(async () => {
    const { record, version } = await policyOf(call)
    const value = { ...record.value, ...change, updatedAt: iso(now()) }
    await store.commit([{ put: 'document', record: { ...record, value }, version }])
    return { status: 200, body: view(value) }
  })
}

/** `DELETE /v1/policies/:id`. */
export async function deletePolicy(call: Call): Promise<Answer> {
  return await retrying(async () => {
    const { record: { id }, version } = await policyOf(call)
    await call.dialect.world.store.commit([{ remove: 'document', id, version }])
    return { status: 204 }
  })
}

async function policyOf(call: Call): Promise<Stored<DocumentRecord>> {
  const found = await call.dialect.world.store.records.get('document', idOf(call.params[0]!))
  if (found?.record.value.tenant !== call.tenant) throw notFound('Policy')
  return found
}

function checkEffect(call: Call, effect: 'allow' | 'deny'): void {
  if (effect === 'deny' || call.dialect.isSandbox) return
  throw new Refusal(403, 'FORBIDDEN', 'only the operator of this server allows; deny you can')
}

function view({ tenant: _, ...rest }: JsonObject): JsonObject {
  return rest
}
