/** The log room: Merkle trees, checkpoints, proofs, policies, and the append-only log. */
export { checkAnchor, type LogAnchor, makeAnchor, memoryAnchor } from './anchor.ts'
export {
  ED25519_COSIGNATURE,
  formatTreeHead,
  LOG_SCHEMES,
  ML_DSA_44_COSIGNATURE,
  openCheckpoint,
  parseTreeHead,
  type TreeHead,
  type VerifiedCheckpoint,
  WITNESS_SCHEMES,
} from './checkpoint.ts'
export {
  commitments,
  type LogEntry,
  type LogEvent,
  type Opening,
  parseEntry,
  parseOpening,
  verifyOpening,
} from './entry.ts'
export { type Appended, Log, type OpenLogOptions, type Recovery } from './log.ts'
export { openLog } from './open_log.ts'
export { memoryLogStorage } from './memory.ts'
export {
  consistencyRanges,
  defaultHasher,
  HASH_BYTES,
  inclusionRanges,
  portableSha256,
  type Range,
  rootOf,
  type Sha256,
  type TreeHasher,
  treeHasher,
  verifyConsistency,
  verifyInclusion,
  verifySubtreeConsistency,
  verifySubtreeInclusion,
} from './merkle.ts'
export {
  checkPolicy,
  cosignersOf,
  type LogPolicy,
  parsePolicy,
  type PolicyGroup,
  type PolicyWitness,
  simplePolicy,
} from './policy.ts'
export {
  formatProof,
  type LogProof,
  parseProof,
  verifyProof,
  type VerifyProofOptions,
} from './proof.ts'
export type { Change, LogStorage, LogWriter } from './storage.ts'
export {
  decodeBundle,
  decodeTile,
  encodeBundle,
  indexPath,
  MAX_ENTRY_BYTES,
  parseTilePath,
  partialTile,
  TILE_WIDTH,
  type TileName,
  tilePath,
  widthAt,
} from './tile.ts'
export { type LogReader, LogView, type ViewOptions } from './view.ts'
export { openingPath } from './unpublished.ts'
export { exportRange, type VerifiedRange, verifyRange, type VerifyRangeOptions } from './range.ts'
export {
  type BundleChecker,
  bundleChecker,
  type BundleFault,
  type CheckOptions,
  type EntryBundleReport,
} from './bundle_report.ts'
export { type LogReport, verifyLog, type VerifyLogOptions } from './verify.ts'
export {
  type CosignOptions,
  memoryWitnessStore,
  requestCosignature,
  type WitnessedLog,
  witnessHandler,
  type WitnessOptions,
  type WitnessStore,
} from './witness.ts'
export { type PageEntries, pageEntries, type PageFacts, reportPage } from './page.ts'
