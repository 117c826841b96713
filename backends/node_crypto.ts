/**
 * The platform's own hashes and key derivation, through `node:crypto` (Deno, Node and Bun have it).
 *
 * @module
 */
import { createHash, type Hash, scrypt } from 'node:crypto'
import { type Bytes, owned } from '../src/bytes.ts'
import { type DigestAlgorithm, type Hasher, portableHasher } from '../src/crypto/mod.ts'
import { SignetError } from '../src/errors.ts'

/** What OpenSSL calls each digest. */
const OPENSSL_NAMES: Readonly<Record<DigestAlgorithm, string>> = {
  sha256: 'sha256',
  blake2b: 'blake2b512',
  blake3: 'blake3',
}

/**
 * The runtime's hash under OpenSSL's name, or `undefined` where it has none. Tried, not looked up:
 * Bun makes `blake2b512` and leaves it out of `getHashes()`.
 */
function platformHash(algorithm: DigestAlgorithm): Hash | undefined {
  try {
    return createHash(OPENSSL_NAMES[algorithm])
  } catch {
    return undefined
  }
}

/**
 * Hashes as fast as the platform can. BLAKE3, which no runtime has today, falls back to the
 * portable hasher: seals name it seldom, and a WebAssembly package for it would be loaded by all.
 */
export function nodeHasher(algorithm: DigestAlgorithm): Hasher | Promise<Hasher> {
  const hash = platformHash(algorithm)
  if (hash === undefined) return portableHasher(algorithm)
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => owned(new Uint8Array(hash.digest())),
  }
}

/** The cost of scrypt (RFC 7914 §2) and the length wanted. */
export interface ScryptParameters {
  /** CPU and memory cost, a power of two above 1. The memory taken is 128·N·r bytes. */
  readonly N: number
  /** Block size. */
  readonly r: number
  /** Parallelisation. */
  readonly p: number
  /** Bytes of key wanted. */
  readonly length: number
}

/** RFC 7914 §2 and §6. Checked here, for runtimes take a 0 for their default. */
function isScrypt({ N, r, p, length }: ScryptParameters): boolean {
  return [N, r, p, length].every((value) => Number.isSafeInteger(value) && value > 0) &&
    N > 1 && Number.isInteger(Math.log2(N)) && Math.log2(N) < 16 * r && r * p < 2 ** 30 &&
    length < 2 ** 31
}

/**
 * scrypt (RFC 7914) off the calling thread. The memory limit follows from the parameters, so
 * **the caller bounds them** before they get here when they come from a file.
 *
 * Throws `kdf_refused` for parameters that are none, or that the platform does not take.
 */
export function nodeScrypt(
  password: Uint8Array,
  salt: Uint8Array,
  parameters: ScryptParameters,
): Promise<Bytes> {
  const { N, r, p, length } = parameters
  const refused = (cause: unknown) =>
    new SignetError(
      'kdf_refused',
      `scrypt does not take N=${N}, r=${r}, p=${p}, length=${length}`,
      {
        cause,
      },
    )
  if (!isScrypt(parameters)) return Promise.reject(refused(undefined))
  // OpenSSL counts 128·r·(N + p + 2) bytes and a little; its default limit of 32 MiB is too low.
  const maxmem = 128 * r * (N + p + 2) + 4096
  return new Promise((resolve, reject) => {
    try {
      scrypt(
        password,
        salt,
        length,
        { N, r, p, maxmem },
        (error, key) => error ? reject(refused(error)) : resolve(owned(new Uint8Array(key))),
      )
    } catch (cause) {
      reject(refused(cause))
    }
  })
}
