import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromHex, utf8 } from '../../src/bytes.ts'
import { type ErrorCode, SignetError } from '../../src/errors.ts'
import {
  canonicalBytes,
  canonicalize,
  isObject,
  type JsonValue,
  parseJson,
} from '../../src/json.ts'

/** The code that parsing ends with, or `accepted`. */
function outcome(input: Uint8Array | string): ErrorCode | 'accepted' {
  try {
    parseJson(input)
    return 'accepted'
  } catch (error) {
    if (error instanceof SignetError) return error.code
    throw error
  }
}

function refuses(code: ErrorCode, texts: readonly (string | Uint8Array)[]): void {
  for (const text of texts) assert.equal(outcome(text), code, JSON.stringify(text).slice(0, 80))
}

test('parseJson() refuses what is not JSON', () => {
  refuses('json_malformed', [
    ...['', ' ', 'nul', 'True', 'undefined', 'NaN', 'Infinity', '-Infinity', "'a'", '`a`', 'a'],
    ...['{', '[', '{}}', '[]]', '{}{}', '1 2', '[1,]', '[,1]', '[1 2]', '{"a":1,}', '{,}', '{"a"}'],
    ...[
      '{a:1}',
      '{"a" 1}',
      '{"a":}',
      '{"a"::1}',
      '{1:1}',
      '{"a":1 "b":2}',
      '[1;2]',
      '[1}',
      '{"a":1]',
    ],
    ...[
      '01',
      '-',
      '+1',
      '.5',
      '1.',
      '1.e1',
      '1e',
      '1e+',
      '0x10',
      '1_000',
      '--1',
      '-01',
      '00',
      '1a',
    ],
    ...[
      '"',
      '"a',
      '"\\',
      '"\\x"',
      '"\\u"',
      '"\\u00"',
      '"\\u00g0"',
      '"\\u{41}"',
      '"\\U0041"',
      '"\\\'"',
    ],
    ...[
      '"a\nb"',
      '"a\tb"',
      '"\u0000"',
      '"\u001f"',
      '[1]//',
      '/**/1',
      '#',
      '[1]\u0000',
      '\u00a01',
      '\v1',
    ],
    ...['\ufeff{}', '{}\ufeff', '\u2028{}', 'true1', 'nullnull', '"a""b"', '[true false]'],
  ])
})

test('parseJson() refuses a name that stands twice in one object', () => {
  refuses('json_duplicate_key', [
    '{"a":1,"a":1}',
    '{"a":1,"b":2,"\\u0061":3}',
    '[{"x":{"":0,"":0}}]',
    '{"__proto__":1,"__proto__":2}',
    '{"toString":1,"toString":2}',
    '{"0":1,"0":2}',
  ])
  assert.equal(outcome('[{"a":1},{"a":{"a":1}},{"A":1,"a":1}]'), 'accepted')
})

test('parseJson() refuses integers that a double does not hold, and infinite numbers', () => {
  refuses('json_number_unsafe', [
    ...['9007199254740992', '-9007199254740992', '9007199254740993', '[10000000000000000]'],
    ...['9007199254740993.0', '9007199254740992.5', '1e16', '1e20', '123456789012345678.9e1'],
    ...['1' + '0'.repeat(21), '1' + '0'.repeat(400), '1e309', '-1e309', '1e99999'],
  ])
  assert.equal(parseJson('9007199254740991'), Number.MAX_SAFE_INTEGER)
  assert.equal(parseJson('-9007199254740991'), Number.MIN_SAFE_INTEGER)
  assert.equal(parseJson('1e21'), 1e21)
  assert.equal(parseJson('1E+2'), 100)
  assert.equal(parseJson('1e-400'), 0)
})

test('parseJson() refuses lone surrogates', () => {
  refuses('json_surrogate', [
    '"\\ud800"',
    '"\\udc00"',
    '"\\udc00\\ud800"',
    '"\\ud800x"',
    '"\ud800"',
  ])
  refuses('json_surrogate', ['{"\\ud800":1}', '["\\uD83D\\\\uDE00"]'])
  assert.equal(parseJson('"\\ud83d\\ude00"'), '😀')
  assert.equal(parseJson('"\\uD83D\ude00"'), '😀')
})

test('parseJson() refuses bytes that are not UTF-8, and a byte order mark', () => {
  const quoted = (hex: string) => fromHex(`22${hex}22`)
  refuses('encoding_invalid', ['ff', 'c080', 'e28200', 'eda080', 'f4908080', 'c3'].map(quoted))
  refuses('encoding_invalid', [fromHex('feff007b007d'), fromHex('7b7dc3')])
  refuses('json_malformed', [fromHex('efbbbf7b7d')])
  assert.equal(parseJson(quoted('c3a9')), 'é')
})

test('parseJson() refuses what is too large before it looks at it', () => {
  assert.throws(() => parseJson('[1]', { maxBytes: 2 }), { code: 'too_large' })
  assert.throws(() => parseJson(utf8('"é"'), { maxBytes: 3 }), { code: 'too_large' })
  assert.deepEqual(parseJson('[1]', { maxBytes: 3 }), [1])
  assert.equal(outcome(new Uint8Array(16 * 2 ** 20 + 1)), 'too_large')
})

test('parseJson() refuses deep nesting', () => {
  const nest = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const objects = (depth: number) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)
  for (const deep of [nest, objects]) {
    assert.equal(outcome(deep(64)), 'accepted')
    assert.equal(outcome(deep(65)), 'json_too_deep')
    assert.throws(() => parseJson(deep(3), { maxDepth: 2 }), { code: 'json_too_deep' })
    parseJson(deep(2), { maxDepth: 2 })
  }
})

test('parseJson() refuses 20 MB of brackets at once', () => {
  const started = performance.now()
  for (const text of ['['.repeat(20e6), '{"a":'.repeat(4e6), '[{"":'.repeat(4e6)]) {
    assert.throws(() => parseJson(text, { maxBytes: 2 ** 30 }), { code: 'json_too_deep' })
  }
  assert.ok(performance.now() - started < 2000)
})

test('parseJson() refuses more values than it was told, however they are nested', () => {
  const limited = (maxValues: number) => ({ maxValues, maxBytes: 2 ** 30 })
  for (const text of ['[[],[],[]]', '{"a":{},"b":{"c":0}}', '[[[[]]]]', '["",null,[true]]']) {
    const values = text === '["",null,[true]]' ? 5 : 4
    parseJson(text, limited(values))
    assert.throws(() => parseJson(text, limited(values - 1)), { code: 'too_large' }, text)
  }
  // In memory each of these is thirty times as long.
  for (const one of ['[],', '{},', '{"a":{}},', '"",']) {
    const text = `[${one.repeat(20e6 / one.length)}0]`
    assert.throws(() => parseJson(text, limited(10_000)), { code: 'too_large' })
  }
})

test('parseJson() reads 8 MB of escapes without a piece of memory for each', () => {
  const escapes = `"${'\\n'.repeat(4e6)}"`
  const text = parseJson(escapes, { maxBytes: 2 ** 30 }) as string
  assert.equal(text.length, 4e6)
  assert.ok(!/[^\n]/.test(text))
  const backslashes = '\\'.repeat(4e6)
  assert.equal(parseJson(`"${backslashes}"`, { maxBytes: 2 ** 30 }), '\\'.repeat(2e6))
  for (const open of [`"${backslashes}\\"`, `"${'\\"'.repeat(4e6)}`]) {
    assert.throws(() => parseJson(open, { maxBytes: 2 ** 30 }), { code: 'json_malformed' })
  }
})

test('parseJson() refuses control characters and unknown escapes in strings and names of any length', () => {
  for (const length of [0, 1, 100, 70_000]) {
    const filler = 'x'.repeat(length)
    for (const fault of ['\u0000', '\n', '\u001f', '\\x', '\\u12', '\\u{41}']) {
      refuses('json_malformed', [`"${filler}${fault}"`, `{"${filler}${fault}":1}`])
      refuses('json_malformed', [`["${fault}${filler}"]`])
    }
    refuses('json_surrogate', [`"${filler}\\ud800"`, `{"${filler}\ud800":1}`])
    assert.equal(parseJson(`"${filler}\\u0041\\/\\""`), `${filler}A/"`)
    assert.deepEqual(Object.keys(parseJson(`{"${filler}\\u0041":1}`) as object), [`${filler}A`])
  }
})

test('parseJson() takes long strings, long arrays and many escapes in time', () => {
  const long = 'x'.repeat(4e6)
  assert.equal(parseJson(JSON.stringify(long)), long)
  const escapes = '\n'.repeat(1e6)
  assert.equal(parseJson(JSON.stringify(escapes)), escapes)
  assert.equal((parseJson(`[${'0,'.repeat(1e6)}0]`) as unknown[]).length, 1e6 + 1)
  assert.equal(outcome(' '.repeat(4e6)), 'json_malformed')
  assert.equal(outcome('"' + '\\u0041'.repeat(5e5)), 'json_malformed')
})

test('parseJson() tells where, and shows nothing but names', () => {
  assert.throws(() => parseJson('{"a":secret}', { what: 'grant' }), {
    message: 'grant: a value is missing at offset 5',
    where: '5',
  })
  assert.throws(() => parseJson('["secret", "sec\u0001ret"]'), (error) => {
    assert.ok(error instanceof SignetError)
    return !`${error.message}${error.stack}`.includes('secret')
  })
})

test('a member named __proto__ is a member like any other', () => {
  const object = parseJson('{"__proto__":{"admin":true},"constructor":1,"hasOwnProperty":2}')
  assert.ok(isObject(object))
  assert.equal(Object.getPrototypeOf(object), null)
  assert.deepEqual(Object.keys(object), ['__proto__', 'constructor', 'hasOwnProperty'])
  assert.equal((object as { admin?: unknown }).admin, undefined)
  assert.equal(({} as { admin?: unknown }).admin, undefined)
  const text = '{"__proto__":{"admin":true},"constructor":1,"hasOwnProperty":2}'
  assert.equal(canonicalize(object), text)
})

test('isObject() is true for objects alone', () => {
  for (const value of [null, [], '', 'a', 0, true, undefined]) assert.equal(isObject(value), false)
  assert.equal(isObject({}), true)
})

test('canonicalize() refuses what has no canonical form', () => {
  const unsafe = [NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 1e20, 295147905179352830000]
  for (const number of unsafe) {
    assert.throws(() => canonicalize([number]), { code: 'json_number_unsafe' }, String(number))
  }
  for (const value of ['\ud800', ['a\udc00'], { '\ud800': 1 }]) {
    assert.throws(() => canonicalize(value), { code: 'json_surrogate' })
  }
  const cycle: JsonValue[] = []
  cycle.push(cycle)
  assert.throws(() => canonicalize(cycle), { code: 'json_too_deep' })
})

test('canonicalize() refuses what is no JSON value instead of leaving it out', () => {
  const wrong: unknown[] = [
    undefined,
    [undefined],
    new Array(2),
    1n,
    Symbol('a'),
    () => 1,
    new Date(0),
    new Map([['a', 1]]),
    new Uint8Array(2),
    Object('a'),
    Object.create({ inherited: 1 }),
  ]
  for (const value of wrong) {
    assert.throws(() => canonicalize(value as JsonValue), TypeError, String(typeof value))
    assert.throws(() => canonicalize({ a: [value] } as JsonValue), TypeError)
  }
  assert.equal(canonicalize({ a: undefined, b: 1 }), '{"b":1}')
})

test('canonicalize() writes the sample of RFC 8785 §3.2.2 to §3.2.4', () => {
  const text = String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`
  const canonical = String.raw`{"literals":[null,true,false],` +
    String.raw`"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
    '"string":"€' + String.raw`$\u000f\nA'B\"\\\\\"/"}` // Bun escapes € in String.raw
  assert.equal(canonicalize(parseJson(text)), canonical)
  const hex = '7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 ' +
    '75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a ' +
    '5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 ' +
    '65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 ' +
    '5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 ' +
    '30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d'
  assert.deepEqual(canonicalBytes(parseJson(text)), fromHex(hex.replaceAll(' ', '')))
})

test('canonicalize() sorts names as RFC 8785 §3.2.3 does, by UTF-16 units', () => {
  const text = String.raw`{
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis"
  }`
  const sorted = canonicalize(parseJson(text))
  assert.deepEqual(Object.values(JSON.parse(sorted)), [
    'One', // JSON.parse puts what looks like an index first
    'Carriage Return',
    'Control',
    'Latin Small Letter O With Diaeresis',
    'Euro Sign',
    'Emoji: Grinning Face',
    'Hebrew Letter Dalet With Dagesh',
  ])
  assert.ok(sorted.startsWith('{"\\r":"Carriage Return","1":"One","\u0080":"Control"'))
  assert.equal(canonicalize({ 10: 0, 9: 0, a: 0, '': 0 }), '{"":0,"10":0,"9":0,"a":0}')
})

test('canonicalize() writes the numbers of RFC 8785 appendix B', () => {
  const view = new DataView(new ArrayBuffer(8))
  const number = (bits: string) => {
    view.setBigUint64(0, BigInt(`0x${bits}`))
    return view.getFloat64(0)
  }
  const samples = {
    '0000000000000000': '0',
    '8000000000000000': '0',
    '0000000000000001': '5e-324',
    '8000000000000001': '-5e-324',
    '7fefffffffffffff': '1.7976931348623157e+308',
    'ffefffffffffffff': '-1.7976931348623157e+308',
    '44b52d02c7e14af5': '9.999999999999997e+22',
    '44b52d02c7e14af6': '1e+23',
    '44b52d02c7e14af7': '1.0000000000000001e+23',
    '444b1ae4d6e2ef50': '1e+21',
    '3eb0c6f7a0b5ed8c': '9.999999999999997e-7',
    '3eb0c6f7a0b5ed8d': '0.000001',
    '41b3de4355555553': '333333333.3333332',
    '41b3de4355555554': '333333333.33333325',
    '41b3de4355555555': '333333333.3333333',
    '41b3de4355555556': '333333333.3333334',
    '41b3de4355555557': '333333333.33333343',
    'becbf647612f3696': '-0.0000033333333333333333',
    '43143ff3c1cb0959': '1424953923781206.2',
  }
  for (const [bits, text] of Object.entries(samples)) {
    assert.equal(canonicalize(number(bits)), text)
    assert.equal(parseJson(text), text === '0' ? 0 : number(bits))
  }
  // NaN, infinity, and the integers that another reader may take for a neighbour (RFC 7493 §2.2).
  const refused = {
    '7fffffffffffffff': 'NaN',
    '7ff0000000000000': 'Infinity',
    '4340000000000000': '9007199254740992',
    'c340000000000000': '-9007199254740992',
    '4430000000000000': '295147905179352830000',
    '444b1ae4d6e2ef4e': '999999999999999700000',
    '444b1ae4d6e2ef4f': '999999999999999900000',
  }
  for (const [bits, text] of Object.entries(refused)) {
    assert.equal(String(number(bits)), text)
    assert.throws(() => canonicalize(number(bits)), { code: 'json_number_unsafe' })
    assert.notEqual(outcome(text), 'accepted')
  }
})

/** Any JSON value that has a canonical form. */
const anyJson = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) =>
      !Number.isInteger(number) || Number.isSafeInteger(number) || Math.abs(number) >= 1e21
    ),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value')),
    fc.dictionary(
      fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', 'toString', '1', '')),
      tie('value'),
      { noNullPrototype: false },
    ),
  ),
})).value

/** The same with prototypes, and with 0 for -0, to compare with JSON.parse. */
function plain(value: JsonValue | undefined): unknown {
  if (value === 0) return 0
  if (Array.isArray(value)) return value.map(plain)
  if (!isObject(value)) return value
  const entries = Object.entries(value).map(([name, member]) => [name, plain(member)])
  return Object.fromEntries(entries)
}

test('parseJson() reads what canonicalize() wrote, which is canonical already', () => {
  fc.assert(fc.property(anyJson, (value) => {
    const text = canonicalize(value)
    const again = parseJson(text)
    assert.deepEqual(plain(again), plain(value))
    assert.equal(canonicalize(again), text)
    assert.equal(canonicalize(parseJson(canonicalBytes(value))), text)
    assert.equal(canonicalize(parseJson(JSON.stringify(value, null, 2))), text)
  }))
})

test('what parseJson() accepts JSON.parse() accepts, with an equal value, and it has a canonical form', () => {
  const check = (text: string) => {
    if (outcome(text) !== 'accepted') return
    const value = parseJson(text)
    assert.deepEqual(plain(value), plain(JSON.parse(text)))
    canonicalize(value)
  }
  const token = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '"a"',
      '"b":',
      '"a":',
      '1',
      '-0',
      '1e5',
      '1e21',
      '.5',
    ],
    ...['true', 'null', ' ', '\n', '\\u0061', '\\ud83d', '0', 'e', '-', '"__proto__":', '\u2028'],
  )
  fc.assert(fc.property(fc.array(token, { maxLength: 12 }), (tokens) => check(tokens.join(''))))
  fc.assert(fc.property(fc.string({ unit: 'binary' }), check))
})

test('parseJson() throws nothing but SignetError, whatever is done to a text', () => {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat(3),
    put: fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3 }),
      fc.constantFrom('"', '{', ']', '\\', '\ud800'),
    ),
  })
  fc.assert(fc.property(anyJson, fc.array(edit, { minLength: 1, maxLength: 4 }), (value, edits) => {
    let text = JSON.stringify(value)
    for (const { at, cut, put } of edits) {
      const index = Math.floor(at * text.length)
      text = text.slice(0, index) + put + text.slice(index + cut)
    }
    outcome(text)
  }))
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void outcome(bytes)))
})
