/**
 * One error class for the whole module. What went wrong is the stable `code`; what kind of thing
 * went wrong (and so the exit code of the command line) follows from the code by one table.
 *
 * Misuse by the programmer (a wrong type, a closed handle used in a way the types forbid) is a
 * `TypeError`; everything that input, files, keys or networks can cause is a {@link SignetError}.
 */

/** The kinds of failure. Each has one exit code on the command line. */
export type ErrorKind =
  | 'usage'
  | 'input'
  | 'signature'
  | 'trust'
  | 'content'
  | 'policy'
  | 'backend'

/** Every code and its kind. Codes are stable: they may be added, never renamed. */
export const ERROR_KINDS = {
  // usage: the caller asked for something that makes no sense
  usage_invalid: 'usage',
  option_unknown: 'usage',
  file_exists: 'usage',
  // input: bytes that cannot be read or do not parse
  aborted: 'input',
  io_failed: 'input',
  file_unreadable: 'input',
  too_large: 'input',
  encoding_invalid: 'input',
  json_malformed: 'input',
  json_duplicate_key: 'input',
  json_too_deep: 'input',
  json_number_unsafe: 'input',
  json_surrogate: 'input',
  der_malformed: 'input',
  pem_malformed: 'input',
  jwk_malformed: 'input',
  key_malformed: 'input',
  key_mismatch: 'input',
  key_ambiguous: 'input',
  key_exposed: 'input',
  keyset_malformed: 'input',
  rotation_malformed: 'input',
  status_list_malformed: 'input',
  offline_bundle_malformed: 'input',
  device_state_malformed: 'input',
  sync_malformed: 'input',
  sync_failed: 'input',
  server_failed: 'input',
  outcome_not_logged: 'input',
  passphrase_required: 'input',
  passphrase_wrong: 'input',
  kdf_refused: 'input',
  uri_malformed: 'input',
  envelope_malformed: 'input',
  token_malformed: 'input',
  token_type: 'input',
  token_critical: 'input',
  token_claims: 'input',
  field_malformed: 'input',
  fields_too_large: 'input',
  request_malformed: 'input',
  media_type_refused: 'input',
  not_found: 'input',
  method_refused: 'usage',
  grant_type_refused: 'usage',
  http_signature_missing: 'input',
  http_signature_malformed: 'input',
  bundle_malformed: 'input',
  bundle_media_type: 'input',
  bundle_method_unsupported: 'input',
  statement_malformed: 'input',
  payload_type: 'input',
  predicate_type: 'input',
  name_invalid: 'input',
  name_duplicate: 'input',
  name_collision: 'input',
  digest_malformed: 'input',
  certificate_malformed: 'input',
  model_empty: 'input',
  symlink_refused: 'input',
  special_file_refused: 'input',
  file_changed: 'input',
  publishers_malformed: 'input',
  publishers_conflict: 'input',
  manifest_malformed: 'input',
  note_malformed: 'input',
  vkey_malformed: 'input',
  checkpoint_malformed: 'input',
  proof_malformed: 'input',
  log_policy_malformed: 'input',
  policy_malformed: 'input',
  entry_malformed: 'input',
  entry_too_large: 'input',
  log_missing: 'input',
  log_locked: 'input',
  log_closed: 'usage',
  log_range: 'usage',
  log_not_durable: 'input',
  log_in_doubt: 'input',
  grant_malformed: 'input',
  grant_cycle: 'input',
  scope_malformed: 'input',
  store_conflict: 'input',
  store_version: 'input',
  pop_malformed: 'input',
  ledger_malformed: 'input',
  // signature: the mathematics says no
  signature_invalid: 'signature',
  signature_count: 'signature',
  root_digest_mismatch: 'signature',
  algorithm_mismatch: 'signature',
  proof_invalid: 'signature',
  grant_unlinked: 'signature',
  content_digest_mismatch: 'signature',
  // trust: the mathematics may say yes, but nobody trusts this signer
  signer_untrusted: 'trust',
  rotation_forked: 'trust',
  key_revoked: 'trust',
  key_not_yet_valid: 'trust',
  key_expired: 'trust',
  token_issuer: 'trust',
  certificate_untrusted: 'trust',
  publishers_untrusted: 'trust',
  publishers_rollback: 'trust',
  checkpoint_origin: 'trust',
  publishers_expired: 'trust',
  http_signature_stale: 'trust',
  unauthenticated: 'trust',
  client_unknown: 'trust',
  code_refused: 'trust',
  request_replayed: 'trust',
  // content: the files are not what was sealed
  content_differs: 'content',
  bundle_rolled_back: 'content',
  device_state_rolled_back: 'content',
  log_corrupt: 'content',
  log_rolled_back: 'content',
  log_forked: 'content',
  log_replaced: 'content',
  // policy: all is genuine, and still not allowed
  policy_denied: 'policy',
  status_unknown: 'policy',
  status_list_foreign: 'policy',
  status_list_early: 'policy',
  status_list_expired: 'policy',
  status_list_stale: 'policy',
  status_list_missing: 'policy',
  offline_audience: 'policy',
  bundle_early: 'policy',
  bundle_expired: 'policy',
  bundle_revoked: 'policy',
  keys_expired: 'policy',
  contact_too_old: 'policy',
  tool_contact_too_old: 'policy',
  checkpoint_stale: 'policy',
  clock_set_back: 'policy',
  device_unenrolled: 'policy',
  sync_backlog: 'policy',
  sync_refused: 'policy',
  log_quota: 'policy',
  server_refused: 'policy',
  grant_holder: 'policy',
  grant_revoked: 'policy',
  grant_suspended: 'policy',
  arguments_malformed: 'policy',
  tool_denied: 'policy',
  argument_missing: 'policy',
  argument_unexpected: 'policy',
  argument_denied: 'policy',
  approval_missing: 'policy',
  amount_malformed: 'policy',
  calls_exhausted: 'policy',
  rate_exceeded: 'policy',
  budget_exhausted: 'policy',
  approval_used: 'policy',
  ledger_unavailable: 'policy',
  pop_invalid: 'policy',
  replay_unavailable: 'policy',
  witness_quorum: 'policy',
  scope_missing: 'policy',
  scope_refused: 'policy',
  rate_limited: 'policy',
  constraint_unknown: 'policy',
  grant_expired: 'policy',
  grant_not_yet_valid: 'policy',
  grant_lifetime: 'policy',
  grant_depth: 'policy',
  grant_widened: 'policy',
  grant_audience: 'policy',
  pop_mismatch: 'policy',
  pop_stale: 'policy',
  pop_replayed: 'policy',
  replay_store_full: 'policy',
  // backend: the thing that holds the key does not answer as it should
  algorithm_unsupported: 'backend',
  mode_unsupported: 'backend',
  key_not_found: 'backend',
  key_closed: 'backend',
  key_usage: 'backend',
  key_disabled: 'backend',
  key_locked: 'backend',
  key_destroyed: 'backend',
  key_access_denied: 'backend',
  key_backend_unavailable: 'backend',
  selftest_failed: 'backend',
} as const

/** A stable code, safe to switch on. */
export type ErrorCode = keyof typeof ERROR_KINDS

/** Options of {@link SignetError}. */
export interface SignetErrorOptions {
  /** The place: a file, a JSON path, an entry. Never a secret. */
  readonly where?: string
  /** What to do about it, in one sentence. */
  readonly remedy?: string
  /** The error below this one. */
  readonly cause?: unknown
}

/**
 * The only error that bad input, bad files and failing backends cause.
 * Messages name the thing and never contain secrets, tokens or plaintext.
 */
export class SignetError extends Error {
  /** Always `SignetError`. */
  override readonly name: string = 'SignetError'
  /** What went wrong. */
  readonly code: ErrorCode
  /** Where, if there is a place. */
  readonly where: string | undefined
  /** What to do about it, if something can be done. */
  readonly remedy: string | undefined

  /** An error with its code and a message that names the thing and holds no secret. */
  constructor(code: ErrorCode, message: string, options: SignetErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.where = options.where
    this.remedy = options.remedy
  }

  /** The kind of failure, from the table of codes. */
  get kind(): ErrorKind {
    return ERROR_KINDS[this.code]
  }
}

/**
 * Other people's text for a message: quoted, cut off after 80 units, and with nothing in it that a terminal
 * obeys or that turns the direction of writing.
 */
export function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** True for a {@link SignetError}, with one of the given codes if any are given. */
export function isSignetError(error: unknown, ...codes: ErrorCode[]): error is SignetError {
  return error instanceof SignetError && (codes.length === 0 || codes.includes(error.code))
}
