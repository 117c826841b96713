/**
 * Where the anchor of a device's log lies: in a file away from the device's folder. Whoever puts an older copy of the
 * folder back puts state and log back together, and the two still agree; the anchor does not.
 */
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isSignetError, SignetError } from '../src/errors.ts'
import type { LogAnchor } from '../src/log/mod.ts'
import { readLimited, writeNew } from './files.ts'
import { stateFolder } from './state_folder.ts'

/** An anchor is a proof and two hashes; larger files are none. */
const MAX_BYTES = 2 ** 20

/** An anchor in a file. */
export interface FileAnchor extends LogAnchor {
  /** The file. */
  readonly path: string
}

/** Options of {@link deviceAnchor}. */
export interface DeviceAnchorOptions {
  /** Where anchors lie. Default: `devices` in the folder of this user's state. */
  readonly folder?: string | undefined
}

/**
 * An anchor in a file, which is made with its folder when it is first stored, readable by its owner only, and replaced
 * in one step. Errors: `io_failed`, and what reading says.
 */
export function fileAnchor(path: string): FileAnchor {
  return {
    path,
    async load() {
      try {
        return await readLimited(path, MAX_BYTES)
      } catch (error) {
        const { code } = (error as { cause?: { code?: string } }).cause ?? {}
        if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
        throw error
      }
    },
    async store(anchor) {
      try {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 })
        await writeNew(path, anchor, { mode: 0o600, overwrite: true })
      } catch (cause) {
        const why = isSignetError(cause) ? `: ${cause.message}` : ''
        throw new SignetError('io_failed', `the anchor ${path} cannot be written${why}`, {
          where: path,
          cause,
          remedy: 'keep it where it can be written: --anchor FILE',
        })
      }
    },
  }
}

/**
 * The anchor of the log that the device with a key (its thumbprint) keeps for a server: where the commands look for it
 * when they are told of no other. A program that opens the same folder gives this to `openDevice`.
 */
export function deviceAnchor(
  device: string,
  issuer: string,
  options: DeviceAnchorOptions = {},
): FileAnchor {
  const server = createHash('sha256').update(issuer).digest('hex').slice(0, 32)
  const folder = options.folder ?? join(stateFolder(), 'devices')
  return fileAnchor(join(folder, `${device}.${server}.anchor`))
}
