/** Keysets: what a file may say, and what rotation and revocation make of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { type ErrorCode, SignetError } from '../../src/errors.ts'
import { type JsonValue, parseJson } from '../../src/json.ts'
import {
  formatJwks,
  formatKeyset,
  generateKey,
  type Keyset,
  type KeysetMember,
  newKeyset,
  parseKeyset,
  primary,
  type PublicKey,
  readPublicKeys,
  refusal,
  revoke,
  rotate,
} from '../../src/keys/mod.ts'

const newKey = async () => (await generateKey(ALGORITHMS['Ed25519'])).publicKey
const [A, B, C] = [await newKey(), await newKey(), await newKey()]

const member = (key: PublicKey, more: object = {}) => ({
  ...key.jwk,
  kid: key.id,
  use: 'sig',
  status: 'verify-only',
  ...more,
})
const file = (...keys: unknown[]) => JSON.stringify({ name: 'me', keys })

async function refuses(code: ErrorCode, cases: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(cases)) {
    await assert.rejects(parseKeyset(text), { code }, name)
  }
}

const states = ({ members }: Keyset) => members.map(({ status }) => status)

test('parseKeyset() refuses what is no keyset', async () => {
  await refuses('keyset_malformed', {
    'a list': '[]',
    'a text': '"keyset"',
    'null': 'null',
    'no keys': '{"name":"me"}',
    'no name': JSON.stringify({ keys: [member(A)] }),
    'an empty name': JSON.stringify({ name: '', keys: [member(A)] }),
    'a name too long': JSON.stringify({ name: 'x'.repeat(201), keys: [member(A)] }),
    'a name that is none': JSON.stringify({ name: 1, keys: [member(A)] }),
    'no key at all': file(),
    'too many keys': file(...new Array(1001).fill(member(A))),
    'keys that are no list': JSON.stringify({ name: 'me', keys: { 0: member(A) } }),
    'an unknown member': JSON.stringify({ name: 'me', keys: [member(A)], admin: true }),
    'a member __proto__': `{"name":"me","keys":[${JSON.stringify(member(A))}],"__proto__":{}}`,
    'a key that is none': file('key'),
    'a key that is null': file(null),
    'a key that is a list': file([member(A)]),
  })
  await refuses('json_duplicate_key', { 'a name twice': '{"name":"a","name":"b","keys":[]}' })
  await refuses('json_malformed', { 'nothing': '' })
})

test('parseKeyset() refuses members that it cannot believe', async () => {
  await refuses('keyset_malformed', {
    'no kid': file({ ...member(A), kid: undefined }),
    'another kid': file(member(A, { kid: B.id })),
    'a kid that is none': file(member(A, { kid: 1 })),
    'no status': file({ ...member(A), status: undefined }),
    'an unknown status': file(member(A, { status: 'enabled' })),
    'a status by inheritance': file(member(A, { status: 'constructor' })),
    'a status in a list': file(member(A, { status: ['primary'] })),
    'a time that is text': file(member(A, { nbf: '2026-01-01' })),
    'a time before 1970': file(member(A, { exp: -1 })),
    'a time with a fraction': file(member(A, { exp: 1.5 })),
    'a time beyond numbers': file(member(A, { exp: 1e300 })),
    'a time of null': file(member(A, { exp: null })),
    'a URI that is none': file(member(A, { key: 1 })),
    'a key twice': file(member(A), member(A)),
    'a key twice, once revoked': file(member(A), member(A, { status: 'revoked', revoked_at: 1 })),
    'two primary keys': file(member(A, { status: 'primary' }), member(B, { status: 'primary' })),
    'revoked, nobody knows when': file(member(A, { status: 'revoked' })),
    'revoked and in use': file(member(A, { revoked_at: 1 })),
    'revoked and primary': file(member(A, { status: 'primary', revoked_at: 1 })),
    'a private key': file(member(A, { d: A.jwk.x })),
  })
  await refuses('jwk_malformed', {
    'a key for encryption': file(member(A, { use: 'enc' })),
    'a key that is cut': file(member(A, { x: 'AAAA' })),
    'another algorithm': file(member(A, { alg: 'ES256' })),
  })
  await refuses('algorithm_unsupported', {
    'an unknown key type': file(member(A, { kty: '__proto__' })),
    'an unknown curve': file(member(A, { crv: 'X25519' })),
  })
  await refuses('key_malformed', {
    'a point under which anybody signs': file(member(A, { x: 'A'.repeat(43) })),
  })
})

test('parseKeyset() throws nothing but SignetError, and takes back what it wrote', async () => {
  const value = fc.jsonValue() as fc.Arbitrary<JsonValue>
  const change = fc.tuple(
    fc.constantFrom('kid', 'status', 'nbf', 'exp', 'revoked_at', 'key', 'x', 'crv', '__proto__'),
    value,
  )
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 3 }), async (changes) => {
      const text = file(member(A, Object.fromEntries(changes)), member(B, { status: 'primary' }))
      try {
        const keyset = await parseKeyset(text)
        assert.equal(formatKeyset(await parseKeyset(formatKeyset(keyset))), formatKeyset(keyset))
      } catch (error) {
        assert.ok(error instanceof SignetError, String(error))
      }
    }),
    { numRuns: 200 },
  )
})

test('formatKeyset() and parseKeyset() carry all that there is', async () => {
  const keyset: Keyset = {
    name: 'Ünïcode "name"',
    members: [
      { key: A, status: 'primary', notBefore: 1, notAfter: 2, uri: 'file:a.pem' },
      { key: B, status: 'verify-only', notAfter: 0 },
      { key: C, status: 'revoked', revokedAt: 5, uri: 'memory:c' },
    ],
  }
  const again = await parseKeyset(formatKeyset(keyset))
  assert.equal(again.name, keyset.name)
  again.members.forEach(({ key, ...rest }, i) => {
    const { key: expected, ...others } = keyset.members[i]!
    assert.equal(key.id, expected.id)
    assert.deepEqual(rest, { ...blank, ...others })
  })
})

const blank = { notBefore: undefined, notAfter: undefined, revokedAt: undefined, uri: undefined }

test('rotate() makes one new primary key, and the old ones go on to verify', () => {
  const first = newKeyset('me', A, 'file:a.pem')
  const second = rotate(first, B, 'file:b.pem', 1000)
  assert.deepEqual(states(second), ['primary', 'verify-only'])
  assert.equal(primary(second).key, B)
  assert.equal(primary(second).uri, 'file:b.pem')
  assert.equal(second.members[1]!.key, A)
  assert.equal(second.members[1]!.notAfter, 1000)
  const third = rotate(second, C)
  assert.deepEqual(states(third), ['primary', 'verify-only', 'verify-only'])
  assert.equal(third.members[1]!.notAfter, undefined)
  assert.deepEqual(states(first), ['primary'], 'what was there is not changed')
})

test('rotate() never lengthens the life of the old key', () => {
  const dying: Keyset = { name: 'me', members: [{ key: A, status: 'primary', notAfter: 500 }] }
  assert.equal(rotate(dying, B, undefined, 1000).members[1]!.notAfter, 500)
  assert.equal(rotate(dying, B, undefined, 100).members[1]!.notAfter, 100)
  assert.equal(rotate(dying, B).members[1]!.notAfter, 500)
})

test('rotate() does not bring back a key that was there before', () => {
  const revoked = revoke(newKeyset('me', A), A.id, 1)
  assert.throws(() => rotate(revoked, A), { code: 'key_revoked' })
  assert.throws(() => rotate(newKeyset('me', A), A), { code: 'keyset_malformed' })
  assert.throws(() => rotate(rotate(newKeyset('me', A), B), A), { code: 'keyset_malformed' })
})

test('revoke() refuses a key that is not there', () => {
  assert.throws(() => revoke(newKeyset('me', A), B.id, 1), { code: 'key_not_found' })
  assert.throws(() => revoke(newKeyset('me', A), '', 1), { code: 'key_not_found' })
})

test('what is revoked stays revoked, from the earliest time named', () => {
  const keyset = rotate(newKeyset('me', A), B)
  const at = (keyset: Keyset) => keyset.members[1]!.revokedAt
  const revoked = revoke(keyset, A.id, 1000)
  assert.deepEqual(states(revoked), ['primary', 'revoked'])
  assert.equal(at(revoked), 1000)
  assert.equal(at(revoke(revoked, A.id, 2000)), 1000)
  assert.equal(at(revoke(revoked, A.id, 500)), 500)
  assert.deepEqual(states(rotate(revoked, C)), ['primary', 'verify-only', 'revoked'])
  assert.equal(rotate(revoked, C).members[2]!.revokedAt, 1000)
})

test('a keyset whose primary key was revoked signs with none', () => {
  const revoked = revoke(rotate(newKeyset('me', A), B), B.id, 1)
  assert.throws(() => primary(revoked), { code: 'key_not_found' })
  assert.equal(primary(rotate(revoked, C)).key, C)
})

test('refusal() says which keys are believed at a time', () => {
  const of = (more: Partial<KeysetMember>) => ({ key: A, status: 'verify-only' as const, ...more })
  const code = (more: Partial<KeysetMember>, now: number) => refusal(of(more), now)?.code
  assert.equal(code({}, 0), undefined)
  assert.equal(code({ notBefore: 100 }, 99), 'key_not_yet_valid')
  assert.equal(code({ notBefore: 100 }, 100), undefined)
  assert.equal(code({ notAfter: 100 }, 99), undefined)
  assert.equal(code({ notAfter: 100 }, 100), 'key_expired')
  assert.equal(code({ notBefore: 200, notAfter: 100 }, 150), 'key_not_yet_valid')
  assert.equal(code({ notAfter: 0 }, 0), 'key_expired')
  const revoked = { status: 'revoked' as const, revokedAt: 1000 }
  for (const now of [0, 999, 1000, 2000]) assert.equal(code(revoked, now), 'key_revoked')
  // Times that no date has.
  const far = { revokedAt: Number.MAX_SAFE_INTEGER, status: 'revoked' as const }
  assert.equal(code(far, 0), 'key_revoked')
  assert.equal(code({ notBefore: Number.MAX_SAFE_INTEGER }, 0), 'key_not_yet_valid')
  assert.equal(refusal(of(revoked), 0)?.kind, 'trust')
})

test('formatJwks() publishes what verifies, without URIs, statuses or revoked keys', async () => {
  const keyset = revoke(
    rotate(rotate(newKeyset('me', A, 'file:a'), B, 'file:b'), C, 'file:c'),
    A.id,
    1,
  )
  const text = formatJwks(keyset)
  assert.ok(!text.includes('file:') && !text.includes('status') && !text.includes(A.id))
  assert.ok(!text.includes('"me"'))
  const found = await readPublicKeys(text)
  assert.deepEqual(found.map((key) => key.id), [C.id, B.id])
  const { keys } = parseJson(text) as { keys: { kid: string; use: string }[] }
  assert.deepEqual(keys.map(({ kid, use }) => [kid, use]), [[C.id, 'sig'], [B.id, 'sig']])
})
