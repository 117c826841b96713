/** Whether one object can be got at from another, by everything that a holder of it can see. */

/** What everybody has at hand anyway. */
const COMMON: readonly object[] = [
  Object,
  Function,
  Array,
  Error,
  Promise,
  Map,
  Set,
  Date,
  RegExp,
  URL,
].flatMap((one): object[] => [one, one.prototype])

/**
 * True if `target` is `value`, or is reached from it by members (also hidden ones and those of prototypes), or as an
 * entry of a map or a set. Getters are not called; what only a closure or a private member holds is NOT found. What
 * does not let itself be looked at (a proxy that throws) counts as reaching.
 */
export function reaches(value: unknown, target: object): boolean {
  const seen = new Set<unknown>(COMMON)
  const waiting: unknown[] = [value]
  const add = (one: unknown) => {
    if (typeof one !== 'object' && typeof one !== 'function' || one === null || seen.has(one)) {
      return
    }
    seen.add(one)
    waiting.push(one)
  }
  try {
    while (waiting.length > 0) {
      const one = waiting.pop() as object
      if (one === target) return true
      if (one instanceof Map) { for (const entry of one) entry.forEach(add) }
      if (one instanceof Set) one.forEach(add)
      add(Reflect.getPrototypeOf(one))
      // Bytes: a member each, and none of them an object.
      if (ArrayBuffer.isView(one)) continue
      for (const key of Reflect.ownKeys(one)) {
        const { value, get, set } = Reflect.getOwnPropertyDescriptor(one, key)!
        for (const part of [value, get, set]) add(part)
      }
    }
  } catch {
    return true
  }
  return false
}
