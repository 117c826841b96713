/** A tree turned into resources: every file listed, its name checked, its bytes digested in parallel. */
import { type Bytes, toHex } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { checkAborted } from '../keys/mod.ts'
import type { FileTree, TreeEntry } from './file_tree.ts'
import { checkDistinct, checkName, compareNames } from './name.ts'
import { type Resource, resourceName, type Serialization } from './statement.ts'

/** How far the hashing has come. */
export interface Progress {
  /** Bytes digested. */
  readonly bytes: number
  /** Bytes to digest in all. */
  readonly totalBytes: number
  /** Files or shards done. */
  readonly files: number
  /** Files or shards in all. */
  readonly totalFiles: number
}

/** Options of work that may take long. */
export interface WorkOptions {
  /** Called often, while hashing. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Ends the work early with `aborted`. */
  readonly signal?: AbortSignal | undefined
}

/** One digest to compute. */
export interface Task extends Omit<Resource, 'digest' | 'size'> {
  /** Bytes that it reads. */
  readonly bytes: number
}

const REFUSED = {
  symlink: ['symlink_refused', 'a symbolic link'],
  special: ['special_file_refused', 'neither file nor folder'],
} as const

/** All entries of a tree, in code-point order. */
export async function listTree(
  tree: FileTree,
  options: WorkOptions & { readonly skip?: (path: string) => boolean } = {},
): Promise<TreeEntry[]> {
  const { skip = () => false, signal } = options
  const entries: TreeEntry[] = []
  for await (const entry of tree.list({ skip, ...(signal === undefined ? {} : { signal }) })) {
    checkName(entry.path)
    entries.push(entry)
  }
  return entries.sort((a, b) => compareNames(a.path, b.path))
}

/**
 * Digests everything that a seal covers.
 *
 * Errors: `model_empty`, `symlink_refused`, `special_file_refused`, `name_invalid`, `name_collision`, and
 * those of the tree.
 */
export async function scanTree(
  tree: FileTree,
  serialization: Serialization,
  skip: (path: string) => boolean,
  options: WorkOptions & { readonly allowCaseCollisions?: boolean | undefined } = {},
): Promise<Resource[]> {
  const entries = await listTree(tree, { ...options, skip })
  for (const { kind, path } of entries) {
    if (kind === 'file') continue
    const [code, what] = REFUSED[kind]
    throw new SignetError(code, `${path} is ${what}`, {
      where: path,
      remedy: 'remove it, or leave it out with --ignore',
    })
  }
  checkDistinct(entries.map(({ path }) => path), options.allowCaseCollisions)
  const tasks = entries.flatMap((entry) => tasksOf(entry, serialization))
  if (serialization.method === 'shards') {
    tasks.sort((a, b) => compareNames(resourceName(a), resourceName(b)))
  }
  if (tasks.length === 0) {
    throw new SignetError('model_empty', 'there is no file to seal')
  }
  const digests = new Array<string>(tasks.length)
  await digestAll(tree, tasks, (digest, _, i) => digests[i] = digest, options)
  return tasks.map(({ bytes: _, ...task }, i) => ({ ...task, digest: digests[i]! }))
}

/** A file as one task, or as one for each shard. */
function tasksOf(
  { path, size }: TreeEntry,
  serialization: Serialization,
): (Task & { readonly size: number })[] {
  const { hashType: algorithm, shardSize } = serialization
  if (size === undefined) throw new SignetError('file_unreadable', `${path} has no known size`)
  if (shardSize === undefined) return [{ path, algorithm, size, bytes: size }]
  return Array.from({ length: Math.ceil(size / shardSize) }, (_, i) => {
    const start = i * shardSize
    const end = Math.min(size, start + shardSize)
    return { path, start, end, algorithm, size, bytes: end - start }
  })
}

/**
 * Digests tasks and hands each digest, in hex, to `each`, in whatever order they end. `tree.parallel` are under
 * way at once, the largest first so that no worker is left with a big one at the end. `onError` may take a failure.
 */
export async function digestAll<T extends Task>(
  tree: FileTree,
  tasks: readonly T[],
  each: (digest: string, task: T, index: number) => void,
  options: WorkOptions = {},
  onError?: (error: unknown, task: T) => void,
): Promise<void> {
  const { onProgress, signal } = options
  const order = tasks.map((_, i) => i).sort((a, b) => tasks[b]!.bytes - tasks[a]!.bytes)
  const totalBytes = tasks.reduce((sum, task) => sum + task.bytes, 0)
  const stop = new AbortController()
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  let [next, bytes, files] = [0, 0, 0]
  const report = (count: number, done: number) => {
    bytes += count
    files += done
    onProgress?.({ bytes, totalBytes, files, totalFiles: tasks.length })
  }
  const onBytes = (count: number) => report(count, 0)
  const worker = async () => {
    while (next < order.length && !stop.signal.aborted) {
      checkAborted(signal)
      const index = order[next++]!
      const task = tasks[index]!
      const { path, algorithm, start, end } = task
      const span = start === undefined ? {} : { start, end: end! }
      let digest: Bytes
      try {
        digest = await tree.digest(path, { algorithm, ...span, onBytes, signal: either })
      } catch (error) {
        if (onError === undefined || either.aborted) throw error
        onError(error, task)
        report(0, 1)
        continue
      }
      each(toHex(digest), task, index)
      report(0, 1)
    }
  }
  const workers = Array.from({ length: Math.max(1, Math.min(tree.parallel, tasks.length)) }, worker)
  try {
    await Promise.all(workers)
  } catch (error) {
    stop.abort()
    await Promise.allSettled(workers) // nothing goes on reading after the answer
    throw error
  }
}
