/**
 * The gateway: one function from requests to answers. Around every route: a name for the request, rates, limits,
 * headers that tell browsers to be careful, and errors in one form.
 */
import { verifyRequest } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { MAX_GRANT_DEPTH, MAX_GRANT_LIFETIME } from '../grants/mod.ts'
import type { Key, PublicKey } from '../keys/mod.ts'
import { agentRoutes } from './agents.ts'
import { auditRoutes } from './audit.ts'
import { authorizeRoutes } from './authorize.ts'
import { readBody } from './body.ts'
import { bundleRoutes } from './bundles.ts'
import { consentRoutes } from './consent.ts'
import { grantAdminRoutes } from './grants_admin.ts'
import { introspectRoutes } from './introspect.ts'
import { metadataRoutes } from './metadata.ts'
import { extensible } from './extension.ts'
import { errorPage } from './page.ts'
import { codePrincipals, type PrincipalAuthenticator } from './principals.ts'
import { errorBody, statusOf } from './problem.ts'
import { RateError, rateLimiter, RATES, type Rates } from './rate.ts'
import { type Noted, routed } from './router.ts'
import { signInRoutes } from './sign_in.ts'
import { statusRoutes } from './status.ts'
import type { GatewayStore } from './store.ts'
import { syncRoutes } from './sync.ts'
import { tokenRoutes } from './token.ts'
import type { Decide } from './decide.ts'
import type { Ceilings, GatewayEvent, Routes, World } from './world.ts'

/** Options of {@link gateway}. */
export interface GatewayOptions {
  /** The server's name and address, an origin: `https://gateway.example`. Plain `http:` only for this machine. */
  readonly issuer: string
  /** The key that signs grants, bundles and status lists: Ed25519. */
  readonly key: Key
  /** Further keys to publish: the next one before it signs, the last one until its signatures have expired. */
  readonly published?: readonly PublicKey[] | undefined
  /** Where everything is kept. */
  readonly store: GatewayStore
  /** Policies, such as `parseGrantPolicy` reads them. Default: always ask a person. */
  readonly decide?: Decide | undefined
  /** How people sign in. Default: one-time codes. */
  readonly principals?: PrincipalAuthenticator | undefined
  /**
   * What is given and kept at most, whole numbers. Default: 90 days (more there is not), 7 days without contact, depth 8
   * (at most 64); of one device's log 10 million entries and 2 GiB.
   */
  readonly ceilings?: Partial<Ceilings> | undefined
  /** Requests per minute of one client. */
  readonly rates?: Partial<Rates> | undefined
  /** Further routes, of other dialects. */
  readonly dialects?: readonly Routes[] | undefined
  /** Told of each request. */
  readonly log?: ((event: GatewayEvent) => void) | undefined
  /** The clock, seconds since 1970. Default: the system's. */
  readonly now?: (() => number) | undefined
}

/** What the platform knows of a request besides itself. */
export interface RequestInfo {
  /** Whose requests are counted together: the address. Default: all are one client. */
  readonly client?: string | undefined
}

/** Answers requests; throws nothing. */
export type Gateway = (request: Request, info?: RequestInfo) => Promise<Response>

const DAY = 86_400
const CEILINGS: Ceilings = {
  duration: MAX_GRANT_LIFETIME,
  offlineAge: 7 * DAY,
  maxDepth: 8,
  logEntries: 10_000_000,
  logBytes: 2 * 1024 ** 3,
}
/** What is above, verifiers refuse. */
const MOST: Partial<Ceilings> = { duration: MAX_GRANT_LIFETIME, maxDepth: MAX_GRANT_DEPTH }
/** More fields, or longer ones, than any client of ours sends. */
const MAX_FIELDS = 64
const MAX_URL = 8192

const ROUTES: readonly Routes[] = [
  metadataRoutes,
  authorizeRoutes,
  consentRoutes,
  signInRoutes,
  tokenRoutes,
  bundleRoutes,
  syncRoutes,
  statusRoutes,
  introspectRoutes,
  agentRoutes,
  grantAdminRoutes,
  auditRoutes,
]

/** Builds the gateway. Errors: `usage_invalid` (issuer, ceilings), `key_usage`. */
export function gateway(options: GatewayOptions): Gateway {
  const clients = new WeakMap<Request, string>()
  const world = worldOf(options, clients)
  const answer = routed((router) => {
    for (const routes of [...ROUTES, ...options.dialects ?? []]) routes(router, world)
  }, { missing, failed })
  return async (request, info = {}) => {
    const started = performance.now()
    const noted: Noted = { requestId: crypto.randomUUID(), error: undefined }
    clients.set(request, info.client ?? '')
    let response: Response
    try {
      checkShape(request)
      response = await answer(request, noted)
    } catch (error) {
      response = failed(error, pathOf(request), noted)
    }
    options.log?.({
      requestId: noted.requestId,
      method: request.method,
      path: pathOf(request),
      status: response.status,
      took: performance.now() - started,
      error: noted.error,
      ...noted.decision === undefined ? {} : { decision: noted.decision },
    })
    return finish(response, noted.requestId, world)
  }
}

function missing(allowed: readonly string[], path: string, noted: Noted): Response {
  if (allowed.length === 0) {
    return failed(new SignetError('not_found', 'there is nothing here'), path, noted)
  }
  const methods = allowed.join(', ')
  const answer = failed(new SignetError('method_refused', `only ${methods} here`), path, noted)
  answer.headers.set('allow', methods)
  return answer
}

function failed(error: unknown, path: string, noted: Noted): Response {
  noted.error = error
  return failure(error, path, noted.requestId)
}

function worldOf(options: GatewayOptions, clients: WeakMap<Request, string>): World {
  const { store, key, published = [] } = options
  const issuer = issuerOf(options.issuer)
  if (key.publicKey.algorithm.name !== 'Ed25519') {
    throw new SignetError('key_usage', 'the key of a gateway is Ed25519')
  }
  const now = options.now ?? (() => Math.floor(Date.now() / 1000))
  const limit = rateLimiter({ ...RATES, ...options.rates })
  const urlOf = (request: Request) => {
    const { pathname, search } = new URL(request.url)
    return issuer + pathname + search
  }
  const verifiedParts: World['verifiedParts'] = (parts, keyOf) =>
    verifyRequest(parts, { keyOf, nonces: store.nonces, now: now() })
  return {
    issuer,
    key,
    published: [key.publicKey, ...published.filter(({ id }) => id !== key.publicKey.id)],
    store,
    decide: options.decide ?? (() => ({ effect: 'ask' })),
    principals: options.principals ?? codePrincipals(store, issuer, now),
    ...extensible(),
    ceilings: ceilingsOf(options.ceilings),
    now,
    count: (request, kind) => limit(clients.get(request) ?? '', kind, now()),
    urlOf,
    verifiedParts,
    verified: async (request, keyOf, maxBody) => {
      const { method, headers } = request
      const body = () => readBody(request, maxBody)
      return await verifiedParts({ method, headers, body, url: urlOf(request) }, keyOf)
    },
  }
}

/** What is compared with something that is no number bounds nothing. */
function ceilingsOf(given: Partial<Ceilings> = {}): Ceilings {
  const set = Object.entries(given).filter(([, value]) => value !== undefined)
  for (const [name, value] of set) {
    const most = MOST[name as keyof Ceilings] ?? Number.MAX_SAFE_INTEGER
    if (Number.isSafeInteger(value) && value >= 0 && value <= most) continue
    throw new SignetError(
      'usage_invalid',
      `the ceiling ${name} is no whole number from 0 to ${most}`,
    )
  }
  return { ...CEILINGS, ...Object.fromEntries(set) }
}

/** Links, cookies and signatures all name the issuer, so it must be what the world calls the server by. */
function issuerOf(text: string): string {
  const url = URL.parse(text)
  const isLocal = url !== null && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url?.origin === text && (url.protocol === 'https:' || url.protocol === 'http:' && isLocal)) {
    return text
  }
  throw new SignetError('usage_invalid', 'the issuer is no origin', {
    remedy: 'write it as https://gateway.example; http: is for this machine only',
  })
}

function checkShape(request: Request): void {
  if (request.url.length > MAX_URL || [...request.headers].length > MAX_FIELDS) {
    throw new SignetError('fields_too_large', 'the URL or the header of the request is too large')
  }
}

function pathOf(request: Request): string {
  return new URL(request.url).pathname
}

function failure(error: unknown, path: string, requestId: string): Response {
  const status = statusOf(error)
  const headers = new Headers()
  if (error instanceof RateError) headers.set('retry-after', String(error.retryAfter))
  if (/^\/(?:oauth\/authorize|consent\/|sign-in)/.test(path)) {
    return errorPage(error, status, headers)
  }
  const form = path.startsWith('/oauth/') ? 'oauth' : 'problem'
  const { body, type } = errorBody(error, form, requestId)
  headers.set('content-type', type)
  if (status === 401) headers.set('www-authenticate', 'Bearer realm="signet", Signature')
  return new Response(body, { status, headers })
}

const DEFAULT_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

function finish(response: Response, requestId: string, { issuer, now }: World): Response {
  const headers = new Headers(response.headers)
  // Devices without a good clock go by ours.
  headers.set('date', new Date(now() * 1000).toUTCString())
  for (const [name, value] of Object.entries(DEFAULT_HEADERS)) {
    if (!headers.has(name)) headers.set(name, value)
  }
  if (issuer.startsWith('https:')) headers.set('strict-transport-security', 'max-age=31536000')
  headers.set('x-request-id', requestId)
  return new Response(response.body, { status: response.status, headers })
}
