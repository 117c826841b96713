/** Sealing: a tree is scanned once, and each key puts its signature under the same statement. */
import type { Bytes } from '../bytes.ts'
import type { DigestAlgorithm } from '../crypto/mod.ts'
import { formatBundle, signEnvelope } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import { certificateChainFor } from './certificate.ts'
import type { FileTree } from './file_tree.ts'
import { DEFAULT_IGNORES, pathSet } from './ignore.ts'
import { scanTree, type WorkOptions } from './scan.ts'
import {
  type ModelMetadata,
  type Resource,
  type Serialization,
  STATEMENT_TYPE,
} from './statement.ts'
import { encodeStatement } from './statement_write.ts'
import { keyHint } from './trust.ts'

/** Bytes of a shard by default, as the reference implementation has it. */
export const SHARD_SIZE = 1_000_000_000

/** Who seals. */
export interface Sealer {
  /** The key. */
  readonly key: Key
  /** With certificates, leaf first, in DER: the `certificate` method. Without: the `key` method. */
  readonly chain?: readonly Bytes[] | undefined
}

/** Options of {@link sealModel}. */
export interface SealOptions extends WorkOptions {
  /** Name of the model; informational. */
  readonly name: string
  /** What else to say about it, signed. */
  readonly metadata?: ModelMetadata | undefined
  /** `files` (default) or `shards`. */
  readonly method?: 'files' | 'shards' | undefined
  /** Bytes of a shard. Default {@link SHARD_SIZE}. */
  readonly shardSize?: number | undefined
  /** Digest of the files. Default `sha256`, the only one that every verifier reads. */
  readonly hash?: DigestAlgorithm | undefined
  /** Paths to leave out, recorded in the seal; always among them the bundles themselves. */
  readonly ignore?: readonly string[] | undefined
  /** Seals what is left out by default too. */
  readonly noDefaultIgnores?: boolean | undefined
  /** The tree follows links, and the seal says so. */
  readonly insecureFollowSymlinks?: boolean | undefined
  /** Takes names that differ only in case or normalisation. */
  readonly allowCaseCollisions?: boolean | undefined
}

/** What {@link sealModel} made. */
export interface Seal {
  /** One bundle for each sealer, in their order: the bytes of the file. */
  readonly bundles: readonly Bytes[]
  /** What was sealed. */
  readonly resources: readonly Resource[]
}

/**
 * Seals a tree with one or more keys.
 *
 * Keys of P-256, P-384 and P-521 make bundles that every OMS v1.0 verifier reads. Ed25519, RSA, ML-DSA and composite
 * keys make bundles of the same shape that only Signet reads.
 *
 * Errors: those of {@link scanTree}, of the keys and of `certificateChainFor`; `usage_invalid` without a sealer.
 */
export async function sealModel(
  tree: FileTree,
  sealers: readonly Sealer[],
  options: SealOptions,
): Promise<Seal> {
  if (sealers.length === 0) throw new SignetError('usage_invalid', 'no key to seal with')
  // Before hours of hashing, not after.
  const materials = await Promise.all(sealers.map(materialOf))
  const serialization = serializationOf(options)
  const skip = pathSet(serialization.ignorePaths)
  const resources = await scanTree(tree, serialization, skip, options)
  const { name, metadata = {}, signal } = options
  const payload = await encodeStatement({ name, serialization, resources, metadata })
  const bundles: Bytes[] = []
  for (const [i, { key }] of sealers.entries()) {
    const material = materials[i]!
    // protobuf-specs: the key hint must be the same in the envelope and in the material.
    const keyid = material.method === 'key' ? { keyid: material.hint } : {}
    const envelope = await signEnvelope(STATEMENT_TYPE, payload, key, { ...keyid, signal })
    bundles.push(formatBundle({ material, envelope }))
  }
  return { bundles, resources }
}

async function materialOf({ key, chain }: Sealer) {
  return chain === undefined
    ? { method: 'key', hint: await keyHint(key.publicKey) } as const
    : { method: 'certificate', chain: await certificateChainFor(key.publicKey, chain) } as const
}

function serializationOf(options: SealOptions): Serialization {
  const { method = 'files', hash = 'sha256', shardSize = SHARD_SIZE, ignore = [] } = options
  if (!Number.isSafeInteger(shardSize) || shardSize < 1) {
    throw new SignetError('usage_invalid', 'the shard size is not a positive whole number')
  }
  const defaults = options.noDefaultIgnores ? [] : DEFAULT_IGNORES
  return {
    method,
    hashType: hash,
    ...(method === 'shards' ? { shardSize } : {}),
    allowSymlinks: options.insecureFollowSymlinks ?? false,
    ignorePaths: [...new Set([...defaults, ...ignore])].sort(),
  }
}
