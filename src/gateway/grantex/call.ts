/** What the handlers of the Grantex dialect share: a call, its refusals, its times, and tokens. */
import * as v from 'valibot'
import { fromUtf8 } from '../../bytes.ts'
import { isSignetError, type SignetError } from '../../errors.ts'
import type { GrantexTrust } from '../../interop/grantex/mod.ts'
import { type JsonObject, type JsonValue, parseJson } from '../../json.ts'
import type { Key } from '../../keys/mod.ts'
import { conform } from '../../schema.ts'
import type { Asked } from '../records.ts'
import type { World } from '../world.ts'
import type { GrantexWebhooks } from './webhooks.ts'

/** The dialect's own settings, checked and completed. */
export interface Dialect {
  /** The gateway. */
  readonly world: World
  /** URL before `/v1`; the issuer of tokens. */
  readonly base: string
  /** RS256. */
  readonly signer: Key
  /** Our own keys, to verify our own tokens. */
  readonly trust: GrantexTrust
  /** What is published. */
  readonly jwks: readonly JsonObject[]
  /** Whether whoever asks approves. */
  readonly isSandbox: boolean
  /** How often a grant may be passed on. */
  readonly maxDepth: number
  /** What is told to others, if anything is. */
  readonly webhooks: GrantexWebhooks | undefined
  /** The developer whose SCIM users are the people of this whole server, if one's are. */
  readonly directory: string | undefined
  /** A bundle with less of its time left than this part is renewed in the answer to a sync. */
  readonly renewBelow: number
}

/** One request. */
export interface Call {
  readonly dialect: Dialect
  /** The developer whose key it has; empty for public routes. */
  readonly tenant: string
  /** The principal whose session it has, on their routes. */
  readonly principal: string
  /** From the path. */
  readonly params: readonly string[]
  /** From the query. */
  readonly query: URLSearchParams
  /** The body. */
  readonly body: Uint8Array
}

/** Does one call. */
export type Handler = (call: Call) => Promise<Answer> | Answer

/** An answer before it is one. */
export interface Answer {
  readonly status: number
  /** JSON, or text that is JSON already. */
  readonly body?: JsonObject | string | undefined
  /** Where what was made is. */
  readonly location?: string | undefined
  /** Default: JSON. */
  readonly type?: string | undefined
  /** Content-Security-Policy. Default: that of the gateway, which allows nothing. */
  readonly policy?: string | undefined
}

/** A refusal in Grantex's words. */
export class Refusal extends Error {
  /** HTTP status. */
  readonly status: number
  /** Grantex's code. */
  readonly code: string
  /** More members of the body. */
  readonly more: JsonObject

  constructor(status: number, code: string, message: string, more: JsonObject = {}) {
    super(message)
    this.status = status
    this.code = code
    this.more = more
  }
}

export const badRequest = (message: string): Refusal => new Refusal(400, 'BAD_REQUEST', message)
export const notFound = (what: string): Refusal =>
  new Refusal(404, 'NOT_FOUND', `${what} not found`)

/** The body as JSON of a shape; 400 otherwise. An empty body counts as `{}` only where `isOptional`. */
export function bodyOf<T>(
  call: Call,
  schema: v.GenericSchema<unknown, T>,
  isOptional: boolean = false,
): T {
  try {
    // fetch() of their clients announces JSON and sends nothing.
    const text = fromUtf8(call.body, 'body')
    const value: JsonValue = isOptional && text.trim() === ''
      ? {}
      : parseJson(text, { what: 'body', maxDepth: 20, maxValues: 20_000 })
    return conform(schema, value, 'usage_invalid', 'body')
  } catch (error) {
    if (isSignetError(error)) throw badRequest(error.message)
    throw error
  }
}

/** A text of 1 to `most` units. */
export function text(most: number): v.GenericSchema<string> {
  return v.pipe(v.string(), v.minLength(1), v.maxLength(most))
}

/** 1 to 100 scopes of up to 256 units. */
export const scopeList: v.GenericSchema<string[]> = v.pipe(
  v.array(
    v.pipe(v.string(), v.minLength(1), v.maxLength(256), v.check((one) => one.isWellFormed())),
  ),
  v.minLength(1),
  v.maxLength(100),
)

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** 168 hours: without contact, at most. */
export const MOST_OFFLINE: number = 7 * 86_400

/** Seconds of `72h`; undefined if it is no such time. */
export function secondsOf(duration: string): number | undefined {
  const [, digits, unit] = /^([0-9]{1,8})([smhd])$/.exec(duration) ?? []
  const seconds = Number(digits) * (UNITS[unit ?? ''] ?? NaN)
  return seconds > 0 ? seconds : undefined
}

/** ISO 8601 with milliseconds. */
export function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}

/** What a grant of scopes is in the gateway's words, within the operator's ceilings. */
export function askedFor(
  { world: { ceilings } }: Dialect,
  scopes: readonly string[],
  duration: number,
  maxDepth: number,
  audience?: string,
): Asked {
  return {
    tools: Object.fromEntries(scopes.map((scope) => [scope, {}])),
    duration: Math.min(duration, ceilings.duration),
    maxDepth,
    offlineAge: Math.min(duration, ceilings.offlineAge, MOST_OFFLINE),
    ...(audience === undefined ? {} : { audience: [audience] }),
  }
}

/** The scopes of what was asked. */
export function scopesOf({ tools }: Asked): string[] {
  return Object.keys(tools)
}

/** True if a commit lost against another. */
export function isConflict(error: unknown): error is SignetError {
  return isSignetError(error, 'store_conflict')
}
