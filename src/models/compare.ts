/**
 * A sealed statement held against a tree: what became of every file. Fails closed: a file that nobody sealed
 * counts as much as one that changed.
 */
import { isSignetError, quoted, SignetError } from '../errors.ts'
import type { FileTree, TreeEntry } from './file_tree.ts'
import { DEFAULT_IGNORES, pathSet } from './ignore.ts'
import { compareNames } from './name.ts'
import { digestAll, listTree, type Task, type WorkOptions } from './scan.ts'
import { byPath, type Resource, type Statement } from './statement.ts'

/** What became of a file. `ignored`: present, not sealed, and left out on purpose. */
export type FileStatus = 'ok' | 'changed' | 'missing' | 'extra' | 'ignored'

/** One file of the report. */
export interface FileReport {
  /** Path in the model. */
  readonly path: string
  /** What became of it. */
  readonly status: FileStatus
  /** Why, where the status alone does not tell. */
  readonly reason?: string
}

/** What a comparison covered. */
export interface Coverage {
  /** True if every sealed file was looked at and extra files were looked for everywhere. */
  readonly whole: boolean
  /** The paths that it was restricted to. */
  readonly only?: readonly string[] | undefined
  /** Sealed files that were not looked at. */
  readonly unchecked: number
}

/** The outcome of a comparison. */
export interface Comparison {
  /** Every file, in code-point order. */
  readonly files: readonly FileReport[]
  /** How many of each status. */
  readonly counts: Readonly<Record<FileStatus, number>>
  /** What was covered. */
  readonly coverage: Coverage
  /** True if the options call it acceptable. */
  readonly ok: boolean
}

/** Options of {@link compareTree}. */
export interface CompareOptions extends WorkOptions {
  /** Only these paths and what lies below them. The report says what was not covered. */
  readonly only?: readonly string[] | undefined
  /** Paths that may be there unsealed, besides those that the seal names. */
  readonly ignore?: readonly string[] | undefined
  /** Treats `.git`, `.gitattributes`, `.github` and `.gitignore` as any other path, unless the seal ignores them. */
  readonly noDefaultIgnores?: boolean | undefined
  /** The bundles' own paths, if they lie in the tree; not reported. */
  readonly bundles?: readonly string[] | undefined
  /** Lets files pass that nobody sealed. They are still reported. */
  readonly allowExtra?: boolean | undefined
  /** Refuses files that are ignored on purpose, such as what lies in `.git`. */
  readonly refuseIgnored?: boolean | undefined
}

/** What of a statement is compared. */
export type Sealed = Pick<Statement, 'serialization' | 'resources'>

/** What became of a file, until it is known. */
interface Verdict {
  readonly path: string
  status: FileStatus
  reason?: string
}

/** A digest to compute, what it should be, and whose verdict hangs on it. */
interface Check extends Task {
  readonly expected: string
  readonly verdict: Verdict
}

/**
 * Compares. Throws only what makes any verdict impossible: a tree that can't be listed, `aborted`,
 * `usage_invalid` (a path of `only` under which nothing was sealed).
 */
export async function compareTree(
  statement: Sealed,
  tree: FileTree,
  options: CompareOptions = {},
): Promise<Comparison> {
  const covered = options.only === undefined ? () => true : pathSet(options.only)
  const own = new Set(options.bundles)
  const ignored = ignoredPaths(statement, options)
  const entries = await listTree(tree, options)
  const sealed = sealedFiles(statement, entries, (path) => own.has(path) || ignored(path))
  checkOnly(sealed.keys(), options.only)

  const files: Verdict[] = []
  const checks: Check[] = []
  const present = new Map<string, TreeEntry>()
  for (const entry of entries) present.set(entry.path, entry)
  let unchecked = 0
  for (const [path, resources] of sealed) {
    const entry = present.get(path)
    present.delete(path)
    if (!covered(path)) {
      unchecked++
      continue
    }
    const [status, reason] = differs(resources, entry) ?? ['ok']
    const verdict: Verdict = reason === undefined ? { path, status } : { path, status, reason }
    files.push(verdict)
    if (status !== 'ok') continue
    for (const { algorithm, digest: expected, start, end } of resources) {
      const bytes = start === undefined ? entry!.size ?? 0 : end! - start
      checks.push({ path, algorithm, start, end, bytes, expected, verdict })
    }
  }
  for (const [path, entry] of present) {
    if (covered(path) && !own.has(path)) {
      files.push({ path, ...unsealed(statement, entry, ignored) })
    }
  }
  const changed = (verdict: Verdict, reason: string) => {
    if (verdict.status === 'ok') Object.assign(verdict, { status: 'changed', reason })
  }
  await digestAll(
    tree,
    checks,
    (digest, { expected, verdict }) => {
      if (digest !== expected) changed(verdict, 'its digest differs')
    },
    options,
    (error, { verdict }) => {
      if (!isSignetError(error)) throw error
      changed(verdict, error.message)
    },
  )
  return summary(files, unchecked, options)
}

/** Paths that may be there unsealed. Where the signer sealed what lies under a default, the default is void. */
function ignoredPaths(statement: Sealed, options: CompareOptions): (path: string) => boolean {
  const tops = new Set(statement.resources.map(({ path }) => path.split('/', 1)[0]))
  const defaults = options.noDefaultIgnores ? [] : DEFAULT_IGNORES
  return pathSet([
    ...defaults.filter((path) => !tops.has(path)),
    ...statement.serialization.ignorePaths,
    ...options.ignore ?? [],
  ])
}

/** Sealed files by path. The historical name "." means the only file of a single-file model. */
function sealedFiles(
  statement: Sealed,
  entries: readonly TreeEntry[],
  aside: (path: string) => boolean,
): Map<string, readonly Resource[]> {
  const sealed = byPath(statement.resources)
  const nameless = sealed.get('.')
  if (nameless === undefined || sealed.size > 1) return sealed
  const [only, ...others] = entries.filter(({ path }) => !aside(path))
  if (only === undefined || others.length > 0) return sealed
  return new Map([[only.path, nameless]])
}

/** Every path of `only` must lead to something: a slip of the pen would pass for a verified file. */
function checkOnly(sealed: Iterable<string>, only: readonly string[] | undefined): void {
  if (only === undefined) return
  const paths = [...sealed]
  const idle = only.find((path) => !paths.some(pathSet([path])))
  if (idle === undefined && only.length > 0) return
  const what = idle === undefined ? 'nothing' : quoted(idle)
  throw new SignetError(
    'usage_invalid',
    `only ${what} was to be verified, and no file there is sealed`,
  )
}

/** What is wrong with an entry before any byte is read. */
function differs(
  resources: readonly Resource[],
  entry: TreeEntry | undefined,
): [FileStatus, string?] | undefined {
  if (entry === undefined) return ['missing']
  if (entry.kind !== 'file') return ['changed', `it is a ${entry.kind} entry`]
  const sharded = resources[0]!.start !== undefined
  const size = sharded
    ? resources.reduce((max, { end }) => Math.max(max, end!), 0)
    : resources[0]!.size
  if (entry.size === undefined) {
    // Nobody would notice what follows the last shard.
    return sharded
      ? ['changed', 'its size is not known, and shards cover no more than they name']
      : undefined
  }
  if (size === undefined || size === entry.size) return
  return ['changed', `it has ${entry.size} bytes instead of ${size}`]
}

/** What a file is that nobody sealed. */
function unsealed(
  statement: Sealed,
  { path, kind, size }: TreeEntry,
  ignored: (path: string) => boolean,
): { status: FileStatus; reason?: string } {
  if (ignored(path)) return { status: 'ignored' }
  // Shards of an empty file are none, so a seal by shards says nothing about it (OMS §6.3.2).
  if (statement.serialization.method === 'shards' && kind === 'file' && size === 0) {
    return { status: 'ignored', reason: 'it is empty, and shards cover no empty file' }
  }
  return kind === 'file'
    ? { status: 'extra' }
    : { status: 'extra', reason: `it is a ${kind} entry` }
}

function summary(
  files: FileReport[],
  unchecked: number,
  options: CompareOptions,
): Comparison {
  const counts = { ok: 0, changed: 0, missing: 0, extra: 0, ignored: 0 }
  for (const { status } of files) counts[status]++
  const { only, allowExtra = false, refuseIgnored = false } = options
  return {
    files: files.sort((a, b) => compareNames(a.path, b.path)),
    counts,
    coverage: { whole: only === undefined, only, unchecked },
    ok: counts.changed + counts.missing === 0 &&
      (allowExtra || counts.extra === 0) && (!refuseIgnored || counts.ignored === 0),
  }
}
