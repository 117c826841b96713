/** The crypto room: signatures behind one table, digests, key structures, and the runtime's self-test. */
export { COMPOSITE_LABEL, compositeMessage } from './composite.ts'
export { der, derInteger, derOid, DerReader, ecdsaFromDer, ecdsaToDer, TAG } from './der.ts'
export {
  DIGEST_BYTES,
  type DigestAlgorithm,
  type Hasher,
  type HasherFactory,
  portableHasher,
} from './digest.ts'
export {
  checkInput,
  type EngineName,
  type RawKeyPair,
  type RawSigner,
  type RawVerifier,
  type SigningInput,
} from './engine.ts'
export { mlDsaMu } from './mu.ts'
export { RSA_MEMBERS, rsaNumbers, rsaPrivateKey, rsaPublicKey } from './rsa.ts'
export { type SelfTest, selfTest } from './selftest.ts'
export {
  checkPair,
  derivePublic,
  type EngineOptions,
  generateRaw,
  generateSigner,
  rawSigner,
  rawVerifier,
} from './signatures.ts'
export { checkPublic, fromPkcs8, fromSpki, toPkcs8, toSpki, traditionalToPkcs8 } from './spki.ts'
