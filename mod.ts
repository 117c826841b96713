/**
 * Signet: prove whose key, what was sealed, who may do what, and what was done.
 *
 * This is the portable core: it runs on Deno, Node, Bun, in workers and in browsers, and touches neither disk
 * nor network. What does, is in `backends/`.
 *
 * ```ts
 * import { generateKey, sealModel, streamTree, trustKeys, verifyModel } from '@signet/signet'
 * import { ALGORITHMS } from '@signet/signet'
 *
 * const model = streamTree(new Map([['weights.bin', new Uint8Array(1024)]]))
 * const key = await generateKey(ALGORITHMS['ES256'])
 * const { bundles } = await sealModel(model, [{ key }], { name: 'tiny' })
 *
 * const seal = { name: 'model.sig', bytes: bundles[0]! }
 * const report = await verifyModel([seal], model, trustKeys(key.publicKey))
 * console.assert(report.ok && report.files[0]?.status === 'ok')
 * ```
 *
 * @module
 */
export {
  ERROR_KINDS,
  type ErrorCode,
  type ErrorKind,
  isSignetError,
  SignetError,
} from './src/errors.ts'
export type { SignetErrorOptions } from './src/errors.ts'
export type { Bytes } from './src/bytes.ts'
export {
  canonicalBytes,
  canonicalize,
  type JsonObject,
  type JsonValue,
  parseJson,
  type ParseJsonOptions,
} from './src/json.ts'
export {
  type Algorithm,
  algorithm,
  type AlgorithmFamily,
  type AlgorithmName,
  ALGORITHMS,
  type SigningMode,
} from './src/algorithms.ts'
export {
  DIGEST_BYTES,
  type DigestAlgorithm,
  type EngineName,
  type Hasher,
  type HasherFactory,
  portableHasher,
  type RawKeyPair,
  type SigningInput,
} from './src/crypto/mod.ts'
export * from './src/keys/mod.ts'
export * from './src/certificates/mod.ts'
export * from './src/envelope/mod.ts'
export * from './src/log/mod.ts'
export * from './src/models/mod.ts'
export * from './src/grants/mod.ts'
export * from './src/interop/mod.ts'
