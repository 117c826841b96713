/**
 * Structured fields (RFC 9651, before it RFC 8941), as far as HTTP message signatures need them: a dictionary
 * of inner lists and byte sequences, with strings, tokens, integers and booleans as parameters. Read strictly: one
 * text for one value, no member twice (the RFC lets the last one win, and two readers may differ), no decimals,
 * dates and display strings.
 */
import { type Bytes, fromBase64 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'

/** A value without parameters. Tokens have a type of their own, since `a` and `"a"` are two things. */
export type BareItem = string | number | boolean | Bytes | { readonly token: string }

/** Parameters by name, in order. */
export type Parameters = ReadonlyMap<string, BareItem>

/** An item with its parameters. */
export interface Item {
  readonly value: BareItem
  readonly parameters: Parameters
}

/** A member of a dictionary: an item, or a list of them in parentheses. */
export interface Member {
  readonly value: BareItem | readonly Item[]
  readonly parameters: Parameters
  /** The member's value with its parameters, as it stood. */
  readonly raw: string
}

/** Most characters of a field, and most members, items and parameters in one place. */
const MAX_LENGTH = 8192
const MAX_COUNT = 64

const KEY = /[a-z*][a-z0-9_.*-]*/y
const TOKEN = /[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*/y
const INTEGER = /-?[0-9]{1,15}(?![0-9.])/y
const STRING = /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y
const BYTES = /:[A-Za-z0-9+/=]*:/y
const COMMA = /[ \t]*,[ \t]*/y

/** Reads a dictionary. Errors: `field_malformed`; `what` is the field's name. */
export function parseDictionary(text: string, what: string): ReadonlyMap<string, Member> {
  return new Reader(text, what).dictionary()
}

/** Writes a string. Errors: `field_malformed` for what is not printable ASCII. */
export function formatString(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text)) {
    throw new SignetError('field_malformed', 'a string in a field is not printable ASCII')
  }
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

class Reader {
  #at = 0
  readonly #text: string
  readonly #what: string

  constructor(text: string, what: string) {
    this.#text = text
    this.#what = what
    if (text.length > MAX_LENGTH) this.#fail(`it has more than ${MAX_LENGTH} characters`)
  }

  dictionary(): ReadonlyMap<string, Member> {
    const members = new Map<string, Member>()
    do {
      const name = this.#need(KEY, 'a name')
      if (members.has(name)) this.#fail('a member stands in it twice')
      this.#room(members.size)
      members.set(name, this.#member())
    } while (this.#match(COMMA) !== undefined)
    if (this.#at < this.#text.length) this.#fail('there is text behind a member')
    return members
  }

  #member(): Member {
    if (!this.#take('=')) {
      const start = this.#at
      const parameters = this.#parameters()
      return { value: true, parameters, raw: this.#text.slice(start, this.#at) }
    }
    const start = this.#at
    const value = this.#take('(') ? this.#innerList() : this.#bare()
    const parameters = this.#parameters()
    return { value, parameters, raw: this.#text.slice(start, this.#at) }
  }

  #innerList(): Item[] {
    const items: Item[] = []
    if (this.#take(')')) return items
    while (true) {
      this.#room(items.length)
      items.push({ value: this.#bare(), parameters: this.#parameters() })
      if (this.#take(')')) return items
      if (!this.#take(' ')) this.#fail('a list is not closed')
    }
  }

  #parameters(): Parameters {
    const parameters = new Map<string, BareItem>()
    while (this.#take(';')) {
      const name = this.#need(KEY, 'the name of a parameter')
      if (parameters.has(name)) this.#fail('a parameter stands there twice')
      this.#room(parameters.size)
      parameters.set(name, this.#take('=') ? this.#bare() : true)
    }
    return parameters
  }

  #bare(): BareItem {
    const string = this.#match(STRING)
    if (string !== undefined) return string.slice(1, -1).replace(/\\(.)/g, '$1')
    const bytes = this.#match(BYTES)
    if (bytes !== undefined) return this.#bytes(bytes.slice(1, -1))
    if (this.#take('?1')) return true
    if (this.#take('?0')) return false
    const integer = this.#match(INTEGER)
    if (integer !== undefined) return Number(integer)
    return { token: this.#need(TOKEN, 'a value') }
  }

  #bytes(base64: string): Bytes {
    try {
      return fromBase64(base64)
    } catch (error) {
      if (!isSignetError(error)) throw error
      return this.#fail('its bytes are not base64')
    }
  }

  #match(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at
    const found = expression.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  #need(expression: RegExp, what: string): string {
    return this.#match(expression) ?? this.#fail(`${what} is missing`)
  }

  #take(literal: string): boolean {
    if (!this.#text.startsWith(literal, this.#at)) return false
    this.#at += literal.length
    return true
  }

  #room(count: number): void {
    if (count >= MAX_COUNT) this.#fail(`it has more than ${MAX_COUNT} parts in one place`)
  }

  #fail(why: string): never {
    throw new SignetError('field_malformed', `${this.#what}: ${why} (at ${this.#at})`, {
      where: String(this.#at),
    })
  }
}
