import { memoryDataKeys } from '../../src/keys/mod.ts'
import { dataKeyStoreSuite } from '../suites/data_key_store_suite.ts'

dataKeyStoreSuite('memory store', () => {
  const store = memoryDataKeys()
  return { open: () => store, remove: () => {} }
})
