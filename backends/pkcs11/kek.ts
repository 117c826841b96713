/**
 * Keys that wrap keys: an AES key of the token, CKM_AES_KEY_WRAP (RFC 3394).
 *
 * Key wrap has no associated data, so the context goes inside: what is wrapped is the secret followed by
 * SHA-256 of the context. Key wrap keeps the whole unaltered (RFC 3394 §2.2.3), so a context that differs is
 * seen after unwrapping. Secret and digest are session objects for a moment, which no other session sees.
 */
import { Buffer } from 'node:buffer'
import { type Bytes, concat, equalBytes, owned } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'
import {
  checkAborted,
  checkSecret,
  contextBytes,
  type Kek,
  type SignOptions,
  unwrapRefused,
  type WrapContext,
} from '../../src/keys/mod.ts'
import { type Attribute, CK, type Handle, holding } from './cryptoki.ts'
import { isFault } from './faults.ts'
import { findOne, flag, read } from './objects.ts'
import type { Session, Token } from './token.ts'
import { formatTokenUri, type TokenUri } from './uri.ts'

const A = CK.attribute
const MECHANISM = { mechanism: CK.mechanism.aesKeyWrap, parameter: null }

/** Attributes of the moment's object: readable by us, gone with the session. */
const PASSING: readonly Attribute[] = [
  { type: A.class, value: CK.class.secretKey },
  { type: A.keyType, value: CK.key.generic },
  { type: A.token, value: false },
  { type: A.private, value: true },
  { type: A.sensitive, value: false },
  { type: A.extractable, value: true },
]

/** Attributes of a new key that wraps keys and does nothing else. */
export function kekTemplate(common: readonly Attribute[]): Attribute[] {
  return [
    ...common,
    { type: A.class, value: CK.class.secretKey },
    { type: A.keyType, value: CK.key.aes },
    { type: A.valueLength, value: 32 },
    { type: A.private, value: true },
    { type: A.sensitive, value: true },
    { type: A.extractable, value: false },
    { type: A.wrap, value: true },
    { type: A.unwrap, value: true },
    { type: A.encrypt, value: false },
    { type: A.decrypt, value: false },
    { type: A.sign, value: false },
  ]
}

/** Opens a wrapping key on a token that has been entered. `leave` is called when it closes. */
export async function openKek(token: Token, where: TokenUri, leave: () => void): Promise<Kek> {
  const locate = (session: Session) => findOne(session, CK.class.secretKey, where)
  const found = await token.use((session) => {
    const found = locate(session)
    const right = (type: number) => flag(session, found.handle, type, false)
    if (!right(A.wrap) || !right(A.unwrap)) {
      throw new SignetError('key_usage', 'the token’s key may not wrap and unwrap keys')
    }
    return found
  })
  let closed = false
  const work = <T>(signal: AbortSignal | undefined, run: (session: Session) => Promise<T>) => {
    if (closed) throw new SignetError('key_closed', 'the key was closed')
    return token.use(run, { signal })
  }
  return Object.freeze({
    id: formatTokenUri(token.label, found, 'secret-key'),

    async wrap(secret: Uint8Array, context: WrapContext, { signal }: SignOptions = {}) {
      checkSecret(secret)
      const value = Buffer.from(concat(secret, await digestOf(context)))
      return await work(signal, async (session) => {
        const { module, handle } = session
        const passing = module.C_CreateObject(handle, [...PASSING, { type: A.value, value }])
        try {
          const out = Buffer.alloc(value.length + 8)
          const key = locate(session).handle
          const wrapped = await holding(
            [handle, key, passing, out],
            () => module.C_WrapKeyAsync(handle, MECHANISM, key, passing, out),
          )
          if (wrapped.length !== value.length + 8) {
            throw new SignetError('key_backend_unavailable', 'the token wraps in another form')
          }
          return Uint8Array.from(wrapped)
        } finally {
          value.fill(0)
          destroy(session, passing)
        }
      })
    },

    async unwrap(wrapped: Uint8Array, context: WrapContext, { signal }: SignOptions = {}) {
      const length = wrapped.length - 8
      if (length < 48 || length > 288 || length % 8 !== 0) throw unwrapRefused()
      const expected = await digestOf(context)
      const plain = await work(signal, async (session) => {
        const { module, handle } = session
        const key = locate(session).handle
        const input = Buffer.from(wrapped)
        let passing: Handle
        try {
          passing = await holding(
            [handle, key, input],
            () => module.C_UnwrapKeyAsync(handle, MECHANISM, key, input, PASSING),
          )
        } catch (error) {
          if (isFault(error, ...REFUSALS)) throw unwrapRefused()
          throw error
        }
        try {
          return read(session, passing, A.value)
        } finally {
          destroy(session, passing)
        }
      })
      checkAborted(signal)
      if (plain === undefined || plain.length !== length) throw unwrapRefused()
      if (!equalBytes(plain.subarray(length - 32), expected)) throw unwrapRefused()
      return owned(plain.slice(0, length - 32))
    },

    close() {
      if (!closed) leave()
      closed = true
      return Promise.resolve()
    },
  })
}

/** What tokens say of a wrapped key whose check fails; SoftHSM has no name for it but the general one. */
const REFUSALS = [
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
]

async function digestOf(context: WrapContext): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', contextBytes(context)))
}

function destroy({ module, handle }: Session, object: Handle): void {
  try {
    module.C_DestroyObject(handle, object)
  } catch {
    // A session that broke took it along.
  }
}
