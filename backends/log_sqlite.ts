/**
 * A log in one SQLite database: resources and journal as two tables. The writer's lock is a file of its
 * own beside it (`….lock`), so that readers of other processes are not locked out. Write-ahead logging
 * with `synchronous = FULL`: a commit is one fsync.
 */
import type { DatabaseSync } from 'node:sqlite'
import { type Bytes, owned } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import type { Change, LogStorage, LogWriter } from '../src/log/mod.ts'
import { attemptOn, openDatabase, transaction } from './sqlite.ts'
import { takeLock } from './sqlite_lock.ts'

export type { Bytes } from '../src/bytes.ts'
export type { Change, LogStorage, LogWriter } from '../src/log/mod.ts'

const SCHEMA = `
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA secure_delete = ON;
  CREATE TABLE IF NOT EXISTS resource (path TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS journal (number INTEGER PRIMARY KEY AUTOINCREMENT, record BLOB NOT NULL);
`

const FAULTY = 'the database of the log'

/** A log's storage in a database file, which is made if need be. `close` lets go of the file. */
export function sqliteLogStorage(path: string): LogStorage & { close(): void } {
  const attempt = attemptOn(path, FAULTY)
  let reading: DatabaseSync | undefined
  return {
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async read(resource) {
      return attempt(() => {
        reading ??= openDatabase(path, SCHEMA)
        const row = reading.prepare('SELECT bytes FROM resource WHERE path = ?').get(resource)
        return row === undefined ? undefined : owned(new Uint8Array(row.bytes as Uint8Array))
      })
    },
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async lock() {
      const lock = takeLock(`${path}.lock`)
      try {
        return attempt(() => sqliteWriter(path, openDatabase(path, SCHEMA), lock.release))
      } catch (error) {
        lock.release()
        throw error
      }
    },
    close() {
      reading?.close()
      reading = undefined
    },
  }
}

function sqliteWriter(path: string, database: DatabaseSync, unlock: () => void): LogWriter {
  let open = true
  const rows = database.prepare('SELECT record FROM journal ORDER BY number').all()
  const insert = database.prepare('INSERT INTO journal (record) VALUES (?)')
  const newest = database.prepare('SELECT max(number) AS number FROM journal')
  const forget = database.prepare('DELETE FROM journal WHERE number <= ?')
  const put = database.prepare('INSERT OR REPLACE INTO resource (path, bytes) VALUES (?, ?)')
  const remove = database.prepare(
    "DELETE FROM resource WHERE path = ?1 OR substr(path, 1, length(?1) + 1) = ?1 || '/'",
  )
  const check = () => {
    if (!open) throw new SignetError('log_closed', 'the writer gave its lock back')
  }
  const write = ({ path, bytes }: Change) =>
    bytes === undefined ? remove.run(path) : put.run(path, bytes)
  return {
    records: rows.map((row) => owned(new Uint8Array(row.record as Uint8Array))),
    cut: 0, // SQLite undoes what was torn by itself
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async append(record: Bytes) {
      check()
      try {
        insert.run(record)
      } catch (cause) {
        // A statement that failed is rolled back whole; a failed fsync is not told apart from that.
        throw new SignetError('log_not_durable', 'a write to the log failed and was undone', {
          where: path,
          cause,
        })
      }
    },
    async publish(changes) {
      changes.catch(() => {}) // it may fail before anybody looks at it
      check()
      const last = newest.get()?.number as number | null
      const all = await changes
      check()
      attemptOn(path, FAULTY)(() =>
        transaction(database, () => {
          all.forEach(write)
          if (last !== null) forget.run(last)
        })
      )
    },
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async release() {
      if (!open) return
      open = false
      database.close()
      unlock()
    },
  }
}
