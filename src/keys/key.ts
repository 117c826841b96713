/**
 * A key: a handle that signs. The private half may be anywhere; the handle never gives it out.
 */
import type { SigningMode } from '../algorithms.ts'
import { type Bytes, owned } from '../bytes.ts'
import type { SigningInput } from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import type { PublicKey } from './public_key.ts'

/** Options of {@link Key.sign}. */
export interface SignOptions {
  /** Ends the work early with `aborted`. A signature that was already made is thrown away. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A key that signs. It declares the modes that it serves; it is asked for no other.
 *
 * `sign` throws `mode_unsupported`, `key_closed`, `aborted`, or what its backend has to say
 * (`key_backend_unavailable`). No secret is ever part of an error.
 */
export interface Key {
  /** The public half. */
  readonly publicKey: PublicKey
  /** What may be handed to {@link Key.sign}, best first. */
  readonly modes: readonly SigningMode[]
  /** A signature in the form of `Algorithm` (ECDSA as r‖s). */
  sign(input: SigningInput, options?: SignOptions): Promise<Bytes>
  /** Lets go of the private half; idempotent. Signing afterwards is `key_closed`. */
  close(): Promise<void>
}

/**
 * Signs a message with whatever mode the key serves, hashing here only where the key wants a digest,
 * and checks the answer against the public key before anybody gets it: a faulty or hostile backend
 * yields `key_backend_unavailable`, never a wrong signature.
 */
export async function signMessage(
  key: Key,
  message: Uint8Array,
  options: SignOptions = {},
): Promise<Bytes> {
  const signature = await key.sign(await inputFor(key, message), options)
  if (!await key.publicKey.verify(message, signature)) {
    throw new SignetError(
      'key_backend_unavailable',
      'the key answered with a signature that its public key refuses',
    )
  }
  return signature
}

async function inputFor(key: Key, message: Uint8Array): Promise<SigningInput> {
  const { hash, name } = key.publicKey.algorithm
  const mode = key.modes.find((one) =>
    one === 'message' || (one === 'digest' && hash !== undefined)
  )
  if (mode === undefined) {
    throw new SignetError('mode_unsupported', `this ${name} key signs neither message nor digest`)
  }
  if (mode === 'message') return { mode, bytes: message }
  return { mode, bytes: new Uint8Array(await crypto.subtle.digest(hash!, owned(message))) }
}

/** Wraps a signer as {@link Key}: what every key has to do about modes, abort and close, in one place. */
export function keyOf(
  publicKey: PublicKey,
  signer: {
    readonly modes: readonly SigningMode[]
    sign(input: SigningInput, options: SignOptions): Promise<Bytes>
    close?(): void | Promise<void>
  },
): Key {
  let closed = false
  return Object.freeze({
    publicKey,
    modes: signer.modes,
    async sign(input: SigningInput, options: SignOptions = {}) {
      if (closed) throw new SignetError('key_closed', 'the key was closed')
      if (!signer.modes.includes(input.mode)) {
        throw new SignetError(
          'mode_unsupported',
          `this ${publicKey.algorithm.name} key does not sign a ${input.mode}`,
          { remedy: `it signs: ${signer.modes.join(', ')}` },
        )
      }
      checkAborted(options.signal)
      const signature = await signer.sign(input, options)
      checkAborted(options.signal)
      return signature
    },
    async close() {
      if (closed) return
      closed = true
      await signer.close?.()
    },
  })
}

/** Throws `aborted` once a signal was given. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new SignetError('aborted', 'cancelled by the caller', { cause: signal.reason })
  }
}
