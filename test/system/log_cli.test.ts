import assert from 'node:assert/strict'
import { appendFileSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { verdict } from '../../src/cli/log_verify.ts'
import { inFolder, signet } from './_signet.ts'

// What a passphrase costs is tested with the keys.
const SECRET = ['--insecure-clear-key']

function makeLog(folder: string, algorithm = 'Ed25519'): string[] {
  const made = signet(folder, 'keys', 'new', '--key', 'k.pem', '--algorithm', algorithm, ...SECRET)
  assert.equal(made.code, 0, made.err)
  return ['log', 'append', 'audit', '--key', 'k.pem', ...SECRET, '--anchor', 'anchor']
}

test('log: append, verify, prove, export, checkpoint and tail agree', () =>
  inFolder((folder) => {
    const append = makeLog(folder)
    const run = (...args: string[]) => {
      const done = signet(folder, ...args)
      assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}`)
      return done.out
    }
    run(...append, '--origin', 'example.com/audit', '--type', 'a', '--private', '{"name":"Ada"}')
    const early = run('log', 'checkpoint', 'audit', '--key', 'k.pem')
    writeFileSync(join(folder, 'early'), early)
    run(...append, '--type', 'b', '--data', '{"n":[1,2]}')
    const report = JSON.parse(run('log', 'verify', 'audit', '--key', 'k.pem', '--strict', '--json'))
    assert.deepEqual([report.ok, report.verified, report.checkpoint.size], [true, 3, 3])
    run('log', 'verify', 'audit', '--key', 'k.pem', '--anchor', 'anchor')
    run('log', 'checkpoint', 'audit', '--key', 'k.pem', '--since', 'early')
    run('log', 'prove', 'audit', '1', '--key', 'k.pem', '--out', 'p.tlog-proof')
    const proved = JSON.parse(run('log', 'verify', 'p.tlog-proof', '--key', 'k.pem', '--json'))
    assert.equal(JSON.parse(proved.entry).type, 'a')
    assert.ok(!proved.entry.includes('Ada'))
    run('log', 'export', 'audit', '--key', 'k.pem', '--from', '1', '--out', 'range')
    run('log', 'verify', 'range', '--key', 'k.pem')
    const tail = JSON.parse(run('log', 'tail', 'audit', '--key', 'k.pem', '-n', '2', '--json'))
    assert.deepEqual(tail.map(({ seq }: { seq: number }) => seq), [1, 2])
    assert.ok(!existsSync(join(folder, 'audit', 'private')), 'openings lie where a server serves')
  }))

test('log: what is wrong ends in the exit code of its kind', () =>
  inFolder((folder) => {
    const append = makeLog(folder)
    const fails = (code: number, name: string, ...args: string[]) => {
      const done = signet(folder, ...args)
      assert.equal(done.code, code, `${args.join(' ')}: ${done.out}${done.err}`)
      assert.match(done.err, new RegExp(`\\[${name}\\]`))
    }
    fails(1, 'usage_invalid', ...append, '--type', 'a')
    const origin = ['--origin', 'example.com/audit']
    fails(1, 'usage_invalid', ...append, ...origin)
    fails(2, 'entry_malformed', ...append, ...origin, '--type', 'log.mine')
    fails(2, 'json_duplicate_key', ...append, ...origin, '--type', 'a', '--data', '{"a":1,"a":2}')
    fails(
      2,
      'entry_too_large',
      ...append,
      ...origin,
      '--type',
      'a',
      '--data',
      `"${'x'.repeat(66_560)}"`,
    )
    assert.equal(signet(folder, ...append, '--type', 'a', ...origin).code, 0)
    fails(1, 'usage_invalid', 'log', 'verify', 'audit')
    fails(2, 'log_missing', 'log', 'verify', '.', '--key', 'k.pem')
    for (const [text, name] of [['{', 'json_malformed'], ['{}\n', 'note_malformed']] as const) {
      writeFileSync(join(folder, 'none'), text)
      fails(2, name, 'log', 'verify', 'none', '--key', 'k.pem')
    }
    fails(
      4,
      'checkpoint_origin',
      'log',
      'verify',
      'audit',
      '--key',
      'k.pem',
      '--origin',
      'x.example',
    )
    fails(1, 'log_range', 'log', 'prove', 'audit', '99', '--key', 'k.pem')
    signet(folder, 'keys', 'new', '--key', 'other.pem', '--algorithm', 'Ed25519', ...SECRET)
    fails(4, 'signer_untrusted', 'log', 'verify', 'audit', '--key', 'other.pem')
    signet(folder, 'keys', 'new', '--key', 'es.pem', '--algorithm', 'ES256', ...SECRET)
    fails(
      7,
      'algorithm_unsupported',
      'log',
      'append',
      'b',
      ...origin,
      '--key',
      'es.pem',
      ...SECRET,
      '--type',
      'a',
    )

    cpSync(join(folder, 'audit'), join(folder, 'old'), { recursive: true })
    assert.equal(signet(folder, ...append, '--type', 'b').code, 0)
    fails(5, 'log_rolled_back', 'log', 'verify', 'old', '--key', 'k.pem', '--anchor', 'anchor')
    const path = join(folder, 'audit', 'checkpoint')
    const note = readFileSync(path, 'utf8')
    writeFileSync(path, note.replace('\n3\n', '\n2\n'))
    fails(3, 'signature_invalid', 'log', 'verify', 'audit', '--key', 'k.pem')
    writeFileSync(path, note + note.trim().split('\n').at(-1) + '\n'.repeat(3))
    fails(2, 'note_malformed', 'log', 'verify', 'audit', '--key', 'k.pem')
    writeFileSync(path, note)
    appendFileSync(join(folder, 'audit', 'tile', '0', '000.p', '3'), 'x')
    const damaged = signet(folder, 'log', 'verify', 'audit', '--key', 'k.pem')
    assert.equal(damaged.code, 5)
    assert.match(damaged.out, /NOT WHOLE\n.*tile\/0\/000\.p\/3/)
  }))

test('demo log keeps every promise', () =>
  inFolder((folder) => {
    const { code, out, err } = signet(folder, 'demo', 'log', '--json')
    const { ok, steps } = JSON.parse(out)
    assert.deepEqual(steps.filter((step: { ok: boolean }) => !step.ok), [], err)
    assert.ok(ok && steps.length >= 20)
    assert.equal(code, 0)
  }))

test('log verify shows times as text, whatever stands there', () => {
  const head = { origin: 'example.com/audit', size: 1, root: new Uint8Array(32) }
  const times = { first: '\u001b[2J', last: '\u001b[2J\u202e' }
  const report = { head, whole: true, faults: [], verified: 1, pruned: 0, times }
  const checkpoint = { ...head, text: '', note: '', verified: [] }
  const text = verdict(report, { checkpoint } as unknown as Parameters<typeof verdict>[1])
  assert.ok(text.includes('\\u001b[2J to \\u001b[2J\\u202e'), text)
})
