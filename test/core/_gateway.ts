// deno-lint-ignore-file no-explicit-any -- answers are looked into by tests only
/** A gateway in memory with its clock, and the steps of a flow, for tests. */
import assert from 'node:assert/strict'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, owned, utf8 } from '../../src/bytes.ts'
import { signRequest } from '../../src/envelope/mod.ts'
import {
  digestOf,
  type Gateway,
  gateway,
  type GatewayEvent,
  type GatewayOptions,
  type GatewayStore,
  memoryGatewayStore,
  newOperatorKey,
} from '../../src/gateway/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'

export const ISSUER = 'https://gateway.example'
export const REDIRECT = 'https://app.example/cb?x=1'
export const NOW = 1_790_000_000

/** A device: a key, and signed requests. */
export interface Device {
  readonly key: Key
  readonly cnf: string
}

/** A gateway that is talked to, wherever it runs. */
export interface Place {
  readonly fetch: Gateway
  readonly operator: string
  readonly issuer: string
  /** Seconds since 1970. */
  now: number
}

/** A gateway in this process; its clock may be set. */
export interface Scene extends Place {
  readonly store: GatewayStore
  readonly key: Key
  readonly events: GatewayEvent[]
}

export async function scene(options: Partial<GatewayOptions> = {}): Promise<Scene> {
  const events: GatewayEvent[] = []
  const made: { now: number } = { now: NOW }
  const now = () => made.now
  const store = options.store ?? memoryGatewayStore({ now })
  const key = options.key ?? await generateKey(ALGORITHMS['Ed25519'])
  const fetch = gateway({
    issuer: ISSUER,
    key,
    store,
    now,
    log: (event) => events.push(event),
    rates: { start: 100_000, device: 100_000, read: 100_000, operator: 100_000 },
    ...options,
  })
  const operator = await newOperatorKey(store, 'op', NOW)
  return Object.assign(made, { fetch, store, key, operator, events, issuer: ISSUER })
}

export async function device(): Promise<Device> {
  const key = await generateKey(ALGORITHMS['Ed25519'])
  return { key, cnf: JSON.stringify({ jwk: key.publicKey.jwk }) }
}

export function send(
  { fetch, issuer }: Place,
  method: string,
  path: string,
  init: { body?: BodyInit; headers?: HeadersInit } = {},
): Promise<Response> {
  return fetch(new Request(issuer + path, { method, redirect: 'manual', ...init }))
}

export async function asOperator(
  at: Place,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  const headers = new Headers({ authorization: `Bearer ${at.operator}` })
  if (body === undefined) return await send(at, method, path, { headers })
  headers.set('content-type', 'application/json')
  return await send(at, method, path, { headers, body: JSON.stringify(body) })
}

export type Fields = Record<string, string | string[] | undefined>

export function formOf(fields: Fields): string {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value ?? []].flat()) form.append(name, one)
  }
  return form.toString()
}

export async function postForm(
  at: Place,
  path: string,
  fields: Fields,
  headers: Record<string, string> = {},
): Promise<Response> {
  return await send(at, 'POST', path, {
    body: formOf(fields),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  })
}

/** A request that a device signs. */
export async function signed(
  at: Place,
  { key }: Device,
  method: string,
  path: string,
  body?: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Request> {
  const bytes = typeof body === 'string' ? utf8(body) : body
  const url = at.issuer + path
  const parts = { method, url, body: bytes, headers: new Headers(headers) }
  const fields = await signRequest(parts, key, { created: at.now })
  return new Request(url, { method, headers: fields, body: bytes && owned(bytes) })
}

export async function asDevice(
  at: Place,
  who: Device,
  method: string,
  path: string,
  body?: string | Uint8Array,
): Promise<Response> {
  return await at.fetch(await signed(at, who, method, path, body))
}

/** A form that a device signs. */
export async function signedForm(
  at: Place,
  who: Device,
  path: string,
  fields: Fields,
): Promise<Response> {
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  return await at.fetch(await signed(at, who, 'POST', path, formOf(fields), type))
}

export async function bodyOf(response: Response, status = 200): Promise<any> {
  const text = await response.text()
  assert.equal(response.status, status, text)
  return JSON.parse(text)
}

export async function refused(
  response: Response | Promise<Response>,
  status: number,
  code: string,
): Promise<void> {
  const answer = await response
  const text = await answer.text()
  assert.equal(answer.status, status, text)
  if (answer.headers.get('content-type')?.startsWith('text/html')) return
  assert.equal(JSON.parse(text).code, code, text)
}

export async function registered(at: Place, more = {}): Promise<string> {
  const agent = { name: 'Robot', redirect_uris: [REDIRECT], ...more }
  return (await bodyOf(await asOperator(at, 'POST', '/admin/agents', agent), 201)).id
}

export const VERIFIER: string = 'v'.repeat(43)

export async function parFields(agent: string, more: Fields = {}): Promise<Fields> {
  return {
    client_id: agent,
    response_type: 'code',
    redirect_uri: REDIRECT,
    code_challenge: await digestOf(VERIFIER),
    code_challenge_method: 'S256',
    scope: 'calendar:read mail:send',
    state: 's1',
    ...more,
  }
}

/** Pushes a request; its id. */
export async function push(at: Place, agent: string, more: Fields = {}): Promise<string> {
  const answer = await bodyOf(await postForm(at, '/oauth/par', await parFields(agent, more)), 201)
  return answer.request_uri.split(':').at(-1)
}

export function authorize(at: Place, agent: string, id: string): Promise<Response> {
  const query = formOf({ client_id: agent, request_uri: `urn:ietf:params:oauth:request_uri:${id}` })
  return send(at, 'GET', `/oauth/authorize?${query}`)
}

/** Signs a principal in; the cookie. */
export async function session(at: Place, principal = 'alice'): Promise<string> {
  const made = await asOperator(at, 'POST', '/admin/sign-in-codes', { principal })
  const { code } = await bodyOf(made, 201)
  const answer = await postForm(at, '/sign-in', { code, back: '/consent/x' })
  assert.equal(answer.status, 303)
  return answer.headers.get('set-cookie')!.split(';')[0]!
}

/** The consent page, and the token in its form. */
export async function consentPage(
  at: Place,
  id: string,
  cookie: string,
): Promise<{ response: Response; text: string; token: string }> {
  const response = await send(at, 'GET', `/consent/${id}`, { headers: { cookie } })
  const text = await response.text()
  return { response, text, token: /name="token" value="([\w-]+)"/.exec(text)?.[1] ?? '' }
}

/** Approves as a person does; where the browser is sent. */
export async function approve(
  at: Place,
  id: string,
  cookie: string,
  more: Fields = {},
): Promise<URL> {
  const { token } = await consentPage(at, id, cookie)
  const tool = ['calendar:read', 'mail:send']
  const fields = { token, decision: 'approve', tool, ...more }
  const answer = await postForm(at, `/consent/${id}`, fields, { cookie })
  assert.equal(answer.status, 303, await answer.text())
  return new URL(answer.headers.get('location')!)
}

/** A code, all the way from the registered agent. */
export async function codeFor(at: Place, agent: string, more: Fields = {}): Promise<string> {
  const id = await push(at, agent, more)
  const to = await approve(at, id, await session(at))
  return to.searchParams.get('code')!
}

export function tokenFields(agent: string, code: string, who: Device, more: Fields = {}): Fields {
  return {
    grant_type: 'authorization_code',
    client_id: agent,
    redirect_uri: REDIRECT,
    code,
    code_verifier: VERIFIER,
    req_cnf: who.cnf,
    ...more,
  }
}

/** A grant with its bundle, all the way. */
export async function granted(
  at: Place,
  who: Device,
  agent?: string,
  more: Fields = {},
): Promise<any> {
  const id = agent ?? await registered(at)
  const code = await codeFor(at, id, more)
  const answer = await signedForm(at, who, '/oauth/token', tokenFields(id, code, who))
  return { agent: id, ...await bodyOf(answer) }
}

/** Unverified claims of a token. */
export function claimsOf(token: string): any {
  const part = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')
  return JSON.parse(fromUtf8(Uint8Array.from(atob(part), (sign) => sign.charCodeAt(0))))
}
