/**
 * What every log storage must do, whatever it keeps its bytes in. `restart` stands for a crash: it gives a
 * storage over the same place as a new process would see it; the writer of the old one is gone.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex, utf8 } from '../../src/bytes.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  formatProof,
  type LogStorage,
  openCheckpoint,
  openLog,
  parseEntry,
  verifyProof,
} from '../../src/log/mod.ts'

/** A place for one log. */
export interface LogPlace {
  /** The storage as a process sees it that just started. */
  open(): LogStorage
  /** Removes the place. */
  remove(): void | Promise<void>
}

const now = (...changes: { path: string; bytes?: Uint8Array<ArrayBuffer> }[]) =>
  Promise.resolve(changes)

/** Runs the suite. */
export function logStorageSuite(name: string, place: () => LogPlace | Promise<LogPlace>): void {
  const on = (title: string, fn: (place: LogPlace) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const where = await place()
      try {
        await fn(where)
      } finally {
        await where.remove()
      }
    })

  on('what is not there reads as undefined', async (place) => {
    const storage = place.open()
    assert.equal(await storage.read('checkpoint'), undefined)
    assert.equal(await storage.read('tile/0/x001/000'), undefined)
    assert.equal(await storage.read('tile/entries/000.p/3'), undefined)
  })

  on(
    'a second writer is refused while the first has the lock, and not afterwards',
    async (place) => {
      const storage = place.open()
      const writer = await storage.lock()
      await assert.rejects(storage.lock(), { code: 'log_locked' })
      await assert.rejects(place.open().lock(), { code: 'log_locked' })
      await writer.release()
      await writer.release()
      const second = await place.open().lock()
      await second.release()
    },
  )

  on('a refused second writer leaves the lock with the first', async (place) => {
    const writer = await place.open().lock()
    for (let i = 0; i < 3; i++) {
      await assert.rejects(place.open().lock(), { code: 'log_locked' })
    }
    await writer.append(utf8('still mine'))
    await writer.release()
  })

  on('records come back in order, byte for byte', async (place) => {
    const records = [utf8('one'), new Uint8Array(70_000).fill(7), new Uint8Array(0), utf8('four')]
    const writer = await place.open().lock()
    assert.equal(writer.records.length, 0)
    for (const record of records) await writer.append(record)
    await writer.release()
    const again = await place.open().lock()
    assert.deepEqual(again.records.map(toHex), records.map(toHex))
    assert.equal(again.cut, 0)
    await again.append(utf8('five'))
    await again.release()
    const third = await place.open().lock()
    assert.deepEqual(third.records.map(toHex), [...records, utf8('five')].map(toHex))
    await third.release()
  })

  on('publishing forgets what was appended before it was called, and only that', async (place) => {
    const writer = await place.open().lock()
    await writer.append(utf8('before'))
    let settle = (_: { path: string; bytes: Uint8Array<ArrayBuffer> }[]) => {}
    const published = writer.publish(new Promise((resolve) => settle = resolve))
    await writer.append(utf8('during'))
    settle([{ path: 'checkpoint', bytes: utf8('note') }])
    await published
    await writer.append(utf8('after'))
    await writer.release()
    const again = await place.open().lock()
    assert.deepEqual(again.records.map(toHex), [utf8('during'), utf8('after')].map(toHex))
    await again.release()
  })

  on('a publication that fails forgets nothing', async (place) => {
    const writer = await place.open().lock()
    await writer.append(utf8('kept'))
    await assert.rejects(writer.publish(Promise.reject(new Error('no'))))
    await writer.append(utf8('also kept'))
    await writer.release()
    const again = await place.open().lock()
    assert.deepEqual(again.records.map(toHex), [utf8('kept'), utf8('also kept')].map(toHex))
    await again.publish(now({ path: 'checkpoint', bytes: utf8('note') }))
    await again.publish(now({ path: 'checkpoint', bytes: utf8('note') }))
    await again.release()
    const third = await place.open().lock()
    assert.equal(third.records.length, 0)
    await third.release()
  })

  on('resources are written, replaced and deleted', async (place) => {
    const storage = place.open()
    const writer = await storage.lock()
    const paths = ['checkpoint', 'tile/0/x001/234', 'tile/entries/000.p/3', 'private/000']
    await writer.publish(now(...paths.map((path) => ({ path, bytes: utf8(`1 ${path}`) }))))
    for (const path of paths) {
      assert.equal(toHex((await storage.read(path))!), toHex(utf8(`1 ${path}`)))
    }
    await writer.publish(now({ path: 'private/000' }, { path: 'checkpoint', bytes: utf8('2') }))
    assert.equal(await storage.read('private/000'), undefined)
    await writer.publish(now({ path: 'private/000' }))
    // A folder of partial tiles goes whole, its full tile and its neighbours stay.
    const kept = ['tile/0/000', 'tile/0/001.p/1'].map((path) => ({ path, bytes: utf8('kept') }))
    const gone = [1, 2, 255].map((w) => ({ path: `tile/0/000.p/${w}`, bytes: utf8('gone') }))
    await writer.publish(now(...kept, ...gone))
    await writer.publish(now({ path: 'tile/0/000.p' }))
    for (const { path } of gone) assert.equal(await storage.read(path), undefined)
    for (const { path } of kept) assert.notEqual(await storage.read(path), undefined)
    await writer.release()
    const other = place.open()
    assert.equal(toHex((await other.read('checkpoint'))!), toHex(utf8('2')))
    assert.notEqual(await other.read('tile/0/x001/234'), undefined)
  })

  on('a writer that was released writes nothing more', async (place) => {
    const writer = await place.open().lock()
    await writer.release()
    await assert.rejects(writer.append(utf8('late')), { code: 'log_closed' })
    await assert.rejects(writer.publish(now({ path: 'checkpoint', bytes: utf8('late') })), {
      code: 'log_closed',
    })
    assert.equal(await place.open().read('checkpoint'), undefined)
  })

  on(
    'a log over it takes 700 entries from 8 callers, opens again and proves each kind',
    async (place) => {
      const key = await generateKey(ALGORITHMS['Ed25519'])
      const origin = 'example.com/suite'
      const log = await openLog(place.open(), key, { origin, publishAfter: 5 })
      const indexes = new Set<number>()
      await Promise.all(Array.from({ length: 8 }, async (_, caller) => {
        for (let i = 0; i < 87; i++) {
          const { index, entry } = await log.append({ type: 'test', data: { caller, i } })
          assert.ok(!indexes.has(index))
          indexes.add(index)
          assert.equal(parseEntry(entry).seq, index)
        }
      }))
      assert.equal(log.size, 1 + 8 * 87)
      await log.close()

      const storage = place.open()
      const again = await openLog(storage, key, { origin })
      assert.deepEqual(again.recovery, { entries: 0, cut: 0 })
      assert.equal(again.size, 697)
      const { index, entry } = await again.append({ type: 'test', actor: 'last' })
      for (const i of [0, 255, 256, 511, 600, 696, index]) {
        const proof = formatProof(await again.prove(i))
        const bytes = i === index ? entry : await again.view().entry(i)
        const verified = await verifyProof(proof, bytes, { log: again.verifiers, origin })
        assert.equal(verified.index, i)
        await assert.rejects(verifyProof(proof, utf8('{}'), { log: again.verifiers }), {
          code: 'proof_invalid',
        })
      }
      const published = await openCheckpoint((await storage.read('checkpoint'))!, again.verifiers)
      assert.equal(published.size, 698)
      await again.close()
    },
  )
}
