/**
 * The anchor of a device's log, where `openLog` does not see to it: a log that is gone altogether, one that has
 * no anchor yet, and one that somebody else is writing.
 */
import { ED25519_NOTE, noteVerifier, parseNote } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import {
  checkAnchor,
  type Log,
  type LogAnchor,
  type LogStorage,
  LogView,
  makeAnchor,
  openCheckpoint,
  parseTreeHead,
  portableSha256,
  type Sha256,
  treeHasher,
} from '../log/mod.ts'

/** Anchors a log that has entries and no anchor yet. Errors: those of the anchor's store. */
export async function anchorAnew(log: Log, anchor: LogAnchor): Promise<void> {
  if (await anchor.load() !== undefined) return
  const checkpoint = await log.checkpoint()
  if (checkpoint.size > 0) await anchor.store(await makeAnchor(log.view(), checkpoint))
}

/**
 * Compares what is published of a device's log with its anchor, if it has one. Only reads, so it may be called while a
 * writer has the log. Errors: those of `checkAnchor` and `openCheckpoint`; `log_rolled_back` for a log that is gone.
 */
export async function checkPublished(
  log: LogStorage,
  anchor: LogAnchor,
  device: PublicKey,
  sha256: Sha256 = portableSha256,
): Promise<void> {
  // First the anchor: it is stored after the checkpoint, so the one read later is no older.
  const anchored = await anchor.load()
  if (anchored === undefined) return
  const note = await log.read('checkpoint')
  if (note === undefined) throw logGone()
  const { origin } = parseTreeHead(parseNote(note).text)
  const verifiers = [await noteVerifier(origin, device, ED25519_NOTE)]
  const checkpoint = await openCheckpoint(note, verifiers, { origin }).catch((cause) => {
    if (!isSignetError(cause, 'signer_untrusted')) throw cause
    throw new SignetError('log_replaced', 'this is a log of another key', {
      cause,
      remedy: PUT_BACK,
    })
  })
  const hasher = treeHasher(sha256)
  await checkAnchor(anchored, new LogView(log, checkpoint, { hasher }), verifiers, { hasher })
}

/** The error of a log that was there once, by what the state or the anchor says. */
export function logGone(entries?: number): SignetError {
  const had = entries === undefined ? '' : `; it had ${entries} entries`
  return new SignetError('log_rolled_back', `the log is gone${had}`, { remedy: PUT_BACK })
}

/** What to do with a log that is not what it was: no server takes another one of the same key. */
export const PUT_BACK =
  'keep what is there for inquiry, and put the newest copy of the log back; if there is none, enrol the device anew with another key'
