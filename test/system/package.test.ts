/** The npm package is made as a release makes it, installed by npm, and run on Node. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import manifest from '../../deno.json' with { type: 'json' }
import { VERSION } from '../../src/cli/version.ts'
import { inFolder } from './_signet.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const skip = !('Deno' in globalThis)
  ? 'made once, by the tests on Deno'
  : process.platform === 'win32'
  ? 'made by a shell script'
  : false

test('the command line knows its version', () => assert.equal(VERSION, manifest.version))

test(
  'the npm package runs on Node, and brings no library of a backend',
  { skip },
  () =>
    inFolder((folder) => {
      const run = (command: string, ...args: string[]) => {
        const env = { ...process.env, DENO: process.execPath }
        const { status, stdout, stderr } = spawnSync(command, args, {
          cwd: folder,
          encoding: 'utf8',
          env,
        })
        assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`)
        return stdout
      }
      run('bash', join(root, '.ci/pack'), folder)
      writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
      run('npm', 'install', '--no-audit', '--no-fund', './signet.tgz')
      const { dependencies, peerDependenciesMeta } = JSON.parse(
        readFileSync(join(folder, 'node_modules/@signet/signet/package.json'), 'utf8'),
      )
      assert.deepEqual(
        Object.keys(dependencies).filter((name) => /aws|pkcs11|esbuild|workerd/.test(name)),
        [],
      )
      assert.equal(peerDependenciesMeta.pkcs11js.optional, true)

      mkdirSync(join(folder, 'm'))
      writeFileSync(join(folder, 'm/weights.bin'), 'weights')
      const signet = ['node_modules/.bin/signet']
      run('node', ...signet, 'keys', 'new', '--key', 'a.pem', '--passphrase-file', 'pw')
      run('node', ...signet, 'model', 'sign', 'm', '--key', 'a.pem', '--passphrase-file', 'pw')
      assert.match(
        run('node', ...signet, 'model', 'verify', 'm', '--key', 'a.pem'),
        /VERIFIED: 1 ok/,
      )
      writeFileSync(
        join(folder, 'use.js'),
        `import { ALGORITHMS, generateKey, sealModel, streamTree } from '@signet/signet'
       const tree = streamTree(new Map([['a', new Uint8Array(3)]]))
       const key = await generateKey(ALGORITHMS['ML-DSA-65-Ed25519'])
       const { bundles } = await sealModel(tree, [{ key }], { name: 'a' })
       console.log(bundles.length)`,
      )
      assert.equal(run('node', 'use.js').trim(), '1')
    }),
)
