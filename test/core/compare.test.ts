import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type CompareOptions,
  compareTree,
  type FileTree,
  type Progress,
  type Resource,
  type Serialization,
  SignetError,
  type Statement,
  type StreamFile,
  streamTree,
  type TreeEntry,
} from '../../mod.ts'
import { fromHex, utf8 } from '../../src/bytes.ts'
import { filesOf, refuses, runs, sha256 } from './_seals.ts'

const FILES = { 'a.txt': 'a', 'sub-2/b': 'b', 'sub/b': 'bb', 'sub/c': '' }

/** A statement about files of text, with sizes if asked. */
async function statementOf(
  files: Readonly<Record<string, string>> = FILES,
  serialization: Partial<Serialization> = {},
  sizes: boolean = false,
): Promise<Statement> {
  const resources = Object.entries(files).map(async ([path, content]): Promise<Resource> => ({
    path,
    algorithm: 'sha256',
    digest: await sha256(content),
    ...(sizes ? { size: utf8(content).length } : {}),
  }))
  return {
    name: 'tiny',
    root: '',
    serialization: {
      method: 'files',
      hashType: 'sha256',
      allowSymlinks: false,
      ignorePaths: [],
      ...serialization,
    },
    resources: await Promise.all(resources),
    metadata: {},
  }
}

/** The statement about the same files by shards. */
async function shardsOf(files: Readonly<Record<string, string>>, shardSize: number) {
  const { serialization, ...rest } = await statementOf({})
  const resources: Resource[] = []
  for (const [path, content] of Object.entries(files)) {
    for (let start = 0; start < content.length; start += shardSize) {
      const end = Math.min(content.length, start + shardSize)
      const digest = await sha256(content.slice(start, end))
      resources.push({ path, start, end, algorithm: 'sha256', digest })
    }
  }
  return {
    ...rest,
    serialization: { ...serialization, method: 'shards', shardSize },
    resources,
  } as const
}

/** Each file of the report as `status path`, but for those that are ok, and the verdict. */
async function odd(
  statement: Pick<Statement, 'serialization' | 'resources'>,
  tree: FileTree | Readonly<Record<string, string>>,
  options: CompareOptions = {},
) {
  const at = 'list' in tree ? tree as FileTree : streamTree(filesOf(tree as Record<string, string>))
  const report = await compareTree(statement, at, options)
  const files = report.files.filter(({ status }) => status !== 'ok')
  return [report.ok, ...files.map(({ path, status }) => `${status} ${path}`)]
}

/** A tree of entries that have no content. */
const treeOf = (...entries: TreeEntry[]): FileTree => ({
  parallel: 2,
  async *list() {
    yield* entries
  },
  digest: async (path) => fromHex(await sha256((FILES as Record<string, string>)[path] ?? '')),
})
const file = (path: string, size?: number): TreeEntry => ({ path, kind: 'file', size })

test('compareTree() tells changed, missing and extra files apart', async () => {
  const statement = await statementOf()
  assert.deepEqual(await odd(statement, FILES), [true])
  assert.deepEqual(await odd(statement, { ...FILES, 'a.txt': 'A' }), [false, 'changed a.txt'])
  assert.deepEqual(await odd(statement, { ...FILES, 'sub/c': 'c' }), [false, 'changed sub/c'])
  assert.deepEqual(await odd(statement, { ...FILES, 'sub/d': 'd' }), [false, 'extra sub/d'])
  assert.deepEqual(await odd(statement, { ...FILES, '.env': '' }), [false, 'extra .env'])
  assert.deepEqual(await odd(statement, { 'a.txt': 'a', 'A.txt': 'a' }), [
    false,
    'extra A.txt',
    ...['missing sub-2/b', 'missing sub/b', 'missing sub/c'],
  ])
  assert.deepEqual(await odd(statement, {}), [
    false,
    ...['missing a.txt', 'missing sub-2/b', 'missing sub/b', 'missing sub/c'],
  ])
  const swapped = { ...FILES, 'sub/b': FILES['sub-2/b'], 'sub-2/b': FILES['sub/b'] }
  assert.deepEqual(await odd(statement, swapped), [false, 'changed sub-2/b', 'changed sub/b'])
})

test('compareTree() says why a file is not as sealed', async () => {
  const statement = await statementOf(FILES, {}, true)
  const tree = treeOf(
    { path: 'a.txt', kind: 'symlink', size: 0 },
    file('sub-2/b', 1),
    file('sub/b', 3),
    { path: 'sub/c', kind: 'special', size: 0 },
    { path: 'link', kind: 'symlink', size: 0 },
  )
  const { files, counts } = await compareTree(statement, tree)
  assert.deepEqual(files, [
    { path: 'a.txt', status: 'changed', reason: 'it is a symlink entry' },
    { path: 'link', status: 'extra', reason: 'it is a symlink entry' },
    { path: 'sub-2/b', status: 'ok' },
    { path: 'sub/b', status: 'changed', reason: 'it has 3 bytes instead of 2' },
    { path: 'sub/c', status: 'changed', reason: 'it is a special entry' },
  ])
  assert.deepEqual(counts, { ok: 1, changed: 3, missing: 0, extra: 1, ignored: 0 })
})

test('compareTree() counts a file that cannot be read as changed, with the reason', async () => {
  const tree: FileTree = {
    ...streamTree(filesOf(FILES)),
    digest: (path) =>
      Promise.reject(new SignetError('file_unreadable', `no right to read ${path}`)),
  }
  const { ok, files, counts } = await compareTree(await statementOf(), tree)
  assert.ok(!ok)
  assert.equal(counts.changed, 4)
  assert.equal(files[0]?.reason, 'no right to read a.txt')
})

test('compareTree() lets through what is a fault of the tree, not of a file', async () => {
  const tree = streamTree(filesOf(FILES))
  const fault = new RangeError('a bug')
  const digest = () => Promise.reject(fault)
  await assert.rejects(compareTree(await statementOf(), { ...tree, digest }), fault)
  const list = () => {
    throw new SignetError('file_unreadable', 'no right to list')
  }
  const statement = await statementOf()
  await refuses('file_unreadable', () => compareTree(statement, { ...tree, list }))
  await refuses('name_invalid', () => compareTree(statement, treeOf(file('a\\b', 0))))
  await refuses('name_invalid', () => compareTree(statement, treeOf(file('../a', 0))))
})

test('compareTree() reports what is ignored, and refuses it if told', async () => {
  const ignorePaths = ['cache', 'model.sig']
  const statement = await statementOf(FILES, { ignorePaths })
  const present = {
    ...FILES,
    ...{ '.git/HEAD': 'x', '.gitattributes': '', '.github/ci.yml': '', '.gitignore': '' },
    ...{ 'cache/x/y': '1', 'model.sig': '{}', 'logs/1': '' },
  }
  const listed = ['.git/HEAD', '.gitattributes', '.github/ci.yml', '.gitignore', 'cache/x/y']
  const ignored = [...listed, 'logs/1', 'model.sig'].map((path) => `ignored ${path}`)
  assert.deepEqual(await odd(statement, present, { ignore: ['logs'] }), [true, ...ignored])
  assert.deepEqual(await odd(statement, present, { ignore: ['logs'], refuseIgnored: true }), [
    false,
    ...ignored,
  ])
  assert.deepEqual(await odd(statement, FILES, { refuseIgnored: true }), [true])
  const [ok, ...files] = await odd(statement, present)
  assert.ok(!ok && files.includes('extra logs/1'))
  for (const path of ['.gitmodules', 'sub/.git/HEAD', 'cache2', 'sub/cache', '.GIT/HEAD']) {
    assert.deepEqual(await odd(statement, { ...FILES, [path]: '' }), [false, `extra ${path}`])
  }
})

test('compareTree() verifies what is sealed though its path is ignored', async () => {
  const files = { ...FILES, '.git/HEAD': 'x', 'cache/a': 'y' }
  const statement = await statementOf(files, { ignorePaths: ['cache'] })
  const changed = { ...files, '.git/HEAD': 'X', 'cache/a': 'Y' }
  assert.deepEqual(await odd(statement, changed), [false, 'changed .git/HEAD', 'changed cache/a'])
  assert.deepEqual(await odd(statement, FILES, { ignore: ['.git'] }), [
    false,
    'missing .git/HEAD',
    'missing cache/a',
  ])
})

test('compareTree() ignores nothing by default below a path where the signer sealed files', async () => {
  const statement = await statementOf({ ...FILES, '.git/HEAD': 'x' })
  const hook = { ...FILES, '.git/HEAD': 'x', '.git/hooks/post-checkout': 'evil' }
  assert.deepEqual(await odd(statement, hook), [false, 'extra .git/hooks/post-checkout'])
  assert.deepEqual(await odd(statement, { ...FILES, '.git/HEAD': 'x', '.gitignore': '' }), [
    true,
    'ignored .gitignore',
  ])
  assert.deepEqual(await odd(await statementOf(), hook, { noDefaultIgnores: true }), [
    false,
    'extra .git/HEAD',
    'extra .git/hooks/post-checkout',
  ])
})

test('compareTree() lets extra files pass if told, and still reports them; changed ones never', async () => {
  const statement = await statementOf()
  const options = { allowExtra: true }
  assert.deepEqual(await odd(statement, { ...FILES, x: '' }, options), [true, 'extra x'])
  assert.deepEqual(await odd(statement, { ...FILES, x: '', 'a.txt': 'b' }, options), [
    false,
    'changed a.txt',
    'extra x',
  ])
  assert.deepEqual((await odd(statement, { x: '' }, options))[0], false)
})

test("compareTree() passes over the bundles' own files and nothing beside or below them", async () => {
  const statement = await statementOf()
  const options = { bundles: ['model.sig'] }
  assert.deepEqual(await odd(statement, { ...FILES, 'model.sig': '{}' }, options), [true])
  for (const path of ['model.sig/evil.py', 'model.sig2', 'sub/model.sig', 'Model.sig']) {
    assert.deepEqual(await odd(statement, { ...FILES, [path]: '' }, options), [
      false,
      `extra ${path}`,
    ])
  }
  // A seal may cover the bundle of another: then it counts as any file.
  const both = await statementOf({ ...FILES, 'model.sig': '{}' })
  assert.deepEqual(await odd(both, { ...FILES, 'model.sig': '{ }' }, options), [
    false,
    'changed model.sig',
  ])
})

test('compareTree() looks at what it is told to, and says what it did not look at', async () => {
  const statement = await statementOf()
  const broken = { ...FILES, 'a.txt': 'A', 'sub-2/b': 'B', 'sub-2/x': '' }
  const sub = await compareTree(statement, streamTree(filesOf(broken)), { only: ['sub'] })
  assert.ok(sub.ok)
  assert.deepEqual(sub.files.map(({ path }) => path), ['sub/b', 'sub/c'])
  assert.deepEqual(sub.coverage, { whole: false, only: ['sub'], unchecked: 2 })
  assert.deepEqual(await odd(statement, broken, { only: ['sub-2'] }), [
    false,
    'changed sub-2/b',
    'extra sub-2/x',
  ])
  assert.deepEqual(await odd(statement, { 'sub/b': 'bb' }, { only: ['sub/b', 'a.txt'] }), [
    false,
    'missing a.txt',
  ])
  const whole = await compareTree(statement, streamTree(filesOf(FILES)))
  assert.deepEqual(whole.coverage, { whole: true, only: undefined, unchecked: 0 })
})

test('compareTree() refuses to look where nothing is sealed, be it one path of several', async () => {
  const statement = await statementOf()
  const tree = streamTree(filesOf({ ...FILES, extra: '' }))
  for (const only of [[], ['extra'], ['a.txt', 'sub/d'], ['Sub'], ['su'], ['sub/b/c']]) {
    await refuses('usage_invalid', () => compareTree(statement, tree, { only }), only.join())
  }
  for (const path of ['', '/', '..', 'sub/', '../x']) {
    await refuses('name_invalid', () => compareTree(statement, tree, { only: [path] }), path)
    await refuses('name_invalid', () => compareTree(statement, tree, { ignore: [path] }), path)
  }
})

test('compareTree() takes "." for the only file of the tree, and for no file of several', async () => {
  const statement = await statementOf({ '.': 'a' })
  assert.deepEqual(await odd(statement, { 'model.bin': 'a' }), [true])
  assert.deepEqual(await odd(statement, { 'model.bin': 'b' }), [false, 'changed model.bin'])
  const beside = { 'model.bin': 'a', 'model.sig': '{}', '.gitignore': '' }
  assert.deepEqual(await odd(statement, beside, { bundles: ['model.sig'] }), [
    true,
    'ignored .gitignore',
  ])
  assert.deepEqual(await odd(statement, { x: 'a', y: 'a' }), [
    false,
    ...['missing .', 'extra x', 'extra y'],
  ])
  assert.deepEqual(await odd(statement, {}), [false, 'missing .'])
  // Two files are two, however few of them are looked at.
  await refuses(
    'usage_invalid',
    () => compareTree(statement, streamTree(filesOf({ x: 'a', y: '' })), { only: ['x'] }),
  )
  assert.deepEqual(await odd(statement, { x: 'a' }, { only: ['x'] }), [true])
  assert.deepEqual(await odd(await shardsOf({ '.': 'abcde' }, 2), { x: 'abcde' }), [true])
  assert.deepEqual(await odd(await shardsOf({ '.': 'abcde' }, 2), { x: 'abcdf' }), [
    false,
    'changed x',
  ])
})

test('compareTree() covers every byte that shards cover, and what lies behind the last', async () => {
  const files = { 'a:0:4': 'abcdefghij', b: 'x' }
  const statement = await shardsOf(files, 4)
  assert.equal(statement.resources.length, 4)
  assert.deepEqual(await odd(statement, files), [true])
  for (
    const content of ['Abcdefghij', 'abcdEfghij', 'abcdefghiJ', 'abcdefghijk', 'abcdefghi', '']
  ) {
    assert.deepEqual(await odd(statement, { ...files, 'a:0:4': content }), [
      false,
      'changed a:0:4',
    ])
  }
  assert.deepEqual(await odd(statement, { b: 'x' }), [false, 'missing a:0:4'])
  assert.deepEqual(await odd(statement, { ...files, c: 'y' }), [false, 'extra c'])
  // An empty file has no shard (OMS §6.3.2): it is not covered, and said to be so.
  assert.deepEqual(await odd(statement, { ...files, c: '' }), [true, 'ignored c'])
  assert.deepEqual(await odd(statement, { ...files, c: '' }, { refuseIgnored: true }), [
    false,
    'ignored c',
  ])
  // Whoever does not know how long a file is cannot say that it ends where its shards do.
  assert.deepEqual(await odd(statement, treeOf(file('a:0:4'), file('b', 1))), [
    false,
    ...['changed a:0:4', 'changed b'],
  ])
})

test('compareTree() takes a file of very many shards', async () => {
  const [one] = (await shardsOf({ a: 'a' }, 1)).resources
  const resources = Array.from({ length: 200_000 }, (_, i) => ({ ...one!, start: i, end: i + 1 }))
  const statement = { ...await shardsOf({}, 1), resources }
  const { counts } = await compareTree(statement, treeOf(file('a', 7)))
  assert.equal(counts.changed, 1)
})

test('compareTree() sorts its report by code points, whatever the order of seal and tree', async () => {
  const paths = ['z', '\u{10000}', '\uffee', 'a', 'sub/a', 'sub-2/a', 'A']
  const statement = await statementOf(
    Object.fromEntries(paths.slice(0, 4).map((path) => [path, ''])),
  )
  const tree = treeOf(...paths.toReversed().map((path) => file(path, 0)))
  const { files } = await compareTree(statement, tree)
  assert.deepEqual(files.map(({ path, status }) => `${status} ${path}`), [
    ...['extra A', 'ok a', 'extra sub-2/a', 'extra sub/a', 'ok z', 'ok \uffee', 'ok \u{10000}'],
  ])
})

test('compareTree() reports progress that only grows, and ends with all of it', async () => {
  const seen: Progress[] = []
  const files = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`f${i}`, 'x'.repeat(i * 1000)]),
  )
  const tree = streamTree(
    new Map(
      Object.entries(files).map(([path, text]): [string, StreamFile] => [path, new Blob([text])]),
    ),
  )
  const onProgress = (progress: Progress) => seen.push(progress)
  await compareTree(await statementOf(files), tree, { onProgress })
  const last = seen.at(-1)!
  assert.deepEqual(last, { bytes: 190_000, totalBytes: 190_000, files: 20, totalFiles: 20 })
  seen.reduce((before, now) => {
    assert.ok(now.bytes >= before.bytes && now.files >= before.files)
    assert.deepEqual([now.totalBytes, now.totalFiles], [190_000, 20])
    return now
  })
})

test('compareTree() ends with "aborted" at once, before and during its work', async () => {
  const statement = await statementOf()
  const tree = streamTree(filesOf(FILES))
  await refuses('aborted', () => compareTree(statement, tree, { signal: AbortSignal.abort() }))
  const control = new AbortController()
  let digested = 0
  const slow: FileTree = {
    ...tree,
    digest(path, request) {
      if (++digested === 2) control.abort()
      return tree.digest(path, request)
    },
  }
  await refuses('aborted', () => compareTree(statement, slow, { signal: control.signal }))
  assert.ok(digested < 4)
})

test('compareTree() looks at no further file once a fault ends it, though the tree goes on', async () => {
  const files = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, '']))
  let digested = 0
  const tree: FileTree = {
    ...streamTree(filesOf(files)),
    parallel: 2,
    async digest() {
      if (++digested === 3) throw new Error('broken')
      await Promise.resolve()
      return new Uint8Array(32)
    },
  }
  await assert.rejects(compareTree(await statementOf(files), tree), { message: 'broken' })
  assert.ok(digested < 10, `${digested}`)
})

test('any change of a tree is reported as what it is, and nothing else is', async () => {
  const name = fc.constantFrom(
    'a',
    'b',
    'B',
    'é',
    '😀',
    '\uffee',
    'x:1:2',
    'sub/a',
    'sub/b/c',
    'sub-2/a',
  )
  const content = fc.string({ unit: fc.constantFrom('x', 'y'), minLength: 1, maxLength: 5 })
  const files = fc.dictionary(name, content, { minKeys: 1 })
  const changes = fc.dictionary(name, fc.option(content))
  await fc.assert(
    fc.asyncProperty(files, changes, fc.constantFrom(0, 1, 3), async (sealed, changes, size) => {
      const after = Object.entries({ ...sealed, ...changes }).filter(([, text]) => text !== null)
      const present = Object.fromEntries(after) as Record<string, string>
      const statement = size === 0 ? await statementOf(sealed) : await shardsOf(sealed, size)
      const expected = Object.entries(changes).flatMap(([path, text]) => {
        if (text === (sealed[path] ?? null)) return []
        if (sealed[path] === undefined) return [`extra ${path}`]
        return [`${text === null ? 'missing' : 'changed'} ${path}`]
      })
      const [ok, ...files] = await odd(statement, present)
      assert.deepEqual(files.sort(), expected.sort())
      assert.equal(ok, expected.length === 0)
    }),
    runs(300),
  )
})
