/**
 * A folder on disk as a {@link FileTree}.
 *
 * Links are never followed, neither in a name nor in a folder on the way, unless
 * `insecureFollowSymlinks` says so. What is digested comes from one open descriptor, and is refused
 * when the file was changed, touched or replaced meanwhile.
 *
 * **Not covered:** what happens to the folder after its files were read; a writer that changes bytes
 * of a file and leaves size and times as they were (times are as coarse as the runtime tells them:
 * Deno gives milliseconds, and whole seconds for the time of change; Node and Bun nanoseconds).
 *
 * @module
 */
import * as fs from 'node:fs'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { setImmediate } from 'node:timers'
import { SignetError } from '../src/errors.ts'
import type { FileTree, TreeEntry } from '../src/models/mod.ts'
import { digestPool, spanError } from './fs_pool.ts'

/** Options of {@link folderTree}. */
export interface FolderTreeOptions {
  /** Threads that hash, the calling one included. Default: the processor's cores, at most 8. */
  readonly workers?: number
  /**
   * Takes links for what they lead to, inside and outside the root: a link to a file is a file under
   * the link's name, and a linked folder is listed to its last file, as often as links lead to
   * it (which links to links can make very often: count the entries). A link that leads back into a
   * folder it lies in is refused (`symlink_refused`). Default: links are listed as links.
   */
  readonly insecureFollowSymlinks?: boolean
}

/** Where the tree is: a folder, or one file in a folder. */
interface Root {
  /** The folder, links resolved. */
  readonly folder: string
  /** The only name in it that counts. */
  readonly only: string | undefined
}

/** A folder still to be listed. In a tree that follows links, the folders around it are known. */
interface Pending {
  /** Relative to the root, `''` or ending in `/`. */
  readonly prefix: string
  readonly around: Around | undefined
}

interface Around {
  readonly id: string
  readonly outer: Around | undefined
}

/** How many sizes are kept from listing for digesting. */
const SIZES_KEPT = 1024
/** How many entries are looked at before other events get their turn. */
const ENTRIES_PER_TURN = 256

/**
 * The tree below `root`: a folder, or one file, which is then the only entry, under its own name.
 * A link given as root is followed when it leads to a folder; `root` is the caller's word.
 *
 * Nothing is opened until the first call. Errors are those of {@link FileTree}; a root that is
 * missing is `file_unreadable`.
 */
export function folderTree(root: string, options: FolderTreeOptions = {}): FileTree {
  const {
    workers = Math.min(Math.max(globalThis.navigator?.hardwareConcurrency ?? 1, 1), 8),
    insecureFollowSymlinks: follow = false,
  } = options
  if (!Number.isSafeInteger(workers) || workers < 1 || workers > 256) {
    throw new SignetError('usage_invalid', 'the number of workers is not between 1 and 256')
  }
  if (root === '') throw new SignetError('usage_invalid', 'the path of the folder is empty')
  const absolute = resolve(root)
  const pool = digestPool(workers)
  let known: Root | undefined
  /** Of the files listed last, to share their work out well. */
  const sizes = new Map<string, number>()

  function place(): Root {
    try {
      return known ??= findRoot(absolute, follow)
    } catch (error) {
      throw unreadable(root, error)
    }
  }

  return {
    // One thread needs the next file ready; several need enough small ones to share out.
    parallel: workers === 1 ? 2 : 64 * workers,

    async *list({ skip = () => false, signal } = {}): AsyncGenerator<TreeEntry> {
      known = undefined
      const { folder, only } = place()
      if (only !== undefined) {
        wellFormed(only, root)
        if (!skip(only)) yield entryOf(only, look(join(folder, only), only, follow))
        return
      }
      const pending: Pending[] = [{ prefix: '', around: undefined }]
      let seen = 0
      for (let here = pending.pop(); here !== undefined; here = pending.pop()) {
        const around = follow ? enter(folder, here) : undefined
        for await (const name of names(folder, here.prefix)) {
          if (seen++ % ENTRIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn))
          if (signal?.aborted) {
            throw new SignetError('aborted', 'listing was aborted', { cause: signal.reason })
          }
          const path = here.prefix + name
          if (skip(path)) continue
          const stats = look(join(folder, path), path, follow)
          if (stats.isDirectory()) {
            pending.push({ prefix: `${path}/`, around })
            continue
          }
          sizes.set(path, stats.size)
          if (sizes.size > SIZES_KEPT) sizes.delete(sizes.keys().next().value ?? '')
          yield entryOf(path, stats)
        }
      }
    },

    async digest(path, request) {
      const { start = 0, end } = request
      if (
        !Number.isSafeInteger(start) || start < 0 ||
        (end !== undefined && (!Number.isSafeInteger(end) || end < start))
      ) {
        throw new SignetError('usage_invalid', `no bytes run from ${start} to ${end}`, {
          where: path,
        })
      }
      const { folder, only } = place()
      inside(path)
      if (only !== undefined && path !== only) {
        throw spanError(path, 'file_unreadable', 'does not exist')
      }
      const file = join(folder, path)
      const size = sizes.get(path) ?? sizeHint(file)
      sizes.delete(path)
      const span = { file, folder: dirname(file), start, end, follow }
      return await pool.digest(path, span, Math.min(size, end ?? size) - start, request)
    },
  }
}

function findRoot(absolute: string, follow: boolean): Root {
  if (fs.statSync(absolute).isDirectory()) {
    return { folder: fs.realpathSync.native(absolute), only: undefined }
  }
  // The file itself is an entry, so a link to it is treated like any other.
  const folder = dirname(absolute)
  return { folder: follow ? folder : fs.realpathSync.native(folder), only: basename(absolute) }
}

/** A guess at the work; the size that counts is that of the open descriptor. */
function sizeHint(file: string): number {
  try {
    return fs.statSync(file).size
  } catch {
    return 0
  }
}

/** The state of a path; with `follow`, of what it leads to, unless that is missing. */
function look(file: string, path: string, follow: boolean): fs.Stats {
  try {
    const stats = fs.lstatSync(file)
    if (!follow || !stats.isSymbolicLink()) return stats
    return fs.statSync(file, { throwIfNoEntry: false }) ?? stats
  } catch (error) {
    // A name whose replacement character stands for bytes that are no UTF-8 leads nowhere.
    if (path.includes('\ufffd') && codeOf(error) === 'ENOENT') throw invalidName(path)
    throw unreadable(path, error)
  }
}

function entryOf(path: string, stats: fs.Stats): TreeEntry {
  if (stats.isFile()) return { path, kind: 'file', size: stats.size }
  return { path, kind: stats.isSymbolicLink() ? 'symlink' : 'special', size: 0 }
}

/**
 * The names in one folder.
 *
 * Runtimes put U+FFFD for bytes that are not UTF-8 (Deno even in names asked for as bytes), so such
 * a name could stand for another. It is genuine if it occurs once and leads to a file ({@link look}):
 * bytes that are no UTF-8 read as a name that does not exist, or as one that another file has.
 *
 * A folder that became a link since it was looked at is listed through the link. That gains nothing:
 * its files lie behind a link and have no digest, and hiding files was as easy by removing them.
 */
async function* names(root: string, prefix: string): AsyncGenerator<string> {
  const folder = prefix === '' ? root : join(root, prefix.slice(0, -1))
  const where = prefix === '' ? '.' : prefix
  const doubtful = new Set<string>()
  try {
    for await (const { name } of DENO?.readDir(folder) ?? readFolder(folder)) {
      wellFormed(name, where)
      if (name.includes('\ufffd')) {
        if (doubtful.has(name)) throw invalidName(prefix + name)
        doubtful.add(name)
      }
      yield name
    }
  } catch (error) {
    throw unreadable(where, error)
  }
}

/**
 * Deno's own reader of folders, where there is one: it hands out names as they come. What `node:fs`
 * does there takes 1.3 kB for each name of a folder at once, and twice the time.
 */
const { Deno: DENO } = globalThis as unknown as {
  Deno?: { readDir(path: string): AsyncIterable<{ readonly name: string }> }
}

/** Names as they come (Node), or one folder's at a time (Bun). */
function* readFolder(folder: string): Generator<{ readonly name: string }> {
  const open = fs.opendirSync(folder, { bufferSize: ENTRIES_PER_TURN })
  try {
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) yield entry
  } finally {
    open.closeSync()
  }
}

/** Remembers the folders that a folder lies in; one that lies in itself is a loop of links. */
function enter(root: string, { prefix, around }: Pending): Around {
  let id: string
  try {
    const { dev, ino } = fs.statSync(join(root, prefix), { bigint: true })
    id = `${dev}:${ino}`
  } catch (error) {
    throw unreadable(prefix, error)
  }
  for (let outer = around; outer !== undefined; outer = outer.outer) {
    if (outer.id === id) {
      throw spanError(prefix, 'symlink_refused', 'leads back into a folder that it lies in')
    }
  }
  return { id, outer: around }
}

/** Refuses paths that could lead out of the root whatever is on disk. */
function inside(path: string): void {
  const parts = path.split('/')
  if (
    parts.some((part) => part === '' || part === '.' || part === '..') || path.includes('\0') ||
    !path.isWellFormed() || (sep === '\\' && /[\\:]/.test(path))
  ) {
    throw new SignetError('name_invalid', 'the path does not name a file below the root', {
      where: path,
    })
  }
}

function wellFormed(name: string, where: string): void {
  if (!name.isWellFormed()) throw invalidName(`${where}/${name.toWellFormed()}`)
}

function invalidName(path: string): SignetError {
  return new SignetError('name_invalid', 'the name of a file is not valid UTF-8', {
    where: path,
    remedy: 'rename the file, or leave its folder out',
  })
}

function codeOf(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string }
  return code ?? name ?? 'unknown error'
}

function unreadable(where: string, cause: unknown): SignetError {
  if (cause instanceof SignetError) return cause
  const missing = codeOf(cause) === 'ENOENT'
  return new SignetError(
    'file_unreadable',
    missing ? `${where} does not exist` : `${where} cannot be read: ${codeOf(cause)}`,
    {
      where,
      remedy: missing ? 'check the path' : 'check its permissions, or leave it out',
      cause,
    },
  )
}
