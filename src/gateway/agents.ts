/** What the operator does with agents and with people: register, suspend, let in. */
import * as v from 'valibot'
import { SignetError } from '../errors.ts'
import { viewRoutes } from './admin.ts'
import { readJson } from './body.ts'
import { newId } from './ids.ts'
import { operatorOf } from './operators.ts'
import { newSignInCode } from './principals.ts'
import type { AgentRecord } from './records.ts'
import { resumeAgent, suspendAgent } from './standing.ts'
import { existing, retrying } from './store.ts'
import { json, type Routes, type World } from './world.ts'

const TakesFromSchema = v.pipe(v.array(v.pipe(v.string(), v.maxLength(100))), v.maxLength(100))
const AgentSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(100)),
  description: v.optional(v.pipe(v.string(), v.maxLength(1000))),
  redirect_uris: v.pipe(v.array(v.pipe(v.string(), v.maxLength(2000))), v.maxLength(20)),
  tools: v.optional(v.pipe(v.array(v.pipe(v.string(), v.minLength(1))), v.maxLength(1000))),
  takes_from: v.optional(TakesFromSchema),
})
const UpdateSchema = v.strictObject({ takes_from: TakesFromSchema })
const VERBS = [
  ['suspend', suspendAgent, 'suspended'],
  ['resume', resumeAgent, 'active'],
] as const
const SignInSchema = v.strictObject({ principal: v.string() })

/** `/admin/agents…` (`PATCH` sets `takes_from`, and nothing else), `POST /admin/sign-in-codes`. */
export const agentRoutes: Routes = (app, world) => {
  app.post('/admin/agents', async (c) => {
    await operatorOf(world, c.req.raw)
    const { redirect_uris: redirectUris, takes_from: takesFrom, ...rest } = await readJson(
      c.req.raw,
      AgentSchema,
    )
    redirectUris.forEach(checkRedirect)
    await checkTakesFrom(world, takesFrom)
    const now = world.now()
    const record: AgentRecord = {
      id: newId('agent_', now * 1000),
      ...rest,
      redirectUris,
      takesFrom,
      status: 'active',
      createdAt: now,
    }
    await world.store.commit([{ put: 'agent', record, version: 0 }])
    return json(agentJson(record), 201, { location: `/admin/agents/${record.id}` })
  })
  viewRoutes(app, world, 'agent', { show: agentJson })
  app.patch('/admin/agents/:id', async (c) => {
    await operatorOf(world, c.req.raw)
    const { takes_from: takesFrom } = await readJson(c.req.raw, UpdateSchema)
    await checkTakesFrom(world, takesFrom)
    const { records } = world.store
    return json(
      await retrying(async () => {
        const { record, version } = await existing(records, 'agent', c.req.param('id'))
        const changed = { ...record, takesFrom }
        await world.store.commit([{ put: 'agent', record: changed, version }])
        return agentJson(changed)
      }),
    )
  })
  for (const [verb, work, status] of VERBS) {
    app.post(`/admin/agents/:id/${verb}`, async (c) => {
      await operatorOf(world, c.req.raw)
      const id = c.req.param('id')
      await work(world, id, 'operator')
      return json({ id, status })
    })
  }
  app.post('/admin/sign-in-codes', async (c) => {
    await operatorOf(world, c.req.raw)
    const { principal } = await readJson(c.req.raw, SignInSchema)
    const code = await newSignInCode(world.store, principal, world.now())
    const link = `${world.issuer}/sign-in?${new URLSearchParams({ code })}`
    return json({ principal, code, link }, 201)
  })
}

/** A name that is mistyped would allow nothing, and one that is free could be somebody's later. */
async function checkTakesFrom(world: World, ids: readonly string[] = []): Promise<void> {
  const found = await Promise.all(ids.map((id) => world.store.records.get('agent', id)))
  if (!found.includes(undefined)) return
  throw new SignetError('request_malformed', 'takes_from names an agent that is not registered', {
    where: 'takes_from',
    remedy: 'name agents by their id, agent_…',
  })
}

/**
 * A URI that an answer may go to (RFC 9700 §4.1, RFC 8252 §7): `https:`, `http:` on this machine, or a scheme of an
 * app, which has a dot in it.
 */
function checkRedirect(text: string): void {
  const url = URL.parse(text)
  const isLocal = url !== null && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (
    url === null || text.includes('#') || url.username !== '' || url.password !== '' ||
    !(url.protocol === 'https:' || url.protocol === 'http:' && isLocal ||
      /^[a-z][a-z0-9-]*\.[a-z0-9.-]+:$/.test(url.protocol))
  ) {
    throw new SignetError('request_malformed', 'a redirect URI is none that may be registered', {
      where: 'redirect_uris',
      remedy: "use https:, http: on 127.0.0.1, or an app's own scheme such as com.example.app:",
    })
  }
}

function agentJson(record: AgentRecord): object {
  const { id, name, description, status, redirectUris, tools, takesFrom = [], createdAt } = record
  return {
    id,
    name,
    description,
    status,
    redirect_uris: redirectUris,
    tools,
    takes_from: takesFrom,
    created_at: createdAt,
  }
}
