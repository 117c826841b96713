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
 * An entry that is not as it should be never blocks: it is in the tree, so it is taken with a verdict.
 */
import * as v from 'valibot'
import { type Bytes, equalBytes, fromBase64, toBase64, utf8 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { canonicalize, parseJson } from '../json.ts'
import {
  defaultHasher,
  HASH_BYTES,
  openCheckpoint,
  parseEntry,
  type TreeHasher,
  verifyConsistency,
  verifyInclusion,
  verifyRange,
} from '../log/mod.ts'
import { conform } from '../schema.ts'
import type { AcknowledgedHead } from './bundle.ts'
import { LeftEdge } from './left_edge.ts'

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
  if (end < 0) throw malformed('it has no line')
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
      throw malformed('it is neither a probe nor a range')
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
    throw malformed(cause.message, cause)
  }
}

/** What the server has of a log. */
export interface SyncHead extends AcknowledgedHead {
  /** Leaf hash of the first entry. */
  readonly first: Bytes
  /** Time of the newest entry that has one, milliseconds since 1970. */
  readonly time: number
}

/** An entry that is new to the server. */
export interface SyncEntry {
  /** Index in the log. */
  readonly index: number
  /** Just as it was logged. */
  readonly bytes: Bytes
  /** What is wrong with it, if anything: kept apart from the plain ones. */
  readonly verdict?: EntryVerdict | undefined
}

/** Where the server keeps one log. */
export interface SyncStore {
  /** What it has; undefined if it has never heard of the log. */
  head(): Promise<SyncHead | undefined>
  /**
   * Adds entries and replaces the head, durably and both or neither, if the head still has `from` entries (0: if
   * there is none). False if it has not: somebody else was faster.
   */
  append(from: number, head: SyncHead, entries: readonly SyncEntry[]): Promise<boolean>
  /** The root over the first entries, where that can be had: tells a log that went back from one that forked. */
  rootAt?(size: number): Promise<Bytes | undefined>
}

/** What {@link acceptSync} goes by. */
export interface AcceptSyncOptions {
  /** The log's name. */
  readonly origin: string
  /** The keys that ever signed this log's checkpoints: the history of the bundle's device keys. */
  readonly verifiers: readonly NoteVerifier[]
  /** Seconds since 1970. */
  readonly now: number
  /** How far the device's clock may be ahead, in seconds. Default 300. */
  readonly skew?: number | undefined
  /** When the bundle was revoked, if it was, in seconds since 1970: later actions are marked. */
  readonly revokedAt?: number | undefined
  /** Whether a grant id was ever in a bundle of this device. Default: not asked. */
  readonly knowsGrant?: ((id: string) => boolean) | undefined
  /** Default: portable. */
  readonly hasher?: TreeHasher | undefined
}

/** What came of a message. */
export interface SyncOutcome {
  /** What the server has now. */
  readonly acknowledged: AcknowledgedHead
  /** How many entries were new. */
  readonly accepted: number
  /** New entries that are not plainly in order. */
  readonly verdicts: readonly { readonly index: number; readonly code: EntryVerdict }[]
  /** How the device's log relates to what the server has. */
  readonly log: LogVerdict
  /** Generation of the bundle that the device goes by, as it says. */
  readonly generation: number
}

/**
 * Takes a message in. May be called again with the same message, or with an older one. Who sent it, and that they
 * may, the caller has verified.
 *
 * Errors: `sync_malformed`, `too_large`; those of `openCheckpoint` and `verifyRange` (nothing is taken);
 * what the store throws.
 */
export async function acceptSync(
  store: SyncStore,
  body: Uint8Array,
  options: AcceptSyncOptions,
): Promise<SyncOutcome> {
  const { head: message, range } = parseSyncMessage(body)
  // Of two messages at once one is too late with its append, and looks again.
  for (let attempt = 0; attempt < 5; attempt++) {
    const head = await store.head()
    const outcome = message.probe === undefined
      ? await acceptRange(store, head, range, options)
      : await acceptProbe(store, head, message.probe, message.claimed, options)
    if (outcome !== undefined) return { ...outcome, generation: message.generation }
  }
  throw new SignetError('sync_failed', 'too many messages of one log at once')
}

type Outcome = Omit<SyncOutcome, 'generation'>

function outcome(
  head: SyncHead | undefined,
  log: LogVerdict,
  more: Partial<Outcome> = {},
): Outcome {
  const { size, root } = head ?? { size: 0, root: defaultHasher.empty }
  return { acknowledged: { size, root }, accepted: 0, verdicts: [], log, ...more }
}

async function acceptProbe(
  store: SyncStore,
  head: SyncHead | undefined,
  { checkpoint: note, consistency, first }: SyncProbe,
  claimed: AcknowledgedHead,
  { origin, verifiers, hasher = defaultHasher }: AcceptSyncOptions,
): Promise<Outcome> {
  const { size, root } = await openCheckpoint(note, verifiers, { origin })
  if (size === 0) throw malformed('a log has at least one entry')
  verifyInclusion(0, size, first.leaf, first.proof, root, hasher)
  if (head === undefined) return outcome(head, 'consistent')
  if (!equalBytes(first.leaf, head.first)) return outcome(head, 'replaced')
  if (size < head.size) return await wentBack(store, head, { size, root })
  if (size === head.size) {
    return outcome(head, equalBytes(root, head.root) ? 'consistent' : 'forked')
  }
  // A proof from another size than the head's says nothing: an answer got lost, or the server lost something.
  if (claimed.size !== head.size) return outcome(head, 'unproven')
  try {
    verifyConsistency(head.size, size, consistency, head.root, root, hasher)
  } catch (error) {
    if (!isSignetError(error, 'proof_invalid')) throw error
    return outcome(head, 'forked')
  }
  return outcome(head, 'consistent')
}

async function wentBack(
  store: SyncStore,
  head: SyncHead,
  { size, root }: AcknowledgedHead,
): Promise<Outcome> {
  const then = await store.rootAt?.(size)
  const forked = then !== undefined && !equalBytes(then, root)
  return outcome(head, forked ? 'forked' : 'rolled_back')
}

/** undefined: somebody else was faster. */
async function acceptRange(
  store: SyncStore,
  head: SyncHead | undefined,
  range: Uint8Array,
  options: AcceptSyncOptions,
): Promise<Outcome | undefined> {
  const { origin, verifiers, hasher = defaultHasher } = options
  const { checkpoint, from, entries } = await verifyRange(range, verifiers, { origin, hasher })
  if (entries.length > MAX_SYNC_ENTRIES) throw malformed('it has too many entries')
  const size = head?.size ?? 0
  if (head !== undefined && checkpoint.size < size) return await wentBack(store, head, checkpoint)
  // The server does not know what lies between: the device has to start over from the head.
  if (from > size) return outcome(head, 'unproven')
  const edge = new LeftEdge(from, leftHashes(range), hasher)
  const leaves = entries.map((entry) => hasher.leaf(entry))
  const [first] = leaves
  if (head !== undefined && from === 0 && !equalBytes(first!, head.first)) {
    return outcome(head, 'replaced')
  }
  const to = from + entries.length
  if (to < size) return outcome(head, 'unproven') // an old message, overtaken by later ones
  for (const leaf of leaves.slice(0, size - from)) edge.append(leaf)
  if (head !== undefined && !equalBytes(edge.root, head.root)) return outcome(head, 'forked')
  if (to === size) return outcome(head, 'consistent')

  for (const leaf of leaves.slice(size - from)) edge.append(leaf)
  let time = head?.time ?? 0
  const fresh = entries.slice(size - from).map((bytes, i): SyncEntry => {
    const index = size + i
    const { verdict, time: its } = judgeEntry(bytes, index, time, options)
    time = Math.max(time, its ?? 0)
    return verdict === undefined ? { index, bytes } : { index, bytes, verdict }
  })
  const next = { size: to, root: edge.root, first: head?.first ?? first!, time }
  if (!await store.append(size, next, fresh)) return undefined
  const verdicts = fresh.flatMap(({ index, verdict }) =>
    verdict === undefined ? [] : [{ index, code: verdict }]
  )
  return outcome(next, 'consistent', { accepted: fresh.length, verdicts })
}

/** The hashes left of a verified range, largest subtree first. */
function leftHashes(range: Uint8Array): Bytes[] {
  const line = range.subarray(0, range.indexOf(10))
  const { left } = parseJson(line) as unknown as { readonly left: readonly string[] }
  return left.map((text) => fromBase64(text)).reverse()
}

function judgeEntry(
  bytes: Bytes,
  index: number,
  before: number,
  options: AcceptSyncOptions,
): { readonly verdict?: EntryVerdict; readonly time?: number } {
  try {
    const entry = parseEntry(bytes)
    const time = Date.parse(entry.time)
    if (entry.seq !== index) return { verdict: 'entry_misplaced' }
    if (time < before) return { verdict: 'entry_time_back' }
    if (time > (options.now + (options.skew ?? 300)) * 1000) {
      return { verdict: 'entry_early', time: before }
    }
    const acted = entry.type === 'action.intent'
    if (acted && options.revokedAt !== undefined && time >= options.revokedAt * 1000) {
      return { verdict: 'entry_after_revocation', time }
    }
    if (acted && options.knowsGrant?.(entry.ref ?? '') === false) {
      return { verdict: 'entry_grant_unknown', time }
    }
    return { time }
  } catch (error) {
    if (!isSignetError(error)) throw error
    return { verdict: 'entry_malformed' }
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
}

/** An answer as JSON. */
export function formatSyncAnswer(answer: SyncAnswer): string {
  const { acknowledged: { size, root }, verdicts, status, bundle, log } = answer
  return canonicalize({
    acknowledged: { size, root: toBase64(root) },
    verdicts: verdicts.map(({ index, code }) => ({ index, code })),
    status: { ...status },
    bundle,
    log,
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
    throw malformed(cause.message, cause)
  }
}

/** A store in memory, for tests and as the pattern of others. */
export interface MemorySyncStore extends SyncStore {
  /** All entries, in order. */
  readonly entries: readonly SyncEntry[]
}

/** A {@link SyncStore} in memory. */
export function memorySyncStore(): MemorySyncStore {
  const entries: SyncEntry[] = []
  let kept: SyncHead | undefined
  return {
    entries,
    head: () => Promise.resolve(kept),
    append(from, head, more) {
      if ((kept?.size ?? 0) !== from) return Promise.resolve(false)
      kept = head
      entries.push(...more)
      return Promise.resolve(true)
    },
    rootAt(size) {
      const edge = new LeftEdge(0, [], defaultHasher)
      for (const { bytes } of entries.slice(0, size)) edge.append(defaultHasher.leaf(bytes))
      return Promise.resolve(edge.root)
    },
  }
}

function hash(text: string): Bytes {
  const bytes = fromBase64(text, 'hash')
  if (bytes.length === HASH_BYTES) return bytes
  throw malformed('a hash is not 32 bytes')
}

function malformed(why: string, cause?: unknown): SignetError {
  return new SignetError('sync_malformed', `sync: ${why}`, { cause })
}
