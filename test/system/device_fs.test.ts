import assert from 'node:assert/strict'
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileDeviceStorage } from '../../backends/device_fs.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { openDevice, syncDevice } from '../../src/grants/mod.ts'
import type { Key } from '../../src/keys/mod.ts'
import { syncServer } from '../core/_sync_server.ts'
import { makeBundle, newKey, T0, trusted } from '../core/_devices.ts'
import { inTemp } from './_temp.ts'

const READ = 'calendar:read'

function open(folder: string, key: Key) {
  return openDevice({
    key,
    storage: fileDeviceStorage(join(folder, 'state')),
    log: fileLogStorage(join(folder, 'log')),
    trusted,
    clock: () => (T0 + 10) * 1000,
  })
}

test('states are whole or not at all, two of them, for their owner only, and nothing is left over', () =>
  inTemp(async (root) => {
    const folder = join(root, 'deep', 'state')
    const storage = fileDeviceStorage(folder)
    assert.deepEqual(await storage.load(), [])
    const bytes = (n: number) => new Uint8Array(1000).fill(n)
    for (let n = 1; n <= 5; n++) await storage.save(n, bytes(n))
    assert.deepEqual((await storage.load()).map((state) => state[0]).sort(), [4, 5])
    assert.deepEqual(readdirSync(folder).sort(), ['state.0', 'state.1'])
    if (process.platform === 'win32') return
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    for (const name of readdirSync(folder)) {
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
    }
  }))

test('states that cannot be written or read are io errors, and links are not followed', () =>
  inTemp(async (root) => {
    writeFileSync(join(root, 'file'), 'x')
    await assert.rejects(fileDeviceStorage(join(root, 'file')).save(1, new Uint8Array(5)), {
      code: 'io_failed',
    })
    const storage = fileDeviceStorage(root)
    symlinkSync(join(root, 'file'), join(root, 'state.1'))
    await assert.rejects(storage.save(1, new Uint8Array(5)), { code: 'io_failed' })
    assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'x')
    if (process.getuid?.() !== 0) {
      chmodSync(root, 0o500)
      await assert.rejects(storage.save(2, new Uint8Array(5)), { code: 'io_failed' })
      chmodSync(root, 0o700)
    }
  }))

test('a device on disk: a state torn at any length gives way to the one before, and acting goes on', () =>
  inTemp(async (folder) => {
    const key = await newKey()
    const device = await open(folder, key)
    await device.enroll(await makeBundle(key))
    await device.act(READ, {}, () => {})
    await device.heard({ serverTime: T0 + 10 })
    await device.close()
    const newest = join(folder, 'state', 'state.0')
    const whole = readFileSync(newest)
    for (const length of [0, 3, 8, 60, whole.length - 1]) {
      truncateSync(newest, length)
      const again = await open(folder, key)
      assert.ok(again.torn && again.bundle?.generation === 1)
      await again.act(READ, {}, () => {})
      await again.close()
      writeFileSync(newest, whole)
    }
  }))

test('a log torn at its end tells so, and the device counts on', () =>
  inTemp(async (folder) => {
    const key = await newKey()
    const device = await open(folder, key)
    await device.enroll(
      await makeBundle(key, { terms: { limits: { '*': { calls: { max: 3 } } } } }),
    )
    await device.act(READ, {}, () => {})
    await device.act(READ, {}, () => {})
    await device.close()
    for (const name of ['journal.0', 'journal.1']) {
      const path = join(folder, 'log', '.signet', name)
      assert.ok(existsSync(path))
      writeFileSync(path, 'SGJ1 half a frame', { flag: 'a' })
    }
    const again = await open(folder, key)
    assert.ok(again.log!.recovery.cut > 0)
    await again.act(READ, {}, () => {})
    await assert.rejects(again.act(READ, {}, () => {}), { code: 'calls_exhausted' })
    await again.close()
  }))

test('a device that was copied with its key forks its log, and the second to sync is told', () =>
  inTemp(async (root) => {
    const key = await newKey()
    const [folder, copy] = [join(root, 'device'), join(root, 'copy')]
    const device = await open(folder, key)
    await device.enroll(await makeBundle(key))
    await device.act(READ, {}, () => {})
    await device.close()
    cpSync(folder, copy, { recursive: true })
    const { fetch, store } = syncServer(key.publicKey, 'grants.example/devices/1', T0 + 10)
    const one = await open(folder, key)
    for (let i = 0; i < 3; i++) await one.act(READ, { i }, () => {})
    await syncDevice(one, { fetch })
    await one.close()
    const had = store.entries.length
    for (const actions of [1, 9]) {
      const other = await open(copy, key)
      for (let i = 0; i < actions; i++) await other.act(READ, { other: i }, () => {})
      await assert.rejects(syncDevice(other, { fetch }), { code: 'log_forked' })
      assert.equal(store.entries.length, had)
      await other.close()
    }
  }))
