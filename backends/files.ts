/**
 * Single files, written so that they are there whole or not at all.
 *
 * @module
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, link, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SignetError } from '../src/errors.ts'

/** Options of {@link writeNew}. */
export interface WriteNewOptions {
  /** Permission bits. Default 0o644, less the process's mask. */
  readonly mode?: number
}

/**
 * Writes a file that must not exist yet. When the promise resolves it is on disk; a reader never sees half
 * of it, whatever happens.
 *
 * Errors: `file_exists`, `io_failed`.
 */
export async function writeNew(
  path: string,
  bytes: Uint8Array,
  { mode = 0o644 }: WriteNewOptions = {},
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeSynced(temporary, bytes, mode)
    // Unlike rename, link does not replace what is there.
    await link(temporary, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    const { code = 'unknown' } = cause as { code?: string }
    throw code === 'EEXIST'
      ? new SignetError('file_exists', `${path} exists already`, { where: path, cause })
      : new SignetError('io_failed', `${path} cannot be written (${code})`, { where: path, cause })
  } finally {
    await unlink(temporary).catch(() => {})
  }
}

async function writeSynced(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a new name durable. Windows cannot open folders, and need not. */
async function syncFolder(path: string): Promise<void> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, 'r')
    await handle.sync()
  } catch {
    // the file itself is safe
  } finally {
    await handle?.close()
  }
}
