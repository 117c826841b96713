/**
 * Status lists (draft-ietf-oauth-status-list): two bits for each grant, valid, invalid or suspended, in lists of
 * 2^17 that are signed anew when something changed or when the last signature grows old.
 */
import { SignetError } from '../errors.ts'
import {
  signStatusList,
  STATUS_LIST_MEDIA_TYPE,
  StatusList,
  type StatusRef,
} from '../grants/mod.ts'
import type { StatusPlace } from './records.ts'
import type { GatewayStore } from './store.ts'
import type { Routes, World } from './world.ts'

/** Most grants in one list. */
const LIST_SIZE = 2 ** 17
/** Indices beyond those in use, valid from the start: a list that is kept a while knows grants that come later. */
const SPARE = 1024
/** For how long a verifier may keep a list, and how long one that cannot ask again may rely on it. Seconds. */
const TTL = 300
const LIFETIME = 86_400

/** `GET /status/:list`. */
export const statusRoutes: Routes = (app, world) => {
  const signed = new Map<string, { version: number; size: number; at: number; token: string }>()
  app.get('/status/:list', async (c) => {
    world.count(c.req.raw, 'read')
    const name = c.req.param('list')
    const { size, version } = await world.store.status.head(name)
    if (size === 0) throw new SignetError('not_found', 'there is no such list')
    const now = world.now()
    let found = signed.get(name)
    if (found?.version !== version || found.size !== size || now - found.at >= TTL / 2) {
      found = { version, size, at: now, token: await statusListToken(world, name, now + LIFETIME) }
      signed.set(name, found)
    }
    return new Response(found.token, {
      headers: {
        'content-type': STATUS_LIST_MEDIA_TYPE,
        'cache-control': `public, max-age=${TTL}`,
        'access-control-allow-origin': '*',
      },
    })
  })
}

/** The list that was not full when last looked at, by store. */
const newest = new WeakMap<GatewayStore, number>()

/** A place that no other grant has. */
export async function newPlace({ store }: World): Promise<StatusPlace> {
  for (let number = newest.get(store) ?? 1;; number++) {
    const list = String(number)
    newest.set(store, number)
    if ((await store.status.head(list)).size >= LIST_SIZE) continue
    const index = await store.status.allocate(list)
    if (index < LIST_SIZE) return { list, index }
  }
}

/** A place as it stands in a token. */
export function statusRef(world: World, { list, index }: StatusPlace): StatusRef {
  return { idx: index, uri: `${world.issuer}/status/${list}` }
}

/** The list as it is now, signed. */
export async function statusListToken(
  world: World,
  name: string,
  expiresAt: number,
): Promise<string> {
  const { size, values } = await world.store.status.read(name)
  const list = StatusList.of(Math.ceil((size + 1) / SPARE) * SPARE + SPARE, 2)
  for (const [index, value] of values) list.set(index, value)
  return await signStatusList(list, world.key, {
    uri: `${world.issuer}/status/${name}`,
    issuer: world.issuer,
    issuedAt: world.now(),
    expiresAt,
    ttl: TTL,
  })
}
