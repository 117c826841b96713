/**
 * The Merkle tree of RFC 6962 §2.1 over SHA-256: hashes, and proofs as in RFC 9162 §2.1.3 and §2.1.4.
 * Proofs of subtrees follow draft-ietf-plants-merkle-tree-certs §4; a plain proof is one whose subtree
 * starts at 0.
 *
 * Sizes and indexes are safe integers, so nothing here may use 32-bit operators on them.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'
import { type Bytes, equalBytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** SHA-256 of some bytes, at once: WebCrypto's asynchronous digest costs more than the hashing. */
export type Sha256 = (bytes: Uint8Array) => Bytes

/** The portable {@link Sha256}. Backends bring faster ones. */
export function portableSha256(bytes: Uint8Array): Bytes {
  return nobleSha256(bytes) as Bytes
}

/** Length of every hash here. */
export const HASH_BYTES = 32

/** Leaves `start` to `end`, exclusive. */
export interface Range {
  /** First leaf. */
  readonly start: number
  /** One past the last leaf. */
  readonly end: number
}

/** Hashes leaves and nodes. */
export interface TreeHasher {
  /** SHA-256(0x00 ‖ entry). */
  leaf(entry: Uint8Array): Bytes
  /** SHA-256(0x01 ‖ left ‖ right). */
  node(left: Uint8Array, right: Uint8Array): Bytes
  /** The same of a node's two children one after the other. */
  children(both: Uint8Array): Bytes
  /** The hash of the empty tree, SHA-256 of nothing. */
  readonly empty: Bytes
}

/** A {@link TreeHasher} over a {@link Sha256}. */
export function treeHasher(sha256: Sha256 = portableSha256): TreeHasher {
  const pair = new Uint8Array(1 + 2 * HASH_BYTES)
  pair[0] = 1
  let buffer = new Uint8Array(1024)
  return {
    empty: sha256(new Uint8Array()),
    leaf(entry) {
      if (buffer.length <= entry.length) buffer = new Uint8Array(2 * entry.length)
      buffer[0] = 0
      buffer.set(entry, 1)
      return sha256(buffer.subarray(0, entry.length + 1))
    },
    node(left, right) {
      pair.set(left, 1)
      pair.set(right, 1 + HASH_BYTES)
      return sha256(pair)
    },
    children(both) {
      pair.set(both, 1)
      return sha256(pair)
    },
  }
}

/** The hasher that verification uses unless told otherwise. */
export const defaultHasher: TreeHasher = treeHasher()

/** The largest power of two that is smaller than `n`, for n ≥ 2 (RFC 9162 §2.1.1). */
export function splitPoint(n: number): number {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}

/** The maximal complete subtrees of a range that starts at a multiple of their size, left to right. */
export function completeSubtrees({ start, end }: Range): Range[] {
  const subtrees: Range[] = []
  for (let at = start; at < end;) {
    let width = 1
    while (at % (2 * width) === 0 && at + 2 * width <= end) width *= 2
    subtrees.push({ start: at, end: at + width })
    at += width
  }
  return subtrees
}

/** The root over the hashes of {@link completeSubtrees}: the right edge is folded from the right. */
export function foldSubtrees(hashes: readonly Bytes[], hasher: TreeHasher): Bytes {
  if (hashes.length === 0) return hasher.empty
  return hashes.slice(0, -1).reduceRight((right, left) => hasher.node(left, right), hashes.at(-1)!)
}

/** The root over leaf hashes. For tests and small trees: it takes them all. */
export function rootOf(leaves: readonly Bytes[], hasher: TreeHasher = defaultHasher): Bytes {
  if (leaves.length <= 1) return leaves[0] ?? hasher.empty
  const k = splitPoint(leaves.length)
  return hasher.node(rootOf(leaves.slice(0, k), hasher), rootOf(leaves.slice(k), hasher))
}

/** What an inclusion proof of a leaf in a tree consists of, leaf's sibling first (RFC 9162 §2.1.3.1). */
export function inclusionRanges(index: number, size: number): Range[] {
  if (!isSize(index) || !isSize(size) || index >= size) {
    throw new SignetError('log_range', `no entry ${index} in a log of ${size}`)
  }
  const ranges: Range[] = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = start + splitPoint(end - start)
    if (index < middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  return ranges.reverse()
}

/** What a consistency proof between two sizes consists of (RFC 9162 §2.1.4.1). Empty from size 0. */
export function consistencyRanges(from: number, to: number): Range[] {
  if (!isSize(from) || !isSize(to) || from > to) {
    throw new SignetError('log_range', `no consistency from size ${from} to size ${to}`)
  }
  if (from === 0 || from === to) return []
  const ranges: Range[] = []
  let [start, end] = [0, to]
  // `complete`: the old tree is still a whole left edge, whose hash the verifier has.
  let complete = true
  while (from !== end) {
    const middle = start + splitPoint(end - start)
    if (from <= middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
      complete = false
    }
  }
  if (!complete) ranges.push({ start, end })
  return ranges.reverse()
}

/**
 * Checks that a leaf is in a tree. Errors: `proof_invalid`.
 * The root is believed as given; checking who signed it is the caller's part.
 */
export function verifyInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
  hasher: TreeHasher = defaultHasher,
): void {
  verifySubtreeInclusion(index, { start: 0, end: size }, leaf, proof, root, hasher)
}

/** Checks that a leaf is in a subtree. Errors: `proof_invalid`. */
export function verifySubtreeInclusion(
  index: number,
  range: Range,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
  hasher: TreeHasher = defaultHasher,
): void {
  if (!isSubtree(range) || !isSize(index) || index < range.start || index >= range.end) {
    throw invalid('the leaf is not in the tree')
  }
  checkHashes(leaf, ...proof)
  let fn = index - range.start
  let sn = range.end - range.start - 1
  let hash: Uint8Array = leaf
  for (const sibling of proof) {
    if (sn === 0) throw invalid('it is too long')
    if (isOdd(fn) || fn === sn) {
      hash = hasher.node(sibling, hash)
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else {
      hash = hasher.node(hash, sibling)
    }
    ;[fn, sn] = [half(fn), half(sn)]
  }
  if (sn !== 0) throw invalid('it is too short')
  if (!equalBytes(hash, root)) throw invalid('it leads to another root')
}

/**
 * Checks that the tree of `to` leaves starts with the tree of `from` leaves. Errors: `proof_invalid`.
 * From size 0 there is nothing to prove, and it is refused.
 */
export function verifyConsistency(
  from: number,
  to: number,
  proof: readonly Uint8Array[],
  fromRoot: Uint8Array,
  toRoot: Uint8Array,
  hasher: TreeHasher = defaultHasher,
): void {
  if (from === 0) throw invalid('every tree is consistent with the empty one: nothing to prove')
  verifySubtreeConsistency({ start: 0, end: from }, to, proof, fromRoot, toRoot, hasher)
}

/**
 * Checks that a subtree is part of the tree of `size` leaves. Errors: `proof_invalid`.
 * An empty subtree has the hash of nothing, is part of every tree, and needs no proof.
 */
export function verifySubtreeConsistency(
  range: Range,
  size: number,
  proof: readonly Uint8Array[],
  subtreeRoot: Uint8Array,
  root: Uint8Array,
  hasher: TreeHasher = defaultHasher,
): void {
  if (!isSize(size) || range.end > size) throw invalid('the subtree is not in the tree')
  if (range.start === range.end && isSize(range.start)) {
    if (proof.length > 0) throw invalid('it is too long')
    if (!equalBytes(subtreeRoot, hasher.empty)) throw invalid('it starts from another tree')
    return
  }
  if (!isSubtree(range)) throw invalid('the subtree is none')
  if (proof.length > 0) checkHashes(subtreeRoot, root, ...proof)
  let fn = range.start
  let sn = range.end - 1
  let tn = size - 1
  const shift = () => [fn, sn, tn] = [half(fn), half(sn), half(tn)]
  const last = sn === tn
  while (fn !== sn && (last || isOdd(sn))) shift()
  const rest = [...proof]
  let fr: Uint8Array = subtreeRoot
  if (fn !== sn) {
    const first = rest.shift()
    if (first === undefined) throw invalid('it is too short')
    fr = first
  }
  let sr = fr
  for (const hash of rest) {
    if (tn === 0) throw invalid('it is too long')
    if (isOdd(sn) || sn === tn) {
      if (fn < sn) fr = hasher.node(hash, fr)
      sr = hasher.node(hash, sr)
      while (!isOdd(sn) && sn !== 0) shift()
    } else {
      sr = hasher.node(sr, hash)
    }
    shift()
  }
  if (tn !== 0) throw invalid('it is too short')
  if (!equalBytes(fr, subtreeRoot)) throw invalid('it starts from another tree')
  if (!equalBytes(sr, root)) throw invalid('it leads to another root')
}

/** A subtree starts at a multiple of the smallest power of two that is not below its width. */
function isSubtree({ start, end }: Range): boolean {
  if (!isSize(start) || !isSize(end) || start >= end) return false
  const width = end - start
  return start % (width === 1 ? 1 : 2 * splitPoint(width)) === 0
}

function isSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0
}

function isOdd(n: number): boolean {
  return n % 2 === 1
}

function half(n: number): number {
  return Math.floor(n / 2)
}

function checkHashes(...hashes: readonly Uint8Array[]): void {
  if (hashes.some((hash) => hash.length !== HASH_BYTES)) throw invalid('a hash has a wrong length')
}

function invalid(why: string): SignetError {
  return new SignetError('proof_invalid', `Merkle proof: ${why}`)
}
