/**
 * A device is killed while it acts and syncs, and its server loses answers after it has committed. No action without
 * an intent, no entry lost or doubled. Short here; `SIGNET_ROUNDS=300` makes the long form of it.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fileDeviceStorage } from '../../backends/device_fs.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { equalBytes, toHex, utf8 } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { type Device, openDevice, syncDevice } from '../../src/grants/mod.ts'
import { formatJwks, importKey, newKeyset } from '../../src/keys/mod.ts'
import { parseEntry, verifyLog } from '../../src/log/mod.ts'
import { listOf, makeBundle, serverKey, trusted } from '../core/_devices.ts'
import { type SyncServer, syncServer } from '../core/_sync_server.ts'
import { inTemp, sameRuntime } from './_temp.ts'

const ROUNDS = Number(process.env.SIGNET_ROUNDS ?? 6)
const CHILD = fileURLToPath(new URL('./_device_child.ts', import.meta.url))
const ORIGIN = 'grants.example/devices/1'
const privateKey = crypto.getRandomValues(new Uint8Array(32))
const publicKey = await derivePublic(ALGORITHMS.Ed25519, privateKey)
const key = await importKey(ALGORITHMS.Ed25519, { privateKey, publicKey })

/** Serves a sync server over HTTP; now and then it dies before it commits, or before it answers. */
async function listen(sync: SyncServer): Promise<{ server: Server; port: number }> {
  const server = createServer(async (request, response) => {
    const parts: Uint8Array[] = []
    try {
      for await (const part of request) parts.push(part)
    } catch {
      return // killed while it sent
    }
    const body = new Uint8Array(Buffer.concat(parts))
    const { method = '', url = '', headers } = request
    if (Math.random() < 0.05) return void request.socket.destroy()
    sync.now = Math.floor(Date.now() / 1000)
    const answer = await sync.fetch(`http://127.0.0.1:${port}${url}`, {
      method,
      headers: new Headers(headers as Record<string, string>),
      body,
      signal: new AbortController().signal,
      redirect: 'error',
    })
    sync.seen.length = 0
    if (Math.random() < 0.1) return void request.socket.destroy()
    response.on('error', () => {}) // killed while it waited
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(new Uint8Array(await answer.arrayBuffer()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { server, port }
}

/** Runs the child and kills it; what lies in the pipe after the kill is read too. */
function killed(args: readonly string[], after: number): Promise<readonly string[]> {
  const [program, all] = sameRuntime(CHILD, ...args)
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

async function open(folder: string): Promise<Device> {
  return await openDevice({
    key,
    storage: fileDeviceStorage(join(folder, 'state')),
    log: fileLogStorage(join(folder, 'log')),
    trusted,
    sha256: nodeSha256,
    record: 'plain',
  })
}

test(`${ROUNDS} times kill -9 amid acting and syncing: no action without its intent, no entry lost or doubled`, () =>
  inTemp(async (root) => {
    const tally = { effects: 0, done: 0, unresolved: 0, synced: 0, taken: 0, entries: 0 }
    const pins = join(root, 'pins.json')
    writeFileSync(pins, formatJwks(newKeyset('server', serverKey.publicKey)))
    for (let from = 0; from < ROUNDS; from += 20) {
      // A new device now and then, or verifying ever more entries takes all the time.
      const folder = join(root, `device-${from}`)
      const sync = syncServer(key.publicKey, ORIGIN, 0)
      const { server, port } = await listen(sync)
      const now = Math.floor(Date.now() / 1000)
      const bundle = join(root, `bundle-${from}`)
      const making = {
        issuedAt: now,
        statusLists: [await listOf([], now)],
        sync: `http://127.0.0.1:${port}/bundles/1`,
      }
      writeFileSync(bundle, await makeBundle(key, making))
      const effects = new Map<string, number>()
      const done = new Set<string>()
      const told = new Set<number>()
      for (let round = from; round < Math.min(ROUNDS, from + 20); round++) {
        const after = Math.floor(Math.random() * (round % 3 === 0 ? 60 : 1000))
        const args = [folder, toHex(privateKey), `r${round}`, bundle, pins]
        for (const line of await killed(args, after)) {
          const [what, a = '', b = ''] = line.split(' ')
          if (what === 'effect') {
            assert.ok(!effects.has(b), `${b} ran twice`)
            effects.set(b, Number(a))
          } else if (what === 'done') done.add(a)
          else if (what === 'synced') tally.synced++
          else assert.equal(line, 'open')
        }
        const device = await open(folder)
        for (const { index } of device.unresolved) told.add(index)
        await check(device, folder, sync, effects, done, told)
        await device.close()
      }
      tally.taken += sync.store.entries.length
      const device = await open(folder)
      await syncDevice(device, { sleep: () => Promise.resolve(), attempts: 50 })
      const { size } = await device.log!.checkpoint()
      assert.ok(sync.store.entries.length >= size - 1, `${sync.store.entries.length} of ${size}`)
      await check(device, folder, sync, effects, done, told)
      await device.close()
      await new Promise((resolve) => server.close(resolve).closeAllConnections())
      tally.effects += effects.size
      tally.done += done.size
      tally.unresolved += told.size
      tally.entries += sync.store.entries.length
    }
    assert.ok(tally.done > ROUNDS && tally.entries > ROUNDS, JSON.stringify(tally))
    console.log(`${ROUNDS} kills: ${JSON.stringify(tally)}`)
  }))

async function check(
  device: Device,
  folder: string,
  { store }: SyncServer,
  effects: ReadonlyMap<string, number>,
  done: ReadonlySet<string>,
  told: ReadonlySet<number>,
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
  for (const [id, intent] of effects) assert.equal(intents.get(intent), id, `${id} ran unlogged`)
  for (const id of done) assert.ok(outcomes.has(effects.get(id)!), `the outcome of ${id} is lost`)
  // Whatever was begun has an outcome, or was told as open.
  for (const [intent, id] of intents) {
    assert.equal(
      outcomes.has(intent),
      !told.has(intent),
      `${id}: open, and not told, or the reverse`,
    )
  }
  for (const [i, { index, bytes, verdict }] of store.entries.entries()) {
    assert.deepEqual([index, verdict], [i, undefined])
    assert.ok(equalBytes(bytes, entries[i] ?? utf8('')), `entry ${i} is another at the server`)
  }
}
