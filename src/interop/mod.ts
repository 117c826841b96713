/** The interop room: formats of other systems, read. */
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
