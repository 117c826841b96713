/**
 * How a device's log reaches the server. The log is a Merkle tree whose checkpoints the device signs; the server
 * keeps entries and one head: so many entries, this root. A message is text in lines:
 *
 *     {"format":"signet-sync@v1","generation":1,"claimed":{"size":0,"root":"…"},"probe":{…}}
 *     …and with entries: a range file just as `exportRange` writes it
 *
 * The hashes left of a range, which its checkpoint binds, are the tree before it. From them and the entries
 * follows the root at every size in between, so a range that starts no later than the server's head proves by
 * itself that the log grew out of it: messages may overlap, repeat and get lost. A message without entries is
 * a probe: it carries a checkpoint, a consistency proof from the head that the device believes in, and the
 * log's first entry.
 *
 * An entry that is not as it should be never blocks: it is in the tree, so it is taken with a verdict. A message that
 * brings more than the server keeps of one device is not taken at all: what was acknowledged stays, the device keeps the
 * rest, and the answer, which says so (`refused`), brings all else.
 */
import * as v from 'valibot'
import { type Bytes, fromBase64, toBase64, utf8 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { canonicalize, parseJson } from '../json.ts'
import { HASH_BYTES } from '../log/mod.ts'
import { conform } from '../schema.ts'
import type { AcknowledgedHead } from './bundle.ts'

const FORMAT = 'signet-sync@v1'
/** What a message is called in HTTP. */
export const SYNC_MEDIA_TYPE = 'application/vnd.signet.sync'
/** Longest message that {@link acceptSync} reads. */
export const MAX_SYNC_BYTES: number = 8 * 1024 * 1024
/** Most entries in one message. */
export const MAX_SYNC_ENTRIES = 8192

/** What the server concludes about a log. `unproven`: the message did not say enough; the next one can. */
export type LogVerdict = 'consistent' | 'rolled_back' | 'forked' | 'replaced' | 'unproven'

/** What is wrong with an entry that is nevertheless in the log. */
export type EntryVerdict =
  | 'entry_malformed'
  | 'entry_misplaced'
  | 'entry_time_back'
  | 'entry_early'
  | 'entry_after_revocation'
  | 'entry_grant_unknown'
  | 'entry_outside_grant'
  | 'entry_after_expiry'

/** How much of a log. */
export interface LogSize {
  /** Entries. */
  readonly entries: number
  /** Bytes of entries. */
  readonly bytes: number
}

/** Why a server took nothing of a message that is in order, and how much more of the log it would take. */
export interface SyncRefusal extends LogSize {
  /** `log_quota`: the log would be longer than what the server keeps of one device. */
  readonly code: string
}

/** A probe: where the log stands, without entries. */
export interface SyncProbe {
  /** The newest checkpoint, a signed note. */
  readonly checkpoint: string
  /** From the claimed head to the checkpoint. */
  readonly consistency: readonly Bytes[]
  /** Leaf hash of the first entry, and its inclusion proof. */
  readonly first: { readonly leaf: Bytes; readonly proof: readonly Bytes[] }
}

/** The head of a message. */
export interface SyncMessageHead {
  /** Generation of the device's bundle. */
  readonly generation: number
  /** The head that the device believes the server has. */
  readonly claimed: AcknowledgedHead
  /** Only in a message without entries. */
  readonly probe?: SyncProbe | undefined
}

/** The first line of a message, with its newline; the range file follows, unless it is a probe. */
export function formatSyncHead({ generation, claimed, probe }: SyncMessageHead): Bytes {
  const text = canonicalize({
    format: FORMAT,
    generation,
    claimed: { size: claimed.size, root: toBase64(claimed.root) },
    probe: probe === undefined ? undefined : {
      checkpoint: probe.checkpoint,
      consistency: probe.consistency.map(toBase64),
      first: toBase64(probe.first.leaf),
      first_proof: probe.first.proof.map(toBase64),
    },
  })
  return utf8(`${text}\n`)
}

const Size = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Hashes = v.pipe(v.array(v.string()), v.maxLength(64))
const HeadSchema = v.strictObject({
  format: v.literal(FORMAT),
  generation: Size,
  claimed: v.strictObject({ size: Size, root: v.string() }),
  probe: v.optional(v.strictObject({
    checkpoint: v.string(),
    consistency: Hashes,
    first: v.string(),
    first_proof: Hashes,
  })),
})

/** Takes a message apart. Nothing in it is verified. Errors: `sync_malformed`, `too_large`. */
export function parseSyncMessage(
  body: Uint8Array,
): { readonly head: SyncMessageHead; readonly range: Uint8Array } {
  if (body.length > MAX_SYNC_BYTES) {
    throw new SignetError('too_large', `sync message: more than ${MAX_SYNC_BYTES} bytes`)
  }
  const end = body.indexOf(10)
  if (end < 0) throw malformedSync('it has no line')
  try {
    const value = parseJson(body.subarray(0, end), { what: 'sync message', maxDepth: 5 })
    const { generation, claimed, probe } = conform(
      HeadSchema,
      value,
      'sync_malformed',
      'sync message',
    )
    const range = body.subarray(end + 1)
    if ((probe === undefined) === (range.length === 0)) {
      throw malformedSync('it is neither a probe nor a range')
    }
    return {
      head: {
        generation,
        claimed: { size: claimed.size, root: hash(claimed.root) },
        probe: probe === undefined ? undefined : {
          checkpoint: probe.checkpoint,
          consistency: probe.consistency.map(hash),
          first: { leaf: hash(probe.first), proof: probe.first_proof.map(hash) },
        },
      },
      range,
    }
  } catch (cause) {
    if (!isSignetError(cause) || cause.code === 'sync_malformed') throw cause
    throw malformedSync(cause.message, cause)
  }
}

/** What the server says to a message. */
export interface SyncAnswer {
  /** What the server has. */
  readonly acknowledged: AcknowledgedHead
  /** Entries of this message that are not plainly in order. */
  readonly verdicts: readonly { readonly index: number; readonly code: string }[]
  /** Whether the bundle still counts; `at` in seconds since 1970. */
  readonly status: {
    readonly state: 'active' | 'revoked'
    readonly at?: number | undefined
    readonly reason?: string | undefined
  }
  /** A newer bundle, if there is one. */
  readonly bundle?: string | undefined
  /** How the device's log relates to what the server has. */
  readonly log: LogVerdict
  /** Why nothing of the message was taken, where it is in order: one that brings less than this would be. */
  readonly refused?: SyncRefusal | undefined
}

/** An answer as JSON. */
export function formatSyncAnswer(answer: SyncAnswer): string {
  const { acknowledged: { size, root }, verdicts, status, bundle, log, refused } = answer
  return canonicalize({
    acknowledged: { size, root: toBase64(root) },
    verdicts: verdicts.map(({ index, code }) => ({ index, code })),
    status: { ...status },
    bundle,
    log,
    refused: refused && { ...refused },
  })
}

const AnswerSchema = v.looseObject({
  acknowledged: v.looseObject({ size: Size, root: v.string() }),
  verdicts: v.array(v.looseObject({ index: Size, code: v.string() })),
  status: v.looseObject({
    state: v.picklist(['active', 'revoked']),
    at: v.optional(Size),
    reason: v.optional(v.string()),
  }),
  bundle: v.optional(v.string()),
  log: v.picklist(['consistent', 'rolled_back', 'forked', 'replaced', 'unproven']),
  refused: v.optional(v.looseObject({ code: v.string(), entries: Size, bytes: Size })),
})

/** Reads an answer. Errors: `sync_malformed`. */
export function parseSyncAnswer(text: Uint8Array | string): SyncAnswer {
  try {
    const value = parseJson(text, { what: 'sync answer' })
    const answer = conform(AnswerSchema, value, 'sync_malformed', 'sync answer')
    const { size, root } = answer.acknowledged
    return { ...answer, acknowledged: { size, root: hash(root) } }
  } catch (cause) {
    if (!isSignetError(cause) || cause.code === 'sync_malformed') throw cause
    throw malformedSync(cause.message, cause)
  }
}

function hash(text: string): Bytes {
  const bytes = fromBase64(text, 'hash')
  if (bytes.length === HASH_BYTES) return bytes
  throw malformedSync('a hash is not 32 bytes')
}

/** The error of a message or an answer that makes no sense. */
export function malformedSync(why: string, cause?: unknown): SignetError {
  return new SignetError('sync_malformed', `sync: ${why}`, { cause })
}
