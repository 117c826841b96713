import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import {
  formatChain,
  issueGrant,
  narrowGrant,
  parseChain,
  verifyGrant,
} from '../../src/grants/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'

const NOW = 1_800_000_000
const ISSUER = 'https://auth.example.com'

async function keys(count: number): Promise<Key[]> {
  return await Promise.all(Array.from({ length: count }, () => generateKey(ALGORITHMS.Ed25519)))
}

test('a grant is issued, narrowed offline twice, and verified', async () => {
  const [issuer, alice, bob, carol] = await keys(4) as [Key, Key, Key, Key]
  const trusted = [{ issuer: ISSUER, keys: [issuer.publicKey] }]
  const root = await issueGrant(issuer, {
    issuer: ISSUER,
    holder: alice.publicKey,
    scopes: ['calendar:read'],
    tools: { read_file: { path: { constraint_type: 'one_of', values: ['/a', '/b'] } } },
    audience: ['device-1', 'device-2'],
    lifetime: 3600,
    maxDepth: 3,
  }, { now: NOW })
  const second = await narrowGrant(root, alice, {
    holder: bob.publicKey,
    lifetime: 600,
    audience: 'device-1',
  }, { now: NOW + 5 })
  const third = await narrowGrant(second, bob, {
    holder: carol.publicKey,
    tools: { read_file: { path: { constraint_type: 'exact', value: '/a' } } },
    maxDepth: 2,
  }, { now: NOW + 10 })
  const grant = await verifyGrant(parseChain(formatChain(third)), trusted, {
    now: NOW + 20,
    audience: 'device-1',
  })
  assert.equal(grant.depth, 2)
  assert.equal(grant.maxDepth, 2)
  assert.equal(grant.issuer, ISSUER)
  assert.equal(grant.holder.id, carol.publicKey.id)
  assert.equal(grant.expiresAt, NOW + 605)
  assert.deepEqual(grant.tools, ['read_file'])
  assert.deepEqual(grant.scopes, [])
  assert.deepEqual(grant.check('read_file', { path: '/a' }), { allowed: true })
  for (
    const [tool, args, code] of [
      ['read_file', { path: '/b' }, 'argument_denied'],
      ['read_file', {}, 'argument_missing'],
      ['read_file', { path: '/a', mode: 'w' }, 'argument_unexpected'],
      ['read_file', null, 'arguments_malformed'],
      ['calendar:read', {}, 'tool_denied'],
    ] as const
  ) {
    const answer = grant.check(tool, args)
    assert.equal(answer.allowed ? 'allowed' : answer.code, code)
  }
})
