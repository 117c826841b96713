/**
 * Key encryption keys: the port by which a data key or a seed is put under a key that stays in its store.
 * What is wrapped is bound to a context, and comes out only where the same context is named again.
 */
import { type Bytes, concat, owned, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { canonicalize } from '../json.ts'
import type { SignOptions } from './key.ts'

/** What a wrapped key is for. Not secret: a KMS writes it to its log. At most 16 members. */
export type WrapContext = Readonly<Record<string, string>>

/**
 * A key encryption key.
 *
 * `unwrap` throws `key_mismatch` for bytes that this key did not wrap in this context, altered ones among
 * them; `key_backend_unavailable` when the store does not answer; `key_closed`.
 */
export interface Kek {
  /** Names the key and its version without saying how to log in. Stored beside what it wraps. */
  readonly id: string
  /** Encrypts 16 to 256 bytes, a multiple of 8. */
  wrap(secret: Uint8Array, context: WrapContext, options?: SignOptions): Promise<Bytes>
  /** The secret again. The caller wipes it after use. */
  unwrap(wrapped: Uint8Array, context: WrapContext, options?: SignOptions): Promise<Bytes>
  /** A new random data key of 32 bytes and its wrapped form, for stores that make both in one call. */
  newDataKey?(
    context: WrapContext,
    options?: SignOptions,
  ): Promise<{ readonly secret: Bytes; readonly wrapped: Bytes }>
  /** Lets go of the store; idempotent. */
  close(): Promise<void>
}

/** The one byte form of a context: RFC 8785. */
export function contextBytes(context: WrapContext): Bytes {
  return utf8(canonicalize(context))
}

/** The error for a wrapped key that does not open. It says no more: the reasons must look alike. */
export function unwrapRefused(): SignetError {
  return new SignetError(
    'key_mismatch',
    'the wrapped key does not open: another key, another context, or altered',
  )
}

/** Checks what {@link Kek.wrap} may be given (`usage_invalid`). */
export function checkSecret(secret: Uint8Array): void {
  if (secret.length < 16 || secret.length > 256 || secret.length % 8 !== 0) {
    throw new SignetError('usage_invalid', 'a wrapped secret has 16 to 256 bytes, a multiple of 8')
  }
}

/** A key encryption key in memory: AES-256-GCM, a random nonce before the ciphertext, the context as AAD. */
export async function memoryKek(id: string, raw?: Uint8Array): Promise<Kek> {
  const bytes = raw ?? crypto.getRandomValues(new Uint8Array(32))
  const key = await crypto.subtle.importKey('raw', owned(bytes), 'AES-GCM', false, [
    'encrypt',
    'decrypt',
  ])
  let closed = false
  const open = () => {
    if (closed) throw new SignetError('key_closed', 'the key was closed')
  }
  return Object.freeze({
    id,
    async wrap(secret: Uint8Array, context: WrapContext) {
      open()
      checkSecret(secret)
      const iv = crypto.getRandomValues(new Uint8Array(12))
      const params = { name: 'AES-GCM', iv, additionalData: contextBytes(context) }
      return concat(
        iv,
        new Uint8Array(await crypto.subtle.encrypt(params, key, owned(secret))),
      )
    },
    async unwrap(wrapped: Uint8Array, context: WrapContext) {
      open()
      const iv = owned(wrapped.slice(0, 12))
      const params = { name: 'AES-GCM', iv, additionalData: contextBytes(context) }
      try {
        const plain = await crypto.subtle.decrypt(params, key, owned(wrapped.slice(12)))
        return new Uint8Array(plain)
      } catch {
        throw unwrapRefused()
      }
    },
    close() {
      closed = true
      return Promise.resolve()
    },
  })
}
