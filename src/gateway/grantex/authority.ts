/** Grants of the dialect: how they come to be, what their tokens are, when they end. */
import { mintGrantexToken } from '../../interop/grantex/mod.ts'
import { newId } from '../ids.ts'
import type { AgentRecord, Asked, GrantRecord } from '../records.ts'
import type { Change, Stored } from '../store.ts'
import { type Dialect, notFound, scopesOf } from './call.ts'
import { grantCreated, type Happening, tokenIssued, told } from './events.ts'
import { extraOf } from './grant_extra.ts'
import { admitted } from './people.ts'

/** The list that the grants of the dialect have their places in. Their tokens do not name it: they cannot. */
const LIST = 'grantex'
/** How long a token stays good online once a newer one was fetched. */
const GRACE = 300

/** What the dialect keeps with an agent. */
export function didOf(agent: AgentRecord | string): string {
  return `did:grantex:${typeof agent === 'string' ? agent : agent.id}`
}

/** An agent of the caller, 404 if there is none. */
export async function agentOf(
  dialect: Dialect,
  tenant: string,
  id: string,
  isActive: boolean = false,
): Promise<Stored<AgentRecord>> {
  const found = await dialect.world.store.records.get('agent', id)
  const isTheirs = found?.record.tenant === tenant && found.record.extra?.dialect === 'grantex'
  if (!isTheirs || isActive && found.record.status !== 'active') throw notFound('Agent')
  return found
}

/** A grant of the caller, 404 if there is none. */
export async function grantOf(
  dialect: Dialect,
  tenant: string,
  id: string,
): Promise<Stored<GrantRecord>> {
  const found = await dialect.world.store.records.get('grant', id)
  if (found === undefined || extraOf(found.record)?.developer !== tenant) throw notFound('Grant')
  return found
}

/** What a new grant is made of. */
export interface NewGrant {
  readonly agent: string
  readonly principal: string
  readonly developer: string
  readonly asked: Asked
  readonly expiresAt: number
  readonly request?: string | undefined
  readonly parent?: GrantRecord | undefined
  /** Part of the parent for the same agent: not passed on, but ended with it. */
  readonly isPart?: boolean | undefined
  /** Until when the first token is good. Default: as the grant. */
  readonly tokenExpiresAt?: number | undefined
  /** The bundle that the first token is for. */
  readonly bundle?: string | undefined
}

/** A grant and a token of it, to be committed with whatever belongs to them. */
export interface Issued {
  readonly grant: GrantRecord
  /** Goes out and is not kept: whoever has it may use it. */
  readonly token: string
  readonly changes: readonly Change[]
}

/** A new grant with its first token. Errors: 403 `PRINCIPAL_INACTIVE`. */
export async function newGrant(dialect: Dialect, given: NewGrant): Promise<Issued> {
  const now = dialect.world.now()
  const { parent, isPart = false } = given
  const kept = await admitted(dialect, given.principal, given.developer)
  const depth = parent === undefined ? 0 : (extraOf(parent)?.depth ?? 0) + (isPart ? 0 : 1)
  const bare: GrantRecord = {
    id: newId('grnt_', now * 1000),
    agent: given.agent,
    principal: given.principal,
    request: given.request,
    parent: parent?.id,
    jti: '',
    token: '',
    holder: 'bearer', // theirs are bearer's tokens; no key is bound to them
    asked: given.asked,
    issuedAt: now,
    expiresAt: given.expiresAt,
    status: 'active',
    place: { list: LIST, index: await dialect.world.store.status.allocate(LIST) },
    extra: {
      dialect: 'grantex',
      developer: given.developer,
      depth,
      ...(parent === undefined || isPart ? {} : { parentAgent: didOf(parent.agent) }),
    },
  }
  const { tokenExpiresAt, bundle } = given
  const stored = { record: bare, version: 0 }
  const made = await issue(dialect, stored, tokenExpiresAt, bundle, [grantCreated(bare)])
  return { ...made, changes: [...made.changes, ...kept] }
}

/** A new token of a grant, good until `expiresAt` at most, and as long as the bundle that it is for. */
export async function newToken(
  dialect: Dialect,
  stored: Stored<GrantRecord>,
  expiresAt?: number,
  bundle?: string,
): Promise<Issued> {
  return await issue(dialect, stored, expiresAt, bundle, [])
}

async function issue(
  dialect: Dialect,
  { record: grant, version }: Stored<GrantRecord>,
  until: number = grant.expiresAt,
  bundle: string | undefined,
  happened: readonly Happening[],
): Promise<Issued> {
  const now = dialect.world.now()
  const extra = extraOf(grant)!
  const jti = newId('tok_', now * 1000)
  const expiresAt = Math.min(until, grant.expiresAt)
  const token = await mintGrantexToken({
    issuer: dialect.base,
    principal: grant.principal,
    audience: grant.asked.audience?.[0],
    agent: didOf(grant.agent),
    developer: extra.developer,
    scopes: scopesOf(grant.asked),
    grant: grant.id,
    id: jti,
    issuedAt: now,
    expiresAt,
    parentAgent: extra.parentAgent,
    parentGrant: extra.depth === 0 ? undefined : grant.parent,
    depth: extra.depth,
  }, dialect.signer)
  const issued = { ...grant, jti }
  const value = { grant: grant.id, bundle }
  const known = { id: tokenId(jti), keys: [`grantex:tokens:${grant.id}`], value }
  return {
    grant: issued,
    token,
    changes: [
      { put: 'grant', record: issued, version },
      { put: 'document', record: known, version: 0 },
      ...await told(dialect, extra.developer, [...happened, tokenIssued(issued, jti, expiresAt)]),
    ],
  }
}

/** The name of what is kept of a token. */
export function tokenId(jti: string): string {
  return `grantex:token:${jti}`
}

/** The change by which the token before stays good for a moment only. */
export async function supersede(dialect: Dialect, jti: string): Promise<Change[]> {
  const found = await dialect.world.store.records.get('document', tokenId(jti))
  if (found === undefined) return []
  const value = { ...found.record.value, supersededAt: dialect.world.now() + GRACE }
  return [{ put: 'document', record: { ...found.record, value }, version: found.version }]
}

/** Whether a token that verified is still good, and whose it is. */
export async function isLive(dialect: Dialect, jti: string, grant: string): Promise<boolean> {
  const { records } = dialect.world.store
  const value = (await records.get('document', tokenId(jti)))?.record.value
  if (value?.grant !== grant || value.revokedAt !== undefined) return false
  // It lies on the device that the bundle was taken back from, and whoever has it may use it.
  if (typeof value.bundle === 'string') {
    if ((await records.get('bundle', value.bundle))?.record.status !== 'active') return false
  }
  return typeof value.supersededAt !== 'number' || dialect.world.now() < value.supersededAt
}
