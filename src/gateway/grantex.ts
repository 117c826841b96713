/**
 * The face of a Grantex service, for its own clients unchanged: one table of routes below one path. It stands on the
 * gateway's store, policies and standing, so whatever the operator revokes or suspends there is over here too.
 *
 * Mount it below a path (`/grantex`): Grantex publishes RSA keys alone at `/.well-known/jwks.json`, the gateway its own.
 *
 * Otherwise than the original:
 * - A bundle needs a consent that covers it, or a policy of the operator. Else 403 `CONSENT_REQUIRED`.
 * - Outside of `insecureSandboxApproval` the person approves, signed in, on the gateway's page; with PKCE, and the
 *   redirect URIs registered on the agent (`redirectUris`, ours).
 * - Nothing outlives what was consented to: no refresh of a token or bundle, no delegation. Audiences are inherited.
 * - Uploads of both dialects are judged entry by entry and kept byte for byte; what is odd about an entry is told in
 *   `errors` of a 200, what breaks the chain is a 4xx after all before it was kept. Keys of earlier generations count.
 * - A log begun anew, and a fork, are findings that the operator sees.
 * - Scopes must be registered on the agent (422 `INVALID_SCOPES`), also at `/v1/authorize`.
 * - A developer's policy denies; it allows in the sandbox only.
 * - Session tokens of principals are no JWTs. Webhooks, SCIM, budgets and sign-up are not there.
 */
import { isSignetError, SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Key, PublicKey } from '../keys/mod.ts'
import { readBody } from './body.ts'
import { digestOf, newSecret } from './ids.ts'
import { changeAgent, createAgent, deleteAgent, getAgent, listAgents } from './grantex/agents.ts'
import { getEntry, listEntries, logEntry } from './grantex/audit.ts'
import { getBundle, listBundles, revocationStatus } from './grantex/bundle_views.ts'
import { createBundle, refreshBundle, revokeBundle } from './grantex/bundles.ts'
import { type Answer, type Call, type Dialect, type Handler, Refusal } from './grantex/call.ts'
import { approveRequest, authorize, denyRequest, redeem, refreshToken } from './grantex/consent.ts'
import {
  createSession,
  delegate,
  deleteGrant,
  getGrant,
  listGrants,
  principalAudit,
  principalGrants,
  principalRevoke,
  revokeToken,
  verifyGrant,
  verifyToken,
} from './grantex/grants.ts'
import { evidencePack, exportAudit, exportGrants, summary } from './grantex/compliance.ts'
import { permissionsPage, permissionsScript } from './grantex/permissions.ts'
import {
  changePolicy,
  createPolicy,
  deletePolicy,
  getPolicy,
  listPolicies,
} from './grantex/policies.ts'
import { exportEntries } from './grantex/export.ts'
import { syncOffline } from './grantex/sync.ts'
import { RateError } from './rate.ts'
import type { GatewayStore } from './store.ts'
import type { Routes, World } from './world.ts'

/** Options of {@link grantexRoutes}. */
export interface GrantexOptions {
  /** Signs grant tokens: RS256, at least 2048 bits. */
  readonly key: Key
  /** Further RS256 keys to publish and to take tokens of: the next one, and the last until its tokens have expired. */
  readonly published?: readonly PublicKey[] | undefined
  /** Below which path of the gateway. Default `/grantex`. */
  readonly path?: string | undefined
  /** How often a grant may be passed on. Default 3, at most 10. */
  readonly maxDepth?: number | undefined
  /** Requests per minute of one API key. Default 600. */
  readonly rate?: number | undefined
  /** A bundle with less than this part of its time left is renewed when it syncs. Default 0.2. */
  readonly renewBelow?: number | undefined
  /** Whoever asks for authority has approved it, and no person is asked. For tests only. */
  readonly insecureSandboxApproval?: boolean | undefined
}

/** Body of a request at most, as the original. */
const MAX_BODY = 1024 * 1024
const WINDOW = 60

type Access = 'public' | 'key' | 'session'

const ROUTES: readonly (readonly [string, string, Access, Handler])[] = [
  ['GET', '/health', 'public', health],
  ['GET', '/.well-known/jwks.json', 'public', jwks],
  ['POST', '/v1/agents', 'key', createAgent],
  ['GET', '/v1/agents', 'key', listAgents],
  ['GET', '/v1/agents/:', 'key', getAgent],
  ['PATCH', '/v1/agents/:', 'key', changeAgent],
  ['DELETE', '/v1/agents/:', 'key', deleteAgent],
  ['POST', '/v1/authorize', 'key', authorize],
  ['POST', '/v1/authorize/:/approve', 'key', approveRequest],
  ['POST', '/v1/authorize/:/deny', 'key', denyRequest],
  ['POST', '/v1/consent/:/approve', 'public', approveRequest],
  ['POST', '/v1/consent/:/deny', 'public', denyRequest],
  ['POST', '/v1/token', 'key', redeem],
  ['POST', '/v1/token/refresh', 'key', refreshToken],
  ['POST', '/v1/tokens/verify', 'key', verifyToken],
  ['POST', '/v1/tokens/revoke', 'key', revokeToken],
  ['GET', '/v1/grants', 'key', listGrants],
  ['POST', '/v1/grants/verify', 'key', verifyGrant],
  ['POST', '/v1/grants/delegate', 'key', delegate],
  ['GET', '/v1/grants/:', 'key', getGrant],
  ['DELETE', '/v1/grants/:', 'key', deleteGrant],
  ['POST', '/v1/audit/log', 'key', logEntry],
  ['GET', '/v1/audit/entries', 'key', listEntries],
  ['POST', '/v1/audit/offline-sync', 'key', syncOffline],
  // Where the client of TypeScript ends up that is given a bundle's syncEndpoint, as its README says.
  ['POST', '/v1/audit/offline-sync/v1/audit/offline-sync', 'key', syncOffline],
  ['GET', '/v1/audit/:', 'key', getEntry],
  ['POST', '/v1/principal-sessions', 'key', createSession],
  ['GET', '/v1/principal/grants', 'session', principalGrants],
  ['GET', '/v1/principal/audit', 'session', principalAudit],
  ['DELETE', '/v1/principal/grants/:', 'session', principalRevoke],
  ['GET', '/permissions', 'public', permissionsPage],
  ['GET', '/permissions.js', 'public', permissionsScript],
  ['POST', '/v1/policies', 'key', createPolicy],
  ['GET', '/v1/policies', 'key', listPolicies],
  ['GET', '/v1/policies/:', 'key', getPolicy],
  ['PATCH', '/v1/policies/:', 'key', changePolicy],
  ['DELETE', '/v1/policies/:', 'key', deletePolicy],
  ['GET', '/v1/compliance/summary', 'key', summary],
  ['GET', '/v1/compliance/export/grants', 'key', exportGrants],
  ['GET', '/v1/compliance/export/audit', 'key', exportAudit],
  ['GET', '/v1/compliance/evidence-pack', 'key', evidencePack],
  ['POST', '/v1/consent-bundles', 'key', createBundle],
  ['GET', '/v1/consent-bundles', 'key', listBundles],
  ['GET', '/v1/consent-bundles/:', 'key', getBundle],
  ['GET', '/v1/consent-bundles/:/audit', 'key', exportEntries],
  ['GET', '/v1/consent-bundles/:/revocation-status', 'key', revocationStatus],
  ['POST', '/v1/consent-bundles/:/refresh', 'key', refreshBundle],
  ['POST', '/v1/consent-bundles/:/revoke', 'key', revokeBundle],
]

/** Makes an API key for a developer. Shown once; it is kept as its digest. Errors: `usage_invalid`. */
export async function newGrantexKey(
  store: GatewayStore,
  developer: string,
  now: number = Math.floor(Date.now() / 1000),
): Promise<string> {
  if (!/^dev_[A-Za-z0-9]{1,60}$/.test(developer)) {
    throw new SignetError('usage_invalid', 'a developer is "dev_" and letters or digits')
  }
  const secret = newSecret('gx_live_')
  const value = { tenant: developer, createdAt: now }
  const record = { id: keyId(await digestOf(secret)), keys: [`grantex:keys:${developer}`], value }
  await store.commit([{ put: 'document', record, version: 0 }])
  return secret
}

const keyId = (digest: string) => `grantex:key:${digest}`

/** The dialect, for `dialects` of the gateway. Errors, when that is built: `usage_invalid`, `algorithm_mismatch`. */
export function grantexRoutes(options: GrantexOptions): Routes {
  return (app, world) => {
    const { path = '/grantex' } = options
    const answer = face(world, options, path)
    app.all(`${path}/*`, (context) => answer(context.req.raw, context.env))
  }
}

/** Answers requests below its path. Throws nothing. */
function face(
  world: World,
  options: GrantexOptions,
  path: string,
): (request: Request, noted: { readonly requestId: string; error: unknown }) => Promise<Response> {
  const { rate = 600 } = options
  const dialect = dialectOf(world, options, path)
  const count = counter(rate, world)
  return async (request, noted) => {
    const { pathname, searchParams } = new URL(request.url)
    const headers = new Headers({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    try {
      const found = routeOf(request.method, pathname.slice(path.length))
      const caller = await callerOf(world, request, found.access)
      if (caller.id !== '') count(caller.id, headers)
      const body = await readBody(request, MAX_BODY)
      const { tenant, principal } = caller
      const { params } = found
      const call: Call = { dialect, tenant, principal, params, query: searchParams, body }
      return respond(await found.handler(call), headers)
    } catch (error) {
      if (error instanceof RateError) headers.set('retry-after', String(error.retryAfter))
      if (!(error instanceof Refusal)) noted.error = error // for the operator's log
      return respond(refused(error, noted.requestId), headers)
    }
  }
}

function dialectOf(world: World, options: GrantexOptions, path: string): Dialect {
  const { key, published = [], maxDepth = 3, renewBelow = 0.2 } = options
  const keys = new Map([key.publicKey, ...published].map((one) => [one.id, one]))
  if ([...keys.values()].some(({ algorithm }) => algorithm.name !== 'RS256')) {
    throw new SignetError('algorithm_mismatch', 'keys of the Grantex dialect are RS256')
  }
  if (!/^(\/[a-z0-9-]+)+$/.test(path) || !(maxDepth >= 0 && maxDepth <= 10)) {
    throw new SignetError('usage_invalid', 'the path or the depth of the Grantex dialect is none')
  }
  const base = world.issuer + path
  return {
    world,
    base,
    signer: key,
    trust: { issuer: base, keys },
    jwks: [...keys].map(([kid, { jwk }]) => ({ ...jwk, use: 'sig', kid })),
    isSandbox: options.insecureSandboxApproval === true,
    maxDepth: Math.min(maxDepth, world.ceilings.maxDepth),
    renewBelow,
  }
}

interface Found {
  readonly access: Access
  readonly handler: Handler
  readonly params: readonly string[]
}

function routeOf(method: string, path: string): Found {
  const parts = path.split('/')
  for (const [verb, pattern, access, handler] of ROUTES) {
    const wanted = pattern.split('/')
    if (verb !== method || wanted.length !== parts.length) continue
    if (!wanted.every((part, i) => part === ':' || part === parts[i])) continue
    const params = parts.filter((_, i) => wanted[i] === ':')
    // Ids are ASCII; what is escaped is none.
    if (params.every((param) => /^[\w.:-]{1,200}$/.test(param))) return { access, handler, params }
  }
  throw new Refusal(404, 'NOT_FOUND', 'there is nothing here')
}

interface Caller {
  readonly id: string
  readonly tenant: string
  readonly principal: string
}

/** Who calls: the developer of a key, or the principal of a session. A session is no key and a key no session. */
async function callerOf(world: World, request: Request, access: Access): Promise<Caller> {
  if (access === 'public') {
    world.count(request, 'read')
    return { id: '', tenant: '', principal: '' }
  }
  const unknown = () => {
    world.count(request, 'operator') // whoever guesses does not guess fast
    return new Refusal(401, 'UNAUTHORIZED', 'the API key or session is not known')
  }
  const [, secret] = /^bearer +([\x21-\x7e]{16,512})$/i.exec(
    request.headers.get('authorization') ?? '',
  ) ?? []
  if (secret === undefined) throw unknown()
  const digest = await digestOf(secret)
  const id = access === 'key' ? keyId(digest) : `grantex:session:${digest}`
  const value = (await world.store.records.get('document', id))?.record.value
  const { tenant, principal = '', expiresAt = Infinity, revokedAt } = value ?? {}
  if (typeof tenant !== 'string' || typeof principal !== 'string' || revokedAt !== undefined) {
    throw unknown()
  }
  if (!(Number(expiresAt) > world.now())) throw unknown()
  return { id, tenant, principal }
}

/** Counts requests in windows of a minute, by key, in this process. Sets the headers of the original. */
function counter(rate: number, { now }: World): (id: string, headers: Headers) => void {
  const counts = new Map<string, number>()
  let window = 0
  return (id, headers) => {
    const current = Math.floor(now() / WINDOW)
    if (current !== window) {
      counts.clear()
      window = current
    }
    const used = (counts.get(id) ?? 0) + 1
    counts.set(id, used)
    const reset = Math.max(1, (current + 1) * WINDOW - now())
    headers.set('x-ratelimit-limit', String(rate))
    headers.set('x-ratelimit-remaining', String(Math.max(0, rate - used)))
    headers.set('x-ratelimit-reset', String(reset))
    if (used <= rate) return
    headers.set('retry-after', String(reset))
    throw new Refusal(429, 'RATE_LIMIT_EXCEEDED', `Rate limit exceeded, retry in ${reset} seconds`)
  }
}

function refused(error: unknown, requestId: string): Answer {
  const [status, code, message, more]: [number, string, string, JsonObject] =
    error instanceof Refusal
      ? [error.status, error.code, error.message, error.more]
      : isSignetError(error, 'rate_limited')
      ? [429, 'RATE_LIMITED', `Rate limit exceeded; ${error.remedy ?? ''}`, {}]
      : isSignetError(error, 'too_large')
      ? [413, 'PAYLOAD_TOO_LARGE', error.message, {}]
      : isSignetError(error, 'store_conflict')
      ? [409, 'CONFLICT', 'somebody else changed it at the same time', {}]
      : [500, 'INTERNAL_ERROR', 'the server failed', {}]
  return { status, body: { message, code, requestId, ...more } }
}

function respond({ status, body, type, policy }: Answer, headers: Headers): Response {
  if (body === undefined) {
    headers.delete('content-type')
    return new Response(null, { status, headers })
  }
  if (type !== undefined) headers.set('content-type', type)
  if (policy !== undefined) headers.set('content-security-policy', policy)
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers })
}

async function health({ dialect }: Call): Promise<Answer> {
  await dialect.world.store.records.get('document', 'grantex:health')
  return { status: 200, body: { status: 'healthy', database: 'connected' } }
}

function jwks({ dialect }: Call): Answer {
  return { status: 200, body: { keys: dialect.jwks } }
}
