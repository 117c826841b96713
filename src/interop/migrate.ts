/** From a seal of aumai-modelseal to one of ours: verified, read again from the tree, and sealed. */
import type { Bytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  type Comparison,
  DEFAULT_IGNORES,
  type FileTree,
  METADATA_NAMES,
  type ModelMetadata,
  pathSet,
  type Resource,
  type Seal,
  type Sealer,
  sealModel,
  type SealOptions,
  type Trust,
} from '../models/mod.ts'
import {
  compareManifest,
  type VerifiedManifest,
  verifyManifest,
  type VerifyManifestOptions,
} from './modelseal.ts'
import type { ManifestFile } from './modelseal_json.ts'

/** Options of {@link migrateModel}. */
export interface MigrateOptions extends
  VerifyManifestOptions,
  Pick<
    SealOptions,
    'ignore' | 'noDefaultIgnores' | 'insecureFollowSymlinks' | 'metadata' | 'onProgress' | 'signal'
  > {
  /** Name of the model. Default: that of the manifest. */
  readonly name?: string | undefined
  /** The old manifest's own path in the tree, if it lies there. The new seal leaves it out. */
  readonly own?: string | undefined
}

/** What {@link migrateModel} did. */
export interface Migration extends Seal {
  /** The old seal, verified. */
  readonly old: VerifiedManifest
  /** The old seal held against the tree; `ok`. */
  readonly comparison: Comparison
  /** Files that the old seal covered and the new one does not: `.gitattributes` and what else it ignores. */
  readonly uncovered: readonly string[]
}

/**
 * Verifies an old manifest and every file under it, and seals the same files anew. The name, version,
 * framework, author, description and time of the old manifest travel on as metadata, unless `metadata` says
 * otherwise; what it only claimed (`unverified`) does not.
 *
 * Each file is read once: the digests that were compared are those that are sealed. The old manifest itself
 * is left out of the new seal, and recorded there, so that it can be deleted or kept; so is what every seal
 * leaves out by default (`uncovered` names what that takes away; `noDefaultIgnores` keeps it).
 *
 * Errors: those of {@link verifyManifest} and `sealModel`; `content_differs` when the files are not what was
 * signed; `file_changed`; `usage_invalid` for metadata that is too long.
 */
export async function migrateModel(
  tree: FileTree,
  manifest: Uint8Array,
  trust: Trust,
  sealers: readonly Sealer[],
  options: MigrateOptions = {},
): Promise<Migration> {
  const { own, ignore = [], onProgress, signal } = options
  const old = await verifyManifest(manifest, trust, options)
  const metadata = { ...metadataOf(old), ...options.metadata }
  checkMetadata(metadata)
  const digested = remembering(tree)
  const comparison = await compareManifest(old, digested, { own, ignore, onProgress, signal })
  if (!comparison.ok) throw differs(comparison)
  const left = [...ignore, ...own === undefined ? [] : [own]]
  const seal = await sealModel(digested, sealers, {
    name: options.name ?? (old.manifest.name === '' ? 'model' : old.manifest.name),
    metadata,
    ignore: left,
    noDefaultIgnores: options.noDefaultIgnores,
    insecureFollowSymlinks: options.insecureFollowSymlinks,
    allowCaseCollisions: options.allowCaseCollisions,
    signal,
  })
  const out = pathSet([...left, ...options.noDefaultIgnores ? [] : DEFAULT_IGNORES])
  const signed = old.manifest.files.filter(({ path }) => path !== own)
  checkSame(signed.filter(({ path }) => !out(path)), seal.resources)
  const uncovered = signed.map(({ path }) => path).filter(out)
  return { ...seal, old, comparison, uncovered }
}

/** Files may come, go or change between the comparison and the seal. */
function checkSame(signed: readonly ManifestFile[], sealed: readonly Resource[]): void {
  const before = new Map(signed.map(({ path, digest }) => [path, digest]))
  const now = new Map(sealed.map(({ path, digest }) => [path, digest]))
  const path = [...before.keys(), ...now.keys()].find((one) => before.get(one) !== now.get(one))
  if (path === undefined) return
  throw new SignetError('file_changed', `${path} changed while the model was sealed anew`, {
    where: path,
  })
}

function metadataOf({ manifest }: VerifiedManifest): ModelMetadata {
  const { version, framework, author, description, created } = manifest
  const said = Object.entries({ version, framework, author, description, created })
  return Object.fromEntries(said.filter(([, text]) => text !== ''))
}

/** Readers of seals drop longer texts without a word. */
function checkMetadata(metadata: ModelMetadata): void {
  const long = METADATA_NAMES.find((name) => (metadata[name]?.length ?? 0) > 4096)
  if (long === undefined) return
  throw new SignetError('usage_invalid', `the model's ${long} has more than 4096 characters`, {
    remedy: 'give a shorter one',
  })
}

function differs({ files, counts }: Comparison): SignetError {
  const [first] = files.filter(({ status }) => status !== 'ok' && status !== 'ignored')
  const { changed, missing, extra } = counts
  return new SignetError(
    'content_differs',
    `the files are not what was signed: ${changed} changed, ${missing} missing, ${extra} extra`,
    {
      ...(first === undefined ? {} : { where: first.path }),
      remedy: 'restore the files, or leave what was added out with --ignore',
    },
  )
}

/** A tree that digests each whole file once. */
function remembering(tree: FileTree): FileTree {
  const digests = new Map<string, Promise<Bytes>>()
  return {
    parallel: tree.parallel,
    list: (options) => tree.list(options),
    digest(path, request) {
      if (request.start !== undefined || request.algorithm !== 'sha256') {
        return tree.digest(path, request)
      }
      const known = digests.get(path) ?? tree.digest(path, request)
      digests.set(path, known)
      return known
    },
  }
}
