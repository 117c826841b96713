/** The single binary is built as `deno task build` builds it, and does the main job. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inFolder } from './_signet.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const skip = !('Deno' in globalThis) && 'built once, by the tests on Deno'

test(
  'the single binary makes a key, seals with worker threads, and tells what changed',
  { skip },
  () =>
    inFolder((folder) => {
      const binary = join(folder, 'signet')
      const runtime = ['run', '-A', join(root, 'test/runtime.ts')]
      const build = ['bun', 'build', '--compile', '--outfile', binary, 'cli.ts']
      const built = spawnSync(process.execPath, [...runtime, ...build], {
        cwd: root,
        encoding: 'utf8',
      })
      assert.equal(built.status, 0, built.stderr)
      const run = (...args: string[]) => {
        const { status, stdout, stderr } = spawnSync(binary, args, {
          cwd: folder,
          encoding: 'utf8',
        })
        return { status, text: stdout + stderr }
      }
      const steps = (...args: string[]) => {
        const { status, text } = run(...args)
        assert.equal(status, 0, text)
      }
      mkdirSync(join(folder, 'm'))
      // Enough to wake the worker threads, whose code a binary must carry in itself.
      for (const name of ['a', 'b']) {
        writeFileSync(join(folder, 'm', name), new Uint8Array(40 << 20))
      }
      steps('keys', 'new', '--key', 'a.pem', '--passphrase-file', 'pw')
      steps('model', 'sign', 'm', '--key', 'a.pem', '--passphrase-file', 'pw')
      steps('model', 'verify', 'm', '--key', 'a.pem')
      assert.match(run('doctor').text, /Bun /)
      writeFileSync(join(folder, 'm/a'), 'x')
      const { status, text } = run('model', 'verify', 'm', '--key', 'a.pem')
      assert.equal(status, 5, text)
      assert.match(text, /changed +a/)
    }),
)
