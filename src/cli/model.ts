/** `signet model`: seal a model, verify it, look into a seal. */
import { type Command, Option } from 'commander'
import type { Bytes } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import { readCertificates } from '../certificates/mod.ts'
import { MAX_BUNDLE_BYTES, parseRotations } from '../envelope/mod.ts'
import {
  certificateChainFor,
  METADATA_NAMES,
  type ModelMetadata,
  type ModelReport,
  type Sealer,
  sealModel,
  SHARD_SIZE,
  type Trust,
  trustFollowing,
  unverifiedStatement,
  type VerifiedPublishers,
  verifyModel,
} from '../models/mod.ts'
import { DIGEST_BYTES, type DigestAlgorithm } from '../crypto/mod.ts'
import {
  action,
  common,
  errorToJson,
  EXIT_CODES,
  group,
  several,
  wholeNumber,
  withKeys,
} from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { migrateCommand } from './model_migrate.ts'
import { outsOf, sealedText, sizeOf, writeBundles } from './model_outs.ts'
import { modelPaths } from './model_paths.ts'
import { comparisonLines } from './model_text.ts'
import { progressBar } from './progress.ts'
import { MAX_KEY_FILE, trustOfKeys } from './public_side.ts'
import { openPublishers, type OwnerFlags } from './publishers_file.ts'
import { printable, table } from './text.ts'

interface SignFlags extends CommonFlags, ModelMetadata {
  readonly key: string[]
  readonly certificate?: string[]
  readonly out?: string[]
  readonly name?: string
  readonly modelVersion?: string
  readonly ignore?: string[]
  readonly defaultIgnores: boolean
  readonly method: 'files' | 'shards'
  readonly shardSize: number
  readonly hash: DigestAlgorithm
  readonly workers?: number
  readonly force?: boolean
  readonly insecureFollowSymlinks?: boolean
  readonly allowCaseCollisions?: boolean
}

interface VerifyFlags extends CommonFlags, OwnerFlags {
  readonly publishers?: string
  readonly rotations?: string[]
  readonly key?: string[]
  readonly root?: string[]
  readonly identity?: string
  readonly skipCertificateExpiry?: boolean
  readonly signature?: string[]
  readonly only?: string[]
  readonly ignore?: string[]
  readonly require?: string[]
  readonly allowExtra?: boolean
  readonly refuseIgnored?: boolean
  readonly workers?: number
  readonly list?: boolean
  readonly insecureFollowSymlinks?: boolean
  readonly allowCaseCollisions?: boolean
}

const EXAMPLES = `
Examples:
  signet model sign ./llama --key alice.pem --author Alice
  signet model sign ./llama --key alice.pem --key alice-pq.pem      two seals over the same statement
  signet model verify ./llama --key alice.pub.pem
  signet model verify ./llama --key alice.keys.json --only tokenizer.json
  signet model verify ./llama --publishers trust.json
  signet model migrate ./llama --signer alice-old.pub.pem --key alice.pem
  signet model inspect ./llama/model.sig

Exit codes of verify: 0 as sealed, 2 unreadable, 3 signature invalid, 4 signer not trusted, 5 files differ,
6 denied by policy.`

/** The group. */
export function modelCommands(context: CliContext): Command {
  const model = group(context, 'model', 'seal a model folder and verify it elsewhere')
    .addHelpText('after', EXAMPLES)
  withKeys(model.command('sign'))
    .description('seal a model folder, or a single file (OpenSSF Model Signing v1.0)')
    .argument('<model>', 'the folder or file')
    .requiredOption('--key <uri>', 'key to seal with; several make several bundles', several)
    .option(
      '--certificate <file>',
      'certificates for the key that they name, PEM, leaf first: makes a certificate seal',
      several,
    )
    .option(
      '--out <file>',
      'where the bundle goes, one for each --key; default: model.sig in the folder',
      several,
    )
    .option('--name <name>', 'name of the model; default: that of the folder')
    .option('--model-version <text>', 'its version, signed with it')
    .option('--framework <text>', 'what it runs on, signed with it')
    .option('--author <text>', 'who made it, signed with it')
    .option('--description <text>', 'what it is, signed with it')
    .option('--license <text>', 'its licence, signed with it')
    .option('--ignore <path>', 'leave a path and all below it out; recorded in the seal', several)
    .option('--no-default-ignores', 'seal .git, .gitattributes, .github and .gitignore too')
    .addOption(
      new Option('--method <name>', 'digest whole files, or shards of them')
        .choices(['files', 'shards']).default('files'),
    )
    .option('--shard-size <bytes>', 'bytes of a shard', wholeNumber, SHARD_SIZE)
    .addOption(
      new Option('--hash <name>', 'everybody reads sha256')
        .choices(Object.keys(DIGEST_BYTES)).default('sha256'),
    )
    .option('--workers <n>', 'threads that hash', wholeNumber)
    .option('--allow-case-collisions', 'take names that differ in case or normalisation only')
    .option('--insecure-follow-symlinks', 'seal what links lead to')
    .option('--force', 'overwrite bundles that are there')
    .action(action(context, sign))
  withKeys(model.command('verify'))
    .description('verify a seal and every file; what is not sealed is refused')
    .argument('<model>', 'the folder or file')
    .option('--signature <file>', 'the bundle; default: model.sig in the folder', several)
    .option('--key <file>', 'whom to trust: PEM, JWK, JWKS, keyset, or a key URI', several)
    .option('--root <file>', 'a root certificate to trust, PEM or DER', several)
    .option('--identity <name>', 'whom a certificate must name: its subject or alternative name')
    .option('--publishers <file>', 'whom to trust: a publishers file, see: signet publishers')
    .option('--owner <file>', "its owner's public key, the first time", several)
    .option('--rotations <file>', "a publisher's statements of new keys, to be followed", several)
    .option('--skip-certificate-expiry', 'accept seals whose certificates have expired since')
    .option('--only <path>', 'look at this file or folder only', several)
    .option('--ignore <path>', 'let a path and all below it be there unsealed', several)
    .option('--require <who>', 'a seal that must hold, by algorithm, key id or publisher', several)
    .option('--allow-extra', 'let files pass that nobody sealed; they are reported')
    .option('--refuse-ignored', 'refuse what the seal leaves out on purpose, such as .git')
    .option('--workers <n>', 'threads that hash', wholeNumber)
    .option('--list', 'list every file, not only those that differ')
    .option('--allow-case-collisions', 'take names that differ in case or normalisation only')
    .option('--insecure-follow-symlinks', 'verify what links lead to')
    .action(action(context, verify))
  migrateCommand(model, context)
  common(model.command('inspect'))
    .description('show what a bundle says; nothing of it is verified')
    .argument('<bundle>', 'the bundle')
    .action(action(context, inspect))
  return model
}

async function sign(run: Run, flags: SignFlags, model: string): Promise<void> {
  const paths = modelPaths(model, await run.backends.isFolder(model))
  const ring = await run.keyring()
  const sealers: Sealer[] = []
  const chains = await Promise.all((flags.certificate ?? []).map((file) => certificates(run, file)))
  for (const uri of flags.key) {
    sealers.push(await sealerOf(await ring.open(uri, { signal: run.signal }), chains))
  }
  if (chains.length > sealers.filter(({ chain }) => chain !== undefined).length) {
    throw new SignetError('key_mismatch', 'a certificate belongs to none of the keys')
  }
  const outs = await outsOf(run, flags, sealers.map(({ key }) => key), paths)
  const tree = await run.backends.openTree(model, flags)
  const bar = progressBar(run, 'sealing', flags.quiet)
  const { bundles, resources } = await sealModel(tree, sealers, {
    name: flags.name ?? paths.name,
    metadata: metadataOf(flags),
    method: flags.method,
    shardSize: flags.shardSize,
    hash: flags.hash,
    ignore: [...(flags.ignore ?? []).map(paths.inside), ...outs.flatMap(paths.within)],
    noDefaultIgnores: !flags.defaultIgnores,
    insecureFollowSymlinks: flags.insecureFollowSymlinks,
    allowCaseCollisions: flags.allowCaseCollisions,
    onProgress: bar.update,
    signal: run.signal,
  }).finally(bar.end)
  const report = await writeBundles(run, flags, outs, sealers, bundles)
  await Promise.all(sealers.map(({ key }) => key.close()))
  const { files, bytes } = sizeOf(resources)
  run.answer({ ok: true, files, bytes, bundles: report }, sealedText(resources, report))
}

/** The key with the certificates whose leaf is its own, if there are any. */
async function sealerOf(key: Key, chains: readonly (readonly Bytes[])[]): Promise<Sealer> {
  for (const chain of chains) {
    try {
      return { key, chain: await certificateChainFor(key.publicKey, chain) }
    } catch (error) {
      if (!isSignetError(error, 'key_mismatch')) throw error
    }
  }
  return { key }
}

async function certificates(run: Run, file: string): Promise<Bytes[]> {
  return readCertificates(await run.backends.readFile(file, MAX_KEY_FILE))
}

function metadataOf(flags: SignFlags): ModelMetadata {
  const said = { ...flags, version: flags.modelVersion, created: new Date().toISOString() }
  const given = METADATA_NAMES.filter((name) => typeof said[name] === 'string')
  return Object.fromEntries(given.map((name) => [name, said[name]]))
}

async function verify(run: Run, flags: VerifyFlags, model: string): Promise<number> {
  if ([flags.key, flags.root, flags.publishers].every((flag) => flag === undefined)) {
    throw new SignetError('usage_invalid', 'whom do you trust?', {
      remedy: "name the signer's public key with --key, or your publishers with --publishers",
    })
  }
  const paths = modelPaths(model, await run.backends.isFolder(model))
  const trust = await trustOf(run, flags)
  const names = flags.signature ?? [paths.bundle()]
  const bundles = await Promise.all(names.map(async (name) => ({
    name,
    bytes: await run.backends.readFile(name, MAX_BUNDLE_BYTES),
  })))
  const tree = await run.backends.openTree(model, flags)
  const bar = progressBar(run, 'verifying', flags.quiet)
  const report = await verifyModel(bundles, tree, trust, {
    only: flags.only?.map(paths.inside),
    ignore: flags.ignore?.map(paths.inside),
    bundles: names.flatMap(paths.within),
    require: flags.require,
    allowExtra: flags.allowExtra,
    refuseIgnored: flags.refuseIgnored,
    allowCaseCollisions: flags.allowCaseCollisions,
    skipCertificateExpiry: flags.skipCertificateExpiry,
    onProgress: bar.update,
    signal: run.signal,
  }).finally(bar.end)
  run.answer(reportToJson(report), reportText(report, flags.list ?? false))
  return report.ok ? 0 : EXIT_CODES.content
}

async function trustOf(run: Run, flags: VerifyFlags): Promise<Trust> {
  const { key = [], root = [], identity, publishers } = flags
  if (identity !== undefined && root.length === 0) {
    throw new SignetError(
      'usage_invalid',
      '--identity says whom a certificate must name; --root is missing',
    )
  }
  if (flags.rotations !== undefined && publishers === undefined) {
    throw new SignetError('usage_invalid', '--rotations are followed from --publishers', {
      remedy: 'for a keyset of your own: signet keys follow',
    })
  }
  const roots = await Promise.all(root.map((file) => certificates(run, file)))
  const keys = await trustOfKeys(run, key)
  const listed = publishers === undefined
    ? undefined
    : await trustOfList(run, await openPublishers(run, publishers, flags), flags)
  return {
    // The list comes first: what it says of a key, revoked perhaps, counts more than the bare key.
    signers: [...listed?.signers ?? [], ...keys.signers],
    roots: [
      ...listed?.roots ?? [],
      ...roots.flat().map((certificate) => ({ certificate, identity })),
    ],
    threshold: listed?.threshold,
  }
}

async function trustOfList(
  run: Run,
  list: VerifiedPublishers,
  { rotations = [] }: VerifyFlags,
): Promise<Trust> {
  const chains = await Promise.all(
    rotations.map(async (file) => parseRotations(await run.backends.readFile(file, MAX_KEY_FILE))),
  )
  return await trustFollowing(list, chains, Math.floor(Date.now() / 1000))
}

function reportToJson(report: ModelReport): unknown {
  return {
    ...report,
    bundles: report.bundles.map(({ name, signer, error }) => ({
      bundle: name,
      signer,
      error: error === undefined ? undefined : errorToJson(error),
    })),
  }
}

/** The verdict in words: first who, then what differs, last the sum. */
function reportText(report: ModelReport, all: boolean): string {
  const lines = report.bundles.map(({ name, signer, error }) =>
    signer === undefined
      ? `seal ${printable(name)} does not hold: ${printable(error!.message)} [${error!.code}]`
      : `sealed by ${printable(signer.publisher ?? signer.certificate ?? 'key ' + signer.keyId)}` +
        ` (${signer.algorithm}${signer.publisher === undefined ? '' : ', key ' + signer.keyId})`
  )
  const { name, metadata } = report.model
  const said = [metadata.version, metadata.framework, metadata.author].filter((one) =>
    one !== undefined
  )
  lines.push(`model ${printable([name, ...said].join(', '))}`)
  lines.push(...comparisonLines(report, all))
  const { coverage } = report
  if (!coverage.whole) {
    lines.push(
      `looked at ${coverage.only!.map(printable).join(', ')} only; ${coverage.unchecked} sealed ` +
        'files were not checked',
    )
  }
  return lines.join('\n')
}

async function inspect(run: Run, _flags: CommonFlags, bundle: string): Promise<void> {
  const bytes = await run.backends.readFile(bundle, MAX_BUNDLE_BYTES)
  const { material, statement } = await unverifiedStatement(bytes)
  const { name, root, serialization, resources, metadata } = statement
  const rows = [
    ['method', material.method],
    ['key hint', material.method === 'key' ? material.hint ?? '(none)' : '(certificate)'],
    ['model', printable(name)],
    ...Object.entries(metadata).map(([key, value]) => [key, printable(value)]),
    ['root', root],
    ['digests', `${serialization.hashType} of ${serialization.method}`],
    ['left out', serialization.ignorePaths.map(printable).join(', ')],
    ['resources', String(resources.length)],
  ]
  const files = resources.map(({ path, digest, start, end }) =>
    `  ${digest}  ${printable(path)}${start === undefined ? '' : ` bytes ${start}-${end}`}`
  )
  run.answer(
    { verified: false, material: { ...material, chain: undefined }, statement },
    `NOT VERIFIED: this is what the bundle says, whoever wrote it\n${table(rows)}\n${
      files.join('\n')
    }`,
  )
}
