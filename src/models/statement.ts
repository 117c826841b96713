/**
 * The OMS v1.0 statement: an in-toto Statement v1 with predicate `https://model_signing/signature/v1.0`,
 * which lists every file (or every shard of every file) of a model with its digest. One subject, whose
 * SHA-256 is taken over the raw digests in the order of the list.
 *
 * Metadata and sizes travel as `annotations` of the subject and of the resources: there, and only there, the
 * OMS schemas leave room.
 */
import * as v from 'valibot'
import { type Bytes, concat, fromHex, owned, toHex, utf8 } from '../bytes.ts'
import { DIGEST_BYTES, type DigestAlgorithm } from '../crypto/mod.ts'
import type { VerifiedPayload } from '../envelope/mod.ts'
import { quoted, SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { checkDistinct, checkName } from './name.ts'

/** Payload type of the DSSE envelope around a statement. */
export const STATEMENT_TYPE = 'application/vnd.in-toto+json'

const IN_TOTO = 'https://in-toto.io/Statement/v1'
const PREDICATE = 'https://model_signing/signature/v1.0'

/** Largest model in resources (files or shards); more would not fit into a bundle. */
const MAX_RESOURCES = 3_000_000
/** Most JSON values of a statement: six for each resource as Signet writes them, and some more. */
const MAX_VALUES = 20_000_000
const MAX_TEXT = 4096
const MAX_IGNORE_PATHS = 10_000
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

const Path = v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_TEXT))
const StatementSchema = v.strictObject({
  _type: v.literal(IN_TOTO),
  subject: v.pipe(
    v.array(v.looseObject({
      name: v.pipe(v.string(), v.maxLength(MAX_TEXT)),
      digest: v.strictObject({ sha256: v.string() }),
      annotations: v.optional(v.record(v.string(), v.unknown())),
    })),
    v.length(1),
  ),
  predicateType: v.string(),
  predicate: v.strictObject({
    serialization: v.strictObject({
      method: v.picklist(['files', 'shards']),
      hash_type: v.picklist(['sha256', 'blake2b', 'blake3']),
      shard_size: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
      allow_symlinks: v.boolean(),
      ignore_paths: v.optional(v.pipe(v.array(Path), v.maxLength(MAX_IGNORE_PATHS))),
    }),
    resources: v.pipe(v.array(v.unknown()), v.minLength(1), v.maxLength(MAX_RESOURCES)),
  }),
})

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
function inSteps<T>(
  resources: readonly Resource[],
  one: (some: readonly Resource[], at: number) => T,
): T[] {
  return Array.from(
    { length: Math.ceil(resources.length / STEP) },
    (_, i) => one(resources.slice(i * STEP, (i + 1) * STEP), i * STEP),
  )
}

/**
 * The bytes to sign. Resources must stand in code-point order of their names.
 *
 * Errors, so that nobody signs what nobody reads: `usage_invalid` (a text that is empty, too long or not
 * well-formed, or a pattern among the ignored paths), `too_large`.
 */
export async function encodeStatement(statement: Omit<Statement, 'root'>): Promise<Bytes> {
  const { name, serialization, resources, metadata } = statement
  const given = METADATA_NAMES.filter((key) => metadata[key] !== undefined)
  const annotations = Object.fromEntries(given.map((key) => [key, metadata[key]!]))
  checkText('name', name)
  for (const key of given) checkText(key, annotations[key]!)
  checkIgnorePaths(serialization.ignorePaths)
  if (resources.length > MAX_RESOURCES) {
    throw new SignetError('too_large', `a seal holds at most ${MAX_RESOURCES} files or shards`)
  }
  const shell = JSON.stringify({
    _type: IN_TOTO,
    subject: [{
      name,
      digest: { sha256: await rootDigest(resources) },
      ...(given.length === 0 ? {} : { annotations }),
    }],
    predicateType: PREDICATE,
    predicate: {
      serialization: {
        method: serialization.method,
        hash_type: serialization.hashType,
        shard_size: serialization.shardSize,
        allow_symlinks: serialization.allowSymlinks,
        ignore_paths: serialization.ignorePaths,
      },
    },
  })
  // The resources go into the predicate, the last member of the shell.
  return concat(
    utf8(shell.slice(0, -2) + ',"resources":['),
    ...inSteps(resources, (some, at) => utf8((at > 0 ? ',' : '') + some.map(resourceJson).join())),
    utf8(']}}'),
  )
}

function resourceJson(one: Resource): string {
  return JSON.stringify({
    name: resourceName(one),
    algorithm: one.algorithm,
    digest: one.digest,
    annotations: one.size === undefined ? undefined : { size: one.size },
  })
}

function checkText(what: string, text: string): void {
  const fault = text === ''
    ? 'is empty'
    : text.length > MAX_TEXT
    ? `has more than ${MAX_TEXT} characters`
    : text.isWellFormed()
    ? undefined
    : 'is not well-formed Unicode'
  if (fault !== undefined) throw new SignetError('usage_invalid', `the model's ${what} ${fault}`)
}

/** OMS §6.2.1: no patterns. Who writes one expects it to work, so it is not taken for a name either. */
function checkIgnorePaths(paths: readonly string[]): void {
  const pattern = paths.find((path) => /[*?[]/.test(path))
  if (pattern !== undefined) {
    throw new SignetError(
      'usage_invalid',
      `ignored path ${quoted(pattern)} holds "*", "?" or "[": a seal knows no patterns`,
    )
  }
  if (paths.length > MAX_IGNORE_PATHS) {
    throw new SignetError('too_large', `a seal leaves out at most ${MAX_IGNORE_PATHS} paths`)
  }
}

/** Options of {@link decodeStatement}. */
export interface DecodeStatementOptions {
  /** Takes names that differ only in case or normalisation. */
  readonly allowCaseCollisions?: boolean | undefined
}

/** Reads the statement of a payload whose signature holds; see {@link readStatement}. */
export function decodeStatement(
  verified: VerifiedPayload,
  options: DecodeStatementOptions = {},
): Promise<Statement> {
  return readStatement(verified, options)
}

/**
 * Reads a statement, verified or not. Either order of resources is taken: the root is
 * computed in the order given.
 *
 * Errors: `payload_type`, `predicate_type`, `statement_malformed`, `digest_malformed`, `name_invalid`,
 * `name_duplicate`, `name_collision`, `root_digest_mismatch`, and those of JSON.
 */
export async function readStatement(
  envelope: { readonly payloadType: string; readonly payload: Uint8Array },
  options: DecodeStatementOptions = {},
): Promise<Statement> {
  if (envelope.payloadType !== STATEMENT_TYPE) {
    throw new SignetError('payload_type', 'the payload is not an in-toto statement')
  }
  const json = parseJson(envelope.payload, {
    what: 'statement',
    maxBytes: Number.MAX_SAFE_INTEGER, // the bundle's limit came first
    maxDepth: 16,
    maxValues: MAX_VALUES,
  })
  checkPredicateType(json)
  const { subject: [subject], predicate } = conform(
    StatementSchema,
    json,
    'statement_malformed',
    'statement',
  )
  const { method, hash_type, shard_size, allow_symlinks, ignore_paths } = predicate.serialization
  if ((method === 'shards') !== (shard_size !== undefined)) {
    throw malformed('"shard_size" belongs to method "shards" and only there')
  }
  ignore_paths?.forEach(checkName)
  const resources = predicate.resources.map((json) => resource(json, hash_type, shard_size))
  if (method === 'files') {
    checkDistinct(resources.map(({ path }) => path), options.allowCaseCollisions)
  } else {
    checkDistinct(shardedPaths(resources, shard_size!), options.allowCaseCollisions)
  }
  const root = await rootDigest(resources)
  if (root !== subject!.digest.sha256) {
    throw new SignetError('root_digest_mismatch', 'the root digest is not that of the file list')
  }
  return {
    name: subject!.name,
    root,
    serialization: {
      method,
      hashType: hash_type,
      ...(shard_size === undefined ? {} : { shardSize: shard_size }),
      allowSymlinks: allow_symlinks,
      ignorePaths: ignore_paths ?? [],
    },
    resources,
    metadata: metadata(subject!.annotations ?? {}),
  }
}

/** Checked before the rest: another predicate is another kind of statement, not a broken one. */
function checkPredicateType(json: unknown): void {
  const type = (json as { predicateType?: unknown } | null)?.predicateType
  if (typeof type === 'string' && type !== PREDICATE) {
    throw new SignetError(
      'predicate_type',
      `the statement is of type ${quoted(type)}, not an OMS v1.0 signature`,
    )
  }
}

/** One resource. Extra members are allowed by the schema and carry no meaning here. */
function resource(
  json: unknown,
  algorithm: DigestAlgorithm,
  shardSize: number | undefined,
): Resource {
  if (!isObject(json as JsonObject)) throw malformed('a resource is not an object')
  const { name, algorithm: named, digest, annotations } = json as JsonObject
  if (typeof name !== 'string') throw malformed('a resource has no name')
  // The reference writes the second form for shards, and reads no other; the specification knows the first.
  if (
    named !== algorithm &&
    (shardSize === undefined || named !== `${algorithm}-sharded-${shardSize}`)
  ) throw malformed('"algorithm" differs from "hash_type"')
  if (typeof digest !== 'string') throw malformed('a resource has no digest')
  const { path, start, end } = shardSize === undefined ? { path: name } : shardOf(name)
  // Before 1.0.1 the reference named the only file of a single-file model ".".
  if (path !== '.') checkName(path)
  if (digest.length !== 2 * DIGEST_BYTES[algorithm] || /[^0-9a-f]/.test(digest)) {
    throw new SignetError(
      'digest_malformed',
      `the digest of ${quoted(name)} is not lower-case ${algorithm}`,
      { where: path },
    )
  }
  const size = isObject(annotations) ? annotations.size : undefined
  return {
    path,
    ...(start === undefined ? {} : { start, end }),
    algorithm,
    digest,
    ...(Number.isSafeInteger(size) ? { size: size as number } : {}),
  }
}

/** OMS §6.3.2: the last two parts are the range; the path may hold colons. */
function shardOf(name: string): { path: string; start: number; end: number } {
  const match = /^([^]*):(0|[1-9][0-9]{0,15}):([1-9][0-9]{0,15})$/.exec(name)
  if (match === null) throw malformed(`${quoted(name)} names no shard`)
  return { path: match[1]!, start: Number(match[2]), end: Number(match[3]) }
}

/** The paths of shards, each once; the shards of a path must follow each other from 0 without a gap. */
function shardedPaths(resources: readonly Resource[], shardSize: number): string[] {
  const paths: string[] = []
  for (const [path, shards] of byPath(resources)) {
    const sorted = shards.toSorted((a, b) => a.start! - b.start!)
    let at = 0
    sorted.forEach(({ start, end }, i) => {
      const size = end! - start!
      const whole = i === sorted.length - 1 || size === shardSize
      if (start !== at || size <= 0 || size > shardSize || !whole) {
        throw malformed(`the shards of ${quoted(path)} have a gap, overlap or are uneven`)
      }
      at = end!
    })
    paths.push(path)
  }
  return paths
}

function metadata(annotations: Readonly<Record<string, unknown>>): ModelMetadata {
  return Object.fromEntries(
    METADATA_NAMES.flatMap((key) => {
      const value = annotations[key]
      return typeof value === 'string' && value.length <= 4096 ? [[key, value]] : []
    }),
  )
}

function malformed(why: string): SignetError {
  return new SignetError('statement_malformed', `statement: ${why}`)
}
