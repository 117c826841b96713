/** Grants and bundles as records: the tokens are signed first, and count once the records are kept. */
import { parseJws } from '../envelope/mod.ts'
import { fromUtf8 } from '../bytes.ts'
import { type AcknowledgedHead, issueGrant, type LimitsJson, sealBundle } from '../grants/mod.ts'
import type { ToolsJson } from '../grants/mod.ts'
import type { PublicKey } from '../keys/mod.ts'
import { scopeOf } from './asked.ts'
import { deviceKey } from './device_keys.ts'
import { newId } from './ids.ts'
import type { Asked, BundleRecord, GrantRecord } from './records.ts'
import { newPlace, statusListToken, statusRef } from './status.ts'
import { json, type World } from './world.ts'

/** How far clocks of devices may differ, seconds. */
const SKEW = 60

/** To whom a grant goes, and why. */
export type GrantOrigin = Pick<GrantRecord, 'agent' | 'principal' | 'request' | 'parent'>

/** Signs a grant. The record is not kept yet. Errors: those of `issueGrant`. */
export async function newGrant(
  world: World,
  origin: GrantOrigin,
  asked: Asked,
  holder: PublicKey,
): Promise<GrantRecord> {
  const now = world.now()
  const place = await newPlace(world)
  const [token] = await issueGrant(world.key, {
    issuer: world.issuer,
    lifetime: asked.duration,
    holder,
    tools: asked.tools as ToolsJson,
    limits: asked.limits as LimitsJson | undefined,
    audience: asked.audience,
    maxDepth: asked.maxDepth,
    status: statusRef(world, place),
  }, { now })
  const { jti } = JSON.parse(fromUtf8(parseJws(token!).payload))
  return {
    id: newId('grant_', now * 1000),
    ...origin,
    jti,
    token: token!,
    holder: holder.id,
    asked,
    issuedAt: now,
    expiresAt: now + asked.duration,
    status: 'active',
    place,
  }
}

/** Seals the first bundle of a grant. The record is not kept yet. */
export async function newBundle(
  world: World,
  grant: GrantRecord,
  device: PublicKey,
): Promise<BundleRecord> {
  const now = world.now()
  const id = newId('bundle_', now * 1000)
  const { agent, principal } = grant
  const sealed = await seal(world, id, grant, device, 1)
  return {
    id,
    grant: grant.id,
    agent,
    principal,
    device: device.id,
    deviceKey: { ...device.jwk },
    keys: [],
    createdAt: now,
    seenAt: now,
    status: 'active',
    ...sealed,
  }
}

/** What the token endpoint answers (RFC 6749 §5.1, RFC 8693 §2.2.1) with a grant and its bundle. */
export function tokenAnswer(
  world: World,
  grant: GrantRecord,
  bundle: BundleRecord,
  more: object = {},
): Response {
  return json({
    access_token: grant.token,
    token_type: 'aat',
    expires_in: grant.expiresAt - world.now(),
    scope: scopeOf(grant.asked),
    grant_id: grant.id,
    bundle_id: bundle.id,
    bundle: bundle.jws,
    ...more,
  })
}

/** Seals the next generation of a bundle, with what is known now. The record is not kept yet. */
export async function nextBundle(
  world: World,
  bundle: BundleRecord,
  grant: GrantRecord,
  acknowledged?: AcknowledgedHead,
): Promise<BundleRecord> {
  const device = await deviceKey(bundle.deviceKey)
  const generation = bundle.generation + 1
  const sealed = await seal(world, bundle.id, grant, device, generation, acknowledged)
  return { ...bundle, seenAt: world.now(), ...sealed }
}

async function seal(
  world: World,
  id: string,
  grant: GrantRecord,
  device: PublicKey,
  generation: number,
  acknowledged?: AcknowledgedHead,
): Promise<Pick<BundleRecord, 'jws' | 'generation' | 'expiresAt'>> {
  const now = world.now()
  const { offlineAge } = grant.asked
  const expiresAt = Math.min(grant.expiresAt, now + offlineAge)
  const jws = await sealBundle({
    issuer: world.issuer,
    id,
    device,
    issuedAt: now,
    expiresAt,
    generation,
    grant: [grant.token],
    keys: world.published,
    keysExpireAt: expiresAt,
    statusLists: [await statusListToken(world, grant.place.list, expiresAt)],
    log: { origin: logOrigin(world, device.id), acknowledged },
    sync: `${world.issuer}/bundles/${id}`,
    offline: { maxAge: offlineAge, skew: SKEW },
  }, world.key)
  return { jws, generation, expiresAt }
}

/** The name of a device's log: one for all of its bundles. */
export function logOrigin(world: World, device: string): string {
  return `${new URL(world.issuer).host}/devices/${device}`
}
