import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, utf8 } from '../../src/bytes.ts'
import {
  type DataKeyRecord,
  dataKeys,
  type DataKeyScope,
  type DataKeyStore,
  type Kek,
  memoryDataKeys,
  memoryKek,
} from '../../src/keys/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'

const acme: DataKeyScope = { tenant: 'acme', purpose: 'weights' }
const text = utf8('the weights of acme')

async function world() {
  const store = memoryDataKeys()
  const kek = await memoryKek('kek-1')
  return { store, kek, keys: dataKeys({ kek, store, now: () => 1000 }) }
}

/** Puts other records in the place of those of a scope. */
async function replace(
  store: DataKeyStore,
  scope: DataKeyScope,
  edit: (records: readonly DataKeyRecord[]) => readonly DataKeyRecord[],
) {
  const { revision, records } = await store.load(scope)
  assert.ok(await store.save(scope, revision, edit(records)))
}

test('data of a destroyed key are unreadable, those of its neighbours are not', async () => {
  const { store, keys } = await world()
  const first = await keys.encrypt(acme, text)
  const [old] = await keys.list(acme)
  await keys.rotate(acme)
  const second = await keys.encrypt(acme, text)
  const kept = JSON.stringify(await keys.list(acme))
  await keys.destroy(acme, old!.id)
  await refusal({}, keys.decrypt(acme, first), 'key_destroyed')
  assert.deepEqual(await keys.decrypt(acme, second), text)
  // Nothing that is left can open it: the wrapped form is gone from the store.
  const records = await keys.list(acme)
  assert.equal(records[0]!.wrapped, undefined)
  assert.equal(records[0]!.destroyed, 1000)
  assert.ok(!JSON.stringify(records).includes(JSON.parse(kept)[0].wrapped))
  await replace(store, acme, (all) => all.map((one) => ({ ...one, state: 'active' })))
  await refusal({}, keys.decrypt(acme, first), 'key_destroyed')
})

test('destruction is final, refused for the active key, and harmless twice', async () => {
  const { keys } = await world()
  await keys.encrypt(acme, text)
  const [only] = await keys.list(acme)
  await refusal({}, keys.destroy(acme, only!.id), 'usage_invalid')
  await refusal({}, keys.destroy(acme, 'ff'.repeat(16)), 'key_not_found')
  await keys.rotate(acme)
  await keys.destroy(acme, only!.id)
  await keys.destroy(acme, only!.id)
  await keys.rotate(acme)
  assert.deepEqual((await keys.list(acme)).map(({ state }) => state), [
    'destroyed',
    'decrypt-only',
    'active',
  ])
})

test('a record moved to another tenant, purpose, id or version does not open', async () => {
  const { store, keys } = await world()
  const encrypted = await keys.encrypt(acme, text)
  const evil = { tenant: 'evil', purpose: 'weights' }
  const other = { tenant: 'acme', purpose: 'logs' }
  for (const scope of [evil, other]) {
    await refusal({}, keys.decrypt(scope, encrypted), 'key_not_found')
    const { records } = await store.load(acme)
    await replace(store, scope, () => records)
    await refusal({}, keys.decrypt(scope, encrypted), 'key_mismatch')
    await refusal({}, keys.encrypt(scope, text), 'key_mismatch')
  }
  const edits: readonly Partial<DataKeyRecord>[] = [{ version: 2 }, { id: 'ab'.repeat(16) }]
  for (const edit of edits) {
    const scope = { tenant: JSON.stringify(edit), purpose: 'weights' }
    const mine = await keys.encrypt(scope, text)
    await replace(store, scope, ([record]) => [{ ...record!, ...edit }])
    await refusal({}, keys.decrypt(scope, mine), 'key_mismatch', 'key_not_found')
    await refusal({}, keys.encrypt(scope, text), 'key_mismatch')
  }
})

test('altered data, other bound data, and foreign formats are refused', async () => {
  const { keys } = await world()
  const encrypted = await keys.encrypt(acme, text, utf8('layer 1'))
  assert.equal(fromUtf8(await keys.decrypt(acme, encrypted, utf8('layer 1'))), fromUtf8(text))
  await refusal({}, keys.decrypt(acme, encrypted, utf8('layer 2')), 'key_mismatch')
  await refusal({}, keys.decrypt(acme, encrypted), 'key_mismatch')
  for (let at = 0; at < encrypted.length; at++) {
    const altered = encrypted.slice()
    altered[at]! ^= 1
    const decrypting = keys.decrypt(acme, altered, utf8('layer 1'))
    await refusal({}, decrypting, 'key_mismatch', 'key_not_found', 'encoding_invalid')
  }
  await refusal({}, keys.decrypt(acme, encrypted.slice(0, 44)), 'encoding_invalid')
  await refusal({}, keys.decrypt(acme, new Uint8Array()), 'encoding_invalid')
})

test('rotation loses nothing: every version decrypts, the newest encrypts', async () => {
  const { keys } = await world()
  const all: Uint8Array[] = []
  for (let i = 0; i < 5; i++) {
    all.push(await keys.encrypt(acme, utf8(`data ${i}`)))
    const { version, state } = await keys.rotate(acme)
    assert.deepEqual([version, state], [i + 2, 'active'])
  }
  for (const [i, one] of all.entries()) {
    assert.equal(fromUtf8(await keys.decrypt(acme, one)), `data ${i}`)
  }
  assert.equal((await keys.list(acme)).filter(({ state }) => state === 'active').length, 1)
})

test('a new KEK wraps anew what is opened, and the old one can go in the end', async () => {
  const { store, kek, keys } = await world()
  const encrypted = await keys.encrypt(acme, text)
  const unused = { tenant: 'acme', purpose: 'unused' }
  const sleeping = await keys.encrypt(unused, text)
  const next = await memoryKek('kek-2')
  const asked: string[] = []
  const earlier = (id: string): Promise<Kek> => {
    asked.push(id)
    return Promise.resolve({ ...kek, close: () => Promise.resolve() })
  }
  const renewed = dataKeys({ kek: next, store, earlier })
  for (let i = 0; i < 3; i++) assert.deepEqual(await renewed.decrypt(acme, encrypted), text)
  assert.deepEqual(asked, ['kek-1'])
  assert.deepEqual((await renewed.list(acme)).map((record) => record.kek), ['kek-2'])
  assert.deepEqual((await renewed.list(unused)).map((record) => record.kek), ['kek-1'])
  const without = dataKeys({ kek: next, store })
  assert.deepEqual(await without.decrypt(acme, encrypted), text)
  await refusal({}, without.decrypt(unused, sleeping), 'key_not_found')
})

test('rewrapping does not bring back a key that is destroyed meanwhile', async () => {
  const { store, kek, keys } = await world()
  const encrypted = await keys.encrypt(acme, text)
  const [old] = await keys.list(acme)
  await keys.rotate(acme)
  const next = await memoryKek('kek-2')
  const slow: Kek = {
    ...next,
    async wrap(secret, context) {
      await keys.destroy(acme, old!.id)
      return await next.wrap(secret, context)
    },
  }
  const earlier = () => Promise.resolve({ ...kek, close: () => Promise.resolve() })
  await dataKeys({ kek: slow, store, earlier }).decrypt(acme, encrypted)
  assert.equal((await keys.list(acme))[0]!.wrapped, undefined)
  await refusal({}, keys.decrypt(acme, encrypted), 'key_destroyed')
})

test('many at once make one first key, and rotations in a race leave one active key', async () => {
  const { store, kek } = await world()
  const many = Array.from({ length: 8 }, () => dataKeys({ kek, store }))
  const encrypted = await Promise.all(many.map((keys) => keys.encrypt(acme, text)))
  assert.equal((await many[0]!.list(acme)).length, 1)
  await Promise.all(many.map((keys) => keys.rotate(acme)))
  const records = await many[0]!.list(acme)
  assert.equal(records.filter(({ state }) => state === 'active').length, 1)
  assert.deepEqual(records.map(({ version }) => version), records.map((_, i) => i + 1))
  for (const one of encrypted) assert.deepEqual(await many[0]!.decrypt(acme, one), text)
})
