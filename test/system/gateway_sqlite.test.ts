import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sqliteGatewayStore } from '../../backends/gateway_sqlite.ts'
import { isSignetError } from '../../src/errors.ts'
import { gatewayStoreSuite } from '../suites/gateway_store_suite.ts'
import { inTemp } from './_temp.ts'

gatewayStoreSuite('the SQLite store', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-test-'))
  const opened: { close(): void }[] = []
  let now = 0
  return {
    open() {
      const store = sqliteGatewayStore(join(folder, 'gateway.db'), { now: () => now })
      opened.push(store)
      return store
    },
    clock: (time) => void (now = time),
    remove() {
      opened.forEach((store) => store.close())
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

test('sqliteGatewayStore() refuses what a later version wrote, and leaves it as it is', () =>
  inTemp((folder) => {
    const path = join(folder, 'gateway.db')
    sqliteGatewayStore(path).close()
    const database = new DatabaseSync(path)
    database.exec('PRAGMA user_version = 99')
    assert.throws(() => sqliteGatewayStore(path), (error) => isSignetError(error, 'store_version'))
    assert.equal(database.prepare('PRAGMA user_version').get()?.user_version, 99)
    database.close()
  }))

test('sqliteGatewayStore() says when its file is none', () =>
  inTemp((folder) => {
    for (const path of [folder, join(folder, 'none', 'gateway.db')]) {
      assert.throws(() => sqliteGatewayStore(path), (error) => isSignetError(error, 'io_failed'))
    }
  }))

test('sqliteGatewayStore() writes through to the disk at each commit', () =>
  inTemp((folder) => {
    const path = join(folder, 'gateway.db')
    const store = sqliteGatewayStore(path)
    const database = new DatabaseSync(path)
    assert.equal(database.prepare('PRAGMA journal_mode').get()?.journal_mode, 'wal')
    database.close()
    store.close()
  }))
