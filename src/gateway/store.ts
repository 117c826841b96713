/**
 * The port behind the gateway: what any database has to do for it. Small parts, and one `commit` for all that must
 * happen together. What `commit`, `allocate` and `insert` have answered survives a crash.
 *
 * A record has a version; whoever writes it names the version they read, so of two at once one must look again.
 */
import type { NonceStore } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { Kind, Records } from './records.ts'

/** A record and its version. */
export interface Stored<T> {
  /** The record. */
  readonly record: T
  /** Counts its writings from 1. */
  readonly version: number
}

/** What {@link RecordStore.list} gives. */
export interface ListOptions {
  /** Only records with this key (see `KEYS`). Default: all of the kind. */
  readonly key?: string | undefined
  /** Only ids behind this one. */
  readonly after?: string | undefined
  /** At most so many. Default 100. */
  readonly limit?: number | undefined
}

/** Records by kind and id. */
export interface RecordStore {
  /** One, or undefined. */
  get<K extends Kind>(kind: K, id: string): Promise<Stored<Records[K]> | undefined>
  /** Several, in the order of their ids, which are ASCII. */
  list<K extends Kind>(kind: K, options?: ListOptions): Promise<Stored<Records[K]>[]>
}

/** An entry of a device's log. */
export interface LoggedEntry {
  /** Just as it was received. */
  readonly bytes: Uint8Array
  /** What was found about it; undefined: nothing wrong. */
  readonly code?: string | undefined
  /** When it was received, seconds since 1970. */
  readonly at: number
}

/** The entries of devices' logs. */
export interface DeviceLogs {
  /** How many there are. */
  size(log: string): Promise<number>
  /**
   * Entries from an index on, at most `limit`; with `maxBytes`, only so many that their bytes are no more together, but
   * always the first. A reader of a whole log needs no more memory than that: whoever wrote it chose the sizes.
   */
  entries(log: string, from: number, limit: number, maxBytes?: number): Promise<LoggedEntry[]>
}

/** How far a status list got. */
export interface StatusHead {
  /** How many indices were given out. */
  readonly size: number
  /** Changes with each value that is set. */
  readonly version: number
}

/** The values in a status list. Those that were never set are 0. */
export interface StatusValues extends StatusHead {
  /** Values other than 0, by index. */
  readonly values: ReadonlyMap<number, number>
}

/** Indices of status lists. */
export interface StatusIndices {
  /** The next index that nobody has. It is never given again. */
  allocate(list: string): Promise<number>
  /** How far a list got; all 0 for one that nobody used. */
  head(list: string): Promise<StatusHead>
  /** All values of a list. */
  read(list: string): Promise<StatusValues>
}

/** Part of a {@link GatewayStore.commit}. */
export type Change =
  | {
    readonly [K in Kind]: {
      /** Writes a record of this kind. */
      readonly put: K
      /** The record. */
      readonly record: Records[K]
      /** The version that was read; 0: there is none yet. */
      readonly version: number
    }
  }[Kind]
  | {
    /** Removes a record of this kind. */
    readonly remove: Kind
    /** Its id. */
    readonly id: string
    /** The version that was read; 0: there was none, and still is none. */
    readonly version: number
  }
  | {
    /** Appends to this log. */
    readonly append: string
    /** How many entries there are. */
    readonly size: number
    /** What comes behind them. */
    readonly entries: readonly LoggedEntry[]
  }
  | {
    /** Sets a value in this status list. */
    readonly status: string
    /** Where. */
    readonly index: number
    /** 0 valid, 1 invalid, 2 suspended (Token Status List §7.1). */
    readonly value: 0 | 1 | 2
  }

/** All of it. */
export interface GatewayStore {
  /** Records. */
  readonly records: RecordStore
  /** Entries of devices. */
  readonly logs: DeviceLogs
  /** Status lists. */
  readonly status: StatusIndices
  /** Nonces of requests. Each is kept for {@link NONCE_SLACK} longer than it must be. */
  readonly nonces: NonceStore
  /**
   * All changes or none, durable when it returns. Errors: `store_conflict` if a version or a size is not the one
   * named, or if one thing is changed twice; `io_failed`.
   */
  commit(changes: readonly Change[]): Promise<void>
}

/**
 * How much longer than they say nonces are kept, seconds: a clock that ran ahead for a while, and was set back, then
 * makes no request count again.
 */
export const NONCE_SLACK = 3600

/** How many of some sizes, from the front, are no more than `max` together; one at least, if there is one. */
export function fitting(sizes: readonly number[], max: number): number {
  let [count, sum] = [0, 0]
  for (const size of sizes) {
    sum += size
    if (count > 0 && sum > max) break
    count++
  }
  return count
}

/** Most times that {@link retrying} tries. */
const TRIES = 20

/** Does work again that lost against another writer. The work reads anew each time. */
export async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let left = TRIES;; left--) {
    try {
      return await work()
    } catch (error) {
      if (left <= 1 || !isSignetError(error, 'store_conflict')) throw error
    }
  }
}

/** A record that must be there. Errors: `not_found`. */
export async function existing<K extends Kind>(
  store: RecordStore,
  kind: K,
  id: string,
): Promise<Stored<Records[K]>> {
  const found = await store.get(kind, id)
  if (found !== undefined) return found
  throw new SignetError('not_found', `there is no such ${kind}`)
}

/** All records of a list, page by page. */
export async function* everyRecord<K extends Kind>(
  store: RecordStore,
  kind: K,
  key?: string,
): AsyncGenerator<Stored<Records[K]>> {
  let after: string | undefined
  while (true) {
    const page = await store.list(kind, { key, after, limit: 200 })
    yield* page
    if (page.length < 200) return
    after = page.at(-1)!.record.id
    // A store may answer without letting go of the thread, and whoever filled the list is not to hold up all others.
    await new Promise((resolve) => setTimeout(resolve))
  }
}
