/**
 * PEM (RFC 7468): lax about what stands around and between the blocks, as OpenSSL and GnuTLS write
 * there; strict inside them.
 */
import { type Bytes, fromBase64, toBase64, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** One block. */
export interface PemBlock {
  /** The text after BEGIN. */
  readonly label: string
  /** The DER within. */
  readonly bytes: Bytes
}

const BEGIN = '-----BEGIN '
const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\t\r\n ]*)-----END \1-----/g

/** One block as OpenSSL writes it: 64 columns, LF, a final newline. */
export function toPem(label: string, bytes: Uint8Array): string {
  const lines = toBase64(bytes).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.map((line) => line + '\n').join('')}` +
    `-----END ${label}-----\n`
}

/** All blocks of a text, at least one (`pem_malformed`). */
export function fromPem(text: string): PemBlock[] {
  const blocks = [...text.matchAll(BLOCK)].map(([, label, body]) => {
    try {
      return { label: label!, bytes: fromBase64(body!.replace(/\s/g, '')) }
    } catch {
      throw new SignetError('pem_malformed', `PEM block ${label} is not base64`)
    }
  })
  if (blocks.length === 0 && !text.includes(BEGIN)) {
    throw new SignetError('pem_malformed', 'no PEM block found')
  }
  // A block that is not read must not vanish without a word: it may be the key that counts.
  if (blocks.length !== text.split(BEGIN).length - 1) {
    throw new SignetError(
      'pem_malformed',
      'a PEM block is cut off, has headers, or ends with another label than it begins with',
      { remedy: 'convert keys with headers with: openssl pkcs8 -topk8 -scrypt -in FILE -out NEW' },
    )
  }
  return blocks
}

/**
 * OMS's key hint: lower-case hex SHA-256 of the SPKI PEM text, in OpenSSL's form with its final
 * newline (OMS v1.0 §4.1), not of the DER.
 */
export async function pemDigest(spkiPem: string): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(spkiPem)))
}
