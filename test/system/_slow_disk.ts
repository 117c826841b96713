/** A disk that takes its time, and writes in two halves: what is told too early is told of nothing, or of a torn write. */
import * as fs from 'node:fs/promises'
import type { FileSystem } from '../../backends/log_fs.ts'

/** Waits up to so many milliseconds before each half of a write. */
export function slowDisk(longest: number): FileSystem {
  const pause = () => new Promise((resolve) => setTimeout(resolve, Math.random() * longest))
  return {
    ...fs,
    async open(...args: Parameters<typeof fs.open>) {
      const handle = await fs.open(...args)
      const write = async (bytes: Uint8Array, at: number, length: number, position: number) => {
        await pause()
        const half = Math.floor(length / 2)
        const { bytesWritten } = await handle.write(bytes, at, half, position)
        if (bytesWritten < half) return { bytesWritten }
        await pause()
        const rest = await handle.write(bytes, at + half, length - half, position + half)
        return { bytesWritten: half + rest.bytesWritten }
      }
      return new Proxy(handle, {
        get(target, name) {
          const value = name === 'write' ? write : Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
  } as FileSystem
}
