/**
 * What a device remembers besides its log, sealed under a key encryption key: its bundle, the newest time and the
 * newest generation it has seen, what the server has acknowledged, and where its log stood. It is written when
 * one of these changes, and not for each action.
 *
 * A sealed state is `SGDS`, octet 1, length of the wrapped data key (2 octets), the wrapped key, 12 octets nonce, and
 * AES-256-GCM of the JSON; what stands before the ciphertext, and the device's key, are its associated data.
 * States are kept two at a time: the newest, and the one before it for when the newest turns out torn.
 */
import * as v from 'valibot'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, equalBytes, fromUtf8, owned, toBase64, utf8 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { canonicalBytes, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import {
  type Kek,
  type Key,
  memoryKek,
  type PublicKey,
  signMessage,
  type WrapContext,
} from '../keys/mod.ts'
import { conform } from '../schema.ts'
import { MAX_BUNDLE_LENGTH } from './bundle.ts'

/** Where sealed states are kept. */
export interface DeviceStorage {
  /** What is there of the last two states saved, in any order; torn ones too. Throws `io_failed`. */
  load(): Promise<readonly Bytes[]>
  /**
   * Keeps a state, whole or not at all, so that it would survive a power cut; of those kept before, at least the
   * newest stays. `generation` is one more than at the last call. Throws `io_failed`.
   */
  save(generation: number, state: Bytes): Promise<void>
}

/** That the server took a bundle back. */
export interface Revoked {
  readonly at?: number | undefined
  readonly reason?: string | undefined
}

/** A bundle that was here. */
export interface KnownBundle {
  readonly id: string
  /** The newest generation that was seen. */
  readonly generation: number
  readonly revoked?: Revoked | undefined
}

/** What a device remembers. Times are seconds since 1970 unless said otherwise. */
export interface DeviceState {
  /** Counts states. */
  readonly generation: number
  /** The bundle as it came. */
  readonly bundle?: string | undefined
  /** The bundle's id, and the newest generation of it that was seen. */
  readonly bundleId?: string | undefined
  readonly bundleGeneration: number
  /** What is known of the bundles before: changing to another and back makes nothing forgotten. */
  readonly others: readonly KnownBundle[]
  /** Keys that bundles brought along, by issuer: a server that rotates its key is known by the next one. */
  readonly issuers: readonly { readonly issuer: string; readonly keys: readonly JsonObject[] }[]
  /** The newest time that was seen. */
  readonly newestTime: number
  /** When the server was heard last. */
  readonly lastContact?: number | undefined
  /** What the server has of the log; the root in base64. */
  readonly acknowledged?: { readonly size: number; readonly root: string } | undefined
  /** Since when an action waits to be synced. */
  readonly waitingSince?: number | undefined
  /** The server took the bundle back. */
  readonly revoked?: Revoked | undefined
  /** Where the log stood; the root in base64. */
  readonly log: { readonly origin: string; readonly size: number; readonly root: string }
  /** Intents before that place whose outcome is not. */
  readonly pending: readonly number[]
  /** What limits had counted up to that place. */
  readonly ledger?: JsonValue | undefined
}

const MAGIC = utf8('SGDS\x01')
const NONCE_BYTES = 12
const Seconds = v.pipe(v.number(), v.finite(), v.minValue(0))
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Json = v.record(v.string(), v.unknown())

const RevokedSchema = v.strictObject({ at: v.optional(Seconds), reason: v.optional(v.string()) })

const StateSchema = v.strictObject({
  generation: Count,
  bundle: v.optional(v.string()),
  bundleId: v.optional(v.string()),
  bundleGeneration: Count,
  others: v.array(
    v.strictObject({ id: v.string(), generation: Count, revoked: v.optional(RevokedSchema) }),
  ),
  issuers: v.array(v.strictObject({ issuer: v.string(), keys: v.array(Json) })),
  newestTime: Seconds,
  lastContact: v.optional(Seconds),
  acknowledged: v.optional(v.strictObject({ size: Count, root: v.string() })),
  waitingSince: v.optional(Seconds),
  revoked: v.optional(RevokedSchema),
  log: v.strictObject({ origin: v.string(), size: Count, root: v.string() }),
  pending: v.array(Count),
  ledger: v.optional(v.unknown()),
})

/** Seals and opens the states of one device. */
export interface StateSealer {
  /** A sealed state. */
  seal(state: DeviceState): Promise<Bytes>
  /** Errors: `device_state_malformed`, `key_mismatch`, and those of the key encryption key. */
  open(sealed: Bytes): Promise<DeviceState>
}

/** The sealer of a device. The data key is made, or unwrapped, once for all states. */
export function stateSealer(kek: Kek, device: PublicKey): StateSealer {
  const context: WrapContext = { purpose: 'signet device state', device: device.id }
  let current: { readonly wrapped: Bytes; readonly key: CryptoKey } | undefined
  const associated = (head: Bytes) => concat(utf8(`${device.id}\0`), head)
  const keyOf = async (secret: Bytes) => {
    const key = await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, [
      'encrypt',
      'decrypt',
    ])
    secret.fill(0)
    return key
  }
  return {
    async seal(state) {
      if (current === undefined) {
        const secret = crypto.getRandomValues(new Uint8Array(32))
        const wrapped = await kek.wrap(secret, context)
        current = { wrapped, key: await keyOf(secret) }
      }
      const { wrapped, key } = current
      const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const length = Uint8Array.of(wrapped.length >> 8, wrapped.length & 255)
      const head = concat(MAGIC, length, wrapped, iv)
      const params = { name: 'AES-GCM', iv, additionalData: associated(head) }
      const plain = canonicalBytes(state as unknown as JsonValue)
      return concat(head, new Uint8Array(await crypto.subtle.encrypt(params, key, plain)))
    },
    async open(sealed) {
      const from = MAGIC.length + 2
      const at = from + (sealed[MAGIC.length] ?? 0) * 256 + (sealed[MAGIC.length + 1] ?? 0)
      if (
        sealed.length < at + NONCE_BYTES + 16 ||
        !equalBytes(sealed.subarray(0, MAGIC.length), MAGIC)
      ) throw malformed('it is no sealed state')
      const wrapped = owned(sealed.slice(from, at))
      let key = current !== undefined && equalBytes(current.wrapped, wrapped)
        ? current.key
        : undefined
      if (key === undefined) {
        key = await keyOf(await kek.unwrap(wrapped, context))
        current = { wrapped, key }
      }
      const head = owned(sealed.slice(0, at + NONCE_BYTES))
      const params = { name: 'AES-GCM', iv: head.slice(at), additionalData: associated(head) }
      let plain: Uint8Array
      try {
        const rest = owned(sealed.slice(at + NONCE_BYTES))
        plain = new Uint8Array(await crypto.subtle.decrypt(params, key, rest))
      } catch (cause) {
        throw new SignetError('key_mismatch', 'the state does not open: altered, or torn', {
          cause,
        })
      }
      const limits = { what: 'device state', maxBytes: 4 * MAX_BUNDLE_LENGTH }
      const value = parseJson(fromUtf8(plain), limits)
      return conform(StateSchema, value, 'device_state_malformed', 'device state') as DeviceState
    },
  }
}

/** The newest state that opens, and whether another one did not. */
export interface FoundState {
  /** undefined: there is none. */
  readonly state: DeviceState | undefined
  /** The newest was torn or altered, and the one before it is used. */
  readonly torn: boolean
}

/** Reads the newest state. Errors: what opening says, if there are states and none opens. */
export async function loadState(storage: DeviceStorage, sealer: StateSealer): Promise<FoundState> {
  let state: DeviceState | undefined
  let fault: unknown
  for (const sealed of await storage.load()) {
    try {
      const found = await sealer.open(sealed)
      if (state === undefined || found.generation > state.generation) state = found
    } catch (error) {
      // A key encryption key that does not answer is no torn state.
      if (!isSignetError(error) || error.kind === 'backend') throw error
      fault ??= error
    }
  }
  if (state === undefined && fault !== undefined) throw fault
  return { state, torn: fault !== undefined }
}

/**
 * A key encryption key made of an Ed25519 key, for devices that have no other: what the key signs is a secret
 * function of the message (RFC 8032 §5.1.6), so one signature that is never shown becomes a key. It works wherever
 * the private half lives. Errors: `algorithm_unsupported` for other algorithms, and for a key that signs at random.
 */
export async function deviceKek(key: Key): Promise<Kek> {
  const { algorithm, id } = key.publicKey
  if (algorithm.name !== 'Ed25519') {
    throw new SignetError('algorithm_unsupported', 'only an Ed25519 key can seal the state', {
      remedy: 'give a key encryption key',
    })
  }
  // A zero byte can stand in no note, token or request: nothing else that a device signs looks like this.
  const message = utf8(`signet device state key v1\0${id}`)
  const [one, two] = [await signMessage(key, message), await signMessage(key, message)]
  if (!equalBytes(one, two)) {
    throw new SignetError('algorithm_unsupported', 'this key does not sign alike twice', {
      remedy: 'give a key encryption key',
    })
  }
  const secret = sha256(one)
  one.fill(0)
  two.fill(0)
  const kek = await memoryKek(`device:${id}`, secret)
  secret.fill(0)
  return kek
}

/** A {@link DeviceStorage} in memory. `slots` may be read and put back, by tests. */
export interface MemoryDeviceStorage extends DeviceStorage {
  /** The two states. */
  readonly slots: (Bytes | undefined)[]
}

/** A {@link DeviceStorage} in memory. */
export function memoryDeviceStorage(): MemoryDeviceStorage {
  const slots: (Bytes | undefined)[] = [undefined, undefined]
  return {
    slots,
    load: () =>
      Promise.resolve(slots.flatMap((state) => (state === undefined ? [] : [state.slice()]))),
    save(generation, state) {
      slots[generation % 2] = state.slice()
      return Promise.resolve()
    },
  }
}

/** A root as states hold it. */
export function rootText(root: Uint8Array): string {
  return toBase64(root)
}

function malformed(why: string): SignetError {
  return new SignetError('device_state_malformed', `device state: ${why}`)
}
