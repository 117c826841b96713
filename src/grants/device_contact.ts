/** What becomes of what the server says: which bundle takes the place of the one before, and what is remembered. */
import { equalBytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import type { Log, LogEvent } from '../log/mod.ts'
import type { AcknowledgedHead, VerifiedBundle } from './bundle.ts'
import { PUT_BACK } from './device_anchor.ts'
import type { DeviceMemory } from './device_memory.ts'
import type { ServerContact } from './device_parts.ts'
import { type DeviceState, type Revoked, rootText } from './device_state.ts'
import { isForged, type OfflineAuthority, offlineError } from './offline.ts'

/** How a contact came about. */
export interface ContactOptions {
  /** The server itself said it, just now; false: it came in a file, whenever it was made. */
  readonly live: boolean
  /** Called once it is known whether it is heard at all. */
  readonly first: () => Promise<void>
}

/** Takes in what the server said. To be called in turn. Errors: see `Device.heard`. */
export async function takeIn(
  memory: DeviceMemory,
  said: ServerContact,
  { live, first }: ContactOptions,
): Promise<void> {
  const [damage] = live ? [] : memory.found
  if (damage !== undefined) {
    throw new SignetError(damage.code, damage.message, { remedy: 'sync with the server' })
  }
  const before = memory.state
  // The server was asked, and meanwhile another bundle took the place of that one.
  const { about = before.bundleId } = said
  const isPast = about !== before.bundleId
  const contact = isPast ? { ...said, bundle: undefined, revoked: undefined } : said
  const ended = before.revoked === undefined ? contact.revoked : undefined
  // It counts from now on, whatever becomes of the rest and of the disk.
  if (ended !== undefined) memory.revoke(ended)
  await first()
  const authority = contact.bundle === undefined ? undefined : await newer(memory, contact.bundle)
  const heardAt = live ? contact.serverTime ?? memory.now : 0
  const change: Partial<DeviceState> = {
    ...authority === undefined ? {} : await adopted(memory, authority.bundle),
    ...await acknowledgedBy(memory, contact.acknowledged),
    ...live ? { lastContact: heardAt } : {},
    newestTime: Math.max(heardAt, authority?.bundle.issuedAt ?? 0),
    ...ended === undefined ? {} : { revoked: ended },
    ...isPast ? { others: before.others.map((one) => endedAs(one, about, said.revoked)) } : {},
  }
  // The server's clock is the only one that may set the mark back, and only together with a fresh bundle.
  const setsTime = live && contact.serverTime !== undefined && authority !== undefined
  const event = eventOf(before, contact, { authority, ended, lastAction: memory.lastAction })
  await memory.save(change, { event, authority, setsTime })
}

/** What is known of another bundle, if that is the one that the server has taken back. */
function endedAs(
  other: DeviceState['others'][number],
  about: string | undefined,
  revoked: Revoked | undefined,
): DeviceState['others'][number] {
  return other.id === about ? { ...other, revoked: other.revoked ?? revoked } : other
}

/** Opens a bundle that came; undefined for the one that is here already. */
async function newer(memory: DeviceMemory, token: string): Promise<OfflineAuthority | undefined> {
  if (token === memory.state.bundle && memory.found.length === 0) return undefined
  const authority = await memory.open(token)
  checkGenuine(authority, memory.now)
  const { state, authority: present, log } = memory
  if (isOlder(authority.bundle, state, present?.bundle)) {
    throw new SignetError('bundle_rolled_back', 'a newer bundle was here before', {
      remedy: 'refresh it at the server',
    })
  }
  if (log !== undefined && log.origin !== authority.bundle.log.origin) {
    throw new SignetError('checkpoint_origin', 'the bundle is for a log of another name', {
      remedy: 'give the device a folder of its own for this bundle',
    })
  }
  return authority
}

/** A bundle with a part that is somebody else's takes no bundle's place. */
function checkGenuine({ grant, lasting }: OfflineAuthority, time: number): void {
  const forged = grant === undefined
    ? lasting.find(({ where }) => where === 'grant')
    : lasting.find(isForged)
  if (forged !== undefined) {
    throw offlineError({ ok: false, worst: forged, findings: lasting, time })
  }
}

/** Whether a newer one than this bundle was seen, of the same id or of another. */
function isOlder(
  { id, generation, issuedAt }: VerifiedBundle,
  { bundleId, bundleGeneration, others }: DeviceState,
  present: VerifiedBundle | undefined,
): boolean {
  if (id === bundleId) return generation < bundleGeneration
  const known = others.find((one) => one.id === id)
  return generation < (known?.generation ?? 0) ||
    present !== undefined && issuedAt < present.issuedAt
}

/** What a bundle changes that takes the place of the one before. */
async function adopted(
  memory: DeviceMemory,
  bundle: VerifiedBundle,
): Promise<Partial<DeviceState>> {
  await checkHead(await memory.needLog(bundle.log.origin), bundle.log.acknowledged)
  const keys = bundle.keys.map(({ jwk }) => ({ ...jwk }))
  return {
    bundle: bundle.token,
    bundleId: bundle.id,
    bundleGeneration: bundle.generation,
    issuers: [{ issuer: bundle.issuer, keys }],
    ...memory.state.bundleId === bundle.id
      ? {}
      : { ...exchanged(memory.state, bundle.id), acknowledged: undefined },
  }
}

/** What is known of the bundles when another one takes the place of the present one. */
function exchanged(
  { bundleId, bundleGeneration, revoked, others }: DeviceState,
  next: string,
): Pick<DeviceState, 'others' | 'revoked'> {
  const present = bundleId === undefined
    ? []
    : [{ id: bundleId, generation: bundleGeneration, revoked }]
  return {
    others: [...others.filter(({ id }) => id !== next), ...present],
    revoked: others.find(({ id }) => id === next)?.revoked,
  }
}

/** What an acknowledgement changes, if it is of this log. */
async function acknowledgedBy(
  memory: DeviceMemory,
  acknowledged: AcknowledgedHead | undefined,
): Promise<Partial<DeviceState>> {
  if (acknowledged === undefined || memory.log === undefined) return {}
  await checkHead(memory.log, acknowledged)
  const { size, root } = acknowledged
  const waits = memory.lastAction >= size
  return {
    acknowledged: { size, root: rootText(root) },
    waitingSince: waits ? memory.state.waitingSince ?? memory.now : undefined,
  }
}

/**
 * The server's head must be a head of this log. Errors: `log_replaced`, `log_rolled_back`, `log_forked`.
 */
async function checkHead(log: Log, head: AcknowledgedHead | undefined): Promise<void> {
  if (head === undefined || head.size === 0) return
  const { size } = await log.checkpoint()
  if (head.size > size) {
    throw new SignetError(
      size <= 1 ? 'log_replaced' : 'log_rolled_back',
      `the server has ${head.size} entries of the log, the device ${size}`,
      { remedy: PUT_BACK },
    )
  }
  const root = await log.view().hash({ start: 0, end: head.size })
  if (equalBytes(root, head.root)) return
  throw new SignetError('log_forked', 'the server has another log than the device', {
    remedy: PUT_BACK,
  })
}

/** The entry that a contact is worth; none for one that brought nothing and covers no action. */
function eventOf(
  before: DeviceState,
  { acknowledged }: ServerContact,
  { authority, ended, lastAction }: {
    readonly authority: OfflineAuthority | undefined
    readonly ended: Revoked | undefined
    readonly lastAction: number
  },
): LogEvent | undefined {
  if (authority !== undefined) {
    const again = before.bundleId === authority.bundle.id
    return { type: again ? 'device.refreshed' : 'device.enrolled' }
  }
  if (ended !== undefined) return { type: 'device.synced', outcome: 'revoked' }
  const known = before.acknowledged?.size ?? 0
  const covers = acknowledged !== undefined && acknowledged.size > known && lastAction >= known
  return covers ? { type: 'device.synced', outcome: 'ok' } : undefined
}
