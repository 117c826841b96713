/**
 * What one group commit writes: the new entries, and a seal over the tree that they lead to. The seal keeps
 * whoever can write to the disk from slipping entries into the journal, which the log would sign when it
 * is opened the next time.
 *
 * A record is: first index (8 bytes), number of entries (4), length of the seal (2), length of the bundle
 * (4), the seal, the bundle as in tlog-tiles, and openings (offset of the entry 4, length 4, bytes) to
 * the end. All big-endian.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, equalBytes, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { type Key, signMessage } from '../keys/mod.ts'
import { decodeBundle, encodeBundle } from './tile.ts'

/** One group commit. */
export interface JournalRecord {
  /** Index of the first entry. */
  readonly first: number
  /** The entries. */
  readonly entries: readonly Bytes[]
  /** See {@link journalSealer}. */
  readonly seal: Bytes
  /** Openings of private fields by index of the entry in the log. */
  readonly openings: ReadonlyMap<number, Bytes>
}

const HEAD_BYTES = 18

/** Writes a record. */
export function encodeRecord({ first, entries, seal, openings }: JournalRecord): Bytes {
  const bundle = encodeBundle(entries)
  const head = new DataView(new ArrayBuffer(HEAD_BYTES))
  head.setBigUint64(0, BigInt(first))
  head.setUint32(8, entries.length)
  head.setUint16(12, seal.length)
  head.setUint32(14, bundle.length)
  const parts = [...openings].flatMap(([index, bytes]) => {
    const place = new DataView(new ArrayBuffer(8))
    place.setUint32(0, index - first)
    place.setUint32(4, bytes.length)
    return [new Uint8Array(place.buffer), bytes]
  })
  return concat(new Uint8Array(head.buffer), seal, bundle, ...parts)
}

/** Reads a record. Errors: `log_corrupt`. */
export function decodeRecord(bytes: Bytes): JournalRecord {
  if (bytes.length < HEAD_BYTES) throw corrupt('a record is too short')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const first = Number(view.getBigUint64(0))
  const count = view.getUint32(8)
  const bundleAt = HEAD_BYTES + view.getUint16(12)
  const openingsAt = bundleAt + view.getUint32(14)
  if (openingsAt > bytes.length || count * 2 > bytes.length || !Number.isSafeInteger(first)) {
    throw corrupt('a record has impossible lengths')
  }
  const entries = decodeBundle(bytes.subarray(bundleAt, openingsAt), count, 'journal')
  const openings = new Map<number, Bytes>()
  let at = openingsAt
  while (at + 8 <= bytes.length) {
    const end = at + 8 + view.getUint32(at + 4)
    if (end > bytes.length) break
    openings.set(first + view.getUint32(at), bytes.subarray(at + 8, end))
    at = end
  }
  if (at !== bytes.length) throw corrupt('a record ends in the middle')
  return { first, entries, seal: bytes.subarray(HEAD_BYTES, bundleAt), openings }
}

/** Seals tree heads, and checks seals. */
export interface JournalSealer {
  /** The seal of a tree head's text. */
  seal(text: string): Promise<Bytes>
  /** Errors: `log_corrupt`. */
  check(text: string, seal: Bytes): Promise<void>
}

// Zero bytes can stand in no note: nothing else that a log key signs looks like these.
const KEY_LABEL = 'signet log journal key v1\0'
const SEAL_LABEL = 'signet log journal seal v1\0'

/**
 * The sealer of a log key. An Ed25519 signature is a secret function of the message (RFC 8032 §5.1.6 is
 * deterministic), so one signature that is never shown becomes a MAC key, and a commit costs no signature.
 * Keys of other algorithms sign each commit.
 */
export async function journalSealer(key: Key, origin: string): Promise<JournalSealer> {
  if (key.publicKey.algorithm.family === 'eddsa') {
    const secret = sha256(await signMessage(key, utf8(KEY_LABEL + origin)))
    const seal = (text: string) => hmac(sha256, secret, utf8(SEAL_LABEL + text)) as Bytes
    return {
      seal: (text) => Promise.resolve(seal(text)),
      // deno-lint-ignore require-await -- a fault must reject, not throw
      async check(text, found) {
        if (!equalBytes(seal(text), found)) throw unsealed()
      },
    }
  }
  return {
    seal: (text) => signMessage(key, utf8(SEAL_LABEL + text)),
    async check(text, found) {
      if (!await key.publicKey.verify(utf8(SEAL_LABEL + text), found)) throw unsealed()
    },
  }
}

function unsealed(): SignetError {
  return corrupt('a record was not written by the log: its seal fails')
}

function corrupt(why: string): SignetError {
  return new SignetError('log_corrupt', `journal: ${why}`, { where: 'journal' })
}
