/**
 * The log of a device at the server: what its messages bring is kept just as it was received, with a verdict where
 * something is wrong with an entry. A log that went back, forked or was replaced is a finding, with the checkpoint
 * that the device signed as evidence. Every answer says whether the bundle still counts, and brings a newer one.
 */
import { toBase64, toBase64Url } from '../bytes.ts'
import { ED25519_NOTE, noteVerifier, parseJws, type VerifiedRequest } from '../envelope/mod.ts'
import { isSignetError } from '../errors.ts'
import {
  acceptSync,
  formatSyncAnswer,
  type KnownGrant,
  MAX_SYNC_BYTES,
  type SyncOutcome,
} from '../grants/mod.ts'
import { defaultHasher } from '../log/mod.ts'
import { ownBundle, refreshed } from './bundles.ts'
import { evidenceIn, headOf, syncStore } from './device_log.ts'
import { deviceKey } from './device_keys.ts'
import { digestOf } from './ids.ts'
import { logOrigin } from './issue.ts'
import type { BundleRecord } from './records.ts'
import { bundleStanding, EXPIRED, grantStanding, type Standing } from './standing.ts'
import { everyRecord, retrying } from './store.ts'
import type { Routes, World } from './world.ts'

/** How long a bundle is as good as new, seconds: many messages in a row bring one refresh. */
const FRESH = 60
/** Of one device. The first ones tell enough. */
const MAX_FINDINGS = 100

/** `GET` and `POST /bundles/:id/sync`. */
export const syncRoutes: Routes = (app, world) => {
  app.post('/bundles/:id/sync', async (c) => {
    const { stored, request } = await ownBundle(world, c.req.raw, c.req.param('id'), MAX_SYNC_BYTES)
    const { record } = stored
    const standing = await bundleStanding(world, record)
    const outcome = await take(world, record, request)
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
  { body, created }: VerifiedRequest,
): Promise<SyncOutcome> {
  const origin = logOrigin(world, bundle.device)
  const keys = await Promise.all([...bundle.keys, bundle.deviceKey].map(deviceKey))
  const known = await knownGrants(world, bundle.device)
  const message = evidenceIn(body)
  const outcome = await acceptSync(syncStore(world, bundle.device, message), body, {
    origin,
    verifiers: await Promise.all(keys.map((key) => noteVerifier(origin, key, ED25519_NOTE))),
    now: world.now(),
    sentAt: created,
    grantOf: (id) => known.get(id),
  })
  const { log, refused } = outcome
  if (!['consistent', 'unproven'].includes(log)) {
    await find(world, bundle, outcome, { kind: log, evidence: message.checkpoint })
  }
  // Once for each device, so that what is worse has room.
  if (refused !== undefined) {
    const { code: kind } = refused
    await find(world, bundle, outcome, { kind, evidence: message.checkpoint, name: kind })
  }
  return outcome
}

/** All grants that this device ever had of us, by id: SHA-256 of the signing input. */
async function knownGrants(
  world: World,
  device: string,
): Promise<ReadonlyMap<string, KnownGrant>> {
  const known = new Map<string, KnownGrant>()
  // An entry names its grant and not its bundle: of several bundles with one grant, the last to end counts.
  const ends = new Map<string, number>()
  // All of them: whoever passes grants on to this key must not be able to push its own out of sight.
  for await (const { record } of everyRecord(world.store.records, 'bundle', `device:${device}`)) {
    const { grant, revokedAt = Infinity } = record
    ends.set(grant, Math.max(ends.get(grant) ?? 0, revokedAt))
  }
  for (const [id, end] of ends) {
    const grant = (await world.store.records.get('grant', id))?.record
    if (grant === undefined) continue
    const standing = await grantStanding(world, grant)
    const isRevoked = standing.state === 'revoked' && standing.reason !== EXPIRED
    const revokedAt = Math.min(end, (isRevoked ? standing.at : undefined) ?? Infinity)
    const { signingInput } = parseJws(grant.token)
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', signingInput))
    known.set(toBase64Url(hash), {
      allows: (tool) => Object.hasOwn(grant.asked.tools, tool),
      expiresAt: grant.expiresAt,
      revokedAt: revokedAt === Infinity ? undefined : revokedAt,
    })
  }
  return known
}

interface Finding {
  readonly kind: string
  /** A checkpoint. */
  readonly evidence: string
  /** Of two with one name the first is kept. Default: kind and evidence. */
  readonly name?: string
}

/** Keeps what is wrong with a log, once for each checkpoint that shows it; no device fills the store with them. */
async function find(
  world: World,
  bundle: BundleRecord,
  { acknowledged: { size, root } }: SyncOutcome,
  { kind, evidence, name = `${kind} ${evidence}` }: Finding,
): Promise<void> {
  const key = `device:${bundle.device}`
  const kept = await world.store.records.list('finding', { key, limit: MAX_FINDINGS })
  if (kept.length >= MAX_FINDINGS) return
  const record = {
    id: `finding_${await digestOf(`${bundle.device} ${name}`)}`,
    bundle: bundle.id,
    device: bundle.device,
    kind,
    evidence,
    known: { size, root: toBase64(root) },
    at: world.now(),
  }
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
  { acknowledged, verdicts, log, refused, generation }: Omit<SyncOutcome, 'accepted'>,
): Promise<Response> {
  const newest = standing.state === 'active' ? await newestBundle(world, bundle) : undefined
  const text = formatSyncAnswer({
    acknowledged,
    verdicts,
    log,
    refused,
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
