/** What our SQLite databases have in common: opening, transactions, and faults as errors of one code. */
import { DatabaseSync } from 'node:sqlite'
import { isSignetError, SignetError } from '../src/errors.ts'

/** Opens a database file, which is made if need be, and runs its settings and schema. */
export function openDatabase(path: string, schema: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    database.exec(schema)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Takes the right to write at the start, so that what was read is still so when it writes. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** Runs work on a database, such as `the database of the log`. What fails there is `io_failed`. */
export type Attempt = <T>(work: () => T) => T

/** An {@link Attempt} on the database at a path. Errors of our own pass. */
export function attemptOn(path: string, what: string): Attempt {
  return (work) => {
    try {
      return work()
    } catch (cause) {
      if (isSignetError(cause)) throw cause
      throw new SignetError('io_failed', `${what} does not work`, { where: path, cause })
    }
  }
}
