/**
 * A sealed statement held against a tree: what became of every file. Fails closed: a file that nobody sealed
 * counts as much as one that changed.
 */
import { isSignetError, SignetError } from '../errors.ts'
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

/** Compares. Throws only what makes any verdict impossible: a tree that can't be listed, `aborted`. */
export async function compareTree(
  statement: Pick<Statement, 'serialization' | 'resources'>,
  tree: FileTree,
  options: CompareOptions = {},
): Promise<Comparison> {
  const own = pathSet(options.bundles ?? [])
  const covered = options.only === undefined ? () => true : pathSet(options.only)
  const ignored = pathSet([
    ...options.noDefaultIgnores ? [] : DEFAULT_IGNORES,
    ...statement.serialization.ignorePaths,
    ...options.ignore ?? [],
  ])
  const entries = (await listTree(tree, options)).filter(({ path }) => covered(path))
  const present = new Map(entries.map((entry) => [entry.path, entry]))
  const sealed = sealedFiles(statement, entries)
  const looked = [...sealed].filter(([path]) => covered(path))
  if (options.only !== undefined && looked.length === 0) {
    throw new SignetError('usage_invalid', 'the seal has no file under the paths of --only')
  }

  const verdicts = new Map<string, FileReport>()
  const set = (path: string, status: FileStatus, reason?: string) =>
    verdicts.set(path, { path, status, ...(reason === undefined ? {} : { reason }) })
  const tasks: (Task & { readonly expected: string })[] = []
  for (const [path, resources] of looked) {
    const fault = differs(resources, present.get(path))
    if (fault !== undefined) {
      set(path, ...fault)
      continue
    }
    set(path, 'ok')
    const size = present.get(path)!.size ?? 0
    for (const { digest: expected, ...resource } of resources) {
      const bytes = resource.start === undefined ? size : resource.end! - resource.start
      tasks.push({ ...resource, path, bytes, expected })
    }
  }
  const unreadable = (error: unknown, { path }: Task) => {
    if (!isSignetError(error)) throw error
    set(path, 'changed', error.message)
    return ''
  }
  const digests = await digestAll(tree, tasks, options, unreadable)
  tasks.forEach(({ path, expected }, i) => {
    const sound = digests[i] === expected || verdicts.get(path)!.status !== 'ok'
    if (!sound) set(path, 'changed', 'its digest differs')
  })
  for (const { path, kind, size } of entries) {
    if (sealed.has(path) || own(path)) continue
    // Shards of an empty file are none, so a seal by shards says nothing about it (OMS §6.3.2).
    const shardless = statement.serialization.method === 'shards' && kind === 'file' && size === 0
    if (ignored(path)) set(path, 'ignored')
    else if (shardless) set(path, 'ignored', 'it is empty, and shards cover no empty file')
    else set(path, 'extra', kind === 'file' ? undefined : `it is a ${kind} entry`)
  }
  return summary([...verdicts.values()], sealed.size - looked.length, options)
}

/** Sealed files by path. The historical name "." means the only file of a single-file model. */
function sealedFiles(
  statement: Pick<Statement, 'resources'>,
  entries: readonly TreeEntry[],
): Map<string, readonly Resource[]> {
  const [first] = statement.resources
  const [only] = entries
  if (statement.resources.length === 1 && first!.path === '.' && entries.length === 1) {
    return new Map([[only!.path, [{ ...first!, path: only!.path }]]])
  }
  return byPath(statement.resources)
}

/** What is wrong with an entry before any byte is read. */
function differs(
  resources: readonly Resource[],
  entry: TreeEntry | undefined,
): [FileStatus, string?] | undefined {
  if (entry === undefined) return ['missing']
  if (entry.kind !== 'file') return ['changed', `it is a ${entry.kind} entry`]
  const sealedSize = resources[0]!.start === undefined
    ? resources[0]!.size
    : Math.max(...resources.map(({ end }) => end!))
  if (sealedSize === undefined || entry.size === undefined || sealedSize === entry.size) return
  return ['changed', `it has ${entry.size} bytes instead of ${sealedSize}`]
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
