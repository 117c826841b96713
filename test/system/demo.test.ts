import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inFolder, signet } from './_signet.ts'
import { lacking, MINISTACK } from './_emulators.ts'
import { absent as noToken } from './_softhsm.ts'

const MODEL = fileURLToPath(
  new URL('../../node_modules/@vladmandic/face-api/model', import.meta.url),
)
const absent = !existsSync(MODEL) && process.env.CI !== 'true' &&
  'the model of the demo is not installed'

function demo(name: string, least: number): (folder: string) => void {
  return (folder) => {
    const { code, out, err } = signet(folder, 'demo', name, '--model', MODEL, '--json')
    const { ok, steps } = JSON.parse(out)
    assert.deepEqual(steps.filter((step: { ok: boolean }) => !step.ok), [], err)
    assert.ok(ok && steps.length >= least)
    assert.equal(code, 0)
  }
}

test(
  'demo seal keeps every promise on the real model',
  { skip: absent },
  () => inFolder(demo('seal', 13)),
)

const lacks = 'Bun' in globalThis
  // What a process sets in its environment does not reach native code there.
  ? 'SoftHSM cannot be pointed to a folder on Bun'
  : process.env.CI !== 'true' && (absent || noToken || lacking(MINISTACK) || false)

test(
  'demo hsm keeps every promise on the real model',
  { skip: lacks },
  () => inFolder(demo('hsm', 16)),
)

test('demo offline keeps every promise', () =>
  inFolder((folder) => {
    const { code, out, err } = signet(folder, 'demo', 'offline', '--json')
    const { ok, steps } = JSON.parse(out)
    assert.deepEqual(steps.filter((step: { ok: boolean }) => !step.ok), [], err)
    assert.ok(ok && steps.length >= 28)
    assert.equal(code, 0)
    assert.doesNotMatch(err, /warning/)
  }))
