/**
 * The page on which a person decides. Whoever is not signed in sees nothing of the request but where to sign in; to
 * know its name is not to be allowed to approve it. The form is tied to the session and to the request, and the
 * browser must say that it came from here.
 */
import { SignetError } from '../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import { activeAgent } from './authorize.ts'
import { field, type Form, readForm } from './body.ts'
import { digestOf } from './ids.ts'
import { type Html, html, page } from './page.ts'
import type { Principal } from './principals.ts'
import { deniedByPolicy, policyOn } from './policy_hook.ts'
import type { AgentRecord, RequestRecord } from './records.ts'
import { approveRequest, denyRequest, pendingRequest, redirectTo } from './requests.ts'
import { durationWords, limitWords, toolWords } from './words.ts'
import type { RouteContext } from './router.ts'
import type { Routes, World } from './world.ts'

/** `GET` and `POST /consent/:id`. */
export const consentRoutes: Routes = (app, world) => {
  app.get('/consent/:id', async (c) => {
    world.count(c.req.raw, 'start')
    const principal = await world.principals.authenticate(c.req.raw)
    const id = c.req.param('id')
    if (principal === undefined) return toSignIn(world, id)
    const { record } = await requestFor(world, id, principal)
    const agent = await activeAgent(world, record.agent)
    await world.admit(principal.id, agent.tenant)
    return consentPage(record, agent, principal, await tokenOf(principal, id))
  })
  app.post('/consent/:id', async (c) => await decide(c, world))
}

async function decide(c: RouteContext, world: World): Promise<Response> {
  const request = c.req.raw
  world.count(request, 'start')
  checkOrigin(world, request)
  const principal = await world.principals.authenticate(request)
  const id = c.req.param('id')
  if (principal === undefined) {
    throw new SignetError('unauthenticated', 'nobody is signed in', {
      remedy: 'sign in, and open the page again',
    })
  }
  const form = await readForm(request)
  if (field(form, 'token') !== await tokenOf(principal, id)) {
    throw new SignetError('policy_denied', 'the form is not one that this page gave out', {
      remedy: 'open the page again',
    })
  }
  const stored = await requestFor(world, id, principal)
  if (field(form, 'decision') !== 'approve') {
    await denyRequest(world, stored, { principal: principal.id })
    return redirectTo(world, stored.record, { error: 'access_denied' })
  }
  const agent = await activeAgent(world, stored.record.agent)
  await world.admit(principal.id, agent.tenant)
  const tools = chosen(form, stored.record.tools)
  // Now it is known who decides, and what is left of it; and the policy may be another than it was.
  const final = { ...stored.record, tools, principalHint: principal.id }
  const decision = await policyOn(world, c.env, final, agent)
  if (decision.effect === 'deny') {
    return await deniedByPolicy(world, stored, decision, principal.id)
  }
  const code = await approveRequest(world, stored, principal.id, 'principal', { tools })
  return redirectTo(world, stored.record, { code })
}

/** The request, if this principal is the one to decide it. */
async function requestFor(world: World, id: string, principal: Principal) {
  const stored = await pendingRequest(world, id)
  const { principalHint = principal.id } = stored.record
  if (principalHint === principal.id) return stored
  throw new SignetError('policy_denied', 'somebody else was asked', {
    remedy: 'sign in as the one who was asked',
  })
}

/** Ties a form to a session and a request; nobody but the session's browser and the server can make it. */
async function tokenOf({ session }: Principal, id: string): Promise<string> {
  return await digestOf(`signet consent ${id} ${session}`)
}

/** A browser says where a form comes from; what comes from elsewhere, or says `null`, is not ours. */
export function checkOrigin(world: World, request: Request): void {
  const origin = request.headers.get('origin')
  const site = request.headers.get('sec-fetch-site')
  if ((origin ?? world.issuer) === world.issuer && (site ?? 'same-origin') === 'same-origin') return
  throw new SignetError('policy_denied', 'the form was sent from elsewhere')
}

/** The tools that were left ticked; those that were not asked for are not given. */
function chosen(form: Form, tools: JsonObject): JsonObject {
  const wanted = form.get('tool') ?? []
  const kept = Object.entries(tools).filter(([tool]) => wanted.includes(tool))
  if (kept.length > 0) return Object.fromEntries(kept)
  throw new SignetError('request_malformed', 'no tool was chosen', {
    remedy: 'go back and choose one, or deny',
  })
}

function toSignIn(world: World, id: string): Response {
  const location = world.principals.signInUrl(`/consent/${encodeURIComponent(id)}`)
  return new Response(null, { status: 303, headers: { location } })
}

function consentPage(
  record: RequestRecord,
  agent: AgentRecord,
  principal: Principal,
  token: string,
): Response {
  const target = new URL(record.redirectUri)
  // A redirect that follows a form is held against form-action too.
  const formTarget = target.origin === 'null' ? target.protocol : target.origin
  const { limits } = record
  const forAll = isObject(limits) ? limitWords(limits['*']) : []
  return page(
    `${agent.name} asks for your permission`,
    html`
      <h1><strong>${agent.name}</strong> asks to act for you</h1>
      <p>${agent.description ?? ''}</p>
      <form method="post">
        <input type="hidden" name="token" value="${token}">
        <h2>It wants to use</h2>
        <ul>${Object.keys(record.tools).map((tool) => toolItem(tool, record))}</ul>
        <h2>Under these terms</h2>
        <dl>
      <dt>Holds for</dt><dd>${durationWords(record.duration)}</dd>
      <dt>Offline</dt><dd>works up to ${durationWords(record.offlineAge)} without contact;
      <span class="warn">if you take the permission back, that is how late it may be noticed</span></dd>
      <dt>Passing on</dt><dd>${depthWords(record.maxDepth)}</dd>
      <dt>Valid at</dt><dd>${record.audience?.join(', ') ??
        'every place that trusts this server'}</dd>
      ${forAll.map((line) =>
        html`
          <dt>In all</dt>
          <dd>${line}</dd>
        `
      )}
      <dt>Agent</dt><dd><code>${agent.id}</code></dd>
      <dt>Answer goes to</dt><dd><code>${record.redirectUri}</code></dd>
      <dt>You are</dt><dd><code>${principal.id}</code></dd>
        </dl>
        <div class="row">
          <button class="yes" name="decision" value="approve">Allow</button>
          <button name="decision" value="deny">Deny</button>
        </div>
      </form>
    `,
    { formTarget },
  )
}

function toolItem(tool: string, { tools, limits }: RequestRecord): Html {
  const terms = isObject(limits) && Object.hasOwn(limits, tool) ? limitWords(limits[tool]) : []
  const lines = [...toolWords(tools[tool]), ...terms]
  return html`<li><label><input type="checkbox" name="tool" value="${tool}" checked>
<code>${tool}</code></label>${lines.map((line) => html`<p>${line}</p>`)}</li>`
}

function depthWords(depth: number): string {
  if (depth === 0) return 'not allowed'
  return `to others, who may do the same or less, up to ${depth} deep`
}
