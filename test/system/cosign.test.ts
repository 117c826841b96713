/**
 * The real cosign with a key of ours. `SIGNET_COSIGN` names the program; it is not among what CI installs:
 * `go install github.com/sigstore/cosign/v3/cmd/cosign@v3.0.4` builds it in a quarter of an hour.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { inFolder, SIGNET, signet } from './_signet.ts'

const cosign = process.env.SIGNET_COSIGN
const skip = cosign === undefined ? 'SIGNET_COSIGN names no cosign' : false
const APART = ['--new-bundle-format=false']

test(
  'cosign signs a blob with a key of ours, and verifies it with and without us',
  { skip },
  async () => {
    await inFolder((folder) => {
      const plugin = join(folder, 'sigstore-kms-signet')
      const words = SIGNET.map((word) => `'${word}'`).join(' ')
      writeFileSync(plugin, `#!/bin/sh\nexec ${words} cosign-plugin --insecure-clear-key "$@"\n`)
      chmodSync(plugin, 0o755)
      const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` }
      const run = (...args: string[]) =>
        spawnSync(cosign!, args, { cwd: folder, env, encoding: 'utf8', timeout: 90_000 })
      const made = signet(folder, 'keys', 'new', '--key', 'key.pem', '--insecure-clear-key')
      assert.equal(made.code, 0, made.err)
      writeFileSync(join(folder, 'blob'), 'blob')
      writeFileSync(join(folder, 'other'), 'other')
      const key = ['--key', `signet://${join(folder, 'key.pem')}`]
      const published = run('public-key', ...key)
      assert.equal(published.status, 0, published.stderr)
      writeFileSync(join(folder, 'pub.pem'), published.stdout)
      const quiet = ['--yes', '--tlog-upload=false', '--use-signing-config=false', ...APART]
      const signed = run('sign-blob', ...key, ...quiet, '--output-signature', 'blob.sig', 'blob')
      assert.equal(signed.status, 0, signed.stderr)
      const verify = ['--insecure-ignore-tlog', ...APART, '--signature', 'blob.sig']
      for (const by of [key, ['--key', 'pub.pem']]) {
        assert.equal(run('verify-blob', ...by, ...verify, 'blob').status, 0)
        assert.notEqual(run('verify-blob', ...by, ...verify, 'other').status, 0)
      }
    })
  },
)
