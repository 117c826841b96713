import assert from 'node:assert/strict'
import { test } from 'node:test'
import { base64urlnopad } from '@scure/base'
import fc from 'fast-check'
import {
  concat,
  equalBytes,
  fromBase64,
  fromBase64Url,
  fromHex,
  fromUtf8,
  owned,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
  wrapBase64,
} from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'

/** Each text form with its alphabet, and texts that a lenient decoder takes for some bytes. */
const CODECS = [
  {
    name: 'base64',
    encode: toBase64,
    decode: fromBase64,
    alphabet: 'ABab01+/=-_ \n',
    refused: [
      'Zg', // padding missing
      'Zg=',
      'Zg===', // too much of it
      'Zm9v====',
      'Zh==', // stray bits in the last character (RFC 4648 §3.5)
      'Zm9=',
      'Z',
      'Z===',
      '=',
      '====',
      'Zg==Zg==', // padding inside
      'Zm=v',
      '-_-_', // the other alphabet
      'Zm9v\n', // whitespace
      ' Zm9v',
      'Zm 9v',
      'Zm9v\0',
      'Zm9\u{ff56}', // a full-width letter
      '\u{1f511}',
    ],
  },
  {
    name: 'base64url',
    encode: toBase64Url,
    decode: fromBase64Url,
    alphabet: 'ABab01-_=+/ \n',
    refused: [
      'Zg==', // padding is not allowed (RFC 7515 §2)
      'Zm8=',
      'Z',
      'Zh', // stray bits
      'Zm9',
      '+/+/', // the other alphabet
      'Zm9v\n',
      ' Zm9v',
      'Zm 9v',
      'Zm9v.',
      'Zm9\u{ff56}',
      '\u{1f511}',
    ],
  },
  {
    name: 'hex',
    encode: toHex,
    decode: fromHex,
    alphabet: '019afAFg x\n',
    refused: ['0', 'abc', 'AB', 'aB', '0x00', 'g0', ' 00', '00 ', '00\n', '0 0', '\u{ff10}0', '٠٠'],
  },
] as const

const refusal = (error: unknown) => isSignetError(error, 'encoding_invalid')
const bytes = fc.uint8Array({ maxLength: 200 })

for (const { name, encode, decode, alphabet, refused } of CODECS) {
  test(`${name} decoding refuses every text that is not the one canonical form`, () => {
    for (const text of refused) assert.throws(() => decode(text), refusal, JSON.stringify(text))
  })

  test(`${name} decoding never lets another error out, and says what it was reading`, () => {
    for (const text of refused) {
      assert.throws(() => decode(text, 'the salt'), (error: unknown) => {
        assert.ok(refusal(error))
        assert.match(String(error), /^SignetError: the salt is not /)
        return true
      })
    }
  })

  test(`${name}: any text that is accepted re-encodes to itself`, () => {
    // Unicode at large hardly ever decodes; the second arbitrary comes close to the alphabet, and
    // the third spoils one character of a good text.
    const near = fc.array(fc.constantFrom(...alphabet), { maxLength: 12 }).map((all) =>
      all.join('')
    )
    const spoilt = fc.tuple(bytes, fc.nat(), fc.constantFrom(...alphabet)).map(
      ([all, at, other]) => {
        const text = encode(all)
        const i = at % (text.length + 1)
        return text.slice(0, i) + other + text.slice(i + 1)
      },
    )
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), near, spoilt), (text) => {
        let decoded
        try {
          decoded = decode(text)
        } catch (error) {
          return refusal(error)
        }
        accepted++
        return encode(decoded) === text
      }),
      { numRuns: 3000 },
    )
    assert.ok(accepted > 100, `only ${accepted} texts were accepted: the property hardly ran`)
  })

  test(`${name} decoding gives back what was encoded, in memory of its own`, () => {
    fc.assert(fc.property(bytes, (input) => {
      const output = decode(encode(input))
      assert.ok(output.buffer instanceof ArrayBuffer)
      return equalBytes(output, input) && output !== input
    }))
  })
}

// RFC 4648 §10
const RFC4648 = [
  ['', '', ''],
  ['f', 'Zg==', '66'],
  ['fo', 'Zm8=', '666f'],
  ['foo', 'Zm9v', '666f6f'],
  ['foob', 'Zm9vYg==', '666f6f62'],
  ['fooba', 'Zm9vYmE=', '666f6f6261'],
  ['foobar', 'Zm9vYmFy', '666f6f626172'],
] as const

test('base64, base64url and hex agree with the test vectors of RFC 4648', () => {
  for (const [text, base64, hex] of RFC4648) {
    assert.equal(toBase64(utf8(text)), base64)
    assert.equal(toBase64Url(utf8(text)), base64.replaceAll('=', ''))
    assert.equal(toHex(utf8(text)), hex)
    assert.equal(fromUtf8(fromBase64(base64)), text)
    assert.equal(fromUtf8(fromHex(hex)), text)
  }
  assert.equal(toBase64(Uint8Array.of(0xfb, 0xff, 0xbf)), '+/+/')
  assert.equal(toBase64Url(Uint8Array.of(0xfb, 0xff, 0xbf)), '-_-_')
})

test('long texts decode, and are refused for their last character', () => {
  const input = new Uint8Array(8_000_000).fill(0xab)
  for (const { name, encode, decode } of CODECS) {
    const text = encode(input)
    assert.equal(decode(text).length, input.length, name)
    assert.throws(() => decode(text + '!'), refusal, name)
  }
})

test('wrapBase64() writes what toBase64() would, at any length', () => {
  for (const length of [0, 1, 2, 3, 3 * 2 ** 16 - 1, 3 * 2 ** 16, 3 * 2 ** 16 + 1, 500_000]) {
    const input = Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8))
    assert.equal(fromUtf8(wrapBase64('ä"', input, '"€')), `ä"${toBase64(input)}"€`)
  }
})

test('utf8() refuses lone surrogates', () => {
  for (const text of ['\ud800', 'a\udc00', '\udc00\ud800', '\ud83d x']) {
    assert.throws(() => utf8(text), refusal, JSON.stringify(text))
  }
})

test('fromUtf8() refuses what is not UTF-8', () => {
  const malformed = {
    'a continuation byte alone': [0x80],
    'a sequence cut short': [0xe2, 0x82],
    'an overlong slash': [0xc0, 0xaf],
    'an overlong NUL': [0xe0, 0x80, 0x80],
    'an encoded surrogate': [0xed, 0xa0, 0x80],
    'beyond U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
    'a byte that never occurs': [0xff],
  }
  for (const [what, all] of Object.entries(malformed)) {
    assert.throws(() => fromUtf8(Uint8Array.from(all), 'the name'), (error: unknown) => {
      assert.ok(refusal(error), what)
      assert.match(String(error), /the name is not valid UTF-8/)
      return true
    })
  }
})

test('fromUtf8() keeps a byte order mark, so that text and bytes stay one to one', () => {
  assert.equal(fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), '\ufeffa')
  fc.assert(fc.property(bytes, (input) => {
    let text
    try {
      text = fromUtf8(input)
    } catch (error) {
      return refusal(error)
    }
    return equalBytes(utf8(text), input)
  }))
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => fromUtf8(utf8(text)) === text))
})

test('equalBytes() says no to another length, another byte and a prefix', () => {
  assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0)), false)
  assert.equal(equalBytes(Uint8Array.of(1, 2, 0), Uint8Array.of(1, 2)), false)
  assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)), false)
  assert.equal(equalBytes(new Uint8Array(), Uint8Array.of(0)), false)
  assert.equal(equalBytes(new Uint8Array(), new Uint8Array()), true)
  assert.equal(equalBytes(Uint8Array.of(0, 1, 2).subarray(1), Uint8Array.of(1, 2)), true)
})

test('concat() joins the parts in order and copies them', () => {
  const part = Uint8Array.of(0, 1, 2).subarray(1)
  const joined = concat(part, new Uint8Array(), Uint8Array.of(3))
  part[0] = 9
  assert.deepEqual([...joined], [1, 2, 3])
  assert.equal(concat().length, 0)
})

test('owned() copies shared memory and nothing else', () => {
  const plain = Uint8Array.of(1, 2)
  assert.equal(owned(plain), plain)
  const shared = new Uint8Array(new SharedArrayBuffer(2))
  shared[0] = 7
  const copy = owned(shared)
  shared[0] = 8
  assert.ok(copy.buffer instanceof ArrayBuffer)
  assert.deepEqual([...copy], [7, 0])
})

test('text after malformed text is read as if there had been none before', () => {
  const whole = utf8('\ufeffgrün €')
  for (const bad of [[0xff], [0xe2, 0x82], [0x61, 0xc3], [0xed, 0xa0, 0x80]]) {
    assert.throws(() => fromUtf8(Uint8Array.from(bad)), { code: 'encoding_invalid' })
    assert.equal(fromUtf8(whole), '\ufeffgrün €')
  }
})

test("base64url is read and written alike by the platform's coder and by the portable one", () => {
  const units = [...'AQgw_-9zZ=+/ \n\té.A']
  const text = fc.array(fc.constantFrom(...units), { maxLength: 12 }).map((list) => list.join(''))
  const portable = (given: string) => {
    try {
      return toHex(base64urlnopad.decode(given))
    } catch {
      return 'refused'
    }
  }
  const ours = (given: string) => {
    try {
      return toHex(fromBase64Url(given))
    } catch (error) {
      assert.ok(isSignetError(error, 'encoding_invalid'))
      return 'refused'
    }
  }
  fc.assert(
    fc.property(text, (given) => assert.equal(ours(given), portable(given))),
    {
      numRuns: 3000,
      examples: [['AA=='], ['AA='], ['AB'], ['AAAA\n'], ['A A A A'], ['AAAAA'], ['AAA\n\n'], ['']]
        .map(([given]): [string] => [given!]),
    },
  )
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    assert.equal(toBase64Url(bytes), base64urlnopad.encode(bytes))
    assert.deepEqual(fromBase64Url(toBase64Url(bytes)), bytes)
  }))
})
