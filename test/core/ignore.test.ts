import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_IGNORES, pathSet } from '../../mod.ts'
import { refuses, runs } from './_seals.ts'

test('pathSet() refuses what is no path', async () => {
  for (const path of ['', '/', '/a', '..', '../a', 'a/', './a', 'a//b', 'a\\b', 'a\0', '\ud800']) {
    await refuses('name_invalid', () => pathSet(['fine', path]), path)
  }
})

test('pathSet() knows paths and what lies below, letter by letter, and no patterns', () => {
  const set = pathSet(['.git', 'sub/cache', '*.tmp', 'É'])
  for (const path of ['.git', '.git/a', '.git/a/b', 'sub/cache', 'sub/cache/x', '*.tmp', 'É']) {
    assert.ok(set(path), path)
  }
  const others = [
    '.gitmodules',
    '.git2',
    'a/.git',
    '.Git',
    'sub',
    'sub/cache2',
    'sub/cach',
    'cache',
  ]
  others.push('a.tmp', 'x/*.tmp', 'é', 'E\u0301', '', '.', '.gi', 'git')
  for (const path of others) assert.ok(!set(path), path)
})

test('an empty pathSet() knows no path', () => {
  for (const path of ['a', 'a/b', '.git']) assert.ok(!pathSet([])(path))
})

test('the defaults are those of OMS v1.0 §6.2, at the top only', () => {
  const set = pathSet(DEFAULT_IGNORES)
  for (const path of ['.git/HEAD', '.gitignore', '.gitattributes', '.github/ci.yml']) {
    assert.ok(set(path), path)
    assert.ok(!set(`sub/${path}`), path)
  }
  assert.ok(!set('.gitmodules'))
})

test('pathSet() says what comparing every component says', () => {
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', 'a-'), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(path, { maxLength: 4 }), path, (paths, asked) => {
      const expected = paths.some((one) => one.every((part, i) => part === asked[i]))
      const set = pathSet(paths.map((one) => one.join('/')))
      assert.equal(set(asked.join('/')), expected)
    }),
    runs(1000),
  )
})
