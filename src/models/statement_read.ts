/** Statements read strictly, whoever wrote them. */
import * as v from 'valibot'
import { DIGEST_BYTES, type DigestAlgorithm } from '../crypto/mod.ts'
import type { VerifiedPayload } from '../envelope/mod.ts'
import { quoted, SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { checkDistinct, checkName } from './name.ts'
import {
  byPath,
  IN_TOTO,
  MAX_IGNORE_PATHS,
  MAX_RESOURCES,
  MAX_TEXT,
  METADATA_NAMES,
  type ModelMetadata,
  PREDICATE,
  type Resource,
  rootDigest,
  type Statement,
  STATEMENT_TYPE,
} from './statement.ts'

/** Most JSON values of a statement: six for each resource as Signet writes them, and some more. */
const MAX_VALUES = 20_000_000

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
