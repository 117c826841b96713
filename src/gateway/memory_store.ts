// deno-lint-ignore-file require-await -- the port is asynchronous
/** The gateway's store in memory: for tests, for demonstrations, and as the pattern of a store. Nothing is durable. */
import { SignetError } from '../errors.ts'
import { keysOf, type Kind, type Records } from './records.ts'
import {
  type Change,
  fitting,
  type GatewayStore,
  type LoggedEntry,
  NONCE_SLACK,
  type Stored,
} from './store.ts'

/** Options of a store. */
export interface StoreOptions {
  /** The clock, seconds since 1970: nonces that have expired are forgotten. Default: the system's. */
  readonly now?: (() => number) | undefined
}

interface Row {
  readonly kind: Kind
  readonly json: string
  readonly version: number
  readonly keys: readonly string[]
}

interface List {
  size: number
  version: number
  readonly values: Map<number, number>
}

/** A new store, empty. */
export function memoryGatewayStore(options: StoreOptions = {}): GatewayStore {
  const { now = () => Math.floor(Date.now() / 1000) } = options
  const rows = new Map<Kind, Map<string, Row>>()
  const logs = new Map<string, LoggedEntry[]>()
  const lists = new Map<string, List>()
  const nonces = new Map<string, number>()
  let swept = 0
  const table = (kind: Kind) => getOr(rows, kind, () => new Map<string, Row>())
  const list = (name: string) =>
    getOr(lists, name, (): List => ({ size: 0, version: 0, values: new Map() }))
  const parsed = <K extends Kind>({ json, version }: Row): Stored<Records[K]> => ({
    record: JSON.parse(json),
    version,
  })
  const check = (change: Change) => {
    if ('status' in change) return
    if ('append' in change) {
      if ((logs.get(change.append)?.length ?? 0) !== change.size) throw conflict()
      return
    }
    const [kind, id] = 'put' in change ? [change.put, change.record.id] : [change.remove, change.id]
    if ((table(kind).get(id)?.version ?? 0) !== change.version) throw conflict()
  }
  const apply = (change: Change) => {
    if ('status' in change) {
      const { values } = list(change.status)
      list(change.status).version++
      if (change.value === 0) values.delete(change.index)
      else values.set(change.index, change.value)
    } else if ('append' in change) {
      const entries = change.entries.map((entry) => ({ ...entry, bytes: entry.bytes.slice() }))
      getOr(logs, change.append, () => [] as LoggedEntry[]).push(...entries)
    } else if ('put' in change) {
      table(change.put).set(change.record.id, {
        kind: change.put,
        json: JSON.stringify(change.record),
        version: change.version + 1,
        keys: keysOf(change.put, change.record as never),
      })
    } else table(change.remove).delete(change.id)
  }
  // Nothing below awaits between looking and writing, so nothing comes in between.
  return {
    records: {
      async get(kind, id) {
        const row = table(kind).get(id)
        return row && parsed(row)
      },
      async list(kind, { key, after = '', limit = 100 } = {}) {
        return [...table(kind)]
          .filter(([id, row]) => id > after && (key === undefined || row.keys.includes(key)))
          .sort(([a], [b]) => a < b ? -1 : 1)
          .slice(0, limit)
          .map(([, row]) => parsed(row))
      },
    },
    logs: {
      size: async (log) => logs.get(log)?.length ?? 0,
      async entries(log, from, limit, maxBytes = Infinity) {
        const page = (logs.get(log) ?? []).slice(from, from + limit)
        return page.slice(0, fitting(page.map(({ bytes }) => bytes.length), maxBytes))
          .map((entry) => ({ ...entry, bytes: entry.bytes.slice() }))
      },
    },
    status: {
      allocate: async (name) => list(name).size++,
      async head(name) {
        const { size, version } = list(name)
        return { size, version }
      },
      async read(name) {
        const { size, version, values } = list(name)
        return { size, version, values: new Map(values) }
      },
    },
    nonces: {
      async insert(id, expires) {
        if (now() > swept) {
          swept = now()
          for (const [old, until] of nonces) if (until + NONCE_SLACK < swept) nonces.delete(old)
        }
        if (nonces.has(id)) return false
        nonces.set(id, expires)
        return true
      },
    },
    async commit(changes) {
      if (new Set(changes.map(nameOf)).size < changes.length) throw conflict()
      changes.forEach(check)
      changes.forEach(apply)
    },
  }
}

function nameOf(change: Change): string {
  if ('status' in change) return `status ${change.status} ${change.index}`
  if ('append' in change) return `log ${change.append}`
  if ('put' in change) return `record ${change.put} ${change.record.id}`
  return `record ${change.remove} ${change.id}`
}

function getOr<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}

function conflict(): SignetError {
  return new SignetError('store_conflict', 'the record is not what was read', {
    remedy: 'read it again',
  })
}
