/**
 * X.509 certificates (RFC 5280 §4.1), read strictly: DER only, every field checked for its form.
 * Reading believes nothing: no signature, date or constraint is judged here, see `path.ts`.
 *
 * This is no library's parser because none that was tried is strict and portable: one does not load
 * without a global polyfill, its lower half takes BER, trailing bytes and month 99, and loads in
 * 50 to 140 ms, more than all of a verification takes.
 */
import { type Bytes, equalBytes, owned, toHex } from '../bytes.ts'
import { DerReader, TAG } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { type Extensions, readExtensions } from './extensions.ts'
import { type DistinguishedName, nameText, readName } from './names.ts'
import { fromPem } from '../keys/mod.ts'

/** Bytes of the largest certificate that is read. The largest in public use have some 10 KiB. */
const MAX_CERTIFICATE = 65_536

/** A certificate as read. Nothing in it is verified. */
export interface Certificate {
  /** All of it. */
  readonly der: Bytes
  /** The part that is signed, `TBSCertificate`. */
  readonly tbs: Bytes
  /** Content of the `AlgorithmIdentifier` of the signature. */
  readonly signatureAlgorithm: Bytes
  /** The signature's bytes. */
  readonly signature: Bytes
  /** Serial number in hexadecimal of its DER content. */
  readonly serial: string
  /** Who says so. */
  readonly issuer: DistinguishedName
  /** Whose key it is. */
  readonly subject: DistinguishedName
  /** First second of validity, since 1970. */
  readonly notBefore: number
  /** Last second of validity, since 1970. */
  readonly notAfter: number
  /** The key: `SubjectPublicKeyInfo` in DER. */
  readonly spki: Bytes
  /** What its extensions say. */
  readonly extensions: Extensions
}

/** Reads one certificate in DER; `certificate_malformed`, with `where`, for anything else. */
export function parseCertificate(der: Uint8Array, where?: string): Certificate {
  const place = where === undefined ? {} : { where }
  if (der.length > MAX_CERTIFICATE) {
    throw new SignetError(
      'certificate_malformed',
      `a certificate has more than ${MAX_CERTIFICATE} bytes`,
      place,
    )
  }
  try {
    return readCertificate(owned(der.slice()))
  } catch (cause) {
    if (!isSignetError(cause, 'der_malformed')) throw cause
    throw new SignetError('certificate_malformed', cause.message, { ...place, cause })
  }
}

/**
 * The certificates of a file: one in DER, or all `CERTIFICATE` blocks of a PEM text in their order
 * (other blocks are passed over). Each is known to parse, and nothing else is known of it.
 *
 * Errors: `certificate_malformed`, `pem_malformed`.
 */
export function readCertificates(pemOrDer: Uint8Array | string): Bytes[] {
  if (typeof pemOrDer !== 'string' && pemOrDer[0] === TAG.sequence) {
    return [parseCertificate(pemOrDer).der]
  }
  // What stands between the blocks need not be UTF-8: bundles of CA certificates name them there.
  const text = typeof pemOrDer === 'string' ? pemOrDer : new TextDecoder().decode(pemOrDer)
  const blocks = fromPem(text).filter(({ label }) => label === 'CERTIFICATE')
  if (blocks.length === 0) throw new SignetError('pem_malformed', 'no PEM block is a certificate')
  return blocks.map(({ bytes }, i) => parseCertificate(bytes, `certificate ${i + 1}`).der)
}

function readCertificate(der: Bytes): Certificate {
  const outer = new DerReader(der, 'certificate')
  const certificate = outer.open(TAG.sequence)
  outer.end()
  const tbs = certificate.element(TAG.sequence)
  const signatureAlgorithm = certificate.read(TAG.sequence)
  const signature = readBits(certificate)
  certificate.end()

  const fields = new DerReader(tbs, 'certificate').open(TAG.sequence)
  const version = fields.peek() === 0xa0 ? readVersion(fields.open(0xa0)) : 1
  const serial = fields.read(TAG.integer)
  // §4.1.2.2: at most 20 octets. Zero and negative numbers are wrong and in use, and name as well.
  if (serial.length === 0 || serial.length > 21) fields.fail('the serial number is too long')
  // §4.1.1.2: the same algorithm inside and outside of what is signed.
  if (!equalBytes(fields.read(TAG.sequence), signatureAlgorithm)) {
    fields.fail('it names two signature algorithms')
  }
  const issuer = readName(fields)
  const validity = fields.open(TAG.sequence)
  const [notBefore, notAfter] = [readTime(validity), readTime(validity)]
  validity.end()
  const subject = readName(fields)
  const spki = fields.element(TAG.sequence)
  // Unique identifiers (§4.1.2.8) are long out of use and say nothing.
  for (const tag of [0x81, 0x82]) if (version > 1 && fields.peek() === tag) fields.read(tag)
  const extensions = version === 3 && fields.peek() === 0xa3
    ? readLast(fields.open(0xa3), readExtensions)
    : { unknownCritical: [] }
  fields.end()
  return {
    der,
    tbs,
    signatureAlgorithm,
    signature,
    serial: toHex(serial),
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    extensions,
  }
}

function readVersion(reader: DerReader): number {
  const version = readLast(reader, (inner) => inner.readNumber()) + 1
  // DER leaves version 1 out.
  return version === 2 || version === 3 ? version : reader.fail('an unknown version')
}

function readLast<T>(reader: DerReader, read: (reader: DerReader) => T): T {
  const value = read(reader)
  reader.end()
  return value
}

function readBits(reader: DerReader): Bytes {
  const bits = reader.read(TAG.bitString)
  if (bits[0] !== 0) reader.fail('the signature is not a whole number of bytes')
  return bits.slice(1)
}

/** UTCTime and GeneralizedTime in the only forms that certificates may have (§4.1.2.5). */
const TIMES: Readonly<Record<number, RegExp>> = {
  [TAG.utcTime]: /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
  [TAG.generalizedTime]: /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
}

function readTime(reader: DerReader): number {
  const tag = reader.peek() ?? 0
  const pattern = TIMES[tag] ?? reader.fail('a time is missing')
  const match = pattern.exec(new TextDecoder().decode(reader.read(tag)))
  if (match === null) reader.fail('a time is not of the form YYMMDDHHMMSSZ')
  const [written = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1)
    .map(Number)
  const century = tag === TAG.generalizedTime ? 0 : written < 50 ? 2000 : 1900
  const date = new Date(0)
  date.setUTCFullYear(century + written, month - 1, day)
  date.setUTCHours(hour, minute, second)
  const read = [date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours()]
  const isReal = [month, day, hour].every((field, i) => field === read[i]) &&
    minute < 60 && second < 60
  if (!isReal) reader.fail('a time does not exist')
  return date.getTime() / 1000
}

/** Longest subject that goes into a message. */
const MAX_LABEL = 120

/** The subject for a message: an RFC 4514 string, cut where it is long. */
export function certificateLabel({ subject }: Certificate): string {
  const text = nameText(subject)
  return text.length > MAX_LABEL
    ? `${text.slice(0, MAX_LABEL).toWellFormed()}…`
    : text || '(no subject)'
}
