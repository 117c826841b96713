/**
 * Constraints on the arguments of tools (draft §3.4): nine core types, and a hook for registered ones (§3.5).
 *
 * Reading is strict: a member that the type does not have is refused, because `{"constraint_type":"range",
 * "maximum":5}` would otherwise allow everything. A type that nobody here knows is refused too
 * (`constraint_unknown`, §3.5.2). Checking is total: for whatever it is given it answers true or false.
 */
import { utf8 } from '../bytes.ts'
import { isObject, type JsonObject, type JsonValue } from '../json.ts'
import {
  malformed,
  MAX_CONSTRAINT_DEPTH,
  MAX_CONSTRAINTS,
  MAX_VALUE_BYTES,
  type Place,
  refusedAt,
} from './sizes.ts'
import { valueKey } from './values.ts'

/** The types of the draft. */
export const CORE_TYPES = [
  'exact',
  'range',
  'one_of',
  'not_one_of',
  'contains',
  'subset',
  'wildcard',
  'all',
  'any',
] as const

/** A type of the draft. */
export type CoreType = typeof CORE_TYPES[number]

/** Bounds of a range, with the defaults filled in. */
export interface RangeBounds {
  /** Lower bound; undefined: none. */
  readonly min: number | undefined
  /** Upper bound; undefined: none. */
  readonly max: number | undefined
  /** Whether `min` itself is allowed. */
  readonly minInclusive: boolean
  /** Whether `max` itself is allowed. */
  readonly maxInclusive: boolean
}

/** Types that hold a set of values. */
export type SetType = 'one_of' | 'not_one_of' | 'contains' | 'subset'

/** What is read of each type. `json` is what it was read from. */
export interface ConstraintForms {
  /** One scalar; `key` is its canonical form. */
  readonly exact: { readonly type: 'exact'; readonly key: string; readonly value: JsonValue }
  /** A span of numbers. */
  readonly range: { readonly type: 'range'; readonly bounds: RangeBounds }
  /** Some values; `keys` are the canonical forms of the values. */
  readonly set: { readonly type: SetType; readonly keys: ReadonlySet<string> }
  /** Anything. */
  readonly wildcard: { readonly type: 'wildcard' }
  /** Constraints together. */
  readonly composite: {
    readonly type: 'all' | 'any'
    readonly constraints: readonly Constraint[]
  }
  /** What a registered type decides. */
  readonly extension: { readonly type: 'extension'; readonly extension: ConstraintExtension }
}

/** A constraint as it was read: only {@link parseConstraint} makes one. */
export type Constraint = { readonly json: JsonObject } & ConstraintForms[keyof ConstraintForms]

/**
 * A registered type (draft §3.5). Its functions must be pure and quick. What they throw counts as no, and so does
 * everything that they answer but `true`.
 */
export interface ConstraintExtension {
  /** Its name: lower-case letters, digits and underscores; none of the draft's. */
  readonly type: string
  /** Whether the members are complete and of the right types; `members` holds `constraint_type` too. */
  validate(members: JsonObject): boolean
  /** Whether a value satisfies it. */
  check(members: JsonObject, value: unknown): boolean
  /**
   * Whether every value that satisfies `child` satisfies `parent`. One of the two is of this type, the other of
   * this or a core type. It may say no out of caution; if it says yes without proof, authority can grow.
   */
  subsumes(parent: JsonObject, child: JsonObject): boolean
}

/** Registered types by name. */
export type ConstraintExtensions = ReadonlyMap<string, ConstraintExtension>

/** The registry of some types. A name that is malformed, taken or of the draft is a `TypeError`. */
export function extensionsOf(...list: readonly ConstraintExtension[]): ConstraintExtensions {
  const found = new Map<string, ConstraintExtension>()
  for (const one of list) {
    const isTaken = found.has(one.type) || (CORE_TYPES as readonly string[]).includes(one.type)
    if (isTaken || !/^[a-z0-9_]{1,64}$/.test(one.type)) {
      throw new TypeError(`no name for a constraint type, or taken: ${one.type}`)
    }
    found.set(one.type, one)
  }
  return found
}

/** No registered types. */
export const NO_EXTENSIONS: ConstraintExtensions = new Map()

/** Counts the constraints of one tool, so that a tree of them stays small. */
export interface ConstraintCount {
  /** How many there may still be. */
  left: number
}

/**
 * Reads a constraint. Errors: `grant_malformed` (with the place in `where`), `constraint_unknown`.
 */
export function parseConstraint(
  json: JsonValue | undefined,
  where: Place = 'constraint',
  extensions: ConstraintExtensions = NO_EXTENSIONS,
  count: ConstraintCount = { left: MAX_CONSTRAINTS },
  depth: number = 1,
): Constraint {
  if (depth > MAX_CONSTRAINT_DEPTH) {
    throw malformed(`constraints are nested deeper than ${MAX_CONSTRAINT_DEPTH}`, where)
  }
  if (--count.left < 0) {
    throw malformed(`a tool has more than ${MAX_CONSTRAINTS} constraints`, where)
  }
  if (!isObject(json)) throw malformed('a constraint is not an object', where)
  const { constraint_type: type } = json
  if (typeof type !== 'string') throw malformed('a constraint has no constraint_type', where)
  if (Object.hasOwn(READ, type)) {
    const read = READ[type as CoreType]
    const surplus = Object.keys(json).find((name) =>
      name !== 'constraint_type' && !read.members.includes(name)
    )
    if (surplus !== undefined) throw malformed(`${type} has a member too many`, where)
    const nested = (item: JsonValue, at: number) =>
      parseConstraint(item, { inside: where, at }, extensions, count, depth + 1)
    return read.parse(json, where, nested)
  }
  const extension = extensions.get(type)
  if (extension === undefined) {
    throw refusedAt(
      'constraint_unknown',
      'grant: a constraint of an unknown type',
      where,
      'what is not understood is denied; name the type to the verifier if it is registered',
    )
  }
  if (!says(() => extension.validate(json))) {
    throw malformed(`a constraint of type ${type} is not well formed`, where)
  }
  return { type: 'extension', json, extension }
}

type Nested = (item: JsonValue, at: number) => Constraint

interface Reader {
  readonly members: readonly string[]
  parse(json: JsonObject, where: Place, nested: Nested): Constraint
}

const setReader = (
  type: SetType,
  member: string,
): Reader => ({
  members: [member],
  parse(json, where) {
    const list = json[member]
    if (!Array.isArray(list)) throw malformed(`${type} has no array "${member}"`, where)
    return { type, json, keys: new Set(list.map((value: JsonValue) => boundedKey(value, where))) }
  },
})

const compositeReader = (type: 'all' | 'any'): Reader => ({
  members: ['constraints'],
  parse(json, where, nested) {
    const list = json.constraints
    if (!Array.isArray(list)) throw malformed(`${type} has no array "constraints"`, where)
    // Not map over all of it: the count ends a long list early.
    return { type, json, constraints: list.map(nested) }
  },
})

const READ: Readonly<Record<CoreType, Reader>> = {
  exact: {
    members: ['value'],
    parse(json, where) {
      const { value } = json
      if (value === undefined || typeof value === 'object' && value !== null) {
        throw malformed('exact has no scalar "value"', where)
      }
      return { type: 'exact', json, value, key: boundedKey(value, where) }
    },
  },
  range: {
    members: ['min', 'max', 'min_inclusive', 'max_inclusive'],
    parse(json, where) {
      const { min, max, min_inclusive: minInclusive, max_inclusive: maxInclusive } = json
      // Not finite: no order that could be relied on. JSON has none, a caller's object may.
      for (const bound of [min, max]) {
        if (bound !== undefined && !(typeof bound === 'number' && Number.isFinite(bound))) {
          throw malformed('a bound of a range is not a number', where)
        }
      }
      for (const flag of [minInclusive, maxInclusive]) {
        if (flag !== undefined && typeof flag !== 'boolean') {
          throw malformed('a range says neither true nor false to inclusive', where)
        }
      }
      const bounds = {
        min: min as number | undefined,
        max: max as number | undefined,
        minInclusive: minInclusive as boolean | undefined ?? true,
        maxInclusive: maxInclusive as boolean | undefined ?? true,
      }
      return { type: 'range', json, bounds }
    },
  },
  one_of: setReader('one_of', 'values'),
  not_one_of: setReader('not_one_of', 'excluded'),
  contains: setReader('contains', 'required'),
  subset: setReader('subset', 'allowed'),
  wildcard: { members: [], parse: (json) => ({ type: 'wildcard', json }) },
  all: compositeReader('all'),
  any: compositeReader('any'),
}

function boundedKey(value: JsonValue, where: Place): string {
  const key = valueKey(value)
  if (key === undefined) throw malformed('a value has no exact JSON form', where)
  // A UTF-16 unit takes at most three bytes.
  if (
    key.length > MAX_VALUE_BYTES ||
    key.length * 3 > MAX_VALUE_BYTES && utf8(key).length > MAX_VALUE_BYTES
  ) {
    throw malformed(`a value has more than ${MAX_VALUE_BYTES} bytes`, where)
  }
  return key
}

/** Whether a value satisfies a constraint. Total; what is no JSON value satisfies only a wildcard. */
export function satisfies(constraint: Constraint, value: unknown): boolean {
  switch (constraint.type) {
    case 'exact':
      return valueKey(value) === constraint.key
    case 'range':
      return inRange(constraint.bounds, value)
    case 'one_of': {
      const key = valueKey(value)
      return key !== undefined && constraint.keys.has(key)
    }
    case 'not_one_of': {
      const key = valueKey(value)
      return key !== undefined && !constraint.keys.has(key)
    }
    case 'contains': {
      const keys = elementKeys(value)
      return keys !== undefined && isSubset(constraint.keys, keys)
    }
    case 'subset': {
      const keys = elementKeys(value)
      return keys !== undefined && isSubset(keys, constraint.keys)
    }
    case 'wildcard':
      return true
    case 'all':
      return constraint.constraints.every((one) => satisfies(one, value))
    case 'any':
      return constraint.constraints.some((one) => satisfies(one, value))
    case 'extension':
      return says(() => constraint.extension.check(constraint.json, value))
  }
}

function inRange({ min, max, minInclusive, maxInclusive }: RangeBounds, value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false
  if (min !== undefined && !(minInclusive ? value >= min : value > min)) return false
  return max === undefined || (maxInclusive ? value <= max : value < max)
}

/** The canonical forms of an array's elements; undefined if it is no array, or not of JSON values. */
function elementKeys(value: unknown): Set<string> | undefined {
  try {
    if (!Array.isArray(value)) return undefined
    const keys = new Set<string>()
    for (let at = 0; at < value.length; at++) { // not map: it skips holes, which are no values
      const key = valueKey(value[at])
      if (key === undefined) return undefined
      keys.add(key)
    }
    return keys
  } catch { // a proxy of the caller's
    return undefined
  }
}

/** True if each of `some` is in `all`. */
export function isSubset(some: ReadonlySet<string>, all: ReadonlySet<string>): boolean {
  if (some.size > all.size) return false
  for (const one of some) if (!all.has(one)) return false
  return true
}

/** True only if the extension says `true`; what it throws is no. */
export function says(question: () => unknown): boolean {
  try {
    return question() === true
  } catch {
    return false
  }
}
