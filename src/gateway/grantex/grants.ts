/** Grants and their tokens: looked at, passed on, taken back; by developers and by the principals themselves. */
import * as v from 'valibot'
import { isSignetError } from '../../errors.ts'
import { type VerifiedGrantexToken, verifyGrantexToken } from '../../interop/grantex/mod.ts'
import type { JsonObject } from '../../json.ts'
import { digestOf, newSecret } from '../ids.ts'
import type { GrantRecord } from '../records.ts'
import { grantStanding, revokeGrant } from '../standing.ts'
import { everyRecord, retrying } from '../store.ts'
import { agentsOf } from './agents.ts'
import { onlineEntries } from './audit.ts'
import { agentOf, grantOf, isLive, newGrant, tokenId } from './authority.ts'
import { extraOf } from './grant_extra.ts'
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
import { checkScopes, newRefresh, tokenView } from './consent.ts'
import { admitted } from './people.ts'
import { isAllowedByPolicy } from './policies.ts'

/** Most grants of one answer. */
const MAX_LIST = 1000
const TOKEN = v.object({ token: v.pipe(v.string(), v.maxLength(64 * 1024)) })

/** A token of ours that is good now: signature, claims, its own state and that of all its grants. */
async function liveToken(
  dialect: Dialect,
  token: string,
): Promise<{ readonly verified: VerifiedGrantexToken; readonly grant: GrantRecord } | string> {
  let verified: VerifiedGrantexToken
  try {
    verified = await verifyGrantexToken(token, dialect.trust, {
      now: dialect.world.now(),
      skew: 0,
      insecureAnyAudience: true, // we are not who it is for; we are who issued it
    })
  } catch (error) {
    if (isSignetError(error)) return error.code
    throw error
  }
  const { id, grant: grantId } = verified.claims
  const grant = (await dialect.world.store.records.get('grant', grantId))?.record
  if (grant === undefined || !await isLive(dialect, id, grantId)) return 'revoked'
  const standing = await grantStanding(dialect.world, grant)
  return standing.state === 'active' ? { verified, grant } : standing.reason
}

/** `POST /v1/tokens/verify`. */
export async function verifyToken(call: Call): Promise<Answer> {
  const found = await liveToken(call.dialect, bodyOf(call, TOKEN).token)
  if (typeof found === 'string' || extraOf(found.grant)?.developer !== call.tenant) {
    return { status: 200, body: { valid: false } }
  }
  const { claims } = found.verified
  return {
    status: 200,
    body: {
      valid: true,
      grantId: claims.grant,
      scopes: claims.scopes,
      principal: claims.principal,
      agent: claims.agent,
      expiresAt: iso(claims.expiresAt),
    },
  }
}

/** `POST /v1/tokens/revoke`: one token, not its grant. */
export async function revokeToken(call: Call): Promise<Answer> {
  const { jti } = bodyOf(call, v.object({ jti: text(128) }))
  const { store, now } = call.dialect.world
  return await retrying(async () => {
    const found = await store.records.get('document', tokenId(jti))
    const grant = found?.record.value.grant
    if (found === undefined || typeof grant !== 'string') throw notFound('Token')
    await grantOf(call.dialect, call.tenant, grant)
    const value = { ...found.record.value, revokedAt: now() }
    await store.commit([
      { put: 'document', record: { ...found.record, value }, version: found.version },
    ])
    return { status: 204 }
  })
}

/** `GET /v1/grants`. */
export async function listGrants(call: Call): Promise<Answer> {
  const filter = (name: string) => call.query.get(name) ?? undefined
  const [agentId, principalId, status] = ['agentId', 'principalId', 'status'].map(filter)
  const grants: JsonObject[] = []
  for await (const grant of grantsOf(call, agentId)) {
    const view = grantView(grant, call.dialect.world.now())
    if (principalId !== undefined && grant.principal !== principalId) continue
    if (status !== undefined && view.status !== status) continue
    grants.push(view)
    if (grants.length === MAX_LIST) break
  }
  return { status: 200, body: { grants } }
}

/** The caller's grants, agent by agent. */
export async function* grantsOf(call: Call, agentId?: string): AsyncGenerator<GrantRecord> {
  const { records } = call.dialect.world.store
  for await (const { record: agent } of agentsOf(call)) {
    if (agentId !== undefined && agent.id !== agentId) continue
    for await (const { record } of everyRecord(records, 'grant', `agent:${agent.id}`)) {
      if (extraOf(record)?.developer === call.tenant) yield record
    }
  }
}

/** `GET /v1/grants/:id`. */
export async function getGrant(call: Call): Promise<Answer> {
  const { record } = await grantOf(call.dialect, call.tenant, call.params[0]!)
  return { status: 200, body: grantView(record, call.dialect.world.now()) }
}

/** `DELETE /v1/grants/:id`. */
export async function deleteGrant(call: Call): Promise<Answer> {
  const { record } = await grantOf(call.dialect, call.tenant, call.params[0]!)
  await revokeGrant(call.dialect.world, record.id, 'revoked by the developer')
  return { status: 204 }
}

/** `POST /v1/grants/verify`. */
export async function verifyGrant(call: Call): Promise<Answer> {
  const found = await liveToken(call.dialect, bodyOf(call, TOKEN).token)
  const isTheirs = typeof found !== 'string' && extraOf(found.grant)?.developer === call.tenant
  if (!isTheirs) {
    const reason = typeof found === 'string' ? found : 'revoked'
    if (reason === 'token_malformed' || reason === 'too_large') throw badRequest('no token')
    return { status: 200, body: { active: false, reason } }
  }
  const { claims } = found.verified
  return {
    status: 200,
    body: {
      active: true,
      claims: {
        iss: claims.issuer,
        sub: claims.principal,
        agt: claims.agent,
        scp: claims.scopes,
        grnt: claims.grant,
        jti: claims.id,
        iat: claims.issuedAt,
        exp: claims.expiresAt,
        aud: claims.audience,
        parentGrnt: claims.parentGrant,
        parentAgt: claims.parentAgent,
        delegationDepth: claims.depth === 0 ? undefined : claims.depth,
      },
    },
  }
}

const DELEGATE = v.object({
  parentGrantToken: v.pipe(v.string(), v.maxLength(64 * 1024)),
  subAgentId: text(128),
  scopes: scopeList,
  expiresIn: v.optional(v.string(), '1h'),
  credentialFormat: v.optional(v.literal('jwt')),
})

/** `POST /v1/grants/delegate`: a child that is narrower in everything, audience included. */
export async function delegate(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const asks = bodyOf(call, DELEGATE)
  const seconds = secondsOf(asks.expiresIn)
  if (seconds === undefined) throw badRequest('expiresIn is no duration')
  const found = await liveToken(dialect, asks.parentGrantToken)
  if (typeof found === 'string') throw badRequest(`the parent grant is not good: ${found}`)
  const { grant: parent, verified: { claims } } = found
  if (extraOf(parent)?.developer !== tenant) {
    throw new Refusal(403, 'FORBIDDEN', 'the parent grant is of another developer')
  }
  const { record: agent } = await agentOf(dialect, tenant, asks.subAgentId, true)
  if (claims.depth + 1 > Math.min(dialect.maxDepth, parent.asked.maxDepth)) {
    throw new Refusal(403, 'DELEGATION_DEPTH_EXCEEDED', `depth ${dialect.maxDepth} is the most`)
  }
  const excess = asks.scopes.filter((scope) => !claims.scopes.includes(scope))
  if (excess.length > 0) throw badRequest("scopes are not a subset of the parent's")
  checkScopes(agent.tools, asks.scopes)
  const now = dialect.world.now()
  const expiresAt = Math.min(now + seconds, claims.expiresAt, parent.expiresAt)
  const { maxDepth } = parent.asked
  const asked = askedFor(dialect, asks.scopes, expiresAt - now, maxDepth, claims.audience)
  // Throws where a policy denies it. One that allows is not needed: the principal consented to the parent.
  await isAllowedByPolicy(dialect, agent, parent.principal, asked)
  return await retrying(async () => {
    const { grant, token, changes } = await newGrant(dialect, {
      agent: agent.id,
      principal: parent.principal,
      developer: tenant,
      asked,
      expiresAt,
      parent,
    })
    const refresh = await newRefresh(grant)
    await dialect.world.store.commit([...changes, refresh.change])
    return { status: 201, body: tokenView(grant, token, refresh.secret) }
  })
}

const SESSION = v.object({ principalId: text(200), expiresIn: v.optional(v.string(), '1h') })

/** `POST /v1/principal-sessions`. The token is a random name, not a JWT: nothing can take it for a grant. */
export async function createSession(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { principalId, expiresIn } = bodyOf(call, SESSION)
  const seconds = secondsOf(expiresIn)
  if (seconds === undefined || seconds > 86_400) throw badRequest('expiresIn is no duration')
  await admitted(dialect, principalId, tenant)
  const secret = newSecret('gxs_')
  const expiresAt = dialect.world.now() + seconds
  const value = { tenant, principal: principalId, expiresAt }
  const record = { id: `grantex:session:${await digestOf(secret)}`, keys: [], value }
  await dialect.world.store.commit([{ put: 'document', record, version: 0 }])
  return {
    status: 201,
    body: {
      sessionToken: secret,
      dashboardUrl: `${dialect.base}/permissions#session=${secret}`,
      expiresAt: iso(expiresAt),
    },
  }
}

/** `GET /v1/principal/grants`. */
export async function principalGrants(call: Call): Promise<Answer> {
  const { records } = call.dialect.world.store
  const grants: JsonObject[] = []
  for await (const { record } of everyRecord(records, 'grant', `principal:${call.principal}`)) {
    if (extraOf(record)?.developer !== call.tenant) continue
    grants.push(grantView(record, call.dialect.world.now()))
    if (grants.length === MAX_LIST) break
  }
  return { status: 200, body: { principalId: call.principal, grants } }
}

/** `GET /v1/principal/audit`. */
export async function principalAudit(call: Call): Promise<Answer> {
  const entries = await onlineEntries(call, { principalId: call.principal })
  return { status: 200, body: { principalId: call.principal, entries } }
}

/** `DELETE /v1/principal/grants/:id`. */
export async function principalRevoke(call: Call): Promise<Answer> {
  const { record } = await grantOf(call.dialect, call.tenant, call.params[0]!)
  if (record.principal !== call.principal) throw notFound('Grant')
  await revokeGrant(call.dialect.world, record.id, 'revoked by the principal')
  return { status: 204 }
}

/** A grant as it is told. */
export function grantView(grant: GrantRecord, now: number): JsonObject {
  const extra = extraOf(grant)!
  return {
    grantId: grant.id,
    agentId: grant.agent,
    principalId: grant.principal,
    developerId: extra.developer,
    scopes: scopesOf(grant.asked),
    status: grant.status === 'active' && grant.expiresAt <= now ? 'expired' : grant.status,
    issuedAt: iso(grant.issuedAt),
    expiresAt: iso(grant.expiresAt),
    ...(grant.revokedAt === undefined ? {} : { revokedAt: iso(grant.revokedAt) }),
    delegationDepth: extra.depth,
    ...(grant.parent === undefined ? {} : { parentGrantId: grant.parent }),
  }
}
