/** The crypto room: primitives behind one engine, digests, and the runtime's self-test. */
export {
  DIGEST_BYTES,
  type DigestAlgorithm,
  type Hasher,
  type HasherFactory,
  portableHasher,
} from './digest.ts'
