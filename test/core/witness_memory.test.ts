import { memoryWitnessStore } from '../../src/log/mod.ts'
import { witnessStoreSuite } from '../suites/witness_store_suite.ts'

witnessStoreSuite('memory store', () => {
  const store = memoryWitnessStore()
  return { open: () => store, remove: () => {} }
})
