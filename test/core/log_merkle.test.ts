import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, toBase64, toHex, utf8 } from '../../src/bytes.ts'
import {
  consistencyRanges,
  defaultHasher,
  formatTreeHead,
  inclusionRanges,
  type Range,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from '../../src/log/mod.ts'
import { TreeEdge } from '../../src/log/edge.ts'

const LEAVES: readonly Bytes[] = Array.from(
  { length: 300 },
  (_, i) => defaultHasher.leaf(utf8(`leaf ${i}`)),
)
const ROOTS = Array.from({ length: 301 }, (_, size) => rootOf(LEAVES.slice(0, size)))
const root = (size: number) => ROOTS[size]!
const hash = ({ start, end }: Range) => rootOf(LEAVES.slice(start, end))
function known(range: Range): Bytes {
  const id = `${range.start}-${range.end}`
  const found = hashes.get(id) ?? hash(range)
  hashes.set(id, found)
  return found
}
const hashes = new Map<string, Bytes>()
const include = (index: number, size: number) => inclusionRanges(index, size).map(known)
const consist = (from: number, to: number) => consistencyRanges(from, to).map(known)

test('hashes are those of RFC 6962 and of golang/mod tlog', () => {
  assert.equal(
    toHex(defaultHasher.empty),
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  )
  // RFC 6962 leaf of nothing.
  assert.equal(
    toHex(defaultHasher.leaf(new Uint8Array())),
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  )
  const leaf = defaultHasher.leaf(utf8('hello world'))
  assert.equal(toBase64(leaf), 'TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=')
  assert.equal(
    formatTreeHead({ origin: 'go.sum database tree', size: 123456789012, root: leaf }),
    'go.sum database tree\n123456789012\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=\n',
  )
})

test('inclusion proofs of all trees up to 40 hold, and for nothing else', () => {
  for (let size = 1; size <= 40; size++) {
    for (let index = 0; index < size; index++) {
      const proof = include(index, size)
      const check = (i: number, n: number, leaf: Bytes, hashes: Bytes[], r: Bytes) => () =>
        verifyInclusion(i, n, leaf, hashes, r)
      const leaf = LEAVES[index]!
      check(index, size, leaf, proof, root(size))()
      const refused = [
        check(index + 1, size, leaf, proof, root(size)),
        check(index, size, LEAVES[index + 1]!, proof, root(size)),
        check(index, size, leaf, [...proof, leaf], root(size)),
        check(index, size, leaf, proof, root(size + 1)),
        check(-1, size, leaf, proof, root(size)),
        check(index + 0.5, size, leaf, proof, root(size)),
        check(index, 2 ** 53, leaf, proof, root(size)),
      ]
      if (proof.length > 0) {
        refused.push(check(index, size, leaf, proof.slice(1), root(size)))
        refused.push(check(index, size, leaf, proof.slice(0, -1), root(size)))
        refused.push(
          check(index, size, leaf, [proof[0]!.subarray(1), ...proof.slice(1)], root(size)),
        )
      }
      for (const attempt of refused) assert.throws(attempt, { code: 'proof_invalid' })
    }
  }
})

test('consistency proofs of all trees up to 40 hold, and for nothing else', () => {
  for (let to = 1; to <= 40; to++) {
    for (let from = 1; from <= to; from++) {
      const proof = consist(from, to)
      verifyConsistency(from, to, proof, root(from), root(to))
      const refused = [
        () => verifyConsistency(from, to, proof, root(from + 1), root(to)),
        () => verifyConsistency(from, to, proof, root(from), root(to + 1)),
        () => verifyConsistency(from, to, [...proof, root(1)], root(from), root(to)),
        () => verifyConsistency(to + 1, to, proof, root(from), root(to)),
      ]
      if (proof.length > 0) {
        refused.push(() => verifyConsistency(from, to, proof.slice(1), root(from), root(to)))
        refused.push(() => verifyConsistency(from, to, proof.slice(0, -1), root(from), root(to)))
      }
      for (const attempt of refused) assert.throws(attempt, { code: 'proof_invalid' })
    }
  }
  assert.throws(() => verifyConsistency(0, 5, [], root(0), root(5)), { code: 'proof_invalid' })
})

test('ranges of proofs are refused outside of the tree', () => {
  for (
    const [index, size] of [[0, 0], [5, 5], [-1, 5], [0.5, 5], [NaN, 5], [0, 2 ** 53]] as const
  ) {
    assert.throws(() => inclusionRanges(index, size), { code: 'log_range' })
  }
  assert.throws(() => consistencyRanges(6, 5), { code: 'log_range' })
  assert.deepEqual(consistencyRanges(0, 5), [])
})

test('proof ranges stay right beyond 32 bits', () => {
  const size = 2 ** 40 + 12345
  const ranges = inclusionRanges(2 ** 39 + 7, size)
  const covered = ranges.reduce((sum, { start, end }) => sum + end - start, 1)
  assert.equal(covered, size)
  assert.ok(ranges.length <= 42)
})

test('an edge has the root of every size, and its tiles are the hashes of the tree', () => {
  const edge = new TreeEdge(defaultHasher)
  for (const [i, leaf] of LEAVES.entries()) {
    const full = edge.append(leaf)
    assert.equal(toHex(edge.root), toHex(root(i + 1)), `size ${i + 1}`)
    assert.equal(full.length, i === 255 ? 1 : 0)
  }
  const [leaves, roots] = edge.partialTiles
  assert.deepEqual([leaves?.level, leaves?.n, leaves?.width], [0, 1, 44])
  assert.deepEqual([roots?.level, roots?.n, roots?.width], [1, 0, 1])
  assert.equal(toHex(roots!.bytes), toHex(root(256)))
})

test('an edge that is loaded from its tiles goes on like the one that wrote them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 299 }), async (size) => {
      const edge = new TreeEdge(defaultHasher)
      const tiles = new Map<string, Bytes>()
      for (const leaf of LEAVES.slice(0, size)) edge.append(leaf)
      for (const { level, n, width, bytes } of edge.partialTiles) {
        tiles.set(`tile/${level}/00${n}.p/${width}`, bytes)
      }
      const loaded = await TreeEdge.load(
        size,
        (path) => Promise.resolve(tiles.get(path)),
        defaultHasher,
      )
      assert.equal(toHex(loaded.root), toHex(root(size)))
      loaded.append(LEAVES[size]!)
      assert.equal(toHex(loaded.root), toHex(root(size + 1)))
    }),
    { numRuns: 40 },
  )
})
