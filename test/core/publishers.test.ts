import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addKey,
  addOwner,
  addPublisher,
  addRoot,
  ALGORITHMS,
  type Bytes,
  generateKey,
  importKey,
  type Key,
  type KeysetMember,
  mergeKeyset,
  newKeyset,
  newPublishers,
  type PublishersAnchor,
  type PublishersDocument,
  removeRoot,
  revisePublishers,
  revokeKey,
  rotate,
  sealModel,
  signEnvelope,
  SignetError,
  signPublishers,
  streamTree,
  trustOf,
  verifyModel,
  verifyPublishers,
  type VerifyPublishersOptions,
} from '../../mod.ts'
import { fromBase64, toHex, utf8 } from '../../src/bytes.ts'
import { fromPkcs8 } from '../../src/crypto/mod.ts'
import { envelopeToJson, parseEnvelope } from '../../src/envelope/mod.ts'
import { canonicalBytes, type JsonObject, parseJson } from '../../src/json.ts'
import {
  MAX_PUBLISHERS_BYTES,
  PUBLISHERS_TYPE,
  type PublishersState,
  unverifiedPublishers,
} from '../../src/models/mod.ts'
import { formatPublishersState, parsePublishersState } from '../../src/models/mod.ts'
import certificates from '../vectors/certificates.json' with { type: 'json' }

const NOW = 1_800_000_000
const make = (name: 'Ed25519' | 'ES256' = 'Ed25519') => generateKey(ALGORITHMS[name])
const [owner, heir, stranger, alice, bob, carol] = await Promise.all([
  make(),
  make('ES256'),
  make(),
  make(),
  make('ES256'),
  make(),
])
const root = Uint8Array.of(0x30, 3, 2, 1, 5)

const empty = newPublishers({
  name: 'models of Acme',
  owners: [owner.publicKey],
  issued: NOW - 1000,
  expires: NOW + 1000,
})
const base = addRoot(
  addKey(
    addPublisher(empty, newKeyset('Alice', alice.publicKey, 'file:alice.pem')),
    'Bob',
    bob.publicKey,
    {
      notBefore: 5,
    },
  ),
  'Bob',
  root,
)
const signed = await signPublishers(base, [owner])
const pinned = { owners: [owner.publicKey], now: NOW }

/** Any payload, signed by anybody, as a file. */
async function signedRaw(payload: Bytes, keys: readonly Key[], type = PUBLISHERS_TYPE) {
  const signatures = []
  for (const key of keys) signatures.push(...(await signEnvelope(type, payload, key)).signatures)
  return utf8(JSON.stringify(envelopeToJson({ payloadType: type, payload, signatures })))
}

function payloadOf(file: Uint8Array): JsonObject {
  return parseJson(parseEnvelope(parseJson(file)).payload) as JsonObject
}

const refuses = (
  file: Uint8Array | Promise<Uint8Array>,
  anchor: PublishersAnchor & VerifyPublishersOptions,
  code: string,
  message?: RegExp,
) =>
  assert.rejects(async () => await verifyPublishers(await file, anchor), (error: unknown) => {
    assert.ok(error instanceof SignetError, String(error))
    assert.equal(error.code, code, error.message)
    if (message) assert.match(error.message, message)
    return true
  })

test('verifyPublishers() refuses a list that no trusted owner signed', async () => {
  const forged = { ...base, owners: [{ key: stranger.publicKey, status: 'primary' as const }] }
  await refuses(signPublishers(forged, [stranger]), pinned, 'publishers_untrusted')
  await refuses(signed, { owners: [], now: NOW }, 'publishers_untrusted')
  await refuses(signed, { owners: [stranger.publicKey], now: NOW }, 'publishers_untrusted')
  // a publisher's own signature is no owner's
  const payload = parseEnvelope(parseJson(signed)).payload
  await refuses(signedRaw(payload, [alice]), pinned, 'publishers_untrusted')
})

test('verifyPublishers() refuses a list whose own owners did not sign it', async () => {
  const given = { ...base, owners: [{ key: heir.publicKey, status: 'primary' as const }] }
  const file = await signPublishers(given, [heir])
  const payload = parseEnvelope(parseJson(file)).payload
  await refuses(signedRaw(payload, [owner]), pinned, 'publishers_untrusted', /none of the owners/)
})

test('verifyPublishers() refuses another type under the same signature', async () => {
  const payload = canonicalBytes(payloadOf(signed))
  await refuses(
    signedRaw(payload, [owner], 'application/vnd.in-toto+json'),
    pinned,
    'payload_type',
  )
  // the type is signed: naming another one afterwards breaks the signature
  const other = utf8(
    new TextDecoder().decode(await signedRaw(payload, [owner], 'application/json'))
      .replace('application/json', PUBLISHERS_TYPE),
  )
  await refuses(other, pinned, 'publishers_untrusted')
})

test('verifyPublishers() refuses a list that has expired or comes from the future', async () => {
  await refuses(signed, { ...pinned, now: NOW + 1000 }, 'publishers_expired')
  await refuses(signed, { ...pinned, now: NOW - 1301 }, 'publishers_untrusted', /future/)
  await refuses(signed, { ...pinned, now: NOW - 1301, skipExpiry: true }, 'publishers_untrusted')
  await verifyPublishers(signed, { ...pinned, now: NOW + 1000, skipExpiry: true })
  await verifyPublishers(signed, { ...pinned, now: NOW + 999 })
  await verifyPublishers(signed, { ...pinned, now: NOW - 1300 })
})

test('verifyPublishers() refuses an older version, and another list of the same version', async () => {
  const second = await signPublishers(revisePublishers(base, { issued: NOW }), [owner])
  const { state } = await verifyPublishers(second, pinned)
  assert.equal(state.version, 2)
  const anchor = { previous: state, now: NOW }
  await refuses(signed, anchor, 'publishers_rollback')
  const twin = revisePublishers(base, { issued: NOW, threshold: 1 })
  await refuses(signPublishers(twin, [owner]), anchor, 'publishers_rollback', /another version 2/)
  assert.equal((await verifyPublishers(second, anchor)).state.digest, state.digest)
})

test('verifyPublishers() refuses another list of the same owner', async () => {
  const { state } = await verifyPublishers(signed, pinned)
  const staging = { ...base, name: 'staging', version: 9 }
  await refuses(
    signPublishers(staging, [owner]),
    { previous: state, now: NOW },
    'publishers_untrusted',
    /staging/,
  )
})

test('an owner hands over to another only when both sign', async () => {
  const { state } = await verifyPublishers(signed, pinned)
  const anchor = { previous: state, now: NOW }
  const given = revokeKey(
    addOwner(revisePublishers(base, { issued: NOW }), heir.publicKey),
    owner.publicKey.id,
    NOW,
  )
  await assert.rejects(signPublishers(given, [owner]), { code: 'usage_invalid' })
  await refuses(signPublishers(given, [heir]), anchor, 'publishers_untrusted')
  const file = await signPublishers(given, [owner, heir])
  const next = await verifyPublishers(file, anchor)
  assert.equal(next.owner, owner.publicKey.id)
  // whoever is told of the heir alone can begin here
  await verifyPublishers(file, { owners: [heir.publicKey], now: NOW })
  // the old owner is out, even signing for a list that names it again
  const anchored = { previous: next.state, now: NOW }
  const back = { ...revisePublishers(base, { issued: NOW }), version: 3 }
  await refuses(signPublishers(back, [owner]), anchored, 'publishers_untrusted')
  const third = revisePublishers(given, { issued: NOW })
  assert.equal(
    (await verifyPublishers(await signPublishers(third, [heir]), anchored)).owner,
    heir.publicKey.id,
  )
})

test('an owner signs only while it is valid', async () => {
  const { state } = await verifyPublishers(signed, pinned)
  const next = signPublishers(revisePublishers(base, { issued: NOW }), [owner])
  for (const time of [{ notAfter: NOW }, { notBefore: NOW + 1 }]) {
    const owners = [{ key: owner.publicKey, status: 'primary' as const, ...time }]
    await refuses(next, { previous: { ...state, owners }, now: NOW }, 'publishers_untrusted')
  }
})

type Json = Record<string, unknown>
type Publishers = [
  { name: string; keys: Json[]; roots?: string[] },
  { name: string; keys: Json[]; roots: string[] },
]
interface Loose extends Json {
  owners: Json[]
  publishers: Publishers
}

const BROKEN: Readonly<Record<string, (list: Loose) => unknown>> = {
  'no object': () => [],
  'no name': (list) => delete list.name,
  'an empty name': (list) => (list.name = ''),
  'a name that begins with a space': (list) => (list.name = ' x'),
  'a name that turns the direction of writing': (list) => (list.name = 'a\u202eb'),
  'a line break in a name': (list) => (list.publishers[0].name = 'a\nb'),
  'a publisher called like an algorithm': (list) => (list.publishers[0].name = 'ES256'),
  'a very long name': (list) => (list.publishers[0].name = 'a'.repeat(201)),
  'version 0': (list) => (list.version = 0),
  'version 1.5': (list) => (list.version = 1.5),
  'a version as text': (list) => (list.version = '1'),
  'no time of issue': (list) => delete list.issued,
  'a negative time': (list) => (list.issued = -1),
  'an end before its beginning': (list) => (list.expires = list.issued),
  'an end that is null': (list) => (list.expires = null),
  'threshold 0': (list) => (list.threshold = 0),
  'no owners': (list) => (list.owners = []),
  'an owner that is no object': (list) => (list.owners = ['x' as unknown as Json]),
  'an owner twice': (list) => list.owners.push(list.owners[0]!),
  'an owner that only verifies': (list) => (list.owners[0]!.status = 'verify-only'),
  'revoked owners only': (list) =>
    Object.assign(list.owners[0]!, { status: 'revoked', revoked_at: 1 }),
  'seventeen owners': (list) => (list.owners = new Array(17).fill(list.owners[0])),
  'an owner with a key URI': (list) => (list.owners[0]!.key = 'file:x'),
  'an unknown member': (list) => (list.extra = 1),
  'an unknown member of a publisher': (list) =>
    Object.assign(list.publishers[0], { comment: 'trust me' }),
  'an unknown member of a key': (list) => (list.publishers[0].keys[0]!.comment = 'trust me'),
  'a publisher twice': (list) => (list.publishers[1].name = 'Alice'),
  'publishers that differ in case only': (list) => (list.publishers[1].name = 'ALICE'),
  'a key of two publishers': (list) => list.publishers[1].keys.push(list.publishers[0].keys[0]!),
  'a publisher without keys': (list) => (list.publishers[0].keys = []),
  'two primary keys': (
    list,
  ) => (list.publishers[1].keys[0]!.status = 'primary',
    list.publishers[1].keys.push({ ...list.owners[0]!, status: 'primary' })),
  'a key id that is not the thumbprint': (
    list,
  ) => (list.publishers[0].keys[0]!.kid = list.publishers[1].keys[0]!.kid),
  'a private key': (
    list,
  ) => (list.publishers[0].keys[0]!.d = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'),
  'a key URI': (list) => (list.publishers[0].keys[0]!.key = 'file:alice.pem'),
  'an unknown algorithm': (list) => (list.publishers[0].keys[0]!.crv = 'Ed448'),
  'an unknown status': (list) => (list.publishers[0].keys[0]!.status = 'active'),
  'a revoked key without a time': (list) => (list.publishers[0].keys[0]!.status = 'revoked'),
  'a root that is not base64': (list) => (list.publishers[1].roots = ['?']),
  'a root that is not DER': (list) => (list.publishers[1].roots = ['AAAA']),
  'a root with bytes behind it': (list) => (list.publishers[1].roots = ['MAMCAQUA']),
  'a root twice': (list) => list.publishers[1].roots.push(list.publishers[1].roots[0]!),
  'an empty list of roots': (list) => (list.publishers[0].roots = []),
}

for (const [what, breakIt] of Object.entries(BROKEN)) {
  test(`verifyPublishers() refuses ${what}, though an owner signed it`, async () => {
    const list = structuredClone({ ...payloadOf(signed) }) as unknown as Loose
    const result = breakIt(list)
    const value = Array.isArray(result) && what === 'no object' ? result : list
    await refuses(
      signedRaw(canonicalBytes(value as unknown as JsonObject), [owner]),
      pinned,
      'publishers_malformed',
    )
  })
}

test('verifyPublishers() refuses a list that is not written canonically', async () => {
  const list = payloadOf(signed)
  const text = new TextDecoder().decode(canonicalBytes(list))
  for (
    const other of [
      JSON.stringify(list, null, 1),
      text + '\n',
      text.replace('"version":1', '"version":1.0'),
      text.replace('Alice', '\\u0041lice'),
      text.replace('{"', '{"version":1,"'),
    ]
  ) {
    assert.notEqual(other, text)
    await refuses(signedRaw(utf8(other), [owner]), pinned, 'publishers_malformed')
  }
})

test('verifyPublishers() refuses what is no envelope, and what is too large', async () => {
  for (const text of ['', '{}', '[]', 'null', '\u0000', '{"payload":"","payloadType":"x"}']) {
    await refuses(utf8(text), pinned, 'publishers_malformed')
  }
  await refuses(Uint8Array.of(0xff), pinned, 'publishers_malformed')
  await refuses(utf8('['.repeat(1000)), pinned, 'publishers_malformed')
  await refuses(new Uint8Array(MAX_PUBLISHERS_BYTES + 1), pinned, 'too_large')
  const payload = parseEnvelope(parseJson(signed)).payload
  const many = await signedRaw(payload, new Array(17).fill(owner))
  await refuses(many, pinned, 'publishers_malformed', /16 signatures/)
})

test('no flipped bit of a file is believed', async () => {
  const { state } = await verifyPublishers(signed, pinned)
  let refused = 0
  for (let i = 0; i < signed.length; i++) {
    const flipped = signed.slice()
    flipped[i]! ^= 1 << (i % 8)
    try {
      // what is not signed (the key id, white space) may change; what it says may not
      assert.equal(
        (await verifyPublishers(flipped, pinned)).state.digest,
        state.digest,
        `byte ${i}`,
      )
    } catch (error) {
      assert.ok(error instanceof SignetError, `byte ${i}: ${error}`)
      refused++
    }
  }
  assert.ok(refused > signed.length * 0.9)
})

test('random and mutated input throws nothing but SignetError', async () => {
  const onlySignetErrors = async (work: () => Promise<unknown>) => {
    try {
      await work()
    } catch (error) {
      assert.ok(error instanceof SignetError, String(error))
    }
  }
  const attack = async (bytes: Uint8Array) => {
    await onlySignetErrors(() => verifyPublishers(bytes, pinned))
    await onlySignetErrors(() => unverifiedPublishers(bytes))
    await onlySignetErrors(() => parsePublishersState(bytes))
  }
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), attack), { numRuns: 100 })
  await fc.assert(
    fc.asyncProperty(fc.json(), (text) => attack(utf8(text.toWellFormed()))),
    { numRuns: 100 },
  )
  // any JSON in any place of a list, signed by its owner
  const list = payloadOf(signed)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(list)),
      fc.jsonValue({ noUnicodeString: false }),
      async (name, value) => {
        let payload: Bytes
        try {
          payload = canonicalBytes({ ...list, [name]: value as JsonObject })
        } catch {
          return // a number or text that has no canonical form
        }
        const file = await signedRaw(payload, [owner])
        await onlySignetErrors(() => verifyPublishers(file, pinned))
        await onlySignetErrors(() => parsePublishersState(payload))
      },
    ),
    { numRuns: 200 },
  )
})

test('a key that is no point of its curve never comes to be trusted', async () => {
  const { publicKey } = await import('../../src/keys/mod.ts')
  const raw = Uint8Array.from([4, ...new Array(64).fill(1)])
  await assert.rejects(publicKey(ALGORITHMS['ES256'], raw), { code: 'key_malformed' })
})

test('edits refuse a name or key that is there already, and a list without owners', () => {
  const taken = (edit: () => unknown, code = 'usage_invalid') => assert.throws(edit, { code })
  taken(() => addPublisher(base, newKeyset('Alice', carol.publicKey)))
  taken(() => addKey(base, 'Carol', alice.publicKey))
  taken(() => addKey(base, 'Alice', alice.publicKey))
  taken(() => addOwner(base, owner.publicKey))
  taken(() => addRoot(base, 'Alice', root), 'publishers_malformed')
  taken(() => removeRoot(base, Uint8Array.of(0x30, 0)), 'key_not_found')
  taken(() => revokeKey(base, stranger.publicKey.id, 5), 'key_not_found')
  taken(() => revokeKey(base, owner.publicKey.id, 5), 'publishers_malformed')
  taken(() => newPublishers({ name: 'x', owners: [], issued: 1 }), 'publishers_malformed')
  taken(
    () => revisePublishers({ ...base, version: Number.MAX_SAFE_INTEGER }, { issued: 1 }),
    'publishers_malformed',
  )
})

test('a revoked key stays revoked, from the earliest time, and is not added again', () => {
  const at = (list: PublishersDocument) => list.publishers[0]!.members[0]!.revokedAt
  const revoked = revokeKey(base, alice.publicKey.id, 500)
  assert.equal(at(revokeKey(revoked, alice.publicKey.id, 900)), 500)
  assert.equal(at(revokeKey(revoked, alice.publicKey.id, 100)), 100)
  assert.throws(
    () => addKey(revoked, 'Alice', alice.publicKey),
    /a revoked key of publisher "Alice"/,
  )
  assert.throws(() => addKey(revoked, 'Eve', alice.publicKey), { code: 'usage_invalid' })
  assert.equal(at(base), undefined, 'edits leave what they are given')
})

test('mergeKeyset() brings back nothing that was revoked, ended or has not begun', () => {
  const of = (list: PublishersDocument) =>
    list.publishers[0]!.members.map(({ key, status, notBefore, notAfter, revokedAt }) => [
      key.id === alice.publicKey.id ? 'alice' : 'carol',
      status,
      notBefore,
      notAfter,
      revokedAt,
    ])
  const member = (key: Key, more: Partial<KeysetMember> = {}): KeysetMember => ({
    key: key.publicKey,
    status: 'primary',
    ...more,
  })
  const merge = (list: PublishersDocument, ...members: KeysetMember[]) =>
    mergeKeyset(list, { name: 'Alice', members })
  const ended = merge(base, member(alice, { notBefore: 5, notAfter: 50 }))
  assert.deepEqual(of(ended), [['alice', 'primary', 5, 50, undefined]])
  const later = merge(ended, member(alice, { notBefore: 4, notAfter: 60 }))
  assert.deepEqual(of(later), [['alice', 'primary', 5, 50, undefined]])
  const revoked = merge(later, member(alice, { status: 'revoked', revokedAt: 30 }))
  assert.deepEqual(of(revoked), [['alice', 'revoked', 5, 50, 30]])
  assert.deepEqual(of(merge(revoked, member(alice))), [['alice', 'revoked', 5, 50, 30]])
  const earlier = merge(revoked, member(alice, { status: 'revoked', revokedAt: 20 }))
  assert.deepEqual(of(earlier), [['alice', 'revoked', 5, 50, 20]])
  // a rotated keyset: the new primary first; what it leaves out still verifies
  assert.deepEqual(of(merge(base, member(carol, { uri: 'file:carol.pem' }))), [
    ['carol', 'primary', undefined, undefined, undefined],
    ['alice', 'verify-only', undefined, undefined, undefined],
  ])
  assert.throws(() => merge(base, member(bob)), { code: 'publishers_malformed' })
  assert.deepEqual(mergeKeyset(empty, newKeyset('Eve', carol.publicKey)).publishers.length, 1)
})

test('a key of an owner who also publishes is revoked in both places', () => {
  const both = addKey(addOwner(base, heir.publicKey), 'Owner', owner.publicKey)
  const revoked = revokeKey(both, owner.publicKey.id, 7)
  assert.equal(revoked.owners[0]!.status, 'revoked')
  assert.equal(revoked.publishers.at(-1)!.members[0]!.status, 'revoked')
})

test('what is signed comes back as it was, without a word on private keys', async () => {
  const { document } = await verifyPublishers(signed, pinned)
  assert.deepEqual(
    canonicalBytes(payloadOf(signed)),
    canonicalBytes(payloadOf(await signPublishers(document, [owner]))),
  )
  assert.doesNotMatch(new TextDecoder().decode(canonicalBytes(payloadOf(signed))), /alice\.pem/)
  assert.deepEqual(document.publishers.map(({ name }) => name), ['Alice', 'Bob'])
  assert.equal(document.publishers[1]!.members[0]!.notBefore, 5)
  assert.equal(toHex(document.publishers[1]!.roots[0]!), toHex(root))
  assert.deepEqual(removeRoot(document, root).publishers[1]!.roots, [])
  const alone = addRoot(empty, 'CA', root)
  assert.deepEqual(removeRoot(alone, root).publishers, [])
})

test('a new version lasts as long as the one before, unless told', () => {
  const next = revisePublishers(base, { issued: NOW })
  assert.deepEqual([next.version, next.issued, next.expires], [2, NOW, NOW + 2000])
  assert.equal(revisePublishers(base, { issued: NOW, expires: NOW + 5 }).expires, NOW + 5)
  const endless = newPublishers({ name: 'x', owners: [owner.publicKey], issued: 1 })
  assert.equal(revisePublishers(endless, { issued: NOW }).expires, undefined)
})

test('a state survives writing and reading, and damage is refused', async () => {
  const { state } = await verifyPublishers(signed, pinned)
  const bytes = formatPublishersState(state)
  const back: PublishersState = await parsePublishersState(bytes)
  assert.deepEqual(formatPublishersState(back), bytes)
  assert.equal(back.owners[0]!.key.id, owner.publicKey.id)
  const damaged = [
    '',
    '{}',
    new TextDecoder().decode(bytes).replace('"version":1', '"version":0'),
    new TextDecoder().decode(bytes).replace(state.digest, state.digest.slice(2)),
    new TextDecoder().decode(bytes).replace(state.digest, state.digest.toUpperCase()),
    new TextDecoder().decode(bytes).replace(/"owners":\[.*\]/, '"owners":[]'),
    new TextDecoder().decode(bytes).replace('{', '{"x":1,'),
  ]
  for (const text of damaged) {
    await assert.rejects(parsePublishersState(utf8(text)), { code: 'publishers_malformed' }, text)
  }
})

const tree = () => streamTree(new Map([['weights.bin', new Uint8Array(10)]]))

async function sealedBy(...keys: Key[]) {
  const sealers = keys.map((key) => ({ key }))
  const { bundles } = await sealModel(tree(), sealers, { name: 'm' })
  return bundles.map((bytes, i) => ({ name: `${i}.sig`, bytes }))
}

async function trustIn(list: PublishersDocument, now = NOW) {
  return trustOf(await verifyPublishers(await signPublishers(list, [owner]), { ...pinned, now }))
}

test('verifyModel() refuses a revoked, an expired and a not yet valid key of a publisher', async () => {
  const check = async (list: PublishersDocument, code: string) => {
    const bundles = await sealedBy(alice)
    await assert.rejects(verifyModel(bundles, tree(), await trustIn(list), { now: NOW }), { code })
  }
  await check(revokeKey(base, alice.publicKey.id, NOW + 500), 'key_revoked')
  const late = addKey(empty, 'Alice', alice.publicKey, { notAfter: NOW })
  await check(late, 'key_expired')
  await check(addKey(empty, 'Alice', alice.publicKey, { notBefore: NOW + 1 }), 'key_not_yet_valid')
  await check(empty, 'signer_untrusted')
  const rotated = addPublisher(empty, rotate(newKeyset('Alice', alice.publicKey), carol.publicKey))
  const report = await verifyModel(await sealedBy(alice), tree(), await trustIn(rotated), {
    now: NOW,
  })
  assert.equal(report.bundles[0]!.signer!.publisher, 'Alice')
})

test('m of n publishers must have sealed, and nobody counts twice', async () => {
  const list = addKey({ ...base, threshold: 2 }, 'Alice', carol.publicKey)
  const trust = await trustIn(list)
  const verify = async (...keys: Key[]) =>
    await verifyModel(await sealedBy(...keys), tree(), trust, { now: NOW })
  await assert.rejects(verify(alice), { code: 'policy_denied' })
  await assert.rejects(verify(alice, alice), { code: 'policy_denied' })
  await assert.rejects(verify(alice, carol), { code: 'policy_denied' }, 'two keys of one publisher')
  await assert.rejects(verify(alice, stranger), { code: 'signer_untrusted' })
  const report = await verify(alice, bob)
  assert.deepEqual(report.bundles.map(({ signer }) => signer!.publisher), ['Alice', 'Bob'])
  assert.ok(report.ok)
  const revoked = await trustIn(revokeKey(list, bob.publicKey.id, 5))
  await assert.rejects(
    verifyModel(await sealedBy(alice, bob), tree(), revoked, { now: NOW, require: ['Alice'] }),
    { code: 'policy_denied' },
    'a revoked key counts for nobody, whatever else is required',
  )
})

test('a key that two publishers stand for, by itself and in a certificate, counts once', async () => {
  const at = Date.parse('2030-01-01T00:00:00Z') / 1000
  const { algorithm, privateKey, publicKey } = fromPkcs8(fromBase64(certificates.leafKey))
  const key = await importKey(algorithm, { privateKey, publicKey: publicKey! })
  const chain = [fromBase64(certificates.leaf), fromBase64(certificates.intermediate)]
  const { bundles } = await sealModel(tree(), [{ key }, { key, chain }, { key: bob }], {
    name: 'm',
  })
  const start = { name: 'x', owners: [owner.publicKey], issued: NOW, threshold: 2 }
  const list = addRoot(
    addKey(addKey(newPublishers(start), 'Alice', key.publicKey), 'Bob', bob.publicKey),
    'Acme',
    fromBase64(certificates.root),
  )
  const trust = await trustIn(list, at)
  const verify = (...which: number[]) =>
    verifyModel(
      which.map((i) => ({ name: String(i), bytes: bundles[i]! })),
      tree(),
      trust,
      { now: at },
    )
  await assert.rejects(verify(0, 1), { code: 'policy_denied' })
  for (const pair of [[0, 2], [1, 2]]) assert.ok((await verify(...pair)).ok)
  const { bundles: [, byCertificate] } = await verify(2, 1)
  assert.equal(byCertificate!.signer!.publisher, 'Acme')
})
