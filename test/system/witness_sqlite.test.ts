import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { sqliteWitnessStore } from '../../backends/witness_sqlite.ts'
import { witnessStoreSuite } from '../suites/witness_store_suite.ts'
import { inTemp } from './_temp.ts'

witnessStoreSuite('SQLite store', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-witness-'))
  const opened: { close(): void }[] = []
  return {
    open() {
      const store = sqliteWitnessStore(join(folder, 'witness.db'))
      opened.push(store)
      return store
    },
    remove() {
      for (const store of opened) store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

test('a database of somebody else is io_failed', () =>
  inTemp((folder) => {
    const path = join(folder, 'other.db')
    const database = new DatabaseSync(path)
    database.exec('CREATE TABLE checkpoint (x)')
    database.close()
    assert.throws(() => sqliteWitnessStore(path), { code: 'io_failed' })
  }))
