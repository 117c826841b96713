/** One group commit: which of the waiting entries it takes, and what they become at their place and time. */
import { type Bytes, utf8 } from '../bytes.ts'
import { draftEntry, type EntryDraft, finishEntry } from './entry.ts'
import type { JournalRecord } from './journal.ts'
import type { LogState } from './recover.ts'

/** Entries and bytes of one group commit at most. */
const MAX_BATCH = 4096
const MAX_BATCH_BYTES = 4 * 1024 * 1024
/** A clock that stands behind the newest entry by more than this is told in the log; milliseconds. */
const CLOCK_TOLERANCE = 2000

/** How many of the waiting entries the next commit takes: one at least, if there is one. */
export function batchLength(waiting: readonly { readonly draft: EntryDraft }[]): number {
  let bytes = 0
  let count = 0
  for (const { draft: { head, opening } } of waiting) {
    bytes += 3 * head.length + (opening?.length ?? 0)
    if (count > 0 && (count >= MAX_BATCH || bytes > MAX_BATCH_BYTES)) break
    count++
  }
  return count
}

/** Entries at their place and time. */
export interface Commit extends JournalRecord {
  /** Their time, in milliseconds since 1970. */
  readonly time: number
  /** True if the clock stands behind the log. */
  readonly clockBehind: boolean
}

/**
 * Puts entries behind those that the log has. Time never runs back: if the clock does, the time of the newest
 * entry counts on, and one more entry, `log.clock`, tells so unless it is known.
 */
export function commitOf(
  drafts: readonly EntryDraft[],
  { edge, time: newest }: LogState,
  now: number,
  knownBehind: boolean,
): Commit {
  const time = Math.max(now, newest)
  const clockBehind = time - now > CLOCK_TOLERANCE
  const told = clockBehind && !knownBehind ? [...drafts, clockEntry(time - now)] : drafts
  const iso = new Date(time).toISOString()
  const openings = new Map<number, Bytes>()
  const entries = told.map((draft, i) => {
    const index = edge.size + i
    if (draft.opening !== undefined) openings.set(index, draft.opening)
    return utf8(finishEntry(draft, index, iso))
  })
  return { first: edge.size, entries, openings, time, clockBehind }
}

function clockEntry(behind: number): EntryDraft {
  const data = { behind: Math.round(behind) }
  return draftEntry({ type: 'log.clock', data }, { own: true })
}
