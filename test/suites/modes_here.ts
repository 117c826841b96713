/** What keys that this process holds itself can do: it differs by runtime, and by engine. */
import { type AlgorithmName, ALGORITHMS, type SigningMode } from '../../src/algorithms.ts'
import { selfTest } from '../../src/crypto/mod.ts'

/** Modes by algorithm. */
export type ModesByAlgorithm = Partial<Record<AlgorithmName, readonly SigningMode[]>>

/**
 * The modes of in-process keys: WebCrypto takes messages only; noble takes whatever the algorithm allows,
 * and has no RSA; a composite key hashes by itself on either.
 */
export async function modesHere(engine?: 'noble'): Promise<ModesByAlgorithm> {
  const modes: ModesByAlgorithm = {}
  for (const algorithm of Object.values(ALGORITHMS)) {
    const { name, family } = algorithm
    if (family === 'composite') modes[name] = algorithm.modes
    else if (engine === 'noble') {
      if (family !== 'rsa') modes[name] = algorithm.modes
    } else {
      const isNative = (await selfTest(algorithm)).engine?.name === 'native'
      modes[name] = isNative ? ['message'] : algorithm.modes
    }
  }
  return modes
}
