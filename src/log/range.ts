/**
 * A range of entries as one file that re-verifies by itself: one line of JSON with the checkpoint and the
 * hashes left and right of the range, then the entries, one a line, just as they were logged.
 */
import * as v from 'valibot'
import { type Bytes, equalBytes, fromBase64, toBase64, utf8 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { canonicalize, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { openCheckpoint, type VerifiedCheckpoint } from './checkpoint.ts'
import {
  defaultHasher,
  HASH_BYTES,
  inclusionRanges,
  type Range,
  splitPoint,
  type TreeHasher,
} from './merkle.ts'
import { TILE_WIDTH } from './tile.ts'
import type { LogView } from './view.ts'

const FORMAT = 'signet-log-range@v1'

const HeadSchema = v.strictObject({
  format: v.literal(FORMAT),
  from: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  to: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  left: v.pipe(v.array(v.string()), v.maxLength(64)),
  right: v.pipe(v.array(v.string()), v.maxLength(64)),
  checkpoint: v.string(),
})

/**
 * Writes entries `start` to `end` of a view, in lines with their newlines. Errors: `log_range`,
 * `log_corrupt`, `log_missing`.
 */
export async function* exportRange(
  view: LogView,
  { start, end }: Range,
  checkpoint: VerifiedCheckpoint,
): AsyncGenerator<Bytes> {
  const { size } = view.head
  if (
    !Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start >= end ||
    end > size
  ) {
    throw new SignetError('log_range', `no entries ${start} to ${end} in a log of ${size}`)
  }
  const { left, right } = outside({ start, end }, size)
  const hashes = async (ranges: Range[]) =>
    (await Promise.all(ranges.map((range) => view.hash(range)))).map(toBase64)
  yield utf8(
    canonicalize({
      format: FORMAT,
      from: start,
      to: end,
      left: await hashes(left),
      right: await hashes(right),
      checkpoint: checkpoint.note,
    }) + '\n',
  )
  for (let n = Math.floor(start / TILE_WIDTH); n * TILE_WIDTH < end; n++) {
    const bundle = await view.bundle(n)
    for (const [i, entry] of bundle.entries()) {
      const index = n * TILE_WIDTH + i
      if (index < start || index >= end) continue
      const line = new Uint8Array(entry.length + 1)
      line.set(entry)
      line[entry.length] = 10
      yield line
    }
  }
}

/** What {@link verifyRange} goes by. */
export interface VerifyRangeOptions {
  /** The log's name. Default: any that the verifiers know. */
  readonly origin?: string
  /** Default: portable. */
  readonly hasher?: TreeHasher
  /** A file with more is refused before its entries are looked at. Default: no bound but the file. */
  readonly maxEntries?: number
}

/** A range that was verified. */
export interface VerifiedRange {
  /** The checkpoint that the entries are under. */
  readonly checkpoint: VerifiedCheckpoint
  /** Index of the first entry. */
  readonly from: number
  /** The entries, just as they were logged. */
  readonly entries: readonly Bytes[]
}

/**
 * Verifies an exported range: that these are all entries from the first to the last, and in the log that a
 * trusted key signed. Errors: `proof_malformed`, `proof_invalid`, those of `openCheckpoint`.
 */
export async function verifyRange(
  file: Uint8Array,
  log: readonly NoteVerifier[],
  options: VerifyRangeOptions = {},
): Promise<VerifiedRange> {
  const { hasher = defaultHasher, maxEntries = Infinity } = options
  const end = file.indexOf(10)
  const head = readHead(file.subarray(0, Math.max(0, end)))
  const checkpoint = await openCheckpoint(head.checkpoint, log, { origin: options.origin })
  const { from, to } = head
  if (to - from > maxEntries) throw malformed(`it has more than ${maxEntries} entries`)
  if (to > checkpoint.size || from >= to) throw malformed(`it does not hold ${from} to ${to}`)
  const lines = splitLines(file.subarray(end + 1), to - from)
  const { left, right } = outside({ start: from, end: to }, checkpoint.size)
  if (left.length !== head.left.length || right.length !== head.right.length) {
    throw malformed('it has a wrong number of hashes')
  }
  const known = new Map<string, Bytes>()
  const add = (range: Range, hash: Bytes) => known.set(`${range.start}-${range.end}`, hash)
  left.forEach((range, i) => add(range, head.left[i]!))
  right.forEach((range, i) => add(range, head.right[i]!))
  const rootOf = (start: number, end: number): Bytes => {
    const hash = known.get(`${start}-${end}`)
    if (hash !== undefined) return hash
    if (end - start === 1) return hasher.leaf(lines[start - from]!)
    const middle = start + splitPoint(end - start)
    return hasher.node(rootOf(start, middle), rootOf(middle, end))
  }
  if (!equalBytes(rootOf(0, checkpoint.size), checkpoint.root)) {
    throw new SignetError('proof_invalid', 'the entries of the range do not lead to the root')
  }
  return { checkpoint, from, entries: lines }
}

/** What lies left and right of a range, as the parts of two inclusion proofs. */
function outside({ start, end }: Range, size: number): { left: Range[]; right: Range[] } {
  return {
    left: inclusionRanges(start, size).filter((range) => range.end <= start),
    right: inclusionRanges(end - 1, size).filter((range) => range.start >= end),
  }
}

function readHead(line: Uint8Array) {
  const value = parseJson(line, { what: 'head of the range' })
  const head = conform(HeadSchema, value, 'proof_malformed', 'head of the range')
  try {
    const hashes = (texts: string[]) => texts.map((text) => fromBase64(text, 'hash'))
    const [left, right] = [hashes(head.left), hashes(head.right)]
    if ([...left, ...right].every((hash) => hash.length === HASH_BYTES)) {
      return { ...head, left, right }
    }
  } catch (error) {
    if (!isSignetError(error)) throw error
  }
  throw malformed('a hash is not base64 of 32 bytes')
}

/** Just so many lines: each costs far more memory than the newline that makes it, so they are not made for nothing. */
function splitLines(text: Uint8Array, count: number): Bytes[] {
  const lines: Bytes[] = []
  let at = 0
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, at)) {
    if (lines.length === count) throw malformed(`it has more than its ${count} entries`)
    lines.push(text.slice(at, end))
    at = end + 1
  }
  if (at !== text.length) throw malformed('its last line does not end')
  if (lines.length < count) throw malformed(`it has fewer than its ${count} entries`)
  return lines
}

function malformed(why: string): SignetError {
  return new SignetError('proof_malformed', `log range: ${why}`)
}
