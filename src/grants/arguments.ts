/**
 * Arguments of a call, taken out of the caller's hands. What is judged, counted, approved, proved and logged must be
 * what the tool then gets; an object that somebody else holds may be another one after each `await`, a getter or an
 * iterator says something else each time, and what an object inherits or hides is seen by the tool alone. So they
 * are read once, into RFC 8785 form, and nothing but that is used.
 */
import { toBase64Url, utf8 } from '../bytes.ts'
import { canonicalize, type JsonObject, type JsonValue } from '../json.ts'
import { portableSha256 } from '../log/mod.ts'

/** Arguments that were read. */
export interface ReadArguments {
  /** In RFC 8785 form. */
  readonly text: string
  /** What that text says: made of nothing but own, plain members. */
  readonly value: JsonObject
}

/** A call as it is judged. */
export interface JudgedCall {
  readonly tool: string
  readonly args: ReadArguments
}

/**
 * Reads arguments; undefined for what is not a JSON object, or has members that JSON would leave out unseen (named by
 * symbols, or not enumerable). Total: whatever getters and proxies throw.
 */
export function readArguments(args: unknown): ReadArguments | undefined {
  try {
    const text = canonicalize(args as JsonValue)
    if (!text.startsWith('{') || hides(args as object)) return undefined
    return { text, value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

function hides(args: object): boolean {
  return Reflect.ownKeys(args).length !== Object.keys(args).length
}

/** What stands in a log for arguments in RFC 8785 form: their SHA-256, base64url. */
export function argumentDigest(text: string): string {
  return toBase64Url(portableSha256(utf8(text)))
}
