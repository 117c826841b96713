/**
 * What one group commit writes: the new entries under a seal. The seal keeps whoever can write to the disk
 * from slipping entries into the journal, which the log would sign when it is opened the next time.
 *
 * A record is: length of the seal (2 bytes), the seal, and the body: index of the first entry (8), number
 * of entries (4), length of the bundle (4), the bundle as in tlog-tiles, and openings (offset of the entry
 * 4, length 4, bytes) to the end. All big-endian.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, equalBytes, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { type Key, signMessage } from '../keys/mod.ts'
import { HASH_BYTES, type Sha256 } from './merkle.ts'
import { bundleBytes, decodeBundle, writeBundle } from './tile.ts'

/** One group commit. */
export interface JournalRecord {
  /** Index of the first entry. */
  readonly first: number
  /** The entries. */
  readonly entries: readonly Bytes[]
  /** Openings of private fields by index of the entry in the log. */
  readonly openings: ReadonlyMap<number, Bytes>
}

const HEAD_BYTES = 16

/** Writes a record. */
export async function encodeRecord(record: JournalRecord, sealer: JournalSealer): Promise<Bytes> {
  const { first, entries, openings } = record
  // One buffer for all: this is on the way of every acknowledgement.
  const at = 2 + sealer.bytes
  const bundle = bundleBytes(entries)
  let length = at + HEAD_BYTES + bundle
  for (const bytes of openings.values()) length += 8 + bytes.length
  const all = new Uint8Array(length)
  const view = new DataView(all.buffer)
  view.setUint16(0, sealer.bytes)
  view.setBigUint64(at, BigInt(first))
  view.setUint32(at + 8, entries.length)
  view.setUint32(at + 12, bundle)
  writeBundle(entries, all, at + HEAD_BYTES)
  let end = at + HEAD_BYTES + bundle
  for (const [index, bytes] of openings) {
    view.setUint32(end, index - first)
    view.setUint32(end + 4, bytes.length)
    all.set(bytes, end + 8)
    end += 8 + bytes.length
  }
  all.set(await sealer.seal(all.subarray(at)), 2)
  return all
}

/** Reads a record and checks its seal. Errors: `log_corrupt`. */
export async function decodeRecord(bytes: Bytes, sealer: JournalSealer): Promise<JournalRecord> {
  const at = 2 + (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0)
  if (bytes.length < at + HEAD_BYTES) throw corrupt('a record is too short')
  const body = bytes.subarray(at)
  await sealer.check(body, bytes.subarray(2, at))
  return decodeBody(body)
}

function decodeBody(body: Bytes): JournalRecord {
  const view = new DataView(body.buffer, body.byteOffset, body.length)
  const first = Number(view.getBigUint64(0))
  const count = view.getUint32(8)
  let at = HEAD_BYTES + view.getUint32(12)
  if (at > body.length) throw corrupt('a record has impossible lengths')
  const entries = decodeBundle(body.subarray(HEAD_BYTES, at), count, 'journal')
  const openings = new Map<number, Bytes>()
  while (at + 8 <= body.length) {
    const end = at + 8 + view.getUint32(at + 4)
    if (end > body.length) break
    openings.set(first + view.getUint32(at), body.subarray(at + 8, end))
    at = end
  }
  if (at !== body.length || count === 0) throw corrupt('a record ends in the middle')
  return { first, entries, openings }
}

/** Seals bodies of records, and checks seals. */
export interface JournalSealer {
  /** Length of every seal. */
  readonly bytes: number
  /** The seal of a body. */
  seal(body: Bytes): Promise<Bytes>
  /** Errors: `log_corrupt`. */
  check(body: Bytes, seal: Bytes): Promise<void>
}

// Zero bytes can stand in no note: nothing else that a log key signs looks like these.
const KEY_LABEL = 'signet log journal key v1\0'
const SEAL_LABEL = 'signet log journal seal v1\0'

/**
 * The sealer of a log key. An Ed25519 signature is a secret function of the message (RFC 8032 §5.1.6 is
 * deterministic), so one signature that is never shown becomes a MAC key, and a commit costs no signature.
 * Keys of other algorithms sign each commit.
 */
export async function journalSealer(
  key: Key,
  origin: string,
  hash: Sha256,
): Promise<JournalSealer> {
  if (key.publicKey.algorithm.family === 'eddsa') {
    const secret = sha256(await signMessage(key, utf8(KEY_LABEL + origin)))
    const mac = hmacSha256(secret, hash)
    const seal = (body: Bytes) => mac(hash(body))
    return {
      bytes: HASH_BYTES,
      seal: (body) => Promise.resolve(seal(body)),
      // deno-lint-ignore require-await -- a fault must reject, not throw
      async check(body, found) {
        if (!equalBytes(seal(body), found)) throw unsealed()
      },
    }
  }
  const message = (body: Bytes) => concat(utf8(`${SEAL_LABEL}${origin}\0`), hash(body))
  const { name, signatureBytes } = key.publicKey.algorithm
  if (signatureBytes === undefined) throw new TypeError(`${name} signatures have no fixed length`)
  return {
    bytes: signatureBytes,
    seal: (body) => signMessage(key, message(body)),
    async check(body, found) {
      if (!await key.publicKey.verify(message(body), found)) throw unsealed()
    },
  }
}

/** HMAC-SHA-256 (RFC 2104) of 32-byte messages under a 32-byte key, with the hash that the log has anyway. */
function hmacSha256(key: Uint8Array, hash: Sha256): (message: Bytes) => Bytes {
  const block = new Uint8Array(64)
  block.set(key)
  const inner = concat(block.map((byte) => byte ^ 0x36), new Uint8Array(HASH_BYTES))
  const outer = concat(block.map((byte) => byte ^ 0x5c), new Uint8Array(HASH_BYTES))
  return (message) => {
    inner.set(message, 64)
    outer.set(hash(inner), 64)
    return hash(outer)
  }
}

function unsealed(): SignetError {
  return corrupt('a record was not written by the log: its seal fails')
}

function corrupt(why: string): SignetError {
  return new SignetError('log_corrupt', `journal: ${why}`, { where: 'journal' })
}
