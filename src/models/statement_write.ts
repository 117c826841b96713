/** Statements as bytes to sign: compact JSON, and nothing that `statement_read.ts` would refuse. */
import { type Bytes, concat, utf8 } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import {
  IN_TOTO,
  inSteps,
  MAX_IGNORE_PATHS,
  MAX_RESOURCES,
  MAX_TEXT,
  METADATA_NAMES,
  PREDICATE,
  type Resource,
  resourceName,
  rootDigest,
  type Statement,
} from './statement.ts'

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
