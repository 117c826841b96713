/**
 * A device is killed while it is opened, acts and syncs, and its server loses answers after it has committed. No action
 * without an intent, no entry lost or doubled. Short here; `SIGNET_ROUNDS=300` makes the long form of it.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileDeviceStorage } from '../../backends/device_fs.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { toHex } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { type Device, openDevice, syncDevice } from '../../src/grants/mod.ts'
import { formatJwks, importKey, newKeyset } from '../../src/keys/mod.ts'
import { ISSUER, listOf, makeBundle, serverKey, trusted } from '../core/_devices.ts'
import { type SyncServer, syncServer } from '../core/_sync_server.ts'
import { killed, Seen } from './_device_drill.ts'
import { inTemp } from './_temp.ts'

const ROUNDS = Number(process.env.SIGNET_ROUNDS ?? 6)
/** Milliseconds at most, and from when on: while it opens, in its first actions, in the midst of all. */
const KILLS = [[1000, 'open'], [60, 'open'], [300, 'start']] as const
/** Milliseconds that a slow disk waits: what was told before it was written is then missing. */
const SLOW = 30
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
      redirect: 'manual',
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
    const tally = { stillborn: 0, effects: 0, done: 0, told: 0, synced: 0, taken: 0, entries: 0 }
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
      const seen = new Seen()
      const config = {
        folder,
        seed: toHex(privateKey),
        bundle,
        pins,
        issuer: ISSUER,
        pause: 5,
        batch: 64,
      }
      for (let round = from; round < Math.min(ROUNDS, from + 20); round++) {
        const [longest, said] = KILLS[round % KILLS.length]!
        const slow = round % 2 === 0 ? SLOW : undefined
        const life = killed(`r${round}`, { ...config, slow }, Math.random() * longest, said)
        seen.life(await life)
        // Now and then the next life has to put things in order by itself, and may be cut in it.
        if (round % 4 === 3) continue
        const device = await open(folder)
        seen.opened(device)
        await seen.check(device, folder, sync.store.entries)
        await device.close()
      }
      tally.taken += sync.store.entries.length
      const device = await open(folder)
      seen.opened(device)
      const { size } = await device.log!.checkpoint()
      await syncDevice(device, { sleep: () => Promise.resolve(), attempts: 50 })
      assert.equal(sync.store.entries.length, size)
      await seen.check(device, folder, sync.store.entries)
      await device.close()
      await new Promise((resolve) => server.close(resolve).closeAllConnections())
      tally.effects += seen.effects.size
      tally.done += seen.done.size
      tally.told += seen.told
      tally.stillborn += seen.stillborn
      tally.synced += seen.synced
      tally.entries += sync.store.entries.length
    }
    assert.ok(tally.done > ROUNDS && tally.entries > ROUNDS, JSON.stringify(tally))
    // Kills that cut nothing would prove nothing.
    if (ROUNDS >= 100) assert.ok(tally.told > 0 && tally.stillborn > 0, JSON.stringify(tally))
    console.log(`${ROUNDS} kills: ${JSON.stringify(tally)}`)
  }))
