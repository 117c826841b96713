/**
 * Records of data keys in a SQLite database: one row for each line, replaced only if it is as it was read.
 * What is destroyed is overwritten in the file (`secure_delete`), and its rollback journal goes with the
 * transaction: there is no write-ahead log that would keep it. What disks and backups keep is beyond this.
 */
import * as v from 'valibot'
import { SignetError } from '../src/errors.ts'
import type { DataKeyLine, DataKeyRecord, DataKeyScope, DataKeyStore } from '../src/keys/mod.ts'
import { attemptOn, openDatabase } from './sqlite.ts'

export type {
  DataKeyLine,
  DataKeyRecord,
  DataKeyScope,
  DataKeyState,
  DataKeyStore,
} from '../src/keys/mod.ts'

const SCHEMA = `
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = DELETE;
  PRAGMA synchronous = EXTRA;
  PRAGMA secure_delete = ON;
  CREATE TABLE IF NOT EXISTS data_keys (
    tenant TEXT NOT NULL,
    purpose TEXT NOT NULL,
    revision INTEGER NOT NULL,
    records TEXT NOT NULL,
    PRIMARY KEY (tenant, purpose)
  ) WITHOUT ROWID, STRICT;
`

const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const RecordSchema = v.strictObject({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  version: v.pipe(Count, v.minValue(1)),
  state: v.picklist(['active', 'decrypt-only', 'destroyed']),
  kek: v.string(),
  wrapped: v.optional(v.string()),
  created: Count,
  destroyed: v.optional(Count),
})

/**
 * A store in a database file, which is made if need be; processes may share it. Errors: `io_failed`, also
 * for records that are none.
 */
export function sqliteDataKeys(path: string): DataKeyStore & { close(): void } {
  const attempt = attemptOn(path, 'the database of data keys')
  const database = attempt(() => openDatabase(path, SCHEMA))
  // Of a database of somebody else's, with a table of this name, they fail.
  const prepare = (sql: string) => attempt(() => database.prepare(sql))
  const get = prepare(
    'SELECT revision, records FROM data_keys WHERE tenant = ? AND purpose = ?',
  )
  // Each is one statement, so one transaction: nothing comes between looking and writing.
  const add = prepare('INSERT INTO data_keys VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING')
  const replace = prepare(
    'UPDATE data_keys SET revision = revision + 1, records = ?4' +
      ' WHERE tenant = ?1 AND purpose = ?2 AND revision = ?3',
  )
  return {
    // deno-lint-ignore require-await -- a fault must reject, not throw
    load: async (scope) =>
      attempt((): DataKeyLine => {
        const row = get.get(...keyOf(scope))
        if (row === undefined) return { revision: '0', records: [] }
        return { revision: String(row.revision), records: recordsOf(row.records) }
      }),
    // deno-lint-ignore require-await -- a fault must reject, not throw
    save: async (scope, revision, records) =>
      attempt(() => {
        if (!/^[0-9]{1,15}$/.test(revision)) return false
        const text = JSON.stringify(records)
        const { changes } = revision === '0'
          ? add.run(...keyOf(scope), text)
          : replace.run(...keyOf(scope), Number(revision), text)
        return Number(changes) === 1
      }),
    close: () => database.close(),
  }
}

/** SQLite cuts a text at NUL, and two tenants must never be one. */
function keyOf({ tenant, purpose }: DataKeyScope): [string, string] {
  for (const text of [tenant, purpose]) {
    if (!text.isWellFormed() || text.includes('\0')) {
      throw new SignetError('encoding_invalid', 'tenant or purpose is no text')
    }
  }
  return [tenant, purpose]
}

function recordsOf(text: unknown): DataKeyRecord[] {
  return v.parse(v.array(RecordSchema), JSON.parse(String(text)))
}
