import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sqliteDataKeys } from '../../backends/data_keys_sqlite.ts'
import { utf8 } from '../../src/bytes.ts'
import { dataKeys, memoryKek } from '../../src/keys/mod.ts'
import { dataKeyStoreSuite } from '../suites/data_key_store_suite.ts'
import { inTemp } from './_temp.ts'

const scope = { tenant: 'acme', purpose: 'weights' }

dataKeyStoreSuite('SQLite store', () => {
  const folder = mkdtempSync(join(tmpdir(), 'signet-data-keys-'))
  const opened: { close(): void }[] = []
  return {
    open() {
      const store = sqliteDataKeys(join(folder, 'keys.db'))
      opened.push(store)
      return store
    },
    remove() {
      for (const store of opened) store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

test('a data key that was destroyed is in no file of the store any more, and its neighbours are', () =>
  inTemp(async (folder) => {
    const path = join(folder, 'keys.db')
    const kek = await memoryKek('kek')
    const open = () => {
      const store = sqliteDataKeys(path)
      return { store, keys: dataKeys({ kek, store }) }
    }
    const first = open()
    const secret = await first.keys.encrypt(scope, utf8('the weights'))
    await first.keys.rotate(scope)
    const kept = await first.keys.encrypt(scope, utf8('other weights'))
    const [old, active] = await first.keys.list(scope)
    const isOnDisk = (text: string) =>
      readdirSync(folder).some((name) => readFileSync(join(folder, name)).includes(text))
    assert.ok(isOnDisk(old!.wrapped!))
    await first.keys.destroy(scope, old!.id)
    assert.ok(!isOnDisk(old!.wrapped!), 'with the store still open')
    first.store.close()
    assert.ok(!isOnDisk(old!.wrapped!) && isOnDisk(active!.wrapped!))
    const second = open()
    await assert.rejects(second.keys.decrypt(scope, secret), { code: 'key_destroyed' })
    assert.deepEqual(await second.keys.decrypt(scope, kept), utf8('other weights'))
    second.store.close()
  }))

test('a database that is none, or holds what are no records, is an error of ours', () =>
  inTemp(async (folder) => {
    const path = join(folder, 'keys.db')
    writeFileSync(path, 'x'.repeat(5000))
    assert.throws(() => sqliteDataKeys(path), { code: 'io_failed' })
    assert.throws(() => sqliteDataKeys(join(folder, 'no', 'keys.db')), { code: 'io_failed' })
    rmSync(path)
    const store = sqliteDataKeys(path)
    for (const tenant of ['a\0b', '\ud800']) {
      await assert.rejects(store.load({ tenant, purpose: '' }), { code: 'encoding_invalid' })
    }
    const database = new DatabaseSync(path)
    const put = database.prepare('INSERT OR REPLACE INTO data_keys VALUES (?, ?, 1, ?)')
    const good = { id: '0'.repeat(32), version: 1, state: 'active', kek: 'k', created: 1 }
    const wrong = [
      'no JSON',
      '{}',
      '[{}]',
      JSON.stringify([{ ...good, state: 'revived' }]),
      JSON.stringify([{ ...good, version: 0 }]),
      JSON.stringify([{ ...good, id: '0' }]),
      JSON.stringify([{ ...good, extra: 1 }]),
    ]
    for (const text of wrong) {
      put.run(scope.tenant, scope.purpose, text)
      await assert.rejects(store.load(scope), { code: 'io_failed', where: path }, text)
    }
    put.run(scope.tenant, scope.purpose, JSON.stringify([good]))
    assert.equal((await store.load(scope)).records.length, 1)
    database.close()
    store.close()
  }))

test('a database of somebody else is io_failed', () =>
  inTemp((folder) => {
    const path = join(folder, 'other.db')
    const database = new DatabaseSync(path)
    database.exec('CREATE TABLE data_keys (x)')
    database.close()
    assert.throws(() => sqliteDataKeys(path), { code: 'io_failed' })
  }))
