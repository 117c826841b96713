/** Where a server keeps the log of a device: entries, and one head. */
import type { Bytes } from '../bytes.ts'
import { defaultHasher } from '../log/mod.ts'
import type { AcknowledgedHead } from './bundle.ts'
import { LeftEdge } from './left_edge.ts'
import type { EntryVerdict, LogSize, SyncRefusal } from './sync_message.ts'

/** What the server has of a log. */
export interface SyncHead extends AcknowledgedHead {
  /** Leaf hash of the first entry. */
  readonly first: Bytes
  /** Time of the newest entry that has one, milliseconds since 1970. */
  readonly time: number
  /** When the message that made it was signed, seconds since 1970, if that is known. */
  readonly sentAt?: number | undefined
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
   * there is none). False if it has not: somebody else was faster. A refusal if it does not keep as much: then nothing
   * is changed, and the device keeps what it has.
   */
  append(
    from: number,
    head: SyncHead,
    entries: readonly SyncEntry[],
  ): Promise<boolean | SyncRefusal>
  /** The root over the first entries, where that can be had: tells a log that went back from one that forked. */
  rootAt?(size: number): Promise<Bytes | undefined>
}

/** A store in memory, for tests and as the pattern of others. */
export interface MemorySyncStore extends SyncStore {
  /** All entries, in order. */
  readonly entries: readonly SyncEntry[]
}

/** What a quota says to entries that would come to those that are kept; undefined: it has room for all of them. */
export function refusalOf(
  quota: LogSize,
  kept: LogSize,
  fresh: readonly { readonly bytes: Uint8Array }[],
): SyncRefusal | undefined {
  const entries = Math.max(0, quota.entries - kept.entries)
  const bytes = Math.max(0, quota.bytes - kept.bytes)
  if (fresh.length <= entries && bytesOf(fresh) <= bytes) return undefined
  return { code: 'log_quota', entries, bytes }
}

/** How many bytes entries have together. */
export function bytesOf(entries: readonly { readonly bytes: Uint8Array }[]): number {
  return entries.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

/** A {@link SyncStore} in memory. Without a quota it takes everything. */
export function memorySyncStore(quota?: LogSize): MemorySyncStore {
  const entries: SyncEntry[] = []
  let kept: SyncHead | undefined
  return {
    entries,
    head: () => Promise.resolve(kept),
    append(from, head, more) {
      if ((kept?.size ?? 0) !== from) return Promise.resolve(false)
      const all = { entries: entries.length, bytes: bytesOf(entries) }
      const refused = quota && refusalOf(quota, all, more)
      if (refused !== undefined) return Promise.resolve(refused)
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
