/** Full verification: every entry against its leaf, every tile against the tree, the tree against the root. */
import { type Bytes, equalBytes } from '../bytes.ts'
import { type ErrorCode, SignetError } from '../errors.ts'
import { checkAborted } from '../keys/mod.ts'
import {
  type BundleChecker,
  bundleChecker,
  type EntryBundleReport,
  MAX_FAULTS,
} from './bundle_report.ts'
import type { TreeHead } from './checkpoint.ts'
import { type FullTile, TreeEdge } from './edge.ts'
import { defaultHasher, type TreeHasher } from './merkle.ts'
import { decodeTile, TILE_WIDTH, tilePath, widthAt } from './tile.ts'
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
  /** Given each entry that is as it was logged, in order. With it all is done on the calling thread. */
  readonly onEntry?: ((index: number, entry: Bytes) => void) | undefined
  /** Checks the bundles, such as on several threads. Default: the calling thread, with the reader and hasher. */
  readonly checker?: BundleChecker | undefined
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
  const { hasher = defaultHasher, onEntry, onProgress, signal } = options
  const check = onEntry === undefined ? options.checker : undefined
  const bundles = { start: 0, end: Math.ceil(head.size / TILE_WIDTH) }
  const run = new Verification(reader, head, hasher)
  let n = 0
  checkAborted(signal)
  for await (
    const report of (check ?? bundleChecker(reader, hasher, onEntry))(bundles, head.size, options)
  ) {
    checkAborted(signal)
    await run.bundle(n++, report)
    onProgress?.(Math.min(head.size, n * TILE_WIDTH), head.size)
  }
  checkAborted(signal) // a checker may end early because of it
  return await run.report()
}

/** Puts the reports of bundles together, in order: what holds between them, and the tree above them. */
class Verification {
  readonly #reader: LogReader
  readonly #head: TreeHead
  readonly #edge: TreeEdge
  readonly #faults: SignetError[] = []
  #verified = 0
  #pruned = 0
  #first: string | undefined
  #last = ''

  constructor(reader: LogReader, head: TreeHead, hasher: TreeHasher) {
    this.#reader = reader
    this.#head = head
    this.#edge = new TreeEdge(hasher)
  }

  async bundle(n: number, report: EntryBundleReport): Promise<void> {
    const { hashes, missing, verified, first, last, faults } = report
    if (missing) this.#missing(n)
    if (first !== undefined && first.time < this.#last) {
      const where = `entry ${first.index}`
      this.#fault('entry_malformed', `time runs back at ${where}`, where)
    }
    for (const { code, message, where } of faults) this.#fault(code, message, where)
    this.#verified += verified
    this.#first ??= first?.time
    if (last !== undefined && last > this.#last) this.#last = last
    const width = widthAt('entries', n, this.#head.size)
    const filled = width === TILE_WIDTH
      ? this.#edge.appendTile(hashes)
      : decodeTile(hashes, width, 'bundle').flatMap((leaf) => this.#edge.append(leaf))
    // Level 0 is what was just read; the tiles above must be what follows from it.
    for (const tile of filled) await this.#compare(tile)
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

  #missing(n: number): void {
    const width = widthAt('entries', n, this.#head.size)
    const path = tilePath({ level: 'entries', n, width })
    // Pruning takes bodies from the beginning only.
    if (this.#verified === 0 && width === TILE_WIDTH) this.#pruned += width
    else this.#fault('log_corrupt', `${path} is missing`, path)
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
    if (this.#faults.length >= MAX_FAULTS) return
    this.#faults.push(new SignetError(code, message, { where }))
  }
}
