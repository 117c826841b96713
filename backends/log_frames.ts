/**
 * The frames of a log's journal. A frame is `SGJ1`, length of the record (4 bytes), running number (8), the
 * first 16 bytes of SHA-256 over length, number and record, and the record.
 */
import { type Bytes, concat } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import { nodeSha256 } from './node_sha256.ts'

const MAGIC = new TextEncoder().encode('SGJ1')
const HEAD_BYTES = 32

/** A record at its place. */
export interface Frame {
  /** Counts all records, from 0. */
  readonly number: number
  /** What the log wrote. */
  readonly record: Bytes
}

/** What a journal file holds. */
export interface Scan {
  /** In order. */
  readonly frames: Frame[]
  /** Where the whole frames end. */
  readonly end: number
  /** Bytes after them. */
  readonly cut: number
}

/** The frame of a record. */
export function encodeFrame(record: Bytes, number: number): Bytes {
  const frame = new Uint8Array(HEAD_BYTES + record.length)
  const view = new DataView(frame.buffer)
  frame.set(record, HEAD_BYTES)
  // Length and number stand right before the record for a moment, so that what is hashed is one piece.
  view.setUint32(20, record.length)
  view.setBigUint64(24, BigInt(number))
  const sum = nodeSha256(frame.subarray(20))
  frame.set(MAGIC)
  frame.copyWithin(4, 20, 32)
  frame.set(sum.subarray(0, 16), 16)
  return frame
}

function checksum(head: Uint8Array, record: Uint8Array): Uint8Array {
  return nodeSha256(concat(head.subarray(4, 16), record)).subarray(0, 16)
}

/** The frame at an offset, or undefined if none is whole there. */
function frameAt(bytes: Bytes, at: number): { frame: Frame; end: number } | undefined {
  const head = bytes.subarray(at, at + HEAD_BYTES)
  if (head.length < HEAD_BYTES || MAGIC.some((byte, i) => head[i] !== byte)) return undefined
  const view = new DataView(head.buffer, head.byteOffset)
  const end = at + HEAD_BYTES + view.getUint32(4)
  if (end > bytes.length) return undefined
  const record = bytes.subarray(at + HEAD_BYTES, end)
  const sum = checksum(head, record)
  if (head.subarray(16).some((byte, i) => byte !== sum[i])) return undefined
  return { frame: { number: Number(view.getBigUint64(8)), record }, end }
}

/**
 * Reads a journal file up to a torn write. Each record is synced before the next one is written, so only the
 * last can be torn: a whole frame behind a bad one is no crash's doing, and refused (`log_corrupt`).
 */
export function scanJournal(bytes: Bytes, where: string): Scan {
  const frames: Frame[] = []
  let end = 0
  for (let found = frameAt(bytes, 0); found !== undefined; found = frameAt(bytes, end)) {
    frames.push(found.frame)
    end = found.end
  }
  for (let at = bytes.indexOf(MAGIC[0]!, end + 1); at >= 0; at = bytes.indexOf(MAGIC[0]!, at + 1)) {
    if (frameAt(bytes, at) !== undefined) {
      throw journalCorrupt(`damaged at byte ${end}, and whole again at byte ${at}`, where)
    }
  }
  return { frames, end, cut: bytes.length - end }
}

/** The error of a journal that no crash explains. */
export function journalCorrupt(why: string, where: string): SignetError {
  return new SignetError('log_corrupt', `journal: ${why}`, { where })
}
