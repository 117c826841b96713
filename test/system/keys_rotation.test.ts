/** `signet keys rotate` and `follow`: a verifier with the keyset of earlier days comes along. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { inFolder, signet } from './_signet.ts'

const CLEAR = '--insecure-clear-key'

test('a verifier with the old keyset follows two rotations, and refuses a forked one', async () => {
  await inFolder((folder) => {
    const run = (code: number, ...args: string[]) => {
      const outcome = signet(folder, ...args)
      assert.equal(outcome.code, code, outcome.err)
      return outcome
    }
    const rotate = (key: string, ...more: string[]) =>
      run(0, 'keys', 'rotate', '--keyset', 'alice.json', '--key', key, CLEAR, ...more)
    const follow = (code: number, rotations = 'alice.json.rotations') =>
      run(code, 'keys', 'follow', '--keyset', 'bob.json', '--rotations', rotations)
    run(0, 'keys', 'new', '--key', 'a.pem', '--keyset', 'alice.json', '--name', 'alice', CLEAR)
    copyFileSync(join(folder, 'alice.json'), join(folder, 'bob.json'))
    copyFileSync(join(folder, 'alice.json'), join(folder, 'stolen.json'))
    rotate('b.pem', '--algorithm', 'Ed25519')
    rotate('c.pem', '--algorithm', 'ES256', '--until', '2100-01-01')

    mkdirSync(join(folder, 'm'))
    writeFileSync(join(folder, 'm', 'w.bin'), 'weights')
    run(0, 'model', 'sign', 'm', '--key', 'alice.json', '--out', 'm.sig', CLEAR)
    run(4, 'model', 'verify', 'm', '--key', 'bob.json', '--signature', 'm.sig')
    assert.match(follow(0).out, /^alice: from /)
    run(0, 'model', 'verify', 'm', '--key', 'bob.json', '--signature', 'm.sig')
    assert.match(follow(0).out, /nothing new/)

    // Whoever stole the first key hands it over to himself.
    const steal = ['--keyset', 'stolen.json', '--key', 'd.pem', CLEAR]
    run(0, 'keys', 'rotate', ...steal)
    const before = readFileSync(join(folder, 'bob.json'), 'utf8')
    assert.match(follow(4, 'stolen.json.rotations').err, /rotation_forked/)
    assert.equal(readFileSync(join(folder, 'bob.json'), 'utf8'), before)
  })
})

test('without the old key there is no rotation, unless it is said to be lost', async () => {
  await inFolder((folder) => {
    const run = (...args: string[]) => signet(folder, ...args)
    const made = run('keys', 'new', '--key', 'a.pem', '--keyset', 'k.json', '--name', 'k', CLEAR)
    assert.equal(made.code, 0, made.err)
    writeFileSync(join(folder, 'a.pem'), '')
    const rotate = ['keys', 'rotate', '--keyset', 'k.json', '--key', 'b.pem', CLEAR]
    assert.equal(run(...rotate).code, 2)
    assert.ok(!existsSync(join(folder, 'b.pem')), 'a new key was made all the same')
    assert.equal(run(...rotate, '--no-statement').code, 0)
    assert.ok(!existsSync(join(folder, 'k.json.rotations')))
  })
})
