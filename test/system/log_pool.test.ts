/** A log verified by several threads gives the very report that one thread gives. */
import assert from 'node:assert/strict'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { folderChecker } from '../../backends/log_pool.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { generateKey } from '../../src/keys/mod.ts'
import { type LogReport, openLog, treeHasher, verifyLog } from '../../src/log/mod.ts'
import { inTemp } from './_temp.ts'

const SIZE = 20_000
const hasher = treeHasher(nodeSha256)

async function makeLog(folder: string) {
  const key = await generateKey(ALGORITHMS['Ed25519'])
  const options = { origin: 'example.com/pool', sha256: nodeSha256, publishAfter: 100_000 }
  const log = await openLog(fileLogStorage(folder), key, options)
  await Promise.all(
    Array.from({ length: SIZE - 1 }, (_, i) => log.append({ type: 'test', data: i })),
  )
  const head = await log.checkpoint()
  await log.close()
  return head
}

const plain = ({ faults, ...rest }: LogReport) => ({
  ...rest,
  faults: faults.map(({ code, message, where }) => ({ code, message, where })),
})

test(
  'threads find what one thread finds, in the same order',
  { timeout: 120_000 },
  () =>
    inTemp(async (folder) => {
      const log = join(folder, 'log')
      const head = await makeLog(log)
      const both = async (place: string, strict = false) => {
        const reader = fileLogStorage(place)
        const checker = folderChecker(place, { threads: 2, worthStarting: 1 })
        const progress: number[] = []
        const onProgress = (done: number) => void progress.push(done)
        const shared = plain(await verifyLog(reader, head, { hasher, strict, checker, onProgress }))
        assert.deepEqual(shared, plain(await verifyLog(reader, head, { hasher, strict })))
        assert.deepEqual(progress, progress.toSorted((a, b) => a - b))
        assert.equal(progress.at(-1), SIZE)
        return shared
      }
      const whole = await both(log)
      assert.deepEqual([whole.whole, whole.verified], [true, SIZE])
      assert.equal((await both(log, true)).whole, true)

      const bad = join(folder, 'bad')
      cpSync(log, bad, { recursive: true })
      const flip = (path: string, at: number) => {
        const bytes = readFileSync(join(bad, path))
        bytes[at]! ^= 1
        writeFileSync(join(bad, path), bytes)
      }
      flip('tile/entries/003', 1000)
      flip('tile/0/070', 40)
      flip('tile/entries/060', 5000)
      flip('tile/1/000.p/78', 64)
      rmSync(join(bad, 'tile/entries/050'))
      const found = await both(bad)
      assert.ok(!found.whole && found.faults.length >= 6, JSON.stringify(found.faults))
      // Pruned, and lost altogether.
      rmSync(join(bad, 'tile/entries/000'))
      rmSync(join(bad, 'tile/entries/001'))
      assert.equal((await both(bad)).pruned, 512)
      rmSync(join(bad, 'tile'), { recursive: true })
      assert.equal((await both(bad)).faults.length, 100)
    }),
)

test('where threads do not start, or end, the calling thread does the work', () =>
  inTemp(async (folder) => {
    const log = join(folder, 'log')
    const head = await makeLog(log)
    const programs = {
      'ends.mjs': 'process.exit(3)',
      'throws.mjs': "throw new Error('no')",
      'ends-later.mjs': `import { parentPort } from 'node:worker_threads'
        parentPort.on('message', () => process.exit(1))`,
    }
    for (const [name, text] of Object.entries(programs)) {
      const path = join(folder, name)
      writeFileSync(path, text)
      const options = { threads: 2, worthStarting: 1, program: pathToFileURL(path) }
      const checker = folderChecker(log, options)
      const report = await verifyLog(fileLogStorage(log), head, { hasher, checker })
      assert.deepEqual([report.whole, report.verified], [true, SIZE], name)
    }
  }))

test('verification by threads can be cancelled', () =>
  inTemp(async (folder) => {
    const log = join(folder, 'log')
    const head = await makeLog(log)
    const stop = new AbortController()
    const checker = folderChecker(log, { threads: 2, worthStarting: 1 })
    const onProgress = () => stop.abort()
    const done = verifyLog(fileLogStorage(log), head, {
      hasher,
      checker,
      onProgress,
      signal: stop.signal,
    })
    await assert.rejects(done, { code: 'aborted' })
  }))
