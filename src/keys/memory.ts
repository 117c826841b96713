/** Keys in memory: for tests, for programs that get their keys elsewhere, and as the pattern of a provider. */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import {
  checkPair,
  type EngineName,
  generateSigner,
  type RawKeyPair,
  rawSigner,
} from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import { type Key, keyOf } from './key.ts'
import type { KeyProvider } from './provider.ts'
import { publicKey } from './public_key.ts'

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
  const keys = new Map<string, Key>()
  // Each opening gets a handle of its own, so that closing one leaves the others open.
  const handle = (key: Key) => keyOf(key.publicKey, { modes: key.modes, sign: key.sign })
  return {
    scheme: 'memory',
    algorithms: Object.values(ALGORITHMS),
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async open(uri) {
      const key = keys.get(uri.rest)
      if (key === undefined) {
        throw new SignetError('key_not_found', `no key ${JSON.stringify(uri.rest)} in memory`)
      }
      return handle(key)
    },
    async generate(uri, algorithm) {
      if (keys.has(uri.rest)) {
        throw new SignetError('file_exists', `there is a key ${JSON.stringify(uri.rest)} already`)
      }
      const key = await generateKey(algorithm, options)
      keys.set(uri.rest, key)
      return handle(key)
    },
  }
}
