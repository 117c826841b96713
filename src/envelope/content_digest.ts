/** The digest of a body as a field (RFC 9530): `Content-Digest: sha-256=:…:`. */
import { equalBytes, owned, toBase64 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { parseDictionary } from './structured_fields.ts'

/** The field's value for a body. */
export async function contentDigest(body: Uint8Array): Promise<string> {
  return `sha-256=:${toBase64(await sha256(body))}:`
}

/**
 * Checks a field's value against the body that came. SHA-256 must be among its digests; others are not looked at
 * (RFC 9530 §2). Errors: `field_malformed`, `content_digest_mismatch`.
 */
export async function checkContentDigest(field: string, body: Uint8Array): Promise<void> {
  const { value } = parseDictionary(field, 'Content-Digest').get('sha-256') ?? {}
  if (!(value instanceof Uint8Array)) {
    throw new SignetError('field_malformed', 'Content-Digest: it has no sha-256')
  }
  if (equalBytes(value, await sha256(body))) return
  throw new SignetError('content_digest_mismatch', 'the body is not the one that was signed')
}

async function sha256(body: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', owned(body)))
}
