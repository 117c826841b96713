/**
 * A log on disk: resources as files just as C2SP tlog-tiles serves them, so that the folder behind any
 * web server is a log that clients can read; and in `.signet`, which no server should serve, the lock, the
 * journal and the openings of private fields.
 *
 * The journal is two files that take turns: while one is being published, the other takes what comes. A
 * frame is `SGJ1`, length of the record (4 bytes), running number (8), the first 16 bytes of SHA-256 over
 * length, number and record, and the record. One write and one fdatasync make a record durable.
 */
import * as nodeFs from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Bytes, concat, owned } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import { type Change, type LogStorage, type LogWriter, parseTilePath } from '../src/log/mod.ts'
import { nodeSha256 } from './node_sha256.ts'
import { type HeldLock, takeLock } from './sqlite_lock.ts'

export type { Bytes } from '../src/bytes.ts'
export type { Change, LogStorage, LogWriter } from '../src/log/mod.ts'

/** The part of `node:fs/promises` that is used; tests inject faults here. */
export type FileSystem = Pick<
  typeof nodeFs,
  'mkdir' | 'open' | 'readFile' | 'rename' | 'rm'
>
type FileHandle = Awaited<ReturnType<typeof nodeFs.open>>

/** Options of {@link fileLogStorage}. */
export interface FileLogOptions {
  /** Default: the real one. */
  readonly fs?: FileSystem | undefined
}

const MAGIC = new TextEncoder().encode('SGJ1')
const HEAD_BYTES = 32
/** Resources written at once; their syncs share the disk's own flushes. */
const PARALLEL = 8

/** The storage of a log in a folder, which is made if need be. */
export function fileLogStorage(folder: string, options: FileLogOptions = {}): LogStorage {
  const fs = options.fs ?? nodeFs
  return {
    async read(path) {
      const file = resourcePath(folder, path)
      try {
        return owned(new Uint8Array(await fs.readFile(file)))
      } catch (cause) {
        if (isCode(cause, 'ENOENT', 'ENOTDIR')) return undefined
        throw new SignetError('io_failed', `cannot read ${path}`, { where: file, cause })
      }
    },
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
          throw corrupt(
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
      await writeAll(file.handle, frame, file.length)
      await file.handle.datasync()
    } catch (cause) {
      await this.#undo(file, cause)
    }
    file.length += frame.length
    this.#next++
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

interface Frame {
  readonly number: number
  readonly record: Bytes
}

interface Scan {
  readonly frames: Frame[]
  /** Where the whole frames end. */
  readonly end: number
  /** Bytes after them. */
  readonly cut: number
}

function encodeFrame(record: Bytes, number: number): Bytes {
  const frame = new Uint8Array(HEAD_BYTES + record.length)
  const view = new DataView(frame.buffer)
  frame.set(record, HEAD_BYTES)
  // Length and number stand right before the record for a moment, so that what is hashed is one piece.
  view.setUint32(20, record.length)
  view.setBigUint64(24, BigInt(number))
  const sum = nodeSha256(frame.subarray(20))
  frame.set(MAGIC)
  frame.copyWithin(4, 20, 32)
  frame.set(sum.subarray(0, 16), 16)
  return frame
}

function checksum(head: Uint8Array, record: Uint8Array): Uint8Array {
  return nodeSha256(concat(head.subarray(4, 16), record)).subarray(0, 16)
}

/** The frame at an offset, or undefined if none is whole there. */
function frameAt(bytes: Bytes, at: number): { frame: Frame; end: number } | undefined {
  const head = bytes.subarray(at, at + HEAD_BYTES)
  if (head.length < HEAD_BYTES || MAGIC.some((byte, i) => head[i] !== byte)) return undefined
  const view = new DataView(head.buffer, head.byteOffset)
  const end = at + HEAD_BYTES + view.getUint32(4)
  if (end > bytes.length) return undefined
  const record = bytes.subarray(at + HEAD_BYTES, end)
  const sum = checksum(head, record)
  if (head.subarray(16).some((byte, i) => byte !== sum[i])) return undefined
  return { frame: { number: Number(view.getBigUint64(8)), record }, end }
}

/**
 * Reads a journal file up to a torn write. Each record is synced before the next one is written, so only the
 * last can be torn: a whole frame behind a bad one is no crash's doing, and refused (`log_corrupt`).
 */
function scanJournal(bytes: Bytes, where: string): Scan {
  const frames: Frame[] = []
  let end = 0
  for (let found = frameAt(bytes, 0); found !== undefined; found = frameAt(bytes, end)) {
    frames.push(found.frame)
    end = found.end
  }
  for (let at = bytes.indexOf(MAGIC[0]!, end + 1); at >= 0; at = bytes.indexOf(MAGIC[0]!, at + 1)) {
    if (frameAt(bytes, at) !== undefined) {
      throw corrupt(`damaged at byte ${end}, and whole again at byte ${at}`, where)
    }
  }
  return { frames, end, cut: bytes.length - end }
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

function resourcePath(folder: string, path: string): string {
  if (/^private\/(?:x[0-9]{3}\/)*[0-9]{3}$/.test(path)) return join(folder, '.signet', path)
  // A folder of partial tiles is deleted whole.
  const tile = path.replace(/\.p$/, '')
  if (path === 'checkpoint' || parseTilePath(tile) !== undefined) return join(folder, path)
  throw new TypeError('not a path of a log resource')
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as { code?: string }).code ?? '')
}

function corrupt(why: string, where: string): SignetError {
  return new SignetError('log_corrupt', `journal: ${why}`, { where })
}
