import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { SignetError } from '../../src/errors.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  acceptPublishers,
  newPublishers,
  publishersInMemory,
  type PublishersMemory,
  signPublishers,
} from '../../src/models/mod.ts'
import { publishersMemorySuite } from '../suites/publishers_memory_suite.ts'

publishersMemorySuite('publishersInMemory()', () => {
  const memory = publishersInMemory()
  return Promise.resolve([memory, memory])
})

const NOW = 1_800_000_000
const owner = await generateKey(ALGORITHMS['Ed25519'])
const first = newPublishers({ name: 'list', owners: [owner.publicKey], issued: NOW })
/** Versions 1 to 5, two different lists of each. */
const files = await Promise.all(
  [1, 2, 3, 4, 5].flatMap((version) =>
    [1, 2].map((threshold) => signPublishers({ ...first, version, threshold }, [owner]))
  ),
)

test('whatever happens in whatever order, no accepted version is older than one before', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.nat(files.length - 1), { minLength: 1, maxLength: 8 }),
      async (scheduler, arrivals) => {
        const store = publishersInMemory()
        const history: number[] = []
        const digests = new Map<number, string>()
        const memory: PublishersMemory = {
          read: (id) => scheduler.schedule(Promise.resolve(), 'read').then(() => store.read(id)),
          write: async (id, state, expected) => {
            await scheduler.schedule(Promise.resolve(), 'write')
            const written = await store.write(id, state, expected)
            if (written) {
              history.push(state.version)
              digests.set(state.version, state.digest)
            }
            return written
          },
        }
        const options = { owners: [owner.publicKey], now: NOW }
        const outcomes = arrivals.map(async (i) => {
          try {
            const { state } = await acceptPublishers(files[i]!, memory, 'a', options)
            // whoever was accepted is what was written, never its twin
            assert.equal(digests.get(state.version), state.digest)
            return state.version
          } catch (error) {
            assert.ok(error instanceof SignetError, String(error))
            assert.equal(error.code, 'publishers_rollback')
          }
        })
        await scheduler.waitFor(Promise.all(outcomes))
        assert.ok(history.every((version, i) => i === 0 || version > history[i - 1]!), `${history}`)
        const newest = Math.max(...arrivals.map((i) => Math.floor(i / 2) + 1))
        assert.equal(history.at(-1), newest, 'the newest was refused to nobody')
        assert.equal((await store.read('a'))!.version, newest)
      },
    ),
    { numRuns: 60 },
  )
})
