/** Keys that wrap keys: a symmetric key of KMS. The context is KMS's encryption context, and stands in its log. */
import { isSignetError, SignetError } from '../../src/errors.ts'
import {
  checkSecret,
  type Kek,
  type SignOptions,
  unwrapRefused,
  type WrapContext,
} from '../../src/keys/mod.ts'
import { bytes, garbage, isKey, member, text } from './answers.ts'
import type { Service } from './client.ts'

/** Opens a wrapping key. */
export async function openKek(service: Service, keyId: string, opts: SignOptions): Promise<Kek> {
  const found = member(await service.call('DescribeKey', { KeyId: keyId }, opts), 'KeyMetadata')
  if (found.KeyUsage !== 'ENCRYPT_DECRYPT' || found.KeySpec !== 'SYMMETRIC_DEFAULT') {
    throw new SignetError('key_usage', 'the key in KMS is not a symmetric one that encrypts')
  }
  if (found.KeyState !== 'Enabled') {
    throw new SignetError('key_disabled', 'the key in KMS is not enabled')
  }
  const arn = text(found, 'Arn')
  let closed = false
  const call = async (
    operation: 'Encrypt' | 'Decrypt' | 'GenerateDataKey',
    input: Readonly<Record<string, unknown>>,
    options: SignOptions | undefined,
  ) => {
    if (closed) throw new SignetError('key_closed', 'the key was closed')
    const answer = await service.call(operation, { KeyId: arn, ...input }, options)
    if (!isKey(answer, arn)) throw garbage('it used another key')
    return answer
  }
  return Object.freeze({
    id: `awskms:key-id=${arn}`,

    async wrap(secret: Uint8Array, context: WrapContext, options?: SignOptions) {
      checkSecret(secret)
      const input = { Plaintext: secret, EncryptionContext: context }
      return bytes(await call('Encrypt', input, options), 'CiphertextBlob')
    },

    async unwrap(wrapped: Uint8Array, context: WrapContext, options?: SignOptions) {
      if (wrapped.length === 0 || wrapped.length > 6144) throw unwrapRefused()
      try {
        const input = { CiphertextBlob: wrapped, EncryptionContext: context }
        return bytes(await call('Decrypt', input, options), 'Plaintext')
      } catch (error) {
        throw isSignetError(error, 'key_mismatch') ? unwrapRefused() : error
      }
    },

    async newDataKey(context: WrapContext, options?: SignOptions) {
      const input = { KeySpec: 'AES_256', EncryptionContext: context }
      const answer = await call('GenerateDataKey', input, options)
      const secret = bytes(answer, 'Plaintext')
      if (secret.length !== 32) throw garbage('its data key has a wrong length')
      return { secret, wrapped: bytes(answer, 'CiphertextBlob') }
    },

    close() {
      if (!closed) service.close()
      closed = true
      return Promise.resolve()
    },
  })
}
