/** What the operator sees of grants and bundles, and how they end. */
import * as v from 'valibot'
import { SignetError } from '../errors.ts'
import { readBody } from './body.ts'
import { operatorOf } from './operators.ts'
import { listing } from './paging.ts'
import type { BundleRecord, FindingRecord, GrantRecord } from './records.ts'
import type { RouteContext } from './router.ts'
import { bundleStanding, grantStanding, revokeBundle, revokeGrant } from './standing.ts'
import { conform } from '../schema.ts'
import { parseJson } from '../json.ts'
import { json, type Routes, type World } from './world.ts'

const RevokeSchema = v.strictObject({
  reason: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(200))),
  grant: v.optional(v.boolean()),
})

/** `/admin/grants…`, `/admin/bundles…`, `/admin/findings`. */
export const grantAdminRoutes: Routes = (app, world) => {
  app.get('/admin/grants', async (c) => {
    await operatorOf(world, c.req.raw)
    const key = keyOf(c, ['agent', 'principal', 'parent'])
    return await listing(world, c.req.raw, 'grant', key, (record) => grantJson(world, record))
  })
  app.get('/admin/grants/:id', async (c) => {
    await operatorOf(world, c.req.raw)
    const found = await world.store.records.get('grant', c.req.param('id'))
    if (found === undefined) throw new SignetError('not_found', 'there is no such grant')
    return json(await grantJson(world, found.record))
  })
  app.post('/admin/grants/:id/revoke', async (c) => {
    const operator = await operatorOf(world, c.req.raw)
    const { reason } = await readRevoke(c.req.raw)
    const id = c.req.param('id')
    const revoked = await revokeGrant(world, id, reason ?? `revoked by ${operator.name}`)
    return json({ id, state: 'revoked', revoked })
  })
  app.get('/admin/bundles', async (c) => {
    await operatorOf(world, c.req.raw)
    const key = keyOf(c, ['agent', 'grant', 'device'])
    return await listing(world, c.req.raw, 'bundle', key, (record) => bundleJson(world, record))
  })
  app.get('/admin/bundles/:id', async (c) => {
    await operatorOf(world, c.req.raw)
    const found = await world.store.records.get('bundle', c.req.param('id'))
    if (found === undefined) throw new SignetError('not_found', 'there is no such bundle')
    return json(await bundleJson(world, found.record))
  })
  app.post('/admin/bundles/:id/revoke', async (c) => {
    const operator = await operatorOf(world, c.req.raw)
    const { reason = `revoked by ${operator.name}`, grant } = await readRevoke(c.req.raw)
    const record = await revokeBundle(world, c.req.param('id'), reason)
    const revoked = grant === true ? await revokeGrant(world, record.grant, reason) : []
    return json({ ...await bundleJson(world, record), revoked })
  })
  app.get('/admin/findings', async (c) => {
    await operatorOf(world, c.req.raw)
    const key = keyOf(c, ['bundle'])
    return await listing(world, c.req.raw, 'finding', key, findingJson)
  })
}

/** A body is not needed; an empty one counts as none, whatever its type. */
async function readRevoke(request: Request): Promise<v.InferOutput<typeof RevokeSchema>> {
  const body = await readBody(request)
  if (body.length === 0) return {}
  return conform(RevokeSchema, parseJson(body, { what: 'body' }), 'request_malformed', 'body')
}

function keyOf({ req }: RouteContext, names: readonly string[]): string | undefined {
  const name = names.find((one) => req.query(one) !== undefined)
  return name === undefined ? undefined : `${name}:${req.query(name)}`
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
