import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileLogStorage } from '../../backends/log_fs.ts'
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
