/** What a log may lose: old bodies and private fields go from the disk, proofs stay, and nothing goes unasked. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { inFolder, SIGNET, signet } from './_signet.ts'

const SECRET = ['--insecure-clear-key']
const WRITER = ['--key', 'k.pem', ...SECRET]
const TRUST = ['--key', 'k.pem']

function run(folder: string, ...args: string[]): string {
  const done = signet(folder, ...args)
  assert.equal(done.code, 0, `${args.join(' ')}: ${done.out}${done.err}`)
  return done.out
}

function fails(folder: string, code: number, name: string, ...args: string[]): void {
  const done = signet(folder, ...args)
  assert.equal(done.code, code, `${args.join(' ')}: ${done.out}${done.err}`)
  assert.match(done.out + done.err, new RegExp(name))
}

/** A log of 601 entries; entry i names person i in the clear, entry 10 and 590 have private fields. */
function makeLog(folder: string): void {
  run(folder, 'keys', 'new', '--key', 'k.pem', '--algorithm', 'Ed25519', ...SECRET)
  const lines = Array.from({ length: 600 }, (_, i) =>
    JSON.stringify({
      type: 'seen',
      actor: `person ${i + 1}.`,
      ...(i === 9 || i === 589 ? { private: { name: `Ada ${i + 1}`, 'e-mail': 'ada@x' } } : {}),
    }))
  const [program = '', ...args] = SIGNET
  const append = ['log', 'append', 'audit', ...WRITER, '--origin', 'example.com/a', '--stdin']
  const { status, stderr } = spawnSync(program, [...args, ...append], {
    cwd: folder,
    input: lines.join('\n') + '\n',
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
}

/** Whether a text is anywhere in a folder: in tiles, in the journal, in what lies beside. */
function isOnDisk(folder: string, text: string): boolean {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).some((one) =>
    one.isFile() && readFileSync(join(one.parentPath, one.name)).includes(text)
  )
}

test('log prune deletes old bodies when it is told yes, and every proof stays', () =>
  inFolder((folder) => {
    makeLog(folder)
    const log = join(folder, 'audit')
    run(folder, 'log', 'prove', 'audit', '10', ...TRUST, '--out', 'ten.tlog-proof')
    const prune = ['log', 'prune', 'audit', ...WRITER]
    fails(folder, 1, 'usage_invalid', ...prune)
    fails(folder, 1, 'usage_invalid', ...prune, '--before', '9', '--before-time', '2026-01-01')
    for (const time of ['soon', '2026', '2026-13-01', '1/1/2026']) {
      fails(folder, 1, 'usage_invalid', ...prune, '--before-time', time)
    }
    fails(folder, 1, 'not a whole number', ...prune, '--before', '-1')
    for (const none of [['--before', '255'], ['--before-time', '2020-01-01']]) {
      assert.match(run(folder, ...prune, ...none, '--yes'), /nothing to prune/)
    }

    assert.match(
      run(folder, ...prune, '--before', '300'),
      /^would delete the bodies of entries 0 to 255, [^]*nothing was changed/,
    )
    assert.ok(isOnDisk(log, 'person 10.') && isOnDisk(log, 'Ada 10'))
    const done = JSON.parse(run(folder, ...prune, '--before', '300', '--yes', '--json'))
    assert.deepEqual([done.done, done.from, done.to], [true, 0, 256])
    for (const gone of ['person 1.', 'person 10.', 'person 255.', 'Ada 10']) {
      assert.ok(!isOnDisk(log, gone), `${gone} is still there`)
    }
    for (const kept of ['person 256.', 'Ada 590']) assert.ok(isOnDisk(log, kept), kept)

    // Later than all entries: as far as it goes, and only what is still there.
    const all = run(folder, ...prune, '--before-time', '2100-01-01', '--yes')
    assert.match(all, /^deleted the bodies of entries 256 to 511,/)
    assert.match(run(folder, ...prune, '--before-time', '2100-01-01'), /nothing to prune/)
    const report = JSON.parse(run(folder, 'log', 'verify', 'audit', ...TRUST, '--json'))
    assert.deepEqual([report.ok, report.pruned, report.verified], [true, 512, 91])
    run(folder, 'log', 'verify', 'ten.tlog-proof', ...TRUST)
    const anew = ['log', 'prove', 'audit', '600', ...TRUST, '--out', 'new.tlog-proof']
    run(folder, ...anew)
    run(folder, 'log', 'verify', 'new.tlog-proof', ...TRUST)
    fails(folder, 2, 'log_missing', 'log', 'prove', 'audit', '10', ...TRUST)
    const tail = run(folder, 'log', 'tail', 'audit', ...TRUST, '-n', '2')
    assert.deepEqual(tail.match(/"before":[0-9]+/g), ['"before":256', '"before":512'])
  }))

test('log forget destroys private fields when it is told yes, and every proof stays', () =>
  inFolder((folder) => {
    makeLog(folder)
    const log = join(folder, 'audit')
    const salt = JSON.parse(readFileSync(join(log, '.signet/private/010'), 'utf8')).salt
    run(folder, 'log', 'prove', 'audit', '10', ...TRUST, '--out', 'ten.tlog-proof')
    const forget = (...args: string[]) => ['log', 'forget', 'audit', ...args, ...WRITER]
    fails(folder, 1, 'not a whole number', ...forget('ten'))
    fails(folder, 1, 'log_range', ...forget('10', '999', '--yes'))
    fails(folder, 1, 'usage_invalid.*', ...forget('10', '11', '--yes'))
    assert.ok(isOnDisk(log, 'Ada 10'), 'a refused command changed something')

    const would = run(folder, ...forget('10', '590'))
    assert.match(would, /^entry 10 \(seen, .*\): would forget e-mail, name\nentry 590 /)
    assert.match(would, /nothing was changed/)
    assert.ok(!would.includes('Ada') && isOnDisk(log, 'Ada 10'))
    assert.match(run(folder, ...forget('10', '--yes')), /^entry 10 .*: forgot e-mail, name/)
    assert.ok(!isOnDisk(log, 'Ada 10') && !isOnDisk(log, salt) && isOnDisk(log, 'Ada 590'))
    const again = JSON.parse(run(folder, ...forget('10', '--yes', '--json')))
    assert.deepEqual([again.done, again.entries[0].known], [false, false])

    run(folder, 'log', 'verify', 'ten.tlog-proof', ...TRUST)
    run(folder, 'log', 'verify', 'audit', ...TRUST, '--strict')
    assert.match(run(folder, 'log', 'tail', 'audit', ...TRUST, '-n', '1'), /"log\.forgot"/)

    // What was pruned can be forgotten still, should anything be left of it.
    rmSync(join(log, 'tile/entries/002.p'), { recursive: true })
    assert.match(run(folder, 'log', 'checkpoint', 'audit', ...TRUST), /\n602\n/)
    fails(folder, 2, 'log_missing', 'log', 'tail', 'audit', ...TRUST)
    assert.match(
      run(folder, ...forget('590')),
      /entry 590 \(pruned\): would forget what is private/,
    )
  }))
