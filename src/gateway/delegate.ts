/**
 * Narrowing by the server (RFC 8693), for agents that cannot sign a child themselves: the holder of a grant of ours
 * signs the request, and a new, narrower grant goes to another key and agent. It ends with the one that it came from.
 *
 * Where a link of the chain has limits this is refused: they are counted by link, and a token of ours would begin a count
 * of its own. Such a grant is passed on by its holder (`signet grant narrow`), offline.
 */
import { SignetError } from '../errors.ts'
import {
  type GrantChain,
  parseCapability,
  parseChain,
  type VerifiedGrant,
  verifyGrant,
  widening,
} from '../grants/mod.ts'
import { parseJws } from '../envelope/mod.ts'
import { isObject, parseJson } from '../json.ts'
import type { PublicKey } from '../keys/mod.ts'
import { readAsked } from './asked.ts'
import { agentToGrant } from './authorize.ts'
import { type Form, required } from './body.ts'
import { confirmationKey } from './device_keys.ts'
import { newBundle, newGrant, tokenAnswer } from './issue.ts'
import type { AgentRecord, Asked, GrantRecord } from './records.ts'
import type { Noted } from './router.ts'
import { grantStanding, requireActive, requireValid } from './standing.ts'
import { type Change, retrying, type Stored } from './store.ts'
import type { World } from './world.ts'

/** The type of a chain of tokens. The draft registers none; RFC 8693 §3 says how such names look. */
export const CHAIN_TYPE = 'urn:ietf:params:oauth:token-type:aat'

/**
 * Exchanges a chain for a narrower grant. `holder` signed the request. Form: `subject_token` (the chain, a token a
 * line), `subject_token_type`, `client_id` (the agent it goes to: the grant's own, or one that takes from it),
 * `req_cnf` (its key), `holder_cnf` (the holder's key), and what is asked for. Errors: `grant_widened`,
 * `policy_denied`, those of `verifyGrant` and of `readAsked`.
 */
export async function exchange(
  world: World,
  form: Form,
  holder: PublicKey,
  noted: Noted,
): Promise<Response> {
  if (required(form, 'subject_token_type') !== CHAIN_TYPE) {
    throw new SignetError('request_malformed', `subject_token_type is not ${CHAIN_TYPE}`)
  }
  // Of several exchanges under one agent at once one is committed first, and the others look again.
  return await retrying(() => exchanged(world, form, holder, noted))
}

async function exchanged(
  world: World,
  form: Form,
  holder: PublicKey,
  noted: Noted,
): Promise<Response> {
  const { grant, stored } = await ownGrant(world, required(form, 'subject_token'))
  if (grant.holder.id !== holder.id) {
    throw new SignetError(
      'signer_untrusted',
      'the request is not signed by the holder of the grant',
    )
  }
  requireActive(await grantStanding(world, stored.record), 'the grant')
  await requireValid(world, stored.record)
  if (grant.isLimited) {
    throw new SignetError('policy_denied', 'a grant with limits is not narrowed here', {
      remedy: 'its holder passes it on: signet grant narrow',
    })
  }
  const { record: parent, version } = stored
  const { agent, keep } = await agentToGrant(world, required(form, 'client_id'))
  requireTaking(agent, parent.agent)
  const key = await confirmationKey(form, 'req_cnf')
  const asked = within(grant, parent, readAsked(form, agent, world.ceilings), world.now())
  // The person approved what it is made of, so only a denial counts.
  const question = { ...asked, agent, principalHint: parent.principal, holder: key.id }
  const decision = noted.decision = await world.decide(question)
  if (decision.effect === 'deny') {
    throw new SignetError('policy_denied', decision.reason ?? 'a policy denies it')
  }
  const above = await agentsAbove(world, parent, agent.id)
  const origin = { agent: agent.id, principal: parent.principal, parent: parent.id }
  const child = await newGrant(world, origin, asked, key)
  const bundle = await newBundle(world, child, key)
  await world.store.commit([
    // If the parent is revoked at this moment, the revocation must see the child, or the child not come to be.
    { put: 'grant', record: parent, version },
    keep,
    ...above,
    { put: 'grant', record: child, version: 0 },
    { put: 'bundle', record: bundle, version: 0 },
  ])
  return tokenAnswer(world, child, bundle, { issued_token_type: CHAIN_TYPE })
}

/** The other agents of a grant and of those above it, to be committed along: each may be suspended at this moment. */
async function agentsAbove(world: World, grant: GrantRecord, but: string): Promise<Change[]> {
  const agents = new Set<string>()
  for (let current: GrantRecord | undefined = grant; current !== undefined;) {
    if (current.agent !== but) agents.add(current.agent)
    const { parent }: GrantRecord = current
    current = parent === undefined
      ? undefined
      : (await world.store.records.get('grant', parent))?.record
  }
  return await Promise.all([...agents].map(async (id) => (await agentToGrant(world, id)).keep))
}

/**
 * The holder alone says to whom a grant goes, and agents have no keys with which they could agree: what stands under
 * an agent's name is made of its own grants, or of those of an agent from which the operator lets it take some.
 */
function requireTaking(agent: AgentRecord, from: string): void {
  if (agent.id === from || agent.takesFrom?.includes(from) === true) return
  throw new SignetError('policy_denied', 'the agent takes no grants that are made of this one', {
    where: 'client_id',
    remedy:
      'name the agent that the grant is for, or have the operator add it to takes_from of the other',
  })
}

/**
 * Verifies a chain whose root is ours, and finds the root's record. Links below the root must be valid too, as far as
 * they name a status. Errors: those of `verifyGrant`, `not_found`, `policy_denied`.
 */
export async function ownGrant(
  world: World,
  text: string,
): Promise<{ readonly grant: VerifiedGrant; readonly stored: Stored<GrantRecord> }> {
  const chain = parseChain(text)
  const trusted = [{ issuer: world.issuer, keys: world.published }]
  const grant = await verifyGrant(chain, trusted, {
    now: world.now(),
    audience: firstAudience(chain),
  })
  const root = grant.links[0]!
  const [stored] = await world.store.records.list('grant', { key: `jti:${root.jti}` })
  if (stored === undefined) throw new SignetError('not_found', 'there is no such grant')
  const prefix = `${world.issuer}/status/`
  for (const { status } of grant.links.slice(1)) {
    if (status === undefined) continue
    if (!status.uri.startsWith(prefix)) throw new SignetError('policy_denied', 'a link is not ours')
    const { values } = await world.store.status.read(status.uri.slice(prefix.length))
    if (values.get(status.idx) !== undefined) {
      throw new SignetError('policy_denied', 'a link of the grant is revoked')
    }
  }
  return { grant, stored }
}

/** Whom the leaf is for, unverified: the issuer need not be among them to know its own grant. */
function firstAudience(chain: GrantChain): string | undefined {
  const claims = parseJson(parseJws(chain.at(-1)!).payload, { what: 'claims' })
  const aud = isObject(claims) ? claims.aud : undefined
  const first: unknown = Array.isArray(aud) ? aud[0] : aud
  return typeof first === 'string' ? first : undefined
}

/** What is asked for, cut to the times of the parent, those of its record too; refused where it is wider. */
function within(grant: VerifiedGrant, parent: GrantRecord, asked: Asked, now: number): Asked {
  const wider = widening(parseCapability(grant.capability), parseCapability(asked.tools))
  if (wider !== undefined) throw new SignetError('grant_widened', wider)
  const left = grant.maxDepth - grant.depth - 1
  if (left < 0) throw new SignetError('grant_depth', 'the grant cannot be passed on')
  const { audience = grant.audience } = asked
  const foreign = audience?.find((one) => grant.audience?.includes(one) === false)
  if (foreign !== undefined || grant.audience !== undefined && audience === undefined) {
    throw new SignetError('grant_audience', "an audience is not the parent's")
  }
  return {
    ...asked,
    audience,
    duration: Math.min(asked.duration, grant.expiresAt - now),
    // Not in the token: what a bundle of the parent may do, one of the child may at most.
    offlineAge: Math.min(asked.offlineAge, parent.asked.offlineAge),
    maxDepth: Math.min(asked.maxDepth, left),
  }
}
