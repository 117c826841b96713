/**
 * The OMS v1.0 statement: an in-toto Statement v1 with predicate `https://model_signing/signature/v1.0`,
 * which lists every file (or every shard of every file) of a model with its digest. One subject, whose
 * SHA-256 is taken over the raw digests in the order of the list.
 *
 * Metadata and sizes travel as `annotations` of the subject and of the resources: there, and only there, the
 * OMS schemas leave room.
 *
 * This file says what a statement is; `statement_write.ts` writes it and `statement_read.ts` reads it.
 */
import { concat, fromHex, owned, toHex } from '../bytes.ts'
import type { DigestAlgorithm } from '../crypto/mod.ts'

/** Payload type of the DSSE envelope around a statement. */
export const STATEMENT_TYPE = 'application/vnd.in-toto+json'

/** `_type` of a statement. */
export const IN_TOTO = 'https://in-toto.io/Statement/v1'
/** `predicateType` of a statement. */
export const PREDICATE = 'https://model_signing/signature/v1.0'

/** Largest model in resources (files or shards); more would not fit into a bundle. */
export const MAX_RESOURCES = 3_000_000
/** Longest name and other text, in UTF-16 units. */
export const MAX_TEXT = 4096
/** Most paths left out. */
export const MAX_IGNORE_PATHS = 10_000
/** Resources that are written or digested in one go. */
const STEP = 4096

/** A file or a shard of one, and its digest. */
export interface Resource {
  /** Path relative to the model. */
  readonly path: string
  /** First byte of a shard, inclusive; absent for a whole file. */
  readonly start?: number
  /** Last byte of a shard, exclusive; absent for a whole file. */
  readonly end?: number
  /** Which digest. */
  readonly algorithm: DigestAlgorithm
  /** Lower-case hex. */
  readonly digest: string
  /** Bytes of the whole file, where the signer recorded it. */
  readonly size?: number
}

/** How a model was turned into resources. */
export interface Serialization {
  /** Whole files, or shards of `shardSize` bytes. */
  readonly method: 'files' | 'shards'
  /** Digest of each resource. */
  readonly hashType: DigestAlgorithm
  /** Bytes of a shard; only with method `shards`. */
  readonly shardSize?: number
  /** Whether links were followed. */
  readonly allowSymlinks: boolean
  /** Paths left out, with all below them. */
  readonly ignorePaths: readonly string[]
}

/** What the signer says about the model besides its files. Text, at most 4096 characters each. */
export interface ModelMetadata {
  /** Version of the model. */
  readonly version?: string
  /** What it runs on, such as `pytorch`. */
  readonly framework?: string
  /** Who made it. */
  readonly author?: string
  /** What it is. */
  readonly description?: string
  /** SPDX expression. */
  readonly license?: string
  /** When it was sealed, RFC 3339. The signer's word, not a trusted time. */
  readonly created?: string
}

/** A model as a statement describes it. */
export interface Statement {
  /** Name of the model; informational. */
  readonly name: string
  /** SHA-256 over all digests, hex. */
  readonly root: string
  /** How it was made. */
  readonly serialization: Serialization
  /** At least one, each name once. */
  readonly resources: readonly Resource[]
  /** What else was said and signed. */
  readonly metadata: ModelMetadata
}

/** Names of {@link ModelMetadata}. */
export const METADATA_NAMES = [
  'version',
  'framework',
  'author',
  'description',
  'license',
  'created',
] as const

/** The name of a resource in a statement: the path, and of a shard its range (OMS §6.3.2). */
export function resourceName({ path, start, end }: Omit<Resource, 'digest'>): string {
  return start === undefined ? path : `${path}:${start}:${end}`
}

/** Resources by path, in their order. (`Map.groupBy` is missing in Node 20.) */
export function byPath(resources: readonly Resource[]): Map<string, Resource[]> {
  const groups = new Map<string, Resource[]>()
  for (const one of resources) {
    const group = groups.get(one.path)
    if (group === undefined) groups.set(one.path, [one])
    else group.push(one)
  }
  return groups
}

/** SHA-256 over the raw digests of the resources, in their order (OMS §6.5.1), hex. */
export async function rootDigest(resources: readonly Resource[]): Promise<string> {
  const parts = inSteps(resources, (some) => fromHex(some.map(({ digest }) => digest).join('')))
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', owned(concat(...parts)))))
}

/** What `one` makes of each {@link STEP} resources: few calls, and no text of the length of the whole. */
export function inSteps<T>(
  resources: readonly Resource[],
  one: (some: readonly Resource[], at: number) => T,
): T[] {
  return Array.from(
    { length: Math.ceil(resources.length / STEP) },
    (_, i) => one(resources.slice(i * STEP, (i + 1) * STEP), i * STEP),
  )
}
