/** Keys in memory: for tests, for programs that get their keys elsewhere, and as the pattern of a provider. */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import {
  checkPair,
  type EngineName,
  generateSigner,
  type RawKeyPair,
  rawSigner,
} from '../crypto/mod.ts'
import { quoted, SignetError } from '../errors.ts'
import { abortable, checkAborted, type Key, keyOf } from './key.ts'
import { type KeyProvider, requireAlgorithm } from './provider.ts'
import { publicKey } from './public_key.ts'
import type { KeyUri } from './uri.ts'

/** Options of keys in memory. */
export interface MemoryOptions {
  /** Forces an engine past the self-test. For tests and comparisons. */
  readonly engine?: EngineName | undefined
}

/** A new key in memory. Its private half is not extractable where the platform's WebCrypto makes it. */
export async function generateKey(algorithm: Algorithm, options: MemoryOptions = {}): Promise<Key> {
  const made = await generateSigner(algorithm, options)
  return keyOf(await publicKey(algorithm, made.publicKey, options), made.signer)
}

/**
 * A key of raw halves, which are checked to belong together (`key_mismatch`). The caller's buffers
 * can be wiped afterwards; this module keeps no copy where WebCrypto holds the key.
 */
export async function importKey(
  algorithm: Algorithm,
  pair: RawKeyPair,
  options: MemoryOptions = {},
): Promise<Key> {
  await checkPair(algorithm, pair, options)
  const signer = await rawSigner(algorithm, pair, options)
  return keyOf(await publicKey(algorithm, pair.publicKey, options), signer)
}

/** The provider of `memory:NAME`: keys live as long as the provider. */
export function memoryKeys(options: MemoryOptions = {}): KeyProvider {
  const keys = new Map<string, Promise<Key>>()
  const algorithms = Object.values(ALGORITHMS).filter((entry) =>
    options.engine !== 'noble' || entry.family !== 'rsa'
  )
  // Each opening gets a handle of its own, so that closing one leaves the others open.
  const handle = (key: Key) => keyOf(key.publicKey, { modes: key.modes, sign: key.sign })
  const nameOf = ({ rest }: KeyUri) => {
    if (rest !== '') return rest
    throw new SignetError('uri_malformed', 'a key in memory has a name', { remedy: 'memory:NAME' })
  }
  return {
    scheme: 'memory',
    algorithms,
    async open(uri, { signal } = {}) {
      const name = nameOf(uri)
      checkAborted(signal)
      const key = await keys.get(name)?.catch(() => undefined)
      checkAborted(signal)
      if (key !== undefined) return handle(key)
      throw new SignetError('key_not_found', `no key ${quoted(name)} in memory`)
    },
    async generate(uri, algorithm, { signal } = {}) {
      const name = nameOf(uri)
      requireAlgorithm(algorithms, algorithm)
      checkAborted(signal)
      if (keys.has(name)) {
        throw new SignetError('file_exists', `there is a key ${quoted(name)} already`)
      }
      // Taken before the work begins: of two at once, one comes to be.
      const making = generateKey(algorithm, options)
      keys.set(name, making)
      try {
        return handle(await abortable(making, signal))
      } catch (error) {
        keys.delete(name)
        throw error
      }
    },
  }
}
