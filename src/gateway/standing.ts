/**
 * What still counts: the worst of a bundle, its grant, every grant above it, the agent and the principal. And how it ends: a
 * revocation goes down to all that was made out of a grant, in the status lists too.
 */
import { isSignetError, SignetError } from '../errors.ts'
import type { AgentRecord, BundleRecord, GrantRecord } from './records.ts'
import { type Change, everyRecord, existing, retrying, type Stored } from './store.ts'
import type { World } from './world.ts'

/** Whether something counts, and since when and why not. */
export type Standing =
  | { readonly state: 'active' }
  | { readonly state: 'revoked' | 'suspended'; readonly at?: number; readonly reason: string }

/** The reason of a grant whose time is over; nobody revoked it. */
export const EXPIRED = 'expired'
const ACTIVE: Standing = { state: 'active' }
/** More grants above one another cannot be made. */
const MAX_ABOVE = 64

/** The standing of a grant: its own, those above it, its agent's, its principal's. */
export async function grantStanding(world: World, grant: GrantRecord): Promise<Standing> {
  let current: GrantRecord | undefined = grant
  for (let i = 0; i < MAX_ABOVE && current !== undefined; i++) {
    const { status, revokedAt, reason = 'revoked', expiresAt, agent, parent }: GrantRecord = current
    if (status === 'revoked') {
      return { state: 'revoked', reason, ...(revokedAt === undefined ? {} : { at: revokedAt }) }
    }
    if (expiresAt <= world.now()) return { state: 'revoked', at: expiresAt, reason: EXPIRED }
    const holder: AgentRecord | undefined = (await world.store.records.get('agent', agent))?.record
    if (holder?.status !== 'active') {
      return { state: 'suspended', reason: 'the agent is suspended' }
    }
    if (await isBarred(world, current.principal, holder.tenant)) {
      return { state: 'revoked', reason: 'the principal is not active any more' }
    }
    if (parent === undefined) return ACTIVE
    current = (await world.store.records.get('grant', parent))?.record
  }
  return { state: 'revoked', reason: 'what it was made of is gone' }
}

/** Whoever is barred has nothing, however far the revocation of what they gave has come. */
async function isBarred(world: World, principal: string, tenant?: string): Promise<boolean> {
  try {
    await world.admit(principal, tenant)
    return false
  } catch (error) {
    if (isSignetError(error, 'policy_denied')) return true
    throw error
  }
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

/**
 * Revokes a grant and all below it. Idempotent: a second call mends what a first one did not finish. The ids that this
 * call revoked. Errors: `not_found`.
 *
 * The status lists come first, and name no version: once they are written nothing more is made out of these grants (see
 * `requireValid`), so that whoever makes new ones again and again cannot make this lose for ever.
 */
export async function revokeGrant(world: World, id: string, reason: string): Promise<string[]> {
  const end = { status: 'revoked', revokedAt: world.now(), reason } as const
  const grants = await retrying(async () => {
    const root = await existing(world.store.records, 'grant', id)
    const all = await withDescendants(world, root)
    await commitAll(world, all.map(({ record }) => [invalid(record)]))
    const live = all.filter(({ record }) => record.status === 'active')
    const parents = new Set(all.map(({ record }) => record.parent))
    await commitAll(
      world,
      await Promise.all(live.map(async ({ record, version }): Promise<Change[]> => {
        const ended = { ...record, ...end }
        return [
          { put: 'grant', record: ended, version },
          invalid(record), // an agent was perhaps resumed in between
          ...await world.grantEnded(ended, parents.has(record.id)),
        ]
      })),
    )
    return { all, live }
  })
  const revoked = grants.live.map(({ record }) => record.id)
  // Bundles no longer count without their grants, and cannot be refreshed from here on.
  for (const { record } of grants.all) {
    for await (const found of everyRecord(world.store.records, 'bundle', `grant:${record.id}`)) {
      if (found.record.status === 'revoked') continue
      await revokeBundle(world, found.record.id, reason)
      revoked.push(found.record.id)
    }
  }
  return revoked
}

function invalid({ place: { list, index } }: GrantRecord): Change {
  return { status: list, index, value: 1 }
}

/** Throws `policy_denied` where the status list says that a grant does not hold, whatever its record says yet. */
export async function requireValid(world: World, { place }: GrantRecord): Promise<void> {
  const { values } = await world.store.status.read(place.list)
  if (values.get(place.index) === undefined) return
  throw new SignetError('policy_denied', 'the grant is revoked or suspended')
}

/** Revokes a bundle, not its grant. Idempotent. Errors: `not_found`. */
export async function revokeBundle(
  world: World,
  id: string,
  reason: string,
): Promise<BundleRecord> {
  return await retrying(async () => {
    const found = await existing(world.store.records, 'bundle', id)
    if (found.record.status === 'revoked') return found.record
    const end = { status: 'revoked', revokedAt: world.now(), reason } as const
    const ended = { ...found.record, ...end }
    await world.store.commit([...bundleEnd(found, end), ...await world.bundleEnded(ended)])
    return ended
  })
}

/** Who suspends an agent, or lets them act again: the operator, or the developer whose agent it is. */
export type SuspendedBy = 'operator' | 'tenant'

/**
 * Suspends an agent. The status of each of their grants, and of all below them, follows in the same step. Idempotent.
 * Errors: `not_found`.
 */
export async function suspendAgent(world: World, id: string, by: SuspendedBy): Promise<void> {
  await retrying(async () => {
    const changes: Change[][] = [[await agentChange(world, id, 'suspended', by)]]
    for (const { place, status } of await grantsOf(world, id)) {
      if (status === 'revoked') continue
      changes.push([{ status: place.list, index: place.index, value: 2 }])
    }
    await commitAll(world, changes)
  })
}

/**
 * Lets a suspended agent act again, with what was not revoked. Grants stand again only where nobody else above or below
 * is suspended, so each is judged anew; a crash in between leaves them suspended. Idempotent. Errors: `not_found`;
 * `policy_denied` for a developer whose agent the operator suspended.
 */
export async function resumeAgent(world: World, id: string, by: SuspendedBy): Promise<void> {
  await retrying(async () => {
    await world.store.commit([await agentChange(world, id, 'active', by)])
  })
  for (const { id: grant } of await grantsOf(world, id)) {
    while (!await settled(world, grant));
  }
}

/**
 * Writes what a grant is worth now, unless it was revoked: its version says that it was not in between. False if an
 * agent was suspended or resumed meanwhile.
 */
async function settled(world: World, id: string): Promise<boolean> {
  return await retrying(async () => {
    const found = await world.store.records.get('grant', id)
    if (found === undefined) return true
    const { record, version } = found
    if (record.status === 'revoked') {
      // Revoked while its agent was being suspended, which wrote over it.
      await world.store.commit([invalid(record)])
      return true
    }
    const { state } = await grantStanding(world, record)
    if (state === 'revoked') return true
    const { list, index } = record.place
    await world.store.commit([
      { put: 'grant', record, version },
      { status: list, index, value: state === 'active' ? 0 : 2 },
    ])
    return (await grantStanding(world, record)).state === state
  })
}

async function agentChange(
  world: World,
  id: string,
  status: 'active' | 'suspended',
  by: SuspendedBy,
): Promise<Change> {
  const { record, version } = await existing(world.store.records, 'agent', id)
  const isOperators = record.status === 'suspended' && record.suspendedBy !== 'tenant'
  if (by === 'tenant' && status === 'active' && isOperators) {
    throw new SignetError('policy_denied', 'the operator suspended the agent')
  }
  const suspendedBy = status === 'active' ? undefined : isOperators ? 'operator' : by
  return { put: 'agent', record: { ...record, status, suspendedBy }, version }
}

/** The grants of an agent, and all that were made out of them, each once. */
async function grantsOf(world: World, agent: string): Promise<GrantRecord[]> {
  const found = new Map<string, GrantRecord>()
  for await (const root of everyRecord(world.store.records, 'grant', `agent:${agent}`)) {
    for (const { record } of await withDescendants(world, root)) found.set(record.id, record)
  }
  return [...found.values()]
}

/**
 * Commits in one step where the store can, else in parts from the front; what is in one group is never parted. The root,
 * or the agent, comes first; once it is committed nothing below it counts, and doing it again goes on where it was broken
 * off.
 */
async function commitAll(world: World, changes: readonly (readonly Change[])[]): Promise<void> {
  if (changes.length === 0) return
  try {
    await world.store.commit(changes.flat())
  } catch (error) {
    if (!isSignetError(error, 'too_large') || changes.length === 1) throw error
    const middle = Math.ceil(changes.length / 2)
    await commitAll(world, changes.slice(0, middle))
    await commitAll(world, changes.slice(middle))
  }
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
