/** Opening a device: its state, its log, and whether the two belong together. */
import { equalBytes, fromBase64 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { ALGORITHMS } from '../algorithms.ts'
import type { Kek, Key, Keyring, SignOptions } from '../keys/mod.ts'
import { type Log, type LogAnchor, type LogStorage, openLog, type Sha256 } from '../log/mod.ts'
import { Device } from './device.ts'
import { anchorAnew, logGone, PUT_BACK } from './device_anchor.ts'
import type { DeviceSettings } from './device_parts.ts'
import { DeviceLedger } from './device_ledger.ts'
import { type LogFindings, scanLog } from './device_log.ts'
import {
  deviceKek,
  type DeviceState,
  type DeviceStorage,
  loadState,
  stateSealer,
} from './device_state.ts'
import type { OfflineFinding } from './offline.ts'
import type { TrustedIssuer } from './verify.ts'

/** What a device is opened with. */
export interface OpenDeviceOptions extends DeviceSettings {
  /** Its key: Ed25519, of any provider. It signs requests, proofs and the log's checkpoints. */
  readonly key: Key
  /** Where its sealed states are. */
  readonly storage: DeviceStorage
  /** Where its log is. */
  readonly log: LogStorage
  /** Whose bundles count, and under which keys. */
  readonly trusted: readonly TrustedIssuer[]
  /** What seals the state. Default: made of the device's key, see `deviceKek`. */
  readonly kek?: Kek | undefined
  /**
   * Where the log's newest checkpoint is kept besides: the state and the log may be put back together. Stored anew
   * whenever the log is published; what a program without it adds since may be cut unseen.
   */
  readonly anchor?: LogAnchor | undefined
  /** Default: portable. */
  readonly sha256?: Sha256 | undefined
  /** As in `openLog`. */
  readonly publishAfter?: number | undefined
  /** Told when publishing the log fails in the background. */
  readonly onFault?: ((error: unknown) => void) | undefined
}

/**
 * The key of a device by its URI, of any provider; made where there is none yet. Its private half stays where it is
 * made. Errors: those of the provider.
 */
export async function deviceKey(
  ring: Pick<Keyring, 'open' | 'provider'>,
  uri: string,
  options: SignOptions = {},
): Promise<Key> {
  try {
    return await ring.open(uri, options)
  } catch (error) {
    if (!isSignetError(error, 'key_not_found')) throw error
  }
  const { provider, uri: parsed } = ring.provider(uri)
  try {
    return await provider.generate(parsed, ALGORITHMS.Ed25519, options)
  } catch (error) {
    // Of two that make it at once one does, and both open it.
    if (isSignetError(error, 'file_exists')) return await ring.open(uri, options)
    throw error
  }
}

/** What a log tells that is not there yet. */
const NOTHING: LogFindings = {
  unresolved: [],
  counted: [],
  stateGeneration: 0,
  bundleGenerations: new Map(),
  firstUnsent: undefined,
  lastAction: -1,
  denied: [],
  newestTime: 0,
}

/**
 * Opens a device. Its log is there from the first bundle on, and has one writer: a second opening is `log_locked`.
 * Limits are counted again from the log; actions that had begun and not ended are told in an entry
 * `device.recovered`. Where an older state was put back the device opens and refuses to act, until the server
 * was heard.
 *
 * Errors: those of `openLog`; `log_rolled_back`, `log_forked` (the log is not the one that the state knows, or is gone
 * while the state or the anchor knows of one); those of the anchor; `device_state_malformed`, `key_mismatch` (no state opens); `algorithm_unsupported` (the key is not Ed25519).
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Device> {
  const { key, storage, trusted } = options
  if (key.publicKey.algorithm.name !== 'Ed25519') {
    throw new SignetError('algorithm_unsupported', 'the key of a device is Ed25519', {
      remedy: 'make one: signet keys new --algorithm Ed25519',
    })
  }
  const sealer = stateSealer(options.kek ?? await deviceKek(key), key.publicKey)
  const { state: loaded, torn } = await loadState(storage, sealer)
  const start = (origin: string) => startLog(origin, options)
  const published = await publishedOrigin(options.log)
  if (published === undefined) {
    const had = loaded?.log.size ?? 0
    if (had > 0) throw logGone(had)
    if (await options.anchor?.load() !== undefined) throw logGone()
  }
  const origin = loaded?.log.origin || published
  const log = origin === undefined ? undefined : await start(origin)
  try {
    const state = loaded ?? fresh(origin ?? '')
    const findings = log === undefined ? NOTHING : await readLog(log, state)
    const { lastAction, stateGeneration: namedGeneration, unresolved, denied } = findings
    const ledger = new DeviceLedger(state.ledger)
    for (const { index, charges, time } of findings.counted) ledger.replay(index, charges, time)
    const device = new Device({
      key,
      storage,
      sealer,
      trusted,
      settings: options,
      state: caughtUp(state, findings),
      found: damage(state, loaded === undefined, findings),
      ledger,
      log,
      unresolved,
      torn,
      lastAction,
      namedGeneration,
      denied,
      openLog: start,
    })
    await device.start()
    return device
  } catch (error) {
    await log?.close().catch(() => {})
    throw error
  }
}

async function startLog(origin: string, options: OpenDeviceOptions): Promise<Log> {
  const { anchor, clock, sha256, publishAfter, onFault } = options
  const log = await openLog(options.log, options.key, {
    origin,
    anchor,
    clock,
    sha256,
    publishAfter,
    onFault,
  })
  try {
    if (anchor !== undefined) await anchorAnew(log, anchor)
    return log
  } catch (error) {
    await log.close().catch(() => {})
    throw error
  }
}

/** The name of a log that is there although no state knows it. Unverified: opening it verifies. */
async function publishedOrigin(storage: LogStorage): Promise<string | undefined> {
  const note = await storage.read('checkpoint')
  if (note === undefined) return undefined
  return new TextDecoder().decode(note).split('\n', 1)[0]
}

function fresh(origin: string): DeviceState {
  return {
    generation: 0,
    bundleGeneration: 0,
    others: [],
    issuers: [],
    newestTime: 0,
    log: { origin, size: 0, root: '' },
    pending: [],
  }
}

/** Checks that the log grew out of the one that the state knows, and reads what came since. */
async function readLog(log: Log, { log: known, pending, acknowledged }: DeviceState) {
  const { size } = await log.checkpoint()
  if (size < known.size) {
    throw new SignetError(
      'log_rolled_back',
      `the log has ${size} entries, and had ${known.size} when the state was written`,
      { remedy: PUT_BACK },
    )
  }
  const view = log.view()
  if (
    known.size > 0 &&
    !equalBytes(await view.hash({ start: 0, end: known.size }), fromBase64(known.root))
  ) {
    throw new SignetError('log_forked', 'the log is not the one that the state was written with', {
      remedy: PUT_BACK,
    })
  }
  return await scanLog(view, { index: known.size, pending, unsent: acknowledged?.size ?? 0 })
}

/** The state with what the log has seen since it was written. */
function caughtUp(state: DeviceState, found: LogFindings): DeviceState {
  const { bundleId, bundleGeneration, waitingSince } = state
  const named = bundleId === undefined ? 0 : found.bundleGenerations.get(bundleId) ?? 0
  const newest = Math.max(state.newestTime, found.newestTime)
  const waits = found.firstUnsent && Math.min(found.firstUnsent.time, newest)
  return {
    ...state,
    newestTime: newest,
    bundleGeneration: Math.max(bundleGeneration, named),
    waitingSince: waitingSince ?? waits,
  }
}

/** The log names every state that mattered: one that is older than the newest named was put back. */
function damage(state: DeviceState, absent: boolean, found: LogFindings): OfflineFinding[] {
  if (found.stateGeneration <= state.generation) return []
  const what = absent ? 'the state is gone' : 'an older state was put back'
  return [{
    code: 'device_state_rolled_back',
    message:
      `${what}: the log names generation ${found.stateGeneration}, this is ${state.generation}`,
  }]
}
