/**
 * A key: a handle that signs. The private half may be anywhere; the handle never gives it out.
 */
import type { Algorithm, SigningMode } from '../algorithms.ts'
import { type Bytes, owned } from '../bytes.ts'
import { checkInput, mlDsaMu, type SigningInput } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { PublicKey } from './public_key.ts'

/** Options of {@link Key.sign}. */
export interface SignOptions {
  /** Ends the work early with `aborted`. A signature that was already made is thrown away. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A key that signs. It declares the modes that it serves; it is asked for no other.
 *
 * `sign` throws `mode_unsupported`, `digest_malformed` (a digest or mu of the wrong length), `key_closed`,
 * `aborted`, or what its backend has to say (`key_backend_unavailable`, `too_large`). No secret is ever
 * part of an error.
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

/** What to hand to a key for a message, in the first of its modes that fits the algorithm. */
async function inputFor(key: Key, message: Uint8Array): Promise<SigningInput> {
  const { publicKey: { algorithm, raw }, modes } = key
  for (const mode of modes) {
    const bytes = await INPUTS[mode](algorithm, raw, message)
    if (bytes !== undefined) return { mode, bytes }
  }
  throw new SignetError('mode_unsupported', `this ${algorithm.name} key has no mode for a message`)
}

/** The message in the form of each mode; undefined where the algorithm has no such form. */
const INPUTS: Readonly<
  Record<
    SigningMode,
    (algorithm: Algorithm, raw: Bytes, message: Uint8Array) => Promise<Uint8Array | undefined>
  >
> = {
  'message': (_algorithm, _raw, message) => Promise.resolve(message),
  'digest': async ({ hash }, _raw, message) =>
    hash && new Uint8Array(await crypto.subtle.digest(hash, owned(message))),
  'external-mu': async ({ family }, raw, message) =>
    family === 'ml-dsa' ? await mlDsaMu(raw, message) : undefined,
}

/** What a backend brings to {@link keyOf}. */
export interface KeySigner {
  /** The modes it serves, best first. */
  readonly modes: readonly SigningMode[]
  /** Signs an input of one of the modes and of the right length. May end early when the signal is given. */
  sign(input: SigningInput, options: SignOptions): Promise<Bytes>
  /** Called once. */
  close?(): void | Promise<void>
}

/**
 * Wraps a signer as {@link Key}: what every key has to do about modes, lengths, abort and close, in one
 * place. What the signer throws besides `SignetError` becomes `key_backend_unavailable`.
 */
export function keyOf(publicKey: PublicKey, signer: KeySigner): Key {
  const { name, signatureBytes } = publicKey.algorithm
  const modes = Object.freeze([...signer.modes])
  let closed = false
  const checkOpen = () => {
    if (closed) throw new SignetError('key_closed', 'the key was closed')
  }
  return Object.freeze({
    publicKey,
    modes,
    async sign(input: SigningInput, options: SignOptions = {}) {
      checkOpen()
      if (!modes.includes(input.mode)) {
        throw new SignetError(
          'mode_unsupported',
          `this ${name} key does not sign a ${input.mode}`,
          {
            remedy: `it signs: ${modes.join(', ')}`,
          },
        )
      }
      checkInput(publicKey.algorithm, input)
      checkAborted(options.signal)
      try {
        const signature: unknown = await abortable(signer.sign(input, options), options.signal)
        if (isBytes(signature, signatureBytes)) return signature
        throw new TypeError('the answer is not of the form of a signature')
      } catch (cause) {
        checkAborted(options.signal)
        if (isSignetError(cause)) throw cause
        checkOpen() // a store that closes while it signs says so in its own words
        throw new SignetError('key_backend_unavailable', `this ${name} key failed to sign`, {
          cause,
        })
      }
    },
    async close() {
      if (closed) return
      closed = true
      await signer.close?.()
    },
  })
}

/** True for bytes of a length, if one is given. */
function isBytes(value: unknown, length: number | undefined): value is Bytes {
  return value instanceof Uint8Array && (length === undefined || value.length === length)
}

/** Throws `aborted` once a signal was given. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new SignetError('aborted', 'cancelled by the caller', { cause: signal.reason })
  }
}

/** The work's result, or `aborted` as soon as the signal is given, whether or not the work ends then. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise<T>((resolve, reject) => {
    const stop = () => {
      try {
        checkAborted(signal)
      } catch (error) {
        reject(error)
      }
    }
    signal.addEventListener('abort', stop, { once: true })
    stop()
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
