import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { logStorageSuite } from '../suites/log_storage_suite.ts'

logStorageSuite('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-log-'))
  return {
    open: () => fileLogStorage(join(folder, 'log')),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
})
