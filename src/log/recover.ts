/** How a log is found when it is opened: its published tree, and what the journal adds to it. */
import { type Bytes, equalBytes, fromUtf8 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { checkAnchor, type LogAnchor } from './anchor.ts'
import { openCheckpoint, type VerifiedCheckpoint } from './checkpoint.ts'
import { TreeEdge } from './edge.ts'
import { parseEntry } from './entry.ts'
import { decodeRecord, type JournalSealer } from './journal.ts'
import type { TreeHasher } from './merkle.ts'
import type { LogStorage } from './storage.ts'
import { TILE_WIDTH } from './tile.ts'
import { Unpublished } from './unpublished.ts'
import { LogView } from './view.ts'

/** A tree and its newest time. */
export interface LogState {
  /** The right edge of the tree. */
  readonly edge: TreeEdge
  /** Time of the newest entry, in milliseconds since 1970. */
  readonly time: number
}

/** A log as found. */
export interface Found {
  readonly checkpoint: VerifiedCheckpoint | undefined
  readonly state: LogState
  readonly unpublished: Unpublished
  /** Entries that the journal had and the tiles had not. */
  readonly recovered: number
}

/** What recovering needs to know. */
export interface RecoverContext {
  readonly storage: LogStorage
  readonly origin: string
  readonly verifiers: readonly NoteVerifier[]
  readonly sealer: JournalSealer
  readonly hasher: TreeHasher
  readonly anchor: LogAnchor | undefined
}

/** Finds a log; records are those of the journal. Errors: see `openLog`. */
export async function recover(context: RecoverContext, records: readonly Bytes[]): Promise<Found> {
  const published = await loadPublished(context)
  await compareWithAnchor(context, published.checkpoint)
  return await replay(context, published, records)
}

async function loadPublished(context: RecoverContext): Promise<Found> {
  const { storage, hasher } = context
  const note = await storage.read('checkpoint')
  if (note === undefined) {
    const edge = new TreeEdge(hasher)
    const state = { edge, time: 0 }
    return { checkpoint: undefined, state, unpublished: new Unpublished(edge), recovered: 0 }
  }
  // Witnesses' lines are kept; they are verified by whoever relies on them.
  const checkpoint = { ...await openOwn(context, note), note: fromUtf8(note, 'checkpoint') }
  const edge = await TreeEdge.load(checkpoint.size, (path) => storage.read(path), hasher)
  if (!equalBytes(edge.root, checkpoint.root)) {
    throw corrupt('the tiles at the end of the log do not lead to the root of its checkpoint')
  }
  const view = new LogView(storage, checkpoint, { hasher })
  const { size } = checkpoint
  const time = size === 0 ? 0 : timeOf(await view.entry(size - 1))
  const tail = size % TILE_WIDTH === 0 ? [] : await view.bundle(Math.floor(size / TILE_WIDTH))
  const unpublished = new Unpublished(edge, tail)
  return { checkpoint, state: { edge, time }, unpublished, recovered: 0 }
}

async function openOwn(context: RecoverContext, note: Bytes): Promise<VerifiedCheckpoint> {
  const { origin, verifiers, anchor } = context
  try {
    return await openCheckpoint(note, verifiers, { origin })
  } catch (cause) {
    const swapped = isSignetError(cause, 'checkpoint_origin', 'signer_untrusted')
    if (!swapped || await anchor?.load() === undefined) throw cause
    throw new SignetError('log_replaced', 'this is a log of another name or key', { cause })
  }
}

/** Against what was published: an anchor is never newer than that. */
async function compareWithAnchor(
  { storage, origin, verifiers, hasher, anchor }: RecoverContext,
  checkpoint: VerifiedCheckpoint | undefined,
): Promise<void> {
  const anchored = await anchor?.load()
  if (anchored === undefined) return
  const head = checkpoint ?? { origin, size: 0, root: hasher.empty }
  await checkAnchor(anchored, new LogView(storage, head, { hasher }), verifiers, { hasher })
}

async function replay(
  { sealer, hasher }: RecoverContext,
  found: Found,
  records: readonly Bytes[],
): Promise<Found> {
  let { state, recovered } = found
  for (const bytes of records) {
    const { first, entries, openings } = await decodeRecord(bytes, sealer)
    const { size } = state.edge
    if (first + entries.length <= size) continue // it was published, and not yet forgotten
    if (first !== size) throw corrupt(`the journal goes on at entry ${first}, not at ${size}`)
    const edge = state.edge.clone()
    const tiles = entries.flatMap((entry) => edge.append(hasher.leaf(entry)))
    found.unpublished.add(entries, tiles, openings)
    state = { edge, time: timeOf(entries.at(-1)!) }
    recovered += entries.length
  }
  return { ...found, state, recovered }
}

function timeOf(entry: Bytes): number {
  return Date.parse(parseEntry(entry).time)
}

function corrupt(why: string): SignetError {
  return new SignetError('log_corrupt', why, {
    remedy: 'keep this state for inquiry, and put a copy of the log back',
  })
}
