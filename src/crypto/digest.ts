/**
 * Streaming digests behind one narrow port. WebCrypto has no incremental digest, so the portable
 * default is `@noble/hashes`, loaded when first needed; `backends/node_crypto.ts` brings the
 * platform's own hasher, some eight times as fast.
 */
import type { Bytes } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'

/** Digests that seals may use; `blake2b` is the 512-bit form (OMS algorithm registry). */
export type DigestAlgorithm = 'sha256' | 'blake2b' | 'blake3'

/** Length of each digest, in bytes. */
export const DIGEST_BYTES: Readonly<Record<DigestAlgorithm, number>> = {
  sha256: 32,
  blake2b: 64,
  blake3: 32,
}

/** One running digest. After {@link Hasher.digest} it must not be used again. */
export interface Hasher {
  /** Takes the next bytes in; the buffer may be reused by the caller afterwards. */
  update(bytes: Uint8Array): void
  /** The digest over everything taken in. */
  digest(): Bytes
}

/** Makes a {@link Hasher}; may load code the first time. */
export type HasherFactory = (algorithm: DigestAlgorithm) => Hasher | Promise<Hasher>

/** The portable hasher: slow, and the same everywhere. */
export async function portableHasher(algorithm: DigestAlgorithm): Promise<Hasher> {
  const load = {
    sha256: async () => (await import('@noble/hashes/sha2.js')).sha256.create(),
    blake2b: async () => (await import('@noble/hashes/blake2.js')).blake2b.create(),
    blake3: async () => (await import('@noble/hashes/blake3.js')).blake3.create({}),
  }
  // Names of digests come out of other people's files.
  if (!Object.hasOwn(load, algorithm)) {
    throw new SignetError('algorithm_unsupported', `unknown digest ${quoted(algorithm)}`)
  }
  const state = await load[algorithm]()
  return {
    update: (bytes) => void state.update(bytes),
    digest: () => state.digest() as Bytes,
  }
}
