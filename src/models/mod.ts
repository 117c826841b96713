/** The models room: seal a folder, verify it elsewhere, see what changed. */
export {
  certificateChainFor,
  type CertificateOptions,
  type CertificateSigner,
  verifyCertificateChain,
} from './certificate.ts'
export {
  type CompareOptions,
  compareTree,
  type Comparison,
  type Coverage,
  type FileReport,
  type FileStatus,
  type Sealed,
} from './compare.ts'
export type { DigestRequest, FileTree, TreeEntry } from './file_tree.ts'
export { DEFAULT_IGNORES, pathSet } from './ignore.ts'
export { checkDistinct, checkName, compareNames } from './name.ts'
export {
  addKey,
  addOwner,
  addPublisher,
  addRoot,
  mergeKeyset,
  type NewPublishers,
  newPublishers,
  type Publisher,
  type PublishersDocument,
  removeRoot,
  revisePublishers,
  type Revision,
  revokeKey,
  type Validity,
} from './publishers.ts'
export {
  formatPublishersState,
  MAX_PUBLISHERS_BYTES,
  parsePublishersState,
  PUBLISHERS_TYPE,
  type PublishersAnchor,
  type PublishersState,
  signPublishers,
  trustOf,
  unverifiedPublishers,
  type VerifiedPublishers,
  verifyPublishers,
  type VerifyPublishersOptions,
} from './publishers_file.ts'
export { trustFollowing } from './publishers_follow.ts'
export {
  type AcceptOptions,
  acceptPublishers,
  publishersInMemory,
  type PublishersMemory,
} from './publishers_memory.ts'
export { listTree, type Progress, type WorkOptions } from './scan.ts'
export { type Seal, type Sealer, sealModel, type SealOptions, SHARD_SIZE } from './seal.ts'
export {
  METADATA_NAMES,
  type ModelMetadata,
  type Resource,
  type Serialization,
  type Statement,
  STATEMENT_TYPE,
} from './statement.ts'
export { decodeStatement, type DecodeStatementOptions } from './statement_read.ts'
export { digestTree, type StreamFile, streamTree, type StreamTreeOptions } from './trees.ts'
export {
  keyHint,
  type Trust,
  type TrustedRoot,
  type TrustedSigner,
  trustKeys,
  trustKeyset,
} from './trust.ts'
export {
  type BundleInput,
  type BundleReport,
  type ModelReport,
  type Signer,
  unverifiedStatement,
  type VerifiedSeal,
  verifyModel,
  type VerifyModelOptions,
  verifySeal,
  type VerifySealOptions,
} from './verify.ts'
