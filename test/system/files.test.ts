import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { claimWithoutLinks, readLimited, writeNew } from '../../backends/files.ts'
import { fromUtf8, utf8 } from '../../src/bytes.ts'
import { type ErrorCode, isSignetError } from '../../src/errors.ts'
import { inTemp, sameRuntime, shell } from './_temp.ts'

const MIB = 1 << 20
const text = (file: string) => fs.readFileSync(file, 'utf8')

function refused(code: ErrorCode, remedy: RegExp = /^/): (error: unknown) => true {
  return (error) => {
    assert.ok(isSignetError(error, code), `${code} expected, not ${error}`)
    assert.match(error.remedy ?? '', remedy)
    return true
  }
}

// Writing

test('writeNew() never replaces what is there, and leaves nothing behind', () =>
  inTemp(async (folder) => {
    const file = join(folder, 'key.pem')
    fs.writeFileSync(file, 'old')
    await assert.rejects(writeNew(file, utf8('new')), refused('file_exists', /--force/))
    assert.equal(text(file), 'old')
    fs.mkdirSync(join(folder, 'sub'))
    await assert.rejects(writeNew(join(folder, 'sub'), utf8('new')), refused('file_exists'))
    assert.deepEqual(fs.readdirSync(folder).sort(), ['key.pem', 'sub'])
  }))

test('writeNew() writes nothing through a link, with and without overwrite', () =>
  inTemp(async (folder) => {
    fs.writeFileSync(join(folder, 'victim'), 'old')
    fs.symlinkSync('victim', join(folder, 'link'))
    fs.symlinkSync('nothing', join(folder, 'dangling'))
    for (const name of ['link', 'dangling']) {
      const file = join(folder, name)
      await assert.rejects(writeNew(file, utf8('new')), refused('file_exists'))
      await assert.rejects(
        writeNew(file, utf8('new'), { overwrite: true }),
        refused('symlink_refused'),
      )
    }
    assert.equal(text(join(folder, 'victim')), 'old')
    assert.deepEqual(fs.readdirSync(folder).sort(), ['dangling', 'link', 'victim'])
  }))

test('writeNew() does not replace FIFOs, folders and devices', () =>
  inTemp(async (folder) => {
    shell('mkfifo "$1"', join(folder, 'fifo'))
    for (const file of [join(folder, 'fifo'), folder, '/dev/null']) {
      await assert.rejects(
        writeNew(file, utf8('new'), { overwrite: true }),
        refused('special_file_refused'),
      )
    }
    assert.ok(fs.lstatSync('/dev/null').isCharacterDevice())
    assert.deepEqual(fs.readdirSync(folder), ['fifo'])
  }))

test('writeNew() says that its folder is missing or takes no files', () =>
  inTemp(async (folder) => {
    const missing = join(folder, 'missing/key.pem')
    await assert.rejects(writeNew(missing, utf8('x')), refused('io_failed', /folder/))
    await assert.rejects(writeNew('/proc/key.pem', utf8('x')), refused('io_failed'))
    assert.deepEqual(fs.readdirSync(folder), [])
  }))

test('writeNew() removes its temporary file when the name cannot be given', () =>
  inTemp(async (folder) => {
    const long = join(folder, 'x'.repeat(300))
    await assert.rejects(writeNew(long, utf8('x')), refused('io_failed'))
    const file = join(folder, 'claimed')
    fs.mkdirSync(file)
    fs.writeFileSync(join(folder, 'temporary'), 'x')
    await assert.rejects(claimWithoutLinks(join(folder, 'temporary'), file), { code: 'EEXIST' })
    await assert.rejects(claimWithoutLinks(join(folder, 'nothing'), join(folder, 'other')), {
      code: 'ENOENT',
    })
    assert.deepEqual(fs.readdirSync(folder).sort(), ['claimed', 'temporary'])
  }))

test('writeNew() writes the bytes, for the owner only unless told', () =>
  inTemp(async (folder) => {
    const mask = process.umask(0)
    try {
      await writeNew(join(folder, 'secret'), utf8('sesame'))
      await writeNew(join(folder, 'public'), utf8('seal'), { mode: 0o644 })
      await writeNew(join(folder, 'empty'), new Uint8Array())
    } finally {
      process.umask(mask)
    }
    assert.equal(text(join(folder, 'secret')), 'sesame')
    assert.equal(text(join(folder, 'empty')), '')
    assert.equal(fs.statSync(join(folder, 'secret')).mode & 0o7777, 0o600)
    assert.equal(fs.statSync(join(folder, 'public')).mode & 0o7777, 0o644)
    assert.deepEqual(fs.readdirSync(folder).sort(), ['empty', 'public', 'secret'])
  }))

test('writeNew() with overwrite puts a new file in the place of the old', () =>
  inTemp(async (folder) => {
    const file = join(folder, 'key.pem')
    fs.writeFileSync(file, 'old and longer', { mode: 0o644 })
    fs.linkSync(file, join(folder, 'second-name'))
    await writeNew(file, utf8('new'), { overwrite: true })
    assert.equal(text(file), 'new')
    assert.equal(fs.statSync(file).mode & 0o777, 0o600)
    assert.equal(text(join(folder, 'second-name')), 'old and longer')
    await writeNew(join(folder, 'fresh'), utf8('new'), { overwrite: true })
    assert.equal(text(join(folder, 'fresh')), 'new')
    assert.equal(fs.readdirSync(folder).length, 3)
  }))

/** What one of many writers writes: told apart by its first byte, and wrong if parts are mixed. */
const draft = (i: number) => new Uint8Array(200_000).fill(i)

for (
  const [how, write] of [
    ['with links', (file: string, i: number) => writeNew(file, draft(i))],
    ['without links', async (file: string, i: number) => {
      fs.writeFileSync(`${file}.${i}`, draft(i))
      try {
        await claimWithoutLinks(`${file}.${i}`, file)
      } finally {
        fs.rmSync(`${file}.${i}`, { force: true })
      }
    }],
  ] as const
) {
  test(`of twenty writers of one name exactly one wins, ${how}`, () =>
    inTemp(async (folder) => {
      for (let round = 0; round < 5; round++) {
        const file = join(folder, `key${round}`)
        const results = await Promise.allSettled(
          Array.from({ length: 20 }, (_, i) => write(file, i)),
        )
        const winners = results.flatMap(({ status }, i) => status === 'fulfilled' ? [i] : [])
        assert.equal(winners.length, 1)
        for (const result of results) {
          if (result.status === 'fulfilled') continue
          const { code } = result.reason as { code: string }
          assert.equal(code, how === 'with links' ? 'file_exists' : 'EEXIST')
        }
        assert.ok(Buffer.from(draft(winners[0] ?? -1)).equals(fs.readFileSync(file)))
      }
      assert.equal(fs.readdirSync(folder).length, 5)
    }))
}

/** Starts the writer, kills it so many milliseconds after it was ready, and tells whether it was done. */
function killedWriter(args: string[], delay: number): Promise<boolean> {
  const script = fileURLToPath(new URL('./_write_child.ts', import.meta.url))
  const child = spawn(...sameRuntime(script, ...args), { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout?.on('data', (data) => {
    if (said === '') setTimeout(() => child.kill('SIGKILL'), delay)
    said += data
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => {
      said.startsWith('ready') ? resolve(said.includes('done')) : reject(new Error('no writer'))
    })
  })
}

test('kill -9 leaves the whole file or none, and of an old file the old or the new', () =>
  inTemp(async (folder) => {
    const size = 24 * MIB
    const whole = (file: string) => {
      const bytes = fs.readFileSync(file)
      return bytes.length === size && bytes.every((byte) => byte === 0x62)
    }
    let interrupted = 0
    for (const delay of [0, 2, 5, 10, 20, 40, 80]) {
      const fresh = join(folder, `fresh${delay}`)
      const done = await killedWriter([fresh, String(size)], delay)
      if (done) assert.ok(whole(fresh), 'acknowledged and not there')
      else if (fs.existsSync(fresh)) assert.ok(whole(fresh), `half a file after ${delay} ms`)
      else interrupted++

      const old = join(folder, `old${delay}`)
      fs.writeFileSync(old, 'old')
      const replaced = await killedWriter([old, String(size), 'overwrite'], delay)
      assert.ok(whole(old) || (!replaced && text(old) === 'old'), `mixed after ${delay} ms`)
    }
    assert.ok(interrupted > 0, 'no writer was killed midway')
    const others = fs.readdirSync(folder).filter((name) => !/^(fresh|old)\d+$/.test(name))
    for (const name of others) assert.match(name, /^\.signet-[0-9a-f]{16}\.tmp$/)
  }))

// Reading

test('readLimited() refuses what is missing, too large or no regular file, without waiting', () =>
  inTemp(async (folder) => {
    await assert.rejects(readLimited(join(folder, 'missing'), 10), refused('file_unreadable'))
    await assert.rejects(readLimited(folder, 10), refused('file_unreadable'))
    fs.writeFileSync(join(folder, 'file'), '0123456789')
    await assert.rejects(readLimited(join(folder, 'file/below'), 10), refused('file_unreadable'))
    await assert.rejects(readLimited(join(folder, 'file'), 9), refused('too_large'))
    shell('mkfifo "$1"', join(folder, 'fifo'))
    await assert.rejects(readLimited(join(folder, 'fifo'), 10), refused('special_file_refused'))
    await assert.rejects(readLimited('/dev/zero', 10), refused('special_file_refused'))
    const server = createServer().listen(join(folder, 'socket'))
    await new Promise((resolve) => server.once('listening', resolve))
    try {
      await assert.rejects(readLimited(join(folder, 'socket'), 10), refused('special_file_refused'))
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
    fs.writeFileSync(join(folder, 'sparse'), '')
    fs.truncateSync(join(folder, 'sparse'), 2 ** 40)
    await assert.rejects(readLimited(join(folder, 'sparse'), MIB), refused('too_large'))
  }))

test('readLimited() counts what it reads, not what the file says', async (t) => {
  if (!fs.existsSync('/proc/self/status')) return t.skip('no /proc here')
  // Files of /proc say that they have 0 bytes.
  assert.match(fromUtf8(await readLimited('/proc/self/status', MIB)), /^Name:/)
  await assert.rejects(readLimited('/proc/self/status', 100), refused('too_large'))
})

test('readLimited() reads whole files, up to the limit, and through links', () =>
  inTemp(async (folder) => {
    const file = join(folder, 'file')
    fs.writeFileSync(file, '0123456789')
    fs.symlinkSync('file', join(folder, 'link'))
    assert.equal(fromUtf8(await readLimited(file, 10)), '0123456789')
    assert.equal(fromUtf8(await readLimited(join(folder, 'link'), 10)), '0123456789')
    fs.writeFileSync(file, '')
    assert.equal((await readLimited(file, 0)).length, 0)
    const bytes = new Uint8Array(3 * MIB).map((_, i) => i % 251)
    fs.writeFileSync(file, bytes)
    assert.ok(Buffer.from(bytes).equals(await readLimited(file, 3 * MIB)))
  }))
