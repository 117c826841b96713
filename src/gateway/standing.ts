/**
 * What still counts: the worst of a bundle, its grant, every grant above it, and the agent. And how it ends: a
 * revocation goes down to all that was made out of a grant, in one step with the status lists.
 */
import { SignetError } from '../errors.ts'
import type { BundleRecord, GrantRecord } from './records.ts'
import { type Change, everyRecord, retrying, type Stored } from './store.ts'
import type { World } from './world.ts'

/** Whether something counts, and since when and why not. */
export type Standing =
  | { readonly state: 'active' }
  | { readonly state: 'revoked' | 'suspended'; readonly at?: number; readonly reason: string }

const ACTIVE: Standing = { state: 'active' }
/** More grants above one another cannot be made. */
const MAX_ABOVE = 64

/** The standing of a grant: its own, those above it, its agent's. */
export async function grantStanding(world: World, grant: GrantRecord): Promise<Standing> {
  let current: GrantRecord | undefined = grant
  for (let i = 0; i < MAX_ABOVE && current !== undefined; i++) {
    const { status, revokedAt, reason = 'revoked', expiresAt, agent, parent }: GrantRecord = current
    if (status === 'revoked') {
      return { state: 'revoked', reason, ...(revokedAt === undefined ? {} : { at: revokedAt }) }
    }
    if (expiresAt <= world.now()) return { state: 'revoked', at: expiresAt, reason: 'expired' }
    const holder: Stored<{ status: string }> | undefined = await world.store.records.get(
      'agent',
      agent,
    )
    if (holder?.record.status !== 'active') {
      return { state: 'suspended', reason: 'the agent is suspended' }
    }
    if (parent === undefined) return ACTIVE
    current = (await world.store.records.get('grant', parent))?.record
  }
  return { state: 'revoked', reason: 'what it was made of is gone' }
}

/** The standing of a bundle: its own, and its grant's. */
export async function bundleStanding(world: World, bundle: BundleRecord): Promise<Standing> {
  const { status, revokedAt, reason = 'revoked' } = bundle
  if (status === 'revoked') {
    return { state: 'revoked', reason, ...(revokedAt === undefined ? {} : { at: revokedAt }) }
  }
  const grant = (await world.store.records.get('grant', bundle.grant))?.record
  if (grant === undefined) return { state: 'revoked', reason: 'its grant is gone' }
  return await grantStanding(world, grant)
}

/** Throws `policy_denied` for what does not count. */
export function requireActive(standing: Standing, what: string): void {
  if (standing.state === 'active') return
  throw new SignetError('policy_denied', `${what} is ${standing.state}: ${standing.reason}`)
}

/** Revokes a grant and all below it. Idempotent; the ids that this call revoked. Errors: `not_found`. */
export async function revokeGrant(world: World, id: string, reason: string): Promise<string[]> {
  return await retrying(async () => {
    const root = await world.store.records.get('grant', id)
    if (root === undefined) throw new SignetError('not_found', 'there is no such grant')
    const changes: Change[] = []
    const revoked: string[] = []
    const end = { status: 'revoked', revokedAt: world.now(), reason } as const
    for (const { record, version } of await withDescendants(world, root)) {
      if (record.status === 'active') {
        revoked.push(record.id)
        changes.push({ put: 'grant', record: { ...record, ...end }, version })
        changes.push({ status: record.place.list, index: record.place.index, value: 1 })
      }
      for await (const found of everyRecord(world.store.records, 'bundle', `grant:${record.id}`)) {
        if (found.record.status === 'revoked') continue
        revoked.push(found.record.id)
        changes.push(...bundleEnd(found, end))
      }
    }
    if (changes.length > 0) await world.store.commit(changes)
    return revoked
  })
}

/** Revokes a bundle, not its grant. Idempotent. Errors: `not_found`. */
export async function revokeBundle(
  world: World,
  id: string,
  reason: string,
): Promise<BundleRecord> {
  return await retrying(async () => {
    const found = await world.store.records.get('bundle', id)
    if (found === undefined) throw new SignetError('not_found', 'there is no such bundle')
    if (found.record.status === 'revoked') return found.record
    const end = { status: 'revoked', revokedAt: world.now(), reason } as const
    await world.store.commit(bundleEnd(found, end))
    return { ...found.record, ...end }
  })
}

/**
 * Suspends an agent, or lets them act again. The status of each of their grants, and of all below them, follows; what
 * was revoked stays so. Errors: `not_found`.
 */
export async function setAgentStatus(
  world: World,
  id: string,
  status: 'active' | 'suspended',
): Promise<void> {
  await retrying(async () => {
    const agent = await world.store.records.get('agent', id)
    if (agent === undefined) throw new SignetError('not_found', 'there is no such agent')
    const record = { ...agent.record, status }
    const changes: Change[] = [{ put: 'agent', record, version: agent.version }]
    const seen = new Set<string>()
    for await (const root of everyRecord(world.store.records, 'grant', `agent:${id}`)) {
      for (const { record: { id, place, status: own } } of await withDescendants(world, root)) {
        if (own === 'revoked' || seen.has(id)) continue
        seen.add(id)
        const value = status === 'active' ? 0 : 2
        changes.push({ status: place.list, index: place.index, value })
      }
    }
    await world.store.commit(changes)
  })
}

function bundleEnd(
  { record, version }: Stored<BundleRecord>,
  end: { status: 'revoked'; revokedAt: number; reason: string },
): Change[] {
  const put: Change = { put: 'bundle', record: { ...record, ...end }, version }
  if (record.place === undefined) return [put]
  return [put, { status: record.place.list, index: record.place.index, value: 1 }]
}

/** A grant and all that were made out of it, each once. */
async function withDescendants(
  world: World,
  root: Stored<GrantRecord>,
): Promise<Stored<GrantRecord>[]> {
  const found = new Map([[root.record.id, root]])
  for (const { record } of found.values()) { // grows while it is walked
    for await (const child of everyRecord(world.store.records, 'grant', `parent:${record.id}`)) {
      if (!found.has(child.record.id)) found.set(child.record.id, child)
    }
  }
  return [...found.values()]
}
