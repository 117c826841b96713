import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { folderTree, type FolderTreeOptions } from '../../backends/fs.ts'
import { toHex } from '../../src/bytes.ts'
import type { DigestAlgorithm } from '../../src/crypto/mod.ts'
import { type ErrorCode, isSignetError } from '../../src/errors.ts'
import type { DigestRequest, FileTree, TreeEntry } from '../../src/models/file_tree.ts'
import { inTemp, shell } from './_temp.ts'

const MIB = 1 << 20
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const LONG_AGO = new Date('2020-01-01T00:00:00Z')

async function listed(tree: FileTree, skip?: (path: string) => boolean): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  for await (const entry of tree.list(skip ? { skip } : {})) entries.push(entry)
  return entries.sort((a, b) => a.path < b.path ? -1 : 1)
}

async function paths(root: string, options?: FolderTreeOptions): Promise<string[]> {
  return (await listed(folderTree(root, options))).map(({ path, kind }) =>
    kind === 'file' ? path : `${path} (${kind})`
  )
}

async function digest(tree: FileTree, path: string, request: Partial<DigestRequest> = {}) {
  return toHex(await tree.digest(path, { algorithm: 'sha256', ...request }))
}

function refused(code: ErrorCode, message?: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(isSignetError(error, code), `${code} expected, not ${error}`)
    assert.match(error.message, message ?? /./)
    return true
  }
}

/** A file written long ago, so that a later write shows in its times on every file system. */
function oldFile(file: string, bytes: Uint8Array | string): void {
  fs.writeFileSync(file, bytes)
  fs.utimesSync(file, LONG_AGO, LONG_AGO)
}

// Listing

test('folderTree() refuses a root that is missing, empty or unreachable', () =>
  inTemp(async (root) => {
    await assert.rejects(listed(folderTree(join(root, 'nowhere'))), (error) => {
      refused('file_unreadable', /does not exist/)(error)
      return isSignetError(error) && error.remedy === 'check the path'
    })
    await assert.rejects(digest(folderTree(join(root, 'nowhere')), 'x'), refused('file_unreadable'))
    fs.writeFileSync(join(root, 'file'), '')
    await assert.rejects(listed(folderTree(join(root, 'file/below'))), refused('file_unreadable'))
    fs.symlinkSync('nothing', join(root, 'broken'))
    await assert.rejects(listed(folderTree(join(root, 'broken'))), refused('file_unreadable'))
    assert.throws(() => folderTree(''), refused('usage_invalid'))
    assert.throws(() => folderTree(root, { workers: 0 }), refused('usage_invalid'))
  }))

test('list() tells links, FIFOs, sockets and devices apart and follows none', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, 'outside'))
    fs.writeFileSync(join(root, 'outside/secret'), 'secret')
    const model = join(root, 'model')
    fs.mkdirSync(join(model, 'empty'), { recursive: true })
    fs.writeFileSync(join(model, 'a.bin'), 'abc')
    fs.symlinkSync('a.bin', join(model, 'link-to-file'))
    fs.symlinkSync('../outside', join(model, 'link-to-folder'))
    fs.symlinkSync('nothing', join(model, 'link-to-nothing'))
    shell('mkfifo "$1"', join(model, 'fifo'))
    const server = createServer().listen(join(model, 'socket'))
    await new Promise((resolve) => server.once('listening', resolve))
    try {
      assert.deepEqual(await listed(folderTree(model)), [
        { path: 'a.bin', kind: 'file', size: 3 },
        { path: 'fifo', kind: 'special', size: 0 },
        { path: 'link-to-file', kind: 'symlink', size: 0 },
        { path: 'link-to-folder', kind: 'symlink', size: 0 },
        { path: 'link-to-nothing', kind: 'symlink', size: 0 },
        { path: 'socket', kind: 'special', size: 0 },
      ])
      const tree = folderTree(model)
      for (const path of ['link-to-file', 'link-to-folder', 'link-to-nothing']) {
        await assert.rejects(digest(tree, path), refused('symlink_refused'))
      }
      await assert.rejects(digest(tree, 'link-to-folder/secret'), refused('symlink_refused'))
      await assert.rejects(digest(tree, 'fifo'), refused('special_file_refused'))
      await assert.rejects(digest(tree, 'socket'), refused('special_file_refused'))
      await assert.rejects(digest(tree, 'empty'), refused('file_unreadable', /folder/))
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
    fs.symlinkSync('/dev/null', join(model, 'null'))
    const following = folderTree(join(model, 'null'), { insecureFollowSymlinks: true })
    assert.deepEqual(await listed(following), [{ path: 'null', kind: 'special', size: 0 }])
    await assert.rejects(digest(following, 'null'), refused('special_file_refused'))
  }))

/** Bytes of a name after `odd-`, in the octal that printf takes. */
const NOT_UTF8: Readonly<Record<string, string>> = {
  'a byte that never occurs': '\\377',
  'Latin-1': '\\351t\\351',
  'a cut sequence': '\\342\\202',
  'an overlong form': '\\300\\257',
  'a surrogate': '\\355\\240\\200',
}

for (const [what, octal] of Object.entries(NOT_UTF8)) {
  test(`list() refuses a name that is not UTF-8: ${what}`, (t) =>
    inTemp(async (root) => {
      fs.mkdirSync(join(root, 'sub'))
      const odd = (text: string) =>
        shell('cd "$1"; : > "$(printf "odd-$2")"', join(root, 'sub'), text)
      try {
        odd(octal)
      } catch {
        return t.skip('this file system takes UTF-8 names only')
      }
      const invalid = refused('name_invalid', /UTF-8/)
      await assert.rejects(paths(root), invalid)
      await assert.rejects(paths(root, { insecureFollowSymlinks: true }), invalid)
      assert.deepEqual(await listed(folderTree(root), (path) => path === 'sub'), [])
      // A genuine replacement character of the same look must not lend it its existence.
      const lookalike = fs.readdirSync(join(root, 'sub'))[0] ?? ''
      fs.writeFileSync(join(root, 'sub', lookalike), '')
      assert.equal(fs.readdirSync(join(root, 'sub')).length, 2)
      await assert.rejects(paths(root), invalid)
    }))
}

test('list() takes names with a genuine U+FFFD, a byte order mark, newlines and emoji as they are', () =>
  inTemp(async (root) => {
    const odd = [
      '\ufffd',
      'a\ufffdb',
      '\ufeffbom',
      'line\nbreak',
      '😀',
      'e\u0301',
      '\u00e9',
      'a\\b',
      ':1',
    ]
    for (const name of odd) fs.writeFileSync(join(root, name), name)
    const tree = folderTree(root)
    assert.deepEqual((await listed(tree)).map(({ path }) => path), [...odd].sort())
    for (const name of odd) assert.equal(await digest(tree, name), sha256(Buffer.from(name)))
  }))

test('list() names a folder that it may not read', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, 'a/locked'), { recursive: true })
    fs.writeFileSync(join(root, 'a/locked/file'), 'x')
    fs.writeFileSync(join(root, 'a/private'), 'x')
    fs.chmodSync(join(root, 'a/private'), 0o000)
    fs.chmodSync(root, 0o755)
    fs.chmodSync(join(root, 'a/locked'), 0o000)
    const tree = folderTree(root)
    const isRoot = process.getuid?.() === 0
    if (isRoot) process.seteuid?.(65534)
    try {
      await assert.rejects(listed(tree), (error) => {
        refused('file_unreadable', /EACCES/)(error)
        return isSignetError(error) && error.where === 'a/locked/'
      })
      await assert.rejects(digest(tree, 'a/private'), refused('file_unreadable', /EACCES/))
      await assert.rejects(digest(tree, 'a/locked/file'), refused('file_unreadable', /EACCES/))
    } finally {
      if (isRoot) process.seteuid?.(0)
      fs.chmodSync(join(root, 'a/locked'), 0o755)
    }
  }))

test('list() refuses a folder deeper than a path may be long', () =>
  inTemp(async (root) => {
    const deep = `${'d'.repeat(199)}/`.repeat(15)
    for (const tree of ['one', 'two']) {
      fs.mkdirSync(join(root, tree, deep), { recursive: true })
      fs.writeFileSync(join(root, tree, deep, 'f'), '')
    }
    assert.deepEqual(await paths(join(root, 'one')), [`${deep}f`])
    fs.renameSync(join(root, 'two'), join(root, 'one', deep, 'two'))
    await assert.rejects(paths(join(root, 'one')), refused('file_unreadable', /ENAMETOOLONG/))
  }))

test('list() leaves out what skip says, and does not look into it', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, '.git/deep'), { recursive: true })
    fs.mkdirSync(join(root, 'sub/.git'), { recursive: true })
    for (const name of ['.git/x', '.git/deep/x', 'sub/.git/x', '.hidden', 'a']) {
      fs.writeFileSync(join(root, name), '')
    }
    const asked: string[] = []
    const entries = await listed(folderTree(root), (path) => {
      asked.push(path)
      return path === '.git'
    })
    assert.deepEqual(entries.map(({ path }) => path), ['.hidden', 'a', 'sub/.git/x'])
    assert.ok(!asked.some((path) => path.startsWith('.git/')))
  }))

test('list() ends with aborted, also between two entries', () =>
  inTemp(async (root) => {
    for (let i = 0; i < 20; i++) fs.writeFileSync(join(root, `f${i}`), '')
    const controller = new AbortController()
    let seen = 0
    const walk = async () => {
      for await (const _ of folderTree(root).list({ signal: controller.signal })) {
        if (++seen === 3) controller.abort()
      }
    }
    await assert.rejects(walk, refused('aborted'))
    assert.equal(seen, 3)
  }))

test('list() can be left early and walked again', () =>
  inTemp(async (root) => {
    for (let i = 0; i < 600; i++) fs.writeFileSync(join(root, `f${i}`), '')
    const tree = folderTree(root)
    for (let round = 0; round < 50; round++) {
      for await (const entry of tree.list()) {
        assert.equal(entry.kind, 'file')
        break
      }
    }
    assert.equal((await listed(tree)).length, 600)
    if (fs.existsSync('/proc/self/fd')) {
      const open = fs.readdirSync('/proc/self/fd').map((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`)
        } catch {
          return ''
        }
      })
      assert.deepEqual(open.filter((target) => target.startsWith(root)), [])
    }
  }))

test('a root that is one file is a tree with that one entry', () =>
  inTemp(async (root) => {
    fs.writeFileSync(join(root, 'model.gguf'), 'weights')
    fs.writeFileSync(join(root, 'other'), 'x')
    const tree = folderTree(join(root, 'model.gguf'))
    assert.deepEqual(await listed(tree), [{ path: 'model.gguf', kind: 'file', size: 7 }])
    assert.deepEqual(await listed(tree, () => true), [])
    assert.equal(await digest(tree, 'model.gguf'), sha256(Buffer.from('weights')))
    await assert.rejects(digest(tree, 'other'), refused('file_unreadable'))
    fs.symlinkSync('model.gguf', join(root, 'link'))
    const linked = folderTree(join(root, 'link'))
    assert.deepEqual(await listed(linked), [{ path: 'link', kind: 'symlink', size: 0 }])
    await assert.rejects(digest(linked, 'link'), refused('symlink_refused'))
  }))

test('a root that is a link to a folder is that folder', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, 'v3/sub'), { recursive: true })
    fs.writeFileSync(join(root, 'v3/sub/f'), 'abc')
    fs.symlinkSync('v3', join(root, 'current'))
    const tree = folderTree(join(root, 'current'))
    assert.deepEqual((await listed(tree)).map(({ path }) => path), ['sub/f'])
    assert.equal(await digest(tree, 'sub/f'), sha256(Buffer.from('abc')))
  }))

// Following links

test('insecureFollowSymlinks lists everything behind links to files and folders, outside too', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, 'outside/deep'), { recursive: true })
    fs.writeFileSync(join(root, 'outside/a'), 'a')
    fs.writeFileSync(join(root, 'outside/deep/b'), 'bb')
    fs.mkdirSync(join(root, 'model'))
    fs.symlinkSync('../outside', join(root, 'model/one'))
    fs.symlinkSync('../outside/deep', join(root, 'model/two'))
    fs.symlinkSync('../outside/a', join(root, 'model/file'))
    fs.symlinkSync('nothing', join(root, 'model/broken'))
    const tree = folderTree(join(root, 'model'), { insecureFollowSymlinks: true })
    assert.deepEqual(await listed(tree), [
      { path: 'broken', kind: 'symlink', size: 0 },
      { path: 'file', kind: 'file', size: 1 },
      { path: 'one/a', kind: 'file', size: 1 },
      { path: 'one/deep/b', kind: 'file', size: 2 },
      { path: 'two/b', kind: 'file', size: 2 },
    ])
    assert.equal(await digest(tree, 'file'), sha256(Buffer.from('a')))
    assert.equal(await digest(tree, 'two/b'), sha256(Buffer.from('bb')))
    await assert.rejects(digest(tree, 'broken'), refused('file_unreadable'))
  }))

test('insecureFollowSymlinks refuses links that lead back', () =>
  inTemp(async (root) => {
    const follow = { insecureFollowSymlinks: true }
    fs.mkdirSync(join(root, 'self/sub'), { recursive: true })
    fs.symlinkSync('..', join(root, 'self/sub/up'))
    await assert.rejects(
      paths(join(root, 'self'), follow),
      refused('symlink_refused', /leads back/),
    )
    fs.mkdirSync(join(root, 'above/model'), { recursive: true })
    fs.symlinkSync('../..', join(root, 'above/model/out'))
    await assert.rejects(
      paths(join(root, 'above/model'), follow),
      refused('symlink_refused', /leads back/),
    )
    fs.mkdirSync(join(root, 'two'))
    fs.symlinkSync('b', join(root, 'two/a'))
    fs.symlinkSync('a', join(root, 'two/b'))
    await assert.rejects(paths(join(root, 'two'), follow), refused('file_unreadable', /ELOOP/))
  }))

// Digests

test('digest() refuses paths that lead out, and ranges that are none', () =>
  inTemp(async (root) => {
    fs.mkdirSync(join(root, 'model'))
    fs.writeFileSync(join(root, 'secret'), 'x')
    fs.writeFileSync(join(root, 'model/f'), 'abc')
    const tree = folderTree(join(root, 'model'))
    for (
      const path of [
        '../secret',
        'a/../../secret',
        join(root, 'secret'),
        '',
        '.',
        './f',
        'f/',
        'f\0',
        '\ud800',
      ]
    ) {
      await assert.rejects(digest(tree, path), refused('name_invalid'), path)
    }
    for (
      const range of [{ start: -1 }, { start: 2, end: 1 }, { end: NaN }, { start: 0.5 }, {
        end: Infinity,
      }]
    ) {
      await assert.rejects(digest(tree, 'f', range), refused('usage_invalid'))
    }
    await assert.rejects(digest(tree, 'f', { end: 4 }), refused('file_changed'))
    await assert.rejects(digest(tree, 'f', { start: 4 }), refused('file_changed'))
    await assert.rejects(digest(tree, 'missing'), refused('file_unreadable', /does not exist/))
    await assert.rejects(digest(tree, 'f/below'), refused('file_unreadable'))
  }))

test('digest() refuses files that became links or lie behind one since they were listed', () =>
  inTemp(async (root) => {
    const outside = join(root, 'outside')
    fs.mkdirSync(outside)
    for (const [i, size] of [10, 3 * MIB].entries()) {
      const model = join(root, `model${i}`)
      fs.mkdirSync(join(model, 'sub'), { recursive: true })
      for (const file of [join(outside, 'f'), join(model, 'f'), join(model, 'sub/f')]) {
        fs.writeFileSync(file, new Uint8Array(size))
      }
      const tree = folderTree(model)
      assert.equal((await listed(tree)).length, 2)
      fs.rmSync(join(model, 'f'))
      fs.symlinkSync(join(outside, 'f'), join(model, 'f'))
      fs.rmSync(join(model, 'sub'), { recursive: true })
      fs.symlinkSync(outside, join(model, 'sub'))
      await assert.rejects(digest(tree, 'f'), refused('symlink_refused'))
      await assert.rejects(digest(tree, 'sub/f'), refused('symlink_refused'))
    }
  }))

/** What may happen to a file while it is read, and what must be said about it. */
const CHANGES: Readonly<Record<string, readonly [(file: string) => unknown, RegExp]>> = {
  'is cut': [(file) => fs.truncateSync(file, 5), /became shorter|written to/],
  'grows': [(file) => fs.appendFileSync(file, 'more'), /written to/],
  'is written to in place': [(file) => {
    const fd = fs.openSync(file, 'r+')
    fs.writeSync(fd, 'X', 0)
    fs.closeSync(fd)
  }, /written to/],
  'is written to and given its old time': [(file) => {
    const fd = fs.openSync(file, 'r+')
    fs.writeSync(fd, 'X', 0)
    fs.closeSync(fd)
    fs.utimesSync(file, LONG_AGO, LONG_AGO)
  }, /written to/],
  'is replaced by another': [(file) => {
    oldFile(`${file}.new`, fs.readFileSync(file))
    fs.renameSync(`${file}.new`, file)
  }, /replaced/],
  'is removed': [(file) => fs.rmSync(file), /went away/],
  'is moved away and linked to': [(file) => {
    fs.renameSync(file, `${file}.moved`)
    fs.symlinkSync(`${file}.moved`, file)
  }, /link/],
}

for (const [what, [change, message]] of Object.entries(CHANGES)) {
  test(`digest() refuses a file that ${what} while it is read`, () =>
    inTemp(async (root) => {
      const tree = folderTree(root)
      for (const size of [1000, 3 * MIB]) {
        const file = join(root, `f${size}`)
        oldFile(file, randomBytes(size))
        // Deno tells the time of change in whole seconds.
        if (/old time/.test(what)) await new Promise((resolve) => setTimeout(resolve, 1100))
        let calls = 0
        const onBytes = () => {
          if (calls++ === 0) change(file)
        }
        await assert.rejects(digest(tree, `f${size}`, { onBytes }), (error) => {
          assert.ok(isSignetError(error, 'file_changed', 'symlink_refused'), String(error))
          assert.match(error.message, message)
          return true
        })
        assert.ok(calls > 0)
      }
    }))
}

test('digest() refuses a file of the kernel that says it is empty', (t) => {
  if (!fs.existsSync('/proc/self/status')) return t.skip('no /proc here')
  return assert.rejects(
    digest(folderTree('/proc/sys/kernel'), 'ostype'),
    refused('file_changed', /says it is empty/),
  )
})

test('digest() ends with aborted: before, while waiting and midway', () =>
  inTemp(async (root) => {
    fs.writeFileSync(join(root, 'big'), '')
    fs.truncateSync(join(root, 'big'), 512 * MIB) // sparse
    fs.writeFileSync(join(root, 'small'), 'x')
    const tree = folderTree(root, { workers: 1 })
    const reason = new Error('no longer wanted')
    await assert.rejects(digest(tree, 'small', { signal: AbortSignal.abort(reason) }), (error) => {
      refused('aborted')(error)
      return isSignetError(error) && error.cause === reason
    })
    const midway = new AbortController()
    const waiting = new AbortController()
    let bytes = 0
    const first = digest(tree, 'big', {
      signal: midway.signal,
      onBytes: (count) => {
        bytes += count
        if (bytes >= 4 * MIB) midway.abort()
      },
    })
    const second = digest(tree, 'big', { signal: waiting.signal })
    const third = digest(tree, 'small')
    waiting.abort()
    await assert.rejects(second, refused('aborted'))
    await assert.rejects(first, refused('aborted'))
    assert.equal(await third, sha256(Buffer.from('x')))
    assert.ok(bytes <= 6 * MIB, `${bytes} bytes were read`)
  }))

test('digest() passes on what onBytes throws, and stays usable', () =>
  inTemp(async (root) => {
    fs.writeFileSync(join(root, 'f'), new Uint8Array(3 * MIB))
    const tree = folderTree(root)
    const onBytes = () => {
      throw new Error('listener')
    }
    await assert.rejects(digest(tree, 'f', { onBytes }), { message: 'listener' })
    assert.equal(await digest(tree, 'f'), sha256(new Uint8Array(3 * MIB)))
  }))

test('digest() of a range is the digest of that slice, for every algorithm', () =>
  inTemp(async (root) => {
    const bytes = randomBytes(2 * MIB + 4321)
    fs.writeFileSync(join(root, 'f'), bytes)
    fs.writeFileSync(join(root, 'empty'), '')
    const tree = folderTree(root)
    const cuts = [0, 1, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, bytes.length - 1, bytes.length]
    for (const start of cuts) {
      for (const end of cuts.filter((end) => end >= start)) {
        let read = 0
        const onBytes = (count: number) => read += count
        const found = await digest(tree, 'f', { start, end, onBytes })
        assert.equal(found, sha256(bytes.subarray(start, end)))
        assert.equal(read, end - start)
      }
    }
    assert.equal(await digest(tree, 'f'), sha256(bytes))
    assert.equal(await digest(tree, 'f', { start: MIB }), sha256(bytes.subarray(MIB)))
    assert.equal(await digest(tree, 'empty'), sha256(new Uint8Array()))
    fs.writeFileSync(join(root, 'abc'), 'abc')
    // FIPS 180-4 appendix, RFC 7693 appendix A, and BLAKE3's reference implementation.
    const abc: Readonly<Record<DigestAlgorithm, string>> = {
      sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
      blake2b: 'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
        '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923',
      blake3: '6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85',
    }
    for (const algorithm of ['sha256', 'blake2b', 'blake3'] as const) {
      assert.equal(await digest(tree, 'abc', { algorithm }), abc[algorithm])
    }
  }))

test('digests in flight at once are those taken one by one', () =>
  inTemp(async (root) => {
    const expected = new Map<string, string>()
    for (let i = 0; i < 40; i++) {
      const bytes = randomBytes(i % 4 === 0 ? 2 * MIB + i : 100 * i)
      fs.writeFileSync(join(root, `f${i}`), bytes)
      expected.set(`f${i}`, sha256(bytes))
    }
    for (const workers of [1, 2, 3]) {
      const tree = folderTree(root, { workers })
      for (let round = 0; round < 3; round++) {
        const names = [...expected.keys()]
        const found = await Promise.all(names.map((name) => digest(tree, name)))
        assert.deepEqual(found, [...expected.values()])
      }
    }
  }))
