/**
 * A file replaced only if it is still what somebody read: for files that people and programs edit at once.
 *
 * @module
 */
import { lstat, open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { equalBytes } from '../src/bytes.ts'
import { isSignetError, SignetError } from '../src/errors.ts'
import { writeNew } from './files.ts'

/** How long to wait for another writer, and how often to look. */
const [PATIENCE_MS, PAUSE_MS] = [3000, 30]

/**
 * Replaces a file in one step if it still holds `expected` (undefined: if there is none); a reader sees the
 * old bytes or the new ones. The new bytes are written to `PATH.lock` first, which also keeps other writers
 * out, as git does it. `kill -9` can leave that file behind; the message then names it.
 *
 * Errors: `publishers_conflict` (the file changed since it was read; or somebody else has been writing for
 * three seconds), `symlink_refused`, `special_file_refused`, `file_unreadable`, `io_failed`.
 */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  expected: Uint8Array | undefined,
): Promise<void> {
  const target = resolve(path)
  const lock = `${target}.lock`
  await claim(lock, path, bytes)
  try {
    const found = await contents(target, path)
    const same = found === undefined || expected === undefined
      ? found === expected
      : equalBytes(found, expected)
    if (!same) {
      throw new SignetError('publishers_conflict', `${path} changed since it was read`, {
        where: path,
        remedy: 'look at what it is now, and try again',
      })
    }
    await rename(lock, target)
  } catch (cause) {
    await unlink(lock).catch(() => {})
    if (isSignetError(cause)) throw cause
    throw new SignetError('io_failed', `${path} cannot be written`, { where: path, cause })
  }
  await syncFolder(dirname(target))
}

async function claim(lock: string, path: string, bytes: Uint8Array): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS;;) {
    try {
      return await writeNew(lock, bytes, { mode: 0o644 })
    } catch (error) {
      if (!isSignetError(error, 'file_exists')) throw error
      if (Date.now() > end) {
        throw new SignetError('publishers_conflict', `somebody else is writing ${path}`, {
          where: path,
          remedy: `if no other signet is at work there, delete ${lock}`,
          cause: error,
        })
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

async function contents(target: string, path: string): Promise<Uint8Array | undefined> {
  try {
    const found = await lstat(target)
    if (!found.isFile()) {
      throw new SignetError(
        found.isSymbolicLink() ? 'symlink_refused' : 'special_file_refused',
        `${path} is no regular file and is not replaced`,
        { where: path },
      )
    }
    return await readFile(target)
  } catch (cause) {
    if (isSignetError(cause)) throw cause
    if ((cause as { code?: string }).code === 'ENOENT') return undefined
    throw new SignetError('file_unreadable', `${path} cannot be read`, { where: path, cause })
  }
}

/** Makes the new name durable, where folders can be synced. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}
