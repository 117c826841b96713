/** What 200 MB of hostile text cost a verifier. The core tests have the same in small. */
import assert from 'node:assert/strict'
import process from 'node:process'
import { test } from 'node:test'
import { MAX_BUNDLE_BYTES, parseBundle } from '../../mod.ts'
import { utf8 } from '../../src/bytes.ts'
import { refuses } from '../core/_seals.ts'

const SIZE = 200_000_000
const OPEN = '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","a":'

/** A text over and over, behind the beginning of a bundle. */
function hostile(begin: string, again: string): Uint8Array {
  const unit = utf8(again)
  const bytes = new Uint8Array(SIZE)
  const head = utf8(begin)
  bytes.set(head)
  bytes.set(unit, head.length)
  // Doubles what is there: a loop over 200 MB takes long.
  for (let length = unit.length; head.length + length < SIZE; length *= 2) {
    bytes.copyWithin(head.length + length, head.length, head.length + length)
  }
  return bytes
}

const CASES = [
  ['arrays in arrays', 'json_too_deep', '', '['],
  ['objects in objects', 'json_too_deep', '', '{"a":'],
  ['arrays in one array', 'too_large', `${OPEN}[`, '[],'],
  ['objects in one array', 'too_large', `${OPEN}[`, '{"a":{}},'],
  ['one string of escapes', 'json_malformed', `${OPEN}"`, '\\"'],
  ['one string of backslashes', 'json_malformed', `${OPEN}"`, '\\'],
  ['one string', 'json_malformed', `${OPEN}"`, 'a'],
  ['one number', 'json_number_unsafe', OPEN, '1'],
  ['white space', 'json_malformed', OPEN, ' '],
] as const

for (const [what, code, begin, again] of CASES) {
  test(`parseBundle() refuses 200 MB of ${what} without using much more`, async () => {
    const bytes = hostile(begin, again)
    const before = process.memoryUsage().rss
    await refuses(code, () => parseBundle(bytes))
    const grown = process.memoryUsage().rss - before
    // The text, a part of it or a copy, and what the runtime has not given back yet.
    assert.ok(grown < 5 * SIZE, `${Math.round(grown / 1e6)} MB more`)
  })
}

test('parseBundle() refuses a file that is too large before it reads it', async () => {
  await refuses('too_large', () => parseBundle(new Uint8Array(MAX_BUNDLE_BYTES + 1)))
})
