/** The interop room: formats of other systems, read and, where asked, written. */
export type { ForeignLog, LineFault } from './audit_lines.ts'
export {
  formatGrantexBundle,
  GRANTEX_START,
  grantexAuditKey,
  type GrantexAuditOptions,
  type GrantexBundle,
  type GrantexChain,
  type GrantexClaims,
  type GrantexDialect,
  type GrantexEvent,
  type GrantexFileLayout,
  grantexFileLayout,
  type GrantexFileOptions,
  grantexKeys,
  type GrantexLine,
  type GrantexTrust,
  mintGrantexToken,
  openGrantexFile,
  parseGrantexBundle,
  PythonFloat,
  type PythonJson,
  readGrantexAudit,
  sealGrantexFile,
  type VerifiedGrantexToken,
  verifyGrantexBundle,
  type VerifyGrantexBundleOptions,
  verifyGrantexToken,
  type VerifyGrantexTokenOptions,
  writeGrantexEntry,
} from './grantex/mod.ts'
export { isTrusthandoff, readTrusthandoffEvents } from './trusthandoff_events.ts'
export { type Manifest, type ManifestFile } from './modelseal_json.ts'
export {
  compareManifest,
  type CompareManifestOptions,
  importRegistry,
  parseSignedManifest,
  type SignedManifest,
  type UnverifiedClaims,
  type VerifiedManifest,
  verifyManifest,
  type VerifyManifestOptions,
} from './modelseal.ts'
export { migrateModel, type MigrateOptions, type Migration } from './migrate.ts'
