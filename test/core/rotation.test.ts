import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, utf8 } from '../../src/bytes.ts'
import {
  appendRotation,
  type Envelope,
  followRotations,
  formatRotations,
  parseRotations,
  ROTATION_TYPE,
  signEnvelope,
} from '../../src/envelope/mod.ts'
import {
  generateKey,
  type Key,
  memberToJson,
  newKeyset,
  primary,
  refusal as keyRefusal,
  revoke,
  rotate,
} from '../../src/keys/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'

/** Three keys of different kinds, and the chain from the first to the last. */
async function history() {
  const keys = await Promise.all(
    [ALGORITHMS.ES256, ALGORITHMS.Ed25519, ALGORITHMS['ML-DSA-65-Ed25519']].map((one) =>
      generateKey(one)
    ),
  ) as [Key, Key, Key]
  const first = await appendRotation([], 'alice', keys[0], keys[1], { issued: 100, until: 200 })
  const chain = await appendRotation(first, 'alice', keys[1], keys[2], { issued: 150 })
  return { keys, chain, known: newKeyset('alice', keys[0].publicKey) }
}

const payloadOf = (envelope: Envelope) => JSON.parse(fromUtf8(envelope.payload))

/** The statement with other content, signed by whoever is named. */
async function forged(content: object, ...keys: Key[]): Promise<Envelope> {
  const payload = utf8(JSON.stringify(content))
  const all = await Promise.all(keys.map((key) => signEnvelope(ROTATION_TYPE, payload, key)))
  return { ...all[0]!, signatures: all.flatMap(({ signatures }) => signatures) }
}

test('whoever trusts the first key follows to the last, whatever the algorithms', async () => {
  const { keys, chain, known } = await history()
  const followed = await followRotations(known, chain)
  assert.equal(primary(followed).key.id, keys[2].publicKey.id)
  assert.deepEqual(followed.members.map(({ status }) => status), [
    'primary',
    'verify-only',
    'verify-only',
  ])
  assert.equal(followed.members[2]!.notAfter, 200)
  assert.equal(followed.members[1]!.notAfter, undefined)
  const read = parseRotations(utf8(formatRotations(chain)))
  const again = await followRotations(known, read)
  assert.deepEqual(again.members.map(memberToJson), followed.members.map(memberToJson))
})

test('who has followed in part goes on, and following twice changes nothing', async () => {
  const { keys, chain, known } = await history()
  const half = await followRotations(known, chain.slice(0, 1))
  assert.equal(primary(half).key.id, keys[1].publicKey.id)
  const whole = await followRotations(half, chain)
  assert.equal(primary(whole).key.id, keys[2].publicKey.id)
  assert.equal(await followRotations(whole, chain), whole)
  const late = newKeyset('alice', keys[1].publicKey)
  assert.equal(primary(await followRotations(late, chain)).key.id, keys[2].publicKey.id)
  const stranger = newKeyset('alice', (await generateKey(ALGORITHMS.ES256)).publicKey)
  assert.equal(await followRotations(stranger, chain), stranger)
})

test('a statement that either key did not sign is refused', async () => {
  const { keys, chain, known } = await history()
  const content = payloadOf(chain[0]!)
  const mallory = await generateKey(ALGORITHMS.ES256)
  for (const signers of [[keys[0]], [keys[1]], [mallory, keys[1]], [keys[0], mallory]]) {
    const one = await forged(content, ...signers)
    await refusal({}, followRotations(known, [one]), 'signature_invalid')
  }
  const altered = { ...chain[0]!, payload: utf8(JSON.stringify({ ...content, until: 999 })) }
  await refusal({}, followRotations(known, [altered]), 'signature_invalid')
})

test('a second successor of one key is refused, by whomever it is made', async () => {
  const { keys, chain, known } = await history()
  const mallory = await generateKey(ALGORITHMS.ES256)
  const fork = await appendRotation([], 'alice', keys[0], mallory, { issued: 101 })
  const followed = await followRotations(known, chain)
  await refusal({}, followRotations(followed, fork), 'rotation_forked')
  const both = [chain[0]!, fork[0]!]
  await refusal({}, followRotations(known, both), 'rotation_malformed')
})

test('a revoked key hands over to nobody, and no rotation brings one back', async () => {
  const { keys, chain, known } = await history()
  await refusal({}, followRotations(revoke(known, keys[0].publicKey.id, 50), chain), 'key_revoked')
  const both = rotate(known, keys[1].publicKey)
  const revoked = revoke(both, keys[0].publicKey.id, 50)
  const back = await appendRotation([], 'alice', keys[1], keys[0], { issued: 160 })
  await refusal({}, followRotations(revoked, back), 'key_revoked')
  assert.throws(() => rotate(revoked, keys[0].publicKey), { code: 'key_revoked' })
  const live = await appendRotation([], 'alice', keys[1], keys[0], { issued: 160 })
  await refusal({}, followRotations(both, live), 'rotation_forked')
})

test('a key hands over within its validity, under its own name', async () => {
  const { keys, chain, known } = await history()
  const bounded = (notBefore: number, notAfter: number) => ({
    ...known,
    members: [{ ...known.members[0]!, notBefore, notAfter }],
  })
  await refusal({}, followRotations(bounded(101, 500), chain), 'key_not_yet_valid')
  await refusal({}, followRotations(bounded(0, 100), chain), 'key_expired')
  const renamed = newKeyset('bob', keys[0].publicKey)
  await refusal({}, followRotations(renamed, chain), 'signer_untrusted')
})

test('a chain with a gap, out of order, or malformed is refused', async () => {
  const { keys, chain, known } = await history()
  const mixed = await appendRotation([], 'alice', keys[1], keys[2], { issued: 150 })
  for (
    const wrong of [[chain[1]!], [chain[1]!, chain[0]!], [chain[0]!, mixed[0]!], [
      chain[0]!,
      chain[0]!,
    ]]
  ) {
    await refusal({}, followRotations(known, wrong), 'rotation_malformed')
  }
  const content = payloadOf(chain[0]!)
  const bent = [
    { ...content, sequence: 0 },
    { ...content, previous: 'x' },
    { ...content, until: 1 },
    { ...content, extra: 1 },
    { ...content, to: { ...content.to, kid: 'another' } },
    { ...content, from: content.to.kid },
  ]
  for (const one of bent) {
    const statement = await forged(one, keys[0], keys[1])
    await refusal({}, followRotations(known, [statement]), 'rotation_malformed')
  }
  const typed = { ...chain[0]!, payloadType: 'application/vnd.in-toto+json' }
  await refusal({}, followRotations(known, [typed]), 'rotation_malformed')
  for (const file of ['', '{}', '{"format":"signet-rotations-v1","rotations":[{}]}']) {
    assert.throws(() => parseRotations(utf8(file)), { name: 'SignetError' })
  }
})

test('a chain that lost a key on its way begins anew', async () => {
  const { keys, chain } = await history()
  const fresh = await generateKey(ALGORITHMS.ES256)
  const next = await generateKey(ALGORITHMS.ES256)
  const again = await appendRotation(chain, 'alice', fresh, next, { issued: 300 })
  assert.equal(again.length, 1)
  const known = newKeyset('alice', fresh.publicKey)
  assert.equal(primary(await followRotations(known, again)).key.id, next.publicKey.id)
  assert.equal((await appendRotation(chain, 'alice', keys[2], next, { issued: 300 })).length, 3)
})

test('a revoked key counts for what was proved to be there before, and for nothing else', async () => {
  const { keys, known } = await history()
  const revoked = revoke(known, keys[0].publicKey.id, 100)
  const member = { ...revoked.members[0]!, notBefore: 10, notAfter: 90 }
  const code = (now: number, provenAt?: number) => keyRefusal(member, now, provenAt)?.code
  assert.equal(code(50), 'key_revoked')
  assert.equal(code(500), 'key_revoked')
  assert.equal(code(500, 100), 'key_revoked')
  assert.equal(code(500, 95), 'key_expired')
  assert.equal(code(500, 5), 'key_not_yet_valid')
  assert.equal(code(500, 50), undefined)
})
