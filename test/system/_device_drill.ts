/** What drills with a device that is killed have in common: killing it, and looking for what must not be. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { equalBytes, utf8 } from '../../src/bytes.ts'
import type { Device } from '../../src/grants/mod.ts'
import { parseEntry, verifyLog } from '../../src/log/mod.ts'
import type { ChildConfig } from './_device_child.ts'
import { sameRuntime } from './_temp.ts'

const CHILD = fileURLToPath(new URL('./_device_child.ts', import.meta.url))

/**
 * Runs the child and kills it so many milliseconds after it said something, of which `heard` is told; what lies in the
 * pipe then is read too.
 */
export function killed(
  run: string,
  config: ChildConfig,
  after: number,
  said: 'start' | 'open',
  heard: () => void = () => {},
): Promise<readonly string[]> {
  const [program, all] = sameRuntime(CHILD, run, JSON.stringify(config))
  const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  let timer: ReturnType<typeof setTimeout> | undefined
  child.stdout.on('data', (chunk: Uint8Array) => {
    out += new TextDecoder().decode(chunk)
    if (timer === undefined && out.includes(`${said}\n`)) {
      timer = setTimeout(() => child.kill('SIGKILL'), after)
      heard()
    }
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (_, signal) => {
      const lines = out.split('\n').slice(0, -1)
      if (signal === 'SIGKILL') resolve(lines)
      else reject(new Error(`it ended by itself: ${lines.at(-1)}`))
    })
  })
}

/** An entry as the server has it. */
export interface ServerEntry {
  readonly bytes: Uint8Array
  readonly verdict?: string | undefined
}

/** What one device was seen to do, over all its lives. */
export class Seen {
  /** Index of the intent by the id of the action, of what ran. */
  readonly effects: Map<string, number> = new Map()
  /** Ids of the actions that were told as done. */
  readonly done: Set<string> = new Set()
  /** Intents that a log tells as open, as of the last check. */
  told = 0
  /** The most entries that the server ever said it has. */
  acknowledged = 0
  /** Syncs that got to their end. */
  synced = 0
  /** Lives that ended while the device was being opened. */
  stillborn = 0
  readonly #unresolved = new Set<number>()

  /** The lines of a life. */
  life(lines: readonly string[]): void {
    for (const line of lines) this.#take(line)
    if (!lines.includes('open')) this.stillborn++
  }

  #take(line: string): void {
    const [what, a = '', b = ''] = line.split(' ')
    if (what === 'effect') {
      assert.ok(!this.effects.has(b), `${b} ran twice`)
      this.effects.set(b, Number(a))
    } else if (what === 'done') this.done.add(a)
    else if (what === 'acknowledged') this.acknowledged = Math.max(this.acknowledged, Number(a))
    else if (what === 'synced') this.synced++
    else assert.ok(what === 'start' || what === 'open', line)
  }

  /** A device that was opened again, in this process. */
  opened(device: Device): void {
    for (const { index } of device.unresolved) {
      assert.ok(!this.#unresolved.has(index), `intent ${index} was told as open twice`)
      this.#unresolved.add(index)
    }
  }

  /** Compares what was seen with the device that was opened again, and with all that the server has. */
  async check(
    device: Device,
    folder: string,
    server?: readonly ServerEntry[],
  ): Promise<void> {
    if (device.log === undefined) {
      assert.deepEqual([this.effects.size, server?.length ?? 0], [0, 0], 'there is no log')
      return
    }
    const entries: Uint8Array[] = []
    const report = await verifyLog(
      fileLogStorage(join(folder, 'log')),
      await device.log.checkpoint(),
      { onEntry: (_, entry) => entries.push(entry) },
    )
    assert.deepEqual(report.faults, [])
    const { intents, ends } = storyOf(entries)
    for (const [id, intent] of this.effects) {
      assert.equal(intents.get(intent), id, `${id} ran unlogged`)
    }
    for (const id of this.done) {
      assert.equal(ends.get(this.effects.get(id)!), 'action.outcome', `${id}: its outcome is lost`)
    }
    // Whatever was begun has an outcome, or was told as open: one of them, once.
    for (const [intent, id] of intents) assert.ok(ends.has(intent), `${id}: open, and not told`)
    for (const intent of this.#unresolved) {
      assert.equal(ends.get(intent), 'device.recovered', `${intent} was told, and not in the log`)
    }
    this.told = [...ends.values()].filter((end) => end === 'device.recovered').length
    if (server === undefined) return
    assert.ok(server.length >= this.acknowledged, 'the server lost what it had acknowledged')
    for (const [i, { bytes, verdict }] of server.entries()) {
      assert.equal(verdict, undefined, `entry ${i}`)
      assert.ok(equalBytes(bytes, entries[i] ?? utf8('')), `entry ${i} is another at the server`)
    }
  }
}

/** Ids of actions by their intents; by intent, the type of the entry that ends it. */
function storyOf(entries: readonly Uint8Array[]): {
  readonly intents: ReadonlyMap<number, string>
  readonly ends: ReadonlyMap<number, string>
} {
  const intents = new Map<number, string>()
  const ends = new Map<number, string>()
  const end = (intent: number, type: string) => {
    assert.ok(intents.has(intent), `${type} of ${intent}, which was not begun`)
    assert.ok(!ends.has(intent), `two ends of ${intent}: ${ends.get(intent)}, ${type}`)
    ends.set(intent, type)
  }
  for (const [i, bytes] of entries.entries()) {
    const { type, data, ref } = parseEntry(bytes)
    const { args, intents: open } = (data ?? {}) as { args?: { id: string }; intents?: number[] }
    if (type === 'action.intent') intents.set(i, args!.id)
    if (type === 'action.outcome') end(Number(ref), type)
    if (type === 'device.recovered') { for (const intent of open!) end(intent, type) }
  }
  assert.equal(new Set(intents.values()).size, intents.size, 'an intent is there twice')
  return { intents, ends }
}
