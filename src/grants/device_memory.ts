/**
 * What an open device knows, and how it outlives the process: a state on disk, and in the log an entry that names each
 * state that matters. Nothing here judges; whoever acts or hears tells it what has happened.
 */
import { isSignetError } from '../errors.ts'
import type { Log, LogEvent } from '../log/mod.ts'
import type { DeviceLedger } from './device_ledger.ts'
import type { DeviceParts } from './device_parts.ts'
import { type DeviceState, type Revoked, rootText } from './device_state.ts'
import { thumbprintUri } from './holder_key.ts'
import { withLearned } from './learned.ts'
import { type OfflineAuthority, type OfflineFinding, openOffline } from './offline.ts'

/** What a save is about, besides what it changes. */
export interface SaveOptions {
  /** An entry that names the new state. */
  readonly event?: LogEvent | undefined
  /** A bundle from the server, which counts from then on. */
  readonly authority?: OfflineAuthority | undefined
  /** The mark of time becomes `newestTime`, whatever was seen before. Default: it never goes back. */
  readonly setsTime?: boolean | undefined
}

/** What an open device knows. */
export class DeviceMemory {
  /** What its limits have counted. */
  readonly ledger: DeviceLedger
  readonly #parts: DeviceParts
  readonly #clock: () => number
  #state: DeviceState
  #found: readonly OfflineFinding[]
  #authority: OfflineAuthority | undefined
  #fault: OfflineFinding | undefined
  #log: Log | undefined
  #lastAction: number
  /** The newest time that the disk knows of, by the state or by an entry. */
  #kept: number
  /** The newest generation of the state that the log names. */
  #named: number
  /** Intents, and their outcomes once they are in the log. */
  readonly #running = new Map<number, number | undefined>()
  #turns: Promise<unknown> = Promise.resolve()
  #catchingUp = false

  constructor(parts: DeviceParts) {
    this.ledger = parts.ledger
    this.#parts = parts
    this.#clock = parts.settings.clock ?? Date.now
    this.#state = parts.state
    this.#found = parts.found
    this.#log = parts.log
    this.#lastAction = parts.lastAction
    this.#kept = parts.state.newestTime
    this.#named = parts.namedGeneration
  }

  /** Seconds since 1970, by the device's clock. */
  get now(): number {
    return this.#clock() / 1000
  }

  /** What is remembered. Not all of it is on disk: times are with the log's entries. */
  get state(): DeviceState {
    return this.#state
  }

  /** What was wrong when the device was opened, and has not been put right since. */
  get found(): readonly OfflineFinding[] {
    return this.#found
  }

  /** The bundle with all its parts, if there is one that opens. */
  get authority(): OfflineAuthority | undefined {
    return this.#authority
  }

  /** Why the bundle of the state does not open. */
  get fault(): OfflineFinding | undefined {
    return this.#fault
  }

  /** The log; undefined before the first bundle names it. */
  get log(): Log | undefined {
    return this.#log
  }

  /** Index of the last action in the log; -1: none. */
  get lastAction(): number {
    return this.#lastAction
  }

  /** Opens the bundle that the state holds. */
  async openBundle(): Promise<void> {
    const { bundle } = this.#state
    if (bundle === undefined) return
    try {
      this.#authority = await this.open(bundle)
    } catch (error) {
      if (!isSignetError(error)) throw error
      this.#fault = { code: error.code, message: error.message }
    }
  }

  /** Opens a bundle, by the pinned keys and those that bundles before it brought. Errors: those of `openOffline`. */
  async open(token: string): Promise<OfflineAuthority> {
    const { key, settings, trusted } = this.#parts
    const audience = settings.audience ?? thumbprintUri(key.publicKey)
    return await openOffline(token, {
      trusted: await withLearned(trusted, this.#state.issuers),
      device: key.publicKey,
      audience,
    })
  }

  /** The log, opened under a name if it is not open yet. */
  async needLog(origin: string): Promise<Log> {
    return this.#log ??= await this.#parts.openLog(origin)
  }

  /** A time was seen, and stays seen; it reaches the disk with the log's entries, or with {@link DeviceMemory.keepTime}. */
  sawTime(time: number): void {
    if (time > this.#state.newestTime) this.#state = { ...this.#state, newestTime: time }
  }

  /** The bundle was taken back. It counts at once, whatever becomes of the disk. */
  revoke(revoked: Revoked): void {
    this.#state = { ...this.#state, revoked }
  }

  /** An intent is in the log. */
  begun(intent: number): void {
    this.#running.set(intent, undefined)
  }

  /** Its outcome is. */
  ended(intent: number, outcome: number): void {
    this.#running.set(intent, outcome)
  }

  /** An entry about an action is in the log, and tells a time. */
  acted(index: number, time: number): void {
    this.#lastAction = Math.max(this.#lastAction, index)
    this.#kept = Math.max(this.#kept, time)
    const { newestTime, waitingSince = time } = this.#state
    this.#state = { ...this.#state, newestTime: Math.max(newestTime, time), waitingSince }
    const { saveEvery = 65_536 } = this.#parts.settings
    if (index - this.#state.log.size < saveEvery || this.#catchingUp) return
    this.#catchingUp = true
    this.inTurn(() => this.save({}))
      .catch(() => {}) // the next one may do better; until then opening takes longer
      .finally(() => this.#catchingUp = false)
  }

  /** One after the other: whatever hears and saves. */
  async inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turns.then(work)
    this.#turns = done.catch(() => {})
    await done
  }

  /** Waits for what is under way. */
  async settled(): Promise<void> {
    await this.#turns
  }

  /** Whoever only looked at the time must not be able to have it again. */
  async keepTime(): Promise<void> {
    const skew = this.#authority?.bundle.offline.skew
    if (skew === undefined || this.#state.newestTime - this.#kept <= skew) return
    await this.save({})
  }

  /**
   * Writes the state, then the entry that names it: a state older than the log's newest was put back. The mark is
   * raised to `change.newestTime`. To be called in turn. Errors: what the disk and the log say.
   */
  async save(change: Partial<DeviceState>, options: SaveOptions = {}): Promise<void> {
    const { event, authority, setsTime = false } = options
    const { storage, sealer } = this.#parts
    const log = this.#log
    const head = await log?.checkpoint()
    const size = head?.size ?? 0
    const mark = (seen: number) =>
      setsTime ? change.newestTime! : Math.max(seen, change.newestTime ?? 0)
    const next: DeviceState = {
      ...this.#state,
      ...change,
      newestTime: mark(this.#state.newestTime),
      generation: Math.max(this.#state.generation, this.#named) + 1,
      log: head === undefined
        ? this.#state.log
        : { origin: head.origin, size, root: rootText(head.root) },
      pending: this.#pendingAt(size),
      ledger: this.ledger.snapshot(size),
    }
    // A state that was put back is not made the newest by writing it anew: only a bundle from the server does that.
    const damaged = this.#found.length > 0 && authority === undefined
    if (!damaged) {
      await storage.save(next.generation, await sealer.seal(next))
      this.#kept = next.newestTime
    }
    // While it was written, time went by and actions may have begun to wait.
    const { newestTime, waitingSince } = this.#state
    this.#state = {
      ...next,
      generation: damaged ? this.#state.generation : next.generation,
      newestTime: mark(newestTime),
      waitingSince: this.#lastAction < (next.acknowledged?.size ?? 0)
        ? undefined
        : next.waitingSince ?? waitingSince,
    }
    if (authority !== undefined) {
      this.#authority = authority
      this.#fault = undefined
      // What an older state lacked, the server has now said anew.
      this.#found = []
    }
    if (event === undefined || log === undefined) return
    const bundle = this.#authority?.bundle
    const data = {
      state: next.generation,
      bundle: bundle?.id,
      generation: bundle?.generation,
      at: next.newestTime,
    }
    this.#named = next.generation
    await log.append({ ...event, data })
  }

  /** Intents before a place in the log whose outcome is not. Those with both are forgotten. */
  #pendingAt(size: number): number[] {
    const pending: number[] = []
    for (const [intent, outcome] of this.#running) {
      if (intent >= size) continue
      if (outcome === undefined || outcome >= size) pending.push(intent)
      else this.#running.delete(intent)
    }
    return pending
  }
}
