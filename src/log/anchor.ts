/**
 * The newest checkpoint, kept where whoever can write to the log's disk cannot: without it a cut tail is
 * a smaller log and nothing more.
 *
 * An anchor is a tlog-proof of the newest entry. Its hashes are all complete subtrees left of that entry,
 * so it tells how much of a smaller or another tree is still the old one. Its extra data are the leaf
 * hashes of the first and the newest entry.
 */
import { type Bytes, concat, equalBytes, fromUtf8, utf8 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import { openCheckpoint, type VerifiedCheckpoint } from './checkpoint.ts'
import {
  defaultHasher,
  HASH_BYTES,
  inclusionRanges,
  type TreeHasher,
  verifyInclusion,
} from './merkle.ts'
import { formatProof, parseProof } from './proof.ts'
import type { LogView } from './view.ts'

/** Where an anchor lies: a file next to the key, a sync server, a keychain. */
export interface LogAnchor {
  /** The anchor stored last, or undefined if there never was one. */
  load(): Promise<Bytes | undefined>
  /** Replaces it, whole or not at all. */
  store(anchor: Bytes): Promise<void>
}

/** The anchor of a view under its checkpoint. The log must not be empty. */
export async function makeAnchor(view: LogView, checkpoint: VerifiedCheckpoint): Promise<Bytes> {
  const index = checkpoint.size - 1
  const [first, newest] = await Promise.all([view.hashes(0), view.hashes(index)])
  const proof = await view.prove(index, checkpoint)
  return utf8(formatProof({ ...proof, extra: concat(first.leaf, newest.leaf) }))
}

/**
 * Compares a log with its anchor. Gives the anchored checkpoint when the log is the same one, grown or not.
 *
 * Errors: `log_rolled_back` (the log is a beginning of what it was), `log_forked` (it shares a beginning
 * and goes on otherwise), `log_replaced` (it is another log). A log shorter than the first subtree of the
 * anchor (half of it at least) that begins with the same entry counts as rolled back: more is not known.
 * Also `proof_malformed`, `proof_invalid` and those
 * of `openCheckpoint` if the anchor itself is not the log's.
 */
export async function checkAnchor(
  anchor: Bytes,
  view: LogView,
  log: readonly NoteVerifier[],
  options: { readonly hasher?: TreeHasher | undefined } = {},
): Promise<VerifiedCheckpoint> {
  const { hasher = defaultHasher } = options
  const { index, hashes, extra, checkpoint: note } = parseProof(fromUtf8(anchor, 'anchor'))
  const checkpoint = await openAnchored(note, view, log)
  const { size, root } = checkpoint
  if (extra?.length !== 2 * HASH_BYTES || index !== size - 1) {
    throw new SignetError('proof_malformed', 'the anchor is not the proof of a newest entry')
  }
  const newest = extra.slice(HASH_BYTES)
  verifyInclusion(index, size, newest, hashes, root, hasher)
  const now = view.head.size
  if (now >= size && equalBytes(await view.hash({ start: 0, end: size }), root)) {
    if (await startsWith(view, extra.slice(0, HASH_BYTES))) return checkpoint
    throw new SignetError('proof_invalid', 'the anchor names another first entry than its tree has')
  }

  // Which of the anchored subtrees are still what they were, from the left?
  const parts = inclusionRanges(index, size).map((range, i) => ({ ...range, hash: hashes[i]! }))
  parts.reverse().push({ start: index, end: size, hash: newest })
  let same = 0
  for (const part of parts) {
    if (part.end > now) break
    if (!equalBytes(await view.hash(part), part.hash)) {
      if (same === 0 && !await startsWith(view, extra.slice(0, HASH_BYTES))) {
        throw verdict('log_replaced', 'this is another log', size, now)
      }
      const where = same === 0 ? 'after its first entry' : `after the first ${same} entries`
      throw verdict('log_forked', `the log was rewritten ${where}`, size, now)
    }
    same = part.end
  }
  if (same === 0 && now > 0 && !await startsWith(view, extra.slice(0, HASH_BYTES))) {
    throw verdict('log_replaced', 'this is another log', size, now)
  }
  throw verdict('log_rolled_back', `the last ${size - now} entries are gone`, size, now)
}

/** The anchored checkpoint must be of this log and key; if it is not, the log at hand was swapped. */
async function openAnchored(
  note: string,
  view: LogView,
  log: readonly NoteVerifier[],
): Promise<VerifiedCheckpoint> {
  try {
    return await openCheckpoint(note, log, { origin: view.head.origin })
  } catch (cause) {
    if (!isSignetError(cause, 'checkpoint_origin', 'signer_untrusted')) throw cause
    throw new SignetError('log_replaced', 'the anchor is of a log with another name or key', {
      cause,
    })
  }
}

async function startsWith(view: LogView, leaf: Bytes): Promise<boolean> {
  return equalBytes((await view.hashes(0)).leaf, leaf)
}

function verdict(code: ErrorCode, why: string, anchored: number, now: number): SignetError {
  return new SignetError(code, `${why}: it had ${anchored} entries, it has ${now}`, {
    remedy: 'keep this state for inquiry, and put the newest copy of the log back',
  })
}

/** An anchor in memory, for tests and for programs that keep it by themselves. */
export function memoryAnchor(initial?: Bytes): LogAnchor {
  let kept = initial
  return {
    load: () => Promise.resolve(kept),
    store: (anchor) => {
      kept = anchor
      return Promise.resolve()
    },
  }
}
