import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type DigestPool, digestPool } from '../../backends/fs_pool.ts'
import { toHex } from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'
import type { DigestRequest } from '../../src/models/file_tree.ts'
import { inTemp, sameRuntime } from './_temp.ts'

const run = promisify(execFile)
const MIB = 1 << 20
const CHILD = fileURLToPath(new URL('./_fs_child.ts', import.meta.url))

/** One digest; `size` is what the pool is told, and makes it think that workers are worth it. */
function digest(
  pool: DigestPool,
  folder: string,
  name: string,
  request: Partial<DigestRequest> = {},
  size = 40 * MIB,
) {
  const span = { file: join(folder, name), folder, start: 0, end: undefined, follow: false }
  return pool.digest(name, span, size, { algorithm: 'sha256', ...request }).then(toHex)
}

/** Digests small files until `enough` says so, at most for ten seconds. */
async function keepBusy(
  pool: DigestPool,
  folder: string,
  enough: (results: PromiseSettledResult<string>[]) => boolean,
): Promise<boolean> {
  const names = fs.readdirSync(folder)
  for (const end = performance.now() + 10_000; performance.now() < end;) {
    if (enough(await Promise.allSettled(names.map((name) => digest(pool, folder, name))))) {
      return true
    }
  }
  return false
}

function makeFiles(folder: string, count: number, size: number): Record<string, string> {
  const digests: Record<string, string> = {}
  for (let i = 0; i < count; i++) {
    const bytes = randomBytes(size)
    fs.writeFileSync(join(folder, `f${i}`), bytes)
    digests[`f${i}`] = createHash('sha256').update(bytes).digest('hex')
  }
  return digests
}

/** Runs the child and reads its line; it fails if the child does not end by itself. */
async function child([command, args]: [string, string[]]) {
  const { stdout } = await run(command, args, { timeout: 60_000, killSignal: 'SIGKILL' })
  return JSON.parse(stdout) as { workers: number; rounds: number; digests: Record<string, string> }
}

const USELESS: Readonly<Record<string, string>> = {
  'is no program': 'syntax error (',
  'fails when it starts': 'throw new Error("cannot start")',
  'ends when it starts': '0',
  'never answers': 'setInterval(() => {}, 1000)',
}

for (const [what, program] of Object.entries(USELESS)) {
  test(`a worker that ${what} leaves the work to the calling thread, and the process ends`, () =>
    inTemp(async (folder) => {
      const digests = makeFiles(folder, 12, 4 * MIB)
      const report = await child(sameRuntime(CHILD, folder, program))
      assert.deepEqual(report.digests, digests)
      assert.equal(report.workers, 0)
    }))
}

const UP = `
const { parentPort } = process.getBuiltinModule('node:worker_threads')
parentPort.postMessage('up')
parentPort.on('message', (batch) => `

const DYING: Readonly<Record<string, string>> = {
  'throws while it works': `${UP} { throw new Error('out of luck') })`,
  'ends while it works': `${UP} process.exit(3))`,
}

for (const [what, program] of Object.entries(DYING)) {
  test(`a worker that ${what} fails the digests that it had, and no others`, () =>
    inTemp(async (folder) => {
      const digests = makeFiles(folder, 10, 1000)
      const pool = digestPool(2, program)
      const died = await keepBusy(pool, folder, (results) => {
        const failed = results.filter((result) => result.status === 'rejected')
        for (const { reason } of failed) {
          assert.ok(isSignetError(reason, 'io_failed'), String(reason))
          assert.match(reason.message, /thread/)
        }
        assert.ok(failed.length < results.length)
        return failed.length > 0
      })
      assert.ok(died, 'no worker came up within ten seconds')
      assert.equal(pool.workers, 0)
      const names = Object.keys(digests)
      const after = await Promise.all(names.map((name) => digest(pool, folder, name)))
      assert.deepEqual(after, Object.values(digests))
    }))
}

test('what a worker found is what is told', () =>
  inTemp(async (folder) => {
    makeFiles(folder, 10, 1000)
    const answer = `parentPort.postMessage(batch.map(({ id }) =>
      ({ id, result: { fault: 'file_changed', why: 'says the worker' } }))))`
    const pool = digestPool(2, UP + answer)
    const told = await keepBusy(pool, folder, (results) =>
      results.some((result) =>
        result.status === 'rejected' && isSignetError(result.reason, 'file_changed') &&
        result.reason.message.includes('says the worker')
      ))
    assert.ok(told, 'no worker was asked within ten seconds')
  }))

test('a small job starts no worker, and one big file needs none', () =>
  inTemp(async (folder) => {
    makeFiles(folder, 20, 1000)
    fs.writeFileSync(join(folder, 'big'), '')
    fs.truncateSync(join(folder, 'big'), 64 * MIB)
    const started = join(folder, 'started')
    const write = `process.getBuiltinModule('node:fs').writeFileSync(${
      JSON.stringify(started)
    }, '')`
    const pool = digestPool(4, write)
    const names = fs.readdirSync(folder).filter((name) => name !== 'big')
    await Promise.all(names.map((name) => digest(pool, folder, name, {}, 1000)))
    await digest(pool, folder, 'big', {}, 64 * MIB)
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(fs.existsSync(started), false)
    assert.ok(await keepBusy(pool, folder, () => fs.existsSync(started)), 'nor does a large one')
  }))

test('workers take part, find the same digests, and let the process end', () =>
  inTemp(async (folder) => {
    const digests = makeFiles(folder, 24, 2 * MIB)
    const report = await child(sameRuntime(CHILD, folder))
    assert.deepEqual(report.digests, digests)
    assert.equal(report.workers, 1)
  }))

test('workers survive a bundler that minifies', () =>
  inTemp(async (folder) => {
    const { build, stop } = await import('esbuild')
    const outfile = join(folder, 'bundle.mjs')
    await build({
      entryPoints: [CHILD],
      bundle: true,
      minify: true,
      platform: 'node',
      format: 'esm',
      external: ['@noble/*'],
      outfile,
      logLevel: 'silent',
    })
    await stop()
    const files = join(folder, 'files')
    fs.mkdirSync(files)
    const digests = makeFiles(files, 24, 2 * MIB)
    const report = await child(sameRuntime(outfile, files))
    assert.deepEqual(report.digests, digests)
    assert.equal(report.workers, 1)
  }))

test('workers are there in a single binary made by Bun', (t) => {
  if (!process.versions.bun) return t.skip('this is not Bun')
  return inTemp(async (folder) => {
    const binary = join(folder, 'binary')
    await run(process.execPath, ['build', '--compile', '--minify', CHILD, '--outfile', binary])
    const files = join(folder, 'files')
    fs.mkdirSync(files)
    const digests = makeFiles(files, 24, 2 * MIB)
    const report = await child([binary, [files]])
    assert.deepEqual(report.digests, digests)
    assert.equal(report.workers, 1)
  })
})

test('digests on workers report progress, and end when aborted', () =>
  inTemp(async (folder) => {
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) {
      fs.writeFileSync(join(folder, name), '')
      fs.truncateSync(join(folder, name), 2048 * MIB) // sparse; seconds to hash
    }
    const pool = digestPool(2)
    const controller = new AbortController()
    const progress = new Map<string, number>()
    let late = 0
    const begun = performance.now()
    const all = names.map((name) =>
      digest(pool, folder, name, {
        signal: controller.signal,
        onBytes(count) {
          if (controller.signal.aborted) late++
          progress.set(name, (progress.get(name) ?? 0) + count)
          // The second file that moves is on the worker.
          if (progress.size === 2 || performance.now() - begun > 10_000) controller.abort()
        },
      })
    )
    for (const result of await Promise.allSettled(all)) {
      assert.ok(result.status === 'rejected' && isSignetError(result.reason, 'aborted'))
    }
    assert.equal(progress.size, 2, 'no worker came up within ten seconds')
    const small = join(folder, 'small')
    fs.mkdirSync(small)
    makeFiles(small, 8, 3 * MIB)
    let bytes = 0
    const onBytes = (count: number) => bytes += count
    const files = fs.readdirSync(small)
    await Promise.all(files.map((name) => digest(pool, small, name, { onBytes })))
    assert.equal(bytes, 8 * 3 * MIB)
    assert.equal(late, 0)
  }))
