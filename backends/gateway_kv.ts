/**
 * The gateway's store in Deno KV, for places without a disk (Deno Deploy). A commit is one atomic operation; what does
 * not fit into one (100 checks, 1000 changes, 800 KB) is `too_large`: devices then send less at once, and a revocation is
 * done in parts, the root first.
 *
 * @module
 */
import { concat, fromUtf8, utf8 } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import {
  type Change,
  type GatewayStore,
  keysOf,
  type Kind,
  type LoggedEntry,
  NONCE_SLACK,
  type Records,
  type Stored,
  type StoreOptions,
} from '../src/gateway/mod.ts'

/** A key of Deno KV. */
export type KvKey = readonly (string | number)[]

/** An entry of Deno KV. */
export interface KvEntry<T> {
  /** Its key. */
  readonly key: KvKey
  /** null: there is none. */
  readonly value: T | null
  /** Changes with each writing. */
  readonly versionstamp: string | null
}

/** The part of an atomic operation that is used. */
export interface KvAtomic {
  /** Fails the commit if the entry is not the one that was read. */
  check(entry: { readonly key: KvKey; readonly versionstamp: string | null }): KvAtomic
  /** Writes. */
  set(key: KvKey, value: unknown, options?: { readonly expireIn?: number }): KvAtomic
  /** Deletes. */
  delete(key: KvKey): KvAtomic
  /** Does it all or nothing. */
  commit(): Promise<{ readonly ok: boolean }>
}

/** The part of Deno KV that is used: what `Deno.openKv()` gives. */
export interface KvDatabase {
  /** Reads one. */
  get<T>(key: KvKey): Promise<KvEntry<T>>
  /** Reads several, in order. */
  list<T>(
    selector:
      | { readonly prefix: KvKey; readonly start?: KvKey }
      | { readonly start: KvKey; readonly end: KvKey },
    options?: { readonly limit?: number },
  ): AsyncIterable<KvEntry<T>>
  /** Begins an operation. */
  atomic(): KvAtomic
}

/** Limits of one operation, with room for what is counted besides the values. */
const MAX_CHECKS = 90
const MAX_CHANGES = 900
const MAX_BYTES = 600_000
/** A value has at most 64 KiB; what is longer goes on in further ones. */
const PART = 60_000

interface Row {
  readonly version: number
  readonly size: number
  readonly part: Uint8Array
}
interface Head {
  readonly size: number
  readonly version: number
}
interface EntryRow extends Row {
  readonly code?: string
  readonly at: number
}

/** A store in an open database, below the key `signet`. Errors: `io_failed`, `too_large`. */
export function kvGatewayStore(kv: KvDatabase, options: StoreOptions = {}): GatewayStore {
  const { now = () => Math.floor(Date.now() / 1000) } = options
  const read = async <K extends Kind>(kind: K, id: string) =>
    await stored<K>(kv, await kv.get<Row>(recordKey(kind, id)))
  return {
    records: {
      get: (kind, id) => attempt(() => read(kind, id)),
      list: (kind, { key, after = '', limit = 100 } = {}) =>
        attempt(async () => {
          const prefix: KvKey = key === undefined
            ? ['signet', 'record', kind]
            : ['signet', 'key', kind, key]
          // Behind `after`: no id goes on with a zero.
          const ids: string[] = []
          const range = { prefix, start: [...prefix, `${after}\0`] }
          for await (const found of kv.list(range, { limit })) ids.push(String(found.key.at(-1)))
          const rows = await Promise.all(ids.map((id) => read(kind, id)))
          return rows.filter((row) => row !== undefined)
        }),
    },
    logs: {
      size: (log) => attempt(async () => (await kv.get<number>(sizeKey(log))).value ?? 0),
      entries: (log, from, limit, maxBytes = Infinity) =>
        attempt(async () => {
          const entries: LoggedEntry[] = []
          let sum = 0
          const prefix = ['signet', 'entry', log]
          const range = { start: [...prefix, from], end: [...prefix, from + limit] }
          for await (const { key, value } of kv.list<EntryRow>(range, { limit })) {
            if (value === null) continue
            const bytes = await whole(kv, key, value)
            sum += bytes.length
            if (entries.length > 0 && sum > maxBytes) break
            entries.push({ bytes, code: value.code, at: value.at })
          }
          return entries
        }),
    },
    status: {
      allocate: (list) =>
        again(async () => {
          const { key, value, versionstamp } = await kv.get<Head>(listKey(list))
          const { size, version } = value ?? NO_HEAD
          const next = { size: size + 1, version }
          await commit(kv.atomic().check({ key, versionstamp }).set(key, next))
          return size
        }),
      head: (list) => attempt(async () => (await kv.get<Head>(listKey(list))).value ?? NO_HEAD),
      read: (list) =>
        attempt(async () => {
          // The head first: values that came since are newer than it says, which makes it be read again.
          const head = (await kv.get<Head>(listKey(list))).value ?? NO_HEAD
          const values = new Map<number, number>()
          for await (const { key, value } of kv.list<number>({ prefix: valueKey(list) })) {
            values.set(Number(key.at(-1)), value ?? 0)
          }
          return { ...head, values }
        }),
    },
    nonces: {
      insert: (id, expires) =>
        attempt(async () => {
          const key = ['signet', 'nonce', id]
          const { value, versionstamp } = await kv.get<number>(key)
          if (value !== null && value + NONCE_SLACK >= now()) return false
          const expireIn = Math.max(1, expires - now() + NONCE_SLACK) * 1000
          const { ok } = await kv.atomic().check({ key, versionstamp })
            .set(key, expires, { expireIn }).commit()
          return ok
        }),
    },
    commit: (changes) =>
      attempt(async () => {
        const operation = new Operation(kv)
        for (const change of changes) await operation.add(change)
        await operation.commit()
      }),
  }
}

const NO_HEAD: Head = { size: 0, version: 0 }
const recordKey = (kind: Kind, id: string): KvKey => ['signet', 'record', kind, id]
const sizeKey = (log: string): KvKey => ['signet', 'size', log]
const listKey = (list: string): KvKey => ['signet', 'list', list]
const valueKey = (list: string): KvKey => ['signet', 'value', list]

/** Changes on their way into one atomic operation. */
class Operation {
  readonly #kv: KvDatabase
  readonly #atomic: KvAtomic
  readonly #touched = new Set<string>()
  readonly #lists = new Set<string>()
  #checks = 0
  #changes = 0
  #bytes = 0

  constructor(kv: KvDatabase) {
    this.#kv = kv
    this.#atomic = kv.atomic()
  }

  async add(change: Change): Promise<void> {
    if ('status' in change) return await this.#status(change)
    if ('append' in change) return await this.#append(change)
    const [kind, id] = 'put' in change ? [change.put, change.record.id] : [change.remove, change.id]
    const found = await this.#kv.get<Row>(recordKey(kind, id))
    if ((found.value?.version ?? 0) !== change.version) throw conflict()
    this.#check(found)
    const before = (await stored(this.#kv, found))?.record
    const keysBefore = before === undefined ? [] : keysOf(kind, before as never)
    const keys = 'put' in change ? keysOf(kind, change.record as never) : []
    for (const key of keysBefore.filter((one) => !keys.includes(one))) {
      this.#delete(['signet', 'key', kind, key, id])
    }
    for (const key of keys.filter((one) => !keysBefore.includes(one))) {
      this.#set(['signet', 'key', kind, key, id], 1, 50)
    }
    if (found.value !== null) this.#deleteRest(found.key, found.value)
    if ('put' in change) {
      this.#setWhole(found.key, change.version + 1, utf8(JSON.stringify(change.record)), {})
    } else this.#delete(found.key)
  }

  async commit(): Promise<void> {
    await commit(this.#atomic)
  }

  async #append({ append: log, size, entries }: Extract<Change, { append: string }>) {
    const found = await this.#kv.get<number>(sizeKey(log))
    if ((found.value ?? 0) !== size) throw conflict()
    this.#check(found)
    this.#set(found.key, size + entries.length, 50)
    entries.forEach(({ bytes, code, at }, i) =>
      this.#setWhole(['signet', 'entry', log, size + i], 1, bytes, { code, at })
    )
  }

  async #status({ status, index, value }: Extract<Change, { status: string }>) {
    if (!this.#lists.has(status)) {
      this.#lists.add(status)
      const found = await this.#kv.get<Head>(listKey(status))
      const { size, version } = found.value ?? NO_HEAD
      this.#check(found)
      this.#set(found.key, { size, version: version + 1 }, 100)
    }
    const key = [...valueKey(status), index]
    if (value === 0) this.#delete(key)
    else this.#set(key, value, 50)
  }

  /** A value of any length. Its further parts carry the version, so that nobody reads parts of two. */
  #setWhole(key: KvKey, version: number, bytes: Uint8Array, more: object): void {
    const part = bytes.slice(0, PART)
    this.#set(key, { ...more, version, size: bytes.length, part }, part.length + 200)
    for (let at = PART; at < bytes.length; at += PART) {
      const rest = bytes.slice(at, at + PART)
      this.#set(restKey(key, version, at), rest, rest.length + 100)
    }
  }

  #deleteRest(key: KvKey, { version, size }: Row): void {
    for (let at = PART; at < size; at += PART) this.#delete(restKey(key, version, at))
  }

  #check(entry: KvEntry<unknown>): void {
    const name = JSON.stringify(entry.key)
    if (this.#touched.has(name)) throw conflict()
    this.#touched.add(name)
    if (++this.#checks > MAX_CHECKS) throw tooLarge()
    this.#atomic.check(entry)
  }

  #set(key: KvKey, value: unknown, bytes: number): void {
    this.#bytes += bytes + 100
    if (++this.#changes > MAX_CHANGES || this.#bytes > MAX_BYTES) throw tooLarge()
    this.#atomic.set(key, value)
  }

  #delete(key: KvKey): void {
    if (++this.#changes > MAX_CHANGES) throw tooLarge()
    this.#atomic.delete(key)
  }
}

function restKey(key: KvKey, version: number, at: number): KvKey {
  return ['signet', 'rest', ...key, version, at]
}

async function whole(kv: KvDatabase, key: KvKey, row: Row): Promise<Uint8Array> {
  const parts = [row.part]
  for (let at = PART; at < row.size; at += PART) {
    const { value } = await kv.get<Uint8Array>(restKey(key, row.version, at))
    // Written anew since the first part was read.
    if (value === null) throw conflict()
    parts.push(value)
  }
  return parts.length === 1 ? row.part : concat(...parts)
}

async function stored<K extends Kind>(
  kv: KvDatabase,
  { key, value }: KvEntry<Row>,
): Promise<Stored<Records[K]> | undefined> {
  if (value === null) return undefined
  return { record: JSON.parse(fromUtf8(await whole(kv, key, value))), version: value.version }
}

async function commit(atomic: KvAtomic): Promise<void> {
  if (!(await atomic.commit()).ok) throw conflict()
}

/** Until nobody else was faster. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let left = 100;; left--) {
    try {
      return await attempt(work)
    } catch (error) {
      if (left === 0 || !(error instanceof SignetError && error.code === 'store_conflict')) {
        throw error
      }
    }
  }
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof SignetError) throw cause
    throw new SignetError('io_failed', 'the database of the gateway does not work', { cause })
  }
}

function conflict(): SignetError {
  return new SignetError('store_conflict', 'the record is not what was read', {
    remedy: 'read it again',
  })
}

function tooLarge(): SignetError {
  return new SignetError('too_large', 'this is more than one operation of the database takes', {
    remedy: 'do it in smaller parts',
  })
}
