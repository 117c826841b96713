/**
 * A device and its server, two processes, are killed again and again amid acting and syncing. No action without an
 * intent, no entry lost or doubled on the server. Short here; `SIGNET_ROUNDS=300` makes the long form of it.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileDeviceStorage } from '../../backends/device_fs.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { toHex } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { noteVerifier } from '../../src/envelope/mod.ts'
import { type Device, openDevice, syncDevice } from '../../src/grants/mod.ts'
import { importKey, readPublicKeys } from '../../src/keys/mod.ts'
import { verifyRange } from '../../src/log/mod.ts'
import { asOperator, granted } from '../core/_gateway.ts'
import { killed, Seen } from './_device_drill.ts'
import { makeIssuer, type Served, startServer } from './_serve.ts'
import { inFolder } from './_signet.ts'

/** Milliseconds at most, and from when on: in the midst of all, or while it opens. */
const KILLS = [[1600, 'open'], [1600, 'open'], [300, 'start']] as const
const ROUNDS = Number(process.env.SIGNET_ROUNDS ?? 5)
const privateKey = crypto.getRandomValues(new Uint8Array(32))
const publicKey = await derivePublic(ALGORITHMS.Ed25519, privateKey)
const key = await importKey(ALGORITHMS.Ed25519, { privateKey, publicKey })

/** How many entries a server has: the first line of its export says it. */
async function sizeAt(server: Served, bundle: string): Promise<number> {
  const exported = await asOperator(server, 'GET', `/admin/bundles/${bundle}/audit`)
  if (exported.status === 404) {
    await exported.body?.cancel()
    return 0
  }
  let line = ''
  for await (const part of exported.body!.pipeThrough(new TextDecoderStream())) {
    line += part
    if (line.includes('\n')) break
  }
  return JSON.parse(line.slice(0, line.indexOf('\n'))).to
}

test(`${ROUNDS} times kill -9 of device and server: no action without its intent, no entry lost or doubled`, () =>
  inFolder(async (root) => {
    makeIssuer(root)
    let server = await startServer(root)
    const { issuer } = server
    const port = Number(new URL(issuer).port)
    const who = { key, cnf: JSON.stringify({ jwk: key.publicKey.jwk }) }
    const { bundle, bundle_id: id } = await granted(server, who)
    const jwks = await (await fetch(`${issuer}/.well-known/jwks.json`)).text()
    const folder = join(root, 'device')
    const config = {
      folder,
      seed: toHex(privateKey),
      bundle: join(root, 'bundle'),
      pins: join(root, 'pins.json'),
      issuer,
      pause: 5,
      batch: 20,
      rest: 50,
    }
    writeFileSync(config.bundle, bundle)
    writeFileSync(config.pins, jwks)
    const open = async (): Promise<Device> =>
      await openDevice({
        key,
        storage: fileDeviceStorage(join(folder, 'state')),
        log: fileLogStorage(join(folder, 'log')),
        trusted: [{ issuer, keys: await readPublicKeys(jwks) }],
        sha256: nodeSha256,
        record: 'plain',
      })
    const origin = `${new URL(issuer).host}/devices/${key.publicKey.id}`
    const verifiers = [await noteVerifier(origin, key.publicKey)]
    const seen = new Seen()
    let [cuts, restarts] = [0, 0]
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const [longest, said] = KILLS[round % KILLS.length]!
        const alive = Promise.withResolvers<void>()
        const life = killed(`r${round}`, config, Math.random() * longest, said, alive.resolve)
        await Promise.race([alive.promise, life])
        const dies = Math.random() < 0.7
        // Half of the time it comes back while the device still acts; the device must find its way.
        const returns = dies && Math.random() < 0.5
        if (dies) {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * longest))
          await server.kill()
          cuts++
        }
        if (returns) server = await startServer(root, port)
        seen.life(await life)
        if (dies && !returns) server = await startServer(root, port)
        if (returns) restarts++
        // Nobody could fill it up again since: what it said that it has, it has.
        else {
          const has = await sizeAt(server, id)
          assert.ok(has >= seen.acknowledged, `${has} of ${seen.acknowledged} acknowledged`)
        }
        // Now and then the next life has to put things in order by itself, and may be cut in it.
        if (round % 4 === 3) continue
        const device = await open()
        seen.opened(device)
        // The log grows: not all of it each time.
        if (round % 10 === 0) await seen.check(device, folder)
        await device.close()
      }
      const device = await open()
      seen.opened(device)
      const { size } = await device.log!.checkpoint()
      const { acknowledged: taken } = await syncDevice(device)
      const exported = await asOperator(server, 'GET', `/admin/bundles/${id}/audit`)
      const file = new Uint8Array(await exported.arrayBuffer())
      const { entries, from } = await verifyRange(file, verifiers, { origin })
      assert.equal(from, 0)
      assert.deepEqual([entries.length, taken], [size, size])
      await seen.check(device, folder, entries.map((bytes) => ({ bytes })))
      await device.close()
      const found = await asOperator(server, 'GET', `/admin/bundles/${id}/verdicts`)
      assert.deepEqual((await found.json()).items, [])
    } finally {
      await server.kill()
    }
    const { effects, done, told, synced, stillborn, acknowledged } = seen
    assert.ok(done.size > ROUNDS)
    // Kills that cut nothing would prove nothing.
    if (ROUNDS >= 100) assert.ok(told > 0 && stillborn > 0 && cuts > restarts && restarts > 0)
    console.log(
      `${ROUNDS} kills of the device (${stillborn} while it was opened), ${cuts} of the server: ` +
        `${effects.size} actions, ${told} told as open, ${synced} whole syncs, ` +
        `${acknowledged} entries acknowledged amid all that`,
    )
  }))
