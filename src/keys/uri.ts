/**
 * Key URIs: one text names a key wherever it lives. The part after the scheme belongs to the provider;
 * `attributes` reads the grammar that RFC 7512 gives `pkcs11:` and that `awskms:` shares.
 */
import type { Bytes } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'

/** A key URI, taken apart as far as all schemes agree. */
export interface KeyUri {
  /** The whole text. Not for messages: a query may hold a PIN. */
  readonly text: string
  /** Lower-case, without the colon. */
  readonly scheme: string
  /** What follows the colon, percent-encoding untouched. */
  readonly rest: string
}

/**
 * Takes a key URI apart. Text without a scheme (and a Windows drive letter) is a `file:` path.
 * Errors: `uri_malformed`.
 */
export function parseKeyUri(text: string): KeyUri {
  // deno-lint-ignore no-control-regex -- control characters are what is refused
  if (text === '' || text.length > 4096 || /[\u0000-\u001f\u007f]/.test(text)) {
    throw new SignetError('uri_malformed', 'a key URI is empty, too long or has control characters')
  }
  const match = /^([A-Za-z][A-Za-z0-9+.-]+):(.*)$/s.exec(text)
  if (match === null) return { text, scheme: 'file', rest: text }
  const [, scheme, rest] = match
  return { text, scheme: scheme!.toLowerCase(), rest: rest! }
}

/**
 * Reads `name=value;name=value?name=value&…` (RFC 7512 §2.3), percent-decoded. A name that is not in
 * `known` or stands twice is refused: a misspelt `slot-id` must not open another token. Values of the names
 * in `binary` stay encoded; {@link percentBytes} reads them.
 */
export function uriAttributes(
  uri: KeyUri,
  known: readonly string[],
  binary: readonly string[] = [],
): Map<string, string> {
  const [path = '', query = '', ...more] = uri.rest.split('?')
  if (more.length > 0) throw new SignetError('uri_malformed', 'a key URI has two "?"')
  const attributes = new Map<string, string>()
  for (const part of [...path.split(';'), ...query.split('&')]) {
    if (part === '') continue
    const [name = '', ...value] = part.split('=')
    if (!known.includes(name) || value.length === 0) {
      throw new SignetError(
        'uri_malformed',
        // What has no "=" may be a value that slipped out of its attribute: a PIN.
        value.length === 0
          ? `${uri.scheme}: URI has an attribute without a value`
          : `${uri.scheme}: URI has an unknown attribute ${quoted(name)}`,
        { remedy: `known are ${known.join(', ')}` },
      )
    }
    if (attributes.has(name)) {
      throw new SignetError('uri_malformed', `${uri.scheme}: attribute "${name}" stands twice`)
    }
    const text = value.join('=')
    attributes.set(name, binary.includes(name) ? text : percentDecode(text, name))
  }
  return attributes
}

/** The bytes of a percent-encoded value that need not be text, such as the `id` of RFC 7512 §2.3. */
export function percentBytes(text: string, name: string): Bytes {
  if (!/^(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*$/.test(text)) {
    throw new SignetError('uri_malformed', `value of attribute "${name}" is badly encoded`)
  }
  const octets = text.match(/%..|./g) ?? []
  return Uint8Array.from(
    octets.map((octet) => octet.length === 3 ? parseInt(octet.slice(1), 16) : octet.charCodeAt(0)),
  )
}

/** Bytes, each percent-encoded: the canonical form of RFC 7512 §2.3 for `id`. */
export function toPercent(bytes: Uint8Array): string {
  return [...bytes].map((byte) => '%' + byte.toString(16).padStart(2, '0')).join('')
}

function percentDecode(text: string, name: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new SignetError('uri_malformed', `value of attribute "${name}" is badly encoded`)
  }
}
