/** What was committed to the journal and has yet to go into tiles. Its size is bounded by the log's backlog. */
import type { Bytes } from '../bytes.ts'
import type { FullTile, TreeEdge } from './edge.ts'
import type { Change } from './storage.ts'
import { encodeBundle, indexPath, TILE_WIDTH, tilePath } from './tile.ts'

/** A publication under way. */
export interface Publication {
  /** All resources but the checkpoint. */
  changes(): Change[]
  /** It worked: forget what was published. */
  done(): void
  /** It failed: keep all for the next time. */
  failed(): void
}

/** The backlog of a log. */
export class Unpublished {
  /** Index of the first entry kept here: where the last bundle starts. */
  #start: number
  #entries: Bytes[]
  #tiles: FullTile[] = []
  #openings = new Map<number, Bytes>()
  #bytes = 0
  #removals: string[] = []
  /**
   * Tiles filled by the last publication. tlog-tiles wants partial tiles kept until the full one is there;
   * they go one publication later, so that a reader in between finds either.
   */
  #filled: readonly string[] = []

  /** `entries` are those of the unfilled bundle that the published tree ends with. */
  constructor(edge: TreeEdge, entries: readonly Bytes[] = []) {
    this.#start = edge.size - edge.size % TILE_WIDTH
    this.#entries = [...entries]
  }

  /** Bytes of the entries and openings that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** True if resources wait to be deleted. */
  get removing(): boolean {
    return this.#removals.length > 0
  }

  /** Takes committed entries in, with the tiles that they filled. */
  add(
    entries: readonly Bytes[],
    tiles: readonly FullTile[],
    openings: ReadonlyMap<number, Bytes>,
  ): void {
    this.#entries.push(...entries)
    this.#tiles.push(...tiles)
    for (const [index, opening] of openings) this.#openings.set(index, opening)
    this.#bytes += total(entries) + total([...openings.values()])
  }

  /** Has a resource deleted with the next publication. */
  remove(path: string): void {
    this.#removals.push(path)
  }

  /** Forgets the opening of an entry, whether or not it is published. */
  forget(index: number): void {
    this.#openings.delete(index)
    this.remove(openingPath(index))
  }

  /** Starts to publish all that is here; `edge` is the tree over it. Not twice at once. */
  take(edge: TreeEdge): Publication {
    const { size } = edge
    const bytes = this.#bytes
    const start = this.#start
    const entries = this.#entries.slice()
    const [tiles, openings, removals] = [this.#tiles, this.#openings, this.#removals]
    const partialTiles = edge.partialTiles
    const filled = tiles.flatMap((tile) => fullPaths(tile))
    const stale = this.#filled.map((path) => `${path}.p`)
    this.#tiles = []
    this.#openings = new Map()
    this.#removals = []
    return {
      changes: () => [
        ...bundles(start, entries),
        ...[...tiles, ...partialTiles].map((tile) => ({ path: tilePath(tile), bytes: tile.bytes })),
        ...[...openings].map(([index, bytes]) => ({ path: openingPath(index), bytes })),
        ...[...stale, ...removals].map((path) => ({ path })),
      ],
      done: () => {
        this.#bytes -= bytes
        this.#start = size - size % TILE_WIDTH
        this.#entries.splice(0, this.#start - start)
        this.#filled = filled
      },
      failed: () => {
        this.#tiles = [...tiles, ...this.#tiles]
        this.#openings = new Map([...openings, ...this.#openings])
        this.#removals = [...removals, ...this.#removals]
      },
    }
  }
}

/** Where the opening of an entry's private fields lies. */
export function openingPath(index: number): string {
  return `private/${indexPath(index)}`
}

function total(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

function bundles(start: number, entries: readonly Bytes[]): Change[] {
  const changes: Change[] = []
  for (let at = 0; at < entries.length; at += TILE_WIDTH) {
    const some = entries.slice(at, at + TILE_WIDTH)
    const n = (start + at) / TILE_WIDTH
    const path = tilePath({ level: 'entries', n, width: some.length })
    changes.push({ path, bytes: encodeBundle(some) })
  }
  return changes
}

/** A full tile, and the bundle of a full tile of leaves. */
function fullPaths(tile: FullTile): string[] {
  const path = tilePath(tile)
  return tile.level === 0 ? [path, tilePath({ ...tile, level: 'entries' })] : [path]
}
