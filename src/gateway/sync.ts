/**
 * The log of a device at the server: what its messages bring is kept just as it was received, with a verdict where
 * something is wrong with an entry. A log that went back, forked or was replaced is a finding, with the checkpoint
 * that the device signed as evidence. Every answer says whether the bundle still counts, and brings a newer one.
 */
import { toBase64, toBase64Url } from '../bytes.ts'
import { ED25519_NOTE, noteVerifier, parseJws } from '../envelope/mod.ts'
import { isSignetError } from '../errors.ts'
import { acceptSync, formatSyncAnswer, MAX_SYNC_BYTES, type SyncOutcome } from '../grants/mod.ts'
import { defaultHasher } from '../log/mod.ts'
import { ownBundle, refreshed } from './bundles.ts'
import { evidenceIn, headOf, syncStore } from './device_log.ts'
import { digestOf } from './ids.ts'
import { deviceKey, logOrigin } from './issue.ts'
import type { BundleRecord } from './records.ts'
import { bundleStanding, type Standing } from './standing.ts'
import { retrying } from './store.ts'
import type { Routes, World } from './world.ts'

/** How long a bundle is as good as new, seconds: many messages in a row bring one refresh. */
const FRESH = 60
/** Most findings about the log of one bundle: a hostile device can sign any number of checkpoints. */
const MAX_FINDINGS = 100

/** `GET` and `POST /bundles/:id/sync`. */
export const syncRoutes: Routes = (app, world) => {
  app.post('/bundles/:id/sync', async (c) => {
    const { stored, request } = await ownBundle(world, c.req.raw, c.req.param('id'), MAX_SYNC_BYTES)
    const { record } = stored
    const standing = await bundleStanding(world, record)
    const outcome = await take(world, record, standing, request.body)
    return await answer(world, record, standing, outcome)
  })
  app.get('/bundles/:id/sync', async (c) => {
    const { stored } = await ownBundle(world, c.req.raw, c.req.param('id'), 0)
    const { record } = stored
    const head = await headOf(world.store, record.device)
    const { size, root } = head ?? { size: 0, root: defaultHasher.empty }
    return await answer(world, record, await bundleStanding(world, record), {
      acknowledged: { size, root },
      verdicts: [],
      log: 'consistent',
      generation: record.generation,
    })
  })
}

async function take(
  world: World,
  bundle: BundleRecord,
  standing: Standing,
  body: Uint8Array,
): Promise<SyncOutcome> {
  const origin = logOrigin(world, bundle.device)
  const keys = await Promise.all([...bundle.keys, bundle.deviceKey].map(deviceKey))
  const known = await grantIds(world, bundle.device)
  const message = evidenceIn(body)
  const outcome = await acceptSync(syncStore(world, bundle.device, message), body, {
    origin,
    verifiers: await Promise.all(keys.map((key) => noteVerifier(origin, key, ED25519_NOTE))),
    now: world.now(),
    revokedAt: standing.state === 'active' ? undefined : standing.at,
    knowsGrant: (id) => known.has(id),
  })
  if (!['consistent', 'unproven'].includes(outcome.log)) {
    await find(world, bundle, outcome, message.checkpoint)
  }
  return outcome
}

/** Ids of all grants that this device ever had of us: SHA-256 of the signing input. */
async function grantIds(world: World, device: string): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  const bundles = await world.store.records.list('bundle', { key: `device:${device}`, limit: 1000 })
  for (const { record } of bundles) {
    const grant = (await world.store.records.get('grant', record.grant))?.record
    if (grant === undefined) continue
    const { signingInput } = parseJws(grant.token)
    ids.add(toBase64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', signingInput))))
  }
  return ids
}

/** Keeps what is wrong with a log, once for each checkpoint that shows it, and not without end. */
async function find(
  world: World,
  bundle: BundleRecord,
  { log, acknowledged: { size, root } }: SyncOutcome,
  evidence: string,
): Promise<void> {
  const record = {
    id: `finding_${await digestOf(`${bundle.device} ${log} ${evidence}`)}`,
    bundle: bundle.id,
    kind: log,
    evidence,
    known: { size, root: toBase64(root) },
    at: world.now(),
  }
  const key = `bundle:${bundle.id}`
  const before = await world.store.records.list('finding', { key, limit: MAX_FINDINGS })
  if (before.length >= MAX_FINDINGS) return
  try {
    await world.store.commit([{ put: 'finding', record, version: 0 }])
  } catch (error) {
    if (!isSignetError(error, 'store_conflict')) throw error
  }
}

async function answer(
  world: World,
  bundle: BundleRecord,
  standing: Standing,
  { acknowledged, verdicts, log, generation }: Omit<SyncOutcome, 'accepted'>,
): Promise<Response> {
  const newest = standing.state === 'active' ? await newestBundle(world, bundle) : undefined
  const text = formatSyncAnswer({
    acknowledged,
    verdicts,
    log,
    // To a device both mean the same: stop.
    status: { ...standing, state: standing.state === 'active' ? 'active' : 'revoked' },
    bundle: newest === undefined || newest.generation <= generation ? undefined : newest.jws,
  })
  return new Response(text, { headers: { 'content-type': 'application/json' } })
}

/** The newest bundle, made anew if it is not fresh. */
async function newestBundle(world: World, bundle: BundleRecord): Promise<BundleRecord | undefined> {
  if (world.now() - bundle.seenAt < FRESH) return bundle
  try {
    return await retrying(async () => await refreshed(world, bundle.id))
  } catch (error) {
    // Revoked since we looked: the next answer says so.
    if (isSignetError(error, 'policy_denied')) return undefined
    throw error
  }
}
