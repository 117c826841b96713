/**
 * Errors as answers: RFC 9457 (`application/problem+json`) everywhere, the OAuth form (RFC 6749 §5.2) under
 * `/oauth/`. What an error says to the outside is its code and message; a fault of our own says nothing.
 */
import { type ErrorCode, type ErrorKind, isSignetError, type SignetError } from '../errors.ts'

/** HTTP status by kind of failure, where the code below says nothing else. */
const BY_KIND: Readonly<Record<ErrorKind, number>> = {
  usage: 400,
  input: 400,
  signature: 401,
  trust: 401,
  content: 409,
  policy: 403,
  backend: 500,
}

const BY_CODE: { readonly [code in ErrorCode]?: number } = {
  too_large: 413,
  not_found: 404,
  method_refused: 405,
  media_type_refused: 415,
  rate_limited: 429,
  fields_too_large: 431,
  store_conflict: 409,
  io_failed: 503,
  aborted: 503,
  key_backend_unavailable: 503,
  client_unknown: 401,
  code_refused: 400,
  scope_refused: 400,
  constraint_unknown: 400,
  grant_widened: 400,
  key_expired: 403,
  // Of the keys that others send; ours were looked at when the gateway was made.
  algorithm_unsupported: 400,
  key_usage: 400,
}

/** OAuth's names of errors (RFC 6749 §5.2, RFC 8707, RFC 9396), by code and else by kind. */
const OAUTH_BY_CODE: { readonly [code in ErrorCode]?: string } = {
  client_unknown: 'invalid_client',
  code_refused: 'invalid_grant',
  scope_refused: 'invalid_scope',
  scope_malformed: 'invalid_scope',
  grant_widened: 'invalid_scope',
  constraint_unknown: 'invalid_authorization_details',
  grant_malformed: 'invalid_authorization_details',
  grant_type_refused: 'unsupported_grant_type',
  policy_denied: 'access_denied',
  rate_limited: 'temporarily_unavailable',
  io_failed: 'temporarily_unavailable',
  algorithm_unsupported: 'invalid_request',
  key_usage: 'invalid_request',
}
const OAUTH_BY_KIND: Readonly<Record<ErrorKind, string>> = {
  usage: 'invalid_request',
  input: 'invalid_request',
  signature: 'invalid_client',
  trust: 'invalid_client',
  content: 'invalid_request',
  policy: 'access_denied',
  backend: 'server_error',
}

/** HTTP status of an error. What is no {@link SignetError} is our own fault. */
export function statusOf(error: unknown): number {
  if (!isSignetError(error)) return 500
  return BY_CODE[error.code] ?? BY_KIND[error.kind]
}

/** OAuth's name of an error. */
export function oauthName(error: unknown): string {
  if (!isSignetError(error)) return 'server_error'
  return OAUTH_BY_CODE[error.code] ?? OAUTH_BY_KIND[error.kind]
}

/** The body that tells an error, and its media type. */
export function errorBody(
  error: unknown,
  form: 'problem' | 'oauth',
  requestId: string,
): { readonly body: string; readonly type: string } {
  const status = statusOf(error)
  // What lies behind a 5xx is for the operator's log, not for whoever asks.
  const shown: SignetError | undefined = isSignetError(error) && status < 500 ? error : undefined
  if (form === 'oauth') {
    return {
      type: 'application/json',
      body: JSON.stringify({
        error: oauthName(error),
        error_description: ascii(shown?.message ?? 'the server failed'),
        code: shown?.code ?? 'server_failed',
        remedy: shown?.remedy,
        request_id: requestId,
      }),
    }
  }
  return {
    type: 'application/problem+json',
    body: JSON.stringify({
      type: `urn:signet:error:${shown?.code ?? 'server_failed'}`,
      title: shown?.message ?? 'the server failed',
      status,
      code: shown?.code ?? 'server_failed',
      detail: shown?.remedy,
      where: shown?.where,
      instance: `urn:uuid:${requestId}`,
    }),
  }
}

/** RFC 6749 §5.2 leaves printable ASCII without quote and backslash. */
function ascii(text: string): string {
  return text.replace(/["\\]/g, "'").replace(/[^\x20-\x7e]/g, '?')
}
