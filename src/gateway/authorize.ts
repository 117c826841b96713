/**
 * The first half of the code flow (RFC 6749 §4.1 as RFC 9700 wants it): the agent pushes its request (RFC 9126), the
 * browser brings the request's name, a policy or a person decides. PKCE with S256 always; redirects to registered
 * URIs only, compared letter by letter.
 */
import { quoted, SignetError } from '../errors.ts'
import { readAsked } from './asked.ts'
import { field, readForm, required } from './body.ts'
import { newId } from './ids.ts'
import { deniedByPolicy, policyOn } from './policy_hook.ts'
import type { AgentRecord, RequestRecord } from './records.ts'
import {
  approveRequest,
  keepRequest,
  pendingRequest,
  redirectTo,
  REQUEST_SECONDS,
} from './requests.ts'
import type { RouteContext } from './router.ts'
import type { Change } from './store.ts'
import { json, type Routes, type World } from './world.ts'

const REQUEST_URI = 'urn:ietf:params:oauth:request_uri:'

/** `POST /oauth/par`, `GET /oauth/authorize`. */
export const authorizeRoutes: Routes = (app, world) => {
  app.post('/oauth/par', async (c) => {
    world.count(c.req.raw, 'start')
    const record = await pushed(world, c.req.raw)
    await keepRequest(world, record)
    return json({ request_uri: REQUEST_URI + record.id, expires_in: REQUEST_SECONDS }, 201)
  })
  app.get('/oauth/authorize', async (c) => {
    world.count(c.req.raw, 'start')
    const uri = c.req.query('request_uri') ?? ''
    if (!uri.startsWith(REQUEST_URI)) {
      throw new SignetError('request_malformed', 'a request must be pushed first', {
        remedy: 'POST it to /oauth/par (RFC 9126)',
      })
    }
    return await decided(c, world, uri.slice(REQUEST_URI.length))
  })
}

/** The agent of an id, if it may do anything. Errors: `client_unknown`. */
export async function activeAgent(world: World, id: string): Promise<AgentRecord> {
  const agent = (await world.store.records.get('agent', id))?.record
  if (agent?.status === 'active') return agent
  throw clientUnknown()
}

/** The same for the flow of OAuth: agents of a dialect have none, their developers would not see what it gives them. */
async function ownAgent(world: World, id: string): Promise<AgentRecord> {
  const agent = await activeAgent(world, id)
  if (agent.extra?.dialect === undefined) return agent
  throw clientUnknown()
}

function clientUnknown(): SignetError {
  return new SignetError('client_unknown', 'there is no such agent, or it is suspended')
}

/**
 * The agent that is to get a grant, and what to commit along with it: if the agent is suspended at this moment, the
 * suspension must see the grant, or the grant not come to be. Errors: `client_unknown`.
 */
export async function agentToGrant(
  world: World,
  id: string,
): Promise<{ readonly agent: AgentRecord; readonly keep: Change }> {
  const found = await world.store.records.get('agent', id)
  const agent = await ownAgent(world, id)
  return { agent, keep: { put: 'agent', record: agent, version: found?.version ?? 0 } }
}

async function pushed(world: World, request: Request): Promise<RequestRecord> {
  const form = await readForm(request)
  if (form.has('request_uri')) throw malformed('a request cannot name another', 'request_uri')
  const agent = await ownAgent(world, required(form, 'client_id'))
  const redirectUri = required(form, 'redirect_uri')
  if (!agent.redirectUris.includes(redirectUri)) {
    throw malformed(`${quoted(redirectUri)} is not registered for the agent`, 'redirect_uri')
  }
  if (required(form, 'response_type') !== 'code') {
    throw malformed('only code is supported', 'response_type')
  }
  const codeChallenge = required(form, 'code_challenge')
  // 43 characters are a SHA-256 (RFC 7636 §4.2); "plain" is the default when nothing is said.
  if (field(form, 'code_challenge_method') !== 'S256' || !/^[\w-]{43}$/.test(codeChallenge)) {
    throw malformed('PKCE with S256 is demanded', 'code_challenge')
  }
  const state = field(form, 'state')
  if (state !== undefined && state.length > 1024) throw malformed('it is too long', 'state')
  const principalHint = field(form, 'login_hint')
  if (principalHint !== undefined && !/^[\x21-\x7e]{1,200}$/.test(principalHint)) {
    throw malformed('it names no principal', 'login_hint')
  }
  // Our ids of keys are the thumbprints that RFC 9449 §10 binds a code to.
  const holder = field(form, 'dpop_jkt')
  if (holder !== undefined && !/^[\w-]{43}$/.test(holder)) {
    throw malformed('it is no thumbprint of a key', 'dpop_jkt')
  }
  const now = world.now()
  return {
    id: newId('req_', now * 1000),
    agent: agent.id,
    redirectUri,
    state,
    codeChallenge,
    principalHint,
    holder,
    ...readAsked(form, agent, world.ceilings),
    status: 'pending',
    createdAt: now,
    expiresAt: now + REQUEST_SECONDS,
  }
}

/** Asks the policy, and where that does not decide, sends the browser to the person. */
async function decided(c: RouteContext, world: World, id: string): Promise<Response> {
  const stored = await pendingRequest(world, id)
  const { record } = stored
  if (record.agent !== c.req.query('client_id')) {
    throw malformed('it is not the one that asked', 'client_id')
  }
  const agent = await ownAgent(world, record.agent)
  const { principalHint } = record
  const decision = await policyOn(world, c.env, record, agent)
  switch (decision.effect) {
    case 'allow': {
      // A policy cannot give away what a named person was asked for.
      if (principalHint !== undefined && principalHint !== decision.principal) break
      const { principal, rule } = decision
      await world.admit(principal, agent.tenant)
      const code = await approveRequest(world, stored, principal, 'policy', { rule })
      return redirectTo(world, record, { code })
    }
    case 'deny':
      return await deniedByPolicy(world, stored, decision)
  }
  return new Response(null, { status: 303, headers: { location: `/consent/${id}` } })
}

function malformed(why: string, where: string): SignetError {
  return new SignetError('request_malformed', `${where}: ${why}`, { where })
}
