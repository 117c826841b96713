/**
 * The claim `limits`, which the draft does not have: how often, how much, with whose approval, and how long after
 * the last contact a tool may be used. Keys are tools, or `*` for all tools together. Every link's limits hold,
 * each counted for itself, so a child cannot widen them and need not repeat them. The header names the claim in
 * `crit` (RFC 7515 §4.1.11), so whoever does not count refuses instead of not counting.
 *
 * `{calls?: {max, per_seconds?}, budget?: {argument, max, currency?}, approval?: {keys, quorum},
 * offline_max_age?: seconds}`. What is unknown in it is refused.
 */
import { isObject, type JsonObject, type JsonValue } from '../json.ts'
import { quoted } from '../errors.ts'
import { amountUnits } from './amount.ts'
import { isName, malformed, MAX_TOOLS } from './sizes.ts'

/** Limits by tool; `*` means all tools together. As in the claim. */
export type LimitsJson = { readonly [tool: string]: LimitJson }

/** The limits of one tool, as in the claim. */
export interface LimitJson {
  /** At most `max` calls; with `per_seconds`, in any span of that many seconds. */
  readonly calls?: { readonly max: number; readonly per_seconds?: number | undefined } | undefined
  /**
   * The sum of an argument over all calls. `currency` is a label for people: whoever means one fixes it by a
   * constraint on the argument that says it.
   */
  readonly budget?: {
    readonly argument: string
    readonly max: number
    readonly currency?: string | undefined
  } | undefined
  /** Thumbprints of keys, and how many of them must have signed for this very call. */
  readonly approval?: { readonly keys: readonly string[]; readonly quorum: number } | undefined
  /** Seconds since the device last heard from its server, at most. For devices to enforce. */
  readonly offline_max_age?: number | undefined
}

/** The limits of a token, read. */
export type Limits = ReadonlyMap<string, LimitJson>

/** Most keys that an approval may name. */
const MAX_APPROVERS = 32
/** A bound for seconds and counts: far beyond use, far below where doubles lose integers. */
const MAX_COUNT = 2 ** 40

/** Reads the claim. Errors: `grant_malformed`. */
export function parseLimits(json: JsonValue | undefined): Limits {
  if (!isObject(json)) throw malformed('"limits" is not an object', 'limits')
  const tools = Object.keys(json)
  if (tools.length === 0 || tools.length > MAX_TOOLS + 1) {
    throw malformed('"limits" names no tool, or too many', 'limits')
  }
  return new Map(tools.map((tool) => {
    if (!isName(tool)) throw malformed('a tool has no proper name', 'limits')
    return [tool, parseLimit(json[tool], `limits[${quoted(tool)}]`)]
  }))
}

function parseLimit(json: JsonValue | undefined, where: string): LimitJson {
  const { calls, budget, approval, offline_max_age: age } = members(
    json,
    ['calls', 'budget', 'approval', 'offline_max_age'],
    where,
  )
  if (age !== undefined) whole(age, 0, `${where}.offline_max_age`)
  return {
    ...calls === undefined ? {} : { calls: parseCalls(calls, `${where}.calls`) },
    ...budget === undefined ? {} : { budget: parseBudget(budget, `${where}.budget`) },
    ...approval === undefined ? {} : { approval: parseApproval(approval, `${where}.approval`) },
    ...age === undefined ? {} : { offline_max_age: age as number },
  }
}

function parseCalls(json: JsonValue, where: string): NonNullable<LimitJson['calls']> {
  const { max, per_seconds: seconds } = members(json, ['max', 'per_seconds'], where)
  const count = whole(max, 0, `${where}.max`)
  if (seconds === undefined) return { max: count }
  return { max: count, per_seconds: whole(seconds, 1, `${where}.per_seconds`) }
}

function parseBudget(json: JsonValue, where: string): NonNullable<LimitJson['budget']> {
  const { argument, max, currency } = members(json, ['argument', 'max', 'currency'], where)
  if (!isName(argument)) throw malformed('a budget names no argument', where)
  if (typeof max !== 'number' || amountUnits(max) === undefined) {
    throw malformed('a budget has no proper maximum', where)
  }
  if (currency === undefined) return { argument, max }
  if (typeof currency !== 'string' || !/^[\x21-\x7e]{1,32}$/.test(currency)) {
    throw malformed('a budget has no proper currency', where)
  }
  return { argument, max, currency }
}

function parseApproval(json: JsonValue, where: string): NonNullable<LimitJson['approval']> {
  const { keys, quorum } = members(json, ['keys', 'quorum'], where)
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > MAX_APPROVERS) {
    throw malformed('an approval names no keys, or too many', where)
  }
  const thumbprints = keys.map((key: JsonValue) => {
    if (typeof key !== 'string' || !/^[\w-]{43}$/.test(key)) {
      throw malformed(
        'an approval names a key by something else than its SHA-256 thumbprint',
        where,
      )
    }
    return key
  })
  // A key named twice would count twice.
  if (new Set(thumbprints).size !== keys.length) throw malformed('a key is named twice', where)
  const count = whole(quorum, 1, `${where}.quorum`)
  if (count > keys.length) throw malformed('a quorum that no number of keys reaches', where)
  return { keys: thumbprints, quorum: count }
}

function members(
  json: JsonValue | undefined,
  known: readonly string[],
  where: string,
): JsonObject {
  if (!isObject(json)) throw malformed('a limit is not an object', where)
  const names = Object.keys(json)
  if (names.length === 0) throw malformed('a limit that limits nothing', where)
  if (names.some((name) => !known.includes(name))) {
    throw malformed('a limit has a member that is not known here', where)
  }
  return json
}

function whole(value: JsonValue | undefined, min: number, where: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= MAX_COUNT) {
    return value as number
  }
  throw malformed('a limit is not a whole number in range', where)
}

/** Seconds without contact that a tool allows, by the strictest of some links' limits; undefined: no ceiling. */
export function offlineMaxAge(
  all: Iterable<Limits | undefined>,
  tool: string,
): number | undefined {
  let age: number | undefined
  for (const limits of all) {
    for (const key of [tool, '*']) {
      const found = limits?.get(key)?.offline_max_age
      if (found !== undefined) age = Math.min(age ?? found, found)
    }
  }
  return age
}
