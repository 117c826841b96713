/**
 * The names in certificates: distinguished names (RFC 5280 §4.1.2.4), shown as RFC 4514 strings, and
 * general names (§4.2.1.6).
 *
 * What is shown came from a stranger: characters that would act on a terminal or turn the direction of
 * the text are escaped, and what is no text is shown as `#` and the hexadecimal of its DER.
 */
import { type Bytes, toHex } from '../bytes.ts'
import { DerReader, TAG } from '../crypto/mod.ts'

/** One attribute of a relative distinguished name. */
export interface NameAttribute {
  /** Its type, a dotted object identifier. */
  readonly type: string
  /** Its value as text; undefined when the value is none. */
  readonly text: string | undefined
  /** The whole `AttributeTypeAndValue` in DER. */
  readonly der: Bytes
  /** The value's element in DER. */
  readonly value: Bytes
}

/** A distinguished name. Two are the same exactly when their DER is. */
export interface DistinguishedName {
  /** The `Name` as it stood in the certificate. */
  readonly der: Bytes
  /** Its relative distinguished names, in the order of the encoding. */
  readonly rdns: readonly (readonly NameAttribute[])[]
}

/** What a general name names. */
export type GeneralNameKind =
  | 'other'
  | 'email'
  | 'dns'
  | 'x400'
  | 'directory'
  | 'edi'
  | 'uri'
  | 'ip'
  | 'registered-id'

/** A general name: what it names, and the content of its element. */
export interface GeneralName {
  /** What it names. */
  readonly kind: GeneralNameKind
  /** ASCII of `email`, `dns` and `uri`; 4 or 16 bytes of `ip`; the `Name` of `directory`; else DER. */
  readonly content: Bytes
  /** The name of `directory`. */
  readonly directory?: DistinguishedName
}

/** OID of the attribute that holds an e-mail address in old subjects (RFC 5280 §4.1.2.6). */
export const EMAIL_ADDRESS = '1.2.840.113549.1.9.1'

/** RFC 4514 §3, and four that certificates are full of (IANA LDAP descriptors). */
const ATTRIBUTE_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.6': 'C',
  '2.5.4.9': 'STREET',
  '0.9.2342.19200300.100.1.25': 'DC',
  '0.9.2342.19200300.100.1.1': 'UID',
  '2.5.4.5': 'serialNumber',
  '2.5.4.12': 'title',
  '2.5.4.97': 'organizationIdentifier',
  [EMAIL_ADDRESS]: 'emailAddress',
}

const GENERAL_NAMES: Readonly<Record<number, GeneralNameKind>> = {
  0xa0: 'other',
  0x81: 'email',
  0x82: 'dns',
  0xa3: 'x400',
  0xa4: 'directory',
  0xa5: 'edi',
  0x86: 'uri',
  0x87: 'ip',
  0x88: 'registered-id',
}

const latin1 = (content: Uint8Array) => String.fromCharCode(...content)

/** Text of the string types, by tag (X.680 §41); undefined or an exception for what is not text. */
const STRINGS: Readonly<Record<number, (content: Uint8Array) => string | undefined>> = {
  [TAG.utf8String]: (content) =>
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content),
  0x12: ascii, // NumericString
  0x13: ascii, // PrintableString
  0x14: latin1, // TeletexString, which nobody ever used for anything but Latin-1
  0x16: ascii, // IA5String
  0x1a: ascii, // VisibleString
  0x1e: (content) => { // BMPString
    if (content.length % 2 !== 0) return undefined
    const view = new DataView(content.buffer, content.byteOffset, content.length)
    const units = Array.from({ length: content.length / 2 }, (_, i) => view.getUint16(2 * i))
    const text = String.fromCharCode(...units)
    return text.isWellFormed() ? text : undefined
  },
}

function ascii(content: Uint8Array): string | undefined {
  return content.every((byte) => byte < 0x80) ? new TextDecoder().decode(content) : undefined
}

/** Octets of the longest attribute value that is shown as text. */
const MAX_TEXT = 4096
/** Attributes of a distinguished name; ten are many. Comparing names costs the square of it. */
const MAX_ATTRIBUTES = 64
/** Names in one list of them. */
const MAX_NAMES = 1024

function textOf(value: Bytes): string | undefined {
  const reader = new DerReader(value, 'name')
  const tag = reader.peek()!
  const content = reader.read(tag)
  if (content.length > MAX_TEXT) return undefined
  try {
    return STRINGS[tag]?.(content)
  } catch {
    return undefined // malformed UTF-8
  }
}

/** Reads a `Name`, the next element of `reader` (`der_malformed`). */
export function readName(reader: DerReader): DistinguishedName {
  const der = reader.element(TAG.sequence)
  const sequence = new DerReader(der, 'name').open(TAG.sequence)
  const rdns: NameAttribute[][] = []
  let count = 0
  while (sequence.peek() !== undefined) {
    const set = sequence.open(TAG.set)
    const attributes: NameAttribute[] = []
    while (set.peek() !== undefined) {
      if (++count > MAX_ATTRIBUTES) set.fail(`a name has more than ${MAX_ATTRIBUTES} attributes`)
      const whole = set.element(TAG.sequence)
      const pair = new DerReader(whole, 'name').open(TAG.sequence)
      const type = pair.readOid()
      const value = pair.element(pair.peek() ?? pair.fail('an attribute has no value'))
      pair.end()
      attributes.push({ type, value, der: whole, text: textOf(value) })
    }
    if (attributes.length === 0) set.fail('a relative distinguished name is empty')
    rdns.push(attributes)
  }
  return { der, rdns }
}

/** The name as RFC 4514 writes it: last relative name first; empty for an empty name. */
export function nameText(name: DistinguishedName): string {
  return name.rdns.toReversed().map((rdn) => rdn.map(attributeText).join('+')).join(',')
}

function attributeText({ type, text, value }: NameAttribute): string {
  const known = ATTRIBUTE_NAMES[type]
  // RFC 4514 §2.4: a type in its dotted form goes with a value in hexadecimal.
  if (known === undefined || text === undefined) return `${known ?? type}=#${toHex(value)}`
  return `${known}=${escape(text)}`
}

/** RFC 4514 §2.4, and besides all that is not a visible character: controls, formats, separators. */
function escape(text: string): string {
  return text
    .replace(/["+,;<>\\]/g, '\\$&')
    .replace(/^[# ]| $/g, '\\$&')
    .replace(
      /[\p{C}\p{Zl}\p{Zp}]/gu,
      (character) =>
        [...new TextEncoder().encode(character)].map((byte) => `\\${hex(byte)}`).join(''),
    )
}

const hex = (byte: number) => byte.toString(16).padStart(2, '0')

/** Reads general names to the end of `reader`, at least one (`der_malformed`). */
export function readGeneralNames(reader: DerReader): GeneralName[] {
  return readList(reader, 'names', readGeneralName)
}

/** Reads elements to the end of `reader`: at least one, and not too many. */
export function readList<T>(
  reader: DerReader,
  what: string,
  read: (reader: DerReader) => T,
): T[] {
  const list: T[] = []
  while (reader.peek() !== undefined) {
    if (list.length === MAX_NAMES) reader.fail(`a list of ${what} has more than ${MAX_NAMES}`)
    list.push(read(reader))
  }
  if (list.length === 0) reader.fail(`a list of ${what} is empty`)
  return list
}

/** Reads one general name; the length of an `ip` is left to the caller, for constraints have a mask. */
export function readGeneralName(reader: DerReader): GeneralName {
  const tag = reader.peek() ?? reader.fail('a name is missing')
  const kind = GENERAL_NAMES[tag] ?? reader.fail('a general name of no known kind')
  const content = reader.read(tag)
  if (kind === 'directory') {
    const inner = new DerReader(content, 'name')
    const directory = readName(inner)
    inner.end()
    return { kind, content, directory }
  }
  // RFC 5280 §4.2.1.6: IA5String. A control or a space in such a name is nothing but a trap.
  const isText = kind === 'email' || kind === 'dns' || kind === 'uri'
  if (isText && !content.every((byte) => byte > 0x20 && byte < 0x7f)) {
    reader.fail(`a name of kind ${kind} has characters that it must not have`)
  }
  return { kind, content }
}

/** The name as text: an address, a host, a URI, an RFC 4514 string; hexadecimal DER of the other kinds. */
export function generalNameText({ kind, content, directory }: GeneralName): string {
  if (directory !== undefined) return nameText(directory)
  if (kind === 'email' || kind === 'dns' || kind === 'uri') return new TextDecoder().decode(content)
  return kind === 'ip' ? ipText(content) : toHex(content)
}

function ipText(content: Uint8Array): string {
  if (content.length === 4) return content.join('.')
  const groups = Array.from(
    { length: content.length / 2 },
    (_, i) => (content[2 * i]! * 256 + content[2 * i + 1]!).toString(16),
  )
  return groups.join(':')
}
