import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  compareTree,
  type DigestAlgorithm,
  digestTree,
  type FileTree,
  sealModel,
  type StreamFile,
  streamTree,
  trustKeys,
  verifyModel,
} from '../../mod.ts'
import { fromHex, toHex, utf8 } from '../../src/bytes.ts'
import { filesOf, key, outcome, refuses, sha256 } from './_seals.ts'

/** A stream of chunks that says it has `size` bytes. */
function stream(size: number, ...chunks: readonly (Uint8Array | string)[]): StreamFile {
  return {
    size,
    stream: () =>
      new ReadableStream({
        start(controller) {
          for (const chunk of chunks) {
            controller.enqueue(typeof chunk === 'string' ? utf8(chunk) : chunk)
          }
          controller.close()
        },
      }),
  }
}

const one = (file: StreamFile): FileTree => streamTree(new Map([['a', file]]))
const digestOf = async (file: StreamFile, start?: number, end?: number) =>
  toHex(
    await one(file).digest('a', {
      algorithm: 'sha256',
      ...(start === undefined ? {} : { start }),
      ...(end === undefined ? {} : { end }),
    }),
  )

test('streamTree() refuses a stream that is shorter or longer than it said', async () => {
  const lies = [
    stream(3, 'ab'),
    stream(1, 'ab'),
    stream(0, 'a'),
    stream(1),
    stream(4, 'ab', '', 'c'),
  ]
  for (const [i, file] of lies.entries()) {
    await refuses('file_changed', () => digestOf(file), `lie ${i}`)
    // As the last shard, which ends where the file should.
    const size = (file as { size: number }).size
    if (size > 0) await refuses('file_changed', () => digestOf(file, 0, size), `shard of lie ${i}`)
  }
  await refuses('file_changed', () => digestOf(utf8('abc'), 0, 4))
  await refuses('file_changed', () => digestOf(stream(9, 'abc'), 2, 5))
})

test('streamTree() gives up a stream that never ends once it is longer than it said', async () => {
  let pulled = 0
  let cancelled = false
  const endless: StreamFile = {
    size: 10,
    stream: () =>
      new ReadableStream({
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(4))
        },
        cancel() {
          cancelled = true
        },
      }),
  }
  await refuses('file_changed', () => digestOf(endless))
  assert.ok(pulled < 8 && cancelled)
})

test('streamTree() reads no more of a stream than a shard needs', async () => {
  let pulled = 0
  const long: StreamFile = {
    size: 4000,
    stream: () =>
      new ReadableStream({
        pull(controller) {
          if (pulled++ === 1000) controller.close()
          else controller.enqueue(new Uint8Array(4))
        },
      }),
  }
  assert.equal(await digestOf(long, 4, 10), await sha256(new Uint8Array(6)))
  assert.ok(pulled < 10)
})

test('streamTree() calls a stream unreadable that fails, or is none', async () => {
  const failing: StreamFile = {
    size: 4,
    stream: () =>
      new ReadableStream({
        pull(controller) {
          controller.error(new TypeError('secret of the source'))
        },
      }),
  }
  const throwing: StreamFile = {
    size: 4,
    stream() {
      throw new RangeError('no stream')
    },
  }
  const locked = stream(1, 'a') as { size: number; stream(): ReadableStream<Uint8Array> }
  const same = locked.stream()
  same.getReader()
  for (const file of [failing, throwing, { size: 1, stream: () => same }]) {
    await refuses('file_unreadable', () => digestOf(file))
  }
  await refuses('file_unreadable', () => one(utf8('')).digest('b', { algorithm: 'sha256' }))
})

test('streamTree() ends with "aborted", even while a stream keeps it waiting', async () => {
  await refuses(
    'aborted',
    () => one(stream(1, 'a')).digest('a', { algorithm: 'sha256', signal: AbortSignal.abort() }),
  )
  const control = new AbortController()
  let cancelled = false
  const silent: StreamFile = {
    size: 1,
    stream: () =>
      new ReadableStream({
        cancel() {
          cancelled = true
        },
      }),
  }
  const waiting = outcome(() =>
    one(silent).digest('a', { algorithm: 'sha256', signal: control.signal })
  )
  await new Promise((turn) => setTimeout(turn, 5))
  control.abort()
  assert.equal(await waiting, 'aborted')
  assert.ok(cancelled)
})

test('streamTree() digests bytes, blobs and streams alike, whole and in part, by every digest', async () => {
  const content = Uint8Array.from({ length: 1000 }, (_, i) => i * 7)
  const chunks = [
    content.subarray(0, 1),
    content.subarray(1, 400),
    new Uint8Array(),
    content.subarray(400),
  ]
  const files = [content, new Blob([content]), stream(1000, ...chunks)]
  for (const [start, end] of [[0, 1000], [0, 1], [1, 400], [399, 401], [999, 1000], [500, 500]]) {
    const expected = await sha256(content.subarray(start, end))
    for (const file of files) assert.equal(await digestOf(file, start, end), expected)
  }
  for (const algorithm of ['sha256', 'blake2b', 'blake3'] as DigestAlgorithm[]) {
    const digests = await Promise.all(files.map((file) => one(file).digest('a', { algorithm })))
    assert.deepEqual(digests[1], digests[0])
    assert.deepEqual(digests[2], digests[0])
  }
  // The empty text in BLAKE2b (RFC 7693 has "abc") and BLAKE3 (its own test vectors).
  const empty = one(new Uint8Array())
  assert.match(toHex(await empty.digest('a', { algorithm: 'blake2b' })), /^786a02f742015903c6c6/)
  assert.match(toHex(await empty.digest('a', { algorithm: 'blake3' })), /^af1349b9f5f9a1a6a040/)
})

test('a seal over streams holds, and tells a stream that changed its length behind the last shard', async () => {
  const honest = new Map([['a', stream(6, 'abc', 'def')], ['b', stream(0)]])
  const { bundles } = await sealModel(streamTree(honest), [{ key }], {
    name: 'tiny',
    method: 'shards',
    shardSize: 4,
  })
  const seal = [{ name: 'seal', bytes: bundles[0]! }]
  const verify = (files: Map<string, StreamFile>) =>
    verifyModel(seal, streamTree(files), trustKeys(key.publicKey))
  assert.ok((await verify(honest)).ok)
  const longer = new Map([['a', stream(6, 'abcdef', 'evil')], ['b', stream(0)]])
  const { ok, files } = await verify(longer)
  assert.ok(!ok)
  assert.deepEqual(files[0], {
    path: 'a',
    status: 'changed',
    reason: 'a has not the size it said',
  })
})

test('digestTree() verifies a model without a byte of it', async () => {
  const content = { 'config.json': '{}', 'weights.bin': 'weights' }
  const { bundles } = await sealModel(streamTree(filesOf(content)), [{ key }], { name: 'tiny' })
  const seal = [{ name: 'seal', bytes: bundles[0]! }]
  const digests = new Map([
    ['config.json', await sha256('{}')],
    ['weights.bin', await sha256('weights')],
  ])
  const verify = async (change: Record<string, string | undefined> = {}) => {
    const all = new Map(digests)
    for (const [path, digest] of Object.entries(change)) {
      if (digest === undefined) all.delete(path)
      else all.set(path, digest)
    }
    const report = await verifyModel(seal, digestTree(all), trustKeys(key.publicKey))
    const odd = report.files.filter(({ status }) => status !== 'ok')
    return [report.ok, ...odd.map(({ path, status }) => `${status} ${path}`)]
  }
  const right = digests.get('config.json')!
  assert.deepEqual(await verify(), [true])
  assert.deepEqual(await verify({ 'config.json': undefined }), [false, 'missing config.json'])
  assert.deepEqual(await verify({ extra: right }), [false, 'extra extra'])
  const wrong = [await sha256(''), right.toUpperCase(), right.slice(2), '', 'sha256', `${right}00`]
  for (const digest of [...wrong, right.repeat(2)]) {
    assert.deepEqual(
      await verify({ 'config.json': digest }),
      [false, 'changed config.json'],
      digest,
    )
  }
  await refuses('name_invalid', () => verify({ '../x': right }))
})

test('digestTree() answers for whole files only', async () => {
  const tree = digestTree(new Map([['a', '00'.repeat(32)]]))
  assert.deepEqual(await tree.digest('a', { algorithm: 'sha256' }), fromHex('00'.repeat(32)))
  for (const algorithm of ['sha256', 'blake3'] as const) {
    await refuses('file_unreadable', () => tree.digest('a', { algorithm, start: 0, end: 1 }))
  }
  await refuses('digest_malformed', () => tree.digest('a', { algorithm: 'blake2b' }))
  await refuses('file_unreadable', () => tree.digest('b', { algorithm: 'sha256' }))
  await refuses('model_empty', () => sealModel(digestTree(new Map()), [{ key }], { name: 'tiny' }))
  // Without a size there is no telling what a shard leaves out.
  await refuses('file_unreadable', () => sealModel(tree, [{ key }], { name: 'tiny' }))
  const { ok } = await compareTree(
    {
      serialization: {
        method: 'shards',
        hashType: 'sha256',
        shardSize: 9,
        allowSymlinks: false,
        ignorePaths: [],
      },
      resources: [{ path: 'a', start: 0, end: 1, algorithm: 'sha256', digest: '00'.repeat(32) }],
    },
    tree,
  )
  assert.ok(!ok)
})
