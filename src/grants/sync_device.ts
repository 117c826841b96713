/**
 * The device's side of a sync. Entries go out in pieces, in order, each from where the server says that it stands; what
 * it has acknowledged is compared with the log itself. A cut at any place costs the piece that was under way and no
 * more.
 */
import { type Bytes, concat, equalBytes } from '../bytes.ts'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import { abortable, checkAborted } from '../keys/mod.ts'
import { exportRange, type LogView, type VerifiedCheckpoint } from '../log/mod.ts'
import type { AcknowledgedHead } from './bundle.ts'
import type { Device } from './device.ts'
import { PUT_BACK } from './device_anchor.ts'
import type { ServerContact } from './device_parts.ts'
import { type DeviceHttp, deviceHttp, type DeviceHttpOptions } from './device_http.ts'
import {
  formatSyncHead,
  type LogVerdict,
  MAX_SYNC_ENTRIES,
  parseSyncAnswer,
  SYNC_MEDIA_TYPE,
  type SyncAnswer,
  type SyncRefusal,
} from './sync_message.ts'

/** Options of {@link syncDevice}. */
export interface SyncDeviceOptions extends DeviceHttpOptions {
  /** Most entries in one message. Default 1024. */
  readonly batch?: number | undefined
  /** Most bytes in one message, unless one entry alone has more. Default 1 MiB. */
  readonly batchBytes?: number | undefined
  /** Told after each message how many entries the server has, and how many there are. */
  readonly onProgress?: ((acknowledged: number, size: number) => void) | undefined
}

/** What came of a sync. */
export interface SyncResult {
  /** Entries that the server has now. */
  readonly acknowledged: number
  /** Entries that were new to it. */
  readonly sent: number
  /** Entries that it found fault with. They are in its hands nevertheless. At most 1000. */
  readonly verdicts: readonly { readonly index: number; readonly code: string }[]
  /** Whether the bundle still counts. */
  readonly status: SyncAnswer['status']
  /** A newer bundle came along. */
  readonly refreshed: boolean
}

const MAX_VERDICTS = 1000

/** The end of the syncs that a device has begun: what is overtaken on its way looks like a log that went back. */
const turns = new WeakMap<Device, Promise<unknown>>()

/**
 * Sends what the server has not, and takes in what it says. May be called at any time, at once with actions, and
 * again after any failure. Of several calls at once each waits for the one before.
 *
 * Errors: `device_unenrolled`; those of `DeviceHttp.request`; `sync_malformed` (the answer makes no sense);
 * `log_forked`, `log_rolled_back`, `log_replaced` (the two sides have different logs: nothing was taken);
 * `log_quota` (the server keeps no more of this log; all else that it said was taken in); those of `Device.heard`.
 */
export async function syncDevice(
  device: Device,
  options: SyncDeviceOptions = {},
): Promise<SyncResult> {
  const before = turns.get(device) ?? Promise.resolve()
  const result = abortable(before, options.signal).then(() => syncNow(device, options))
  // Whoever gives up waiting does not let the next one go first.
  turns.set(device, Promise.allSettled([before, result]).then(() => {}))
  return await result
}

async function syncNow(device: Device, options: SyncDeviceOptions): Promise<SyncResult> {
  const { bundle, log } = device
  if (bundle === undefined || log === undefined) {
    throw new SignetError('device_unenrolled', 'the device has no bundle to sync', {
      remedy: 'pull one first',
    })
  }
  const http = deviceHttp(device.key, { now: () => device.now, ...options })
  const checkpoint = await log.checkpoint()
  const view = log.view()
  const sync = new Sync(http, `${bundle.sync}/sync`, view, checkpoint, bundle.generation, options)
  const { id: about } = bundle
  try {
    await sync.probe(device.acknowledged)
    await sync.sendAll()
  } catch (error) {
    // Whatever ended it: what was acknowledged and said until then counts. What ended it is told.
    if (sync.contact !== undefined) await device.heard({ ...sync.contact, about }).catch(() => {})
    throw error
  }
  await device.heard({ ...sync.contact, about })
  sync.checkTaken()
  const { sent, verdicts, status } = sync
  return {
    acknowledged: sync.head.size,
    sent,
    verdicts,
    status,
    refreshed: (device.bundle?.generation ?? 0) > bundle.generation,
  }
}

class Sync {
  readonly #http: DeviceHttp
  readonly #url: string
  readonly #view: LogView
  readonly #checkpoint: VerifiedCheckpoint
  readonly #generation: number
  readonly #options: SyncDeviceOptions
  head!: AcknowledgedHead
  sent = 0
  verdicts: { readonly index: number; readonly code: string }[] = []
  status: SyncAnswer['status'] = { state: 'active' }
  contact: ServerContact | undefined
  refused: SyncRefusal | undefined

  constructor(
    http: DeviceHttp,
    url: string,
    view: LogView,
    checkpoint: VerifiedCheckpoint,
    generation: number,
    options: SyncDeviceOptions,
  ) {
    this.#http = http
    this.#url = url
    this.#view = view
    this.#checkpoint = checkpoint
    this.#generation = generation
    this.#options = options
  }

  /** Says where the log stands, and learns where the server stands. */
  async probe(known: AcknowledgedHead | undefined): Promise<void> {
    const { leaf, proof } = await this.#view.hashes(0)
    const empty = { size: 0, root: new Uint8Array(32) }
    const claimed = known !== undefined && known.size <= this.#view.head.size ? known : empty
    const consistency = await this.#view.consistency({ origin: this.#view.head.origin, ...claimed })
    const probe = { checkpoint: this.#checkpoint.note, consistency, first: { leaf, proof } }
    await this.#send(formatSyncHead({ generation: this.#generation, claimed, probe }))
  }

  async sendAll(): Promise<void> {
    const { size } = this.#view.head
    let count = Math.min(this.#options.batch ?? 1024, MAX_SYNC_ENTRIES)
    let { batchBytes = 1024 * 1024 } = this.#options
    let most = this.head.size
    for (let stuck = 0; this.head.size < size;) {
      const start = this.head.size
      const end = Math.min(size, start + count)
      const message = await this.#message(start, end, batchBytes)
      if (message === undefined) {
        count = Math.ceil((end - start) / 2)
        continue
      }
      try {
        await this.#send(message)
      } catch (error) {
        // The server may take less at once than it could.
        if (!isSignetError(error, 'sync_refused') || error.where !== '413' || end - start === 1) {
          throw error
        }
        count = Math.ceil((end - start) / 2)
        continue
      }
      if (this.refused !== undefined && this.head.size <= start) {
        // A part of it may still find room.
        if (end - start === 1 || this.refused.entries === 0) return
        count = Math.min(Math.ceil((end - start) / 2), this.refused.entries)
        batchBytes = Math.min(batchBytes, this.refused.bytes)
        continue
      }
      this.sent += Math.max(0, Math.min(this.head.size, end) - start)
      // What it has lost and takes again is no progress: that could go on for ever.
      stuck = this.head.size > most ? 0 : stuck + 1
      most = Math.max(most, this.head.size)
      if (stuck === 3) throw new SignetError('sync_failed', 'the server takes no entries')
      this.#options.onProgress?.(this.head.size, size)
    }
  }

  /** Throws where the server does not keep as much of this log. */
  checkTaken(): void {
    const waiting = this.#view.head.size - this.head.size
    if (this.refused === undefined || waiting <= 0) return
    const { code } = this.refused
    const isFull = code === 'log_quota'
    const said = isFull ? '' : ` (${quoted(code)})`
    const ended = this.status.state === 'revoked' ? '; and the bundle was revoked' : ''
    throw new SignetError(
      isFull ? 'log_quota' : 'sync_refused',
      `the server has ${this.head.size} entries and takes no more${said}: ${waiting} wait${ended}`,
      { remedy: 'have its operator raise the ceilings of logs; what waits stays in the log' },
    )
  }

  /** A message with some entries; undefined: they are too large for one. */
  async #message(start: number, end: number, batchBytes: number): Promise<Bytes | undefined> {
    const claimed = { size: start, root: this.head.root }
    const parts: Bytes[] = [formatSyncHead({ generation: this.#generation, claimed })]
    let bytes = 0
    for await (const part of exportRange(this.#view, { start, end }, this.#checkpoint)) {
      bytes += part.length
      if (bytes > batchBytes && end - start > 1) return undefined
      parts.push(part)
    }
    return concat(...parts)
  }

  async #send(message: Bytes): Promise<void> {
    checkAborted(this.#options.signal)
    const { body, serverTime } = await this.#http.request(
      'POST',
      this.#url,
      message,
      SYNC_MEDIA_TYPE,
    )
    const answer = parseSyncAnswer(body)
    this.status = answer.status
    this.refused = answer.refused
    const { state, at, reason } = answer.status
    const revoked = state === 'revoked' ? { at, reason } : undefined
    try {
      await this.#compare(answer)
    } catch (error) {
      // A revocation counts, however the logs stand; nothing else that such a server says does.
      if (revoked !== undefined) this.contact = { ...this.contact, revoked }
      throw error
    }
    this.contact = {
      serverTime: serverTime ?? this.contact?.serverTime,
      revoked,
      bundle: answer.bundle ?? this.contact?.bundle,
      acknowledged: answer.acknowledged,
    }
    this.head = answer.acknowledged
    this.verdicts.push(...answer.verdicts.slice(0, MAX_VERDICTS - this.verdicts.length))
  }

  /** What the server has must be what the log was. */
  async #compare({ log, acknowledged: { size, root } }: SyncAnswer): Promise<void> {
    const fault = FAULTS[log]
    if (fault !== undefined) throw different(fault[0], fault[1])
    if (size > this.#view.head.size) {
      throw different('log_rolled_back', `the server has ${size} entries, more than the log`)
    }
    if (size === 0) return
    if (!equalBytes(await this.#view.hash({ start: 0, end: size }), root)) {
      throw different('log_forked', 'the server has another log than the device')
    }
  }
}

const FAULTS: {
  readonly [log in LogVerdict]?: readonly [
    'log_rolled_back' | 'log_forked' | 'log_replaced',
    string,
  ]
} = {
  rolled_back: ['log_rolled_back', 'the server had more entries of this log'],
  forked: ['log_forked', 'the server had other entries in this log'],
  replaced: ['log_replaced', 'the server had another log of this device'],
}

function different(code: 'log_rolled_back' | 'log_forked' | 'log_replaced', why: string) {
  return new SignetError(code, why, { remedy: PUT_BACK })
}
