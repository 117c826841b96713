import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import { type ErrorCode, isSignetError, quoted, SignetError } from '../../src/errors.ts'
import { parseJson } from '../../src/json.ts'
import { conform } from '../../src/schema.ts'

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

test('quoted() shows text of others without length or anything that a terminal obeys', () => {
  assert.equal(quoted('name'), '"name"')
  assert.equal(quoted('a"b\\'), String.raw`"a\"b\\"`)
  const wild = '\u001b[31m\r\n\u0000\u007f\u009b\u202e\u2066\u2028\ufeff\ud800'
  assert.match(quoted(wild), /^"[\x20-\x7e]*"$/)
  assert.ok(quoted('x'.repeat(1e6)).length < 100)
  assert.ok(quoted('😀'.repeat(1e6)).isWellFormed())
  assert.ok(quoted('a' + '😀'.repeat(1e6)).isWellFormed())
})

test('conform() tells where and shows no value, and names only in quotes', () => {
  const schema = v.strictObject({ list: v.array(v.object({ name: v.string() })) })
  const check = (text: string) => conform(schema, parseJson(text), 'manifest_malformed', 'manifest')
  assert.deepEqual(check('{"list":[{"name":"a"}]}'), { list: [{ name: 'a' }] })
  assert.throws(() => check('{"list":[{"name":["secret"]}]}'), {
    code: 'manifest_malformed',
    message: 'manifest: list.0.name is not string',
    where: 'list.0.name',
  })
  for (const text of ['[]', 'null', '"secret"', '{"list":"secret"}', '{"list":[null]}']) {
    assert.throws(() => check(text), (error: Error) => !error.message.includes('secret'), text)
  }
  const name = String.raw`\u001b[31m\nsignet: all is well`
  assert.throws(() => check(`{"list":[],"${name}":1}`), (error) => {
    assert.ok(isSignetError(error, 'manifest_malformed'))
    return /^[\x20-\x7e]*$/.test(error.message + error.where)
  })
  assert.throws(() => check(`{"list":[],"${'x'.repeat(1e6)}":1}`), (error: Error) => {
    return error.message.length < 200
  })
  for (const member of ['__proto__', 'constructor', 'toString']) {
    assert.throws(() => check(`{"list":[],"${member}":{"admin":true}}`), {
      code: 'manifest_malformed',
    }, member)
  }
})
