/** A glance at an entry finds what `JSON.parse` finds, in plain entries and in whatever else comes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'
import { glance } from '../../src/log/glance.ts'

/** What the platform says: place and time, or that there is none. */
function expected(bytes: Uint8Array): unknown {
  try {
    const { seq, time } = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    )
    return { seq, time }
  } catch {
    return 'refused'
  }
}

function found(bytes: Uint8Array): unknown {
  try {
    const { seq, time } = glance(bytes)
    if (typeof time === 'string') {
      for (const before of [time, `${time}x`, time.replace(/.$/, '0')]) {
        assert.deepEqual({ ...glance(bytes, before) }, { seq, time })
      }
    }
    return { seq, time }
  } catch (error) {
    assert.ok(isSignetError(error), String(error))
    return 'refused'
  }
}

const ODD = [
  '',
  '{',
  '{}',
  'null',
  '[]',
  '"seq"',
  '{"seq":1}}',
  '{"seq":1,}',
  '{,"seq":1}',
  '{"seq":01}',
  '{"seq":-0}',
  '{"seq":1e3}',
  '{"seq":1.0}',
  '{"seq":}',
  '{"seq":123456789012345678901}',
  '{"seq":999999999999999}',
  '{"seq":1,"seq":2}',
  '{"seq":1,"seq":"2"}',
  '{"seq":"1","time":3}',
  '{"s\\u0065q":7}',
  '{"seq":1,"s\\u0065q":7}',
  '{"data":{"seq":5,"time":"x"},"seq":6,"time":"y"}',
  '{"data":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]],"seq":6}',
  '{"data":[1,2},"seq":6}',
  '{"data":[1 ,2],"seq":6}',
  '{"data":[1,],"seq":6}',
  '{"data":{"a"},"seq":6}',
  '{"data":{"a":1,},"seq":6}',
  '{"data":tru,"seq":6}',
  '{"data":true,"seq":6}',
  '{"data":"\u007f","seq":6}',
  '{"data":"\t","seq":6}',
  '{"data":"ü","seq":6}',
  '{"time":"2026-11-21T10:00:00.000Z","seq":0}',
  '{"time":"","seq":0}',
  '{"time":null,"seq":0}',
  ' {"seq":1}',
  '\ufeff{"seq":1}',
  '{"__proto__":{"seq":1}}',
]

test('glance() finds what JSON.parse finds in odd texts', () => {
  for (const text of ODD) assert.deepEqual(found(utf8(text)), expected(utf8(text)), text)
  const broken = Uint8Array.of(...utf8('{"a":"'), 0xff, ...utf8('","seq":1}'))
  assert.equal(found(broken), 'refused')
})

test('glance() bears any depth', () => {
  const deep = utf8(`{"data":${'['.repeat(30_000)}${']'.repeat(30_000)},"seq":1}`)
  assert.deepEqual(found(deep), { seq: 1, time: undefined })
  assert.equal(found(utf8(`{"data":${'['.repeat(60_000)}`)), 'refused')
})

test('glance() finds what JSON.parse finds in any object, whole or damaged', () => {
  const entry = fc.record(
    { seq: fc.jsonValue(), time: fc.jsonValue(), data: fc.jsonValue(), type: fc.string() },
    { requiredKeys: [] },
  )
  const damage = fc.tuple(fc.nat(), fc.constantFrom(...utf8('{}[]",:\\0123eE.- \n\u007f')))
  fc.assert(fc.property(entry, fc.array(damage, { maxLength: 3 }), (value, damages) => {
    const bytes = utf8(JSON.stringify(value).toWellFormed())
    for (const [at, byte] of damages) bytes[at % bytes.length] = byte
    assert.deepEqual(found(bytes), expected(bytes))
  }))
})
