/** Rotations inside a publishers list: what hands over to whom, and what does not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { appendRotation, type Envelope } from '../../src/envelope/mod.ts'
import { generateKey, type KeysetMember } from '../../src/keys/mod.ts'
import {
  addPublisher,
  mergeKeyset,
  newPublishers,
  type PublishersDocument,
  revokeKey,
  sealModel,
  signPublishers,
  streamTree,
  trustFollowing,
  verifyModel,
  verifyPublishers,
} from '../../src/models/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'

const NOW = 1_800_000_000
const make = () => generateKey(ALGORITHMS['Ed25519'])
const [owner, one, two, three, other, thief] = await Promise.all(
  [make(), make(), make(), make(), make(), make()],
)
const primary = (key: typeof one): KeysetMember => ({ key: key.publicKey, status: 'primary' })
const bare = newPublishers({ name: 'list', owners: [owner.publicKey], issued: NOW })
const document = addPublisher(
  addPublisher(bare, { name: 'Alice Ltd', members: [primary(one)] }),
  { name: 'Bob', members: [primary(other)] },
)
const verified = async (list: PublishersDocument) =>
  await verifyPublishers(await signPublishers(list, [owner]), {
    owners: [owner.publicKey],
    now: NOW,
  })
const follow = async (list: PublishersDocument, ...chains: Envelope[][]) =>
  await trustFollowing(await verified(list), chains, NOW)
const hand = (chain: readonly Envelope[], from: typeof one, to: typeof one, until?: number) =>
  appendRotation(chain, 'alice', from, to, { issued: NOW - 100, until })
const first = await hand([], one, two, NOW + 1000)
const chain = await hand(first, two, three)

const tree = () => streamTree(new Map([['a', new Uint8Array(3)]]))
/** Whether a seal by a key counts. */
async function counts(trust: Awaited<ReturnType<typeof follow>>, key: typeof one) {
  const { bundles } = await sealModel(tree(), [{ key }], { name: 'a' })
  return await verifyModel([{ name: 'a.sig', bytes: bundles[0]! }], tree(), trust, {
    now: NOW,
  }).then(({ bundles }) => bundles[0]?.signer?.publisher, (error) => error.code)
}

test('a publisher who rotated twice seals with the newest key, under the name in the list', async () => {
  const without = await follow(document)
  assert.equal(await counts(without, three), 'signer_untrusted')
  const trust = await follow(document, chain)
  for (const key of [one, two, three]) assert.equal(await counts(trust, key), 'Alice Ltd')
  assert.equal(await counts(trust, other), 'Bob')
  assert.equal(await counts(trust, thief), 'signer_untrusted')
  const ended = trust.signers.find(({ key }) => key.id === one.publicKey.id)
  assert.equal(ended?.notAfter, NOW + 1000, 'the old key ends when its statement says')
})

test('what the list took in already is passed over, and the rest is followed', async () => {
  const newer = mergeKeyset(document, {
    name: 'Alice Ltd',
    members: [primary(two), { key: one.publicKey, status: 'verify-only' }],
  })
  assert.equal(await counts(await follow(newer, chain), three), 'Alice Ltd')
  assert.equal(await counts(await follow(newer, first), three), 'signer_untrusted')
})

test('nobody hands over who was revoked, who has ended, or who is another', async () => {
  const strangers = await hand([], thief, three)
  await refusal({}, follow(document, strangers), 'signer_untrusted')
  await refusal({}, follow(document, []), 'signer_untrusted')
  const revoked = revokeKey(document, one.publicKey.id, NOW)
  await refusal({}, follow(revoked, chain), 'key_revoked')
  // The statement is older than the end, or says so: the end counts all the same.
  const ended = (member: Partial<KeysetMember>) =>
    addPublisher(bare, { name: 'A', members: [{ ...primary(one), ...member }] })
  await refusal({}, follow(ended({ notAfter: NOW - 50 }), chain), 'key_expired')
  await refusal({}, follow(ended({ notAfter: NOW - 150 }), chain), 'key_expired')
  await refusal({}, follow(ended({ notBefore: NOW - 50 }), chain), 'key_not_yet_valid')
  // A forged signature of the old key.
  const [statement] = first
  const signatures = statement!.signatures.map((one) => ({
    ...one,
    signature: one.signature.map((b) => b ^ 1),
  }))
  await refusal({}, follow(document, [{ ...statement!, signatures }]), 'signature_invalid')
})

test('a thief of an old key cannot hand it over a second time, nor to a key of another publisher', async () => {
  const stolen = await hand([], one, thief)
  await refusal({}, follow(document, chain, stolen), 'rotation_forked')
  const newer = mergeKeyset(document, {
    name: 'Alice Ltd',
    members: [primary(two), { key: one.publicKey, status: 'verify-only' }],
  })
  await refusal({}, follow(newer, stolen), 'rotation_forked')
  const bobs = await hand([], one, other)
  await refusal({}, follow(document, bobs), 'publishers_malformed')
})
