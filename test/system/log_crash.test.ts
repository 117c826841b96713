/**
 * What was acknowledged is there, once; what was refused is not; and the log opens. Short here;
 * `SIGNET_ROUNDS=500` makes the long form of it.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fileLogStorage, type FileSystem, realFileSystem } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, toHex } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import { importKey } from '../../src/keys/mod.ts'
import { type Log, openLog, treeHasher, verifyLog } from '../../src/log/mod.ts'
import { inTemp, sameRuntime } from './_temp.ts'

const ROUNDS = Number(process.env.SIGNET_ROUNDS ?? 6)
/** Each round reads the whole log: a new one after so many keeps the long form from taking the square of its time. */
const ROUNDS_OF_A_LOG = 25
const CHILD = fileURLToPath(new URL('./_log_child.ts', import.meta.url))
const algorithm = ALGORITHMS['Ed25519']
const privateKey = crypto.getRandomValues(new Uint8Array(32))
const key = await importKey(algorithm, {
  privateKey,
  publicKey: await derivePublic(algorithm, privateKey),
})
const options = { origin: 'example.com/killed', sha256: nodeSha256, publishAfter: 20 }

interface Ended {
  readonly lines: readonly string[]
  readonly signal: string | null
}

/** Runs the child; `kill` is told of its output and may end it. */
function child(folder: string, run: string, entries: string, kill?: number): Promise<Ended> {
  const [program, args] = sameRuntime(CHILD, folder, toHex(privateKey), run, entries)
  const process = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  process.stdout.on('data', (chunk: Uint8Array) => {
    if (out === '' && kill !== undefined) setTimeout(() => process.kill('SIGKILL'), kill)
    out += new TextDecoder().decode(chunk)
  })
  return new Promise((resolve, reject) => {
    process.on('error', reject)
    // What lies in the pipe after the kill is read too: it was acknowledged.
    process.on('close', (_code, signal) => resolve({ lines: out.split('\n').slice(0, -1), signal }))
  })
}

/** All entries of a log by index, after checking that it is whole. */
async function contents(log: Log, folder: string): Promise<string[]> {
  const found: string[] = []
  const report = await verifyLog(fileLogStorage(folder), await log.checkpoint(), {
    hasher: treeHasher(nodeSha256),
    onEntry: (_, entry) => found.push(fromUtf8(entry)),
  })
  assert.deepEqual(report.faults, [])
  return found
}

function idOf(text: string): string | undefined {
  const { type, data } = JSON.parse(text)
  return type === 'test' ? `${data.run} ${data.caller} ${data.i}` : undefined
}

test(`${ROUNDS} times kill -9 under load: nothing acknowledged is lost or doubled`, () =>
  inTemp(async (folder) => {
    let place = ''
    let acknowledged = new Map<number, string>()
    let [recovered, total] = [0, 0]
    for (let round = 0; round < ROUNDS; round++) {
      if (round % 20 === 0) {
        // A new log now and then, or verifying ever more entries takes all the time.
        place = join(folder, `log-${round}`)
        acknowledged = new Map()
      }
      const delay = Math.floor(Math.random() * (round % 3 === 0 ? 40 : 300))
      const { lines, signal } = await child(place, `r${round}`, 'Infinity', delay)
      assert.equal(signal, 'SIGKILL', lines.join('\n'))
      for (const line of lines) {
        const match = /^([0-9]+) (.+)$/.exec(line)
        if (match === null) continue
        assert.ok(!acknowledged.has(Number(match[1])), `index ${match[1]} was given twice`)
        acknowledged.set(Number(match[1]), match[2]!)
        total++
      }
      const log = await openLog(fileLogStorage(place), key, options)
      if (log.recovery.entries > 0) recovered++
      const all = await contents(log, place)
      for (const [index, id] of acknowledged) assert.equal(idOf(all[index]!), id, `entry ${index}`)
      const ids = all.map(idOf).filter((id) => id !== undefined)
      assert.equal(new Set(ids).size, ids.length, 'an entry is there twice')
      await log.close()
    }
    assert.ok(acknowledged.size > ROUNDS)
    console.log(
      `${ROUNDS} kills, ${acknowledged.size} acknowledged, journal used ${recovered} times`,
    )
  }))

test('of two writers that race for a log one is refused, and loses nothing of the other', () =>
  inTemp(async (folder) => {
    const place = join(folder, 'log')
    const ended = await Promise.all(['a', 'b', 'c'].map((run) => child(place, run, '2000')))
    const verdicts = ended.map(({ lines }) => lines.at(-1))
    const winners = verdicts.filter((line) => line === 'closed').length
    assert.ok(winners >= 1, verdicts.join())
    assert.ok(verdicts.every((line) => line === 'closed' || line === 'refused log_locked'))
    const log = await openLog(fileLogStorage(place), key, options)
    const all = await contents(log, place)
    assert.equal(all.map(idOf).filter((id) => id !== undefined).length, winners * 2000)
    await log.close()
  }))

/** A disk on which operations fail at random, writes in the middle. */
function faultyDisk(chance: () => boolean): FileSystem {
  const fail = (code: string): never => {
    throw Object.assign(new Error(`${code}: injected`), { code })
  }
  return {
    ...realFileSystem,
    writeSync(fd: number, bytes: Uint8Array, at: number, length: number, position: number) {
      if (!chance()) return writeSync(fd, bytes, at, length, position)
      const written = writeSync(fd, bytes, at, Math.floor(length / 2), position)
      return chance() ? written : fail('ENOSPC')
    },
    async open(...args: Parameters<typeof fs.open>) {
      if (args[1] === 'w' && chance()) fail('EMFILE')
      const handle = await fs.open(...args)
      return new Proxy(handle, {
        get(target, name) {
          const value = Reflect.get(target, name)
          if (typeof value !== 'function') return value
          return async (...more: unknown[]) => {
            if (name === 'write' && chance()) {
              const [bytes, at, length, position] = more as [Uint8Array, number, number, number]
              await target.write(bytes, at, Math.floor(length / 2), position)
              fail('ENOSPC')
            }
            if ((name === 'datasync' || name === 'sync') && chance()) fail('EIO')
            if (name === 'truncate' && chance()) fail('EROFS')
            return value.apply(target, more)
          }
        },
      })
    },
    async rename(from, to) {
      if (chance()) fail('EIO')
      await fs.rename(from, to)
    },
    async mkdir(...args: Parameters<typeof fs.mkdir>) {
      if (chance()) fail('ENOSPC')
      return await fs.mkdir(...args)
    },
  } as FileSystem
}

test('writes, syncs, renames and truncations that fail lose nothing that was acknowledged', () =>
  inTemp(async (folder) => {
    let place = ''
    const fate = new Map<string, 'kept' | 'refused' | 'doubt'>()
    const tally = { kept: 0, refused: 0, doubt: 0 }
    const rounds = ROUNDS * 5
    for (let round = 0; round < rounds; round++) {
      if (round % ROUNDS_OF_A_LOG === 0) {
        place = join(folder, `log${round}`)
        fate.clear()
      }
      let armed = false
      const disk = faultyDisk(() => armed && Math.random() < 0.04)
      const log = await openLog(fileLogStorage(place, { fs: disk }), key, options)
      armed = true
      await Promise.all(Array.from({ length: 8 }, async (_, caller) => {
        for (let i = 0; i < 12; i++) {
          const id = `r${round} ${caller} ${i}`
          const data = { run: `r${round}`, caller, i }
          const verdict = await log.append({ type: 'test', data }).then(
            () => 'kept' as const,
            (error) => {
              assert.ok(isSignetError(error, 'log_not_durable', 'log_in_doubt'), String(error))
              return error.code === 'log_in_doubt' ? 'doubt' as const : 'refused' as const
            },
          )
          fate.set(id, verdict)
          tally[verdict]++
        }
      }))
      await log.close().catch((error) => assert.ok(isSignetError(error), String(error)))

      const again = await openLog(fileLogStorage(place), key, options)
      const ids = (await contents(again, place)).map(idOf).filter((id) => id !== undefined)
      const present = new Set(ids)
      assert.equal(present.size, ids.length, 'an entry is there twice')
      for (const [id, verdict] of fate) {
        if (verdict !== 'doubt') {
          assert.equal(present.has(id), verdict === 'kept', `${id} ${verdict}`)
        }
      }
      await again.close()
    }
    assert.ok(tally.kept > 0 && tally.refused > 0, JSON.stringify(tally))
    console.log(`${rounds} rounds: ${JSON.stringify(tally)}`)
  }))

test('a journal torn at any byte is cut to its last whole record, and the cut is told', () =>
  inTemp(async (folder) => {
    const place = join(folder, 'log')
    const writer = await fileLogStorage(place).lock()
    const records = [20, 300, 5].map((length) => crypto.getRandomValues(new Uint8Array(length)))
    for (const record of records) await writer.append(record)
    await writer.release()
    const file = join(place, '.signet', 'journal.0')
    const other = join(place, '.signet', 'journal.1')
    const whole = await fs.readFile(file).then((a) => a.length > 0 ? a : fs.readFile(other))
    const name = (await fs.readFile(file)).length > 0 ? file : other
    const ends = records.map((_, i) =>
      records.slice(0, i + 1).reduce((sum, { length }) => sum + 32 + length, 0)
    )
    assert.equal(whole.length, ends.at(-1))
    for (let cut = 0; cut <= whole.length; cut++) {
      await fs.writeFile(name, whole.subarray(0, cut))
      const again = await fileLogStorage(place).lock()
      const count = ends.filter((end) => end <= cut).length
      assert.deepEqual(again.records.map(toHex), records.slice(0, count).map(toHex))
      assert.equal(again.cut, cut - (ends[count - 1] ?? 0))
      await again.release()
      assert.equal((await fs.stat(name)).size, ends[count - 1] ?? 0)
    }
    // A last record of the right length with the wrong bytes is torn too; one in the middle is no tear.
    for (let at = 0; at < whole.length; at += 11) {
      const damaged = new Uint8Array(whole)
      damaged[at]! ^= 1
      await fs.writeFile(name, damaged)
      if (at >= ends[1]!) {
        const again = await fileLogStorage(place).lock()
        assert.equal(again.records.length, 2)
        await again.release()
      } else {
        await assert.rejects(fileLogStorage(place).lock(), { code: 'log_corrupt' }, `byte ${at}`)
        assert.deepEqual(new Uint8Array(await fs.readFile(name)), damaged, 'it was written to')
      }
    }
  }))

test('a log cut by a torn write tells so in an entry', () =>
  inTemp(async (folder) => {
    const place = join(folder, 'log')
    await child(place, 'a', 'Infinity', 60)
    for (const name of ['journal.0', 'journal.1']) {
      await fs.appendFile(join(place, '.signet', name), 'SGJ1 half a frame')
    }
    const log = await openLog(fileLogStorage(place), key, options)
    const last = JSON.parse((await contents(log, place)).at(-1)!)
    assert.ok(log.recovery.cut >= 2 * 17)
    assert.equal(last.type, 'log.recovered')
    assert.deepEqual(last.data, { ...log.recovery })
    await log.close()
  }))
