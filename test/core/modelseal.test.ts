import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addKey,
  addPublisher,
  ALGORITHMS,
  compareManifest,
  type FileTree,
  generateKey,
  importRegistry,
  migrateModel,
  newPublishers,
  parseSignedManifest,
  readPublicKeys,
  SignetError,
  streamTree,
  type Trust,
  trustKeys,
  verifyManifest,
  verifyModel,
} from '../../mod.ts'
import { fromBase64, toBase64, toHex, utf8 } from '../../src/bytes.ts'
import { manifestBytes, Members } from '../../src/interop/modelseal_json.ts'
import { parseJson } from '../../src/json.ts'
import vectors from '../vectors/modelseal.json' with { type: 'json' }

type Algorithm = keyof typeof vectors.signed
const NAMES = Object.keys(vectors.signed) as Algorithm[]
const PATHS = Object.keys(vectors.files)
const NOW = 1_800_000_000

const trustOf = async (...names: Algorithm[]): Promise<Trust> =>
  trustKeys(...(await Promise.all(
    names.map((name) => readPublicKeys(vectors.signed[name].publicPem)),
  )).flat())
const trust = await trustOf('Ed25519')
const fileText = vectors.signed.Ed25519.file
const file = utf8(fileText)

const contents = () =>
  new Map<string, Uint8Array>(
    Object.entries(vectors.files).map(([path, text]) => [path, fromBase64(text)]),
  )
const tree = (change: (files: Map<string, Uint8Array>) => unknown = () => {}) => {
  const files = contents()
  change(files)
  return streamTree(files)
}

interface Loose {
  manifest: Record<string, unknown> & { files: Record<string, unknown>[] }
  signature: Record<string, unknown>
}
const edited = (edit: (json: Loose) => unknown, text = fileText): Uint8Array => {
  const json = JSON.parse(text) as Loose
  edit(json)
  return utf8(JSON.stringify(json))
}

/** A manifest with any content, signed with a key of ours as the old tool would. */
const key = await generateKey(ALGORITHMS['Ed25519'])
async function signedAnew(edit: (json: Loose) => unknown): Promise<Uint8Array> {
  const bytes = edited(edit)
  const message = manifestBytes(parseSignedManifest(bytes).manifest)
  const signature = toHex(await key.sign({ mode: 'message', bytes: message }))
  return edited((json) => json.signature.signature_hex = signature, new TextDecoder().decode(bytes))
}

test('verifyManifest() refuses any change to what was signed', async () => {
  const changes: ((json: Loose) => unknown)[] = [
    ({ manifest }) => manifest.author = 'Mallory',
    ({ manifest }) => manifest.model_name += ' ',
    ({ manifest }) => manifest.total_size_bytes = 16,
    ({ manifest }) => manifest.created_at = '2025-01-02T03:04:05.120001Z',
    ({ manifest }) => manifest.created_at = '2025-01-02T03:04:05.12',
    ({ manifest }) => manifest.files.reverse(),
    ({ manifest }) => manifest.files.pop(),
    ({ manifest }) => manifest.files[0]!.size_bytes = 9,
    ({ manifest }) => manifest.files[0]!.sha256_hash = 'a'.repeat(64),
    ({ manifest }) => delete manifest.description,
    ({ signature }) => signature.signature_hex = '00'.repeat(64),
    ({ signature }) => signature.signature_hex = '',
  ]
  for (const change of changes) {
    await assert.rejects(verifyManifest(edited(change), trust), { code: 'signature_invalid' })
  }
})

test('verifyManifest() refuses a signer whom nobody trusts, whatever the file says of its key', async () => {
  const other = trustKeys(key.publicKey)
  await assert.rejects(verifyManifest(file, other), { code: 'signer_untrusted' })
  await assert.rejects(verifyManifest(file, { signers: [] }), { code: 'signer_untrusted' })
  const rsa = await generateKey(ALGORITHMS['ML-DSA-65'])
  await assert.rejects(verifyManifest(file, trustKeys(rsa.publicKey)), { code: 'signer_untrusted' })
  // signed by one key, naming another that is trusted
  const forged = await signedAnew(() => {})
  await assert.rejects(verifyManifest(forged, trust), { code: 'signature_invalid' })
})

test('verifyManifest() refuses a revoked, an expired and a not yet valid key', async () => {
  const [signer] = trust.signers
  const cases = [
    [{ status: 'revoked', revokedAt: NOW + 9 }, 'key_revoked'],
    [{ notAfter: NOW }, 'key_expired'],
    [{ notBefore: NOW + 1 }, 'key_not_yet_valid'],
  ] as const
  for (const [change, code] of cases) {
    const signers = [{ ...signer!, ...change }]
    await assert.rejects(verifyManifest(file, { signers }, { now: NOW }), { code })
  }
  await assert.rejects(verifyManifest(file, { ...trust, threshold: 2 }), { code: 'policy_denied' })
  await verifyManifest(file, { ...trust, threshold: 1 })
})

test('verifyManifest() refuses names and digests that a disk should never see, though signed', async () => {
  const first = (member: string, value: unknown) => (json: Loose) => {
    json.manifest.files[0]![member] = value
  }
  const cases: [(json: Loose) => unknown, string][] = [
    ...['../x', '/etc/passwd', 'a/../b', './a', 'a//b', '', 'a\\b', 'a\0b', 'a/', '.'].map((
      name,
    ): [(json: Loose) => unknown, string] => [first('path', name), 'name_invalid']),
    [first('path', PATHS[1]), 'name_duplicate'],
    [first('path', PATHS[1]!.toUpperCase()), 'name_collision'],
    [first('sha256_hash', 'A'.repeat(64)), 'digest_malformed'],
    [first('sha256_hash', 'a'.repeat(63)), 'digest_malformed'],
    [({ manifest }) => manifest.files = [], 'model_empty'],
    [({ manifest }) => delete (manifest as Partial<Loose['manifest']>).files, 'model_empty'],
  ]
  const ours = trustKeys(key.publicKey)
  for (const [edit, code] of cases) {
    await assert.rejects(verifyManifest(await signedAnew(edit), ours), { code })
  }
  const collision = await signedAnew(first('path', PATHS[1]!.toUpperCase()))
  await verifyManifest(collision, ours, { allowCaseCollisions: true })
})

test('parseSignedManifest() refuses what the old tool could not have written', () => {
  const texts = [
    '',
    'null',
    '[]',
    '{}',
    fileText.slice(0, -9),
    fileText.replace('"ed25519"', '"rsa"'),
    fileText.replace(/"signature_hex": "../, '"signature_hex": "xx'),
    fileText.replace(/"signature_hex": "./, '"signature_hex": "'),
    fileText.replace('"author"', '"writer"'),
    fileText.replace('"1.2.3"', '1.2'),
    fileText.replace('"size_bytes": 8', '"size_bytes": -8'),
    fileText.replace('"size_bytes": 8', '"size_bytes": 8.5'),
    fileText.replace('"size_bytes": 8', '"size_bytes": 9007199254740993'),
    fileText.replace('"size_bytes": 8', '"size_bytes": true'),
    fileText.replace('"pytorch"', '"\\ud800"'),
    fileText.replace('"files": [', '"files": {'),
    '{"manifest":'.repeat(100),
  ]
  for (const text of texts) {
    assert.notEqual(text, fileText)
    assert.throws(() => parseSignedManifest(utf8(text)), { code: 'manifest_malformed' }, text)
  }
})

for (const { what, accepted, text } of vectors.readings) {
  test(`what the old tool accepts: ${what}: is ${accepted ? 'accepted' : 'refused'}`, async () => {
    if (accepted) await verifyManifest(utf8(text), trust)
    else {
      await assert.rejects(
        verifyManifest(utf8(text), trust),
        (error) =>
          error instanceof SignetError &&
          ['manifest_malformed', 'algorithm_mismatch'].includes(error.code),
      )
    }
  })
}

test('the canonical bytes are those of the old tool', async () => {
  const bytes = manifestBytes(parseSignedManifest(file).manifest)
  assert.equal(new TextDecoder().decode(bytes), vectors.canonical)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  assert.equal(toHex(digest), vectors.canonicalSha256)
})

test('times are written as the old tool does, and refused where it refuses', () => {
  const time = (text: string) => new Members({ at: parseJson(text) }, 'test').time('at')
  for (const { text, rendered } of vectors.times) assert.equal(time(text), rendered, text)
  for (const text of vectors.noTimes) {
    assert.throws(() => time(text), { code: 'manifest_malformed' }, text)
  }
  assert.ok(vectors.times.length > 15 && vectors.noTimes.length > 15)
})

for (const name of NAMES) {
  test(`a manifest signed with ${name} verifies under its key alone`, async () => {
    const bytes = utf8(vectors.signed[name].file)
    const verified = await verifyManifest(bytes, await trustOf(...NAMES))
    assert.equal(verified.signer.algorithm, name)
    assert.equal(verified.signer.keyId, (await trustOf(name)).signers[0]!.key.id)
    const others = NAMES.filter((other) => other !== name)
    await assert.rejects(verifyManifest(bytes, await trustOf(...others)), {
      code: 'signer_untrusted',
    })
    const flipped = edited((json) => {
      const hex = json.signature.signature_hex as string
      json.signature.signature_hex = hex.slice(0, -1) + (hex.endsWith('0') ? '1' : '0')
    }, vectors.signed[name].file)
    await assert.rejects(verifyManifest(flipped, await trustOf(name)), {
      code: 'signature_invalid',
    })
  })
}

test('no flipped bit of a manifest is believed', async () => {
  const { manifest } = await verifyManifest(file, trust)
  let refused = 0
  for (let i = 0; i < file.length; i++) {
    const flipped = file.slice()
    flipped[i]! ^= 1 << (i % 8)
    try {
      assert.deepEqual((await verifyManifest(flipped, trust)).manifest, manifest, `byte ${i}`)
    } catch (error) {
      assert.ok(error instanceof SignetError, `byte ${i}: ${error}`)
      refused++
    }
  }
  assert.ok(refused > file.length / 3, `${refused} of ${file.length}`)
})

test('random and mutated input throws nothing but SignetError', async () => {
  const attack = async (bytes: Uint8Array) => {
    const reads = [() => verifyManifest(bytes, trust), () => importRegistry(bytes)]
    for (const read of reads) {
      try {
        await read()
      } catch (error) {
        assert.ok(error instanceof SignetError, String(error))
      }
    }
  }
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), attack), { numRuns: 100 })
  await fc.assert(
    fc.asyncProperty(fc.json(), (text) => attack(utf8(text.toWellFormed()))),
    { numRuns: 100 },
  )
  const members = [
    'manifest',
    'signature',
    'author',
    'created_at',
    'files',
    'path',
    'signature_hex',
  ]
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...members), fc.jsonValue(), async (name, value) => {
      const replace = (k: string, v: unknown) => k === name ? value : v
      await attack(utf8(JSON.stringify(JSON.parse(fileText, replace))))
    }),
    { numRuns: 200 },
  )
  const fields = ['publisher_id', 'name', 'public_key', 'trusted_since']
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...fields), fc.jsonValue(), async (name, value) => {
      const entries = JSON.parse(vectors.registry) as Record<string, unknown>[]
      entries[0]![name] = value
      await attack(utf8(JSON.stringify(entries)))
    }),
    { numRuns: 200 },
  )
})

test('what is not signed is told apart from what is', async () => {
  const bytes = edited(({ signature }) => {
    signature.signer_id = 'ceo@bigbank.example'
    signature.public_key = 'AAAA'
  })
  const verified = await verifyManifest(bytes, trust)
  assert.equal(verified.unverified.signerId, 'ceo@bigbank.example')
  assert.equal(verified.signer.publisher, undefined)
  assert.equal(verified.signer.keyId, trust.signers[0]!.key.id)
  assert.doesNotMatch(JSON.stringify([verified.signer, verified.manifest]), /bigbank/)
  const named = { signers: [{ ...trust.signers[0]!, publisher: 'Alice' }] }
  assert.equal((await verifyManifest(bytes, named)).signer.publisher, 'Alice')
})

async function statuses(subject: FileTree, options = {}) {
  const { ok, files } = await compareManifest(await verifyManifest(file, trust), subject, options)
  const odd = files.filter(({ status }) => status !== 'ok')
  return [ok, ...odd.map(({ status, path }) => `${status} ${path}`)]
}

test('compareManifest() tells changed, missing and extra files, also in .git', async () => {
  assert.deepEqual(await statuses(tree()), [true])
  const subject = tree((files) => {
    files.set('config.json', utf8('{"d":9}\n'))
    files.delete('sub-2/x.bin')
    files.set('evil.py', utf8('import os'))
    files.set('.git/hooks/post-checkout', utf8('#!/bin/sh'))
    files.set('signed_manifest.json', file)
  })
  assert.deepEqual(await statuses(subject, { own: 'signed_manifest.json' }), [
    false,
    'extra .git/hooks/post-checkout',
    'changed config.json',
    'extra evil.py',
    'ignored signed_manifest.json',
    'missing sub-2/x.bin',
  ])
  const ignore = ['.git', 'evil.py', 'signed_manifest.json']
  const [, ...rest] = await statuses(subject, { ignore })
  assert.ok(rest.includes('ignored evil.py') && rest.includes('changed config.json'))
})

test('compareManifest() refuses a link in the place of a file', async () => {
  const plain = tree()
  const linked: FileTree = {
    ...plain,
    async *list(options) {
      for await (const entry of plain.list(options)) {
        yield entry.path === 'config.json' ? { ...entry, kind: 'symlink', size: 0 } : entry
      }
    },
  }
  assert.deepEqual(await statuses(linked), [false, 'changed config.json'])
})

test('compareManifest() looks past a manifest that lists its own predecessor', async () => {
  const bytes = await signedAnew(({ manifest }) =>
    manifest.files.push({
      path: 'signed_manifest.json',
      size_bytes: 3,
      sha256_hash: 'a'.repeat(64),
    })
  )
  const verified = await verifyManifest(bytes, trustKeys(key.publicKey))
  const subject = tree((files) => files.set('signed_manifest.json', bytes))
  assert.equal((await compareManifest(verified, subject)).ok, false)
  const report = await compareManifest(verified, subject, { own: 'signed_manifest.json' })
  assert.equal(report.ok, true)
  assert.equal(report.counts.ignored, 1)
})

const sealer = await generateKey(ALGORITHMS['ES256'])
const migrate = (subject: FileTree, options = {}, manifest: Uint8Array = file, whom = trust) =>
  migrateModel(subject, manifest, whom, [{ key: sealer }], options)

test('migrateModel() seals nothing unless the old seal and every file hold', async () => {
  await assert.rejects(migrate(tree((files) => files.set('evil.py', utf8('')))), {
    code: 'content_differs',
    where: 'evil.py',
  })
  await assert.rejects(migrate(tree((files) => files.delete('config.json'))), {
    code: 'content_differs',
  })
  await assert.rejects(migrate(tree(), {}, file, trustKeys(key.publicKey)), {
    code: 'signer_untrusted',
  })
  const long = { metadata: { description: 'x'.repeat(4097) } }
  await assert.rejects(migrate(tree(), long), { code: 'usage_invalid' })
})

test('migrateModel() refuses files that come, go or change on the way', async () => {
  for (const change of ['extra.bin', undefined] as const) {
    const plain = tree()
    let listings = 0
    const moving: FileTree = {
      ...plain,
      async *list(options) {
        const second = ++listings === 2
        for await (const entry of plain.list(options)) {
          if (second && change === undefined && entry.path === 'config.json') continue
          yield entry
        }
        if (second && change !== undefined) yield { path: change, kind: 'file', size: 1 }
      },
      digest: (path, request) =>
        path === change ? Promise.resolve(new Uint8Array(32)) : plain.digest(path, request),
    }
    await assert.rejects(migrate(moving), { code: 'file_changed' })
  }
})

test('migrateModel() carries what was signed and leaves the old manifest out', async () => {
  const subject = tree((files) => files.set('signed_manifest.json', file))
  const { bundles, old, uncovered, comparison } = await migrate(subject, {
    own: 'signed_manifest.json',
    ignore: ['model.sig'],
    metadata: { license: 'MIT' },
  })
  assert.equal(comparison.ok, true)
  assert.deepEqual(uncovered, [])
  assert.equal(old.unverified.signerId, 'alice@example.com')
  const after = contents() // the old manifest is deleted afterwards
  const report = await verifyModel(
    [{ name: 'model.sig', bytes: bundles[0]! }],
    streamTree(after),
    trustKeys(sealer.publicKey),
  )
  assert.equal(report.ok, true)
  assert.equal(report.counts.ok, PATHS.length)
  assert.equal(report.model.name, 'tiny-é')
  assert.deepEqual({ ...report.model.metadata }, {
    version: '1.2.3',
    framework: 'pytorch',
    author: 'Al\u007f"ice\\ /\n',
    description: '\u{1f600} \ufffd',
    license: 'MIT',
    created: '2025-01-02T03:04:05.120000Z',
  })
  assert.ok(report.model.serialization.ignorePaths.includes('signed_manifest.json'))
  assert.doesNotMatch(new TextDecoder().decode(bundles[0]!), /alice@example/)
})

test('migrateModel() reads each file once, and says what is no longer covered', async () => {
  const attributes = utf8('*.bin lfs\n')
  const digest = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', attributes)))
  const bytes = await signedAnew(({ manifest }) =>
    manifest.files.push({
      path: '.gitattributes',
      size_bytes: attributes.length,
      sha256_hash: digest,
    })
  )
  const plain = tree((files) => files.set('.gitattributes', attributes))
  const reads: string[] = []
  const counting: FileTree = {
    ...plain,
    digest: (path, request) => {
      reads.push(path)
      return plain.digest(path, request)
    },
  }
  const ours = trustKeys(key.publicKey)
  const { uncovered } = await migrate(counting, {}, bytes, ours)
  assert.deepEqual(uncovered, ['.gitattributes'])
  assert.deepEqual(reads.toSorted(), [...PATHS, '.gitattributes'].toSorted())
  const whole = await migrate(plain, { noDefaultIgnores: true }, bytes, ours)
  assert.deepEqual(whole.uncovered, [])
  assert.equal(whole.resources.length, PATHS.length + 1)
})

test('importRegistry() refuses what is no registry', async () => {
  const entries = JSON.parse(vectors.registry) as Record<string, string>[]
  const pem = vectors.signed.Ed25519.publicPem
  const cases: [unknown, string][] = [
    [{}, 'manifest_malformed'],
    [[1], 'manifest_malformed'],
    [[{ ...entries[0], name: undefined }], 'manifest_malformed'],
    [[{ ...entries[0], trusted_since: 'always' }], 'manifest_malformed'],
    [[entries[0], entries[0]], 'manifest_malformed'],
    [[{ ...entries[0], public_key: 'not base64' }], 'manifest_malformed'],
    [[{ ...entries[0], public_key: toBase64(utf8('no PEM')) }], 'pem_malformed'],
    [[{ ...entries[0], public_key: toBase64(utf8(pem + pem)) }], 'manifest_malformed'],
    [
      [{ ...entries[0], public_key: toBase64(utf8(pem.replaceAll('PUBLIC', 'PRIVATE'))) }],
      'key_malformed',
    ],
  ]
  for (const [value, code] of cases) {
    await assert.rejects(
      importRegistry(utf8(JSON.stringify(value))),
      { code },
      JSON.stringify(value),
    )
  }
  const duplicate = vectors.registry.replace('"name"', '"name":"x","name"')
  await assert.rejects(importRegistry(utf8(duplicate)), { code: 'manifest_malformed' })
})

test('importRegistry() gives publishers that verify, from the time they are trusted', async () => {
  const publishers = await importRegistry(utf8(vectors.registry))
  assert.deepEqual(publishers.map(({ name }) => name), NAMES.map((name) => `Signer ${name}`))
  const since = Date.parse('2025-01-02T03:04:06Z') / 1000
  assert.deepEqual(publishers.map(({ members }) => members[0]!.notBefore), NAMES.map(() => since))
  const signers = publishers.flatMap(({ name, members }) =>
    members.map((member) => ({ ...member, publisher: name }))
  )
  const verified = await verifyManifest(file, { signers }, { now: NOW })
  assert.equal(verified.signer.publisher, 'Signer Ed25519')
  await assert.rejects(verifyManifest(file, { signers }, { now: since - 1 }), {
    code: 'key_not_yet_valid',
  })
})

test('importRegistry() keeps publishers of one name apart', async () => {
  const entries = JSON.parse(vectors.registry) as Record<string, string>[]
  const named = (...names: string[]) =>
    utf8(JSON.stringify(names.map((name, i) => ({ ...entries[i], name }))))
  const names = async (...given: string[]) =>
    (await importRegistry(named(...given))).map(({ name }) => name)
  assert.deepEqual(await names('Alice', 'ALICE', ' Bob '), [
    'Alice (Ed25519@example.com)',
    'ALICE (ES256@example.com)',
    'Bob',
  ])
  assert.deepEqual(await names('', 'Bob'), ['Ed25519@example.com', 'Bob'])
  // a list of ours takes them, once each
  let list = newPublishers({ name: 'imported', owners: [key.publicKey], issued: NOW })
  for (const publisher of await importRegistry(named('A', 'B'))) {
    list = addPublisher(list, publisher)
  }
  assert.throws(() => addKey(list, 'C', list.publishers[0]!.members[0]!.key), {
    code: 'usage_invalid',
  })
  // times without a zone are taken as UTC, before 1970 as 1970
  const at = async (trusted_since: unknown) => {
    const bytes = utf8(JSON.stringify([{ ...entries[0], trusted_since }]))
    return (await importRegistry(bytes))[0]!.members[0]!.notBefore
  }
  assert.equal(await at('1970-01-01T00:01:00'), 60)
  assert.equal(await at('1970-01-01T01:01:00.5+01:00'), 61)
  assert.equal(await at('1960-01-01T00:00:00Z'), 0)
})
