/** What Grantex writes and reads, in its own formats. */
export { type GrantexAuditOptions, readGrantexAudit } from './audit_read.ts'
export type { GrantexDialect } from './dialects.ts'
export {
  type GrantexClaims,
  grantexKeys,
  type GrantexTrust,
  mintGrantexToken,
  type VerifiedGrantexToken,
  verifyGrantexToken,
  type VerifyGrantexTokenOptions,
} from './token.ts'
export {
  GRANTEX_START,
  type GrantexChain,
  type GrantexEvent,
  type GrantexLine,
  writeGrantexEntry,
} from './audit_write.ts'
export { PythonFloat, type PythonJson } from './python_json.ts'
export {
  formatGrantexBundle,
  grantexAuditKey,
  type GrantexBundle,
  newGrantexAuditKey,
  parseGrantexBundle,
  verifyGrantexBundle,
  type VerifyGrantexBundleOptions,
} from './bundle.ts'
export {
  type GrantexFileLayout,
  grantexFileLayout,
  type GrantexFileOptions,
  openGrantexFile,
  sealGrantexFile,
} from './bundle_file.ts'
export {
  type EntryNote,
  grantexGenesis,
  type GrantexUpload,
  hashHolds,
  type JudgedUpload,
  judgeGrantexUpload,
  MAX_UPLOAD,
  parseGrantexUpload,
  type StoredChain,
  type UploadContext,
  type UploadedEntry,
  uploadedEntry,
} from './offline_sync.ts'
export { type OnlineAuditEntry, onlineAuditHash } from './online_audit.ts'
