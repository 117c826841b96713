/** Trees without a disk: over streams (browser, worker) and over digests that were computed elsewhere. */
import { fromHex, owned } from '../bytes.ts'
import { DIGEST_BYTES, type HasherFactory, portableHasher } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { checkAborted } from '../keys/mod.ts'
import type { FileTree } from './file_tree.ts'

/** A file of {@link streamTree}: bytes, or something that gives a stream of them each time it is asked. */
export type StreamFile = Uint8Array | Blob | {
  /** Bytes. */
  readonly size: number
  /** A fresh stream from the first byte. */
  stream(): ReadableStream<Uint8Array>
}

/** Options of {@link streamTree}. */
export interface StreamTreeOptions {
  /** Default: the portable hasher. */
  readonly hasher?: HasherFactory
}

/** A tree of files by path. */
export function streamTree(
  files: ReadonlyMap<string, StreamFile>,
  options: StreamTreeOptions = {},
): FileTree {
  const { hasher = portableHasher } = options
  return {
    parallel: 2,
    async *list({ skip = () => false } = {}) {
      for (const [path, file] of files) {
        if (skip(path)) continue
        const size = file instanceof Uint8Array ? file.length : file.size
        yield { path, kind: 'file', size }
      }
    },
    async digest(path, { algorithm, start = 0, end, onBytes, signal }) {
      const file = files.get(path)
      if (file === undefined) throw unreadable(path)
      const hash = await hasher(algorithm)
      const size = file instanceof Uint8Array ? file.length : file.size
      const last = end ?? size
      let at = 0
      for await (const chunk of chunksOf(file, path, signal)) {
        checkAborted(signal)
        const part = chunk.subarray(Math.max(0, start - at), Math.max(0, last - at))
        hash.update(part)
        at += chunk.length
        onBytes?.(part.length)
        // What ends with the file is read until there is no more, for a loader would read it too.
        if (at > size || at >= last && last < size) break
      }
      checkAborted(signal)
      if (at < last || at > size) {
        throw new SignetError('file_changed', `${path} has not the size it said`, { where: path })
      }
      return hash.digest()
    },
  }
}

async function* chunksOf(
  file: StreamFile,
  path: string,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  if (file instanceof Uint8Array) {
    yield file
    return
  }
  try {
    const reader = file.stream().getReader()
    const cancel = () => void reader.cancel().catch(() => {})
    signal?.addEventListener('abort', cancel) // ends a read that would wait for ever
    try {
      while (!signal?.aborted) {
        const { done, value } = await reader.read()
        if (done) return
        yield value
      }
    } finally {
      signal?.removeEventListener('abort', cancel)
      cancel()
    }
  } catch (cause) {
    checkAborted(signal) // a source that got the same signal ends with an error of its own
    if (isSignetError(cause)) throw cause
    throw unreadable(path, cause)
  }
}

/**
 * A tree of digests by path, in lower-case hex, computed where the files are. It answers for whole files and
 * for one algorithm: that of the length of each digest asked for.
 */
export function digestTree(digests: ReadonlyMap<string, string>): FileTree {
  return {
    parallel: 1,
    async *list({ skip = () => false } = {}) {
      for (const path of digests.keys()) {
        if (!skip(path)) yield { path, kind: 'file', size: undefined }
      }
    },
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async digest(path, { algorithm, start }) {
      const digest = digests.get(path)
      if (digest === undefined) throw unreadable(path)
      if (start !== undefined) {
        throw new SignetError('file_unreadable', `of ${path} only the whole digest is known`, {
          where: path,
        })
      }
      const bytes = fromHex(digest, 'digest')
      if (bytes.length === DIGEST_BYTES[algorithm]) return owned(bytes)
      throw new SignetError('digest_malformed', `the digest of ${path} is not ${algorithm}`)
    },
  }
}

function unreadable(path: string, cause?: unknown): SignetError {
  return new SignetError('file_unreadable', `${path} cannot be read`, { where: path, cause })
}
