/**
 * Verification of one bundle of entries by itself: each body against its leaf, and the root over the leaves.
 * This is nearly all of the work of verifying a log, and needs nothing of the rest of it.
 */
import { type Bytes, equalBytes } from '../bytes.ts'
import { type ErrorCode, isSignetError } from '../errors.ts'
import { parseEntry } from './entry.ts'
import { glance } from './glance.ts'
import { HASH_BYTES, type Range, type TreeHasher } from './merkle.ts'
import { checkTile, decodeBundle, rootOfTile, TILE_WIDTH, tilePath, widthAt } from './tile.ts'
import { type LogReader, readTile } from './view.ts'

/** Faults that a report lists at most. */
export const MAX_FAULTS = 100
const READ_AHEAD = 16

/** Something wrong at a place. */
export interface BundleFault {
  /** Code of the error that tells of it. */
  readonly code: ErrorCode
  /** Its message. */
  readonly message: string
  /** The place. */
  readonly where: string
}

/** What a bundle says by itself. Plain data, so that it may come from another thread. */
export interface EntryBundleReport {
  /** The root over the leaves of a full bundle; of another one, the hashes of the leaves one after the other. */
  readonly hashes: Bytes
  /** True if the bodies are not there. */
  readonly missing: boolean
  /** Entries whose bodies are as logged. */
  readonly verified: number
  /** Index and time of the first of them that has a time. */
  readonly first?: { readonly index: number; readonly time: string } | undefined
  /** The latest time. */
  readonly last?: string | undefined
  /** What is wrong, in order of place; not more than a report lists. */
  readonly faults: readonly BundleFault[]
}

/** How bundles are checked. */
export interface CheckOptions {
  /** Reads each entry strictly. */
  readonly strict?: boolean | undefined
  /** Ends the work early with `aborted`. */
  readonly signal?: AbortSignal | undefined
}

/** Checks bundles from `start` to `end`, in order, of a log of `size` entries. */
export type BundleChecker = (
  range: Range,
  size: number,
  options: CheckOptions,
) => AsyncIterable<EntryBundleReport>

/** A checker on the calling thread. `onEntry` is given each entry that is as it was logged. */
export function bundleChecker(
  reader: LogReader,
  hasher: TreeHasher,
  onEntry?: (index: number, entry: Bytes) => void,
): BundleChecker {
  return async function* ({ start, end }, size, { strict = false }) {
    const read = async (n: number) => {
      const width = widthAt('entries', n, size)
      return await Promise.all([
        readTile(reader, { level: 'entries', n, width }),
        readTile(reader, { level: 0, n, width }),
      ])
    }
    const ahead: ReturnType<typeof read>[] = []
    for (let n = start; n < end; n++) {
      for (let next = n + ahead.length; ahead.length < READ_AHEAD && next < end; next++) {
        const reading = read(next)
        reading.catch(() => {}) // its turn comes
        ahead.push(reading)
      }
      const width = widthAt('entries', n, size)
      yield new Check(n, width, hasher, strict, onEntry).report(...await ahead.shift()!)
    }
  }
}

class Check {
  readonly #first: number
  readonly #width: number
  readonly #bundlePath: string
  readonly #tilePath: string
  readonly #hasher: TreeHasher
  readonly #strict: boolean
  readonly #onEntry: ((index: number, entry: Bytes) => void) | undefined
  readonly #faults: BundleFault[] = []
  #verified = 0
  #from: EntryBundleReport['first']
  #last = ''

  constructor(
    n: number,
    width: number,
    hasher: TreeHasher,
    strict: boolean,
    onEntry?: (index: number, entry: Bytes) => void,
  ) {
    this.#first = n * TILE_WIDTH
    this.#width = width
    this.#bundlePath = tilePath({ level: 'entries', n, width })
    this.#tilePath = tilePath({ level: 0, n, width })
    this.#hasher = hasher
    this.#strict = strict
    this.#onEntry = onEntry
  }

  report(bundle: Bytes | undefined, tile: Bytes | undefined): EntryBundleReport {
    const width = this.#width
    const entries = bundle && this.#try(() => decodeBundle(bundle, width, this.#bundlePath))
    const stored = tile && this.#try(() => checkTile(tile, width, this.#tilePath))
    if (tile === undefined) {
      this.#fault('log_corrupt', `${this.#tilePath} is missing`, this.#tilePath)
    }
    if (entries === undefined && stored === undefined) {
      const last = this.#first + width - 1
      this.#fault('log_corrupt', `entries ${this.#first} to ${last} are lost`, this.#tilePath)
    }
    const made = entries && this.#leaves(entries)
    const asLogged = made && (stored === undefined || equalBytes(made, stored))
    for (let i = 0; entries !== undefined && i < width; i++) {
      const entry = entries[i]!
      const index = this.#first + i
      if (asLogged || sameHash(made!, stored!, i)) this.#entry(index, entry)
      else this.#fault('log_corrupt', `entry ${index} is not what was logged`, `entry ${index}`)
    }
    const leaves = stored ?? made ?? new Uint8Array(width * HASH_BYTES)
    return {
      hashes: width === TILE_WIDTH ? rootOfTile(leaves, this.#hasher) : leaves,
      missing: bundle === undefined,
      verified: this.#verified,
      first: this.#from,
      last: this.#from && this.#last,
      faults: this.#faults,
    }
  }

  #leaves(entries: readonly Bytes[]): Bytes {
    const leaves = new Uint8Array(entries.length * HASH_BYTES)
    for (let i = 0; i < entries.length; i++) {
      leaves.set(this.#hasher.leaf(entries[i]!), i * HASH_BYTES)
    }
    return leaves
  }

  #entry(index: number, entry: Bytes): void {
    const where = `entry ${index}`
    try {
      if (this.#strict) parseEntry(entry)
      const { seq, time } = glance(entry, this.#last)
      // Anything may stand there, also what no text can be made of.
      const said = typeof seq === 'number' ? seq : `a ${typeof seq}`
      if (seq !== index) this.#fault('entry_malformed', `${where} says that it is ${said}`, where)
      if (typeof time !== 'string' || time < this.#last) {
        this.#fault('entry_malformed', `time runs back at ${where}`, where)
      } else {
        this.#last = time
        this.#from ??= { index, time }
      }
    } catch (error) {
      if (!isSignetError(error)) throw error
      this.#fault(error.code, `${where}: ${error.message}`, where)
    }
    this.#verified++
    this.#onEntry?.(index, entry)
  }

  #try<T>(work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      if (!isSignetError(error)) throw error
      this.#fault(error.code, error.message, error.where ?? '')
      return undefined
    }
  }

  #fault(code: ErrorCode, message: string, where: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push({ code, message, where })
  }
}

/** Whether the hashes at a place in two tiles are the same. */
function sameHash(a: Bytes, b: Bytes, i: number): boolean {
  const [start, end] = [i * HASH_BYTES, (i + 1) * HASH_BYTES]
  return equalBytes(a.subarray(start, end), b.subarray(start, end))
}
