/** What was asked for, in words that a person can decide on. */
import { isObject, type JsonObject, type JsonValue } from '../json.ts'

/** A length of time: `90 minutes`, `36 hours`, `7 days`. */
export function durationWords(seconds: number): string {
  const [unit, size] = seconds < 120
    ? ['second', 1] as const
    : seconds < 7200
    ? ['minute', 60] as const
    : seconds < 172_800
    ? ['hour', 3600] as const
    : ['day', 86_400] as const
  const count = Math.round(seconds / size * 10) / 10
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

/** What a tool's constraint map says, a line for each argument. */
export function toolWords(constraints: JsonValue | undefined): readonly string[] {
  if (!isObject(constraints)) return ['something this page cannot explain']
  const lines = Object.entries(constraints).map(([name, constraint]) =>
    `${name}: ${constraintWords(constraint, 0)}`
  )
  return lines.length === 0 ? ['with any arguments'] : lines
}

const WORDS: Readonly<Record<string, (constraint: JsonObject, depth: number) => string>> = {
  exact: ({ value }) => `exactly ${shown(value)}`,
  range: rangeWords,
  one_of: ({ values }) => `one of ${list(values)}`,
  not_one_of: ({ excluded }) => `anything but ${list(excluded)}`,
  contains: ({ required }) => `a list with at least ${list(required)}`,
  subset: ({ allowed }) => `a list of nothing but ${list(allowed)}`,
  wildcard: () => 'anything',
  all: ({ constraints }, depth) => nested(constraints, ' and ', depth),
  any: ({ constraints }, depth) => nested(constraints, ' or ', depth),
}

function constraintWords(constraint: JsonValue | undefined, depth: number): string {
  if (!isObject(constraint) || depth > 8) return `as ${shown(constraint)} says`
  const type = constraint.constraint_type
  const words = typeof type === 'string' && Object.hasOwn(WORDS, type) ? WORDS[type] : undefined
  return words === undefined ? `as ${shown(constraint)} says` : words(constraint, depth)
}

function rangeWords(constraint: JsonObject): string {
  const { min, max, min_inclusive: includesMin, max_inclusive: includesMax } = constraint
  const low = min === undefined
    ? ''
    : `${includesMin === false ? 'more than' : 'at least'} ${shown(min)}`
  const high = max === undefined
    ? ''
    : `${includesMax === false ? 'less than' : 'at most'} ${shown(max)}`
  return [low, high].filter((part) => part !== '').join(', ') || 'any number'
}

function nested(constraints: JsonValue | undefined, word: string, depth: number): string {
  if (!Array.isArray(constraints)) return `as ${shown(constraints)} says`
  return constraints.map((one) => `(${constraintWords(one, depth + 1)})`).join(word)
}

function list(values: JsonValue | undefined): string {
  return Array.isArray(values) && values.length > 0 ? values.map(shown).join(', ') : 'nothing'
}

function shown(value: JsonValue | undefined): string {
  const text = JSON.stringify(value) ?? 'nothing'
  // Nothing is left out in silence: who cannot read all of it must be able to see so.
  return text.length > 500 ? `${text.slice(0, 500)}… (${text.length} characters in all)` : text
}

/** What the limits of one tool, or of all, say. */
export function limitWords(limits: JsonValue | undefined): readonly string[] {
  if (!isObject(limits)) return []
  return Object.entries(limits).flatMap(([kind, limit]) => {
    if (kind === 'offline_max_age' && typeof limit === 'number') {
      return [`no longer than ${durationWords(limit)} without contact`]
    }
    if (!isObject(limit)) return [`${kind}: ${shown(limit)}`]
    const { max, per_seconds: per, argument, currency, keys, quorum } = limit
    if (kind === 'calls') {
      const each = typeof per === 'number' ? ` in ${durationWords(per)}` : ' in all'
      return [`at most ${shown(max)} calls${each}`]
    }
    if (kind === 'budget') {
      const unit = typeof currency === 'string' ? ` ${currency}` : ''
      return [`the sum of ${shown(argument)} is at most ${shown(max)}${unit}`]
    }
    if (kind === 'approval' && Array.isArray(keys)) {
      return [`each call is approved by ${shown(quorum ?? 1)} of ${keys.length} keys`]
    }
    return [`${kind}: ${shown(limit)}`]
  })
}
