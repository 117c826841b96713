/**
 * JSON that keeps its numbers as they were written. Signatures of other systems are over text that a
 * parse into doubles would change (`1.0`, `1e-07`, integers beyond 2^53, Python's bare `NaN`).
 * Duplicate names are refused; lone surrogates are kept, because the writers allow them.
 */
import { SignetError } from '../errors.ts'

/** A value with the place of its text. */
export type LexicalJson =
  & { readonly start: number; readonly end: number }
  & (
    | { readonly kind: 'literal'; readonly text: string }
    | { readonly kind: 'string'; readonly value: string }
    | { readonly kind: 'array'; readonly items: readonly LexicalJson[] }
    | { readonly kind: 'object'; readonly members: ReadonlyMap<string, LexicalJson> }
  )

const MAX_DEPTH = 64
const SPACE = /[ \t\r\n]*/y
const LITERAL =
  /true|false|null|NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
// deno-lint-ignore no-control-regex -- control characters are what RFC 8259 §7 wants escaped
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y

/** Parses one value. Errors: `json_malformed`, `json_duplicate_key`, `json_too_deep`. */
export function parseLexical(text: string): LexicalJson {
  let at = 0
  const match = (expression: RegExp): string | undefined => {
    expression.lastIndex = at
    const found = expression.exec(text)?.[0]
    at += found?.length ?? 0
    return found
  }
  const fail = (why: string): never => {
    throw new SignetError('json_malformed', `JSON: ${why} at offset ${at}`, { where: String(at) })
  }
  const take = (character: string): boolean => {
    match(SPACE)
    if (text[at] !== character) return false
    at++
    match(SPACE)
    return true
  }
  const string = (): string => JSON.parse(match(STRING) ?? fail('a string is malformed'))
  const value = (depth: number): LexicalJson => {
    if (depth > MAX_DEPTH) throw new SignetError('json_too_deep', 'JSON is nested too deep')
    match(SPACE)
    const start = at
    if (text[at] === '"') return { kind: 'string', value: string(), start, end: at }
    if (text[at] === '[') {
      at++
      const items: LexicalJson[] = []
      if (!take(']')) {
        do items.push(value(depth + 1))
        while (take(','))
        if (text[at] !== ']') fail('"," or "]" is missing')
        at++
      }
      return { kind: 'array', items, start, end: lastEnd(start) }
    }
    if (text[at] === '{') {
      at++
      const members = new Map<string, LexicalJson>()
      if (!take('}')) {
        do {
          match(SPACE)
          const name = string()
          if (members.has(name)) {
            throw new SignetError('json_duplicate_key', 'JSON: a name stands twice in one object', {
              where: String(at),
            })
          }
          if (!take(':')) fail('":" is missing')
          members.set(name, value(depth + 1))
        } while (take(','))
        if (text[at] !== '}') fail('"," or "}" is missing')
        at++
      }
      return { kind: 'object', members, start, end: lastEnd(start) }
    }
    return { kind: 'literal', text: match(LITERAL) ?? fail('a value is missing'), start, end: at }
  }
  // `take` of a closing bracket swallows the space behind it, which is no part of the value.
  const lastEnd = (start: number) => start + text.slice(start, at).trimEnd().length
  const found = value(0)
  match(SPACE)
  if (at < text.length) fail('text follows the value')
  return found
}

/**
 * The text that Python's `json.dumps(…, sort_keys=True, separators=(',', ':'))` makes of a value that
 * Python wrote: names by code point, all but ASCII escaped, numbers as they stand.
 */
export function pythonCanonical(json: LexicalJson): string {
  switch (json.kind) {
    case 'literal':
      return json.text
    case 'string':
      return pythonString(json.value)
    case 'array':
      return `[${json.items.map(pythonCanonical).join(',')}]`
    case 'object': {
      const names = [...json.members.keys()].sort(byCodePoint)
      return `{${
        names.map((name) => `${pythonString(name)}:${pythonCanonical(json.members.get(name)!)}`)
          .join(',')
      }}`
    }
  }
}

function pythonString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function byCodePoint(a: string, b: string): number {
  const [left, right] = [[...a], [...b]]
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!
    if (difference !== 0) return difference
  }
  return left.length - right.length
}
