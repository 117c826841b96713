/**
 * Errors of the SDK as errors of ours. The service's own words are left out: they come from the other side,
 * which also sees our session token.
 */
import { type ErrorCode, isSignetError, SignetError } from '../../src/errors.ts'

type Entry = readonly [code: ErrorCode, says: string, remedy?: string]

const DENIED: Entry = [
  'key_access_denied',
  'KMS does not accept the credentials',
  'renew them; the SDK takes them from the environment, a profile, or the web identity of the job',
]
const BUSY: Entry = [
  'key_backend_unavailable',
  'KMS throttles, and went on doing so while we waited',
  'try later, or have the request quota of the region raised',
]
const AWAY: Entry = [
  'key_backend_unavailable',
  'KMS cannot be reached',
  'check network, region and endpoint',
]
const ABSENT: Entry = ['key_not_found', 'KMS has no such key']
const USAGE: Entry = ['key_usage', 'the key may not be used for this']

const FAULTS: Readonly<Record<string, Entry>> = {
  NotFoundException: ABSENT,
  InvalidArnException: ['uri_malformed', 'KMS does not take the ARN for one'],
  DisabledException: ['key_disabled', 'the key is disabled'],
  KMSInvalidStateException: ['key_disabled', 'the key is pending deletion or import'],
  InvalidKeyUsageException: USAGE,
  InvalidGrantTokenException: USAGE,
  ValidationException: ['key_usage', 'KMS refuses the request as invalid'],
  UnsupportedOperationException: ['algorithm_unsupported', 'KMS does not do this here'],
  InvalidCiphertextException: ['key_mismatch', 'the wrapped key does not open'],
  IncorrectKeyException: ['key_mismatch', 'the wrapped key is another key’s'],
  AlreadyExistsException: ['file_exists', 'KMS has a key of that name already'],
  AccessDeniedException: [
    'key_access_denied',
    'the policy of the key or of the caller forbids this',
    'allow kms:Sign and kms:GetPublicKey on the key',
  ],
  ExpiredTokenException: DENIED,
  ExpiredToken: DENIED,
  UnrecognizedClientException: DENIED,
  InvalidClientTokenId: DENIED,
  InvalidSignatureException: DENIED,
  IncompleteSignature: DENIED,
  MissingAuthenticationToken: DENIED,
  CredentialsProviderError: [
    'key_access_denied',
    'no AWS credentials were found',
    'set AWS_PROFILE, or log in, or give the job an OIDC role',
  ],
  ThrottlingException: BUSY,
  Throttling: BUSY,
  TooManyRequestsException: BUSY,
  RequestLimitExceeded: BUSY,
  LimitExceededException: ['key_backend_unavailable', 'a quota of the AWS account is exhausted'],
  DependencyTimeoutException: ['key_backend_unavailable', 'KMS timed out within itself'],
  KeyUnavailableException: ['key_backend_unavailable', 'the key is not available right now'],
  KMSInternalException: ['key_backend_unavailable', 'KMS failed within itself'],
  ECONNREFUSED: AWAY,
  ECONNRESET: AWAY,
  ENOTFOUND: AWAY,
  EAI_AGAIN: AWAY,
  ETIMEDOUT: AWAY,
  TimeoutError: ['key_backend_unavailable', 'KMS did not answer in time'],
}

/** The name by which the SDK or the network calls an error. */
export function faultName(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { code } = error as { readonly code?: unknown }
  const name = typeof code === 'string' && /^[A-Z_]{3,40}$/.test(code) ? code : error.name
  return /^[A-Za-z0-9_]{1,60}$/.test(name) ? name : 'unknown'
}

/** An error of the SDK as ours. What we do not know is `key_backend_unavailable`. */
export function faultOf(error: unknown, operation: string): SignetError {
  if (isSignetError(error)) return error
  const name = faultName(error)
  const region = name === 'Error' && /region is missing/i.test((error as Error).message)
  if (region) {
    return new SignetError('uri_malformed', 'awskms: URI names no region', {
      remedy: 'add ;region=REGION or set AWS_REGION',
    })
  }
  const [code, says, remedy] = FAULTS[name] ??
    ['key_backend_unavailable', 'KMS does not answer as it should'] as const
  const { requestId } = (error as { $metadata?: { requestId?: unknown } } | null)?.$metadata ?? {}
  const request = typeof requestId === 'string' && /^[\w-]{1,64}$/.test(requestId)
    ? `, request ${requestId}`
    : ''
  return new SignetError(code, `${says} (${name} in ${operation}${request})`, {
    ...(remedy === undefined ? {} : { remedy }),
  })
}
