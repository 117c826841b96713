/**
 * Signet: prove whose key, what was sealed, who may do what, and what was done.
 *
 * @module
 */
export {
  ERROR_KINDS,
  type ErrorCode,
  type ErrorKind,
  isSignetError,
  SignetError,
  type SignetErrorOptions,
} from './src/errors.ts'
