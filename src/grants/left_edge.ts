/** The complete subtrees at the right edge of a tree that grows: all that is needed to know its root. */
import type { Bytes } from '../bytes.ts'
import type { TreeHasher } from '../log/mod.ts'

/** Such an edge. */
export class LeftEdge {
  readonly #hasher: TreeHasher
  /** Largest subtree first: their widths are the bits of the size. */
  readonly #hashes: Bytes[]
  #size: number

  /** The edge of a tree of `size` leaves, with the hashes of its complete subtrees, largest first. */
  constructor(size: number, hashes: readonly Bytes[], hasher: TreeHasher) {
    this.#size = size
    this.#hashes = [...hashes]
    this.#hasher = hasher
  }

  /** Appends a leaf hash. */
  append(leaf: Bytes): void {
    let hash = leaf
    // Sizes may exceed 32 bits: no shifts.
    for (let size = this.#size; size % 2 === 1; size = (size - 1) / 2) {
      hash = this.#hasher.node(this.#hashes.pop()!, hash)
    }
    this.#hashes.push(hash)
    this.#size++
  }

  /** The root over all leaves. */
  get root(): Bytes {
    const hashes = this.#hashes
    if (hashes.length === 0) return this.#hasher.empty
    return hashes.slice(0, -1).reduceRight(
      (right, left) => this.#hasher.node(left, right),
      hashes.at(-1)!,
    )
  }
}
