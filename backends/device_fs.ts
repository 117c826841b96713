/**
 * What a device keeps on disk. Its sealed states are in a folder: `state.0` and `state.1`, which take turns, so that the
 * state before the newest is always there. Each is replaced in one step, synced, and readable by its owner only. The
 * anchor of its log lies elsewhere: `deviceAnchor`.
 *
 * @module
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bytes } from '../src/bytes.ts'
import { isSignetError, SignetError } from '../src/errors.ts'
import type { DeviceStorage } from '../src/grants/mod.ts'
import { readLimited, writeNew } from './files.ts'

export type { Bytes } from '../src/bytes.ts'
export type { DeviceStorage } from '../src/grants/mod.ts'
export type { LogAnchor } from '../src/log/mod.ts'
export {
  deviceAnchor,
  type DeviceAnchorOptions,
  type FileAnchor,
  fileAnchor,
} from './device_anchor.ts'

/** States larger than this are none. */
const MAX_BYTES = 64 * 1024 * 1024

/** The states in a folder, which is made if need be. */
export function fileDeviceStorage(folder: string): DeviceStorage {
  const slot = (n: number) => join(folder, `state.${n % 2}`)
  return {
    async load() {
      const states: Bytes[] = []
      for (const path of [slot(0), slot(1)]) {
        try {
          states.push(await readLimited(path, MAX_BYTES))
        } catch (error) {
          const { code } = (error as { cause?: { code?: string } }).cause ?? {}
          if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
        }
      }
      return states
    },
    async save(generation, state) {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 })
      } catch (cause) {
        throw new SignetError('io_failed', `cannot make ${folder}`, { where: folder, cause })
      }
      try {
        await writeNew(slot(generation), state, { mode: 0o600, overwrite: true })
      } catch (cause) {
        if (isSignetError(cause, 'io_failed')) throw cause
        throw new SignetError('io_failed', 'the state of the device cannot be written', {
          where: folder,
          cause,
        })
      }
    },
  }
}
