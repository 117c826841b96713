/** The face of Grantex over a gateway in memory, and calls of it, for tests. */
import assert from 'node:assert/strict'
import {
  type Decide,
  type GatewayOptions,
  type GrantexOptions,
  grantexRoutes,
  newGrantexKey,
} from '../../src/gateway/mod.ts'
import { type GrantexBundle, parseGrantexBundle } from '../../src/interop/grantex/mod.ts'
import { type Key, readPrivateKey } from '../../src/keys/mod.ts'
import rsaJwk from '../vectors/rsa_2048.json' with { type: 'json' }
import { ISSUER, NOW, REDIRECT, type Scene, scene } from './_gateway.ts'

export const rsa: Key = await readPrivateKey(JSON.stringify(rsaJwk.jwk), { insecureClearKey: true })
export const BASE: string = `${ISSUER}/grantex`
export const SCOPES: string[] = ['calendar:read', 'mail:send']
export const VERIFIER: string = 'v'.repeat(43)

export interface Face extends Scene {
  readonly apiKey: string
}

// deno-lint-ignore no-explicit-any -- whatever the server says
export type Told = { status: number; body: any; headers: Headers }

export const allowAll: Decide = ({ principalHint }) =>
  principalHint === undefined ? { effect: 'ask' } : { effect: 'allow', principal: principalHint }

export async function face(
  options: Partial<GrantexOptions> = {},
  decide?: Decide,
  more: Partial<GatewayOptions> = {},
): Promise<Face> {
  const dialects = [grantexRoutes({ rate: 100_000, ...options, key: rsa })]
  const at = await scene({ dialects, ...(decide === undefined ? {} : { decide }), ...more })
  return Object.assign(at, { apiKey: await newGrantexKey(at.store, 'dev_one', NOW) })
}

export async function call(
  at: Face,
  method: string,
  path: string,
  body?: unknown,
  key: string = at.apiKey,
): Promise<Told> {
  const text = typeof body === 'string' || body === undefined ? body : JSON.stringify(body)
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (key !== '') headers.authorization = `Bearer ${key}`
  const request = new Request(BASE + path, {
    method,
    headers,
    ...(text === undefined ? {} : { body: text }),
  })
  const answer = await at.fetch(request)
  const said = await answer.text()
  const isJson = /^application\/(scim\+)?json$/.test(answer.headers.get('content-type') ?? '')
  return { status: answer.status, body: isJson ? JSON.parse(said) : said, headers: answer.headers }
}

export async function good(told: Promise<Told>, status = 200): Promise<Told['body']> {
  const { status: got, body } = await told
  assert.equal(got, status, JSON.stringify(body))
  return body
}

/** Refused with this status and code, in the form of the dialect. */
export async function refused(
  told: Promise<Told>,
  status: number,
  code: string,
): Promise<Told['body']> {
  const { status: got, body } = await told
  assert.deepEqual([got, body.code], [status, code], JSON.stringify(body))
  assert.equal(typeof body.message, 'string')
  assert.match(body.requestId, /^[0-9a-f-]{36}$/)
  return body
}

export const newAgent = async (at: Face, more = {}): Promise<string> =>
  (await good(
    call(at, 'POST', '/v1/agents', {
      ...{ name: 'Pi', scopes: SCOPES, redirectUris: [REDIRECT] },
      ...more,
    }),
    201,
  )).agentId

export const asks = (agentId: string, more: object = {}): object => ({
  ...{ agentId, principalId: 'alice', scopes: SCOPES, expiresIn: '1h' },
  ...more,
})

/** A token, in the sandbox or where a policy allows it. */
export async function tokenOf(at: Face, agentId: string, more = {}): Promise<Told['body']> {
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks(agentId, more)), 201)
  return await good(call(at, 'POST', '/v1/token', { code, agentId }), 201)
}

export const bundleFor = (agentId: string, more: object = {}): object => ({
  ...{ agentId, userId: 'alice', scopes: SCOPES, offlineTTL: '72h' },
  ...more,
})

export const newBundle = async (at: Face, agentId: string, more = {}): Promise<GrantexBundle> =>
  parseGrantexBundle(JSON.stringify(
    await good(call(at, 'POST', '/v1/consent-bundles', bundleFor(agentId, more)), 201),
  ))
