import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, memoryGatewayStore, newId, newSecret } from '../../src/gateway/mod.ts'
import { gatewayStoreSuite } from '../suites/gateway_store_suite.ts'

gatewayStoreSuite('the memory store', () => {
  let now = 0
  const store = memoryGatewayStore({ now: () => now })
  return { open: () => store, clock: (time) => void (now = time), remove() {} }
})

test('newId() sorts by time and repeats nothing', () => {
  const early = newId('a_', 1_000)
  assert.match(early, /^a_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.ok(early < newId('a_', 1_001))
  assert.ok(newId('a_', 2 ** 40) < newId('a_', 2 ** 41))
  assert.equal(new Set(Array.from({ length: 100 }, () => newId('', 5))).size, 100)
})

test('newSecret() and digestOf() give 32 bytes each', async () => {
  assert.match(newSecret('x_'), /^x_[\w-]{43}$/)
  assert.notEqual(newSecret(''), newSecret(''))
  assert.equal(await digestOf('abc'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
})
