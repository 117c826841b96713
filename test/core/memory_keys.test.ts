import { type AlgorithmName, ALGORITHMS, type SigningMode } from '../../src/algorithms.ts'
import { selfTest } from '../../src/crypto/mod.ts'
import { memoryKeys } from '../../src/keys/mod.ts'
import { keyProviderSuite } from '../suites/key_provider_suite.ts'

/** The modes of keys in memory: WebCrypto takes messages only, and only noble's have the others. */
const NOBLE: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>> = {
  'Ed25519': ['message'],
  'ES256': ['message', 'digest'],
  'ES384': ['message', 'digest'],
  'ES512': ['message', 'digest'],
  'ML-DSA-65': ['message', 'external-mu'],
  'ML-DSA-65-Ed25519': ['message', 'digest'],
}
const RSA: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>> = {
  'RS256': ['message'],
  'PS256': ['message'],
}

keyProviderSuite({
  name: 'memoryKeys() on noble',
  fixture: () => Promise.resolve(fixture('noble')),
  algorithms: NOBLE,
  malformedUris: ['memory:'],
})

// Which engine serves differs by runtime; what it serves then does not.
const chosen: Partial<Record<AlgorithmName, readonly SigningMode[]>> = {}
for (const algorithm of Object.values(ALGORITHMS)) {
  const { name, family } = algorithm
  const native = family === 'rsa' ||
    family !== 'composite' && (await selfTest(algorithm)).engine?.name === 'native'
  chosen[name] = native ? ['message'] : { ...NOBLE, ...RSA }[name]!
}

keyProviderSuite({
  name: 'memoryKeys()',
  fixture: () => Promise.resolve(fixture()),
  algorithms: chosen,
  malformedUris: ['memory:'],
})

function fixture(engine?: 'noble') {
  return { provider: memoryKeys({ engine }), uri: (label: string) => `memory:${label}` }
}
