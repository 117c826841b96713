import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8 } from '../../src/bytes.ts'
import { canonicalize } from '../../src/json.ts'
import { draftEntry, finishEntry } from '../../src/log/entry.ts'
import {
  commitments,
  type LogEvent,
  parseEntry,
  parseOpening,
  verifyOpening,
} from '../../src/log/mod.ts'

const time = '2026-11-21T10:00:00.123Z'
const make = (event: LogEvent, seq = 7) => finishEntry(draftEntry(event), seq, time)

test('draftEntry() refuses events that can have no entry', () => {
  const bad: [unknown, string][] = [
    [{ type: '' }, 'entry_malformed'],
    [{ type: 'a b' }, 'entry_malformed'],
    [{ type: 'x'.repeat(129) }, 'entry_malformed'],
    [{ type: 'log.recovered' }, 'entry_malformed'],
    [{ type: 'a', seq: 3 }, 'entry_malformed'],
    [{ type: 'a', time: 'now' }, 'entry_malformed'],
    [{ type: 'a', actor: 7 }, 'entry_malformed'],
    [{ type: 'a', subject: {} }, 'entry_malformed'],
    [{ type: 'a', actor: '\ud800' }, 'json_surrogate'],
    [{ type: 'a', data: { '\udfff': 1 } }, 'json_surrogate'],
    [{ type: 'a', data: 2 ** 53 }, 'json_number_unsafe'],
    [{ type: 'a', data: [NaN] }, 'json_number_unsafe'],
    [{ type: 'a', private: { x: Infinity } }, 'json_number_unsafe'],
    [{ type: 'a', data: 'x'.repeat(65_536) }, 'entry_too_large'],
    [{ type: 'a', data: '\u20ac'.repeat(22_000) }, 'entry_too_large'],
    [{ type: 'a', data: 'x'.repeat(65 * 1024) }, 'entry_too_large'],
  ]
  for (const [event, code] of bad) {
    assert.throws(() => draftEntry(event as LogEvent), { code }, JSON.stringify(event).slice(0, 80))
  }
  let deep: unknown = 1
  for (let i = 0; i < 100; i++) deep = [deep]
  assert.throws(() => draftEntry({ type: 'a', data: deep as never }), { code: 'json_too_deep' })
})

test('an entry is canonical JSON whichever members it has', () => {
  const all: LogEvent = {
    type: 'tool.call',
    actor: 'a',
    subject: 's \u20ac "q"',
    action: 'x',
    outcome: 'ok',
    ref: 'r',
    trace: 't',
    data: { b: 1, a: [1.5e-7, -0, null], '\ud83d\ude00': true, '\ufffd': false },
    private: { name: 'Ada' },
  }
  const names = Object.keys(all).filter((name) => name !== 'type') as (keyof LogEvent)[]
  for (let mask = 0; mask < 2 ** names.length; mask++) {
    const chosen = names.filter((_, i) => mask & (1 << i))
    const event = Object.fromEntries([['type', 'a'], ...chosen.map((name) => [name, all[name]])])
    const text = make(event as unknown as LogEvent)
    assert.equal(canonicalize(JSON.parse(text)), text)
    const entry = parseEntry(utf8(text))
    assert.equal(entry.seq, 7)
    assert.equal(entry.time, '2026-11-21T10:00:00.123Z')
    assert.equal(Object.keys(entry).length, chosen.length + 4)
  }
})

test('the largest entry that is taken fits into a bundle', () => {
  let length = 65_535
  while (true) {
    try {
      draftEntry({ type: 'a', data: 'x'.repeat(length) })
      break
    } catch {
      length--
    }
  }
  const text = finishEntry(draftEntry({ type: 'a', data: 'x'.repeat(length) }), 2 ** 53 - 1, time)
  assert.ok(text.length <= 65_535 && text.length > 65_000, `${text.length}`)
})

test('parseEntry() refuses what the log never writes', () => {
  const good = make({ type: 'a', data: 1 })
  const bad: [string | Uint8Array, string][] = [
    [good.replace('"seq":7', '"seq": 7'), 'entry_malformed'],
    [good.replace('{"data":1,"seq":7', '{"seq":7,"data":1'), 'entry_malformed'],
    [good.replace('"seq":7', '"seq":7.5'), 'entry_malformed'],
    [good.replace('"seq":7', '"seq":-1'), 'entry_malformed'],
    [good.replace('"seq":7', '"seq":9007199254740993'), 'json_number_unsafe'],
    [good.replace('"seq":7', '"seq":7,"seq":7'), 'json_duplicate_key'],
    [good.replace('"v":1', '"v":2'), 'entry_malformed'],
    [good.replace('"v":1', '"v":1,"x":1'), 'entry_malformed'],
    [good.replace('10:00:00.123Z', '10:00:00Z'), 'entry_malformed'],
    [good.replace('11-21T', '13-41T'), 'entry_malformed'],
    [good.replace('"data":1', '"data":"\\ud800"'), 'json_surrogate'],
    [good.replace('"data":1', '"data":1.0'), 'entry_malformed'],
    [good + '\n', 'entry_malformed'],
    ['', 'json_malformed'],
    ['[]', 'entry_malformed'],
    [new Uint8Array([123, 255, 125]), 'encoding_invalid'],
    [new Uint8Array(65_536), 'entry_too_large'],
  ]
  for (const [bytes, code] of bad) {
    const input = typeof bytes === 'string' ? utf8(bytes) : bytes
    assert.throws(() => parseEntry(input), { code }, String(bytes).slice(0, 100))
  }
})

test('private fields of any name are committed to and opened', () => {
  const fields = JSON.parse('{"constructor":1,"__proto__":2,"prototype":3,"toString":4,"":5}')
  const draft = draftEntry({ type: 'a', private: fields })
  const entry = parseEntry(utf8(finishEntry(draft, 0, time)))
  assert.deepEqual(Object.keys(entry.private!).sort(), Object.keys(fields).sort())
  verifyOpening(entry, parseOpening(draft.opening!))
})

test('private fields leave only commitments, which no other value, name or salt opens', () => {
  const draft = draftEntry({ type: 'a', private: { name: 'Ada Lovelace', born: 18151210 } })
  const text = finishEntry(draft, 0, time)
  // Values long enough that no commitment spells them by chance.
  assert.ok(!text.includes('Ada Lovelace') && !text.includes('18151210'))
  const entry = parseEntry(utf8(text))
  const opening = parseOpening(draft.opening!)
  verifyOpening(entry, opening)
  const wrong = [
    { ...opening, fields: { name: 'Bob', born: 18151210 } },
    { ...opening, fields: { born: 'Ada Lovelace', name: 18151210 } },
    { ...opening, fields: { name: 'Ada Lovelace' } },
    { ...opening, fields: { ...opening.fields, more: 1 } },
    { ...opening, salt: 'A'.repeat(43) },
  ]
  for (const one of wrong) {
    assert.throws(() => verifyOpening(entry, one), { code: 'proof_invalid' })
  }
  // The same value in two entries is not the same commitment.
  const again = parseOpening(draftEntry({ type: 'a', private: { name: 'Ada Lovelace' } }).opening!)
  assert.notEqual(commitments(again).name, commitments(opening).name)
  assert.throws(() => parseOpening(utf8('{"salt":"x","fields":{}}')), { code: 'entry_malformed' })
  assert.equal(fromUtf8(draft.opening!).includes('Ada'), true)
})
