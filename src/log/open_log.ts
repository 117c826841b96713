/** Opening a log: its lock, what a crash left behind, and the keys that sign its checkpoints. */
import { type NoteSigner, noteSigner } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import { LOG_SCHEMES } from './checkpoint.ts'
import { journalSealer } from './journal.ts'
import { Log, type OpenLogOptions } from './log.ts'
import { portableSha256, treeHasher } from './merkle.ts'
import { recover } from './recover.ts'
import type { LogStorage } from './storage.ts'

/**
 * Opens a log for writing, and makes it if there is none. The key signs its checkpoints: Ed25519, or
 * ML-DSA-44. Whatever a crash left behind is put in order, and told in an entry `log.recovered`.
 *
 * Errors: `log_locked`; `log_corrupt`; those of `openCheckpoint` (another key's log); with an anchor
 * `log_rolled_back`, `log_forked`, `log_replaced`; `algorithm_unsupported` (the key cannot sign checkpoints).
 */
export async function openLog(
  storage: LogStorage,
  key: Key,
  options: OpenLogOptions,
): Promise<Log> {
  const { origin, anchor, alsoSign = [], clock } = options
  const signers = await Promise.all([key, ...alsoSign].map((one) => logSigner(origin, one, clock)))
  const verifiers = signers.map(({ verifier }) => verifier)
  const sha256 = options.sha256 ?? portableSha256
  const sealer = await journalSealer(key, origin, sha256)
  const hasher = treeHasher(sha256)
  const writer = await storage.lock()
  try {
    const context = { storage, origin, verifiers, sealer, hasher, anchor }
    const found = await recover(context, writer.records)
    const log = new Log({ storage, writer, signers, sealer, hasher, found, options })
    await log.start()
    return log
  } catch (error) {
    await writer.release()
    throw error
  }
}

async function logSigner(name: string, key: Key, clock?: () => number): Promise<NoteSigner> {
  const { name: algorithm } = key.publicKey.algorithm
  const scheme = LOG_SCHEMES.find((one) => one.algorithm.name === algorithm)
  if (scheme !== undefined) return await noteSigner(name, key, { scheme, clock })
  throw new SignetError('algorithm_unsupported', `${algorithm} keys sign no checkpoints`, {
    remedy: 'use an Ed25519 or ML-DSA-44 key',
  })
}
