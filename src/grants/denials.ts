/**
 * Which denials become entries of a device's log. Each does, once a minute: a model that tries the same again and again
 * would fill the disk, and what it fills would stand in the way of what is allowed. What gets no entry is counted,
 * and an entry tells the count.
 */

/** Most denials in a minute that get an entry of their own. */
export const MAX_DENIALS_PER_MINUTE = 64

/** The denials of one device. */
export class Denials {
  #minute = NaN
  readonly #told = new Set<string>()
  /** Indexes of entries that the server does not have, ascending. */
  #entries: number[] = []
  #untold = 0

  /** Whether a denial is to have an entry; if not it is counted. `key` says what was denied; time in seconds. */
  isDue(key: string, time: number): boolean {
    const minute = Math.floor(time / 60)
    if (minute !== this.#minute) {
      this.#told.clear()
      this.#minute = minute
    }
    if (this.#told.has(key) || this.#told.size >= MAX_DENIALS_PER_MINUTE) return false
    this.#told.add(key)
    return true
  }

  /** A denial is an entry now. */
  logged(index: number): void {
    this.#entries.push(index)
  }

  /** So many denials got no entry. */
  missed(count: number): void {
    this.#untold += count
  }

  /** How many got none since this was asked last. */
  takeUntold(): number {
    const untold = this.#untold
    this.#untold = 0
    return untold
  }

  /** How many entries of denials stand at or after a place in the log; places never go back. */
  since(index: number): number {
    if (this.#entries.length > 0 && this.#entries[0]! < index) {
      this.#entries = this.#entries.filter((one) => one >= index)
    }
    return this.#entries.length
  }
}
