/** What the operator sees of grants and bundles, and how they end. */
import * as v from 'valibot'
import { viewRoutes } from './admin.ts'
import { readBody } from './body.ts'
import { operatorOf } from './operators.ts'
import type { BundleRecord, FindingRecord, GrantRecord } from './records.ts'
import { bundleStanding, grantStanding, revokeBundle, revokeGrant } from './standing.ts'
import { conform } from '../schema.ts'
import { parseJson } from '../json.ts'
import { json, type Routes, type World } from './world.ts'

const RevokeSchema = v.strictObject({
  reason: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(200))),
  grant: v.optional(v.boolean()),
})

/** `/admin/grants…`, `/admin/bundles…`, `/admin/findings…`. */
export const grantAdminRoutes: Routes = (app, world) => {
  viewRoutes(app, world, 'grant', {
    by: ['agent', 'principal', 'parent'],
    show: (record) => grantJson(world, record),
  })
  viewRoutes(app, world, 'bundle', {
    by: ['agent', 'grant', 'device'],
    show: (record) => bundleJson(world, record),
  })
  viewRoutes(app, world, 'finding', { by: ['bundle'], show: findingJson })
  for (const [kind, revoke] of Object.entries(REVOKE)) {
    app.post(`/admin/${kind}s/:id/revoke`, async (c) => {
      const operator = await operatorOf(world, c.req.raw)
      const { reason = `revoked by ${operator.name}`, grant = false } = await readRevoke(c.req.raw)
      return json(await revoke(world, c.req.param('id'), { reason, grant }))
    })
  }
}

interface Revocation {
  readonly reason: string
  /** The grant of a bundle too. */
  readonly grant: boolean
}

const REVOKE: Readonly<
  Record<string, (world: World, id: string, how: Revocation) => Promise<object>>
> = {
  async grant(world, id, { reason }) {
    return { id, state: 'revoked', revoked: await revokeGrant(world, id, reason) }
  },
  async bundle(world, id, { reason, grant }) {
    const record = await revokeBundle(world, id, reason)
    const revoked = grant ? await revokeGrant(world, record.grant, reason) : []
    return { ...await bundleJson(world, record), revoked }
  },
}

/** A body is not needed; an empty one counts as none, whatever its type. */
async function readRevoke(request: Request): Promise<v.InferOutput<typeof RevokeSchema>> {
  const body = await readBody(request)
  if (body.length === 0) return {}
  return conform(RevokeSchema, parseJson(body, { what: 'body' }), 'request_malformed', 'body')
}

async function grantJson(world: World, grant: GrantRecord): Promise<object> {
  const { id, agent, principal, parent, jti, holder, asked, issuedAt, expiresAt, place } = grant
  return {
    id,
    agent,
    principal,
    parent,
    jti,
    holder,
    tools: asked.tools,
    limits: asked.limits,
    audience: asked.audience,
    max_depth: asked.maxDepth,
    issued_at: issuedAt,
    expires_at: expiresAt,
    status_list: place,
    ...await grantStanding(world, grant),
  }
}

async function bundleJson(world: World, bundle: BundleRecord): Promise<object> {
  const { id, grant, agent, principal, device, generation, createdAt, expiresAt, seenAt } = bundle
  return {
    id,
    grant,
    agent,
    principal,
    device,
    generation,
    created_at: createdAt,
    expires_at: expiresAt,
    seen_at: seenAt,
    entries: await world.store.logs.size(device),
    ...await bundleStanding(world, bundle),
  }
}

function findingJson({ id, bundle, kind, evidence, known, at }: FindingRecord): object {
  return { id, bundle, kind, evidence, known, at }
}
