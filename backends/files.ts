/**
 * Files that must be whole or absent: keys, seals, registries. And reading such files without being
 * hung by a FIFO or filled by a giant.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, lstat, open, rename, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Bytes } from '../src/bytes.ts'
import { isSignetError, SignetError } from '../src/errors.ts'

const { O_CREAT, O_DIRECTORY = 0, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY, O_WRONLY } =
  constants

/** Options of {@link writeNew}. */
export interface WriteNewOptions {
  /** Permissions from the first moment on; the umask may take away from them. Default: owner only. */
  readonly mode?: 0o600 | 0o644
  /** Replace a regular file of that name, in one step. Default: refuse (`file_exists`). */
  readonly overwrite?: boolean
}

/**
 * Writes a file, whole or not at all: when this returns, the bytes and the name are on disk; when the
 * process dies before, the name does not exist or is what it was. Of many writers of one new name
 * exactly one wins. What may be left over by `kill -9` is a file `.signet-….tmp` beside it.
 *
 * Nothing is written through a link: a link in the target's place counts as existing, and is
 * refused even with `overwrite`, as is all else that is no regular file.
 *
 * Throws `file_exists`, `symlink_refused`, `special_file_refused`, and `io_failed` for the rest.
 */
export async function writeNew(
  path: string,
  bytes: Uint8Array,
  options: WriteNewOptions = {},
): Promise<void> {
  const { mode = 0o600, overwrite = false } = options
  const target = resolve(path)
  const folder = dirname(target)
  try {
    await refuseOccupied(target, path, overwrite)
    const temporary = join(folder, `.signet-${randomBytes(8).toString('hex')}.tmp`)
    try {
      await writeDurably(temporary, bytes, mode)
      if (overwrite) await rename(temporary, target)
      else await claim(temporary, target)
    } catch (error) {
      await unlink(temporary).catch(() => {})
      throw error
    }
    await syncFolder(folder)
  } catch (error) {
    throw writeError(path, error)
  }
}

/** A name that is taken is known without writing anything; what counts against races is `link`. */
async function refuseOccupied(target: string, path: string, overwrite: boolean): Promise<void> {
  const found = await lstat(target).catch((error) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return
  if (!overwrite) throw existsError(path)
  if (found.isFile()) return
  throw new SignetError(
    found.isSymbolicLink() ? 'symlink_refused' : 'special_file_refused',
    `${path} is not a regular file and is not replaced`,
    { where: path, remedy: 'choose another name' },
  )
}

async function writeDurably(temporary: string, bytes: Uint8Array, mode: number): Promise<void> {
  const handle = await open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
  try {
    for (let at = 0; at < bytes.length;) {
      at += (await handle.write(bytes, at, bytes.length - at, null)).bytesWritten
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Gives the file its name unless the name is taken: `link` fails then, `rename` would replace. */
async function claim(temporary: string, target: string): Promise<void> {
  try {
    await link(temporary, target)
  } catch (error) {
    if (!NO_LINKS.has(codeOf(error))) throw error
    return await claimWithoutLinks(temporary, target)
  }
  await unlink(temporary)
}

/** What `link` says on file systems that have no hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

/**
 * For file systems without hard links: an empty file takes the name, and is replaced; `kill -9` in
 * between leaves it empty. Errors are those of `node:fs`.
 */
export async function claimWithoutLinks(temporary: string, target: string): Promise<void> {
  await (await open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)).close()
  try {
    await rename(temporary, target)
  } catch (error) {
    await unlink(target).catch(() => {})
    throw error
  }
}

/** Makes a new name durable. Windows cannot open folders, and needs no such step. */
async function syncFolder(folder: string): Promise<void> {
  if (O_DIRECTORY === 0) return
  const handle = await open(folder, O_RDONLY | O_DIRECTORY)
  try {
    await handle.sync()
  } catch (error) {
    // File systems that cannot sync folders say so; all other failures count.
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(codeOf(error))) throw error
  } finally {
    await handle.close()
  }
}

/**
 * Reads a small file whole. Links are followed (Kubernetes mounts secrets as links); FIFOs, sockets
 * and devices are refused without waiting for them.
 *
 * Throws `file_unreadable`, `special_file_refused`, and `too_large` above `maxBytes`, also when the
 * file grows while it is read.
 */
export async function readLimited(path: string, maxBytes: number): Promise<Bytes> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, O_RDONLY | O_NONBLOCK)
    const stats = await handle.stat()
    if (stats.isDirectory()) {
      throw new SignetError('file_unreadable', `${path} is a folder`, { where: path })
    }
    if (!stats.isFile()) throw specialError(path)
    if (stats.size > maxBytes) throw sizeError(path, maxBytes)
    // One byte more than the file says, so that its end is seen and not assumed.
    let buffer = new Uint8Array(stats.size + 1)
    let at = 0
    for (;;) {
      const { bytesRead } = await handle.read(buffer, at, buffer.length - at, at)
      if (bytesRead === 0) return buffer.slice(0, at)
      at += bytesRead
      if (at > maxBytes) throw sizeError(path, maxBytes)
      if (at === buffer.length) {
        const larger = new Uint8Array(Math.min(2 * at + 4096, maxBytes + 1))
        larger.set(buffer)
        buffer = larger
      }
    }
  } catch (error) {
    throw readError(path, error)
  } finally {
    await handle?.close()
  }
}

function codeOf(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string }
  return code ?? name ?? 'unknown error'
}

function existsError(path: string): SignetError {
  return new SignetError('file_exists', `${path} exists already`, {
    where: path,
    remedy: 'choose another name, or pass --force to replace it',
  })
}

function specialError(path: string, cause?: unknown): SignetError {
  return new SignetError('special_file_refused', `${path} is not a regular file`, {
    where: path,
    remedy: 'put the content into a file',
    cause,
  })
}

function sizeError(path: string, maxBytes: number): SignetError {
  return new SignetError('too_large', `${path} has more than ${maxBytes} bytes`, { where: path })
}

function writeError(path: string, cause: unknown): SignetError {
  if (isSignetError(cause)) return cause
  const code = codeOf(cause)
  if (code === 'EEXIST') return existsError(path)
  return new SignetError('io_failed', `${path} could not be written: ${code}`, {
    where: path,
    remedy: code === 'ENOENT' ? 'make its folder first' : undefined,
    cause,
  })
}

function readError(path: string, cause: unknown): SignetError {
  if (isSignetError(cause)) return cause
  const code = codeOf(cause)
  if (code === 'ENXIO' || code === 'ENODEV') return specialError(path, cause)
  const missing = code === 'ENOENT'
  return new SignetError(
    'file_unreadable',
    missing ? `${path} does not exist` : `${path} cannot be read: ${code}`,
    { where: path, remedy: missing ? 'check the path' : 'check its permissions', cause },
  )
}
