/** ML-DSA's message representative mu, which a key store signs that does not see the message. */
import { type Bytes, concat, owned } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/**
 * mu of a message under a raw public key: SHAKE256(SHAKE256(pk, 64) ‖ 0 ‖ |ctx| ‖ ctx ‖ M, 64), FIPS 204
 * algorithms 2 and 7. `context` has at most 255 bytes. Pure ML-DSA only; HashML-DSA has another prefix.
 */
export async function mlDsaMu(
  publicKey: Uint8Array,
  message: Uint8Array,
  context: Uint8Array = new Uint8Array(),
): Promise<Bytes> {
  if (context.length > 255) throw new SignetError('usage_invalid', 'context exceeds 255 bytes')
  const { shake256 } = await import('@noble/hashes/sha3.js')
  const tr = shake256(publicKey, { dkLen: 64 })
  const head = Uint8Array.of(0, context.length)
  return owned(shake256(concat(tr, head, context, message), { dkLen: 64 }))
}
