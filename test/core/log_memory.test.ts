import { memoryLogStorage } from '../../src/log/mod.ts'
import { logStorageSuite } from '../suites/log_storage_suite.ts'

logStorageSuite('memory', () => {
  const storage = memoryLogStorage()
  return { open: () => storage, remove: () => {} }
})
