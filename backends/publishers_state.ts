/**
 * What this machine remembers of publishers files: a folder of small files, one for each version that was
 * ever accepted, `<SHA-256 of the id>/<number>.json`, counted from 1. The highest number counts.
 *
 * Files are added and never changed or removed. A writer adds the number after the one it saw; of many only
 * one gets it (`link` does not replace), so nobody needs a lock that a crash could leave behind, and what was
 * decided upon an old state is never written. As a side effect the folder tells what was trusted when.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { isSignetError, SignetError } from '../src/errors.ts'
import {
  formatPublishersState,
  parsePublishersState,
  type PublishersMemory,
  type PublishersState,
} from '../src/models/mod.ts'
import { writeNew } from './files.ts'
import { stateFolder } from './state_folder.ts'

export { stateFolder } from './state_folder.ts'

/** Options of {@link publishersState}. */
export interface PublishersStateOptions {
  /** Where to remember. Default: {@link stateFolder}, `publishers`. */
  readonly folder?: string | undefined
}

/**
 * The memory of this machine. Errors, besides those of the port: `io_failed` where nothing can be written,
 * `publishers_untrusted` where others can write.
 */
export function publishersState(options: PublishersStateOptions = {}): PublishersMemory {
  const root = options.folder ?? join(stateFolder(), 'publishers')
  const folderOf = (id: string) => join(root, createHash('sha256').update(id).digest('hex'))
  return {
    read: async (id) => (await newest(root, folderOf(id))).state,
    async write(id, state, expected) {
      const folder = folderOf(id)
      const { number, state: found } = await newest(root, folder)
      if (found?.digest !== expected?.digest) return false
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const path = join(folder, `${number + 1}.json`)
        await writeNew(path, formatPublishersState(state), { mode: 0o600 })
        return true
      } catch (error) {
        if (isSignetError(error, 'file_exists')) return false
        if (isSignetError(error)) throw error
        throw new SignetError('io_failed', `${folder} cannot be made`, {
          where: folder,
          cause: error,
        })
      }
    },
  }
}

/** The state with the highest number; 0 and none where there is none. */
async function newest(
  root: string,
  folder: string,
): Promise<{ readonly number: number; readonly state?: PublishersState }> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ENOENT') return { number: 0 }
    throw unreadable(folder, cause)
  }
  const numbers = names.flatMap((name) => /^([1-9][0-9]{0,8})\.json$/.exec(name)?.[1] ?? [])
  const number = Math.max(0, ...numbers.map(Number))
  if (number === 0) return { number }
  const path = join(folder, `${number}.json`)
  for (const one of [root, folder, path]) await refuseShared(one)
  try {
    return { number, state: await parsePublishersState(await readFile(path)) }
  } catch (cause) {
    if (!isSignetError(cause)) throw unreadable(path, cause)
    throw new SignetError(cause.code, `${path}: ${cause.message}`, {
      where: path,
      cause,
      remedy: 'restore the file; without it, an older list could pass for the newest',
    })
  }
}

/** Whoever can write here decides who is trusted. Windows has no such modes. */
async function refuseShared(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const { mode } = await stat(path).catch((cause) => {
    throw unreadable(path, cause)
  })
  if ((mode & 0o022) === 0) return
  throw new SignetError('publishers_untrusted', `others than you can write to ${path}`, {
    where: path,
    remedy: `see whether it was changed, then: chmod go-w ${path}`,
  })
}

function unreadable(path: string, cause: unknown): SignetError {
  return new SignetError('file_unreadable', `${path} cannot be read`, { where: path, cause })
}
