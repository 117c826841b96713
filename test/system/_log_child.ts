/**
 * A writer to be killed: appends from many callers, and prints a line for each acknowledged entry the
 * moment it is acknowledged. `_log_child.ts <folder> <seed hex> <run> [entries]`
 */
import { writeSync } from 'node:fs'
import process from 'node:process'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromHex } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import { importKey } from '../../src/keys/mod.ts'
import { openLog } from '../../src/log/mod.ts'

/** Writes a line now. A pipe that is full says EAGAIN: wait for its reader. */
function say(text: string): void {
  for (let bytes: Uint8Array = new TextEncoder().encode(text); bytes.length > 0;) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes))
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}

const [folder = '', seed = '', run = '', entries = 'Infinity'] = process.argv.slice(2)
const privateKey = fromHex(seed)
const publicKey = await derivePublic(ALGORITHMS['Ed25519'], privateKey)
const key = await importKey(ALGORITHMS['Ed25519'], { privateKey, publicKey })
try {
  const log = await openLog(fileLogStorage(folder), key, {
    origin: 'example.com/killed',
    sha256: nodeSha256,
    publishAfter: 20,
  })
  say('open\n')
  let left = Number(entries)
  await Promise.all(Array.from({ length: 24 }, async (_, caller) => {
    for (let i = 0; left-- > 0; i++) {
      const large = i % 50 === 0 ? 'x'.repeat(20_000) : ''
      const { index } = await log.append({ type: 'test', data: { run, caller, i, large } })
      say(`${index} ${run} ${caller} ${i}\n`)
    }
  }))
  await log.close()
  say('closed\n')
} catch (error) {
  if (!isSignetError(error)) throw error
  say(`refused ${error.code}\n`)
}
