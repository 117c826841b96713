import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodeStatement,
  type ErrorCode,
  type Resource,
  type Serialization,
  signEnvelope,
  type Statement,
  STATEMENT_TYPE,
  verifyEnvelope,
} from '../../mod.ts'
import { type Bytes, fromUtf8, utf8 } from '../../src/bytes.ts'
// Not on the room's face: what it writes is to be read with nothing between.
import { encodeStatement } from '../../src/models/statement_write.ts'
import { BAD_NAMES, type Draft, draftOf, key, outcome, refuses, rootOf, runs } from './_seals.ts'

/** Reads a payload that was properly signed. */
async function decode(
  payload: unknown,
  options?: { readonly allowCaseCollisions?: boolean },
  type: string = STATEMENT_TYPE,
): Promise<Statement> {
  const bytes = payload instanceof Uint8Array ? payload as Bytes : utf8(JSON.stringify(payload))
  const envelope = await signEnvelope(type, bytes, key)
  return await decodeStatement(await verifyEnvelope(envelope, key.publicKey), options)
}

const good = await draftOf({ 'config.json': '{}', 'weights.bin': 'weights' })
const [first, second] = good.predicate.resources as [
  Record<string, unknown>,
  Record<string, unknown>,
]

/** The good statement with something done to it; the root is made right again unless told otherwise. */
async function spoilt(edit: (draft: Draft) => unknown, keepRoot: boolean = false) {
  const draft = structuredClone(good)
  const other = edit(draft)
  if (other !== undefined) return other
  const [subject] = draft.subject
  if (!keepRoot && subject) subject.digest = { sha256: await rootOf(draft.predicate.resources) }
  return draft
}

const resources = (...list: unknown[]) => (draft: Draft) =>
  void (draft.predicate.resources = list as Draft['predicate']['resources'])
const serialization = (change: object) => (draft: Draft) =>
  void Object.assign(draft.predicate.serialization, change)

const REFUSED: readonly (readonly [string, ErrorCode, (draft: Draft) => unknown])[] = [
  ['null', 'statement_malformed', () => null],
  ['a number', 'statement_malformed', () => 1],
  ['a text', 'statement_malformed', () => 'statement'],
  ['an array', 'statement_malformed', (draft) => [draft]],
  ['nothing in it', 'statement_malformed', () => ({})],
  ['another statement type', 'statement_malformed', (draft) => void (draft._type += '#')],
  [
    'the statement type of v0.1',
    'statement_malformed',
    (draft) => void (draft._type = 'https://in-toto.io/Statement/v0.1'),
  ],
  ['no predicate type', 'statement_malformed', (draft) => delete draft.predicateType && undefined],
  [
    'a predicate type that is no text',
    'statement_malformed',
    (draft) => void (draft.predicateType = 1),
  ],
  [
    'the predicate type of 0.2.0',
    'predicate_type',
    (draft) => void (draft.predicateType = 'https://model_signing/Digests/v0.1'),
  ],
  [
    'the predicate type of SLSA',
    'predicate_type',
    (draft) => void (draft.predicateType = 'https://slsa.dev/provenance/v1'),
  ],
  [
    'a predicate type with a slash more',
    'predicate_type',
    (draft) => void (draft.predicateType += '/'),
  ],
  ['no subject', 'statement_malformed', (draft) => void (draft.subject = [])],
  ['two subjects', 'statement_malformed', (draft) => void draft.subject.push(draft.subject[0]!)],
  [
    'a subject without a name',
    'statement_malformed',
    (draft) => delete draft.subject[0]!.name && undefined,
  ],
  [
    'a subject without a digest',
    'statement_malformed',
    (draft) => ({ ...draft, subject: [{ name: 'a' }] }),
  ],
  [
    'a subject with a second digest',
    'statement_malformed',
    (draft) => ({ ...draft, subject: [{ name: 'a', digest: { sha256: '00', sha512: '00' } }] }),
  ],
  [
    'annotations that are no object',
    'statement_malformed',
    (draft) => void (draft.subject[0]!.annotations = 'by me'),
  ],
  ['no predicate', 'statement_malformed', (draft) => ({ ...draft, predicate: undefined })],
  ['a member that nobody knows', 'statement_malformed', (draft) => void (draft.extra = 1)],
  [
    'a member of the predicate that nobody knows',
    'statement_malformed',
    (draft) => void (draft.predicate.extra = 1),
  ],
  [
    'a member of the serialization that nobody knows',
    'statement_malformed',
    serialization({ extra: 1 }),
  ],
  ['another method', 'statement_malformed', serialization({ method: 'tar' })],
  ['another hash', 'statement_malformed', serialization({ hash_type: 'md5' })],
  ['a hash in capitals', 'statement_malformed', serialization({ hash_type: 'SHA256' })],
  [
    'links neither allowed nor not',
    'statement_malformed',
    serialization({ allow_symlinks: 'false' }),
  ],
  ['a shard size without shards', 'statement_malformed', serialization({ shard_size: 1 })],
  [
    'ignored paths that are no list',
    'statement_malformed',
    serialization({ ignore_paths: '.git' }),
  ],
  ['an ignored path that is no text', 'statement_malformed', serialization({ ignore_paths: [1] })],
  ['an ignored path of nothing', 'statement_malformed', serialization({ ignore_paths: [''] })],
  ['an ignored path outside', 'name_invalid', serialization({ ignore_paths: ['../x'] })],
  ['an ignored path from the root', 'name_invalid', serialization({ ignore_paths: ['/'] })],
  [
    'too many ignored paths',
    'statement_malformed',
    serialization({ ignore_paths: new Array(10_001).fill('a') }),
  ],
  ['no resources', 'statement_malformed', resources()],
  [
    'resources that are no list',
    'statement_malformed',
    (draft) => ({ ...draft, predicate: { ...draft.predicate, resources: {} } }),
  ],
  [
    'a resource that is null',
    'statement_malformed',
    (draft) => ({ ...draft, predicate: { ...draft.predicate, resources: [null] } }),
  ],
  [
    'a resource that is a text',
    'statement_malformed',
    (draft) => ({ ...draft, predicate: { ...draft.predicate, resources: ['a'] } }),
  ],
  ['a resource without a name', 'statement_malformed', resources({ ...first, name: undefined })],
  ['a name that is a number', 'statement_malformed', resources({ ...first, name: 1 })],
  [
    'a resource without an algorithm',
    'statement_malformed',
    resources({ ...first, algorithm: undefined }),
  ],
  [
    'another algorithm than the whole',
    'statement_malformed',
    resources({ ...first, algorithm: 'blake3' }),
  ],
  [
    'a resource without a digest',
    'statement_malformed',
    resources({ ...first, digest: undefined }),
  ],
  [
    'a digest as a set',
    'statement_malformed',
    resources({ ...first, digest: { sha256: first.digest } }),
  ],
  ['a name twice', 'name_duplicate', resources(first, second, first)],
  [
    'a name twice with two digests',
    'name_duplicate',
    resources(first, { ...second, name: first.name }),
  ],
  [
    'names that differ in case',
    'name_collision',
    resources(first, { ...second, name: 'Config.json' }),
  ],
  [
    'names that differ in normalisation',
    'name_collision',
    resources({ ...first, name: 'é' }, { ...second, name: 'e\u0301' }),
  ],
]

for (const [what, code, edit] of REFUSED) {
  test(`decodeStatement() refuses ${what}, though properly signed`, async () => {
    await refuses(code, async () => decode(await spoilt(edit)))
  })
}

test('decodeStatement() reads the statement that the others are spoilt forms of', async () => {
  const { name, root, resources, serialization, metadata } = await decode(await spoilt(() => {}))
  assert.deepEqual([name, root, metadata], ['tiny', await rootOf(good.predicate.resources), {}])
  assert.deepEqual(resources.map(({ path }) => path), ['config.json', 'weights.bin'])
  assert.deepEqual(serialization, {
    method: 'files',
    hashType: 'sha256',
    allowSymlinks: false,
    ignorePaths: [],
  })
})

for (const [what, names] of Object.entries(BAD_NAMES)) {
  test(`decodeStatement() refuses a file name that is ${what}`, async () => {
    for (const name of names) {
      const code = name.isWellFormed() ? 'name_invalid' : 'json_surrogate'
      const payload = await spoilt(resources({ ...first, name }))
      await refuses(code, () => decode(payload), name)
      const ignored = await spoilt(serialization({ ignore_paths: [name] }))
      const isPath = name.length > 0 && name.length <= 4096
      await refuses(isPath ? code : 'statement_malformed', () => decode(ignored), name)
    }
  })
}

test('decodeStatement() refuses digests in capitals, short, long, and of other digits', async () => {
  const digest = String(first.digest)
  const digests = [digest.toUpperCase(), digest.slice(0, 62), digest.slice(1), `${digest}00`, '']
  digests.push(
    `0x${digest.slice(2)}`,
    ` ${digest.slice(1)}`,
    `${digest.slice(1)}\n`,
    digest.repeat(2),
  )
  digests.push('g'.repeat(64), '０'.repeat(64))
  for (const wrong of digests) {
    await refuses(
      'digest_malformed',
      async () => decode(await spoilt(resources({ ...first, digest: wrong }))),
      wrong,
    )
  }
  for (const algorithm of ['blake2b', 'blake3']) {
    const edit = (draft: Draft) => {
      serialization({ hash_type: algorithm })(draft)
      resources({ ...first, algorithm, digest: algorithm === 'blake3' ? `${digest}00` : digest })(
        draft,
      )
    }
    await refuses('digest_malformed', async () => decode(await spoilt(edit)), algorithm)
  }
})

test('decodeStatement() refuses a root that is not that of the list', async () => {
  const root = await rootOf(good.predicate.resources)
  const wrong = [root.toUpperCase(), root.slice(2), `${root}00`, '', '0'.repeat(64), first.digest]
  for (const sha256 of wrong) {
    await refuses(
      'root_digest_mismatch',
      async () =>
        decode(await spoilt((draft) => void (draft.subject[0]!.digest = { sha256 }), true)),
      String(sha256),
    )
  }
  // The same files in another order have another root.
  await refuses(
    'root_digest_mismatch',
    async () => decode(await spoilt(resources(second, first), true)),
  )
  assert.ok(await decode(await spoilt(resources(second, first))))
})

test('decodeStatement() refuses what was signed as something else', async () => {
  for (
    const type of [
      'application/json',
      'application/vnd.in-toto+JSON',
      'text/plain',
      `${STATEMENT_TYPE} `,
    ]
  ) {
    await refuses('payload_type', () => decode(good, {}, type), type)
  }
})

test('decodeStatement() refuses payloads that are no strict JSON', async () => {
  const text = JSON.stringify(good)
  const cases: readonly (readonly [ErrorCode, string | Uint8Array])[] = [
    ['json_malformed', ''],
    ['json_malformed', text.slice(0, -1)],
    ['json_malformed', `\ufeff${text}`],
    ['json_malformed', `${text}x`],
    ['encoding_invalid', Uint8Array.of(...utf8(text), 0x80)],
    ['json_duplicate_key', text.replace('{', '{"predicateType":"other",')],
    ['json_duplicate_key', text.replace('"resources":', '"resources":[],"resources":')],
    ['json_duplicate_key', text.replace('"digest":"', '"digest":"","digest":"')],
    [
      'json_duplicate_key',
      text.replace('"name":"config.json"', '"name":"a","n\\u0061me":"config.json"'),
    ],
    ['json_number_unsafe', text.replace('"tiny"', '9007199254740993')],
    ['json_surrogate', text.replace('"tiny"', '"\\udc00"')],
    ['json_too_deep', text.replace('"tiny"', '['.repeat(20) + ']'.repeat(20))],
  ]
  for (const [code, payload] of cases) {
    const bytes = typeof payload === 'string' ? utf8(payload) : payload
    await refuses(code, () => decode(bytes), fromUtf8(bytes.subarray(0, 60)))
  }
})

/** A statement about shards. */
async function sharded(
  names: readonly string[],
  size: { shard_size?: unknown } = { shard_size: 10 },
) {
  return await spoilt((draft) => {
    serialization({ method: 'shards', ...size })(draft)
    resources(...names.map((name) => ({ ...first, name })))(draft)
  })
}

test('decodeStatement() refuses shards with gaps, overlaps, uneven sizes and none', async () => {
  const wrong: readonly (readonly string[])[] = [
    ['a:10:20'], // does not begin at 0
    ['a:0:10', 'a:20:30'], // a gap
    ['a:0:10', 'a:5:15'], // an overlap
    ['a:0:10', 'a:10:20', 'a:10:15'],
    ['a:0:5', 'a:5:15'], // short, and not the last
    ['a:0:11'], // longer than a shard
    ['a:0:10', 'a:10:21'],
    ['a:0:10', 'a:10:10'], // nothing in it
    ['a:10:5'],
    ['a:0:10', 'b:0:10', 'a:20:25'],
    ['a:0:10', 'b:10:20'],
    ['a:0:10', 'a:0:10'], // twice
    ['a'],
    ['a:0'],
    ['a:0:'],
    ['a::10'],
    ['a:0:0'],
    ['a:00:10'],
    ['a:0:010'],
    ['a:+0:10'],
    ['a:0:1e1'],
    ['a:0:-10'],
    ['a:0: 10'],
    ['a:0:10:'],
    ['a:0:10 '],
    ['a:0:99999999999999999'],
    ['a:0:٣'],
  ]
  for (const names of wrong) {
    await refuses('statement_malformed', async () => decode(await sharded(names)), names.join(' '))
  }
  for (const name of [':0:10', '../a:0:10', '/a:0:10', 'a/:0:10', 'a\\b:0:10', 'a\0:0:10']) {
    await refuses('name_invalid', async () => decode(await sharded([name])), name)
  }
  await refuses('name_collision', async () => decode(await sharded(['A:0:10', 'a:0:10'])))
  await refuses('statement_malformed', async () => decode(await sharded(['a:0:1'], {})))
  for (const shard_size of [0, -1, 1.5, '10', null, 1e21]) {
    const payload = await sharded(['a:0:1'], { shard_size })
    await refuses('statement_malformed', () => decode(payload), String(shard_size))
  }
})

test('decodeStatement() takes the last two numbers of a shard, whatever the path holds', async () => {
  const cases = {
    'a:0:10': ['a', 0, 10],
    'path:with:colons:0:10': ['path:with:colons', 0, 10],
    'a:0:10:0:7': ['a:0:10', 0, 7],
    'a::0:7': ['a:', 0, 7],
    'sub/a b:0:1': ['sub/a b', 0, 1],
    'a\nb:0:1': ['a\nb', 0, 1],
  } as const
  for (const [name, [path, start, end]] of Object.entries(cases)) {
    const { resources: [one] } = await decode(await sharded([name]))
    assert.deepEqual([one!.path, one!.start, one!.end], [path, start, end])
  }
  const list = ['a:10:20', 'a:20:21', 'b:0:3', 'a:0:10'] // in any order
  assert.equal((await decode(await sharded(list))).resources.length, 4)
})

test("decodeStatement() takes the reference's name for digests of shards, and no other size's", async () => {
  const named = async (algorithm: string, method = 'shards') =>
    await spoilt((draft) => {
      serialization(method === 'files' ? {} : { method, shard_size: 10 })(draft)
      resources({ ...first, name: 'a:0:10', algorithm })(draft)
    })
  assert.equal((await decode(await named('sha256-sharded-10'))).resources[0]!.algorithm, 'sha256')
  for (const other of ['sha256-sharded-9', 'sha256-sharded-', 'blake2b-sharded-10', 'sha256-10']) {
    await refuses('statement_malformed', async () => decode(await named(other)), other)
  }
  await refuses(
    'statement_malformed',
    async () => decode(await named('sha256-sharded-10', 'files')),
  )
})

test('decodeStatement() takes names that collide if told, but none twice', async () => {
  const both = await spoilt(resources(first, { ...second, name: 'Config.json' }))
  assert.equal((await decode(both, { allowCaseCollisions: true })).resources.length, 2)
  const twice = await spoilt(resources(first, { ...second, name: 'Config.json' }, first))
  await refuses('name_duplicate', () => decode(twice, { allowCaseCollisions: true }))
})

test('decodeStatement() passes over members of resources and subjects that it does not know', async () => {
  const payload = await spoilt((draft) => {
    resources({ ...first, uri: 'https://example.com', annotations: { size: 2, other: [1] } }, {
      ...second,
      annotations: 'none',
    })(draft)
    draft.subject[0]!.uri = 'https://example.com'
    draft.subject[0]!.annotations = {
      version: '1',
      author: 7,
      other: {},
      description: 'd'.repeat(5000),
    }
  })
  const { resources: [one, two], metadata } = await decode(payload)
  assert.equal(one!.size, 2)
  assert.ok(!('size' in two!))
  assert.deepEqual(metadata, { version: '1' })
})

test('decodeStatement() reads the name "." of a single-file model of old, and no other dots', async () => {
  const { resources: [one] } = await decode(await spoilt(resources({ ...first, name: '.' })))
  assert.equal(one!.path, '.')
  const { resources: [shard] } = await decode(await sharded(['.:0:5']))
  assert.equal(shard!.path, '.')
  for (const name of ['./', './a', '..', './.']) {
    await refuses('name_invalid', async () => decode(await spoilt(resources({ ...first, name }))))
  }
})

const encodable: Omit<Statement, 'root'> = {
  name: 'tiny',
  serialization: {
    method: 'files',
    hashType: 'sha256',
    allowSymlinks: false,
    ignorePaths: ['.git'],
  },
  resources: [{ path: 'a', algorithm: 'sha256', digest: '0'.repeat(64), size: 3 }],
  metadata: {},
}

test('encodeStatement() refuses to write what decodeStatement() would refuse to read', async () => {
  const cases: readonly (readonly [ErrorCode, Partial<Statement>])[] = [
    ['usage_invalid', { name: '' }],
    ['usage_invalid', { name: 'n'.repeat(4097) }],
    ['usage_invalid', { name: '\ud800' }],
    ['usage_invalid', { metadata: { description: 'd'.repeat(4097) } }],
    ['usage_invalid', { metadata: { author: 'a\udc00' } }],
    ['usage_invalid', { metadata: { version: '' } }],
    ['too_large', {
      serialization: { ...encodable.serialization, ignorePaths: new Array(10_001).fill('a') },
    }],
    ['too_large', { resources: new Array(3_000_001).fill(encodable.resources[0]) }],
  ]
  for (const path of ['*.tmp', 'a?', 'a[1]']) {
    const ignorePaths = ['.git', path]
    await refuses(
      'usage_invalid',
      () =>
        encodeStatement({
          ...encodable,
          serialization: { ...encodable.serialization, ignorePaths },
        }),
    )
  }
  for (const [code, change] of cases) {
    await refuses(code, () => encodeStatement({ ...encodable, ...change }))
  }
  await decode(await encodeStatement(encodable))
})

test('decodeStatement() reads just what encodeStatement() was given', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  const path = fc.array(
    fc.string({
      unit: fc.constantFrom('a', 'B', ':', '0', ' ', 'é', '模', '😀'),
      minLength: 1,
      maxLength: 6,
    }),
    {
      minLength: 1,
      maxLength: 3,
    },
  ).map((parts) => parts.join('/'))
  const digestOf = (bytes: number) =>
    fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((all) =>
      [...all].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    )
  const files = fc.constantFrom('sha256' as const, 'blake2b' as const, 'blake3' as const).chain(
    (algorithm) =>
      fc.record({
        serialization: fc.record({
          method: fc.constant('files' as const),
          hashType: fc.constant(algorithm),
          allowSymlinks: fc.boolean(),
          ignorePaths: fc.array(path),
        }, { noNullPrototype: true }) satisfies fc.Arbitrary<Serialization>,
        resources: fc.uniqueArray(
          fc.record({
            path,
            algorithm: fc.constant(algorithm),
            digest: digestOf(algorithm === 'blake2b' ? 64 : 32),
            size: fc.nat(),
          }, { noNullPrototype: true, requiredKeys: ['path', 'algorithm', 'digest'] }),
          { selector: ({ path }) => path, minLength: 1 },
        ) as fc.Arbitrary<Resource[]>,
      }),
  )
  const metadata = fc.record({ version: text, author: text, description: text }, {
    noNullPrototype: true,
    requiredKeys: [],
  })
  await fc.assert(
    fc.asyncProperty(
      text,
      files,
      metadata,
      async (name, { serialization, resources }, metadata) => {
        const given = { name, serialization, resources, metadata }
        const { root, ...read } = await decode(await encodeStatement(given), {
          allowCaseCollisions: true,
        })
        assert.deepEqual(read, given)
        assert.equal(root, await rootOf(resources as unknown as Record<string, unknown>[]))
      },
    ),
    runs(100),
  )
})

test('encodeStatement() writes compact JSON, the same at every length', async () => {
  for (const count of [1, 4095, 4096, 4097, 9000]) {
    const resources = Array.from({ length: count }, (_, i): Resource => ({
      ...encodable.resources[0]!,
      path: `f${i}`,
    }))
    const text = fromUtf8(await encodeStatement({ ...encodable, resources }))
    const json = JSON.parse(text) as Draft
    assert.equal(JSON.stringify(json), text)
    assert.deepEqual(
      json.predicate.resources.map(({ name }) => name),
      resources.map(({ path }) => path),
    )
    assert.deepEqual(json.subject[0]!.digest, { sha256: await rootOf(json.predicate.resources) })
  }
})

test('decodeStatement() throws nothing but SignetError, whatever JSON was signed', async () => {
  const places = [
    ...['_type', 'subject', 'predicateType', 'predicate', 'serialization', 'resources'],
    ...['method', 'hash_type', 'shard_size', 'allow_symlinks', 'ignore_paths'],
    ...['name', 'digest', 'algorithm', 'annotations'],
  ]
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), fc.jsonValue(), async (place, value) => {
      const holes = JSON.stringify(good, (name, old) => name === place ? '@hole' : old)
      await outcome(() => decode(utf8(holes.replaceAll('"@hole"', () => JSON.stringify(value)))))
    }),
    runs(500),
  )
  const text = JSON.stringify(good)
  const edit = fc.record({
    at: fc.nat(text.length),
    cut: fc.nat(6),
    put: fc.string({ maxLength: 3 }),
  })
  await fc.assert(
    fc.asyncProperty(edit, async ({ at, cut, put }) => {
      await outcome(() => decode(utf8(text.slice(0, at) + put + text.slice(at + cut))))
    }),
    runs(500),
  )
})
