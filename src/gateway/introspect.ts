/** Asking after a token (RFC 7662) and giving it back (RFC 7009). */
import { isSignetError } from '../errors.ts'
import { DETAIL_TYPE, plainScopes } from '../grants/mod.ts'
import { ownGrant } from './delegate.ts'
import { type Form, parseForm, readBody, readForm, required, requireType } from './body.ts'
import { bearer, operatorOf } from './operators.ts'
import { grantStanding, revokeGrant } from './standing.ts'
import { json, type Routes, type World } from './world.ts'

/** `POST /oauth/introspect`, `POST /oauth/revoke`. */
export const introspectRoutes: Routes = (app, world) => {
  app.post('/oauth/introspect', async (c) => {
    await operatorOf(world, c.req.raw)
    return json(await introspect(world, await readForm(c.req.raw)))
  })
  app.post('/oauth/revoke', async (c) => {
    const request = c.req.raw
    world.count(request, 'device')
    const { method, headers } = request
    requireType(headers, 'application/x-www-form-urlencoded')
    const body = await readBody(request)
    const token = required(parseForm(body), 'token')
    const operator = await bearer(world.store, request)
    const found = await known(world, token)
    if (operator === undefined) {
      // Who holds the grant may give it back: all of it if they hold the root, and nobody else's.
      const { grant } = found ?? {}
      const holder = grant?.depth === 0 ? grant.holder : undefined
      await world.verifiedParts(
        { method, headers, body, url: world.urlOf(request) },
        (id) => Promise.resolve(id === holder?.id ? holder : undefined),
      )
    }
    // RFC 7009 §2.2: an unknown token is no error.
    if (found !== undefined) {
      const by = operator === undefined ? 'its holder' : operator.name
      await revokeGrant(world, found.stored.record.id, `revoked by ${by}`)
    }
    return json({})
  })
}

async function introspect(world: World, form: Form): Promise<object> {
  const found = await known(world, required(form, 'token'))
  // RFC 7662 §2.2: nothing is said about what is not active, not even why.
  if (found === undefined) return { active: false }
  const { grant, stored: { record } } = found
  if ((await grantStanding(world, record)).state !== 'active') return { active: false }
  const leaf = grant.links.at(-1)!
  const scopes = plainScopes(grant.capability, grant.links.map(({ limits }) => limits))
  const limited = grant.links.flatMap(({ id, limits }) =>
    limits === undefined ? [] : [{ link: id, limits: Object.fromEntries(limits) }]
  )
  return {
    active: true,
    token_type: 'aat',
    iss: grant.issuer,
    jti: leaf.jti,
    client_id: record.agent,
    sub: record.principal,
    aud: grant.audience,
    iat: grant.issuedAt,
    exp: grant.expiresAt,
    scope: scopes.length === 0 ? undefined : scopes.join(' '),
    cnf: { jwk: grant.holder.jwk },
    // What was verified, and nothing that the leaf's holder put beside it. Each limit is counted by its link.
    authorization_details: [{ type: DETAIL_TYPE, tools: grant.capability }],
    limits: limited.length === 0 ? undefined : limited,
    grant_id: record.id,
  }
}

/** The grant of a token or a chain; undefined for what is not ours or does not hold. */
async function known(world: World, token: string) {
  try {
    return await ownGrant(world, token)
  } catch (error) {
    if (isSignetError(error) && error.kind !== 'backend' && error.code !== 'io_failed') {
      return undefined
    }
    throw error
  }
}
