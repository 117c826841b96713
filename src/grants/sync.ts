/** The server's side of a sync: what a message proves, and what is taken of it. */
import { type Bytes, equalBytes, fromBase64 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { parseJson } from '../json.ts'
import {
  defaultHasher,
  openCheckpoint,
  parseEntry,
  type TreeHasher,
  verifyConsistency,
  verifyInclusion,
  verifyRange,
} from '../log/mod.ts'
import type { AcknowledgedHead } from './bundle.ts'
import { LeftEdge } from './left_edge.ts'
import {
  type EntryVerdict,
  type LogVerdict,
  malformedSync,
  MAX_SYNC_ENTRIES,
  parseSyncMessage,
  type SyncProbe,
  type SyncRefusal,
} from './sync_message.ts'
import type { SyncEntry, SyncHead, SyncStore } from './sync_store.ts'

/** What the server knows of a grant that entries name. Times in seconds since 1970. */
export interface KnownGrant {
  /** Whether it is for a tool, with some arguments. */
  allows(tool: string): boolean
  /** When it expires. */
  readonly expiresAt: number
  /** When it, or the last bundle with it, was revoked, if so. */
  readonly revokedAt?: number | undefined
}

/** What {@link acceptSync} goes by. */
export interface AcceptSyncOptions {
  /** The log's name. */
  readonly origin: string
  /** The keys that ever signed this log's checkpoints: the history of the bundle's device keys. */
  readonly verifiers: readonly NoteVerifier[]
  /** Seconds since 1970. */
  readonly now: number
  /**
   * When the device signed the request, seconds since 1970: a message older than what it brought already is late, and
   * not of a log that went back. Default: every message is taken for new.
   */
  readonly sentAt?: number | undefined
  /** How far the device's clock may be off, in seconds. Default 300. */
  readonly skew?: number | undefined
  /**
   * The grant of an id, if it was ever in a bundle of this device: actions outside of it, or after its end, are marked.
   * Whichever bundle brings them: a log is one for all of them. Default: not asked.
   */
  readonly grantOf?: ((id: string) => KnownGrant | undefined) | undefined
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
  /** Why nothing was taken of a message that is in order. */
  readonly refused?: SyncRefusal | undefined
  /** Generation of the bundle that the device goes by, as it says. */
  readonly generation: number
}

/**
 * Takes a message in. May be called again with the same message, or, with `sentAt`, an older one. Who sent it, and that they
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
  options: AcceptSyncOptions,
): Promise<Outcome> {
  const { origin, verifiers, hasher = defaultHasher } = options
  const { size, root } = await openCheckpoint(note, verifiers, { origin })
  if (size === 0) throw malformedSync('a log has at least one entry')
  verifyInclusion(0, size, first.leaf, first.proof, root, hasher)
  if (head === undefined) return outcome(head, 'consistent')
  if (!equalBytes(first.leaf, head.first)) return outcome(head, 'replaced')
  if (size < head.size) return await wentBack(store, head, { size, root }, options)
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

/** A checkpoint smaller than the head. */
async function wentBack(
  store: SyncStore,
  head: SyncHead,
  { size, root }: AcknowledgedHead,
  { sentAt = Infinity }: AcceptSyncOptions,
): Promise<Outcome> {
  const then = await store.rootAt?.(size)
  if (then !== undefined && !equalBytes(then, root)) return outcome(head, 'forked')
  if (sentAt > (head.sentAt ?? -Infinity)) return outcome(head, 'rolled_back')
  // Overtaken on its way. Where the beginning cannot be looked up, nothing is said of it.
  return outcome(head, then === undefined ? 'unproven' : 'consistent')
}

/** undefined: somebody else was faster. */
async function acceptRange(
  store: SyncStore,
  head: SyncHead | undefined,
  range: Uint8Array,
  options: AcceptSyncOptions,
): Promise<Outcome | undefined> {
  const { origin, verifiers, hasher = defaultHasher } = options
  const { checkpoint, from, entries } = await verifyRange(range, verifiers, {
    origin,
    hasher,
    maxEntries: MAX_SYNC_ENTRIES,
  })
  const size = head?.size ?? 0
  if (head !== undefined && checkpoint.size < size) {
    return await wentBack(store, head, checkpoint, options)
  }
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
  const sentAt = options.sentAt ?? head?.sentAt
  const next = { size: to, root: edge.root, first: head?.first ?? first!, time, sentAt }
  const taken = await store.append(size, next, fresh)
  if (taken === false) return undefined
  if (taken !== true) return outcome(head, 'consistent', { refused: taken })
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
  const { skew = 300 } = options
  try {
    const entry = parseEntry(bytes)
    const time = Date.parse(entry.time)
    if (entry.seq !== index) return { verdict: 'entry_misplaced' }
    if (time < before) return { verdict: 'entry_time_back' }
    // A clock that is ahead must not hide what was done without authority.
    const isEarly = time > (options.now + skew) * 1000
    const acted = entry.type === 'action.intent' && options.grantOf !== undefined
    const verdict = acted
      ? judgeAction(entry.action, options.grantOf(entry.ref ?? ''), time / 1000, skew)
      : undefined
    return isEarly ? { verdict: verdict ?? 'entry_early', time: before } : { verdict, time }
  } catch (error) {
    if (!isSignetError(error)) throw error
    return { verdict: 'entry_malformed' }
  }
}

function judgeAction(
  tool: string | undefined,
  grant: KnownGrant | undefined,
  time: number,
  skew: number,
): EntryVerdict | undefined {
  if (grant === undefined) return 'entry_grant_unknown'
  if (time >= (grant.revokedAt ?? Infinity)) return 'entry_after_revocation'
  if (!grant.allows(tool ?? '')) return 'entry_outside_grant'
  // Devices allow themselves as much.
  return time >= grant.expiresAt + skew ? 'entry_after_expiry' : undefined
}
