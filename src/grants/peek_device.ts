/** Looking at a device whose log somebody else is writing: by its state alone, and by the log's anchor. */
import { fromBase64 } from '../bytes.ts'
import type { LogStorage } from '../log/mod.ts'
import { checkPublished } from './device_anchor.ts'
import { withLearned } from './learned.ts'
import { deviceKek, loadState, stateSealer } from './device_state.ts'
import { thumbprintUri } from './holder_key.ts'
import { type OfflineReport, verifyOffline } from './offline.ts'
import type { OpenDeviceOptions } from './open_device.ts'
import type { AcknowledgedHead, VerifiedBundle } from './bundle.ts'

/** What a state tells. */
export interface PeekedDevice {
  /** All that speaks against acting, as far as the state knows; what only the log knows is NOT in it. */
  readonly report: OfflineReport
  /** The bundle, if it opens. */
  readonly bundle: VerifiedBundle | undefined
  /** What the server has acknowledged of the log. */
  readonly acknowledged: AcknowledgedHead | undefined
}

/**
 * Reads a device's state; of its log only what is published, to compare it with the anchor. Errors: those of
 * `openDevice` that are about the state or the anchor.
 */
export async function peekDevice(
  options: Omit<OpenDeviceOptions, 'log'> & {
    /** Where its log is. Default: it is not compared with its anchor. */
    readonly log?: LogStorage | undefined
    readonly tool?: string | undefined
  },
): Promise<PeekedDevice> {
  const { key, storage, trusted, tool, log, anchor, clock = Date.now } = options
  if (log !== undefined && anchor !== undefined) {
    await checkPublished(log, anchor, key.publicKey, options.sha256)
  }
  const sealer = stateSealer(options.kek ?? await deviceKek(key), key.publicKey)
  const { state } = await loadState(storage, sealer)
  const now = clock() / 1000
  if (state?.bundle === undefined) {
    const worst = { code: 'device_unenrolled', message: 'the device has no bundle yet' } as const
    const report = { ok: false, worst, findings: [worst], time: now }
    return { report, bundle: undefined, acknowledged: undefined }
  }
  const { authority, ...report } = await verifyOffline(state.bundle, {
    trusted: await withLearned(trusted, state.issuers),
    device: key.publicKey,
    audience: options.audience ?? thumbprintUri(key.publicKey),
    now,
    highWater: state.newestTime,
    lastContact: state.lastContact,
    waitingSince: state.waitingSince,
    newestGeneration: state.bundleGeneration,
    revoked: state.revoked,
    tool,
  })
  const { acknowledged } = state
  return {
    report,
    bundle: authority?.bundle,
    acknowledged: acknowledged && { size: acknowledged.size, root: fromBase64(acknowledged.root) },
  }
}
