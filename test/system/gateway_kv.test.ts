import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const skip = 'Deno' in globalThis ? false : 'Deno KV is in Deno only'

test(
  'kvGatewayStore() does over a real Deno KV what every store of a gateway must do',
  { skip },
  () => {
    const child = fileURLToPath(new URL('./_gateway_kv_child.ts', import.meta.url))
    const flags = ['test', '-A', '--unstable-kv', '--no-check', child]
    const { status, stdout, stderr } = spawnSync(process.execPath, flags, {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    })
    assert.equal(status, 0, stdout + stderr)
    assert.match(stdout, /1[0-9] passed \| 0 failed/)
  },
)
