import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, toHex, utf8 } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'
import {
  type Log,
  type LogEntry,
  type LogReader,
  type LogStorage,
  LogView,
  type LogWriter,
  memoryAnchor,
  memoryLogStorage,
  openCheckpoint,
  openingPath,
  openLog,
  parseEntry,
  parseOpening,
  verifyLog,
  verifyOpening,
  verifyProof,
} from '../../src/log/mod.ts'
import { decodeRecord, encodeRecord, journalSealer } from '../../src/log/journal.ts'
import { portableSha256 } from '../../src/log/mod.ts'

const origin = 'example.com/log'
const key: Key = await generateKey(ALGORITHMS['Ed25519'])
const quiet = { origin, publishAfter: 100_000 }

/** A storage whose bytes a test can see, copy and damage. */
class Lab implements LogStorage {
  resources = new Map<string, Bytes>()
  journal: Bytes[] = []
  /** Called before each write; throws to fail it. */
  fault: (what: 'append' | 'publish') => void = () => {}

  read(path: string): Promise<Bytes | undefined> {
    return Promise.resolve(this.resources.get(path))
  }

  lock(): Promise<LogWriter> {
    return Promise.resolve({
      records: [...this.journal],
      cut: 0,
      append: async (record: Bytes) => {
        await undefined
        this.fault('append')
        this.journal.push(record)
      },
      publish: async (changes: Promise<readonly { path: string; bytes?: Bytes | undefined }[]>) => {
        const before = this.journal.length
        const all = await changes
        this.fault('publish')
        for (const { path, bytes } of all) {
          if (bytes !== undefined) this.resources.set(path, bytes)
          else {
            const gone = [...this.resources.keys()].filter((one) =>
              `${one}/`.startsWith(`${path}/`)
            )
            for (const one of gone) this.resources.delete(one)
          }
        }
        this.journal = this.journal.slice(before)
      },
      release: () => Promise.resolve(),
    })
  }

  /** The state as a crash at this moment would leave it. */
  copy(): Lab {
    const copy = new Lab()
    copy.resources = new Map(this.resources)
    copy.journal = [...this.journal]
    return copy
  }
}

const fill = async (log: Log, count: number) => {
  for (let i = 0; i < count; i++) await log.append({ type: 'test', data: i })
}
const entries = async (log: Log, reader: LogReader) => {
  const found: LogEntry[] = []
  const report = await verifyLog(reader, await log.checkpoint(), {
    strict: true,
    onEntry: (_, entry) => found.push(parseEntry(entry)),
  })
  assert.deepEqual(report.faults, [])
  assert.equal(report.verified, log.size)
  return found
}

test('an event that is refused takes no place and stops nobody', async () => {
  const log = await openLog(memoryLogStorage(), key, quiet)
  const results = await Promise.allSettled([
    log.append({ type: 'a' }),
    log.append({ type: 'a b' }),
    log.append({ type: 'a', data: 'x'.repeat(70_000) }),
    log.append({ type: 'a' }),
  ])
  assert.deepEqual(results.map(({ status }) => status), [
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ])
  assert.equal(log.size, 3)
  await log.close()
  await assert.rejects(log.append({ type: 'a' }), { code: 'log_closed' })
})

test('a key that signs no checkpoints is refused, and so is another key', async () => {
  const ecdsa = await generateKey(ALGORITHMS['ES256'])
  await assert.rejects(openLog(memoryLogStorage(), ecdsa, quiet), { code: 'algorithm_unsupported' })
  const storage = memoryLogStorage()
  await (await openLog(storage, key, quiet)).close()
  const other = await generateKey(ALGORITHMS['Ed25519'])
  await assert.rejects(openLog(storage, other, quiet), { code: 'signer_untrusted' })
  await assert.rejects(openLog(storage, key, { origin: 'example.com/other' }), {
    code: 'checkpoint_origin',
  })
  // A refused opening gives the lock back.
  await (await openLog(storage, key, quiet)).close()
})

test('every moment of a crash leaves all that was acknowledged, and nothing twice', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, { origin, publishAfter: 1 })
  for (let i = 0; i < 40; i++) {
    await Promise.all(Array.from({ length: 1 + i % 9 }, () => log.append({ type: 'test' })))
    const acknowledged = log.size
    if (i % 3 === 0) await log.checkpoint()
    const crashed = lab.copy()
    const after = await openLog(crashed, key, quiet)
    const found = await entries(after, crashed)
    assert.deepEqual(found.map(({ seq }) => seq), found.map((_, seq) => seq))
    const recovered = found.filter(({ type }) => type === 'log.recovered').length
    assert.equal(found.length, acknowledged + recovered)
    assert.equal(recovered, after.recovery.entries > 0 ? 1 : 0)
    await after.close()
  }
  await log.close()
})

test('a refused write is not in the log, and the log goes on', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  await fill(log, 3)
  lab.fault = (what) => {
    if (what === 'append') throw new SignetError('log_not_durable', 'full')
  }
  const refused = await Promise.allSettled([1, 2].map(() => log.append({ type: 'lost' })))
  for (const one of refused) {
    assert.equal(one.status === 'rejected' && one.reason.code, 'log_not_durable')
  }
  lab.fault = () => {}
  assert.equal((await log.append({ type: 'after' })).index, 4)
  assert.deepEqual((await entries(log, lab)).map(({ type }) => type).slice(-2), ['test', 'after'])
  await log.close()
})

test('a write in doubt ends the writer', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  lab.fault = () => {
    throw new SignetError('log_in_doubt', 'who knows')
  }
  await assert.rejects(log.append({ type: 'a' }), { code: 'log_in_doubt' })
  lab.fault = () => {}
  await assert.rejects(log.append({ type: 'a' }), { code: 'log_in_doubt' })
  await log.close()
  const again = await openLog(lab, key, quiet)
  assert.equal(again.size, 1)
  await again.close()
})

test('a publication that fails is tried again, and nothing is lost meanwhile', async () => {
  const lab = new Lab()
  const faults: unknown[] = []
  const log = await openLog(lab, key, { origin, publishAfter: 1, onFault: (e) => faults.push(e) })
  lab.fault = (what) => {
    if (what === 'publish') throw new SignetError('io_failed', 'full')
  }
  await fill(log, 5)
  await assert.rejects(log.checkpoint(), { code: 'io_failed' })
  for (let i = 0; faults.length === 0 && i < 200; i++) await new Promise((r) => setTimeout(r, 5))
  assert.ok(faults.length > 0)
  const crashed = await openLog(lab.copy(), key, quiet)
  assert.equal(crashed.size, 7)
  lab.fault = () => {}
  assert.equal((await log.checkpoint()).size, 6)
  await log.close()
})

test('closing waits for what the timer began meanwhile', async () => {
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  const rounds = Array.from({ length: 100 }, async (_, round) => {
    const lab = new Lab()
    let released = false
    let late = 0
    const slow: LogStorage = {
      read: (path) => lab.read(path),
      async lock() {
        const writer = await lab.lock()
        return {
          ...writer,
          async publish(changes) {
            if (released) late++
            await pause(round % 7)
            await writer.publish(changes)
          },
          release() {
            released = true
            return Promise.resolve()
          },
        }
      },
    }
    const log = await openLog(slow, key, { origin, publishAfter: 3 })
    await fill(log, 1)
    await pause(round % 11)
    if (round % 2 === 1) await fill(log, 1)
    await log.close()
    await pause(10)
    assert.ok(released)
    return late
  })
  assert.deepEqual((await Promise.all(rounds)).filter((late) => late > 0), [])
})

test('entries slipped into the journal by somebody else are refused', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  await fill(log, 2)
  const crashed = lab.copy()
  const stranger = await journalSealer(
    await generateKey(ALGORITHMS['Ed25519']),
    origin,
    portableSha256,
  )
  const forged = { first: 3, entries: [utf8('{"type":"forged"}')], openings: new Map() }
  crashed.journal.push(await encodeRecord(forged, stranger))
  await assert.rejects(openLog(crashed, key, quiet), { code: 'log_corrupt', where: 'journal' })

  const own = await journalSealer(key, origin, portableSha256)
  const record = crashed.journal[0]!
  assert.equal((await decodeRecord(record, own)).first, 1)
  for (let at = 0; at < record.length; at += 7) {
    const wrong = record.slice()
    wrong[at]! ^= 1
    await assert.rejects(decodeRecord(wrong, own), { code: 'log_corrupt' }, `byte ${at}`)
  }
  // A record left out, and two in the wrong order.
  const [first, second] = lab.journal
  for (const journal of [[second!], [second!, first!]]) {
    const swapped = lab.copy()
    swapped.journal = journal
    await assert.rejects(openLog(swapped, key, quiet), { code: 'log_corrupt' })
  }
  await log.close()
})

test('time never runs back, and a clock that does is told once', async () => {
  let now = Date.parse('2026-11-21T10:00:00Z')
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { ...quiet, clock: () => now })
  const hour = 3_600_000
  for (const step of [1000, -500, -hour, 10, 20, 2 * hour, -24 * hour, 5, 48 * hour]) {
    now += step
    await log.append({ type: 'test' })
  }
  const all = await entries(log, storage)
  const times = all.map(({ time }) => time)
  assert.deepEqual(times, times.toSorted())
  assert.equal(all.filter(({ type }) => type === 'log.clock').length, 2)
  await log.close()
})

test('the clock may be wrong over a restart too', async () => {
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { ...quiet, clock: () => 2_000_000_000_000 })
  await fill(log, 1)
  await log.close()
  const again = await openLog(storage, key, { ...quiet, clock: () => 1_000_000_000_000 })
  const { entry } = await again.append({ type: 'test' })
  assert.equal(parseEntry(entry).time, new Date(2_000_000_000_000).toISOString())
  await again.close()
})

test('a flipped byte anywhere in the tiles is noticed, and where', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  await fill(log, 300)
  const { size, root } = await log.checkpoint()
  await log.close()
  for (const [path, bytes] of lab.resources) {
    if (!path.startsWith('tile/') || path.endsWith('.p/1')) continue
    for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
      const damaged = lab.copy()
      const wrong = bytes.slice()
      wrong[at]! ^= 1
      damaged.resources.set(path, wrong)
      const view = new LogView(damaged, { origin, size, root })
      const check = async () => {
        for (const i of [0, 100, 255, 256, size - 1]) await view.entry(i)
      }
      await assert.rejects(check(), { code: 'log_corrupt' }, `${path} byte ${at}`)
    }
  }
  const missing = lab.copy()
  missing.resources.delete('tile/entries/000')
  const view = new LogView(missing, { origin, size, root })
  await assert.rejects(view.entry(3), { code: 'log_missing', where: 'tile/entries/000' })
  await assert.rejects(view.entry(size), { code: 'log_range' })
})

test('forgetting destroys the content, and every proof still holds', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  const secret = await log.append({ type: 'test', private: { name: 'Ada Lovelace' } })
  const other = await log.append({ type: 'test', private: { name: 'Bob' } })
  await log.checkpoint()
  const opening = parseOpening(lab.resources.get(openingPath(secret.index))!)
  verifyOpening(parseEntry(secret.entry), opening)
  await log.forget([secret.index])
  const kept = [...lab.resources.values(), ...lab.journal].map(toHex).join()
  assert.ok(!kept.includes(toHex(utf8('Ada Lovelace'))))
  assert.ok(lab.resources.has(openingPath(other.index)))
  const proof = await log.prove(secret.index)
  await verifyProof(proof, secret.entry, { log: log.verifiers })
  assert.equal((await entries(log, lab)).at(-1)!.type, 'log.forgot')
  await assert.rejects(log.forget([99]), { code: 'log_range' })
  await log.close()
})

test('pruning refuses to delete a body that is not as it was logged: it is evidence', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  await fill(log, 600)
  await log.checkpoint()
  const bytes = lab.resources.get('tile/entries/000')!
  bytes[100]! ^= 1
  await assert.rejects(log.prune(512), { code: 'log_corrupt' })
  assert.ok(lab.resources.has('tile/entries/000') && lab.resources.has('tile/entries/001'))
  await log.close()
})

test('pruning takes up where an earlier one ended in the middle', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  await fill(log, 1400)
  await log.checkpoint()
  lab.resources.delete('tile/entries/002') // a gap, as a power cut may leave it
  assert.equal(await log.prune(1024), 1024)
  const left = [...lab.resources.keys()].filter((path) => path.startsWith('tile/entries/'))
  assert.deepEqual(left.filter((path) => !path.startsWith('tile/entries/005.p/')), [
    'tile/entries/004',
  ])
  const { size } = log
  assert.equal(await log.prune(1024), 1024)
  assert.equal(log.size, size, 'there was nothing to tell')
  await log.close()
})

test('pruning takes bodies, their openings and partial bundles away, and leaves every proof', async () => {
  const lab = new Lab()
  const log = await openLog(lab, key, quiet)
  const { entry, index } = await log.append({ type: 'test', private: { name: 'Ada Lovelace' } })
  await log.checkpoint()
  await fill(log, 600)
  const late = await log.append({ type: 'test', private: { name: 'Bob' } })
  assert.equal(await log.prune(520), 512)
  await verifyProof(await log.prove(index), entry, { log: log.verifiers })
  await assert.rejects(log.view().entry(index), { code: 'log_missing' })
  const kept = [...lab.resources.values(), ...lab.journal].map(toHex).join()
  assert.ok(!kept.includes(toHex(utf8('Ada Lovelace'))) && !kept.includes(toHex(entry)))
  assert.ok(lab.resources.has(openingPath(late.index)))
  assert.equal(parseEntry(await log.view().entry(512)).seq, 512)
  await log.close()
  const again = await openLog(lab, key, quiet)
  assert.equal(again.size, 604)
  await again.close()
})

test('an ML-DSA-44 key signs beside the Ed25519 key, or alone', async () => {
  const pq = await generateKey(ALGORITHMS['ML-DSA-44'])
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { ...quiet, alsoSign: [pq] })
  const note = (await log.checkpoint()).note
  for (const verifier of log.verifiers) {
    assert.equal((await openCheckpoint(note, [verifier])).size, 1)
  }
  await log.close()
  const alone = await openLog(memoryLogStorage(), pq, quiet)
  await fill(alone, 2)
  await alone.close()
})

test('cut tails, forks and swapped logs are told apart by the anchor', async () => {
  const lab = new Lab()
  const anchor = memoryAnchor()
  const options = { ...quiet, anchor }
  const log = await openLog(lab, key, options)
  await fill(log, 20)
  await log.checkpoint()
  const early = lab.copy()
  const earlyAnchor = memoryAnchor(await anchor.load())
  await fill(log, 300)
  await log.close()

  // Grown: an older anchor is fine.
  await (await openLog(lab.copy(), key, { ...quiet, anchor: earlyAnchor })).close()
  // The tail cut off.
  await assert.rejects(openLog(early.copy(), key, options), {
    code: 'log_rolled_back',
    message: /had 321 entries, it has 21/,
  })
  await assert.rejects(openLog(new Lab(), key, options), { code: 'log_rolled_back' })
  // The tail cut off and written anew by the holder of the key: shorter, and longer.
  // Below its first subtree (256 entries) an anchor can only tell that entries are gone.
  for (
    const [count, code] of [[5, 'log_rolled_back'], [240, 'log_forked'], [
      400,
      'log_forked',
    ]] as const
  ) {
    const fork = early.copy()
    const forked = await openLog(fork, key, quiet)
    await fill(forked, count)
    await forked.close()
    await assert.rejects(openLog(fork, key, options), { code }, `${count}`)
  }
  // Another log under the same name and key.
  for (const count of [0, 10, 400]) {
    const other = new Lab()
    const replacement = await openLog(other, key, quiet)
    await fill(replacement, count)
    await replacement.close()
    await assert.rejects(openLog(other, key, options), { code: 'log_replaced' }, `${count}`)
  }
  // Another key.
  const foreign = new Lab()
  await (await openLog(foreign, await generateKey(ALGORITHMS['Ed25519']), quiet)).close()
  await assert.rejects(openLog(foreign, key, options), { code: 'log_replaced' })
  // A damaged anchor is no reason to go on.
  const damaged = (await anchor.load())!.slice()
  damaged[60]! ^= 1
  await assert.rejects(
    openLog(lab.copy(), key, { ...quiet, anchor: memoryAnchor(damaged) }),
    SignetError,
  )
  await (await openLog(lab, key, options)).close()
})
