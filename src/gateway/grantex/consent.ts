/** From a request for authority to a token, and from a token to the next. */
import * as v from 'valibot'
import { toBase64Url, utf8 } from '../../bytes.ts'
import { digestOf, newId, newSecret } from '../ids.ts'
import type { GrantRecord, RequestRecord } from '../records.ts'
import { grantStanding, revokeGrant } from '../standing.ts'
import { askedOf } from '../world.ts'
import { keepRequest } from '../requests.ts'
import { type Change, retrying, type Stored } from '../store.ts'
import { admitted } from './people.ts'
import { isAllowedByPolicy } from './policies.ts'
import { agentOf, newGrant, newToken, supersede } from './authority.ts'
import {
  type Answer,
  askedFor,
  badRequest,
  bodyOf,
  type Call,
  iso,
  notFound,
  Refusal,
  scopeList,
  scopesOf,
  secondsOf,
  text,
} from './call.ts'

const REQUEST_SECONDS = 900
const CODE_SECONDS = 600
/** 90 days. */
const MOST_SECONDS = 90 * 86_400

const AUTHORIZE = v.object({
  agentId: text(128),
  principalId: text(200),
  scopes: scopeList,
  redirectUri: v.optional(text(2000)),
  state: v.optional(text(1000)),
  expiresIn: v.optional(v.string(), '24h'),
  audience: v.optional(text(500)),
  codeChallenge: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/))),
  codeChallengeMethod: v.optional(v.literal('S256')),
})

/** `POST /v1/authorize`: policy, then a person. In the sandbox whoever asks has approved. */
export async function authorize(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { now: clock } = dialect.world
  const asks = bodyOf(call, AUTHORIZE)
  const duration = secondsOf(asks.expiresIn)
  if (duration === undefined || duration > MOST_SECONDS) {
    throw badRequest('expiresIn is no duration')
  }
  const { record: agent } = await agentOf(dialect, tenant, asks.agentId, true)
  checkScopes(agent.tools, asks.scopes)
  await admitted(dialect, asks.principalId, tenant)
  const asked = askedFor(dialect, asks.scopes, duration, dialect.maxDepth, asks.audience)
  const isAllowed = await isAllowedByPolicy(dialect, agent, asks.principalId, asked)
  const now = clock()
  const id = newId('areq_', now * 1000)
  const pending: RequestRecord = {
    ...asked,
    id,
    agent: agent.id,
    redirectUri: asks.redirectUri ?? '',
    state: asks.state,
    codeChallenge: asks.codeChallenge ?? '',
    principalHint: asks.principalId,
    status: 'pending',
    createdAt: now,
    expiresAt: now + REQUEST_SECONDS,
    extra: { dialect: 'grantex' },
  }
  if (!isAllowed && !dialect.isSandbox) {
    // The page of the gateway redirects with a code: only to where the agent is known to live, only with PKCE.
    if (!agent.redirectUris.includes(pending.redirectUri)) {
      throw badRequest('redirectUri is not registered for the agent')
    }
    if (pending.codeChallenge === '') throw badRequest('codeChallenge is missing')
  }
  const approved = isAllowed || dialect.isSandbox
    ? await approve(pending, now, isAllowed ? 'policy' : 'principal')
    : undefined
  await keepRequest(dialect.world, approved?.record ?? pending)
  const more = isAllowed
    ? { policyEnforced: true, effect: 'allow', code: approved!.code }
    : dialect.isSandbox
    ? { sandbox: true, code: approved!.code }
    : {}
  const consentUrl = `${dialect.world.issuer}/consent/${id}`
  return {
    status: 201,
    body: { authRequestId: id, consentUrl, expiresAt: iso(pending.expiresAt), ...more },
  }
}

/** Scopes must be registered on the agent. */
export function checkScopes(
  registered: readonly string[] | undefined,
  scopes: readonly string[],
): void {
  const unknown = scopes.filter((scope) => !(registered ?? []).includes(scope))
  if (unknown.length > 0) {
    throw new Refusal(422, 'INVALID_SCOPES', 'not registered on the agent', { scopes: unknown })
  }
}

async function approve(
  request: RequestRecord,
  now: number,
  approvedBy: 'principal' | 'policy',
): Promise<{ readonly record: RequestRecord; readonly code: string }> {
  const code = newSecret('code_')
  return {
    code,
    record: {
      ...request,
      status: 'approved',
      principal: request.principalHint,
      approvedBy,
      decidedAt: now,
      codeHash: await digestOf(code),
      codeExpires: now + CODE_SECONDS,
    },
  }
}

/** `…/approve`: only in the sandbox; elsewhere a person approves on the page of the gateway. */
export async function approveRequest(call: Call): Promise<Answer> {
  const { record, version } = await sandboxRequest(call)
  const { record: approved, code } = await approve(record, call.dialect.world.now(), 'principal')
  await call.dialect.world.store.commit([{ put: 'request', record: approved, version }])
  const { redirectUri, state } = record
  return {
    status: 200,
    body: {
      code,
      ...(redirectUri === '' ? {} : { redirectUri }),
      ...(state === undefined ? {} : { state }),
    },
  }
}

/** `…/deny`: the same. */
export async function denyRequest(call: Call): Promise<Answer> {
  const { record, version } = await sandboxRequest(call)
  const denied: RequestRecord = { ...record, status: 'denied', decidedAt: call.dialect.world.now() }
  await call.dialect.world.store.commit([{ put: 'request', record: denied, version }])
  return { status: 200, body: { status: 'denied' } }
}

async function sandboxRequest(call: Call): Promise<Stored<RequestRecord>> {
  if (!call.dialect.isSandbox) {
    throw new Refusal(403, 'CONSENT_REQUIRED', 'the principal approves on the consent page')
  }
  const found = await call.dialect.world.store.records.get('request', call.params[0]!)
  if (found?.record.extra?.dialect !== 'grantex') throw notFound('Authorization request')
  // Once asked of a developer, only of their own requests.
  if (call.tenant !== '') await agentOf(call.dialect, call.tenant, found.record.agent)
  // In the sandbox it is approved already; the code is handed out anew until it is redeemed.
  const isOpen = ['pending', 'approved'].includes(found.record.status) &&
    found.record.expiresAt > call.dialect.world.now()
  if (!isOpen) throw new Refusal(410, 'GONE', 'the request is decided or has expired')
  return found
}

const TOKEN = v.object({
  code: text(200),
  agentId: text(128),
  codeVerifier: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9._~-]{43,128}$/))),
  credentialFormat: v.optional(v.literal('jwt')),
})

/** `POST /v1/token`: a code for a grant, once. */
export async function redeem(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { store } = dialect.world
  const { code, agentId, codeVerifier } = bodyOf(call, TOKEN)
  const refuse = () => badRequest('the code is not good')
  const key = `code:${await digestOf(code)}`
  return await retrying(async () => {
    const [found] = await store.records.list('request', { key, limit: 1 })
    if (found?.record.extra?.dialect !== 'grantex') throw refuse()
    const { record: request, version } = found
    const { record: agent } = await agentOf(dialect, tenant, request.agent, true).catch((error) => {
      throw error instanceof Refusal ? refuse() : error
    })
    if (request.agent !== agentId) throw refuse()
    if (request.status === 'redeemed') {
      // A code that comes twice was stolen (RFC 6749 §4.1.2): what it gave is taken back.
      if (request.grant !== undefined) {
        await revokeGrant(dialect.world, request.grant, 'its code was used by two')
      }
      throw refuse()
    }
    const now = dialect.world.now()
    if (request.status !== 'approved' || !((request.codeExpires ?? 0) > now)) throw refuse()
    if (request.codeChallenge !== '' && !await fits(codeVerifier, request.codeChallenge)) {
      throw refuse()
    }
    const { grant, token, changes } = await newGrant(dialect, {
      agent: agent.id,
      principal: request.principal!,
      developer: tenant,
      asked: askedOf(request),
      expiresAt: now + request.duration,
      request: request.id,
    })
    const refresh = await newRefresh(grant)
    const redeemed: RequestRecord = { ...request, status: 'redeemed', grant: grant.id }
    await store.commit([...changes, refresh.change, { put: 'request', record: redeemed, version }])
    return { status: 201, body: tokenView(grant, token, refresh.secret) }
  })
}

/** RFC 7636 §4.6. */
async function fits(verifier: string | undefined, challenge: string): Promise<boolean> {
  if (verifier === undefined) return false
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(verifier)))
  return toBase64Url(digest) === challenge
}

const REFRESH = v.object({ refreshToken: text(200), agentId: text(128) })

/** `POST /v1/token/refresh`: single use; the grant does not grow longer by it. */
export async function refreshToken(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { store } = dialect.world
  const { refreshToken: secret, agentId } = bodyOf(call, REFRESH)
  const refuse = () => badRequest('the refresh token is not good')
  const id = `grantex:refresh:${await digestOf(secret)}`
  return await retrying(async () => {
    const kept = await store.records.get('document', id)
    const { grant: grantId, jti, usedAt } = kept?.record.value ?? {}
    if (kept === undefined || typeof grantId !== 'string') throw refuse()
    const found = await store.records.get('grant', grantId)
    if (found?.record.extra?.developer !== tenant || found.record.agent !== agentId) throw refuse()
    if (usedAt !== undefined) {
      // One of the two who sent it is a thief, and nobody knows which (RFC 9700 §4.14.2).
      await revokeGrant(dialect.world, grantId, 'its refresh token was used by two')
      throw refuse()
    }
    if ((await grantStanding(dialect.world, found.record)).state !== 'active') throw refuse()
    const { grant, token, changes } = await newToken(dialect, found)
    const next = await newRefresh(grant)
    const used = { ...kept.record, value: { ...kept.record.value, usedAt: dialect.world.now() } }
    await store.commit([
      ...changes,
      next.change,
      ...await supersede(dialect, String(jti)),
      { put: 'document', record: used, version: kept.version },
    ])
    return { status: 201, body: tokenView(grant, token, next.secret) }
  })
}

/** A refresh token, and the change that makes it known. */
export async function newRefresh(
  grant: GrantRecord,
): Promise<{ readonly secret: string; readonly change: Change }> {
  const secret = newSecret('ref_')
  const id = `grantex:refresh:${await digestOf(secret)}`
  const record = {
    id,
    keys: [`grantex:refreshes:${grant.id}`],
    value: { grant: grant.id, jti: grant.jti },
  }
  return { secret, change: { put: 'document', record, version: 0 } }
}

/** What a fresh token is told with. */
export function tokenView(
  grant: GrantRecord,
  grantToken: string,
  refreshToken: string,
): NonNullable<Exclude<Answer['body'], string>> {
  return {
    grantToken,
    expiresAt: iso(grant.expiresAt),
    scopes: scopesOf(grant.asked),
    refreshToken,
    grantId: grant.id,
  }
}
