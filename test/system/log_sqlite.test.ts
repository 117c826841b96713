import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteLogStorage } from '../../backends/log_sqlite.ts'
import { logStorageSuite } from '../suites/log_storage_suite.ts'

logStorageSuite('sqlite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-log-'))
  const opened: { close(): void }[] = []
  return {
    open() {
      const storage = sqliteLogStorage(join(folder, 'log.db'))
      opened.push(storage)
      return storage
    },
    remove() {
      for (const storage of opened) storage.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})
