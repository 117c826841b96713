/** Return values of PKCS#11 functions (CKR_…) as errors of ours, and which of them a fresh session cures. */
import { type ErrorCode, isSignetError, SignetError } from '../../src/errors.ts'

type Entry = readonly [code: ErrorCode, says: string, remedy?: string]

const FAULTS: Readonly<Record<string, Entry>> = {
  CKR_PIN_INCORRECT: [
    'passphrase_wrong',
    'the token refuses the PIN',
    'it is not tried again in this process: tokens lock after a few attempts',
  ],
  CKR_PIN_INVALID: ['passphrase_wrong', 'the token refuses the PIN'],
  CKR_PIN_LEN_RANGE: ['passphrase_wrong', 'the token refuses the PIN: its length is wrong'],
  CKR_PIN_EXPIRED: ['key_locked', 'the PIN has expired', 'set a new one with the vendor’s tool'],
  CKR_PIN_LOCKED: ['key_locked', 'the token is locked', 'unlock it with the security officer PIN'],
  CKR_USER_PIN_NOT_INITIALIZED: ['key_locked', 'the token has no user PIN yet'],
  CKR_KEY_FUNCTION_NOT_PERMITTED: ['key_usage', 'the key may not be used for this'],
  CKR_KEY_TYPE_INCONSISTENT: ['key_usage', 'the key is not of the kind for this'],
  CKR_KEY_UNEXTRACTABLE: ['key_usage', 'the key may not leave the token'],
  CKR_MECHANISM_INVALID: ['algorithm_unsupported', 'the token has no such mechanism'],
  CKR_MECHANISM_PARAM_INVALID: ['algorithm_unsupported', 'the token refuses the parameters'],
  CKR_CURVE_NOT_SUPPORTED: ['algorithm_unsupported', 'the token does not know the curve'],
  CKR_DATA_LEN_RANGE: ['too_large', 'the token does not sign so many bytes at once'],
  CKR_TOKEN_WRITE_PROTECTED: ['key_access_denied', 'the token is write-protected'],
  CKR_SESSION_READ_ONLY: ['key_access_denied', 'the token is read-only'],
  CKR_ATTRIBUTE_READ_ONLY: ['key_access_denied', 'the token refuses the attributes of the object'],
  CKR_TEMPLATE_INCONSISTENT: [
    'key_access_denied',
    'the token refuses the attributes of the object',
  ],
  CKR_DEVICE_MEMORY: ['key_backend_unavailable', 'the token is full'],
  CKR_TOKEN_NOT_PRESENT: ['key_backend_unavailable', 'the token was removed'],
  CKR_DEVICE_REMOVED: ['key_backend_unavailable', 'the token was removed'],
}

/** A session opened anew may cure these; what was asked is then asked once more. */
const CURABLE: ReadonlySet<string> = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
])

/** The `CKR_…` name that an error of the addon carries, or undefined. */
export function faultName(error: unknown): string | undefined {
  // pkcs11js puts the name in front of the message; how the error is otherwise made differs by version.
  return error instanceof Error ? /\bCKR_[A-Z0-9_]+/.exec(error.message)?.[0] : undefined
}

/** True for an error of the addon with one of the names. */
export function isFault(error: unknown, ...names: readonly string[]): boolean {
  const name = faultName(error)
  return name !== undefined && names.includes(name)
}

/** True where a fresh session may help. */
export function isCurable(error: unknown): boolean {
  const name = faultName(error)
  return name !== undefined && CURABLE.has(name)
}

/** An error of the addon as ours. Errors of ours pass. What we do not know is `key_backend_unavailable`. */
export function faultOf(error: unknown, during: string): SignetError {
  if (isSignetError(error)) return error
  const name = faultName(error)
  const [code, says, remedy] = FAULTS[name ?? ''] ??
    ['key_backend_unavailable', 'the token does not answer as it should'] as const
  return new SignetError(code, `${says} (${name ?? 'no PKCS#11 error'} in ${during})`, {
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  })
}
