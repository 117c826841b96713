/**
 * The right edge of a growing tree: all that is needed to append leaves, to know the root, and to write
 * tiles. Its size is bounded by the tree's height, whatever the number of entries.
 */
import { type Bytes, concat } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { completeSubtrees, foldSubtrees, type Range, rootOf, type TreeHasher } from './merkle.ts'
import { decodeTile, partialTile, TILE_WIDTH, type TileName, tilePath } from './tile.ts'

/** Tile height in levels of the tree. */
const HEIGHT = 8

/** A tile that was filled. */
export interface FullTile extends TileName {
  /** Its 256 hashes. */
  readonly bytes: Bytes
}

/** The edge. */
export class TreeEdge {
  readonly #hasher: TreeHasher
  #size = 0
  /** Complete subtrees by height: a binary counter, as bits of the size. */
  #nodes: (Bytes | undefined)[] = []
  /** Hashes of the unfilled tile of each level. */
  #partial: Bytes[][] = []

  /** An empty tree. */
  constructor(hasher: TreeHasher) {
    this.#hasher = hasher
  }

  /** Number of leaves. */
  get size(): number {
    return this.#size
  }

  /** The root over them. */
  get root(): Bytes {
    const hashes = this.#nodes.filter((node) => node !== undefined).reverse()
    return foldSubtrees(hashes, this.#hasher)
  }

  /** The complete subtrees that the root is made of, largest first. */
  get frontier(): Bytes[] {
    return this.#nodes.filter((node) => node !== undefined).reverse()
  }

  /** The unfilled tiles with their hashes. */
  get partialTiles(): FullTile[] {
    return this.#partial.flatMap((hashes, level) => {
      const tile = partialTile(level, this.#size)
      return tile === undefined ? [] : [{ ...tile, bytes: concat(...hashes) }]
    })
  }

  /** Appends one leaf; gives the tiles that it filled. */
  append(leaf: Bytes): FullTile[] {
    const full: FullTile[] = []
    this.#push(0, leaf, full)
    this.#carry(leaf, 0, full)
    this.#size++
    return full
  }

  /** Appends a full tile of leaves by the root over it, to a tree of full tiles; gives the tiles above that it filled. */
  appendTile(root: Bytes): FullTile[] {
    if (this.#size % TILE_WIDTH !== 0) {
      throw new TypeError('the tree ends with a tile that is not full')
    }
    const full: FullTile[] = []
    this.#push(1, root, full)
    this.#carry(root, HEIGHT, full)
    this.#size += TILE_WIDTH
    return full
  }

  #carry(subtree: Bytes, from: number, full: FullTile[]): void {
    let hash = subtree
    let height = from
    for (; this.#nodes[height] !== undefined; height++) {
      hash = this.#hasher.node(this.#nodes[height]!, hash)
      this.#nodes[height] = undefined
      if ((height + 1) % HEIGHT === 0) this.#push((height + 1) / HEIGHT, hash, full)
    }
    this.#nodes[height] = hash
  }

  /** A copy that grows by itself. */
  clone(): TreeEdge {
    const copy = new TreeEdge(this.#hasher)
    copy.#size = this.#size
    copy.#nodes = this.#nodes.slice()
    copy.#partial = this.#partial.map((hashes) => hashes.slice())
    return copy
  }

  #push(level: number, hash: Bytes, full: FullTile[]): void {
    const hashes = this.#partial[level] ??= []
    hashes.push(hash)
    if (hashes.length < TILE_WIDTH) return
    const n = Math.floor(this.#size / TILE_WIDTH ** (level + 1))
    full.push({ level, n, width: TILE_WIDTH, bytes: concat(...hashes) })
    this.#partial[level] = []
  }

  /**
   * The edge of a stored tree, from its unfilled tiles. Nothing is verified: compare the root.
   * Errors: `log_corrupt` for a tile that is missing or of a wrong length.
   */
  static async load(
    size: number,
    read: (path: string) => Promise<Bytes | undefined>,
    hasher: TreeHasher,
  ): Promise<TreeEdge> {
    const edge = new TreeEdge(hasher)
    edge.#size = size
    for (let level = 0; size >= TILE_WIDTH ** level; level++) {
      const tile = partialTile(level, size)
      if (tile === undefined) {
        edge.#partial[level] = []
        continue
      }
      const path = tilePath(tile)
      const bytes = await read(path)
      if (bytes === undefined) {
        throw new SignetError('log_corrupt', `${path} is missing`, { where: path })
      }
      const hashes = decodeTile(bytes, tile.width, path)
      edge.#partial[level] = hashes
      for (const range of completeSubtrees({ start: 0, end: tile.width })) {
        edge.#nodes[level * HEIGHT + Math.log2(width(range))] = rootOf(
          hashes.slice(range.start, range.end),
          hasher,
        )
      }
    }
    return edge
  }
}

function width({ start, end }: Range): number {
  return end - start
}
