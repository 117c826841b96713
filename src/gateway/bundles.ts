/**
 * What a device does with its bundles, signing each request with the key that they are bound to: list, get, refresh.
 * Another device's bundle is, to it, not there.
 */
import type { VerifiedRequest } from '../envelope/mod.ts'
import { deviceKey } from './device_keys.ts'
import { headOf } from './device_log.ts'
import { nextBundle } from './issue.ts'
import type { BundleRecord } from './records.ts'
import { bundleStanding, requireActive } from './standing.ts'
import { everyRecord, existing, retrying, type Stored } from './store.ts'
import { json, type Routes, type World } from './world.ts'

/** Of one device in one answer. */
const MAX_LISTED = 200

/** `GET /bundles`, `GET /bundles/:id`, `POST /bundles/:id/refresh`. */
export const bundleRoutes: Routes = (app, world) => {
  app.get('/bundles', async (c) => {
    world.count(c.req.raw, 'device')
    const { records } = world.store
    const { key } = await world.verified(c.req.raw, async (id) => {
      const [first] = await records.list('bundle', { key: `device:${id}`, limit: 1 })
      return first && await deviceKey(first.record.deviceKey)
    }, 0)
    // Ids sort by time: a device that looks for a bundle whose answer got lost looks for the newest.
    const bundles: BundleRecord[] = []
    for await (const { record } of everyRecord(records, 'bundle', `device:${key.id}`)) {
      bundles.push(record)
      if (bundles.length > MAX_LISTED) bundles.shift()
    }
    return json({
      bundles: await Promise.all(bundles.map((record) => bundleAnswer(world, record))),
    })
  })
  app.get('/bundles/:id', async (c) => {
    const { stored } = await ownBundle(world, c.req.raw, c.req.param('id'), 0)
    return json(await bundleAnswer(world, stored.record))
  })
  app.post('/bundles/:id/refresh', async (c) => {
    const { stored } = await ownBundle(world, c.req.raw, c.req.param('id'), 1024)
    const record = await retrying(async () => await refreshed(world, stored.record.id))
    return json(await bundleAnswer(world, record))
  })
}

/**
 * The bundle of a request, when its device signed it; the body is read and covered. Errors: those of `verifyRequest`;
 * `signer_untrusted` for no bundle and for one of another device alike.
 */
export async function ownBundle(
  world: World,
  request: Request,
  id: string,
  maxBody: number,
): Promise<{ readonly stored: Stored<BundleRecord>; readonly request: VerifiedRequest }> {
  world.count(request, 'device')
  const stored = await world.store.records.get('bundle', id)
  const verified = await world.verified(request, async (keyId) => {
    if (stored?.record.device !== keyId) return undefined
    return await deviceKey(stored.record.deviceKey)
  }, maxBody)
  return { stored: stored!, request: verified }
}

/** The next generation of a bundle, kept. Errors: `policy_denied` if it no longer counts, `store_conflict`. */
export async function refreshed(world: World, id: string): Promise<BundleRecord> {
  const stored = await existing(world.store.records, 'bundle', id)
  requireActive(await bundleStanding(world, stored.record), 'the bundle')
  const grant = (await world.store.records.get('grant', stored.record.grant))!.record
  const head = await headOf(world.store, stored.record.device)
  const record = await nextBundle(world, stored.record, grant, head)
  await world.store.commit([{ put: 'bundle', record, version: stored.version }])
  return record
}

/** A bundle as a device gets it. One that no longer counts is not handed out again. */
export async function bundleAnswer(world: World, record: BundleRecord): Promise<object> {
  const status = await bundleStanding(world, record)
  return {
    bundle_id: record.id,
    generation: record.generation,
    expires_at: record.expiresAt,
    status,
    bundle: status.state === 'active' ? record.jws : undefined,
  }
}
