/** Full verification: every entry against its leaf, every tile against the tree, the tree against the root. */
import { type Bytes, equalBytes, fromUtf8 } from '../bytes.ts'
import { type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import { checkAborted } from '../keys/mod.ts'
import type { TreeHead } from './checkpoint.ts'
import { type FullTile, TreeEdge } from './edge.ts'
import { parseEntry } from './entry.ts'
import { defaultHasher, type TreeHasher } from './merkle.ts'
import { decodeBundle, decodeTile, TILE_WIDTH, tilePath, widthAt } from './tile.ts'
import { type LogReader, readTile } from './view.ts'

/** Options of {@link verifyLog}. */
export interface VerifyLogOptions {
  /** Default: portable. */
  readonly hasher?: TreeHasher | undefined
  /** Told after each bundle how many entries are done. */
  readonly onProgress?: ((done: number, size: number) => void) | undefined
  /** Ends the work early with `aborted`. */
  readonly signal?: AbortSignal | undefined
  /**
   * Reads each entry strictly too: canonical form, known members. Slower. Without it only `seq` and
   * `time` are looked at.
   */
  readonly strict?: boolean | undefined
  /** Given each entry that is as it was logged, in order. */
  readonly onEntry?: ((index: number, entry: Bytes) => void) | undefined
}

/** What verification found. */
export interface LogReport {
  /** The tree that was verified. */
  readonly head: TreeHead
  /** True if nothing is wrong. */
  readonly whole: boolean
  /** What is wrong, in order of place; at most 100. */
  readonly faults: readonly SignetError[]
  /** Entries whose bodies were there and are as logged. */
  readonly verified: number
  /** Entries whose bodies were pruned; their hashes are verified. */
  readonly pruned: number
  /** Times of the first and the last body. */
  readonly times?: { readonly first: string; readonly last: string } | undefined
}

/** Faults that a report lists at most. */
export const MAX_FAULTS = 100
const READ_AHEAD = 16

/**
 * Verifies a log under the head of a checkpoint, which the caller has verified. Faults do not end the work:
 * all are reported. Whether the checkpoint is the newest, an anchor or witnesses tell.
 *
 * Errors: `aborted`, and what the reader throws.
 */
export async function verifyLog(
  reader: LogReader,
  head: TreeHead,
  options: VerifyLogOptions = {},
): Promise<LogReport> {
  const run = new Verification(reader, head, options)
  const bundles = Math.ceil(head.size / TILE_WIDTH)
  const ahead: Promise<readonly [Bytes | undefined, Bytes | undefined]>[] = []
  for (let n = 0; n < bundles; n++) {
    checkAborted(options.signal)
    for (let next = n + ahead.length; ahead.length < READ_AHEAD && next < bundles; next++) {
      const reading = run.read(next)
      reading.catch(() => {}) // its turn comes
      ahead.push(reading)
    }
    await run.bundle(n, ...await ahead.shift()!)
    options.onProgress?.(Math.min(head.size, (n + 1) * TILE_WIDTH), head.size)
  }
  return await run.report()
}

class Verification {
  readonly #reader: LogReader
  readonly #head: TreeHead
  readonly #options: VerifyLogOptions
  readonly #hasher: TreeHasher
  readonly #edge: TreeEdge
  readonly #faults: SignetError[] = []
  #verified = 0
  #pruned = 0
  #first: string | undefined
  #last = ''

  constructor(reader: LogReader, head: TreeHead, options: VerifyLogOptions) {
    this.#reader = reader
    this.#head = head
    this.#options = options
    this.#hasher = options.hasher ?? defaultHasher
    this.#edge = new TreeEdge(this.#hasher)
  }

  async read(n: number): Promise<readonly [Bytes | undefined, Bytes | undefined]> {
    const width = widthAt('entries', n, this.#head.size)
    return await Promise.all([
      readTile(this.#reader, { level: 'entries', n, width }),
      readTile(this.#reader, { level: 0, n, width }),
    ])
  }

  async bundle(n: number, bundle: Bytes | undefined, tile: Bytes | undefined): Promise<void> {
    const width = widthAt('entries', n, this.#head.size)
    const path = tilePath({ level: 0, n, width })
    const entries = this.#entries(n, width, bundle)
    const stored = this.#leaves(path, width, tile)
    if (entries === undefined && stored === undefined) {
      this.#fault(
        'log_corrupt',
        `entries ${n * TILE_WIDTH} to ${n * TILE_WIDTH + width - 1} are lost`,
        path,
      )
    }
    for (let i = 0; i < width; i++) {
      const index = n * TILE_WIDTH + i
      const entry = entries?.[i]
      const leaf = entry === undefined ? undefined : this.#hasher.leaf(entry)
      const expected = stored?.[i]
      if (leaf !== undefined && expected !== undefined && !equalBytes(leaf, expected)) {
        this.#fault('log_corrupt', `entry ${index} is not what was logged`, `entry ${index}`)
      } else if (entry !== undefined) {
        this.#entry(index, entry)
      }
      const full = this.#edge.append(expected ?? leaf ?? new Uint8Array(32))
      for (const tile of full) {
        // Level 0 is what was just read; the tiles above must be what follows from it.
        if (tile.level !== 0) await this.#compare(tile)
      }
    }
  }

  async report(): Promise<LogReport> {
    for (const tile of this.#edge.partialTiles) {
      if (tile.level !== 0) await this.#compare(tile)
    }
    if (!equalBytes(this.#edge.root, this.#head.root)) {
      this.#fault(
        'log_corrupt',
        'the entries do not lead to the root of the checkpoint',
        'checkpoint',
      )
    }
    const whole = this.#faults.length === 0
    const times = this.#first === undefined ? undefined : { first: this.#first, last: this.#last }
    return {
      head: this.#head,
      whole,
      faults: this.#faults,
      verified: this.#verified,
      pruned: this.#pruned,
      times,
    }
  }

  #entries(n: number, width: number, bundle: Bytes | undefined): Bytes[] | undefined {
    const path = tilePath({ level: 'entries', n, width })
    if (bundle === undefined) {
      // Pruning takes bodies from the beginning only.
      if (this.#verified === 0 && width === TILE_WIDTH) this.#pruned += width
      else this.#fault('log_corrupt', `${path} is missing`, path)
      return undefined
    }
    try {
      return decodeBundle(bundle, width, path)
    } catch (error) {
      this.#keep(error)
      return undefined
    }
  }

  #leaves(path: string, width: number, tile: Bytes | undefined): Bytes[] | undefined {
    if (tile === undefined) {
      this.#fault('log_corrupt', `${path} is missing`, path)
      return undefined
    }
    try {
      return decodeTile(tile, width, path)
    } catch (error) {
      this.#keep(error)
      return undefined
    }
  }

  #entry(index: number, entry: Bytes): void {
    const where = `entry ${index}`
    try {
      const { seq, time } = this.#options.strict === true ? parseEntry(entry) : glance(entry)
      if (seq !== index) this.#fault('entry_malformed', `${where} says that it is ${seq}`, where)
      if (typeof time !== 'string' || time < this.#last) {
        this.#fault('entry_malformed', `time runs back at ${where}`, where)
      } else {
        this.#last = time
        this.#first ??= time
      }
    } catch (error) {
      if (!isSignetError(error)) throw error
      this.#fault(error.code, `${where}: ${error.message}`, where)
    }
    this.#verified++
    this.#options.onEntry?.(index, entry)
  }

  async #compare(tile: FullTile): Promise<void> {
    const path = tilePath(tile)
    const expected = tile.bytes
    const found = await readTile(this.#reader, tile)
    if (found === undefined) this.#fault('log_corrupt', `${path} is missing`, path)
    else if (!equalBytes(found, expected)) {
      this.#fault('log_corrupt', `${path} does not follow from the entries below it`, path)
    }
  }

  #fault(code: ErrorCode, message: string, where: string): void {
    this.#keep(new SignetError(code, message, { where }))
  }

  #keep(error: unknown): void {
    if (!isSignetError(error)) throw error
    if (this.#faults.length < MAX_FAULTS) this.#faults.push(error)
  }
}

/** Place and time of an entry without the cost of strict reading. */
function glance(entry: Bytes): { seq: unknown; time: unknown } {
  try {
    const { seq, time } = JSON.parse(fromUtf8(entry, 'log entry'))
    return { seq, time }
  } catch (cause) {
    throw new SignetError('entry_malformed', 'it is no JSON object', { cause })
  }
}
