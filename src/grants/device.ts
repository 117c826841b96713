/**
 * A device that acts for somebody while nobody can be asked. It has one key, which it makes itself; a bundle, which
 * says what it may do; a log, which it signs; and a state, sealed at rest.
 *
 * Each action goes: everything that speaks against it is looked for → its limits are reserved → an entry
 * `action.intent` is durable → the tool runs → an entry `action.outcome` is durable. What is denied is an entry too,
 * or counted in one. So nothing happens that the log does not know of, and what was begun when the power went is told at the
 * next start.
 */
import { fromBase64, toBase64Url, utf8 } from '../bytes.ts'
import { ERROR_KINDS, type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Key } from '../keys/mod.ts'
import { type Log, type LogEvent, portableSha256 } from '../log/mod.ts'
import { readArguments } from './arguments.ts'
import { authorizeCall, type Decision } from './authorize.ts'
import type { AcknowledgedHead, VerifiedBundle } from './bundle.ts'
import { Denials } from './denials.ts'
import { checkHead } from './device_heads.ts'
import type { DeviceLedger } from './device_ledger.ts'
import type { UnresolvedIntent } from './device_log.ts'
import type {
  ActContext,
  ActOptions,
  DeviceLog,
  DeviceParts,
  ServerContact,
} from './device_parts.ts'
import { type DeviceState, rootText } from './device_state.ts'
import { thumbprintUri } from './holder_key.ts'
import { withLearned } from './learned.ts'
import {
  isForged,
  type OfflineAuthority,
  offlineError,
  type OfflineFinding,
  type OfflineReport,
  openOffline,
} from './offline.ts'
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
  readonly #parts: DeviceParts
  readonly #clock: () => number
  readonly #ledger: DeviceLedger
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
  readonly #denials = new Denials()
  /** Intents, and their outcomes once they are in the log. */
  readonly #running = new Map<number, number | undefined>()
  #saving: Promise<unknown> = Promise.resolve()
  #catchingUp = false
  #closed: Promise<void> | undefined

  /** Use `openDevice`. */
  constructor(parts: DeviceParts) {
    this.#parts = parts
    this.key = parts.key
    this.unresolved = parts.unresolved
    this.torn = parts.torn
    this.#clock = parts.settings.clock ?? Date.now
    this.#state = parts.state
    this.#found = parts.found
    this.#ledger = parts.ledger
    this.#log = parts.log
    this.#lastAction = parts.lastAction
    this.#kept = parts.state.newestTime
    this.#named = parts.namedGeneration
  }

  /** Called by `openDevice`: opens the bundle that the state holds, and tells what was left open. */
  async start(): Promise<void> {
    const { bundle } = this.#state
    if (bundle !== undefined) {
      try {
        this.#authority = await this.#open(bundle)
      } catch (error) {
        if (!isSignetError(error)) throw error
        this.#fault = { code: error.code, message: error.message }
      }
    }
    const intents = this.unresolved.map(({ index }) => index)
    if (this.#log === undefined || intents.length === 0 && !this.torn) return
    for (let at = 0; at === 0 || at < intents.length; at += 4096) {
      const data = { intents: intents.slice(at, at + 4096), torn: this.torn }
      await this.#log.append({ type: 'device.recovered', outcome: 'unknown', data })
    }
  }

  /** The bundle, once there is one. Whether it counts, {@link Device.report} says. */
  get bundle(): VerifiedBundle | undefined {
    return this.#authority?.bundle
  }

  /** The grant, if it verifies. */
  get grant(): VerifiedGrant | undefined {
    return this.#authority?.grant
  }

  /** The log, to be read; undefined before the first bundle names it. Entries are appended by acting. */
  get log(): DeviceLog | undefined {
    return this.#log
  }

  /** What the server has acknowledged of the log. */
  get acknowledged(): AcknowledgedHead | undefined {
    const { acknowledged } = this.#state
    return acknowledged && { size: acknowledged.size, root: fromBase64(acknowledged.root) }
  }

  /** What the server said of the bundle's end, if it did. */
  get revoked(): ServerContact['revoked'] {
    return this.#state.revoked
  }

  /** Seconds since 1970, by this device's clock. */
  get now(): number {
    return this.#clock() / 1000
  }

  /** All that speaks against acting now, with a tool if one is given. */
  report(tool?: string): OfflineReport {
    const { now } = this
    const { newestTime: highWater, bundleGeneration, lastContact, waitingSince, revoked } =
      this.#state
    if (this.#authority === undefined) {
      const none = { code: 'device_unenrolled', message: 'the device has no bundle yet' } as const
      const findings = [this.#fault ?? none, ...this.#found]
      return { ok: false, worst: findings[0], findings, time: Math.max(now, highWater) }
    }
    const situation = {
      now,
      highWater,
      lastContact,
      waitingSince,
      newestGeneration: bundleGeneration,
      revoked,
      found: this.#found,
    }
    const report = this.#authority.judge(situation, tool)
    // A time that was seen stays seen; it reaches the disk with the log's entries, or when the device is closed.
    if (now > highWater) this.#state = { ...this.#state, newestTime: now }
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
    const { text, copy } = await this.#readable(tool, args)
    const report = this.report(tool)
    const log = this.#log
    if (!report.ok || log === undefined) throw await this.#deny(tool, text, report)
    // A bundle that comes meanwhile decides about the next action.
    const authority = this.#authority!
    const { bundle } = authority
    const grant = authority.grant!
    this.#checkBacklog(log)
    const decision = await this.#decide(authority, tool, copy, report.time, options)
    if (!decision.allowed) {
      const finding = { code: codeOf(decision.code), message: decision.reason }
      throw await this.#deny(tool, text, { ...report, worst: finding, findings: [finding] })
    }
    const { reservation } = decision
    const intent: LogEvent = {
      type: 'action.intent',
      action: tool,
      ref: grant.id,
      trace: options.trace,
      data: {
        bundle: bundle.id,
        generation: bundle.generation,
        at: report.time,
        ...this.#argumentData(text, copy),
        charges: this.#ledger.toLog(reservation),
      },
      private: this.#parts.settings.record === 'private' ? { args: copy } : undefined,
    }
    let index: number
    try {
      if (options.signal?.aborted) throw new SignetError('aborted', 'cancelled by the caller')
      index = (await log.append(intent)).index
    } catch (error) {
      // In doubt it may be in the log after all, and would be counted when the device is opened again.
      if (!isSignetError(error, 'log_in_doubt')) await reservation.release()
      throw error
    }
    this.#ledger.confirm(index, reservation, report.time)
    this.#running.set(index, undefined)
    this.#acted(index, report.time)
    const end = (outcome: string, data?: JsonObject) =>
      this.#outcome(log, index, { type: 'action.outcome', action: tool, outcome }, data)
    let result: T
    try {
      result = await run(copy, { intent: index, grant: grant.id, signal: options.signal })
    } catch (error) {
      await end('error', { error: nameOf(error) })
      throw error
    }
    await end('ok')
    return result
  }

  /**
   * Takes in what the server said. A bundle must be this device's, by a pinned issuer, and no older than what was
   * seen; then it takes the place of the one before. The clock's mark goes back only to the server's own time.
   *
   * Errors: those of `openOffline`; `bundle_rolled_back`; `log_forked`, `log_rolled_back`, `log_replaced` (the
   * server has another log than this one); what saving the state throws.
   */
  async heard(contact: ServerContact): Promise<void> {
    const done = this.#saving.then(() => this.#heard(contact))
    this.#saving = done.catch(() => {})
    await done
  }

  /** Takes a bundle in that came some other way: in a file. As {@link Device.heard}. */
  async enroll(bundle: string): Promise<void> {
    const done = this.#saving.then(() => this.#heard({ bundle }, false))
    this.#saving = done.catch(() => {})
    await done
  }

  /**
   * Waits for what is under way, publishes the log and lets go of it. Idempotent. Errors: what publishing throws, and
   * what saving the state throws, where a time was seen that no entry tells of.
   */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#saving
      try {
        await this.#tellDenials(this.#state.newestTime).catch(onlySignet)
        await this.#keepTime()
      } finally {
        await this.#log?.close()
      }
    })()
    return this.#closed
  }

  /** Whoever only looked at the time must not be able to have it again. */
  async #keepTime(): Promise<void> {
    const skew = this.#authority?.bundle.offline.skew
    if (skew === undefined || this.#state.newestTime - this.#kept <= skew) return
    await this.#save({}, undefined, undefined)
  }

  async #readable(
    tool: string,
    args: JsonObject,
  ): Promise<{ readonly text: string; readonly copy: JsonObject }> {
    const read = typeof tool === 'string' ? readArguments(args) : undefined
    if (read !== undefined) return { text: read.text, copy: read.value }
    const message = 'the arguments are not a JSON object'
    const worst: OfflineFinding = { code: 'arguments_malformed', message }
    const report = { ok: false, worst, findings: [worst], time: this.now }
    throw await this.#deny(String(tool), undefined, report)
  }

  #argumentData(text: string, copy: JsonObject): JsonObject {
    switch (this.#parts.settings.record) {
      case 'plain':
        return { args: copy }
      case 'private':
        return {}
      default:
        return { digest: digestOf(text) }
    }
  }

  async #decide(
    authority: OfflineAuthority,
    tool: string,
    args: JsonObject,
    now: number,
    { approvals }: ActOptions,
  ): Promise<Decision> {
    return await authorizeCall(authority.grant!, {
      tool,
      args,
      possession: 'held-here',
      now: Math.floor(now),
      skew: authority.bundle.offline.skew,
      status: (ref) => authority.statusOf(ref),
      ledger: this.#ledger,
      approvals,
    })
  }

  #checkBacklog(log: Log): void {
    const { maxWaiting = MAX_WAITING } = this.#parts.settings
    const acknowledged = this.#state.acknowledged?.size ?? 0
    // Denials are no work, and must not end it.
    if (log.size - acknowledged - this.#denials.since(acknowledged) < maxWaiting) return
    throw new SignetError('sync_backlog', `${maxWaiting} entries wait for the server`, {
      remedy: 'sync first',
    })
  }

  /** Logs a denial, or counts it, and gives its error. A log that cannot take it does not make it less of one. */
  async #deny(tool: string, text: string | undefined, report: OfflineReport): Promise<SignetError> {
    const denial = offlineError(report)
    const log = this.#log
    if (log === undefined) return denial
    const action = tool.slice(0, 256).toWellFormed()
    const digest = text === undefined ? undefined : digestOf(text)
    const { maxWaiting = MAX_WAITING } = this.#parts.settings
    const waiting = this.#denials.since(this.#state.acknowledged?.size ?? 0)
    if (
      waiting >= maxWaiting ||
      !this.#denials.isDue(`${denial.code} ${digest} ${action}`, report.time)
    ) {
      this.#denials.missed(1)
      return denial
    }
    try {
      await this.#tellDenials(report.time)
      const codes = report.findings.slice(0, 64).map(({ code }) => code)
      const data = { at: report.time, codes, digest }
      await this.#logDenial(log, { action, outcome: denial.code, data }, report.time)
    } catch (cause) {
      if (!isSignetError(cause)) throw cause
      this.#denials.missed(1)
      return new SignetError(denial.code, `${denial.message} (and it could not be logged)`, {
        cause,
      })
    }
    return denial
  }

  /** Logs how many denials got no entry of their own. */
  async #tellDenials(time: number): Promise<void> {
    const more = this.#log === undefined ? 0 : this.#denials.takeUntold()
    if (more === 0) return
    try {
      await this.#logDenial(this.#log!, { outcome: 'repeated', data: { at: time, more } }, time)
    } catch (error) {
      this.#denials.missed(more)
      throw error
    }
  }

  async #logDenial(log: Log, event: Omit<LogEvent, 'type' | 'ref'>, time: number): Promise<void> {
    const { index } = await log.append({ ...event, type: 'action.denied', ref: this.grant?.id })
    this.#denials.logged(index)
    this.#acted(index, time)
  }

  #acted(index: number, time: number): void {
    this.#lastAction = Math.max(this.#lastAction, index)
    this.#kept = Math.max(this.#kept, time)
    const { newestTime, waitingSince = time } = this.#state
    this.#state = { ...this.#state, newestTime: Math.max(newestTime, time), waitingSince }
    const { saveEvery = 65_536 } = this.#parts.settings
    if (index - this.#state.log.size >= saveEvery && !this.#catchingUp) {
      this.#catchingUp = true
      this.#saving = this.#saving.then(() => this.#save({}, undefined, undefined))
        .catch(() => {}) // the next one may do better; until then opening takes longer
        .finally(() => this.#catchingUp = false)
    }
  }

  async #outcome(log: Log, intent: number, event: LogEvent, more?: JsonObject): Promise<void> {
    const time = Math.max(this.now, this.#state.newestTime)
    try {
      const { index } = await log.append({
        ...event,
        ref: `${intent}`,
        data: { at: time, ...more },
      })
      this.#running.set(intent, index)
      this.#acted(index, time)
    } catch (cause) {
      throw new SignetError(
        'outcome_not_logged',
        `the tool ran (${event.outcome}), and the log could not take its outcome`,
        { cause, where: `entry ${intent}`, remedy: 'do not repeat the action before you know' },
      )
    }
  }

  async #open(token: string): Promise<OfflineAuthority> {
    const { key, settings, trusted } = this.#parts
    const audience = settings.audience ?? thumbprintUri(key.publicKey)
    return await openOffline(token, {
      trusted: await withLearned(trusted, this.#state.issuers),
      device: key.publicKey,
      audience,
    })
  }

  async #heard(contact: ServerContact, live: boolean = true): Promise<void> {
    const [damage] = live ? [] : this.#found
    if (damage !== undefined) {
      throw new SignetError(damage.code, damage.message, { remedy: 'sync with the server' })
    }
    const before = this.#state
    const ended = before.revoked === undefined ? contact.revoked : undefined
    // It counts from now on, whatever becomes of the rest and of the disk.
    if (ended !== undefined) this.#state = { ...before, revoked: ended }
    await this.#tellDenials(this.#state.newestTime).catch(onlySignet)
    const authority = contact.bundle === undefined ? undefined : await this.#newer(contact.bundle)
    const heardAt = live ? contact.serverTime ?? this.now : 0
    // The server's clock is the only one that may set the mark back, and only together with a fresh bundle.
    const sets = live && contact.serverTime !== undefined && authority !== undefined
    const change: Partial<DeviceState> = {
      ...authority === undefined ? {} : await this.#adopted(authority.bundle),
      ...await this.#acknowledgedBy(contact),
      ...live ? { lastContact: heardAt } : {},
      newestTime: Math.max(heardAt, authority?.bundle.issuedAt ?? 0),
      ...ended === undefined ? {} : { revoked: ended },
    }
    let event: LogEvent | undefined
    if (authority !== undefined) {
      const again = before.bundleId === authority.bundle.id
      event = { type: again ? 'device.refreshed' : 'device.enrolled' }
    } else if (ended !== undefined) {
      event = { type: 'device.synced', outcome: 'revoked' }
    } else if (this.#actionsBetween(before.acknowledged?.size, contact)) {
      event = { type: 'device.synced', outcome: 'ok' }
    }
    await this.#save(change, event, authority, sets)
  }

  /** What a bundle changes that takes the place of the one before. */
  async #adopted(bundle: VerifiedBundle): Promise<Partial<DeviceState>> {
    const log = this.#log ??= await this.#parts.openLog(bundle.log.origin)
    await checkHead(log, bundle.log.acknowledged)
    const keys = bundle.keys.map(({ jwk }) => ({ ...jwk }))
    return {
      bundle: bundle.token,
      bundleId: bundle.id,
      bundleGeneration: bundle.generation,
      issuers: [{ issuer: bundle.issuer, keys }],
      ...this.#state.bundleId === bundle.id
        ? {}
        : { ...exchanged(this.#state, bundle.id), acknowledged: undefined },
    }
  }

  async #acknowledgedBy({ acknowledged }: ServerContact): Promise<Partial<DeviceState>> {
    if (acknowledged === undefined || this.#log === undefined) return {}
    await checkHead(this.#log, acknowledged)
    const { size, root } = acknowledged
    const waits = this.#lastAction >= size
    return {
      acknowledged: { size, root: rootText(root) },
      waitingSince: waits ? this.#state.waitingSince ?? this.now : undefined,
    }
  }

  /** Whether an acknowledgement covers actions that the one before did not. */
  #actionsBetween(before: number = 0, { acknowledged }: ServerContact): boolean {
    return acknowledged !== undefined && acknowledged.size > before && this.#lastAction >= before
  }

  /** Opens a bundle that came; undefined for the one that is here already. */
  async #newer(token: string): Promise<OfflineAuthority | undefined> {
    if (token === this.#state.bundle && this.#found.length === 0) return undefined
    const authority = await this.#open(token)
    const { bundle, lasting, grant } = authority
    const forged = grant === undefined
      ? lasting.find(({ where }) => where === 'grant')
      : lasting.find(isForged)
    if (forged !== undefined) {
      throw offlineError({ ok: false, worst: forged, findings: lasting, time: this.now })
    }
    const { bundleId, bundleGeneration } = this.#state
    const current = this.#authority?.bundle
    const known = this.#state.others.find(({ id }) => id === bundle.id)
    const older = bundle.id === bundleId
      ? bundle.generation < bundleGeneration
      : bundle.generation < (known?.generation ?? 0) ||
        current !== undefined && bundle.issuedAt < current.issuedAt
    if (older) {
      throw new SignetError('bundle_rolled_back', 'a newer bundle was here before', {
        remedy: 'refresh it at the server',
      })
    }
    if (this.#log !== undefined && this.#log.origin !== bundle.log.origin) {
      throw new SignetError('checkpoint_origin', 'the bundle is for a log of another name', {
        remedy: 'give the device a folder of its own for this bundle',
      })
    }
    return authority
  }

  /**
   * Writes the state, then the entry that names it: a state older than the log's newest was put back. The mark is
   * raised to `change.newestTime`, or with `sets` made that, whatever was seen before.
   */
  async #save(
    change: Partial<DeviceState>,
    event: LogEvent | undefined,
    authority: OfflineAuthority | undefined,
    sets: boolean = false,
  ): Promise<void> {
    const { storage, sealer } = this.#parts
    const log = this.#log
    const head = await log?.checkpoint()
    const size = head?.size ?? 0
    const pending: number[] = []
    for (const [intent, outcome] of this.#running) {
      if (intent >= size) continue
      if (outcome === undefined || outcome >= size) pending.push(intent)
      else this.#running.delete(intent)
    }
    const mark = (seen: number) =>
      sets ? change.newestTime! : Math.max(seen, change.newestTime ?? 0)
    const next: DeviceState = {
      ...this.#state,
      ...change,
      newestTime: mark(this.#state.newestTime),
      generation: Math.max(this.#state.generation, this.#named) + 1,
      log: head === undefined
        ? this.#state.log
        : { origin: head.origin, size, root: rootText(head.root) },
      pending,
      ledger: this.#ledger.snapshot(size),
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

function digestOf(text: string): string {
  return toBase64Url(portableSha256(utf8(text)))
}

/** For what is better done, and no reason to leave the rest undone. */
function onlySignet(error: unknown): void {
  if (!isSignetError(error)) throw error
}

function codeOf(code: string): ErrorCode {
  return Object.hasOwn(ERROR_KINDS, code) ? code as ErrorCode : 'policy_denied'
}

/** The kind of an error, for the log: its message may hold anything. */
function nameOf(error: unknown): string {
  if (isSignetError(error)) return error.code
  return error instanceof Error ? error.name.slice(0, 64).toWellFormed() : typeof error
}
