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
 * - Session tokens of principals are no JWTs. Budgets and sign-up are not there.
 * - Webhooks are committed with what they tell of. Their secrets are not in the store.
 * - A SCIM user who is not active, or was removed, is a principal who gets nothing, and whose grants are revoked.
 */
import { isSignetError, SignetError } from '../errors.ts'
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
import { bundleRevoked, grantRevoked } from './grantex/events.ts'
import { type Access, apiKeyId, callerOf, counter } from './grantex/caller.ts'
import { admit } from './grantex/people.ts'
import {
  createUser,
  deleteUser,
  getUser,
  listUsers,
  patchUser,
  replaceUser,
  SCIM_TYPE,
  scimError,
  serviceConfig,
} from './grantex/scim.ts'
import { createScimToken, deleteScimToken, listScimTokens } from './grantex/scim_tokens.ts'
import { syncOffline } from './grantex/sync.ts'
import {
  createWebhook,
  deleteWebhook,
  type GrantexWebhooks,
  listDeliveries,
  listWebhooks,
} from './grantex/webhooks.ts'
import { RateError } from './rate.ts'
import type { Noted } from './router.ts'
import type { GatewayStore } from './store.ts'
import type { Decide } from './decide.ts'
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
  /** Tells of what happens; see `grantexWebhooks`. It must run, too. Default: no webhooks. */
  readonly webhooks?: GrantexWebhooks | undefined
  /** The developer whose SCIM users are the people of this whole server, and sign in or do not. Default: nobody's. */
  readonly directory?: string | undefined
  /** Whoever asks for authority has approved it, and no person is asked. For tests only. */
  readonly insecureSandboxApproval?: boolean | undefined
}

/** Body of a request at most, as the original. */
const MAX_BODY = 1024 * 1024

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
  ['POST', '/v1/webhooks', 'key', createWebhook],
  ['GET', '/v1/webhooks', 'key', listWebhooks],
  ['DELETE', '/v1/webhooks/:', 'key', deleteWebhook],
  ['GET', '/v1/webhooks/:/deliveries', 'key', listDeliveries],
  ['POST', '/v1/scim/tokens', 'key', createScimToken],
  ['GET', '/v1/scim/tokens', 'key', listScimTokens],
  ['DELETE', '/v1/scim/tokens/:', 'key', deleteScimToken],
  ['GET', '/scim/v2/ServiceProviderConfig', 'public', serviceConfig],
  ['POST', '/scim/v2/Users', 'scim', createUser],
  ['GET', '/scim/v2/Users', 'scim', listUsers],
  ['GET', '/scim/v2/Users/:', 'scim', getUser],
  ['PUT', '/scim/v2/Users/:', 'scim', replaceUser],
  ['PATCH', '/scim/v2/Users/:', 'scim', patchUser],
  ['DELETE', '/scim/v2/Users/:', 'scim', deleteUser],
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
  const record = {
    id: apiKeyId(await digestOf(secret)),
    keys: [`grantex:keys:${developer}`],
    value,
  }
  await store.commit([{ put: 'document', record, version: 0 }])
  return secret
}

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
): (request: Request, noted: Noted) => Promise<Response> {
  const { rate = 600 } = options
  const dialect = dialectOf(world, options, path)
  world.extend({
    admit: (principal, tenant) => admit(world.store, options.directory, principal, tenant),
    grantEnded: (grant, hasDescendants) => grantRevoked(dialect, grant, hasDescendants),
    bundleEnded: (bundle) => bundleRevoked(dialect, bundle),
  })
  const count = counter(rate, world)
  return async (request, noted) => {
    const { pathname, searchParams } = new URL(request.url)
    const isScim = pathname.startsWith(`${path}/scim/`)
    const type = isScim ? SCIM_TYPE : 'application/json'
    const headers = new Headers({ 'content-type': type, 'cache-control': 'no-store' })
    try {
      const found = routeOf(request.method, pathname.slice(path.length))
      const caller = await callerOf(dialect, request, found.access)
      if (caller.id !== '') count(caller.id, headers)
      const body = await readBody(request, MAX_BODY)
      const { tenant, principal } = caller
      const { params } = found
      const query = searchParams
      const call: Call = { dialect: noting(dialect, noted), tenant, principal, params, query, body }
      return respond(await found.handler(call), headers)
    } catch (error) {
      if (error instanceof RateError) headers.set('retry-after', String(error.retryAfter))
      if (!(error instanceof Refusal)) noted.error = error // for the operator's log
      const { status, code, message, more } = refusalOf(error)
      if (isScim && status === 401) headers.set('www-authenticate', 'Bearer') // RFC 7644 §2
      const body = isScim
        ? scimError(status, code, message)
        : { message, code, requestId: noted.requestId, ...more }
      return respond({ status, body }, headers)
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
    webhooks: options.webhooks,
    directory: options.directory,
  }
}

/** The dialect for one call: what the operator's policy says to it goes into the log. */
function noting(dialect: Dialect, noted: Noted): Dialect {
  const { world } = dialect
  const decide: Decide = async (question) => noted.decision = await world.decide(question)
  return { ...dialect, world: { ...world, decide } }
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

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (isSignetError(error, 'rate_limited')) {
    return new Refusal(429, 'RATE_LIMITED', `Rate limit exceeded; ${error.remedy ?? ''}`)
  }
  if (isSignetError(error, 'too_large')) return new Refusal(413, 'PAYLOAD_TOO_LARGE', error.message)
  if (isSignetError(error, 'store_conflict')) {
    return new Refusal(409, 'CONFLICT', 'somebody else changed it at the same time')
  }
  return new Refusal(500, 'INTERNAL_ERROR', 'the server failed')
}

function respond({ status, body, type, policy, location }: Answer, headers: Headers): Response {
  if (body === undefined) {
    headers.delete('content-type')
    return new Response(null, { status, headers })
  }
  if (type !== undefined) headers.set('content-type', type)
  if (policy !== undefined) headers.set('content-security-policy', policy)
  if (location !== undefined) headers.set('location', location)
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers })
}

async function health({ dialect }: Call): Promise<Answer> {
  await dialect.world.store.records.get('document', 'grantex:health')
  return { status: 200, body: { status: 'healthy', database: 'connected' } }
}

function jwks({ dialect }: Call): Answer {
  return { status: 200, body: { keys: dialect.jwks } }
}
