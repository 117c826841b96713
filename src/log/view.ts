/**
 * Reading a log at one checkpoint. Everything that a view gives out was checked against the root of the
 * checkpoint that it was made with; whether that checkpoint is the newest, the caller has to know.
 */
import { type Bytes, equalBytes } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { TreeHead, VerifiedCheckpoint } from './checkpoint.ts'
import {
  completeSubtrees,
  consistencyRanges,
  defaultHasher,
  foldSubtrees,
  HASH_BYTES,
  inclusionRanges,
  type Range,
  rootOf,
  type TreeHasher,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'
import type { LogProof } from './proof.ts'
import { decodeBundle, decodeTile, TILE_WIDTH, type TileName, tilePath, widthAt } from './tile.ts'

/** Reads resources; the part of a storage that a view needs. */
export interface LogReader {
  /** The bytes of a resource, or undefined. */
  read(path: string): Promise<Bytes | undefined>
}

const CACHED_TILES = 64

/** Options of views. */
export interface ViewOptions {
  /** Default: portable. */
  readonly hasher?: TreeHasher | undefined
}

/** A log at a checkpoint. */
export class LogView {
  /** What it was made with. */
  readonly head: TreeHead
  readonly #reader: LogReader
  readonly #hasher: TreeHasher
  readonly #tiles = new Map<string, Promise<readonly Bytes[]>>()

  /** The head must be that of a verified checkpoint. */
  constructor(reader: LogReader, head: TreeHead, options: ViewOptions = {}) {
    this.#reader = reader
    this.#hasher = options.hasher ?? defaultHasher
    this.head = head
  }

  /** The hash over a range of a proof: `start` is a multiple of the width of its largest part. */
  async hash(range: Range): Promise<Bytes> {
    const parts = await Promise.all(completeSubtrees(range).map((part) => this.#subtree(part)))
    return foldSubtrees(parts, this.#hasher)
  }

  /** The bytes of one entry. Errors: `log_range`, `log_corrupt`, `log_missing` (pruned). */
  async entry(index: number): Promise<Bytes> {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.head.size) {
      throw new SignetError('log_range', `no entry ${index} in a log of ${this.head.size}`)
    }
    await this.hashes(index)
    const n = Math.floor(index / TILE_WIDTH)
    return (await this.bundle(n))[index % TILE_WIDTH]!
  }

  /** The entries of a bundle, each checked against its leaf hash. The hashes themselves are checked by proofs. */
  async bundle(n: number): Promise<readonly Bytes[]> {
    const width = widthAt('entries', n, this.head.size)
    const path = tilePath({ level: 'entries', n, width })
    const bytes = await readTile(this.#reader, { level: 'entries', n, width })
    if (bytes === undefined) {
      throw new SignetError('log_missing', `${path} is not there: pruned or lost`, { where: path })
    }
    const entries = decodeBundle(bytes, width, path)
    const leaves = await this.tile(0, n)
    for (const [i, entry] of entries.entries()) {
      if (!equalBytes(this.#hasher.leaf(entry), leaves[i]!)) {
        throw new SignetError('log_corrupt', `entry ${n * TILE_WIDTH + i} is not what was logged`, {
          where: `entry ${n * TILE_WIDTH + i}`,
        })
      }
    }
    return entries
  }

  /** Leaf hash and inclusion proof of an entry, verified against the root. Errors: `log_range`, `log_corrupt`. */
  async hashes(index: number): Promise<{ readonly leaf: Bytes; readonly proof: readonly Bytes[] }> {
    const { size, root } = this.head
    const proof = await Promise.all(inclusionRanges(index, size).map((range) => this.hash(range)))
    const leaf = await this.#subtree({ start: index, end: index + 1 })
    try {
      verifyInclusion(index, size, leaf, proof, root, this.#hasher)
    } catch (cause) {
      throw corrupt(
        `the tiles around entry ${index} do not lead to the root`,
        cause,
        `entry ${index}`,
      )
    }
    return { leaf, proof }
  }

  /** A proof of an entry under the checkpoint of this view. Errors: `log_range`, `log_corrupt`. */
  async prove(index: number, checkpoint: VerifiedCheckpoint): Promise<LogProof> {
    if (checkpoint.size !== this.head.size || !equalBytes(checkpoint.root, this.head.root)) {
      throw new TypeError('the checkpoint is not that of the view')
    }
    const { proof } = await this.hashes(index)
    return { index, hashes: proof, checkpoint: checkpoint.note }
  }

  /**
   * The proof that this tree grew out of an earlier one, verified against both roots; empty from size 0.
   * Errors: `log_range`; `log_forked` if this tree did not grow out of that one; `log_corrupt`.
   */
  async consistency(from: TreeHead): Promise<Bytes[]> {
    const { size, root } = this.head
    const proof = await Promise.all(
      consistencyRanges(from.size, size).map((range) => this.hash(range)),
    )
    if (from.size === 0) return []
    try {
      verifyConsistency(from.size, size, proof, from.root, root, this.#hasher)
    } catch (cause) {
      if (!isSignetError(cause)) throw cause
      throw new SignetError(
        'log_forked',
        `the log of ${size} entries did not grow out of the one of ${from.size}`,
        { cause },
      )
    }
    return proof
  }

  /** The hashes of a tile. Errors: `log_corrupt`. */
  tile(level: number, n: number): Promise<readonly Bytes[]> {
    const width = widthAt(level, n, this.head.size)
    const path = tilePath({ level, n, width })
    let tile = this.#tiles.get(path)
    if (tile === undefined) {
      if (this.#tiles.size >= CACHED_TILES) {
        this.#tiles.delete(this.#tiles.keys().next().value!)
      }
      tile = this.#readTile(level, n, width, path)
      tile.catch(() => this.#tiles.delete(path))
      this.#tiles.set(path, tile)
    }
    return tile
  }

  async #readTile(level: number, n: number, width: number, path: string): Promise<Bytes[]> {
    const bytes = await readTile(this.#reader, { level, n, width })
    if (bytes === undefined) throw corrupt(`${path} is missing`, undefined, path)
    return decodeTile(bytes, width, path)
  }

  /** The hash of a complete subtree, from the lowest tile level that has it. */
  async #subtree({ start, end }: Range): Promise<Bytes> {
    let level = 0
    let unit = 1
    while (end - start >= unit * TILE_WIDTH) {
      unit *= TILE_WIDTH
      level++
    }
    const first = start / unit
    const n = Math.floor(first / TILE_WIDTH)
    const from = first % TILE_WIDTH
    const hashes = (await this.tile(level, n)).slice(from, from + (end - start) / unit)
    if (hashes.length < (end - start) / unit) throw corrupt('a tile is too short')
    return rootOf(hashes, this.#hasher)
  }
}

/**
 * The bytes of a tile or bundle. A partial one may be gone once the full one is there (tlog-tiles); then the
 * first part of that serves.
 */
export async function readTile(reader: LogReader, tile: TileName): Promise<Bytes | undefined> {
  const bytes = await reader.read(tilePath(tile))
  if (bytes !== undefined || tile.width === TILE_WIDTH) return bytes
  const full = await reader.read(tilePath({ ...tile, width: TILE_WIDTH }))
  const length = tile.level === 'entries'
    ? bundleLength(full ?? new Uint8Array(), tile.width)
    : tile.width * HASH_BYTES
  return full?.subarray(0, length)
}

function bundleLength(bytes: Bytes, width: number): number {
  let at = 0
  for (let i = 0; i < width && at + 2 <= bytes.length; i++) {
    at += 2 + bytes[at]! * 256 + bytes[at + 1]!
  }
  return at
}

function corrupt(why: string, cause?: unknown, where?: string): SignetError {
  return new SignetError('log_corrupt', why, {
    cause,
    ...(where === undefined ? {} : { where }),
  })
}
