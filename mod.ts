/**
 * Signet: prove whose key, what was sealed, who may do what, and what was done.
 *
 * @module
 */
export { type ErrorCode, type ErrorKind, isSignetError, SignetError } from './src/errors.ts'
