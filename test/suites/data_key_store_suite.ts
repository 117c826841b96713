/** What every store of data keys must do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/bytes.ts'
import { type DataKeyRecord, dataKeys, type DataKeyStore, memoryKek } from '../../src/keys/mod.ts'

/** A place for one store. */
export interface DataKeyPlace {
  /** The store as a process sees it that just started. */
  open(): DataKeyStore
  /** Removes the place. */
  remove(): void
}

const scope = { tenant: 'acme', purpose: 'weights' }
const record = (version: number): DataKeyRecord => ({
  id: version.toString(16).padStart(32, '0'),
  version,
  state: 'active',
  kek: 'kek',
  wrapped: `wrapped-${version}`,
  created: 1,
})

/** Runs the suite. */
export function dataKeyStoreSuite(name: string, place: () => DataKeyPlace): void {
  const on = (title: string, fn: (place: DataKeyPlace) => Promise<void>) =>
    test(`${name} of data keys: ${title}`, async () => {
      const where = place()
      try {
        await fn(where)
      } finally {
        where.remove()
      }
    })

  on('save refuses what was not read last', async (place) => {
    const store = place.open()
    const none = await store.load(scope)
    assert.deepEqual(none.records, [])
    assert.equal(await store.save(scope, 'another', [record(9)]), false)
    assert.equal(await store.save(scope, `${none.revision}1`, [record(9)]), false)
    assert.equal(await store.save(scope, none.revision, [record(1)]), true)
    assert.equal(await store.save(scope, none.revision, [record(2)]), false)
    const one = await store.load(scope)
    assert.notEqual(one.revision, none.revision)
    assert.equal(await store.save(scope, one.revision, [record(1), record(2)]), true)
    assert.equal(await store.save(scope, one.revision, []), false)
    assert.deepEqual((await place.open().load(scope)).records, [record(1), record(2)])
  })

  on('scopes are kept apart, whatever they are called', async (place) => {
    const store = place.open()
    const scopes = [
      ['a', 'b'],
      ['b', 'a'],
      ['ab', ''],
      ['', 'ab'],
      ['a/b', 'c'],
      ['a', 'b/c'],
      ['a"', "b' OR 1=1 --"],
      ['ä', 'b'],
      ['a\u0308', 'b'],
      ['A', 'b'],
      ['../a', 'b'],
    ].map(([tenant, purpose]) => ({ tenant: tenant!, purpose: purpose! }))
    for (const [i, one] of scopes.entries()) {
      const { revision, records } = await store.load(one)
      assert.deepEqual(records, [], JSON.stringify(one))
      assert.equal(await store.save(one, revision, [record(i + 1)]), true)
    }
    const again = place.open()
    for (const [i, one] of scopes.entries()) {
      assert.deepEqual((await again.load(one)).records, [record(i + 1)], JSON.stringify(one))
    }
  })

  on('of many that save at once one wins, and what it wrote stays', async (place) => {
    const stores = [place.open(), place.open()]
    const { revision } = await stores[0]!.load(scope)
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => stores[i % 2]!.save(scope, revision, [record(i + 1)])),
    )
    assert.equal(results.filter((won) => won).length, 1)
    const { records } = await place.open().load(scope)
    assert.deepEqual(records, [record(results.indexOf(true) + 1)])
  })

  on('rotations of many at once lose no key', async (place) => {
    const kek = await memoryKek('kek')
    const keys = [place.open(), place.open()].map((store) => dataKeys({ kek, store }))
    const secrets = await Promise.all(Array.from({ length: 8 }, async (_, i) => {
      const encrypted = await keys[i % 2]!.encrypt(scope, utf8(`secret ${i}`))
      await keys[i % 2]!.rotate(scope)
      return encrypted
    }))
    const later = dataKeys({ kek, store: place.open() })
    for (const [i, secret] of secrets.entries()) {
      assert.deepEqual(await later.decrypt(scope, secret), utf8(`secret ${i}`))
    }
    const all = await later.list(scope)
    assert.deepEqual(all.map(({ version }) => version), all.map((_, i) => i + 1))
    assert.equal(all.filter(({ state }) => state === 'active').length, 1)
  })
}
