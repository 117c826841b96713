import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, concat, fromHex, toHex } from '../../src/bytes.ts'
import {
  der,
  derInteger,
  derOid,
  DerReader,
  ecdsaFromDer,
  ecdsaToDer,
  TAG,
} from '../../src/crypto/mod.ts'
import { SignetError } from '../../src/errors.ts'

const reader = (hex: string) => new DerReader(fromHex(hex), 'sample')
const refused = { code: 'der_malformed' } as const

test('DerReader refuses lengths that are not DER', () => {
  const lengths = {
    'no length': '04',
    'indefinite': '0480010000',
    'long form of a short length': '048101ff',
    'leading zero in a long length': `04820080${'00'.repeat(128)}`,
    'five octets of length': '04850000000001ff',
    'reserved': '04ff00',
    'a length that ends in itself': '0482',
    'cut off': '0402ff',
    'cut off by one': `0481ff${'00'.repeat(254)}`,
    'four gigabytes': '0484ffffffff00',
  }
  for (const [name, hex] of Object.entries(lengths)) {
    assert.throws(() => reader(hex).read(TAG.octetString), refused, name)
  }
  assert.throws(() => reader('').read(TAG.octetString), refused)
  assert.throws(() => reader('0400').read(TAG.integer), refused)
})

test('DerReader reads each length in its only form', () => {
  for (const length of [0, 1, 127, 128, 255, 256, 65535, 65536]) {
    const encoded = der(TAG.octetString, new Uint8Array(length))
    assert.equal(new DerReader(encoded, 'sample').read(TAG.octetString).length, length)
  }
})

test('DerReader sees what follows a structure', () => {
  const outer = reader('04000400')
  outer.read(TAG.octetString)
  assert.equal(outer.peek(), TAG.octetString)
  assert.throws(() => outer.end(), refused)
  outer.read(TAG.octetString)
  assert.equal(outer.peek(), undefined)
  outer.end()
})

test('DerReader reads non-negative integers in their only form', () => {
  for (
    const hex of ['0200', '0201ff', '020180', '02020000', '0202007f', '0202ff80', '0203000001']
  ) {
    assert.throws(() => reader(hex).readInteger(), refused, hex)
    assert.throws(() => reader(hex).readNumber(), refused, hex)
  }
  const values = { '020100': '00', '02017f': '7f', '02020080': '80', '0203010000': '010000' }
  for (const [hex, magnitude] of Object.entries(values)) {
    assert.equal(toHex(reader(hex).readInteger()), magnitude)
    assert.equal(toHex(derInteger(fromHex(`0000${magnitude}`))), hex)
  }
  assert.equal(reader('020700ffffffffffff').readNumber(), 2 ** 48 - 1)
  assert.throws(() => reader('020701000000000000').readNumber(), refused)
})

test('derOid() writes what X.690 §8.19 says', () => {
  const oids = {
    '1.2.840.113549': '06062a864886f70d',
    '2.16.840.1.101.3.4.3.18': '0609608648016503040312',
    '2.5.4.3': '0603550403',
    '1.3.101.112': '06032b6570',
  }
  for (const [dotted, hex] of Object.entries(oids)) assert.equal(toHex(derOid(dotted)), hex)
})

/** Takes bytes apart as far as they go and puts them together again. */
function again(bytes: Uint8Array, depth: number = 0): Bytes {
  const elements = new DerReader(bytes, 'sample')
  const parts: Bytes[] = []
  for (let tag = elements.peek(); tag !== undefined; tag = elements.peek()) {
    const content = elements.read(tag)
    parts.push(der(tag, (tag & 0x20) && depth < 8 ? again(content, depth + 1) : content))
  }
  elements.end()
  return concat(...parts)
}

interface Tree {
  readonly tag: number
  readonly content: readonly Tree[] | Bytes
}

const anyTree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    fc.record({
      tag: fc.integer({ min: 0, max: 255 }).map((tag) => tag & ~0x20),
      content: fc.uint8Array({ maxLength: 300 }) as fc.Arbitrary<Bytes>,
    }),
    fc.record({
      tag: fc.integer({ min: 0, max: 255 }).map((tag) => tag | 0x20),
      content: fc.array(tie('tree'), { maxLength: 4 }),
    }),
  ),
})).tree

function encode({ tag, content }: Tree): Bytes {
  return content instanceof Uint8Array ? der(tag, content) : der(tag, ...content.map(encode))
}

/** What a function does to bytes: its result, or undefined for a SignetError; nothing else may come. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    assert.ok(error instanceof SignetError, String(error))
    assert.equal(error.code, 'der_malformed')
    return undefined
  }
}

test('what DerReader reads has no other encoding, whatever is done to it', () => {
  fc.assert(fc.property(anyTree, (tree) => {
    const bytes = encode(tree)
    assert.equal(toHex(again(bytes)), toHex(bytes))
  }))
  const mutated = fc.tuple(anyTree, fc.nat(), fc.nat(255), fc.boolean()).map(
    ([tree, at, byte, grow]) => {
      const bytes = encode(tree)
      const index = at % bytes.length
      const rest = bytes.slice(grow ? index : index + 1)
      return concat(bytes.slice(0, index), Uint8Array.of(byte), rest)
    },
  )
  const check = (bytes: Uint8Array) => {
    const same = attempt(() => again(bytes))
    if (same !== undefined) assert.equal(toHex(same), toHex(bytes))
  }
  fc.assert(fc.property(mutated, check), { numRuns: 500 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), check), { numRuns: 500 })
})

test('ecdsaFromDer() refuses what is no pair of integers of the curve', () => {
  const cases = {
    'nothing': '',
    'no sequence': '020101',
    'one integer': '3003020101',
    'three integers': '3009020101020101020101',
    'a negative integer': '3006020181020101',
    'a padded integer': '300702020001020101',
    'an integer beyond the curve': `3027022101${'00'.repeat(32)}020101`,
    'bytes behind': '300602010102010100',
    'bytes within': '3008020101020101 0500'.replace(' ', ''),
    'a length of BER': '308106020101020101',
  }
  for (const [name, hex] of Object.entries(cases)) {
    assert.throws(() => ecdsaFromDer(fromHex(hex), 64), refused, name)
  }
  assert.equal(
    toHex(ecdsaFromDer(fromHex('3006020101020102'), 64)),
    `${'00'.repeat(31)}01${'00'.repeat(31)}02`,
  )
})

test('an ECDSA signature has one form in DER and one as r and s', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 96, maxLength: 96 }), (raw) => {
    assert.equal(toHex(ecdsaFromDer(ecdsaToDer(raw), 96)), toHex(raw))
  }))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (content) => {
      const bytes = der(TAG.sequence, content)
      const raw = attempt(() => ecdsaFromDer(bytes, 64))
      if (raw !== undefined) assert.equal(toHex(ecdsaToDer(raw)), toHex(bytes))
    }),
    { numRuns: 500 },
  )
})
