/**
 * Which denials become entries of a device's log. Each does, once a minute: a model that tries the same again and again
 * would fill the disk, and what it fills would stand in the way of what is allowed. What gets no entry is counted,
 * and an entry tells the count.
 */
import { isSignetError, SignetError } from '../errors.ts'
import type { Log, LogEvent } from '../log/mod.ts'
import { argumentDigest } from './arguments.ts'
import type { DeviceMemory } from './device_memory.ts'
import { offlineError, type OfflineReport } from './offline.ts'

/** Most denials in a minute that get an entry of their own. */
export const MAX_DENIALS_PER_MINUTE = 64

/** The denials of one device. */
export class Denials {
  readonly #memory: DeviceMemory
  readonly #maxWaiting: number
  #minute = NaN
  readonly #told = new Set<string>()
  /** Indexes of entries that the server does not have, ascending. */
  #entries: number[]
  #untold = 0

  /**
   * `maxWaiting`: with so many entries of denials that the server does not have, further ones are counted only.
   * `entries`: those that the log had when it was opened.
   */
  constructor(memory: DeviceMemory, maxWaiting: number, entries: readonly number[]) {
    this.#memory = memory
    this.#maxWaiting = maxWaiting
    this.#entries = [...entries]
  }

  /** How many entries of denials the server does not have. */
  get waiting(): number {
    const acknowledged = this.#memory.state.acknowledged?.size ?? 0
    // Places that the server has acknowledged never go back.
    if (this.#entries.length > 0 && this.#entries[0]! < acknowledged) {
      this.#entries = this.#entries.filter((one) => one >= acknowledged)
    }
    return this.#entries.length
  }

  /**
   * Logs a denial, or counts it, and gives its error. A log that cannot take it does not make it less of one. `text`:
   * the arguments, where they could be read.
   */
  async deny(tool: string, text: string | undefined, report: OfflineReport): Promise<SignetError> {
    const denial = offlineError(report)
    const { log } = this.#memory
    if (log === undefined) return denial
    const action = tool.slice(0, 256).toWellFormed()
    const digest = text === undefined ? undefined : argumentDigest(text)
    const isFull = this.waiting >= this.#maxWaiting
    if (isFull || !this.#isDue(`${denial.code} ${digest} ${action}`, report.time)) {
      this.#untold++
      return denial
    }
    try {
      await this.tell(report.time)
      const codes = report.findings.slice(0, 64).map(({ code }) => code)
      const data = { at: report.time, codes, digest }
      await this.#append(log, { action, outcome: denial.code, data }, report.time)
    } catch (cause) {
      if (!isSignetError(cause)) throw cause
      this.#untold++
      return new SignetError(denial.code, `${denial.message} (and it could not be logged)`, {
        cause,
      })
    }
    return denial
  }

  /** Logs how many denials got no entry of their own. Errors: those of the log; then they are told the next time. */
  async tell(time: number): Promise<void> {
    const { log } = this.#memory
    const more = this.#untold
    if (log === undefined || more === 0) return
    this.#untold = 0
    try {
      await this.#append(log, { outcome: 'repeated', data: { at: time, more } }, time)
    } catch (error) {
      this.#untold += more
      throw error
    }
  }

  /** Whether a denial is to have an entry; if not it is counted. `key` says what was denied; time in seconds. */
  #isDue(key: string, time: number): boolean {
    const minute = Math.floor(time / 60)
    if (minute !== this.#minute) {
      this.#told.clear()
      this.#minute = minute
    }
    if (this.#told.has(key) || this.#told.size >= MAX_DENIALS_PER_MINUTE) return false
    this.#told.add(key)
    return true
  }

  async #append(log: Log, event: Omit<LogEvent, 'type' | 'ref'>, time: number): Promise<void> {
    const ref = this.#memory.authority?.grant?.id
    const { index } = await log.append({ ...event, type: 'action.denied', ref })
    this.#entries.push(index)
    this.#memory.acted(index, time)
  }
}
