/** What a device is made of, told and asked. */
import type { Key } from '../keys/mod.ts'
import type { Log } from '../log/mod.ts'
import type { AcknowledgedHead } from './bundle.ts'
import type { DeviceLedger } from './device_ledger.ts'
import type { UnresolvedIntent } from './device_log.ts'
import type { DeviceState, DeviceStorage, StateSealer } from './device_state.ts'
import type { OfflineFinding } from './offline.ts'
import type { TrustedIssuer } from './verify.ts'

/** Settings of a device that may be left out. */
export interface DeviceSettings {
  /** Who this device is in the eyes of grants with an audience. Default: the thumbprint URI of its key. */
  readonly audience?: string | undefined
  /** The time, in milliseconds since 1970. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
  /**
   * What an intent says of the arguments: their SHA-256 (default), themselves, or a commitment that only the
   * opening beside the log explains. Few possible arguments are guessed from their digest.
   */
  readonly record?: 'digest' | 'plain' | 'private' | undefined
  /**
   * With so many entries that the server has not acknowledged, actions are refused. Entries of denials count apart:
   * with so many of them, further ones are counted only. Default one million.
   */
  readonly maxWaiting?: number | undefined
  /**
   * So many entries after the last state a new one is written, so that opening has no more of the log to read.
   * Default 65 536.
   */
  readonly saveEvery?: number | undefined
}

/** What a tool is told besides its arguments. */
export interface ActContext {
  /** Index of the intent in the log. */
  readonly intent: number
  /** The grant's id. */
  readonly grant: string
  /** As given to `Device.act`. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `Device.act`. */
export interface ActOptions {
  /** Approvals of this very call, where the grant asks for some. */
  readonly approvals?: readonly string[] | undefined
  /** Trace id for the log. */
  readonly trace?: string | undefined
  /** Handed to the tool; once it is given, nothing new is begun. */
  readonly signal?: AbortSignal | undefined
}

/** What came from the server. */
export interface ServerContact {
  /**
   * Id of the bundle that it is about: of another one than the device has by now, neither its end nor its next
   * generation counts for that. Default: whichever is there.
   */
  readonly about?: string | undefined
  /** The server's clock, seconds since 1970, as its answer over a connection that was authenticated says. */
  readonly serverTime?: number | undefined
  /** What the server has of the log. */
  readonly acknowledged?: AcknowledgedHead | undefined
  /** The bundle was taken back. */
  readonly revoked?: {
    readonly at?: number | undefined
    readonly reason?: string | undefined
  } | undefined
  /** A bundle, newer or not. */
  readonly bundle?: string | undefined
}

/** A device's log, as far as it is anybody's business. */
export type DeviceLog = Pick<
  Log,
  'origin' | 'verifiers' | 'recovery' | 'size' | 'checkpoint' | 'view' | 'prove'
>

/** What a `Device` is made of; `openDevice` puts it together. */
export interface DeviceParts {
  readonly key: Key
  readonly storage: DeviceStorage
  readonly sealer: StateSealer
  readonly trusted: readonly TrustedIssuer[]
  readonly settings: DeviceSettings
  readonly state: DeviceState
  readonly found: readonly OfflineFinding[]
  readonly ledger: DeviceLedger
  readonly log: Log | undefined
  readonly unresolved: readonly UnresolvedIntent[]
  readonly torn: boolean
  /** Index of the last action in the log, as far as it was read; -1: none. */
  readonly lastAction: number
  /** The newest generation of the state that the log names. */
  readonly namedGeneration: number
  /** Indexes of entries of denials that the server has not, as far as they were read; ascending. */
  readonly denied: readonly number[]
  openLog(origin: string): Promise<Log>
}
