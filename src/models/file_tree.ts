/**
 * A folder as the models room sees it: a list of entries and a digest of each. Backends implement
 * it over a disk (`backends/fs.ts`), over streams, or over digests that somebody else computed.
 */
import type { Bytes } from '../bytes.ts'
import type { DigestAlgorithm } from '../crypto/mod.ts'

/** One entry below the root of a tree. Directories themselves are not entries. */
export interface TreeEntry {
  /** Relative to the root, `/`-separated, without `.` or `..`, as stored (no Unicode normalisation). */
  readonly path: string
  /** What it is; only a `file` can be digested, unless the tree was told to follow links. */
  readonly kind: 'file' | 'symlink' | 'special'
  /** Bytes; 0 for what is no file, undefined where the tree does not know. */
  readonly size: number | undefined
}

/** What to digest of one file. */
export interface DigestRequest {
  /** The digest wanted. */
  readonly algorithm: DigestAlgorithm
  /** First byte, inclusive. Default 0. */
  readonly start?: number
  /** Last byte, exclusive. Default: the file's size. */
  readonly end?: number
  /** Called with the number of bytes just read, for progress. */
  readonly onBytes?: (count: number) => void
  /** Ends the work early with `aborted`. */
  readonly signal?: AbortSignal
}

/** The port. Two methods and a hint. */
export interface FileTree {
  /** How many digests are worth having under way at once. */
  readonly parallel: number
  /**
   * Yields each entry below the root once, in any order. A path for which `skip` says true is left
   * out, and not descended into when it is a directory.
   *
   * Throws `file_unreadable` (a directory that can't be read) and `name_invalid` (a name that is not UTF-8).
   */
  list(options?: {
    readonly skip?: (path: string) => boolean
    readonly signal?: AbortSignal
  }): AsyncIterable<TreeEntry>
  /**
   * Digests bytes of one file, streaming. The bytes come from one open descriptor.
   *
   * Throws `file_unreadable`, `symlink_refused` (the file became a link), `file_changed` (size, time or
   * inode differ after reading, or fewer bytes than asked) and `aborted`.
   */
  digest(path: string, request: DigestRequest): Promise<Bytes>
}
