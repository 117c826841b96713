/**
 * Strict JSON. Signed text must mean one thing to every reader, so what RFC 8259 leaves open is
 * refused here, after I-JSON (RFC 7493): duplicate names, integers that a double can't hold, lone
 * surrogates, a byte order mark. Size and depth are limited, so hostile input ends in one
 * `SignetError` and never in a full stack or heap.
 *
 * {@link canonicalize} writes RFC 8785 (JCS).
 */
import { fromUtf8, utf8 } from './bytes.ts'
import type { Bytes } from './bytes.ts'
import { quoted, SignetError } from './errors.ts'

/** Any JSON value. Objects made by {@link parseJson} have no prototype. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined }

/** A JSON object. */
export type JsonObject = { readonly [name: string]: JsonValue | undefined }

/** Limits of {@link parseJson}. */
export interface ParseJsonOptions {
  /** Most bytes (of bytes) or UTF-16 units (of text) taken. Default 16 MiB. */
  readonly maxBytes?: number
  /** Deepest nesting of arrays and objects. Default 64. */
  readonly maxDepth?: number
  /** Most values, inner ones included: in memory text may grow fiftyfold. Default two million. */
  readonly maxValues?: number
  /** What the text is, for messages. Default `JSON`. */
  readonly what?: string
}

const MAX_BYTES = 16 * 1024 * 1024
const MAX_DEPTH = 64
const MAX_VALUES = 2_000_000

/**
 * Parses strict JSON from UTF-8 bytes or text.
 *
 * Errors: `too_large`, `encoding_invalid` (not UTF-8), `json_malformed`, `json_duplicate_key`,
 * `json_too_deep`, `json_number_unsafe` (an integer beyond ±(2^53−1) below 1e21, one of more digits, or a
 * number that is infinite as a double), `json_surrogate`. `where` holds the offset in UTF-16 units.
 * What is accepted here {@link canonicalize} accepts.
 */
export function parseJson(input: Uint8Array | string, options: ParseJsonOptions = {}): JsonValue {
  const { maxBytes = MAX_BYTES, what = 'JSON' } = options
  if (input.length > maxBytes) {
    throw new SignetError('too_large', `${what} has more than ${maxBytes} bytes`)
  }
  const text = typeof input === 'string' ? input : fromUtf8(input, what)
  return new Parser(text, what, options).document()
}

/** True for a JSON object: not null, not an array. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The RFC 8785 (JCS) form of a value: names sorted by UTF-16 units, ECMAScript numbers, no spaces.
 * Members that are `undefined` are left out.
 *
 * Errors: `json_number_unsafe` (not finite, or an integer beyond ±(2^53−1) below 1e21), `json_surrogate`,
 * `json_too_deep`. What is no JSON value (a date, a map, bytes, a hole in an array) is a `TypeError`: it
 * would be signed as something else.
 */
export function canonicalize(value: JsonValue): string {
  return write(value, 0)
}

/** The UTF-8 bytes of {@link canonicalize}. */
export function canonicalBytes(value: JsonValue): Bytes {
  return utf8(canonicalize(value))
}

function write(value: JsonValue, depth: number): string {
  if (depth > MAX_DEPTH) throw new SignetError('json_too_deep', 'value is nested too deep')
  if (typeof value === 'string') return writeString(value)
  if (typeof value === 'number') return writeNumber(value)
  if (value === null || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) {
    // Array.from, unlike map, does not skip holes.
    return `[${Array.from(value, (item: JsonValue) => write(item, depth + 1)).join(',')}]`
  }
  if (!isPlain(value)) throw new TypeError('not a JSON value')
  // Array.prototype.sort without a comparator is the order of UTF-16 units that RFC 8785 §3.2.3 asks for.
  const members = Object.keys(value as JsonObject).sort().flatMap((name) => {
    const member = (value as JsonObject)[name]
    return member === undefined ? [] : [`${writeString(name)}:${write(member, depth + 1)}`]
  })
  return `{${members.join(',')}}`
}

/** An object literal, of whatever realm, or one without a prototype. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const prototype: object | null = Object.getPrototypeOf(value)
  return prototype === null ||
    Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'hasOwnProperty')
}

function writeString(text: string): string {
  if (!text.isWellFormed()) throw new SignetError('json_surrogate', 'text holds a lone surrogate')
  // JSON.stringify escapes just what RFC 8785 §3.2.2.2 asks for, in the same form.
  return JSON.stringify(text)
}

function writeNumber(number: number): string {
  if (!isSafe(number)) {
    throw new SignetError('json_number_unsafe', 'number has no exact JSON form')
  }
  return String(Object.is(number, -0) ? 0 : number)
}

/**
 * Finite, and not an integer that two readers could take for two numbers: beyond ±(2^53−1) an integer may
 * stand for its neighbours. From 1e21 on the canonical form has an exponent, and is read as a double.
 */
function isSafe(number: number): boolean {
  if (Number.isSafeInteger(number)) return true
  return Number.isFinite(number) && (!Number.isInteger(number) || Math.abs(number) >= 1e21)
}

// Sticky expressions: each match starts exactly where the parser stands.
const SPACE = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const INTEGER = /^-?[0-9]+$/
// deno-lint-ignore no-control-regex -- control characters are what RFC 8259 §7 wants escaped
const NOT_PLAIN = /[\\\u0000-\u001f]/
/** Longer strings, such as payloads, are not copied. */
const LONG = 65536

class Parser {
  #at = 0
  #values = 0
  readonly #text: string
  readonly #what: string
  readonly #maxDepth: number
  readonly #maxValues: number

  constructor(text: string, what: string, options: ParseJsonOptions) {
    this.#text = text
    this.#what = what
    this.#maxDepth = options.maxDepth ?? MAX_DEPTH
    this.#maxValues = options.maxValues ?? MAX_VALUES
  }

  document(): JsonValue {
    this.#space()
    const value = this.#value(0)
    this.#space()
    if (this.#at < this.#text.length) this.#fail('text follows the value')
    return value
  }

  #fail(why: string, code: 'json_malformed' | 'json_number_unsafe' = 'json_malformed'): never {
    throw new SignetError(code, `${this.#what}: ${why} at offset ${this.#at}`, {
      where: String(this.#at),
    })
  }

  #match(expression: RegExp): string {
    expression.lastIndex = this.#at
    const found = expression.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }

  #space(): void {
    const code = this.#text.charCodeAt(this.#at)
    if (code === 32 || (code >= 9 && code <= 13)) this.#match(SPACE)
  }

  #take(literal: string): boolean {
    if (!this.#text.startsWith(literal, this.#at)) return false
    this.#at += literal.length
    return true
  }

  #value(depth: number): JsonValue {
    if (++this.#values > this.#maxValues) {
      throw new SignetError('too_large', `${this.#what} has more than ${this.#maxValues} values`)
    }
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth + 1)
      case '[':
        return this.#array(depth + 1)
      case '"':
        return this.#string()
    }
    if (this.#take('true')) return true
    if (this.#take('false')) return false
    if (this.#take('null')) return null
    return this.#number()
  }

  #deeper(depth: number): void {
    this.#at++
    if (depth > this.#maxDepth) {
      throw new SignetError(
        'json_too_deep',
        `${this.#what} is nested deeper than ${this.#maxDepth}`,
        { where: String(this.#at) },
      )
    }
    this.#space()
  }

  #object(depth: number): JsonObject {
    this.#deeper(depth)
    // No prototype: a member named __proto__ is a member like any other. Not by Object.create(null), which
    // makes V8 keep each object as a hash table, four times as large.
    const object: Record<string, JsonValue> = Object.setPrototypeOf({}, null)
    if (this.#take('}')) return object
    while (true) {
      if (this.#text[this.#at] !== '"') this.#fail('a name is missing')
      const name = this.#string(true)
      if (name in object) {
        throw new SignetError(
          'json_duplicate_key',
          `${this.#what}: name ${quoted(name)} stands twice in one object`,
          { where: String(this.#at) },
        )
      }
      this.#space()
      if (!this.#take(':')) this.#fail('":" is missing')
      this.#space()
      object[name] = this.#value(depth)
      this.#space()
      if (this.#take('}')) return object
      if (!this.#take(',')) this.#fail('"," or "}" is missing')
      this.#space()
    }
  }

  #array(depth: number): JsonValue[] {
    this.#deeper(depth)
    const array: JsonValue[] = []
    if (this.#take(']')) return array
    while (true) {
      array.push(this.#value(depth))
      this.#space()
      if (this.#take(']')) return array
      if (!this.#take(',')) this.#fail('"," or "]" is missing')
      this.#space()
    }
  }

  /** A string, or a name (which the object copies in any case). */
  #string(isName: boolean = false): string {
    const start = this.#at
    const end = this.#closingQuote(start + 1)
    const raw = this.#text.slice(start + 1, end)
    const isView = (isName || raw.length > LONG) && !NOT_PLAIN.test(raw)
    const out = isView ? raw : this.#copy(start, end)
    this.#at = end + 1
    if (!out.isWellFormed()) {
      throw new SignetError('json_surrogate', `${this.#what}: a string holds a lone surrogate`, {
        where: String(this.#at),
      })
    }
    return out
  }

  /** Where the string ends that has `from` inside: at a quote behind an even number of backslashes. */
  #closingQuote(from: number): number {
    for (let end = from;; end++) {
      end = this.#text.indexOf('"', end)
      if (end < 0) this.#fail('a string is not closed')
      let at = end
      while (this.#text[at - 1] === '\\') at--
      if ((end - at) % 2 === 0) return end
    }
  }

  /**
   * The string that stands there, by the platform, which reads a string as strictly as the rest is read here
   * and makes no piece of text for each escape. A copy: a part of the text would keep all of it in memory.
   */
  #copy(start: number, end: number): string {
    try {
      return JSON.parse(this.#text.slice(start, end + 1))
    } catch {
      this.#fail('a string holds a control character or an unknown escape')
    }
  }

  #number(): number {
    const lexeme = this.#match(NUMBER)
    if (lexeme === '') this.#fail('a value is missing')
    const number = Number(lexeme)
    // 1e400 is infinite; 9007199254740993 would become another number without a word.
    if (!isSafe(number) || (INTEGER.test(lexeme) && !Number.isSafeInteger(number))) {
      this.#fail('a number that a double cannot hold', 'json_number_unsafe')
    }
    return number
  }
}
