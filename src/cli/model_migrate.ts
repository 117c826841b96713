/** `signet model migrate`: from a seal of aumai-modelseal to one of ours. */
import { join } from 'node:path'
import type { Command } from 'commander'
import { MAX_BUNDLE_BYTES } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import type { VerifiedManifest } from '../interop/mod.ts'
import type { Key } from '../keys/mod.ts'
import {
  METADATA_NAMES,
  type ModelMetadata,
  type Trust,
  trustOf as trustOfPublishers,
} from '../models/mod.ts'
import { action, EXIT_CODES, several, wholeNumber, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { type OutFlags, outsOf, sealedText, sizeOf, writeBundles } from './model_outs.ts'
import { type ModelPaths, modelPaths } from './model_paths.ts'
import { comparisonLines } from './model_text.ts'
import { progressBar } from './progress.ts'
import { trustOfKeys } from './public_side.ts'
import { openPublishers, type OwnerFlags } from './publishers_file.ts'
import { printable, table } from './text.ts'

/** Where the old tool puts its seal. */
const OLD_MANIFEST = 'signed_manifest.json'

/** Loaded when needed: `signet model verify` must start fast. */
const interop = () => import('../interop/mod.ts')

interface MigrateFlags extends CommonFlags, OutFlags, OwnerFlags, ModelMetadata {
  readonly key?: string[]
  readonly signer?: string[]
  readonly publishers?: string
  readonly manifest?: string
  readonly name?: string
  readonly modelVersion?: string
  readonly ignore?: string[]
  readonly defaultIgnores: boolean
  readonly dryRun?: boolean
  readonly workers?: number
  readonly insecureFollowSymlinks?: boolean
  readonly allowCaseCollisions?: boolean
}

/** Adds the command to its group. */
export function migrateCommand(model: Command, context: CliContext): void {
  withKeys(model.command('migrate'))
    .description('verify a model that aumai-modelseal signed, and seal it anew')
    .argument('<model>', 'the folder')
    .option('--key <uri>', 'key to seal with; several make several bundles', several)
    .option('--signer <file>', "the old signer's public key: PEM, JWK, JWKS or keyset", several)
    .option('--publishers <file>', 'or a publishers file that has it')
    .option('--owner <file>', "the publishers file's owner, the first time", several)
    .option('--manifest <file>', `the old seal; default: ${OLD_MANIFEST} in the folder`)
    .option('--dry-run', 'verify the old seal and every file, and seal nothing')
    .option('--out <file>', 'where the bundle goes; default: model.sig in the folder', several)
    .option('--name <name>', 'name of the model; default: as it was')
    .option('--model-version <text>', 'its version; default: as it was')
    .option('--framework <text>', 'what it runs on; default: as it was')
    .option('--author <text>', 'who made it; default: as it was')
    .option('--description <text>', 'what it is; default: as it was')
    .option('--license <text>', 'its licence')
    .option('--ignore <path>', 'leave a path and all below it out of the new seal', several)
    .option('--no-default-ignores', 'seal .git, .gitattributes, .github and .gitignore too')
    .option('--workers <n>', 'threads that hash', wholeNumber)
    .option('--allow-case-collisions', 'take names that differ in case or normalisation only')
    .option('--insecure-follow-symlinks', 'seal what links lead to, as the old tool did')
    .option('--force', 'overwrite bundles that are there')
    .action(action(context, migrate))
}

async function migrate(run: Run, flags: MigrateFlags, model: string): Promise<number> {
  if (flags.signer === undefined && flags.publishers === undefined) {
    throw new SignetError('usage_invalid', 'who signed the old manifest?', {
      remedy: "name the signer's public key with --signer, or your publishers with --publishers",
    })
  }
  if (!flags.dryRun && flags.key === undefined) {
    throw new SignetError('usage_invalid', 'no --key to seal with', {
      remedy: 'name one, or say --dry-run to verify the old seal only',
    })
  }
  if (!await run.backends.isFolder(model)) {
    throw new SignetError('usage_invalid', `${model} is not a folder`)
  }
  const trust = await trustOfFlags(run, flags)
  const file = flags.manifest ?? join(model, OLD_MANIFEST)
  const manifest = await run.backends.readFile(file, MAX_BUNDLE_BYTES)
  const paths = modelPaths(model, true)
  const old = { model, manifest, trust, paths, own: paths.within(file)[0] }
  return flags.dryRun ? await check(run, flags, old) : await seal(run, flags, old)
}

/** A model with its old seal, which was not looked at yet, and whose seals count. */
interface OldModel {
  readonly model: string
  readonly manifest: Uint8Array
  readonly trust: Trust
  readonly paths: ModelPaths
  /** Where in the model the old seal lies, if it does. */
  readonly own: string | undefined
}

async function trustOfFlags(run: Run, flags: MigrateFlags): Promise<Trust> {
  const keys = await trustOfKeys(run, flags.signer ?? [])
  if (flags.publishers === undefined) return keys
  const listed = trustOfPublishers(await openPublishers(run, flags.publishers, flags))
  return { ...listed, signers: [...listed.signers, ...keys.signers] }
}

async function check(
  run: Run,
  flags: MigrateFlags,
  { model, manifest, trust, paths, own }: OldModel,
): Promise<number> {
  const { compareManifest, verifyManifest } = await interop()
  const old = await verifyManifest(manifest, trust, flags)
  const tree = await run.backends.openTree(model, flags)
  const bar = progressBar(run, 'verifying', flags.quiet)
  const comparison = await compareManifest(old, tree, {
    own,
    ignore: flags.ignore?.map(paths.inside),
    onProgress: bar.update,
    signal: run.signal,
  }).finally(bar.end)
  run.answer(
    { ...oldToJson(old), ...comparison },
    [...oldLines(old), ...comparisonLines(comparison, false)].join('\n'),
  )
  return comparison.ok ? 0 : EXIT_CODES.content
}

async function seal(
  run: Run,
  flags: MigrateFlags,
  { model, manifest, trust, paths, own }: OldModel,
): Promise<number> {
  const { migrateModel } = await interop()
  const keys: Key[] = []
  try {
    const ring = await run.keyring()
    for (const uri of flags.key!) keys.push(await ring.open(uri, { signal: run.signal }))
    const sealers = keys.map((key) => ({ key }))
    const outs = await outsOf(run, flags, keys, paths)
    const tree = await run.backends.openTree(model, flags)
    const bar = progressBar(run, 'verifying and sealing', flags.quiet)
    const { bundles, resources, old, uncovered } = await migrateModel(
      tree,
      manifest,
      trust,
      sealers,
      {
        name: flags.name,
        metadata: metadataOf(flags),
        own,
        ignore: [...(flags.ignore ?? []).map(paths.inside), ...outs.flatMap(paths.within)],
        noDefaultIgnores: !flags.defaultIgnores,
        insecureFollowSymlinks: flags.insecureFollowSymlinks,
        allowCaseCollisions: flags.allowCaseCollisions,
        onProgress: bar.update,
        signal: run.signal,
      },
    ).finally(bar.end)
    const report = await writeBundles(run, flags, outs, sealers, bundles)
    if (uncovered.length > 0) {
      run.say(
        `the new seal leaves out what the old one covered: ${
          uncovered.map(printable).join(', ')
        }\n` +
          '  (--no-default-ignores seals what is left out by default; other OMS tools may then refuse it)',
      )
    }
    run.answer(
      { ok: true, ...oldToJson(old), ...sizeOf(resources), uncovered, bundles: report },
      [...oldLines(old), sealedText(resources, report)].join('\n'),
    )
    return 0
  } finally {
    await Promise.all(keys.map((key) => key.close()))
  }
}

function metadataOf(flags: MigrateFlags): ModelMetadata {
  const said = { ...flags, version: flags.modelVersion }
  const given = METADATA_NAMES.filter((name) => typeof said[name] === 'string')
  return Object.fromEntries(given.map((name) => [name, said[name]]))
}

function oldToJson({ signer, manifest, unverified }: VerifiedManifest) {
  return { old: { signer, manifest: { ...manifest, files: manifest.files.length }, unverified } }
}

/** First what is known, then what the manifest only claims. */
function oldLines({ signer, manifest, unverified }: VerifiedManifest): string[] {
  const { keyId, algorithm, publisher } = signer
  const who = publisher === undefined ? `key ${keyId}` : `${printable(publisher)}, key ${keyId}`
  const said = [manifest.name, manifest.version, manifest.framework, manifest.author]
  return [
    `the old seal holds: signed by ${who} (${algorithm})`,
    table([
      ['  model', printable(said.filter((text) => text !== '').join(', '))],
      ['  made', manifest.created],
      ['  says it was signed by', `${printable(unverified.signerId)} (not verified)`],
      ['  says it was signed at', `${unverified.signedAt} (not verified)`],
    ]),
  ]
}
