/** What a witness remembers, in a SQLite database: one row for each log, replaced only if it is as expected. */
import type { WitnessStore } from '../src/log/mod.ts'
import { attemptOn, openDatabase } from './sqlite.ts'

const SCHEMA = `
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS checkpoint (origin TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
`

/**
 * A witness's store in a database file, which is made if need be. Several processes may share it.
 * Errors: `io_failed`.
 */
export function sqliteWitnessStore(path: string): WitnessStore & { close(): void } {
  const attempt = attemptOn(path, 'the database of the witness')
  const database = attempt(() => openDatabase(path, SCHEMA))
  // Of a database of somebody else's, with a table of this name, they fail.
  const prepare = (sql: string) => attempt(() => database.prepare(sql))
  const get = prepare('SELECT note FROM checkpoint WHERE origin = ?')
  // Each is one statement, so one transaction: nothing comes between looking and writing.
  const add = prepare('INSERT INTO checkpoint VALUES (?, ?) ON CONFLICT DO NOTHING')
  const replace = prepare('UPDATE checkpoint SET note = ?3 WHERE origin = ?1 AND note = ?2')
  return {
    // deno-lint-ignore require-await -- a fault must reject, not throw
    load: async (origin) => attempt(() => get.get(origin)?.note as string | undefined),
    // deno-lint-ignore require-await -- a fault must reject, not throw
    swap: async (origin, before, after) =>
      attempt(() => {
        const { changes } = before === undefined
          ? add.run(origin, after)
          : replace.run(origin, before, after)
        return Number(changes) === 1
      }),
    close: () => database.close(),
  }
}
