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
import { makeIssuer, startServer } from './_serve.ts'
import { inFolder } from './_signet.ts'

const ROUNDS = Number(process.env.SIGNET_ROUNDS ?? 5)
const privateKey = crypto.getRandomValues(new Uint8Array(32))
const publicKey = await derivePublic(ALGORITHMS.Ed25519, privateKey)
const key = await importKey(ALGORITHMS.Ed25519, { privateKey, publicKey })

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
      pause: 100,
      batch: 200,
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
    let [cuts, taken] = [0, 0]
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const life = killed(`r${round}`, config, 100 + Math.floor(Math.random() * 1500))
        if (Math.random() < 0.7) {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 1500))
          await server.kill()
          server = await startServer(root, port)
          cuts++
        }
        for (const line of await life) seen.take(line)
        const device = await open()
        seen.opened(device)
        // The log grows: not all of it each time.
        if (round % 10 === 0) await seen.check(device, folder, [])
        await device.close()
      }
      const device = await open()
      seen.opened(device)
      taken = (await syncDevice(device)).acknowledged
      const exported = await asOperator(server, 'GET', `/admin/bundles/${id}/audit`)
      const file = new Uint8Array(await exported.arrayBuffer())
      const { entries, from } = await verifyRange(file, verifiers, { origin })
      assert.equal(from, 0)
      const { size } = await device.log!.checkpoint()
      assert.ok(
        entries.length === taken && entries.length >= size - 1,
        `${entries.length} of ${size}`,
      )
      await seen.check(device, folder, entries.map((bytes) => ({ bytes })))
      await device.close()
      const found = await asOperator(server, 'GET', `/admin/bundles/${id}/verdicts`)
      assert.deepEqual((await found.json()).items, [])
    } finally {
      await server.kill()
    }
    const { effects, done, told, synced } = seen
    assert.ok(done.size > ROUNDS)
    console.log(
      `${ROUNDS} kills of the device, ${cuts} of the server: ${effects.size} actions, ${told.size} told as open, ` +
        `${synced} whole syncs, ${taken} entries at the server`,
    )
  }))
