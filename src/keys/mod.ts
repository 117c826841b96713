/** The keys room: handles that sign, keys that verify, where they come from and how they are written. */
export {
  insecureToClearPem,
  type ReadKeyOptions,
  readPrivateKey,
  type ReadPrivateKeyOptions,
  readPublicKeys,
  toEncryptedPem,
  toPublicPem,
} from './encoding.ts'
export { fromJwk, type Jwk, type JwkContent, toJwk } from './jwk.ts'
export {
  abortable,
  checkAborted,
  type Key,
  keyOf,
  type KeySigner,
  signMessage,
  type SignOptions,
} from './key.ts'
export {
  formatJwks,
  formatKeyset,
  type Keyset,
  type KeysetMember,
  type KeyStatus,
  memberFromJson,
  memberToJson,
  newKeyset,
  parseKeyset,
  primary,
  refusal,
  revoke,
  rotate,
} from './keyset.ts'
export { generateKey, importKey, memoryKeys, type MemoryOptions } from './memory.ts'
export {
  decryptPkcs8,
  encryptPkcs8,
  type Pbes2Options,
  type Scrypt,
  type ScryptCost,
} from './pbes2.ts'
export { fromPem, type PemBlock, pemDigest, toPem } from './pem.ts'
export {
  type KeyProvider,
  type Keyring,
  keyring,
  lazyKeys,
  type ListedKey,
  requireAlgorithm,
} from './provider.ts'
export { type PublicKey, publicKey, type PublicKeyOptions, thumbprint } from './public_key.ts'
export { type KeyUri, parseKeyUri, percentBytes, toPercent, uriAttributes } from './uri.ts'
export {
  checkSecret,
  contextBytes,
  type Kek,
  memoryKek,
  unwrapRefused,
  type WrapContext,
} from './kek.ts'
export { compositeKey, compositeKeys } from './composite.ts'
export { unwrapKey, wrapKey, type WrappedFiles, wrappedKeys } from './wrapped.ts'
export {
  type DataKeyLine,
  type DataKeyOptions,
  type DataKeyRecord,
  type DataKeys,
  dataKeys,
  type DataKeyScope,
  type DataKeyState,
  type DataKeyStore,
  memoryDataKeys,
} from './data_keys.ts'
