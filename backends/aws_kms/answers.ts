/** Reading answers of KMS, of which no member is taken for granted. */
import type { Bytes } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'

/** What an operation answered. */
export type Answer = Readonly<Record<string, unknown>>

/** The error for an answer that cannot be. */
export function garbage(why: string): SignetError {
  return new SignetError('key_backend_unavailable', `KMS does not answer as it should: ${why}`)
}

/** A member that is an object. */
export function member(answer: Answer, name: string): Answer {
  const value = answer[name]
  if (typeof value === 'object' && value !== null) return value as Answer
  throw garbage(`${name} is missing`)
}

/** A member that is text, and not empty. */
export function text(answer: Answer, name: string): string {
  const value = answer[name]
  if (typeof value === 'string' && value !== '') return value
  throw garbage(`${name} is missing`)
}

/** A member that is bytes. */
export function bytes(answer: Answer, name: string): Bytes {
  const value = answer[name]
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  throw garbage(`${name} is missing`)
}

/** True if an answer names a key. AWS names it by its ARN; moto now and then by the last part alone. */
export function isKey(answer: Answer, known: string): boolean {
  const id = answer.KeyId
  if (typeof id !== 'string' || id === '') return false
  return id === known || id.endsWith(`/${known}`) || known.endsWith(`/${id}`)
}
