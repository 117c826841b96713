import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { utf8 } from '../../src/bytes.ts'
import { fileLogStorage, realFileSystem } from '../../backends/log_fs.ts'
import { logStorageSuite } from '../suites/log_storage_suite.ts'

logStorageSuite('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-log-'))
  return {
    open: () => fileLogStorage(join(folder, 'log')),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
})

test('a server may read the folder of a log, and nobody else its secrets', {
  skip: process.platform === 'win32' && 'no modes of files here',
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-log-'))
  try {
    const writer = await fileLogStorage(join(folder, 'logs', 'one')).lock()
    await writer.release()
    const modes = ['logs', 'logs/one', 'logs/one/.signet'].map((path) =>
      statSync(join(folder, path)).mode & 0o077
    )
    const plain = 0o077 & ~process.umask()
    assert.deepEqual(modes, [plain, plain, 0])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a publication that failed writes nothing more, so that the next writer is not disturbed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-log-'))
  try {
    const place = join(folder, 'log')
    const disk = {
      ...realFileSystem,
      async rename(...[from, to]: Parameters<typeof fs.rename>) {
        if (String(to).endsWith('tile/0/000')) {
          throw Object.assign(new Error('injected'), { code: 'EIO' })
        }
        await new Promise((resolve) => setTimeout(resolve, 30))
        await fs.rename(from, to)
      },
    }
    const writer = await fileLogStorage(place, { fs: disk }).lock()
    const tiles = Array.from({ length: 41 }, (_, i) => `tile/0/${String(i).padStart(3, '0')}`)
    const names = [...tiles, 'checkpoint']
    const changes = names.map((path) => ({ path, bytes: utf8(path) }))
    await assert.rejects(writer.publish(Promise.resolve(changes)), { code: 'io_failed' })
    await writer.release()
    const there = () => names.filter((path) => existsSync(join(place, path)))
    const before = there()
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.deepEqual(there(), before)
    assert.ok(before.length > 0 && before.length < 40, String(before.length))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
