/** Bundles on their way to the disk: where they go, and what was sealed. */
import type { Bytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import type { Resource, Sealer } from '../models/mod.ts'
import type { Run } from './context.ts'
import type { ModelPaths } from './model_paths.ts'
import { formatBytes, table } from './text.ts'

/** Flags of commands that write bundles. */
export interface OutFlags {
  readonly out?: string[]
  readonly force?: boolean
}

/** A bundle that was written. */
export interface BundleLine {
  readonly bundle: string
  readonly keyId: string
  readonly algorithm: string
}

/**
 * One path for each key: those of `--out`, or `model.sig` and `model.<algorithm>.sig` beside the files. They
 * must be free, unless `--force`.
 */
export async function outsOf(
  run: Run,
  flags: OutFlags,
  keys: readonly Key[],
  paths: ModelPaths,
): Promise<string[]> {
  const outs = flags.out ??
    keys.map(({ publicKey }, i) =>
      paths.bundle(i === 0 ? undefined : publicKey.algorithm.name.toLowerCase())
    )
  if (outs.length !== keys.length || new Set(outs).size !== outs.length) {
    throw new SignetError('usage_invalid', 'every --key needs an --out of its own')
  }
  for (const out of flags.force ? [] : outs) {
    if (!await run.backends.exists(out)) continue
    throw new SignetError('file_exists', `${out} exists already`, {
      where: out,
      remedy: 'name another file with --out, or say --force',
    })
  }
  return outs
}

/** Writes the bundles; gives what to say of each. */
export async function writeBundles(
  run: Run,
  flags: OutFlags,
  outs: readonly string[],
  sealers: readonly Sealer[],
  bundles: readonly Bytes[],
): Promise<BundleLine[]> {
  const overwrite = flags.force ?? false
  for (const [i, out] of outs.entries()) {
    await run.backends.writeFile(out, bundles[i]!, { overwrite, mode: 0o644 })
  }
  return sealers.map(({ key }, i) => ({
    bundle: outs[i]!,
    keyId: key.publicKey.id,
    algorithm: key.publicKey.algorithm.name,
  }))
}

/** How many files resources are, and how many bytes those have. */
export function sizeOf(resources: readonly Resource[]): { files: number; bytes: number } {
  const sizes = new Map(resources.map(({ path, size }) => [path, size ?? 0]))
  return { files: sizes.size, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) }
}

/** What was sealed, and where the bundles are. */
export function sealedText(resources: readonly Resource[], bundles: readonly BundleLine[]): string {
  const { files, bytes } = sizeOf(resources)
  return `sealed ${files} files, ${formatBytes(bytes)}\n` +
    table(bundles.map((row) => [`  ${row.bundle}`, row.algorithm, row.keyId]))
}
