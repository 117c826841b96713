/**
 * Tiles as C2SP tlog-tiles lays them out: paths, and the encodings of hashes and of entries.
 * A tile holds 256 hashes; level 0 has the leaves, each level above the roots of full tiles below.
 */
import type { Bytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { HASH_BYTES, type TreeHasher } from './merkle.ts'

/** Hashes in a full tile, entries in a full bundle. */
export const TILE_WIDTH = 256

/** Most bytes of one entry: its length is written in 16 bits. */
export const MAX_ENTRY_BYTES = 65_535

/** A tile or, with level `entries`, a bundle of entries. */
export interface TileName {
  /** Level from 0, or the entries. */
  readonly level: number | 'entries'
  /** Index in the level. */
  readonly n: number
  /** Hashes or entries in it, 1 to 256. */
  readonly width: number
}

/** `tile/<L>/<N>[.p/<W>]`. */
export function tilePath({ level, n, width }: TileName): string {
  const full = `tile/${level}/${indexPath(n)}`
  return width === TILE_WIDTH ? full : `${full}.p/${width}`
}

/** An index in groups of three digits, all but the last with an `x` before: 1234067 is `x001/x234/067`. */
export function indexPath(n: number): string {
  const groups: string[] = []
  let rest = n
  do {
    groups.unshift(String(rest % 1000).padStart(3, '0'))
    rest = Math.floor(rest / 1000)
  } while (rest > 0)
  return groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join('/')
}

/** The tile of a path, or undefined for what is none. */
export function parseTilePath(path: string): TileName | undefined {
  const match =
    /^tile\/(entries|0|[1-5]?[0-9]|6[0-3])\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/
      .exec(path)
  if (match === null) return undefined
  const [, level = '', index = '', partial] = match
  const n = Number(index.replace(/[x/]/g, ''))
  const width = partial === undefined ? TILE_WIDTH : Number(partial)
  const tile = { level: level === 'entries' ? level : Number(level), n, width } as const
  const valid = (partial === undefined || width < TILE_WIDTH) && Number.isSafeInteger(n)
  return valid && tilePath(tile) === path ? tile : undefined
}

/** The tile at a level that a tree of `size` ends with, or undefined if the level ends with a full one. */
export function partialTile(level: number, size: number): TileName | undefined {
  const hashes = Math.floor(size / TILE_WIDTH ** level)
  const width = hashes % TILE_WIDTH
  return width === 0 ? undefined : { level, n: Math.floor(hashes / TILE_WIDTH), width }
}

/** How many hashes or entries a tile of a tree of `size` has; 0 if there is no such tile. */
export function widthAt(level: number | 'entries', n: number, size: number): number {
  const hashes = level === 'entries' ? size : Math.floor(size / TILE_WIDTH ** level)
  return Math.max(0, Math.min(TILE_WIDTH, hashes - n * TILE_WIDTH))
}

/** The bytes of a tile as they are. Errors: `log_corrupt` for a wrong length. */
export function checkTile(bytes: Bytes, width: number, where: string): Bytes {
  if (bytes.length === width * HASH_BYTES) return bytes
  const message = `${where} has ${bytes.length} bytes, not ${width} hashes`
  throw new SignetError('log_corrupt', message, { where })
}

/** The hashes of a tile, views of its bytes. Errors: `log_corrupt` for a wrong length. */
export function decodeTile(bytes: Bytes, width: number, where: string): Bytes[] {
  checkTile(bytes, width, where)
  return Array.from(
    { length: width },
    (_, i) => bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  )
}

/** The root over a full tile. */
export function rootOfTile(hashes: Bytes, hasher: TreeHasher): Bytes {
  let level = hashes
  while (level.length > HASH_BYTES) {
    const above = new Uint8Array(level.length / 2)
    for (let at = 0; at < above.length; at += HASH_BYTES) {
      above.set(hasher.children(level.subarray(2 * at, 2 * at + 2 * HASH_BYTES)), at)
    }
    level = above
  }
  return level
}

/** A bundle: each entry after its length in 16 bits, big-endian. Errors: `entry_too_large`. */
export function encodeBundle(entries: readonly Uint8Array[]): Bytes {
  const bundle = new Uint8Array(bundleBytes(entries))
  writeBundle(entries, bundle, 0)
  return bundle
}

/** The length of a bundle. Errors: `entry_too_large`. */
export function bundleBytes(entries: readonly Uint8Array[]): number {
  let length = 0
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw entryTooLarge(entry.length)
    length += 2 + entry.length
  }
  return length
}

/** Writes a bundle into a buffer. */
export function writeBundle(entries: readonly Uint8Array[], into: Bytes, offset: number): void {
  let at = offset
  for (const entry of entries) {
    into[at] = entry.length >> 8
    into[at + 1] = entry.length & 255
    into.set(entry, at + 2)
    at += 2 + entry.length
  }
}

/** The entries of a bundle, views of its bytes. Errors: `log_corrupt` unless it is just `width` entries. */
export function decodeBundle(bytes: Bytes, width: number, where: string): Bytes[] {
  const entries: Bytes[] = []
  let at = 0
  while (at + 2 <= bytes.length && entries.length < width) {
    const end = at + 2 + bytes[at]! * 256 + bytes[at + 1]!
    if (end > bytes.length) break
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  if (entries.length !== width || at !== bytes.length) {
    throw new SignetError('log_corrupt', `${where} is not a bundle of ${width} entries`, { where })
  }
  return entries
}

/** The error of an entry that does not fit. */
export function entryTooLarge(length: number): SignetError {
  return new SignetError(
    'entry_too_large',
    `entry has ${length} bytes; a log takes ${MAX_ENTRY_BYTES}`,
    { remedy: 'keep the body elsewhere and put its digest into the entry' },
  )
}
