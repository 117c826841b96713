/**
 * What a log holds: one canonical JSON object (RFC 8785) per entry, at most 65 535 bytes.
 *
 * ```json
 * {"action":"read","actor":"did:…","outcome":"ok","seq":0,"time":"2026-11-21T10:00:00.000Z","type":"tool.call","v":1}
 * ```
 *
 * `seq` is the index in the tree; `time` never runs back within a log, whatever the clock does.
 * Private fields stand in `private` as commitments HMAC-SHA-256(salt, JCS([name, value])) with one
 * random salt for each entry. Salt and values (the opening) are kept beside the log; without them the
 * commitments tell nothing, and every proof still holds.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import * as v from 'valibot'
import { type Bytes, equalBytes, fromBase64Url, toBase64Url, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  canonicalBytes,
  canonicalize,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '../json.ts'
import { conform, mapOf } from '../schema.ts'
import { entryTooLarge, MAX_ENTRY_BYTES } from './tile.ts'

/** What happened, as the caller tells it. */
export interface LogEvent {
  /** What kind of entry: letters, digits and `._:/-`, at most 128. Types `log.…` are the log's own. */
  readonly type: string
  /** Who did it. */
  readonly actor?: string | undefined
  /** To whom or what. */
  readonly subject?: string | undefined
  /** What was done. */
  readonly action?: string | undefined
  /** How it ended. */
  readonly outcome?: string | undefined
  /** Reference: a grant, a task, an earlier entry. */
  readonly ref?: string | undefined
  /** Trace id. */
  readonly trace?: string | undefined
  /** Anything else. Larger bodies belong elsewhere, and their digest here. */
  readonly data?: JsonValue | undefined
  /** Fields that go into the log as commitments only. */
  readonly private?: JsonObject | undefined
}

/** An entry as read back. */
export interface LogEntry extends Omit<LogEvent, 'private'> {
  /** Index in the log. */
  readonly seq: number
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string
  /** Commitments by field name, base64url. */
  readonly private?: Readonly<Record<string, string>> | undefined
}

/** Salt and values of an entry's private fields. Secret. */
export interface Opening {
  /** 32 random bytes, base64url. */
  readonly salt: string
  /** The values. */
  readonly fields: JsonObject
}

/** An entry that lacks only its place and time. */
export interface EntryDraft {
  readonly head: string
  readonly middle: string
  readonly tail: string
  /** The opening of its private fields, JSON. */
  readonly opening: Bytes | undefined
}

const TYPE = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/
/** Members in the order of RFC 8785, around `seq`, `subject` and `time`. */
const BEFORE = ['action', 'actor', 'data', 'outcome', 'private', 'ref'] as const
const MEMBERS = new Set(['type', 'subject', 'trace', ...BEFORE])
/** `"seq":` and `"time":` with their longest values. */
const PLACE_BYTES = 64

const Text = v.optional(v.string())
const EntrySchema = v.strictObject({
  action: Text,
  actor: Text,
  data: v.optional(v.unknown()),
  outcome: Text,
  private: v.optional(mapOf(v.pipe(v.string(), v.length(43)))),
  ref: Text,
  seq: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  subject: Text,
  time: v.pipe(v.string(), v.regex(TIME)),
  trace: Text,
  type: v.pipe(v.string(), v.regex(TYPE)),
  v: v.literal(1),
})
const OpeningSchema = v.strictObject({
  salt: v.pipe(v.string(), v.length(43)),
  fields: mapOf(v.unknown()),
})

/**
 * Prepares an entry; whatever can be wrong with an event is found here, before it has a place in the log.
 * Errors: `entry_malformed`, `entry_too_large`, and those of `canonicalize`.
 */
export function draftEntry(event: LogEvent, options: { readonly own?: boolean } = {}): EntryDraft {
  if (!TYPE.test(event.type)) throw malformed('its type is not 1 to 128 of A-Z a-z 0-9 . _ : / -')
  if (event.type.startsWith('log.') && options.own !== true) {
    throw malformed('types that start with "log." are the log\'s own')
  }
  const unknown = Object.keys(event).find((name) => !MEMBERS.has(name))
  if (unknown !== undefined) throw malformed(`unknown member ${JSON.stringify(unknown)}`)
  const opening = event.private === undefined ? undefined : newOpening(event.private)
  const members: JsonObject = { ...event, private: opening && commitments(opening) }
  let head = '{'
  for (const name of BEFORE) {
    if (members[name] !== undefined) head += `"${name}":${member(name, members[name])},`
  }
  const draft = {
    head,
    middle: event.subject === undefined ? '' : `,"subject":${member('subject', event.subject)}`,
    tail: `${event.trace === undefined ? '' : `,"trace":${member('trace', event.trace)}`},"type":${
      canonicalize(event.type)
    },"v":1}`,
    opening: opening === undefined ? undefined : canonicalBytes({ ...opening }),
  }
  const units = draft.head.length + draft.middle.length + draft.tail.length
  if (units * 3 + PLACE_BYTES > MAX_ENTRY_BYTES) {
    const bytes = utf8(draft.head + draft.middle + draft.tail).length + PLACE_BYTES
    if (bytes > MAX_ENTRY_BYTES) throw entryTooLarge(bytes)
  }
  return draft
}

function member(name: string, value: JsonValue): string {
  if (name !== 'data' && name !== 'private' && typeof value !== 'string') {
    throw malformed(`its ${name} is no text`)
  }
  return canonicalize(value)
}

/** The text of an entry at its place. `time` is RFC 3339, UTC, milliseconds. */
export function finishEntry(draft: EntryDraft, seq: number, time: string): string {
  return `${draft.head}"seq":${seq}${draft.middle},"time":"${time}"${draft.tail}`
}

/**
 * Reads an entry: strict, canonical, known members only. That it is in a log, a proof says.
 * Errors: `entry_malformed`, `entry_too_large`, and those of `parseJson`.
 */
export function parseEntry(bytes: Uint8Array): LogEntry {
  if (bytes.length > MAX_ENTRY_BYTES) throw entryTooLarge(bytes.length)
  const value = parseJson(bytes, { what: 'log entry' })
  const entry = conform(EntrySchema, value, 'entry_malformed', 'log entry') as LogEntry
  if (!equalBytes(canonicalBytes(value), bytes)) throw malformed('it is not in canonical form')
  if (Number.isNaN(Date.parse(entry.time))) throw malformed('its time is none')
  return entry
}

function newOpening(fields: JsonObject): Opening {
  return { salt: toBase64Url(crypto.getRandomValues(new Uint8Array(32))), fields }
}

/** The commitments of an opening, by field name. */
export function commitments({ salt, fields }: Opening): Record<string, string> {
  const key = fromBase64Url(salt, 'salt')
  const made: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    made[name] = toBase64Url(hmac(sha256, key, canonicalBytes([name, value])))
  }
  return made
}

/** Reads an opening. Errors: `entry_malformed`, and those of `parseJson`. */
export function parseOpening(bytes: Uint8Array): Opening {
  const value = parseJson(bytes, { what: 'opening' })
  return conform(OpeningSchema, value, 'entry_malformed', 'opening') as Opening
}

/**
 * Checks that an opening belongs to an entry: all private fields, and no other. Errors: `proof_invalid`.
 */
export function verifyOpening(entry: LogEntry, opening: Opening): void {
  const expected = canonicalize(entry.private ?? {})
  if (canonicalize(commitments(opening)) !== expected) {
    throw new SignetError('proof_invalid', `the opening is not that of entry ${entry.seq}`)
  }
}

function malformed(why: string): SignetError {
  return new SignetError('entry_malformed', `log entry: ${why}`)
}
