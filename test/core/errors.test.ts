import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, isSignetError, SignetError } from '../../src/errors.ts'

test('isSignetError() says no to every other error and to other codes', () => {
  const error = new SignetError('too_large', 'the file is too large')
  assert.equal(isSignetError(error, 'usage_invalid', 'json_malformed'), false)
  assert.equal(isSignetError(new Error('too_large')), false)
  assert.equal(isSignetError({ name: 'SignetError', code: 'too_large' }), false)
  assert.equal(isSignetError(undefined), false)
})

test('isSignetError() says yes to its class and to one of the codes asked for', () => {
  const error: unknown = new SignetError('too_large', 'the file is too large')
  assert.equal(isSignetError(error), true)
  assert.equal(isSignetError(error, 'usage_invalid', 'too_large'), true)
})

test('SignetError has no cause, place or remedy unless given', () => {
  const error = new SignetError('io_failed', 'the disk is full')
  assert.equal(Object.hasOwn(error, 'cause'), false)
  assert.equal(error.where, undefined)
  assert.equal(error.remedy, undefined)
})

test('SignetError carries what it was given', () => {
  const cause = new RangeError('below')
  const error = new SignetError('json_malformed', 'not JSON', {
    where: 'statement.subject[0]',
    remedy: 'write JSON',
    cause,
  })
  assert.ok(error instanceof Error)
  assert.equal(error.name, 'SignetError')
  assert.equal(error.message, 'not JSON')
  assert.equal(error.where, 'statement.subject[0]')
  assert.equal(error.remedy, 'write JSON')
  assert.equal(error.cause, cause)
  assert.match(String(error), /^SignetError: not JSON/)
})

test('SignetError keeps a cause that is null or false', () => {
  for (const cause of [null, false, 0, '']) {
    assert.equal(new SignetError('io_failed', 'failed', { cause }).cause, cause)
  }
})

test('SignetError knows its kind by its code', () => {
  const expected: [ErrorCode, string][] = [
    ['option_unknown', 'usage'],
    ['encoding_invalid', 'input'],
    ['signature_invalid', 'signature'],
    ['key_revoked', 'trust'],
    ['content_differs', 'content'],
    ['policy_denied', 'policy'],
    ['key_backend_unavailable', 'backend'],
  ]
  for (const [code, kind] of expected) assert.equal(new SignetError(code, 'x').kind, kind, code)
})
