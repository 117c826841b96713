import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteWitnessStore } from '../../backends/witness_sqlite.ts'
import { witnessStoreSuite } from '../suites/witness_store_suite.ts'

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
