import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkDistinct, checkName, compareNames } from '../../mod.ts'
import { utf8 } from '../../src/bytes.ts'
import { BAD_NAMES, outcome, refuses, runs } from './_seals.ts'

for (const [what, names] of Object.entries(BAD_NAMES)) {
  test(`checkName() refuses a name that is ${what}`, async () => {
    for (const name of names) await refuses('name_invalid', () => checkName(name), name)
  })
}

test('checkName() takes every other name, strange as it may be', () => {
  const names = [
    'a',
    '...',
    '..a',
    'a..',
    '.a',
    'a b',
    ' ',
    'a:0:10',
    'C:',
    'é',
    'e\u0301',
    '模型.bin',
  ]
  names.push(
    'a\nb',
    '\u202egpj.exe',
    '~',
    '$HOME',
    '-rf',
    '*',
    'a/...',
    '\u{10ffff}',
    'nul',
    '%2e%2e',
  )
  names.push(
    'a'.repeat(4096),
    '.git/config',
    '\u2024\u2024/a',
    '．．/a',
    '/'.replace('/', '\u2044'),
  )
  for (const name of names) checkName(name)
})

test('checkName() refuses just what splitting at "/" shows to be wrong', async () => {
  const text = fc.string({
    unit: fc.constantFrom('a', '.', '/', '\\', '\0', 'é', '\ud800'),
    maxLength: 8,
  })
  await fc.assert(
    fc.asyncProperty(text, async (name) => {
      const isFine = !/[\0\\]/.test(name) && name.isWellFormed() &&
        name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
      assert.equal(await outcome(() => checkName(name)), isFine ? 'accepted' : 'name_invalid')
    }),
    runs(1000),
  )
})

test('checkDistinct() refuses a name that stands twice, collisions allowed or not', async () => {
  for (const allow of [false, true]) {
    await refuses('name_duplicate', () => checkDistinct(['a', 'b', 'a'], allow))
  }
  await refuses('name_duplicate', () => checkDistinct(['a', 'A', 'A'], true))
  await refuses('name_duplicate', () => checkDistinct(['a', 'A', 'a'], true))
  await refuses('name_duplicate', () => checkDistinct(['é', 'É', 'e\u0301', 'e\u0301'], true))
})

test('checkDistinct() refuses names that some disk takes for one', async () => {
  const pairs = [
    ['readme', 'README'],
    ['Sub/a', 'sub/a'],
    ['é', 'e\u0301'], // composed and decomposed
    ['É', 'e\u0301'],
    ['각', '\u1100\u1161\u11a8'],
    ['K', 'k'], // the Kelvin sign
    ['Å', 'å'], // the Ångström sign
    ['ΑΣ', 'ασ'], // the small letter at the end of a word is "ς"
    ['ας', 'ασ'],
    ['ß', 'ẞ'],
    ['STRASSE', 'straße'],
    ['ſ', 's'],
    ['ǰ', 'J\u030c'], // the small letter is composed, the capital is not
    ['Dž', 'DŽ'], // between small and capital
    ['Ꭰ', 'ꭰ'],
  ] as const
  for (const [a, b] of pairs) {
    for (const names of [[a, b], [b, a], ['x', a, 'y', b]]) {
      await refuses('name_collision', () => checkDistinct(names), names.join(' '))
      checkDistinct(names, true)
    }
  }
  checkDistinct(['a', 'b', 'a/b', 'ab', 'a-b', 'é', 'è', 'ss/a', 's/sa'])
})

test('names that differ in case or normalisation only collide, whatever letters they hold', async () => {
  const letter = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((one) =>
    one.isWellFormed()
  )
  const change = fc.constantFrom(
    (text: string) => text.toUpperCase(),
    (text: string) => text.toLowerCase(),
    (text: string) => text.normalize('NFD'),
    (text: string) => text.normalize('NFC'),
    (text: string) => text.toUpperCase().normalize('NFD'),
  )
  await fc.assert(
    fc.asyncProperty(letter, change, change, async (name, one, two) => {
      const [a, b] = [one(name), two(name)]
      const expected = a === b ? 'name_duplicate' : 'name_collision'
      assert.equal(await outcome(() => checkDistinct([a, b])), expected)
    }),
    runs(2000),
  )
})

test('compareNames() is the order of UTF-8 bytes', () => {
  const byBytes = (a: string, b: string) => {
    const [x, y] = [utf8(a), utf8(b)]
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      if (x[i] !== y[i]) return x[i]! - y[i]!
    }
    return x.length - y.length
  }
  const unit = fc.constantFrom(
    ...['a', 'b', '-', '/', '\u007f', '\u0080', 'é', '\ud7ff', '\ue000', '\uffff'],
    ...['\u{10000}', '\u{103ff}', '\u{10400}', '\u{10ffff}'],
  )
  const name = fc.string({ unit: fc.oneof(unit, fc.string({ unit: 'binary', maxLength: 1 })) })
    .filter((text) => text.isWellFormed())
  fc.assert(
    fc.property(name, name, (a, b) => {
      assert.equal(Math.sign(compareNames(a, b)), Math.sign(byBytes(a, b)))
      assert.equal(compareNames(a, a), 0)
    }),
    runs(2000),
  )
  const sorted = ['a', 'a/b', 'sub-2/x', 'sub/x', 'z', 'é', '\uffee', '\u{10000}']
  assert.deepEqual(sorted.toReversed().sort(compareNames), sorted)
})
