/**
 * Copies of data that share nothing with the original. `structuredClone` is not enough: it makes plain objects out of
 * instances without a word, and shared memory stays shared. What is not plainly data is not copied at all: a function,
 * or an instance of a class of somebody's own, may be another one at each look.
 */

const MAX_DEPTH = 64

type Maker = (value: never, copy: (inner: unknown) => unknown) => unknown

const TYPED_ARRAYS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
]

/** How what is no plain object is copied, by its prototype. */
const MAKERS: ReadonlyMap<unknown, Maker> = new Map<unknown, Maker>([
  [Array.prototype, (value: unknown[], copy) => Array.from(value, copy)],
  [Date.prototype, (value: Date) => new Date(value)],
  [URL.prototype, (value: URL) => new URL(value)],
  [Set.prototype, (value: Set<unknown>, copy) => new Set(Array.from(value, copy))],
  [
    Map.prototype,
    (value: Map<unknown, unknown>, copy) =>
      new Map(Array.from(value, ([name, one]) => [copy(name), copy(one)])),
  ],
  // One array made of another has memory of its own.
  ...TYPED_ARRAYS.map((Kind) => [Kind.prototype, (value: never) => new Kind(value)] as const),
  // It holds nothing but whether it is over, and must be the caller's own for that.
  [AbortSignal.prototype, (value: AbortSignal) => value],
])

/**
 * A copy of data: primitives, plain objects, arrays, dates, URLs, maps, sets and typed arrays; an `AbortSignal` is
 * handed on as it is. Throws `TypeError` for anything else, for circles, and for what nests deeper than 64.
 */
export function copyOf(value: unknown, depth: number = 0): unknown {
  if (typeof value === 'function' || depth > MAX_DEPTH) throw new TypeError('no data')
  if (typeof value !== 'object' || value === null) return value
  const copy = (inner: unknown) => copyOf(inner, depth + 1)
  const prototype: object | null = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) {
    // fromEntries makes own members: a member `__proto__` stays one.
    const members = Object.entries(value).map(([name, one]) => [name, copy(one)])
    return Object.fromEntries(members)
  }
  const make = MAKERS.get(prototype)
  if (make === undefined) throw new TypeError('no data')
  return make(value as never, copy)
}
