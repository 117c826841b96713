import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  ALGORITHMS,
  type Bytes,
  checkDistinct,
  compareNames,
  type FileTree,
  generateKey,
  type Key,
  keyHint,
  newKeyset,
  type Progress,
  revoke,
  rotate,
  sealModel,
  type SealOptions,
  streamTree,
  toPublicPem,
  type TreeEntry,
  type Trust,
  trustKeys,
  trustKeyset,
  unverifiedStatement,
  type VerifiedSeal,
  verifyModel,
  type VerifyModelOptions,
  verifySeal,
} from '../../mod.ts'
import { fromUtf8, toBase64, utf8 } from '../../src/bytes.ts'
import {
  bytesOf,
  type Draft,
  draftOf,
  filesOf,
  jsonOf,
  key,
  outcome,
  refuses,
  runs,
  sealOf,
  sha256,
  stranger,
} from './_seals.ts'

const FILES = { 'config.json': '{}', 'weights.bin': 'weights' }
const trust = trustKeys(key.publicKey)
const good = await sealOf(await draftOf(FILES))
const make = (name: keyof typeof ALGORITHMS) => generateKey(ALGORITHMS[name])

async function sealed(by: readonly Key[], options: Partial<SealOptions> = {}) {
  const sealers = by.map((key) => ({ key }))
  const { bundles } = await sealModel(streamTree(filesOf(FILES)), sealers, {
    name: 'tiny',
    ...options,
  })
  return bundles.map((bytes, i) => ({ name: `${i}.sig`, bytes }))
}

const verify = (
  bundles: readonly { readonly name: string; readonly bytes: Uint8Array }[],
  whom: Trust,
  options: VerifyModelOptions = {},
) => verifyModel(bundles, streamTree(filesOf(FILES)), whom, options)

// Whom to believe

test('verifySeal() refuses a signer whom nobody trusts, before it looks at the signature', async () => {
  await refuses('signer_untrusted', () => verifySeal(good, trustKeys(stranger.publicKey)))
  await refuses('signer_untrusted', () => verifySeal(good, trustKeys()))
  const json = jsonOf(good)
  json.dsseEnvelope.signatures[0]!.sig = 'AAAA'
  await refuses('signer_untrusted', () => verifySeal(bytesOf(json), trustKeys(stranger.publicKey)))
})

test('verifySeal() refuses a hint that names nobody, however like it is', async () => {
  const hint = await keyHint(key.publicKey)
  const der = await sha256(
    Uint8Array.from(
      atob(toPublicPem(key.publicKey).replace(/-----.*-----|\n/g, '')),
      (c) => c.charCodeAt(0),
    ),
  )
  for (
    const wrong of [
      hint.toUpperCase(),
      hint.slice(1),
      `${hint} `,
      `sha256:${hint}`,
      der,
      'x',
      key.publicKey.id,
    ]
  ) {
    const bytes = await sealOf(await draftOf(FILES), { hint: wrong })
    await refuses('signer_untrusted', () => verifySeal(bytes, trust), wrong)
  }
})

test('verifySeal() is not taken in by a stranger who writes the hint of a trusted key', async () => {
  const forged = await sealOf(await draftOf(FILES), {
    by: stranger,
    hint: await keyHint(key.publicKey),
  })
  await refuses('signature_invalid', () => verifySeal(forged, trust))
  await refuses(
    'signature_invalid',
    () => verifySeal(forged, trustKeys(key.publicKey, stranger.publicKey)),
  )
})

test('verifySeal() without a hint tries every trusted key', async () => {
  const anonymous = await sealOf(await draftOf(FILES), { hint: null })
  const all = trustKeys(
    stranger.publicKey,
    (await make('Ed25519')).publicKey,
    key.publicKey,
  )
  assert.equal((await verifySeal(anonymous, all)).signer.keyId, key.publicKey.id)
  await refuses('signature_invalid', () => verifySeal(anonymous, trustKeys(stranger.publicKey)))
  await refuses('signer_untrusted', () => verifySeal(anonymous, trustKeys()))
})

test('verifySeal() never believes the key that a bundle brings along', async () => {
  const forged = jsonOf(await sealOf(await draftOf(FILES), { by: stranger }))
  forged.verificationMaterial.publicKey = {
    rawBytes: toBase64(utf8(toPublicPem(stranger.publicKey))),
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
  }
  await refuses('signature_invalid', () => verifySeal(bytesOf(forged), trust))
})

test('verifySeal() refuses an algorithm that contradicts the trusted key', async () => {
  const p384 = await make('ES384')
  const old = async (by: Key, keyDetails: string) => {
    const json = jsonOf(await sealOf(await draftOf(FILES), { by }))
    const rawBytes = toBase64(utf8(toPublicPem(by.publicKey)))
    json.verificationMaterial = { publicKey: { rawBytes, keyDetails } }
    json.dsseEnvelope.signatures[0]!.keyid = null
    return bytesOf(json)
  }
  const mine = trustKeys(p384.publicKey)
  await verifySeal(await old(p384, 'PKIX_ECDSA_P384_SHA_384'), mine)
  for (
    const wrong of [
      'PKIX_ECDSA_P256_SHA_256',
      'PKIX_ECDSA_P384_SHA_256',
      'PKIX_ED25519',
      '',
      'none',
    ]
  ) {
    await refuses('algorithm_mismatch', async () => verifySeal(await old(p384, wrong), mine), wrong)
  }
  const ed25519 = await make('Ed25519')
  await refuses(
    'algorithm_mismatch',
    async () =>
      verifySeal(await old(ed25519, 'PKIX_ECDSA_P256_SHA_256'), trustKeys(ed25519.publicKey)),
  )
  // With several trusted keys it selects; the key's own algorithm is used all the same.
  const both = trustKeys(key.publicKey, p384.publicKey)
  assert.equal(
    (await verifySeal(await old(p384, 'PKIX_ECDSA_P384_SHA_384'), both)).signer.algorithm,
    'ES384',
  )
  await refuses(
    'signature_invalid',
    async () => verifySeal(await old(p384, 'PKIX_ECDSA_P256_SHA_256'), both),
  )
})

test('verifySeal() believes keys of a keyset while they are valid, and revoked ones never', async () => {
  const [old, now] = [await make('ES256'), await make('ES256')]
  const keyset = rotate(newKeyset('alice', old.publicKey), now.publicKey, undefined, 2000)
  const seal = {
    old: await sealOf(await draftOf(FILES), { by: old }),
    now: await sealOf(await draftOf(FILES), { by: now }),
  }
  const at = (time: number, set = keyset) => ({
    old: outcome(() => verifySeal(seal.old, trustKeyset(set), { now: time })),
    now: outcome(() => verifySeal(seal.now, trustKeyset(set), { now: time })),
  })
  assert.equal(await at(1999).old, 'accepted')
  assert.equal(await at(2000).old, 'key_expired')
  assert.equal(await at(2000).now, 'accepted')
  const [first, ...rest] = keyset.members
  const later = { ...keyset, members: [{ ...first!, notBefore: 3000 }, ...rest] }
  assert.equal(await at(2999, later).now, 'key_not_yet_valid')
  assert.equal(await at(3000, later).now, 'accepted')
  const revoked = revoke(keyset, now.publicKey.id, 5000)
  for (const time of [0, 4999, 5000, 9e9]) assert.equal(await at(time, revoked).now, 'key_revoked')
  assert.equal((await verifySeal(seal.now, trustKeyset(keyset))).signer.publisher, 'alice')
  // Whoever holds no key of the set is told that the signature is wrong, not that the key was revoked.
  const forged = await sealOf(await draftOf(FILES), { hint: await keyHint(now.publicKey) })
  await refuses('signature_invalid', () => verifySeal(forged, trustKeyset(revoked)))
})

test('verifySeal() believes no key that somebody revoked, in whatever order it is trusted', async () => {
  const alice = trustKeyset(newKeyset('alice', key.publicKey)).signers
  const bob = trustKeyset(revoke(newKeyset('bob', key.publicKey), key.publicKey.id, 1)).signers
  for (const signers of [[...alice, ...bob], [...bob, ...alice], [...trust.signers, ...bob]]) {
    await refuses('key_revoked', () => verifySeal(good, { signers }))
  }
  const expired = alice.map((signer) => ({ ...signer, notAfter: 1 }))
  for (const signers of [[...expired, ...trust.signers], [...trust.signers, ...expired]]) {
    await refuses('key_expired', () => verifySeal(good, { signers }))
  }
})

test("verifySeal() tells the signer by the verifier's own words", async () => {
  const json = jsonOf(good)
  json.dsseEnvelope.signatures[0]!.keyid = 'ceo@bigbank.example'
  const { signer } = await verifySeal(bytesOf(json), trust)
  assert.deepEqual(signer, { keyId: key.publicKey.id, algorithm: 'ES256', publisher: undefined })
})

test('verifySeal() reads nothing of a statement whose signature does not hold', async () => {
  const json = jsonOf(good)
  for (
    const payload of ['', 'AAAA', toBase64(utf8('{"_type":1}')), toBase64(new Uint8Array([0xff]))]
  ) {
    json.dsseEnvelope.payload = payload
    await refuses('signature_invalid', () => verifySeal(bytesOf(json), trust))
  }
  json.dsseEnvelope = { ...jsonOf(good).dsseEnvelope, payloadType: 'text/plain' }
  await refuses('signature_invalid', () => verifySeal(bytesOf(json), trust))
})

// What was sealed

test('no flipped bit of a bundle makes it another: it is refused, or means the very same', async () => {
  const files = { a: 'x' }
  const tree = streamTree(filesOf(files))
  const seal = await sealOf(await draftOf(files))
  const verdict = (bytes: Uint8Array) => verifyModel([{ name: 'seal', bytes }], tree, trust)
  const right = await verdict(seal)
  assert.ok(right.ok)
  const harmless = new Set<string>()
  for (let at = 0; at < seal.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = seal.slice()
      flipped[at]! ^= 1 << bit
      let report
      if (await outcome(async () => report = await verdict(flipped)) !== 'accepted') continue
      assert.deepEqual(report, right, `byte ${at}, bit ${bit}`)
      harmless.add(String.fromCharCode(seal[at]!))
    }
  }
  // White space for the last newline, and letters of member names that may be absent.
  assert.ok(harmless.size < 8, [...harmless].join())
})

test('every spoilt byte of every file is seen', async () => {
  for (const [path, content] of Object.entries(FILES)) {
    for (let at = 0; at < content.length; at++) {
      const spoilt = utf8(content)
      spoilt[at]! ^= 1
      const tree = streamTree(filesOf(FILES).set(path, spoilt))
      const { ok, counts } = await verifyModel([{ name: 'seal', bytes: good }], tree, trust)
      assert.deepEqual([ok, counts.changed, counts.ok], [false, 1, 1], `${path} at ${at}`)
    }
  }
})

test('verifyModel() refuses properly signed statements that are wrong, each with its own code', async () => {
  const wrong: readonly (readonly [string, (draft: Draft) => unknown])[] = [
    ['predicate_type', (draft) => draft.predicateType = 'https://slsa.dev/provenance/v1'],
    ['statement_malformed', (draft) => draft._type = 'https://in-toto.io/Statement/v0.1'],
    ['root_digest_mismatch', (draft) => draft.subject[0]!.digest = { sha256: '0'.repeat(64) }],
    ['name_invalid', (draft) => draft.predicate.resources[0]!.name = '../config.json'],
    ['name_duplicate', (draft) => draft.predicate.resources[0]!.name = 'weights.bin'],
    ['name_collision', (draft) => draft.predicate.resources[0]!.name = 'Weights.bin'],
    ['statement_malformed', (draft) => draft.predicate.resources = []],
  ]
  for (const [code, edit] of wrong) {
    const draft = await draftOf(FILES)
    edit(draft)
    const bytes = await sealOf(draft)
    assert.equal(await outcome(() => verify([{ name: 'seal', bytes }], trust)), code)
  }
  const bytes = await sealOf(await draftOf(FILES), { type: 'application/json' })
  await refuses('payload_type', () => verify([{ name: 'seal', bytes }], trust))
})

test('metadata and sizes travel signed', async () => {
  const metadata = {
    version: '1.0',
    framework: 'pytorch',
    author: 'Zoë 模型',
    description: 'line\nline "quoted" \\ \u2028',
    license: 'MIT',
    created: '2026-11-21T10:00:00Z',
  }
  const [seal] = await sealed([key], { metadata })
  const report = await verify([seal!], trust)
  assert.deepEqual(report.model.metadata, metadata)
  assert.equal(report.model.name, 'tiny')
  const { statement } = await verifySeal(seal!.bytes, trust)
  assert.deepEqual(statement.resources.map(({ size }) => size), [2, 7])
  const json = jsonOf(seal!.bytes)
  const payload = atob(String(json.dsseEnvelope.payload)).replace('pytorch', 'pYtorch')
  json.dsseEnvelope.payload = btoa(payload)
  await refuses('signature_invalid', () => verify([{ name: 'seal', bytes: bytesOf(json) }], trust))
})

test('unverifiedStatement() reads a statement of whoever signed, and no less strictly', async () => {
  const json = jsonOf(await sealOf(await draftOf(FILES), { by: stranger }))
  json.dsseEnvelope.signatures[0]!.sig = 'AAAA'
  const { statement } = await unverifiedStatement(bytesOf(json))
  assert.deepEqual(statement.resources.map(({ path }) => path), Object.keys(FILES))
  const draft = await draftOf({ ...FILES, '../x': '' })
  await refuses('name_invalid', async () => unverifiedStatement(await sealOf(draft)))
})

// More than one bundle

test('verifyModel() refuses to go by no bundle, by bundles that differ, and by one that does not hold', async () => {
  await refuses('policy_denied', () => verify([], trust))
  const [mine] = await sealed([key])
  const [other] = await sealed([key], { name: 'another' })
  await refuses('policy_denied', () => verify([mine!, other!], trust))
  const [theirs] = await sealed([stranger])
  await refuses('signer_untrusted', () => verify([mine!, theirs!], trust))
  await refuses('signer_untrusted', () => verify([mine!, theirs!], trust, { require: [] }))
  await refuses('json_malformed', () => verify([mine!, { name: 'b', bytes: utf8('x') }], trust))
  assert.ok((await verify([mine!, mine!], trust)).ok)
})

test('verifyModel() goes by the seals that are required, and reports the others', async () => {
  const composite = await make('ML-DSA-65-Ed25519')
  const [classic, hybrid] = await sealed([key, composite])
  const both = trustKeys(key.publicKey, composite.publicKey)
  const report = await verify([classic!, hybrid!], both, {
    require: ['ML-DSA-65-Ed25519', 'ES256'],
  })
  assert.deepEqual(report.bundles.map(({ signer }) => signer?.algorithm), [
    'ES256',
    'ML-DSA-65-Ed25519',
  ])
  const half = await verify([classic!, hybrid!], trust, { require: ['ES256'] })
  assert.deepEqual(half.bundles.map(({ error }) => error?.code), [undefined, 'signer_untrusted'])
  assert.ok(half.ok)
  await refuses(
    'signer_untrusted',
    () => verify([classic!, hybrid!], trust, { require: ['ML-DSA-65-Ed25519'] }),
  )
  await refuses('policy_denied', () => verify([classic!], both, { require: ['ML-DSA-65-Ed25519'] }))
  await refuses('policy_denied', () => verify([classic!], both, { require: ['ES256', 'bob'] }))
  await verify([classic!], both, { require: [key.publicKey.id] })
  await refuses(
    'policy_denied',
    () => verify([classic!], both, { require: [composite.publicKey.id] }),
  )
  // A seal that holds and says something else is never passed over.
  const [other] = await sealed([composite], { name: 'another' })
  await refuses('policy_denied', () => verify([classic!, other!], both, { require: ['ES256'] }))
})

test('no publisher passes for an algorithm or a key by its name', async () => {
  const composite = await make('ML-DSA-65-Ed25519')
  const seals = await sealed([key])
  for (const wanted of ['ML-DSA-65-Ed25519', composite.publicKey.id]) {
    const posing = trustKeyset(newKeyset(wanted, key.publicKey))
    await refuses('policy_denied', () => verify(seals, posing, { require: [wanted] }), wanted)
  }
  await verify(seals, trustKeyset(newKeyset('alice', key.publicKey)), { require: ['alice'] })
})

test('verifyModel() counts publishers, not bundles, towards the threshold', async () => {
  const [one, two] = [await make('ES256'), await make('Ed25519')]
  const alice = rotate(newKeyset('alice', one.publicKey), two.publicKey)
  const bob = newKeyset('bob', key.publicKey)
  const signers = [alice, bob].flatMap((set) => trustKeyset(set).signers)
  const [a1, a2, b] = await sealed([one, two, key])
  await verify([a1!, b!], { signers, threshold: 2 })
  await refuses('policy_denied', () => verify([a1!, a2!], { signers, threshold: 2 }))
  await refuses('policy_denied', () => verify([b!, b!], { signers, threshold: 2 }))
  await refuses('policy_denied', () => verify([a1!, a2!, b!], { signers, threshold: 3 }))
  await refuses('policy_denied', () => verify([b!], { ...trust, threshold: 1 })) // a key without a name
})

// Sealing

test('sealModel() refuses to seal nothing, with nobody, and what no verifier reads', async () => {
  const tree = streamTree(filesOf(FILES))
  const seal = (options: Partial<SealOptions>, files: Record<string, string> = FILES) =>
    sealModel(streamTree(filesOf(files)), [{ key }], { name: 'tiny', ...options })
  await refuses('usage_invalid', () => sealModel(tree, [], { name: 'tiny' }))
  await refuses('model_empty', () => seal({}, {}))
  await refuses('model_empty', () => seal({}, { '.git/HEAD': 'x', '.gitignore': '' }))
  await refuses('model_empty', () => seal({ ignore: Object.keys(FILES) }))
  await refuses('model_empty', () => seal({ method: 'shards' }, { empty: '' }))
  for (const shardSize of [0, -1, 1.5, NaN, 2 ** 53]) {
    await refuses('usage_invalid', () => seal({ method: 'shards', shardSize }), String(shardSize))
  }
  await refuses('usage_invalid', () => seal({ name: '' }))
  await refuses('usage_invalid', () => seal({ ignore: ['*.tmp'] }))
  await refuses('name_invalid', () => seal({ ignore: ['../x'] }))
  await refuses('name_collision', () => seal({}, { readme: '', README: '' }))
  await seal({ allowCaseCollisions: true }, { readme: '', README: '' })
})

test('sealModel() refuses links, special files and names that no seal may hold', async () => {
  const entry = (path: string, kind: TreeEntry['kind'] = 'file'): TreeEntry => ({
    path,
    kind,
    size: 0,
  })
  const seal = (entries: readonly TreeEntry[], options: Partial<SealOptions> = {}) => {
    const tree: FileTree = {
      parallel: 1,
      async *list({ skip = () => false } = {}) {
        yield* entries.filter(({ path }) => !skip(path))
      },
      digest: () => Promise.resolve(new Uint8Array(32)),
    }
    return sealModel(tree, [{ key }], { name: 'tiny', ...options })
  }
  const fine = entry('a')
  await refuses('symlink_refused', () => seal([fine, entry('link', 'symlink')]))
  await refuses('special_file_refused', () => seal([fine, entry('pipe', 'special')]))
  for (const path of ['', '/a', '../a', 'a//b', 'a\\b', 'a\0']) {
    await refuses('name_invalid', () => seal([fine, entry(path)]), path)
  }
  await refuses('name_duplicate', () => seal([fine, fine]))
  await seal([fine, entry('link', 'symlink'), entry('pipe', 'special')], {
    ignore: ['link', 'pipe'],
  })
})

test('sealModel() leaves out what it is told to, and says so in the seal', async () => {
  const files = { ...FILES, '.git/HEAD': 'x', 'cache/a': '', '.gitmodules': '' }
  const seal = async (options: Partial<SealOptions>): Promise<VerifiedSeal> => {
    const { bundles } = await sealModel(streamTree(filesOf(files)), [{ key }], {
      name: 'tiny',
      ...options,
    })
    return await verifySeal(bundles[0]!, trust)
  }
  const paths = ({ statement }: VerifiedSeal) => statement.resources.map(({ path }) => path)
  const { statement } = await seal({ ignore: ['cache', '.git', 'cache'] })
  assert.deepEqual(statement.serialization.ignorePaths, [
    '.git',
    '.gitattributes',
    '.github',
    '.gitignore',
    'cache',
  ])
  assert.deepEqual(paths(await seal({ ignore: ['cache'] })), ['.gitmodules', ...Object.keys(FILES)])
  assert.deepEqual(paths(await seal({ noDefaultIgnores: true })), [
    '.git/HEAD',
    '.gitmodules',
    'cache/a',
    ...Object.keys(FILES),
  ])
})

test('sealModel() writes one statement for all keys, in code-point order, hints equal (protobuf-specs)', async () => {
  const names = ['z', '\u{10000}', '\uffee', 'sub/a', 'sub-2/a', 'A']
  const files = Object.fromEntries(names.map((name) => [name, name]))
  const ed25519 = await make('Ed25519')
  for (const method of ['files', 'shards'] as const) {
    const { bundles, resources } = await sealModel(
      streamTree(filesOf(files)),
      [{ key }, { key: ed25519 }],
      { name: 'tiny', method, shardSize: 2 },
    )
    const [one, two] = bundles.map(jsonOf)
    assert.equal(one!.dsseEnvelope.payload, two!.dsseEnvelope.payload)
    const { keyid } = one!.dsseEnvelope.signatures[0]!
    assert.deepEqual(one!.verificationMaterial, { publicKey: { hint: keyid }, tlogEntries: [] })
    assert.equal(keyid, await keyHint(key.publicKey))
    const statement = JSON.parse(
      fromUtf8(Uint8Array.from(atob(String(one!.dsseEnvelope.payload)), (c) => c.charCodeAt(0))),
    ) as Draft
    const written = statement.predicate.resources.map(({ name }) => String(name))
    assert.deepEqual(written, written.toSorted(compareNames))
    assert.equal(resources.length, written.length)
    assert.equal(written.length, method === 'files' ? 6 : 13)
  }
})

test('sealModel() stops when it is told to, while it hashes and while it signs', async () => {
  const tree = streamTree(filesOf(FILES))
  await refuses(
    'aborted',
    () => sealModel(tree, [{ key }], { name: 'tiny', signal: AbortSignal.abort() }),
  )
  const control = new AbortController()
  const onProgress = ({ files }: Progress) => {
    if (files === 2) control.abort()
  }
  await refuses(
    'aborted',
    () => sealModel(tree, [{ key }], { name: 'tiny', signal: control.signal, onProgress }),
  )
})

test('a model sealed by either method and with every digest holds', async () => {
  for (const hash of ['sha256', 'blake2b', 'blake3'] as const) {
    for (const method of ['files', 'shards'] as const) {
      const { ok, model } = await verify(await sealed([key], { hash, method }), trust)
      assert.deepEqual([ok, model.serialization.hashType], [true, hash])
    }
  }
})

test('whatever the files are called and hold, their seal holds, and no other tree does', async () => {
  const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }).filter((text) =>
    !/[/\\\0]/.test(text) && text !== '.' && text !== '..' && text.isWellFormed()
  )
  const name = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
  const file = fc.tuple(name, fc.uint8Array({ maxLength: 40 }))
  const tree = fc.uniqueArray(file, { selector: ([path]) => path, minLength: 1, maxLength: 6 })
    .filter((files) => {
      try {
        checkDistinct(files.map(([path]) => path))
        return !files.some(([path]) => path.startsWith('.git'))
      } catch {
        return false
      }
    })
  const shardSize = fc.integer({ min: 1, max: 20 })
  await fc.assert(
    fc.asyncProperty(
      tree,
      fc.boolean(),
      shardSize,
      fc.nat(),
      fc.nat(),
      async (files, shards, size, which, where) => {
        const method = shards ? 'shards' : 'files'
        const present = new Map(files)
        const empty = [...present].filter(([, bytes]) => bytes.length === 0).length
        if (shards && empty === present.size) return
        const { bundles } = await sealModel(streamTree(present), [{ key }], {
          name: 'tiny',
          method,
          shardSize: size,
        })
        const check = (now: Map<string, Uint8Array>) =>
          verifyModel([{ name: 'seal', bytes: bundles[0]! }], streamTree(now), trust)
        const { ok, counts } = await check(present)
        assert.deepEqual([ok, counts.ok], [true, present.size - (shards ? empty : 0)])
        const [path, bytes] = files[which % files.length]!
        if (bytes.length === 0) return
        const spoilt = bytes.slice()
        spoilt[where % bytes.length]! ^= 1
        for (
          const [change, expected] of [
            [new Map(present).set(path, spoilt), 'changed'],
            [new Map(present).set(path, bytes.subarray(1)), 'changed'],
            [new Map([...present].filter(([one]) => one !== path)), 'missing'],
            [new Map(present).set(`${path}x`, spoilt), 'extra'],
          ] as const
        ) {
          const report = await check(change)
          assert.equal(report.ok, false)
          assert.equal(report.counts[expected], 1, expected)
        }
      },
    ),
    runs(60),
  )
})

test('verifyModel() throws nothing but SignetError, whatever is done to a bundle', async () => {
  const other = await sealOf(await draftOf({ b: 'y' }), { by: stranger })
  const splice = fc.record({
    from: fc.nat(good.length),
    length: fc.nat(60),
    to: fc.nat(other.length),
  })
  await fc.assert(
    fc.asyncProperty(splice, async ({ from, length, to }) => {
      const bytes: Bytes = good.slice()
      bytes.set(other.subarray(to, to + length).subarray(0, good.length - from), from)
      const result = await outcome(() => verify([{ name: 'seal', bytes }], trust))
      if (result === 'accepted') assert.ok((await verify([{ name: 'seal', bytes }], trust)).ok)
    }),
    runs(300),
  )
})
