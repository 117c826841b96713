/**
 * Checkpoints (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature): a signed note whose
 * text is the log's origin, the number of entries and the root over them.
 *
 * A checkpoint whose signature holds says what the log claimed. That the tree has this root, and that it
 * grew out of an earlier one, proofs say.
 */
import { ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, fromBase64, toBase64, utf8 } from '../bytes.ts'
import {
  ED25519_NOTE,
  type Note,
  type NoteScheme,
  type NoteVerifier,
  openNote,
  parseNote,
  u64,
  type VerifiedNoteSignature,
} from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { HASH_BYTES } from './merkle.ts'

/** What a checkpoint says. */
export interface TreeHead {
  /** The log's name. */
  readonly origin: string
  /** Number of entries. */
  readonly size: number
  /** Root over them, 32 bytes. */
  readonly root: Bytes
}

/** A checkpoint that a trusted key signed. */
export interface VerifiedCheckpoint extends TreeHead {
  /** The note as it stood. */
  readonly note: string
  /** The text that was signed. */
  readonly text: string
  /** Whose signatures hold, with the times of cosignatures. */
  readonly verified: readonly VerifiedNoteSignature[]
}

/** The text of a checkpoint, its last newline included. */
export function formatTreeHead({ origin, size, root }: TreeHead): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`
}

/**
 * Reads the text of a checkpoint. Extension lines are allowed, as the format wants it, and not looked at.
 * Errors: `checkpoint_malformed`.
 */
export function parseTreeHead(text: string): TreeHead {
  const lines = text.split('\n')
  if (lines.pop() !== '' || lines.length < 3 || lines.includes('')) {
    throw malformed('it is not three lines or more')
  }
  const [origin = '', size = '', root = ''] = lines
  return { origin, size: parseDecimal(size), root: parseHash(root) }
}

/** A decimal without leading zeros, safe as a number. Errors: `checkpoint_malformed`. */
export function parseDecimal(text: string): number {
  const value = Number(text)
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(value)) {
    throw malformed('a number is not a plain decimal below 2^53')
  }
  return value
}

/** Base64 of one hash. Errors: `checkpoint_malformed`. */
export function parseHash(text: string): Bytes {
  let hash: Bytes | undefined
  try {
    hash = fromBase64(text)
  } catch { /* said below */ }
  if (hash?.length !== HASH_BYTES) throw malformed('a hash is not base64 of 32 bytes')
  return hash
}

/**
 * Reads a checkpoint and verifies it: one of the log's keys must have signed, and no known key's signature
 * may fail. Cosignatures of `witnesses` are verified and reported; none is required (see tlog-policy).
 *
 * Errors: those of `openNote`; `checkpoint_malformed`; `checkpoint_origin` if `origin` is given and is another.
 */
export async function openCheckpoint(
  input: Uint8Array | string | Note,
  log: readonly NoteVerifier[],
  options: {
    readonly origin?: string | undefined
    readonly witnesses?: readonly NoteVerifier[] | undefined
  } = {},
): Promise<VerifiedCheckpoint> {
  const note = typeof input === 'string' || input instanceof Uint8Array ? parseNote(input) : input
  const head = parseTreeHead(note.text)
  if (options.origin !== undefined && head.origin !== options.origin) {
    throw new SignetError(
      'checkpoint_origin',
      `the checkpoint is of ${JSON.stringify(head.origin)}, not of ${
        JSON.stringify(options.origin)
      }`,
    )
  }
  const { text, verified } = await openNote(note, [...log, ...options.witnesses ?? []])
  // A key speaks for the log of its own name only, else one trusted log could sign for another.
  if (!verified.some(({ verifier }) => log.includes(verifier) && verifier.name === head.origin)) {
    throw new SignetError(
      'signer_untrusted',
      `no trusted key of the log ${JSON.stringify(head.origin)} signed the checkpoint`,
    )
  }
  const lines = verified.map(({ line }) => line).join('')
  return { ...head, text, verified, note: `${text}\n${lines}` }
}

/** Type 0x04: Ed25519 over `cosignature/v1`, the time and the note's text. */
export const ED25519_COSIGNATURE: NoteScheme = {
  type: 0x04,
  algorithm: ALGORITHMS['Ed25519'],
  timestamped: true,
  message: (text, _name, time) => utf8(`cosignature/v1\ntime ${time}\n${text}`),
}

/** Type 0x06: ML-DSA-44 over the cosigner's name, the time and the tree; extension lines are not covered. */
export const ML_DSA_44_COSIGNATURE: NoteScheme = {
  type: 0x06,
  algorithm: ALGORITHMS['ML-DSA-44'],
  timestamped: true,
  message(text, name, time) {
    const { origin, size, root } = parseTreeHead(text)
    return concat(
      utf8('subtree/v1\n\0'),
      short(name),
      u64(time),
      short(origin),
      u64(0),
      u64(size),
      root,
    )
  },
}

/** What may sign a log's own checkpoints. */
export const LOG_SCHEMES: readonly NoteScheme[] = [ED25519_NOTE, ML_DSA_44_COSIGNATURE]
/** What witnesses sign with. */
export const WITNESS_SCHEMES: readonly NoteScheme[] = [ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE]

/** A vector of up to 255 bytes with its length before it (RFC 8446 §3.4). */
function short(text: string): Bytes {
  const bytes = utf8(text)
  if (bytes.length > 255) throw malformed('a name is longer than 255 bytes')
  return concat(Uint8Array.of(bytes.length), bytes)
}

function malformed(why: string): SignetError {
  return new SignetError('checkpoint_malformed', `checkpoint: ${why}`)
}
