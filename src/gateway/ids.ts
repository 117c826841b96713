/** Names of things, and secrets that are handed out once. */
import { toBase64Url, utf8 } from '../bytes.ts'

/** Crockford's base32: no I, L, O, U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/**
 * A new id, `prefix` and 26 characters (a ULID): 48 bits of time in milliseconds, 80 random bits. Ids sort by their
 * time. They are names, not secrets.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  const random = crypto.getRandomValues(new Uint8Array(10))
  let bits = BigInt(now)
  for (const byte of random) bits = bits << 8n | BigInt(byte)
  let text = ''
  for (let i = 0; i < 26; i++, bits >>= 5n) text = ALPHABET[Number(bits & 31n)] + text
  return prefix + text
}

/** A new secret: `prefix` and 32 random bytes in base64url. Shown once; kept as its {@link digestOf}. */
export function newSecret(prefix: string): string {
  return prefix + toBase64Url(crypto.getRandomValues(new Uint8Array(32)))
}

/** SHA-256 of a text, base64url. Looking one up tells by its time nothing about the secret. */
export async function digestOf(text: string): Promise<string> {
  return toBase64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(text))))
}
