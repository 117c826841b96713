import { memoryKeys } from '../../src/keys/mod.ts'
import { keyProviderSuite } from '../suites/key_provider_suite.ts'
import { modesHere } from '../suites/modes_here.ts'

for (const engine of [undefined, 'noble'] as const) {
  keyProviderSuite({
    name: `memoryKeys() on ${engine ?? 'the chosen engine'}`,
    fixture: () => {
      const uri = (label: string) => `memory:${label}`
      return Promise.resolve({ provider: memoryKeys({ engine }), uri })
    },
    algorithms: await modesHere(engine),
    malformedUris: ['memory:'],
  })
}
