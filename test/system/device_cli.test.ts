import assert from 'node:assert/strict'
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { ISSUER, newKey } from '../core/_devices.ts'
import { onStage, run, SECRET } from './_device_stage.ts'

test('bundle: what is wrong ends in the exit code of its kind, and leaves no device behind', () =>
  onStage(async ({ folder, url, sync, bundle, fails }) => {
    const pull = ['bundle', 'pull', url, '--device', 'agent', ...SECRET]
    await fails(1, 'usage_invalid', ...pull)
    await fails(1, 'usage_invalid', ...pull, '--key', 'd.pem')
    await fails(6, 'device_unenrolled', 'bundle', 'status', 'agent', ...SECRET)
    await fails(6, 'device_unenrolled', 'sync', 'agent', ...SECRET)
    const first = [...pull, '--key', 'd.pem', '--pin', 'pins.json']
    sync.refreshed = () => Promise.resolve({ bundles: [] })
    await fails(6, 'device_unenrolled', ...first)
    sync.refreshed = async () => ({
      bundles: [{ bundle_id: '1', bundle: await bundle({ signer: await newKey() }) }],
    })
    await fails(4, 'signer_untrusted', ...first)
    const both = async () => ({
      bundles: [{ bundle_id: 'a', bundle: await bundle() }, {
        bundle_id: 'b',
        bundle: await bundle(),
      }],
    })
    sync.refreshed = both
    const { err } = await fails(1, 'usage_invalid', ...first)
    assert.match(err, /--bundle a, --bundle b/)
    sync.before = () => new Response('', { status: 401 })
    await fails(6, 'sync_refused', ...first)
    writeFileSync(join(folder, 'b.jwt'), await bundle({ issuer: ISSUER }))
    await fails(4, 'signer_untrusted', ...first, '--file', 'b.jwt')
    await fails(6, 'device_unenrolled', 'bundle', 'status', 'agent', ...SECRET)
  }))

test('bundle and sync: pull, status, sync, refresh, and a revocation that arrives', () =>
  onStage(async ({ folder, url, sync, bundle, ok, fails }) => {
    sync.refreshed = async () => ({ bundles: [{ bundle_id: '1', bundle: await bundle() }] })
    const pulled = await ok(
      'bundle',
      'pull',
      `${url}/`,
      '--device',
      'agent',
      '--key',
      'd.pem',
      '--pin',
      'pins.json',
      ...SECRET,
    )
    assert.match(pulled.out, /^may act\n/)
    if (process.platform !== 'win32') {
      assert.equal(statSync(join(folder, 'agent', 'device.json')).mode & 0o777, 0o600)
    }
    const status = await ok('bundle', 'status', 'agent', '--json', ...SECRET)
    const report = JSON.parse(status.out)
    assert.deepEqual([report.ok, report.bundle.generation], [true, 1])
    assert.deepEqual(report.tools, ['calendar:read', 'mail:send'])
    const sent = JSON.parse((await ok('sync', 'agent', '--json', ...SECRET)).out)
    assert.deepEqual([sent.ok, sent.sent], [true, sync.store.entries.length])
    assert.ok(sent.sent >= 2)
    sync.refreshed = async () => ({
      bundle: await bundle({ generation: 2 }),
      status: { state: 'active' },
    })
    assert.match((await ok('bundle', 'refresh', 'agent', ...SECRET)).out, /generation 2/)
    // Imported from a file, an older one is no way back.
    writeFileSync(join(folder, 'old.jwt'), await bundle({ generation: 1 }))
    await fails(
      5,
      'bundle_rolled_back',
      'bundle',
      'pull',
      url,
      '--device',
      'agent',
      '--file',
      'old.jwt',
      ...SECRET,
    )
    sync.status = { state: 'revoked', at: sync.now, reason: 'lost' }
    const over = await run(folder, 'sync', 'agent', ...SECRET)
    assert.equal(over.code, 6, over.err)
    assert.match(over.out, /the bundle was revoked: lost/)
    await fails(6, 'bundle_revoked', 'bundle', 'status', 'agent', ...SECRET)
  }))

test('a bundle without an end that a calendar knows is shown all the same', () =>
  onStage(async ({ url, sync, bundle, ok }) => {
    const expiresAt = 2 ** 53 - 1
    sync.refreshed = async () => ({
      bundles: [{ bundle_id: '1', bundle: await bundle({ expiresAt, keysExpireAt: expiresAt }) }],
    })
    const key = ['--key', 'd.pem', '--pin', 'pins.json', ...SECRET]
    const { out } = await ok('bundle', 'pull', url, '--device', 'agent', ...key)
    assert.match(out, /offline until 9007199254740991/)
  }))
