import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { progressBar, progressLine } from '../../src/cli/progress.ts'
import { formatBytes, formatDuration, jsonText, printable, table } from '../../src/cli/text.ts'
import type { Run } from '../../src/cli/context.ts'
import { inFolder, signet } from './_signet.ts'

const MB = 1_000_000

test('printable() shows what could steer a terminal or turn the direction of writing', () => {
  assert.equal(
    printable('a\u001b[2Kb\nc\u202egpj.exe\u0085'),
    'a\\u001b[2Kb\\u000ac\\u202egpj.exe\\u0085',
  )
  assert.equal(printable('naïve 模型 \u{1f600}'), 'naïve 模型 \u{1f600}')
})

test('jsonText() is JSON that steers no terminal', () => {
  const value = { 'a\u009b2J': ['b\u202e\u001b[2J\u007f', 1, {}] }
  const text = jsonText(value)
  assert.deepEqual(JSON.parse(text), value)
  assert.match(text, /^[\n\x20-\x7e]*$/)
  assert.equal(text.split('\n').length, 7)
})

test('grant inspect shows the words of strangers as text', () =>
  inFolder((folder) => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const token = `${part({ alg: 'EdDSA', kid: '\u009b2J' })}.${part({ iss: '\u202e' })}.AAAA`
    writeFileSync(join(folder, 'g'), `${token}\n`)
    for (const more of [[], ['--json']]) {
      const { code, out } = signet(folder, 'grant', 'inspect', 'g', ...more)
      assert.equal(code, 0)
      assert.match(out, /\\u009b2J[^]*\\u202e/)
      assert.match(out, /^[\n\x20-\x7e]*$/)
    }
  }))

test('formatBytes() and formatDuration() keep to a few digits', () => {
  assert.deepEqual([0, 999, 1000, 13_538_124, 2e12].map(formatBytes), [
    '0 B',
    '999 B',
    '1.00 kB',
    '13.5 MB',
    '2.00 TB',
  ])
  assert.deepEqual([0, 61, 3600 * 2 + 5].map(formatDuration), ['0:00', '1:01', '2:00:05'])
  assert.equal(table([['a', 'b'], ['long', 'c']]), 'a     b\nlong  c')
  const long = table([['a', 'b'], ...Array.from({ length: 300_000 }, () => ['long', 'c'])])
  assert.ok(long.startsWith('a     b\nlong  c\n'))
})

test('progressLine() tells throughput and time left, and fits the terminal', () => {
  const half = { bytes: 500 * MB, totalBytes: 1000 * MB, files: 3, totalFiles: 8 }
  const line = progressLine('verifying', half, 2, 100)
  assert.match(line, /\[#+\.+\] 50% 500 MB of 1\.00 GB \(3\/8\) 250 MB\/s, 0:02 left/)
  for (const columns of [20, 40, 80, 200]) {
    assert.ok(progressLine('verifying', half, 2, columns).length < columns)
  }
  assert.match(
    progressLine('x', { bytes: 0, totalBytes: 0, files: 0, totalFiles: 0 }, 1, 80),
    /100%/,
  )
})

test('progressBar() draws on a terminal only, not when it was told to be quiet', () => {
  let drawn = ''
  const run = (interactive: boolean, json = false) => {
    const terminal = {
      out() {},
      err: (text: string) => void (drawn += text),
      interactive,
      columns: 80,
    }
    return { terminal, json } as unknown as Run
  }
  const work = { bytes: 1, totalBytes: 2, files: 0, totalFiles: 1 }
  const start = Date.now() - 10_000
  for (
    const bar of [
      progressBar(run(false), 'x'),
      progressBar(run(true, true), 'x'),
      progressBar(run(true), 'x', true),
    ]
  ) {
    bar.update(work)
    bar.end()
  }
  assert.equal(drawn, '')
  const bar = progressBar(run(true), 'x', false, start)
  bar.update(work)
  assert.match(drawn, /50%/)
  bar.end()
  assert.ok(drawn.endsWith('\r\x1b[2K'), 'the line is wiped')
})
