// deno-lint-ignore-file require-await -- a fault must reject, not throw
/**
 * The gateway's store in one SQLite database. Write-ahead logging with `synchronous = FULL`: a commit is one fsync, and
 * what was committed survives a power cut. Several processes may share the file.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { SignetError } from '../src/errors.ts'
import {
  type Change,
  fitting,
  type GatewayStore,
  keysOf,
  type Kind,
  NONCE_SLACK,
  type Records,
  type StatusHead,
  type Stored,
  type StoreOptions,
} from '../src/gateway/mod.ts'
import { attemptOn, openDatabase, transaction } from './sqlite.ts'

const SETTINGS = `
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA secure_delete = ON;
`

/** Each takes the schema one version further. What was released is never changed, only added to. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE record (
    kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
  ) WITHOUT ROWID;
  CREATE TABLE record_key (
    kind TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, key, id)
  ) WITHOUT ROWID;
  CREATE INDEX record_key_id ON record_key (kind, id);
  CREATE TABLE entry (
    log TEXT NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, code TEXT, at INTEGER NOT NULL,
    PRIMARY KEY (log, number)
  ) WITHOUT ROWID;
  CREATE TABLE status_list (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, version INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE status_value (
    list TEXT NOT NULL, number INTEGER NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (list, number)
  ) WITHOUT ROWID;
  CREATE TABLE nonce (id TEXT PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX nonce_expires ON nonce (expires);
`,
]

/** Most nonces that are forgotten along with one that is remembered. */
const SWEEP = 100

/**
 * A store in a database file, which is made if need be; keep its folder to yourself. `close` lets go of the file.
 * Errors: `io_failed`; `store_version` if a later version of the module wrote it.
 */
export function sqliteGatewayStore(
  path: string,
  options: StoreOptions = {},
): GatewayStore & { close(): void } {
  const { now = () => Math.floor(Date.now() / 1000) } = options
  const attempt = attemptOn(path, 'the database of the gateway')
  const database = attempt(() => open(path))
  const statements = new Map<string, StatementSync>()
  const sql = (text: string) => {
    let statement = statements.get(text)
    if (statement === undefined) statements.set(text, statement = database.prepare(text))
    return statement
  }
  const all = <T>(work: () => T): T => attempt(() => transaction(database, work))
  return {
    records: {
      get: async (kind, id) =>
        attempt(() => {
          const row = sql('SELECT version, body FROM record WHERE kind = ? AND id = ?').get(
            kind,
            id,
          )
          return row && stored<typeof kind>(row)
        }),
      list: async (kind, { key, after = '', limit = 100 } = {}) =>
        attempt(() => {
          const rows = key === undefined
            ? sql('SELECT version, body FROM record WHERE kind = ? AND id > ? ORDER BY id LIMIT ?')
              .all(kind, after, limit)
            : sql(
              `SELECT version, body FROM record_key JOIN record USING (kind, id)
               WHERE kind = ? AND key = ? AND id > ? ORDER BY id LIMIT ?`,
            ).all(kind, key, after, limit)
          return rows.map((row) => stored<typeof kind>(row))
        }),
    },
    logs: {
      size: async (log) => attempt(() => sizeOf(sql, log)),
      entries: async (log, from, limit, maxBytes) =>
        attempt(() =>
          sql(
            'SELECT bytes, code, at FROM entry WHERE log = ? AND number >= ? ORDER BY number LIMIT ?',
          ).all(log, from, pageOf(sql, log, from, limit, maxBytes)).map((row) => ({
            bytes: new Uint8Array(row.bytes as Uint8Array),
            code: (row.code ?? undefined) as string | undefined,
            at: row.at as number,
          }))
        ),
    },
    status: {
      allocate: async (list) =>
        attempt(() =>
          Number(
            sql(
              `INSERT INTO status_list VALUES (?, 1, 0)
               ON CONFLICT DO UPDATE SET size = size + 1 RETURNING size`,
            ).get(list)!.size,
          ) - 1
        ),
      head: async (list) => attempt(() => headOf(sql, list)),
      read: async (list) =>
        all(() => {
          const rows = sql('SELECT number, value FROM status_value WHERE list = ?').all(list)
          return {
            ...headOf(sql, list),
            values: new Map(rows.map((row) => [Number(row.number), Number(row.value)])),
          }
        }),
    },
    nonces: {
      insert: async (id, expires) =>
        all(() => {
          sql(
            'DELETE FROM nonce WHERE id IN (SELECT id FROM nonce WHERE expires < ? LIMIT ?)',
          ).run(now() - NONCE_SLACK, SWEEP)
          const { changes } = sql('INSERT INTO nonce VALUES (?, ?) ON CONFLICT DO NOTHING')
            .run(id, expires)
          return Number(changes) === 1
        }),
    },
    commit: async (changes) => all(() => changes.forEach((change) => apply(sql, change))),
    close: () => {
      statements.clear()
      database.close()
    },
  }
}

type Sql = (text: string) => StatementSync

function open(path: string): DatabaseSync {
  const database = openDatabase(path, SETTINGS)
  try {
    transaction(database, () => migrate(database, path))
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function migrate(database: DatabaseSync, path: string): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version)
  if (version > MIGRATIONS.length) {
    throw new SignetError('store_version', 'a later version of signet wrote the database', {
      where: path,
      remedy: 'use that version',
    })
  }
  for (const migration of MIGRATIONS.slice(version)) database.exec(migration)
  database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`)
}

function apply(sql: Sql, change: Change): void {
  if ('status' in change) return setStatus(sql, change)
  if ('append' in change) return append(sql, change)
  const [kind, id] = 'put' in change ? [change.put, change.record.id] : [change.remove, change.id]
  const row = sql('SELECT version FROM record WHERE kind = ? AND id = ?').get(kind, id)
  if (Number(row?.version ?? 0) !== change.version) throw conflict()
  sql('DELETE FROM record_key WHERE kind = ? AND id = ?').run(kind, id)
  if ('remove' in change) {
    sql('DELETE FROM record WHERE kind = ? AND id = ?').run(kind, id)
    return
  }
  sql('INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)')
    .run(kind, id, change.version + 1, JSON.stringify(change.record))
  for (const key of keysOf(kind, change.record as never)) {
    sql('INSERT INTO record_key VALUES (?, ?, ?)').run(kind, key, id)
  }
}

function append(sql: Sql, change: Extract<Change, { append: string }>): void {
  if (sizeOf(sql, change.append) !== change.size) throw conflict()
  const insert = sql('INSERT INTO entry VALUES (?, ?, ?, ?, ?)')
  change.entries.forEach(({ bytes, code, at }, i) =>
    insert.run(change.append, change.size + i, bytes, code ?? null, at)
  )
}

function setStatus(sql: Sql, { status, index, value }: Extract<Change, { status: string }>): void {
  sql(
    'INSERT INTO status_list VALUES (?, 0, 1) ON CONFLICT DO UPDATE SET version = version + 1',
  ).run(status)
  if (value === 0) {
    sql('DELETE FROM status_value WHERE list = ? AND number = ?').run(status, index)
  } else sql('INSERT OR REPLACE INTO status_value VALUES (?, ?, ?)').run(status, index, value)
}

function headOf(sql: Sql, list: string): StatusHead {
  const row = sql('SELECT size, version FROM status_list WHERE name = ?').get(list)
  return { size: Number(row?.size ?? 0), version: Number(row?.version ?? 0) }
}

/** How many entries are read at once. Their sizes are known without reading them. */
function pageOf(sql: Sql, log: string, from: number, limit: number, maxBytes?: number): number {
  if (maxBytes === undefined) return limit
  const rows = sql(
    'SELECT length(bytes) AS size FROM entry WHERE log = ? AND number >= ? ORDER BY number LIMIT ?',
  ).all(log, from, limit)
  return fitting(rows.map(({ size }) => Number(size)), maxBytes)
}

/** Numbers have no gaps: entries are only appended, at the end. */
function sizeOf(sql: Sql, log: string): number {
  return Number(sql('SELECT max(number) + 1 AS size FROM entry WHERE log = ?').get(log)?.size ?? 0)
}

function stored<K extends Kind>(row: Record<string, unknown>): Stored<Records[K]> {
  return { record: JSON.parse(row.body as string), version: Number(row.version) }
}

function conflict(): SignetError {
  return new SignetError('store_conflict', 'the record is not what was read', {
    remedy: 'read it again',
  })
}
