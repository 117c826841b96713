/**
 * A device that acts for somebody while nobody can be asked. It has one key, which it makes itself; a bundle, which
 * says what it may do; a log, which it signs; and a state, sealed at rest.
 *
 * Each action goes: everything that speaks against it is looked for → its limits are reserved → an entry
 * `action.intent` is durable → the tool runs → an entry `action.outcome` is durable. What is denied is an entry too,
 * or counted in one. So nothing happens that the log does not know of, and what was begun when the power went is told at the
 * next start.
 *
 * This is the device as its user sees it. What it knows and keeps is in `device_memory.ts`, an action from its intent
 * to its outcome in `device_action.ts`, what is refused in `denials.ts`, what the server says in `device_contact.ts`.
 */
import { fromBase64 } from '../bytes.ts'
import { ERROR_KINDS, type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Key } from '../keys/mod.ts'
import type { Log } from '../log/mod.ts'
import { type ReadArguments, readArguments } from './arguments.ts'
import { authorizeCall } from './authorize.ts'
import type { AcknowledgedHead, VerifiedBundle } from './bundle.ts'
import { Denials } from './denials.ts'
import { type AllowedAction, perform } from './device_action.ts'
import { takeIn } from './device_contact.ts'
import { tellRecovered, type UnresolvedIntent } from './device_log.ts'
import { DeviceMemory } from './device_memory.ts'
import type {
  ActContext,
  ActOptions,
  DeviceLog,
  DeviceParts,
  DeviceSettings,
  ServerContact,
} from './device_parts.ts'
import type { OfflineFinding, OfflineReport } from './offline.ts'
import type { VerifiedGrant } from './verified.ts'

/** As `DeviceSettings.maxWaiting` says. */
const MAX_WAITING = 1_000_000

/** An open device. Made by `openDevice`. */
export class Device {
  /** Its key. */
  readonly key: Key
  /** Actions that had begun when the device stopped the last time, and whose end nobody knows. */
  readonly unresolved: readonly UnresolvedIntent[]
  /** The newest state was torn, and the one before it is used. */
  readonly torn: boolean
  readonly #settings: DeviceSettings
  readonly #memory: DeviceMemory
  readonly #denials: Denials
  #closed: Promise<void> | undefined

  /** Use `openDevice`. */
  constructor(parts: DeviceParts) {
    this.key = parts.key
    this.unresolved = parts.unresolved
    this.torn = parts.torn
    this.#settings = parts.settings
    this.#memory = new DeviceMemory(parts)
    const { maxWaiting = MAX_WAITING } = parts.settings
    this.#denials = new Denials(this.#memory, maxWaiting, parts.denied)
  }

  /** Called by `openDevice`: opens the bundle that the state holds, and tells what was left open. */
  async start(): Promise<void> {
    await this.#memory.openBundle()
    const { log } = this.#memory
    if (log !== undefined) await tellRecovered(log, this.unresolved, this.torn)
  }

  /** The bundle, once there is one. Whether it counts, {@link Device.report} says. */
  get bundle(): VerifiedBundle | undefined {
    return this.#memory.authority?.bundle
  }

  /** The grant, if it verifies. */
  get grant(): VerifiedGrant | undefined {
    return this.#memory.authority?.grant
  }

  /** The log, to be read; undefined before the first bundle names it. Entries are appended by acting. */
  get log(): DeviceLog | undefined {
    return this.#memory.log
  }

  /** What the server has acknowledged of the log. */
  get acknowledged(): AcknowledgedHead | undefined {
    const { acknowledged } = this.#memory.state
    return acknowledged && { size: acknowledged.size, root: fromBase64(acknowledged.root) }
  }

  /** What the server said of the bundle's end, if it did. */
  get revoked(): ServerContact['revoked'] {
    return this.#memory.state.revoked
  }

  /** Seconds since 1970, by this device's clock. */
  get now(): number {
    return this.#memory.now
  }

  /** All that speaks against acting now, with a tool if one is given. */
  report(tool?: string): OfflineReport {
    const { now, state, authority, fault, found } = this.#memory
    const { newestTime: highWater, lastContact, waitingSince, revoked } = state
    if (authority === undefined) {
      const none = { code: 'device_unenrolled', message: 'the device has no bundle yet' } as const
      const findings = [fault ?? none, ...found]
      return { ok: false, worst: findings[0], findings, time: Math.max(now, highWater) }
    }
    const newestGeneration = state.bundleGeneration
    const report = authority.judge(
      { now, highWater, lastContact, waitingSince, newestGeneration, revoked, found },
      tool,
    )
    this.#memory.sawTime(now)
    return report
  }

  /**
   * Uses a tool. `run` gets a copy of the arguments, just as they were judged and logged.
   *
   * Throws a `SignetError` with the code of the denial; what appending to the log throws, and then `run` was not
   * called; what `run` throws; and `outcome_not_logged`, when it ran and the log refused to take how it ended.
   */
  async act<T>(
    tool: string,
    args: JsonObject,
    run: (args: JsonObject, context: ActContext) => T | Promise<T>,
    options: ActOptions = {},
  ): Promise<T> {
    if (this.#closed !== undefined) throw new SignetError('key_closed', 'the device was closed')
    const read = await this.#readable(tool, args)
    const report = this.report(tool)
    const { log, authority } = this.#memory
    if (!report.ok || log === undefined) throw await this.#denials.deny(tool, read.text, report)
    // A bundle that comes meanwhile decides about the next action.
    const { bundle, grant } = authority!
    this.#checkBacklog(log)
    const decision = await authorizeCall(grant!, {
      tool,
      args: read.value,
      possession: 'held-here',
      now: Math.floor(report.time),
      skew: bundle.offline.skew,
      status: (ref) => authority!.statusOf(ref),
      ledger: this.#memory.ledger,
      approvals: options.approvals,
    })
    if (!decision.allowed) {
      const finding = { code: codeOf(decision.code), message: decision.reason }
      const denied = { ...report, worst: finding, findings: [finding] }
      throw await this.#denials.deny(tool, read.text, denied)
    }
    const action: AllowedAction = {
      tool,
      args: read,
      bundle,
      grant: grant!,
      reservation: decision.reservation,
      time: report.time,
      record: this.#settings.record,
    }
    return await perform(this.#memory, log, action, run, options)
  }

  /**
   * Takes in what the server said. A bundle must be this device's, by a pinned issuer, and no older than what was
   * seen; then it takes the place of the one before. The clock's mark goes back only to the server's own time.
   *
   * Errors: those of `openOffline`; `bundle_rolled_back`; `log_forked`, `log_rolled_back`, `log_replaced` (the
   * server has another log than this one); what saving the state throws.
   */
  async heard(contact: ServerContact): Promise<void> {
    await this.#takeIn(contact, true)
  }

  /** Takes a bundle in that came some other way: in a file. As {@link Device.heard}. */
  async enroll(bundle: string): Promise<void> {
    await this.#takeIn({ bundle }, false)
  }

  /**
   * Waits for what is under way, publishes the log and lets go of it. Idempotent. Errors: what publishing throws, and
   * what saving the state throws, where a time was seen that no entry tells of.
   */
  close(): Promise<void> {
    const memory = this.#memory
    this.#closed ??= (async () => {
      await memory.settled()
      try {
        await this.#tellDenials()
        await memory.keepTime()
      } finally {
        await memory.log?.close()
      }
    })()
    return this.#closed
  }

  async #takeIn(contact: ServerContact, live: boolean): Promise<void> {
    const options = { live, first: () => this.#tellDenials() }
    await this.#memory.inTurn(() => takeIn(this.#memory, contact, options))
  }

  /** Better done, and no reason to leave the rest undone. */
  async #tellDenials(): Promise<void> {
    try {
      await this.#denials.tell(this.#memory.state.newestTime)
    } catch (error) {
      if (!isSignetError(error)) throw error
    }
  }

  async #readable(tool: string, args: JsonObject): Promise<ReadArguments> {
    const read = typeof tool === 'string' ? readArguments(args) : undefined
    if (read !== undefined) return read
    const message = 'the arguments are not a JSON object'
    const worst: OfflineFinding = { code: 'arguments_malformed', message }
    const report = { ok: false, worst, findings: [worst], time: this.now }
    throw await this.#denials.deny(String(tool), undefined, report)
  }

  #checkBacklog(log: Log): void {
    const { maxWaiting = MAX_WAITING } = this.#settings
    const acknowledged = this.#memory.state.acknowledged?.size ?? 0
    // Denials are no work, and must not end it.
    if (log.size - acknowledged - this.#denials.waiting < maxWaiting) return
    throw new SignetError('sync_backlog', `${maxWaiting} entries wait for the server`, {
      remedy: 'sync first',
    })
  }
}

function codeOf(code: string): ErrorCode {
  return Object.hasOwn(ERROR_KINDS, code) ? code as ErrorCode : 'policy_denied'
}
