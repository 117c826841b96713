/**
 * The certificate extensions that path validation understands (RFC 5280 §4.2.1). An extension that is
 * not in the table is unknown: harmless unless its certificate calls it critical.
 */
import { type Bytes, toHex } from '../bytes.ts'
import { DerReader, TAG } from '../crypto/mod.ts'
import { type GeneralName, readGeneralName, readGeneralNames, readList } from './names.ts'

/** Purposes of extended key usage (§4.2.1.12) that matter here. */
export const PURPOSE = {
  any: '2.5.29.37.0',
  codeSigning: '1.3.6.1.5.5.7.3.3',
} as const

/** Name constraints of a CA (§4.2.1.10). */
export interface NameConstraints {
  /** Names of these kinds must match one; kinds that are not listed are free. */
  readonly permitted: readonly GeneralName[]
  /** Names must match none. */
  readonly excluded: readonly GeneralName[]
}

/** What the extensions of one certificate say. Absent is undefined. */
export interface Extensions {
  /** §4.2.1.9. */
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number }
  /** §4.2.1.3: the names of the bits that are set. */
  readonly keyUsage?: readonly KeyUsage[]
  /** §4.2.1.12: dotted object identifiers. */
  readonly extendedKeyUsage?: readonly string[]
  /** §4.2.1.2, in hexadecimal. */
  readonly subjectKeyId?: string
  /** §4.2.1.1. */
  readonly authorityKeyId?: AuthorityKeyId
  /** §4.2.1.6. */
  readonly subjectAltName?: readonly GeneralName[]
  /** §4.2.1.10. */
  readonly nameConstraints?: NameConstraints
  /** Object identifiers of critical extensions that nobody here understands. */
  readonly unknownCritical: readonly string[]
}

/** Which key of which certificate signed (§4.2.1.1). */
export interface AuthorityKeyId {
  /** The issuer's subject key identifier, in hexadecimal. */
  readonly keyId?: string
  /** Names of the issuer's issuer. */
  readonly issuer?: readonly GeneralName[]
  /** The issuer's serial number, in hexadecimal. */
  readonly serial?: string
}

/** In the order of their bits. */
export const KEY_USAGES = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

/** A use that a certificate allows its key. */
export type KeyUsage = typeof KEY_USAGES[number]

type Decoded = { -readonly [name in keyof Extensions]?: Extensions[name] }

/** By object identifier; each reads the content of `extnValue` and adds what it found. */
const DECODERS: Readonly<Record<string, (reader: DerReader, found: Decoded) => void>> = {
  '2.5.29.19'(reader, found) {
    const sequence = reader.open(TAG.sequence)
    const ca = readDefaultFalse(sequence)
    const pathLength = sequence.peek() === TAG.integer ? sequence.readNumber() : undefined
    sequence.end()
    found.basicConstraints = pathLength === undefined ? { ca } : { ca, pathLength }
  },

  '2.5.29.15'(reader, found) {
    const [unused = 8, ...octets] = reader.read(TAG.bitString)
    const spare = (1 << unused) - 1
    if (unused > 7 || ((octets.at(-1) ?? 0) & spare) !== 0 || (octets.length === 0 && unused > 0)) {
      reader.fail('a bit string is not DER')
    }
    found.keyUsage = KEY_USAGES.filter((_, bit) => ((octets[bit >> 3] ?? 0) << (bit & 7)) & 0x80)
  },

  '2.5.29.37'(reader, found) {
    const sequence = reader.open(TAG.sequence)
    found.extendedKeyUsage = readList(sequence, 'purposes', (inner) => inner.readOid())
  },

  '2.5.29.14'(reader, found) {
    found.subjectKeyId = toHex(reader.read(TAG.octetString))
  },

  '2.5.29.35'(reader, found) {
    const sequence = reader.open(TAG.sequence)
    const id: { -readonly [name in keyof AuthorityKeyId]: AuthorityKeyId[name] } = {}
    if (sequence.peek() === 0x80) id.keyId = toHex(sequence.read(0x80))
    if (sequence.peek() === 0xa1) id.issuer = readGeneralNames(sequence.open(0xa1))
    if (sequence.peek() === 0x82) id.serial = toHex(sequence.read(0x82))
    sequence.end()
    found.authorityKeyId = id
  },

  '2.5.29.17'(reader, found) {
    const names = readGeneralNames(reader.open(TAG.sequence))
    if (names.some(({ kind, content }) => kind === 'ip' && ![4, 16].includes(content.length))) {
      reader.fail('an IP address has neither 4 nor 16 bytes')
    }
    found.subjectAltName = names
  },

  '2.5.29.30'(reader, found) {
    const sequence = reader.open(TAG.sequence)
    const permitted = sequence.peek() === 0xa0 ? readSubtrees(sequence.open(0xa0)) : []
    const excluded = sequence.peek() === 0xa1 ? readSubtrees(sequence.open(0xa1)) : []
    sequence.end()
    if (permitted.length + excluded.length === 0) reader.fail('name constraints are empty')
    found.nameConstraints = { permitted, excluded }
  },
}

function readSubtrees(reader: DerReader): GeneralName[] {
  return readList(reader, 'subtrees', (list) => {
    const subtree = list.open(TAG.sequence)
    const base = readGeneralName(subtree)
    if (base.kind === 'ip') checkMask(base.content, subtree)
    // §4.2.1.10: minimum is 0, which DER leaves out, and maximum is absent.
    subtree.end()
    return base
  })
}

/** An address and a mask of the same length, whose ones all come first (RFC 4632 §3.1). */
function checkMask(content: Bytes, reader: DerReader): void {
  if (content.length !== 8 && content.length !== 32) reader.fail('an IP range has a wrong length')
  const bits = [...content.subarray(content.length / 2)]
    .map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if (/01/.test(bits)) reader.fail('an IP mask has holes')
}

/** BOOLEAN DEFAULT FALSE, which DER writes only when it is true. */
function readDefaultFalse(reader: DerReader): boolean {
  if (reader.peek() !== TAG.boolean) return false
  if (!reader.readBoolean()) reader.fail('a default value is written out')
  return true
}

/** Reads `Extensions`, the next element of `reader` (`der_malformed`). Each may be there once (§4.2). */
export function readExtensions(reader: DerReader): Extensions {
  const sequence = reader.open(TAG.sequence)
  const found: Decoded = {}
  const seen = new Set<string>()
  const unknownCritical: string[] = []
  while (sequence.peek() !== undefined) {
    const extension = sequence.open(TAG.sequence)
    const id = extension.readOid()
    const critical = readDefaultFalse(extension)
    const value = new DerReader(extension.read(TAG.octetString), `certificate extension ${id}`)
    extension.end()
    if (seen.has(id)) sequence.fail(`extension ${id} is there twice`)
    seen.add(id)
    if (Object.hasOwn(DECODERS, id)) {
      DECODERS[id]!(value, found)
      value.end()
    } else if (critical) {
      unknownCritical.push(id)
    }
  }
  if (seen.size === 0) sequence.fail('the list of extensions is empty')
  return { ...found, unknownCritical }
}
