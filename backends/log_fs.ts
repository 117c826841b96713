/**
 * A log on disk: resources as files just as C2SP tlog-tiles serves them, so that the folder behind any
 * web server is a log that clients can read; and in `.signet`, which no server should serve, the lock, the
 * journal and the openings of private fields.
 *
 * The journal is two files of frames that take turns: while one is being published, the other takes what
 * comes. One write and one fdatasync make a record durable.
 */
import { writeSync } from 'node:fs'
import * as nodeFs from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Bytes, owned } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import type { Change, LogStorage, LogWriter } from '../src/log/mod.ts'
import { encodeFrame, journalCorrupt, type Scan, scanJournal } from './log_frames.ts'
import { isCode, readResource, resourcePath } from './log_resources.ts'
import { type HeldLock, takeLock } from './sqlite_lock.ts'

export type { Bytes } from '../src/bytes.ts'
export type { Change, LogStorage, LogWriter } from '../src/log/mod.ts'

/** The part of the file system that is used; tests inject faults here. */
export type FileSystem =
  & Pick<typeof nodeFs, 'mkdir' | 'open' | 'readFile' | 'rename' | 'rm'>
  & { readonly writeSync: typeof writeSync }

/** The real one. */
export const realFileSystem: FileSystem = { ...nodeFs, writeSync }

type FileHandle = Awaited<ReturnType<typeof nodeFs.open>>

/** Options of {@link fileLogStorage}. */
export interface FileLogOptions {
  /** Default: the real one. */
  readonly fs?: FileSystem | undefined
}

/** Resources written at once; their syncs share the disk's own flushes. */
const PARALLEL = 8
/** Frames up to here are written on the calling thread. */
const AT_ONCE_BYTES = 64 * 1024

/** The storage of a log in a folder, which is made if need be. */
export function fileLogStorage(folder: string, options: FileLogOptions = {}): LogStorage {
  const { fs = realFileSystem } = options
  return {
    read: (path) => readResource(folder, path, fs.readFile),
    async lock() {
      const own = join(folder, '.signet')
      try {
        // The log itself is for a web server to read; only its folder .signet is not.
        const made = await fs.mkdir(folder, { recursive: true })
        await fs.mkdir(own, { recursive: true, mode: 0o700 })
        if (made !== undefined) {
          for (let at = resolve(folder); at.length >= resolve(made).length; at = dirname(at)) {
            await syncFolder(fs, dirname(at))
          }
        }
      } catch (cause) {
        throw new SignetError('io_failed', 'cannot make the folder of the log', {
          where: own,
          cause,
        })
      }
      const lock = takeLock(join(own, 'lock'))
      try {
        return await FileWriter.open(folder, fs, lock)
      } catch (error) {
        lock.release()
        throw error
      }
    },
  }
}

/** One of the two journal files. */
interface JournalFile {
  readonly path: string
  readonly handle: FileHandle
  /** Bytes of whole frames. */
  length: number
}

class FileWriter implements LogWriter {
  readonly records: readonly Bytes[]
  readonly cut: number
  readonly #folder: string
  readonly #fs: FileSystem
  readonly #lock: HeldLock
  readonly #files: readonly [JournalFile, JournalFile]
  #active: 0 | 1
  #next: number
  #state: 'open' | 'broken' | 'released' = 'open'
  #busy: Promise<unknown> = Promise.resolve()

  constructor(
    folder: string,
    fs: FileSystem,
    lock: HeldLock,
    files: readonly [JournalFile, JournalFile],
    found: { records: Bytes[]; cut: number; next: number; active: 0 | 1 },
  ) {
    this.#folder = folder
    this.#fs = fs
    this.#lock = lock
    this.#files = files
    this.records = found.records
    this.cut = found.cut
    this.#next = found.next
    this.#active = found.active
  }

  static async open(folder: string, fs: FileSystem, lock: HeldLock): Promise<FileWriter> {
    const files: JournalFile[] = []
    try {
      const scans: Scan[] = []
      for (const name of ['journal.0', 'journal.1']) {
        const path = join(folder, '.signet', name)
        const handle = await openJournal(fs, path)
        const file = { path, handle, length: 0 }
        files.push(file) // before anything can throw: it has to be closed then
        const scan = scanJournal(owned(new Uint8Array(await handle.readFile())), path)
        file.length = scan.end
        scans.push(scan)
      }
      const [a, b] = scans as [Scan, Scan]
      const newest = (a.frames.at(-1)?.number ?? -1) > (b.frames.at(-1)?.number ?? -1) ? 0 : 1
      const frames = newest === 0 ? [...b.frames, ...a.frames] : [...a.frames, ...b.frames]
      for (const [i, frame] of frames.entries()) {
        if (i > 0 && frame.number !== frames[i - 1]!.number + 1) {
          throw journalCorrupt(
            `a record before number ${frame.number} is missing`,
            join(folder, '.signet'),
          )
        }
      }
      // Nothing is written before all has been found to be in order.
      for (const [i, { handle, length }] of files.entries()) {
        if (scans[i]!.cut === 0) continue
        await handle.truncate(length)
        await handle.datasync()
      }
      await syncFolder(fs, join(folder, '.signet'))
      await syncFolder(fs, folder)
      return new FileWriter(folder, fs, lock, files as [JournalFile, JournalFile], {
        records: frames.map(({ record }) => record),
        cut: a.cut + b.cut,
        next: (frames.at(-1)?.number ?? -1) + 1,
        active: newest,
      })
    } catch (cause) {
      for (const { handle } of files) await handle.close()
      throw cause instanceof SignetError ? cause : new SignetError(
        'io_failed',
        'cannot open the journal of the log',
        { where: folder, cause },
      )
    }
  }

  append(record: Bytes): Promise<void> {
    const done = this.#append(record)
    this.#busy = Promise.allSettled([this.#busy, done])
    return done
  }

  async #append(record: Bytes): Promise<void> {
    this.#check()
    const file = this.#files[this.#active]
    const frame = encodeFrame(record, this.#next)
    try {
      await this.#writeFrame(file, frame)
      await file.handle.datasync()
    } catch (cause) {
      await this.#undo(file, cause)
    }
    file.length += frame.length
    this.#next++
  }

  /** A small frame is handed to the system at once: that costs less than handing it to another thread. */
  async #writeFrame({ handle, length }: JournalFile, frame: Bytes): Promise<void> {
    const done = frame.length > AT_ONCE_BYTES
      ? 0
      : this.#fs.writeSync(handle.fd, frame, 0, frame.length, length)
    await writeAll(handle, frame.subarray(done), length + done)
  }

  /** After a failed write nobody knows what the disk has: cut it back, or say so. */
  async #undo(file: JournalFile, cause: unknown): Promise<never> {
    try {
      await file.handle.truncate(file.length)
      await file.handle.datasync()
    } catch {
      this.#state = 'broken'
      throw new SignetError('log_in_doubt', 'a write to the log failed and cannot be undone', {
        where: file.path,
        remedy: 'put the disk in order and open the log again: it will tell what is there',
        cause,
      })
    }
    throw new SignetError('log_not_durable', 'a write to the log failed and was undone', {
      where: file.path,
      remedy: 'see that the disk is writable and has space',
      cause,
    })
  }

  publish(changes: Promise<readonly Change[]>): Promise<void> {
    const done = this.#publish(changes)
    this.#busy = Promise.allSettled([this.#busy, done])
    return done
  }

  async #publish(changes: Promise<readonly Change[]>): Promise<void> {
    changes.catch(() => {}) // it may fail before anybody looks at it
    this.#check()
    // Take turns at once: what is appended from here on must be kept. After a failed publication both
    // files are in use; then the older one is what this call frees.
    const old = this.#files[this.#active === 0 ? 1 : 0].length === 0
    if (old) this.#active = this.#active === 0 ? 1 : 0
    const done = this.#files[this.#active === 0 ? 1 : 0]
    const all = await changes
    try {
      const last = all.at(-1)
      await this.#writeAllResources(all.slice(0, -1))
      if (last !== undefined) await this.#writeAllResources([last])
      if (done.length > 0) {
        await done.handle.truncate(0)
        await done.handle.datasync()
        done.length = 0
      }
    } catch (cause) {
      throw new SignetError('io_failed', 'the log cannot be published', {
        where: this.#folder,
        cause,
      })
    }
  }

  async #writeAllResources(changes: readonly Change[]): Promise<void> {
    const folders = new Set<string>()
    const queue = changes.filter(({ bytes }) => bytes !== undefined)
    const work = async () => {
      for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
        await this.#write(change, folders)
      }
    }
    // All of them end before this does, also when one fails: what still writes must not meet the next writer.
    const ends = await Promise.allSettled(
      Array.from(
        { length: Math.min(PARALLEL, queue.length) },
        () => work().finally(() => queue.length = 0),
      ),
    )
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    const emptied = new Set<string>()
    for (const { path, bytes } of changes) {
      if (bytes === undefined) await this.#remove(path, emptied)
    }
    for (const folder of folders) await syncFolder(this.#fs, folder)
    for (const folder of emptied) {
      if (!folders.has(folder)) await syncFolder(this.#fs, folder, 'ENOENT')
    }
  }

  async #remove(path: string, emptied: Set<string>): Promise<void> {
    const file = resourcePath(this.#folder, path)
    await this.#fs.rm(file, { force: true, recursive: true })
    // What was forgotten or pruned must not be there again after a power cut. Partial tiles do no harm then.
    if (!path.endsWith('.p')) emptied.add(dirname(file))
  }

  async #write({ path, bytes }: Change, folders: Set<string>): Promise<void> {
    const file = resourcePath(this.#folder, path)
    const parent = dirname(file)
    if (bytes === undefined) return
    const secret = path.startsWith('private/')
    const made = await this.#fs.mkdir(parent, {
      recursive: true,
      ...(secret ? { mode: 0o700 } : {}),
    })
    folders.add(parent)
    if (made !== undefined) {
      for (let at = parent; at.length >= dirname(made).length; at = dirname(at)) folders.add(at)
    }
    const temporary = `${file}.new`
    const handle = await this.#fs.open(temporary, 'w', secret ? 0o600 : 0o644)
    try {
      await writeAll(handle, bytes, 0)
      await handle.datasync()
    } finally {
      await handle.close()
    }
    await this.#fs.rename(temporary, file)
  }

  #check(): void {
    if (this.#state === 'released') {
      throw new SignetError('log_closed', 'the writer gave its lock back')
    }
    if (this.#state === 'broken') {
      throw new SignetError('log_in_doubt', 'an earlier write failed; open the log again')
    }
  }

  async release(): Promise<void> {
    if (this.#state === 'released') return
    this.#state = 'released'
    await this.#busy
    for (const { handle } of this.#files) await handle.close()
    this.#lock.release()
  }
}

async function openJournal(fs: FileSystem, path: string): Promise<FileHandle> {
  try {
    return await fs.open(path, 'r+')
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
    return await fs.open(path, 'wx+', 0o600)
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at)
    if (bytesWritten === 0) throw new Error('the disk took nothing')
    at += bytesWritten
  }
}

/** Makes names durable. Where folders cannot be opened (Windows) the file system sees to it. */
async function syncFolder(
  fs: FileSystem,
  folder: string,
  ...fine: readonly string[]
): Promise<void> {
  let handle: FileHandle
  try {
    handle = await fs.open(folder, 'r')
  } catch (error) {
    if (isCode(error, 'EISDIR', 'EPERM', 'EACCES', ...fine)) return
    throw error
  }
  try {
    await handle.sync()
  } catch (error) {
    if (!isCode(error, 'EPERM', 'EINVAL')) throw error
  } finally {
    await handle.close()
  }
}
