/**
 * A disk with a cache that is lost with the process: what is written lies there in two halves, after a while, and only
 * once it is synced. So what is told before its sync is told of nothing, or of a torn write.
 */
import { type FileSystem, realFileSystem } from '../../backends/log_fs.ts'

interface Write {
  readonly bytes: Uint8Array
  readonly position: number
}

/** Waits up to so many milliseconds before each half of a write. */
export function slowDisk(longest: number): FileSystem {
  const pause = () => new Promise((resolve) => setTimeout(resolve, Math.random() * longest))
  const caches = new Map<number, Write[]>()
  const cache = (fd: number, { bytes, position }: Write) => {
    const waiting = caches.get(fd) ?? []
    caches.set(fd, waiting)
    waiting.push({ bytes: bytes.slice(), position })
    return bytes.length
  }
  return {
    ...realFileSystem,
    writeSync:
      ((fd: number, bytes: Uint8Array, at: number, length: number, position: number) =>
        cache(fd, { bytes: bytes.subarray(at, at + length), position })) as FileSystem['writeSync'],
    async open(...args: Parameters<FileSystem['open']>) {
      const handle = await realFileSystem.open(...args)
      const { fd } = handle
      const write = (bytes: Uint8Array, at: number, length: number, position: number) =>
        Promise.resolve({
          bytesWritten: cache(fd, { bytes: bytes.subarray(at, at + length), position }),
        })
      const flush = async () => {
        for (const { bytes, position } of caches.get(fd)?.splice(0) ?? []) {
          const half = Math.floor(bytes.length / 2)
          await pause()
          await handle.write(bytes, 0, half, position)
          await pause()
          await handle.write(bytes, half, bytes.length - half, position + half)
        }
      }
      return new Proxy(handle, {
        get(target, name) {
          if (name === 'write') return write
          const value = Reflect.get(target, name)
          if (typeof value !== 'function') return value
          return async (...more: unknown[]) => {
            await flush() // before a sync it is to be there; all else is to see what was written
            return await value.apply(target, more)
          }
        },
      })
    },
  }
}
