/**
 * Place and time of an entry without the cost of strict reading: what `JSON.parse` would find in `seq` and
 * `time`. Entries are canonical JSON, and nearly all are plain: ASCII without escapes, whole numbers. Those are
 * walked over byte by byte, which makes no text and no objects; whatever is not plain goes to `JSON.parse`.
 */
import { fromUtf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** What an entry says of itself. Anything may stand there. */
export interface Glance {
  /** Its member `seq`. */
  readonly seq: unknown
  /** Its member `time`. */
  readonly time: unknown
}

/**
 * Looks at an entry. `before` is the time of the one before: often this one has the same, and no text is made of it.
 * Errors: `encoding_invalid`, `entry_malformed` for what is no JSON object.
 */
export function glance(entry: Uint8Array, before: string = ''): Glance {
  return walk(entry, before) ?? parse(entry)
}

function parse(entry: Uint8Array): Glance {
  const text = fromUtf8(entry, 'log entry')
  try {
    const { seq, time } = JSON.parse(text)
    return { seq, time }
  } catch (cause) {
    throw new SignetError('entry_malformed', 'it is no JSON object', { cause })
  }
}

const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c]
const [OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [0x5b, 0x5d, 0x7b, 0x7d]
const [ZERO, NINE] = [0x30, 0x39]
/** Not a place: the rest is not plain. */
const NOT_PLAIN = -1
/** Deeper ones are left to the platform, which does not recurse. */
const MAX_DEPTH = 16
/** So many digits are a safe integer. */
const MAX_DIGITS = 15

/** The glance at a plain entry; undefined if this one is not, which says nothing about what it is. */
function walk(json: Uint8Array, before: string): Glance | undefined {
  if (json[0] !== OPEN) return undefined
  let seq: number | undefined
  let time: string | undefined
  let at = 0
  do {
    const name = at + 1
    const colon = afterText(json, name)
    if (colon === NOT_PLAIN || json[colon] !== COLON) return undefined
    at = afterValue(json, colon + 1, 0)
    if (at === NOT_PLAIN) return undefined
    // JSON.parse takes the last one of a name, too.
    if (isName(json, name, colon, SEQ)) {
      seq = wholeNumber(json, colon + 1, at)
      if (seq === undefined) return undefined
    } else if (isName(json, name, colon, TIME)) {
      if (json[colon + 1] !== QUOTE) return undefined
      const start = colon + 2
      time = isText(json, start, at - 1, before) ? before : asciiText(json, start, at - 1)
    }
  } while (json[at] === COMMA)
  return json[at] === CLOSE && at + 1 === json.length ? { seq, time } : undefined
}

const SEQ = [0x73, 0x65, 0x71]
const TIME = [0x74, 0x69, 0x6d, 0x65]

/** Whether the text from `start`, which ends before `end`, is a name. */
function isName(json: Uint8Array, start: number, end: number, name: readonly number[]): boolean {
  if (end - start !== name.length + 2) return false
  for (let i = 0; i < name.length; i++) {
    if (json[start + 1 + i] !== name[i]) return false
  }
  return true
}

function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) {
    if (bytes[start + i] !== text.charCodeAt(i)) return false
  }
  return true
}

function asciiText(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!)
  return text
}

/** Where the text ends that should start here. */
function afterText(json: Uint8Array, start: number): number {
  if (json[start] !== QUOTE) return NOT_PLAIN
  for (let at = start + 1; at < json.length; at++) {
    const byte = json[at]!
    if (byte === QUOTE) return at + 1
    if (byte < 0x20 || byte === BACKSLASH || byte > 0x7e) return NOT_PLAIN
  }
  return NOT_PLAIN
}

function afterValue(json: Uint8Array, start: number, depth: number): number {
  const byte = json[start]!
  if (byte === QUOTE) return afterText(json, start)
  if (byte === OPEN || byte === OPEN_LIST) return afterParts(json, start, depth + 1)
  return afterDigits(json, start)
}

/** Where the object or array ends that starts here. */
function afterParts(json: Uint8Array, start: number, depth: number): number {
  if (depth > MAX_DEPTH) return NOT_PLAIN
  const isObject = json[start] === OPEN
  const close = isObject ? CLOSE : CLOSE_LIST
  if (json[start + 1] === close) return start + 2
  let at = start
  do {
    at++
    if (isObject) {
      at = afterText(json, at)
      if (at === NOT_PLAIN || json[at++] !== COLON) return NOT_PLAIN
    }
    at = afterValue(json, at, depth)
    if (at === NOT_PLAIN) return NOT_PLAIN
  } while (json[at] === COMMA)
  return json[at] === close ? at + 1 : NOT_PLAIN
}

/** Where the number ends: digits that start with no needless zero. */
function afterDigits(json: Uint8Array, start: number): number {
  let at = start
  while (json[at]! >= ZERO && json[at]! <= NINE) at++
  const digits = at - start
  return digits === 1 || (digits > 1 && json[start] !== ZERO) ? at : NOT_PLAIN
}

function wholeNumber(json: Uint8Array, start: number, end: number): number | undefined {
  if (json[start]! > NINE || json[start]! < ZERO || end - start > MAX_DIGITS) return undefined
  let value = 0
  for (let at = start; at < end; at++) value = value * 10 + json[at]! - ZERO
  return value
}
