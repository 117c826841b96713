/** A server's keys, bundles and devices in memory. Times are seconds since 1970, and stand still unless moved. */
import { ALGORITHMS } from '../../src/algorithms.ts'
import type { Bytes } from '../../src/bytes.ts'
import {
  type BundleContent,
  type Device,
  issueGrant,
  type IssueTerms,
  type MemoryDeviceStorage,
  memoryDeviceStorage,
  openDevice,
  type OpenDeviceOptions,
  sealBundle,
  signStatusList,
  StatusList,
  type TrustedIssuer,
} from '../../src/grants/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'
import { type LogEntry, type LogStorage, memoryLogStorage, parseEntry } from '../../src/log/mod.ts'

export const ISSUER = 'https://grants.example'
export const LIST: string = `${ISSUER}/status/1`
export const T0 = 1_800_000_000
export const HOUR = 3600

export const serverKey: Key = await generateKey(ALGORITHMS.Ed25519)
export const trusted: readonly TrustedIssuer[] = [{ issuer: ISSUER, keys: [serverKey.publicKey] }]

/** What a bundle is made of, besides what is usual. */
export interface Making extends Partial<BundleContent> {
  readonly terms?: Partial<IssueTerms>
  /** Indexes that the status list has as invalid. */
  readonly revoked?: readonly number[]
  /** When the list was made. */
  readonly listedAt?: number
  /** Who signs the bundle. */
  readonly signer?: Key
}

export async function newKey(): Promise<Key> {
  return await generateKey(ALGORITHMS.Ed25519)
}

export async function listOf(
  revoked: readonly number[] = [],
  issuedAt: number = T0,
  signer: Key = serverKey,
  uri: string = LIST,
): Promise<string> {
  const list = StatusList.of(64, 2)
  for (const index of revoked) list.set(index, 1)
  return await signStatusList(list, signer, { uri, issuedAt, expiresAt: issuedAt + 48 * HOUR })
}

export async function makeBundle(device: Key, making: Making = {}): Promise<string> {
  const { terms, revoked, listedAt, signer, ...more } = making
  const issuedAt = more.issuedAt ?? T0
  const grant = more.grant ?? await issueGrant(serverKey, {
    issuer: ISSUER,
    holder: device.publicKey,
    lifetime: 240 * HOUR,
    scopes: ['calendar:read', 'mail:send'],
    status: { idx: 3, uri: LIST },
    ...terms,
  }, { now: Math.min(T0, issuedAt) })
  return await sealBundle({
    issuer: ISSUER,
    id: 'bundle-1',
    device: device.publicKey,
    issuedAt,
    expiresAt: issuedAt + 72 * HOUR,
    generation: 1,
    grant,
    keys: [serverKey.publicKey],
    keysExpireAt: issuedAt + 96 * HOUR,
    statusLists: [await listOf(revoked, listedAt ?? issuedAt)],
    log: { origin: 'grants.example/devices/1' },
    sync: `${ISSUER}/bundles/bundle-1`,
    offline: { maxAge: 24 * HOUR, skew: 60 },
    ...more,
  }, signer ?? serverKey)
}

/** A device's places, which outlive its openings. */
export interface Places {
  readonly key: Key
  readonly storage: MemoryDeviceStorage
  readonly log: LogStorage
  /** Seconds since 1970; tests move it. */
  now: number
}

export async function newPlaces(): Promise<Places> {
  return {
    key: await newKey(),
    storage: memoryDeviceStorage(),
    log: memoryLogStorage(),
    now: T0 + 10,
  }
}

export async function open(
  places: Places,
  more: Partial<OpenDeviceOptions> = {},
): Promise<Device> {
  return await openDevice({
    ...places,
    trusted,
    clock: () => places.now * 1000,
    publishAfter: 5,
    ...more,
  })
}

/** A device with its first bundle. */
export async function enrolled(
  making: Making = {},
  more: Partial<OpenDeviceOptions> = {},
): Promise<{ readonly places: Places; readonly device: Device }> {
  const places = await newPlaces()
  const device = await open(places, more)
  await device.enroll(await makeBundle(places.key, making))
  return { places, device }
}

/** All entries of a device's log. */
export async function entriesOf(device: Device): Promise<LogEntry[]> {
  const log = device.log!
  await log.checkpoint()
  const view = log.view()
  const entries: Bytes[] = []
  for (let i = 0; i < view.head.size; i++) entries.push(await view.entry(i))
  return entries.map(parseEntry)
}

/** Types of the entries after the log's own. */
export async function typesOf(device: Device): Promise<string[]> {
  return (await entriesOf(device)).map(({ type }) => type)
}
