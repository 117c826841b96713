/**
 * Bytes and their text forms. All decoders are strict: exactly one text stands for one byte string
 * (no whitespace, no missing or superfluous padding, no stray bits: RFC 4648 §3.5), because two
 * texts for one signature are two identities for one thing.
 *
 * Functions take `Uint8Array` and return `Uint8Array<ArrayBuffer>` (what WebCrypto accepts);
 * {@link owned} is the only place that makes the one of the other.
 */
import { base64 as b64, base64urlnopad as b64url, hex as hex16 } from '@scure/base'
import { SignetError } from './errors.ts'

/** Bytes that WebCrypto takes: not shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>

/** The same bytes as {@link Bytes}; copies only what lies in shared memory. */
export function owned(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Bytes : new Uint8Array(bytes)
}

/** All parts in one. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Collects parts one after the other: many small ones, whoever chose their sizes, need no more room than a few. */
export class Gathering {
  #room: Bytes = new Uint8Array(4096)
  #length = 0

  /** How many bytes there are so far. */
  get length(): number {
    return this.#length
  }

  /** Adds a part behind the others. */
  add(part: Uint8Array): void {
    const length = this.#length + part.length
    if (length > this.#room.length) {
      const room = new Uint8Array(Math.max(length, 2 * this.#room.length))
      room.set(this.#room.subarray(0, this.#length))
      this.#room = room
    }
    this.#room.set(part, this.#length)
    this.#length = length
  }

  /** All of them in one. */
  get bytes(): Bytes {
    return this.#room.slice(0, this.#length)
  }
}

/** True when both hold the same bytes. Not for secrets: the time tells where they differ. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) { // not every(): payloads have a hundred million bytes
    if (a[i] !== b[i]) return false
  }
  return true
}

/** Text as UTF-8. Lone surrogates are refused: they have no UTF-8 form (`encoding_invalid`). */
export function utf8(text: string): Bytes {
  if (!text.isWellFormed()) {
    throw new SignetError('encoding_invalid', 'text holds a lone surrogate')
  }
  return ENCODER.encode(text)
}

// Making one costs more than a short text does; neither keeps anything from one text to the next.
const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8 as text; malformed UTF-8 is refused (`encoding_invalid`), a byte order mark is kept. */
export function fromUtf8(bytes: Uint8Array, what: string = 'text'): string {
  try {
    return DECODER.decode(bytes)
  } catch (cause) {
    throw new SignetError('encoding_invalid', `${what} is not valid UTF-8`, { cause })
  }
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return hex16.encode(bytes)
}

/** Bytes of lower-case hexadecimal; upper case is refused (`encoding_invalid`). */
export function fromHex(text: string, what: string = 'value'): Bytes {
  // Not one pattern for whole pairs: JavaScriptCore gives up on it, with "no", in long texts.
  if (text.length % 2 !== 0 || /[^0-9a-f]/.test(text)) {
    throw new SignetError('encoding_invalid', `${what} is not lower-case hexadecimal`)
  }
  return owned(hex16.decode(text))
}

/** Standard base64 with padding (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  return b64.encode(bytes)
}

/** UTF-8 of a text with standard base64 in it, for what is too long to be a text itself. */
export function wrapBase64(before: string, bytes: Uint8Array, after: string): Bytes {
  const [head, tail] = [utf8(before), utf8(after)]
  const out = new Uint8Array(head.length + Math.ceil(bytes.length / 3) * 4 + tail.length)
  out.set(head)
  out.set(tail, out.length - tail.length)
  const encoder = new TextEncoder()
  const step = 3 * 2 ** 16
  for (let at = 0, to = head.length; at < bytes.length; at += step) {
    to += encoder.encodeInto(b64.encode(bytes.subarray(at, at + step)), out.subarray(to)).written
  }
  return out
}

/** Bytes of standard padded base64, canonical form only (`encoding_invalid`). */
export function fromBase64(text: string, what: string = 'value'): Bytes {
  return decode(b64, text, what, 'standard base64')
}

/** base64url without padding (RFC 7515 §2). */
export function toBase64Url(bytes: Uint8Array): string {
  return platformBase64Url.encode(bytes)
}

/** Bytes of unpadded base64url, canonical form only (`encoding_invalid`). */
export function fromBase64Url(text: string, what: string = 'value'): Bytes {
  return decode(platformBase64Url, text, what, 'unpadded base64url')
}

/** The platform's coder (ECMAScript 2026), ten times as fast as the portable one, where there is one. */
interface PlatformBase64 {
  fromBase64?(text: string, options: object): Uint8Array
  readonly prototype: { toBase64?(this: Uint8Array, options: object): string }
}

const platformBase64Url = base64UrlOf(Uint8Array as unknown as PlatformBase64)

function base64UrlOf({ fromBase64, prototype: { toBase64 } }: PlatformBase64): typeof b64url {
  if (fromBase64 === undefined || toBase64 === undefined) return b64url
  return {
    encode: (bytes) => toBase64.call(bytes, { alphabet: 'base64url', omitPadding: true }),
    decode(text) {
      const padded = text + '='.repeat(-text.length & 3)
      const options = { alphabet: 'base64url', lastChunkHandling: 'strict' }
      const bytes = fromBase64.call(Uint8Array, padded, options)
      // The platform skips white space and takes padding that stood in the text: both leave fewer bytes.
      if (text.length % 4 === 1 || bytes.length !== Math.floor(text.length * 3 / 4)) {
        throw new SyntaxError('not the canonical form')
      }
      return bytes
    },
  }
}

function decode(
  coder: { decode(text: string): Uint8Array },
  text: string,
  what: string,
  form: string,
): Bytes {
  try {
    return owned(coder.decode(text))
  } catch (cause) {
    throw new SignetError('encoding_invalid', `${what} is not ${form}`, { cause })
  }
}
