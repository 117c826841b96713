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

/** Runs the child and kills it; what lies in the pipe after the kill is read too. */
export function killed(
  run: string,
  config: ChildConfig,
  after: number,
): Promise<readonly string[]> {
  const [program, all] = sameRuntime(CHILD, run, JSON.stringify(config))
  const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (chunk: Uint8Array) => {
    if (out === '') setTimeout(() => child.kill('SIGKILL'), after)
    out += new TextDecoder().decode(chunk)
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

/** What one device was seen to do, over all its lives. */
export class Seen {
  /** Index of the intent by the id of the action, of what ran. */
  readonly effects: Map<string, number> = new Map()
  /** Ids of the actions that were told as done. */
  readonly done: Set<string> = new Set()
  /** Intents that were told as open. */
  readonly told: Set<number> = new Set()
  /** Syncs that got to their end. */
  synced = 0

  /** A line of the child. */
  take(line: string): void {
    const [what, a = '', b = ''] = line.split(' ')
    if (what === 'effect') {
      assert.ok(!this.effects.has(b), `${b} ran twice`)
      this.effects.set(b, Number(a))
    } else if (what === 'done') this.done.add(a)
    else if (what === 'synced') this.synced++
    else assert.equal(line, 'open')
  }

  /** A device that was opened again. */
  opened(device: Device): void {
    for (const { index } of device.unresolved) this.told.add(index)
  }

  /** Compares what was seen with the device that was opened again, and with what the server has. */
  async check(
    device: Device,
    folder: string,
    server: readonly { readonly bytes: Uint8Array; readonly verdict?: string | undefined }[],
  ): Promise<void> {
    const entries: Uint8Array[] = []
    const report = await verifyLog(
      fileLogStorage(join(folder, 'log')),
      await device.log!.checkpoint(),
      { onEntry: (_, entry) => entries.push(entry) },
    )
    assert.deepEqual(report.faults, [])
    const intents = new Map<number, string>()
    const outcomes = new Map<number, number>()
    for (const [i, bytes] of entries.entries()) {
      const { type, data, ref } = parseEntry(bytes)
      const args = (data as { args?: { id: string } } | undefined)?.args
      if (type === 'action.intent') intents.set(i, args!.id)
      if (type === 'action.outcome') {
        assert.ok(!outcomes.has(Number(ref)), `two outcomes of ${ref}`)
        outcomes.set(Number(ref), i)
      }
    }
    assert.equal(new Set(intents.values()).size, intents.size, 'an intent is there twice')
    for (const [id, intent] of this.effects) {
      assert.equal(intents.get(intent), id, `${id} ran unlogged`)
    }
    for (const id of this.done) {
      assert.ok(outcomes.has(this.effects.get(id)!), `the outcome of ${id} is lost`)
    }
    // Whatever was begun has an outcome, or was told as open.
    for (const [intent, id] of intents) {
      assert.equal(
        outcomes.has(intent),
        !this.told.has(intent),
        `${id}: open, and not told, or the reverse`,
      )
    }
    for (const [i, { bytes, verdict }] of server.entries()) {
      assert.equal(verdict, undefined, `entry ${i}`)
      assert.ok(equalBytes(bytes, entries[i] ?? utf8('')), `entry ${i} is another at the server`)
    }
  }
}
