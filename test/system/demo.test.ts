import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inFolder, signet } from './_signet.ts'

const MODEL = fileURLToPath(
  new URL('../../node_modules/@vladmandic/face-api/model', import.meta.url),
)
const absent = !existsSync(MODEL) && process.env.CI !== 'true' &&
  'the model of the demo is not installed'

test(
  'demo seal keeps every promise on the real model',
  { skip: absent },
  () =>
    inFolder((folder) => {
      const { code, out, err } = signet(folder, 'demo', 'seal', '--model', MODEL, '--json')
      const { ok, steps } = JSON.parse(out)
      assert.deepEqual(steps.filter((step: { ok: boolean }) => !step.ok), [], err)
      assert.ok(ok && steps.length >= 13)
      assert.equal(code, 0)
    }),
)
