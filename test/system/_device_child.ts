/**
 * A device to be killed: acts from many callers, syncs all the while, and prints a line the moment something has
 * happened. `_device_child.ts <run> <configuration: JSON of ChildConfig>`
 */
import { readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileDeviceStorage } from '../../backends/device_fs.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromHex } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import { openDevice, syncDevice } from '../../src/grants/mod.ts'
import { importKey, readPublicKeys } from '../../src/keys/mod.ts'
import { slowDisk } from './_slow_disk.ts'

/** Where everything is. */
export interface ChildConfig {
  /** The device's folder. */
  readonly folder: string
  /** Its private key, hexadecimal. */
  readonly seed: string
  /** File of its first bundle. */
  readonly bundle: string
  /** The server's name, and the file of its keys. */
  readonly issuer: string
  readonly pins: string
  /** Milliseconds between syncs, and entries in one message. */
  readonly pause: number
  readonly batch: number
  /** Milliseconds that a caller waits after each action, so that syncs get their turn. Default 0. */
  readonly rest?: number
  /** Milliseconds that the log's disk may wait before it writes; see {@link slowDisk}. Default: it is as it is. */
  readonly slow?: number
}

/** Writes a line now. A pipe that is full says EAGAIN: wait for its reader. */
function say(text: string): void {
  for (let bytes: Uint8Array = new TextEncoder().encode(text + '\n'); bytes.length > 0;) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes))
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}

const [run = '', text = ''] = process.argv.slice(2)
const { folder, seed, bundle, issuer, pins, pause, batch, rest = 0, slow }: ChildConfig = JSON
  .parse(text)
// From here on it may be killed: opening and recovering are to be cut too.
say('start')
const privateKey = fromHex(seed)
const publicKey = await derivePublic(ALGORITHMS.Ed25519, privateKey)
const device = await openDevice({
  key: await importKey(ALGORITHMS.Ed25519, { privateKey, publicKey }),
  storage: fileDeviceStorage(join(folder, 'state')),
  log: fileLogStorage(join(folder, 'log'), { fs: slow === undefined ? undefined : slowDisk(slow) }),
  trusted: [{ issuer, keys: await readPublicKeys(readFileSync(pins)) }],
  sha256: nodeSha256,
  publishAfter: 10,
  record: 'plain',
})
if (device.bundle === undefined) await device.enroll(readFileSync(bundle, 'utf8'))
say('open')

const acting = Array.from({ length: 8 }, async (_, caller) => {
  for (let i = 0;; i++) {
    const id = `${run}-${caller}-${i}`
    await device.act('calendar:read', { id }, (_args, { intent }) => say(`effect ${intent} ${id}`))
    say(`done ${id}`)
    if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest))
  }
})
const syncing = (async () => {
  for (;;) {
    try {
      await syncDevice(device, {
        batch,
        attempts: 2,
        sleep: () => Promise.resolve(),
        onProgress: (acknowledged) => say(`acknowledged ${acknowledged}`),
      })
      say('synced')
    } catch (error) {
      // Its server falls over now and then; whatever else is wrong must be seen.
      if (!isSignetError(error, 'sync_failed')) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
})()
await Promise.all([...acting, syncing]).catch((error) => {
  say(`failed ${error?.code} ${error?.message}`)
  process.exit(1)
})
