/**
 * The hierarchy of keys below a key encryption key: for each tenant and purpose a line of data keys, of which
 * the newest encrypts and the older ones still decrypt.
 *
 *     KEK (HSM, KMS) ── wraps ──> data key of tenant, purpose, version ── encrypts ──> data
 *
 * - A wrapped data key is bound to {tenant, purpose, id, version}: a record that is moved to another tenant,
 *   or renumbered, does not open.
 * - Rotation makes a new version and loses nothing: what was encrypted names its key.
 * - Where the current KEK is another than the one that wrapped, the data key is wrapped anew when it is next
 *   opened. The old KEK can go when no record names it.
 * - Destruction erases the wrapped form for good. A store's backups must forget it too; whoever kept a copy
 *   of the record, and still has the KEK, can undo it.
 *
 * Encrypted data: octet 1, 16 octets data key id, 12 octets nonce, then AES-256-GCM of the data. Its associated
 * data are the first 29 octets, tenant, purpose, and what the caller binds. Nonces are random: rotate before
 * 2^32 encryptions under one key (NIST SP 800-38D §8.3).
 */
import {
  type Bytes,
  concat,
  equalBytes,
  fromBase64Url,
  owned,
  toBase64Url,
  toHex,
} from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { contextBytes, type Kek, type WrapContext } from './kek.ts'
import type { SignOptions } from './key.ts'

/** What a data key may do. It goes from left to right and never back. */
export type DataKeyState = 'active' | 'decrypt-only' | 'destroyed'

/** Whose data keys, and what for. */
export interface DataKeyScope {
  /** Whose. */
  readonly tenant: string
  /** What for. */
  readonly purpose: string
}

/** One data key as it is stored. Nothing in it is secret as long as the KEK is. */
export interface DataKeyRecord {
  /** 16 random octets, lower-case hexadecimal. */
  readonly id: string
  /** Counts up from 1. */
  readonly version: number
  /** What it may do. */
  readonly state: DataKeyState
  /** Which KEK wrapped it ({@link Kek.id}). */
  readonly kek: string
  /** The wrapped key, base64url; absent once destroyed. */
  readonly wrapped?: string | undefined
  /** Seconds since 1970. */
  readonly created: number
  /** Seconds since 1970; only when destroyed. */
  readonly destroyed?: number | undefined
}

/** The records of one scope, and which edition of them this is. */
export interface DataKeyLine {
  /** Opaque; changes with every save. */
  readonly revision: string
  /** Oldest first. */
  readonly records: readonly DataKeyRecord[]
}

/** Where records live. One operation reads a line, one replaces it if nobody else has meanwhile. */
export interface DataKeyStore {
  /** The line of a scope; without records if there is none yet. */
  load(scope: DataKeyScope): Promise<DataKeyLine>
  /** Replaces a line durably if its revision is still this one; false if it is not. */
  save(
    scope: DataKeyScope,
    revision: string,
    records: readonly DataKeyRecord[],
  ): Promise<boolean>
}

/** What {@link dataKeys} works with. */
export interface DataKeyOptions {
  /** The KEK that wraps from now on. */
  readonly kek: Kek
  /** Opens a KEK of earlier days by its id; `key_not_found` where there is none. */
  readonly earlier?: ((id: string) => Promise<Kek>) | undefined
  /** Where records are kept. */
  readonly store: DataKeyStore
  /** Seconds since 1970. Default: the clock. */
  readonly now?: (() => number) | undefined
}

/** Data keys of many tenants. All methods may throw what KEK and store throw. */
export interface DataKeys {
  /** Encrypts under the active key of a scope, which is made if there is none. */
  encrypt(
    scope: DataKeyScope,
    data: Uint8Array,
    bound?: Uint8Array,
    options?: SignOptions,
  ): Promise<Bytes>
  /**
   * Decrypts. Errors: `encoding_invalid` (no such format), `key_not_found`, `key_destroyed`, `key_mismatch`
   * (another scope, another `bound`, or altered).
   */
  decrypt(
    scope: DataKeyScope,
    encrypted: Uint8Array,
    bound?: Uint8Array,
    options?: SignOptions,
  ): Promise<Bytes>
  /** Makes a new active key; the one before decrypts from now on. */
  rotate(scope: DataKeyScope, options?: SignOptions): Promise<DataKeyRecord>
  /** Destroys a data key. The active one is refused (`usage_invalid`): rotate first. */
  destroy(scope: DataKeyScope, id: string): Promise<void>
  /** The records of a scope. */
  list(scope: DataKeyScope): Promise<readonly DataKeyRecord[]>
}

const HEAD = 29
const FORMAT = 1

/** Data keys over a KEK and a store. */
export function dataKeys(options: DataKeyOptions): DataKeys {
  const { kek, store } = options
  const now = options.now ?? (() => Math.floor(Date.now() / 1000))

  /** Replaces a line by what `edit` makes of it; starts over where somebody else was faster. */
  const update = async (
    scope: DataKeyScope,
    edit: (records: readonly DataKeyRecord[]) => readonly DataKeyRecord[] | undefined,
  ): Promise<readonly DataKeyRecord[]> => {
    for (let attempt = 0; attempt < 20; attempt++) {
      const { revision, records } = await store.load(scope)
      const edited = edit(records)
      if (edited === undefined || await store.save(scope, revision, edited)) {
        return edited ?? records
      }
    }
    throw new SignetError('io_failed', 'the data keys change faster than they can be read')
  }

  /** A new key, wrapped, not yet stored. The version is bound, so it is made for one place in the line. */
  const make = async (
    scope: DataKeyScope,
    version: number,
    signal: SignOptions,
  ): Promise<DataKeyRecord> => {
    const id = toHex(crypto.getRandomValues(new Uint8Array(16)))
    const context = contextOf(scope, { id, version })
    const { secret, wrapped } = await newDataKey(kek, context, signal)
    secret.fill(0)
    return {
      id,
      version,
      state: 'active',
      kek: kek.id,
      wrapped: toBase64Url(wrapped),
      created: now(),
    }
  }

  const append = async (
    scope: DataKeyScope,
    signal: SignOptions,
    wanted: (records: readonly DataKeyRecord[]) => boolean,
  ): Promise<readonly DataKeyRecord[]> => {
    for (;;) {
      const { records } = await store.load(scope)
      if (!wanted(records)) return records
      const version = (records.at(-1)?.version ?? 0) + 1
      const fresh = await make(scope, version, signal)
      const saved = await update(scope, (current) => {
        // Somebody else may have made this version meanwhile; theirs is as good, ours is thrown away.
        if ((current.at(-1)?.version ?? 0) !== version - 1) return undefined
        const older = current.map((record): DataKeyRecord =>
          record.state === 'active' ? { ...record, state: 'decrypt-only' } : record
        )
        return [...older, fresh]
      })
      if (saved.some(({ id }) => id === fresh.id)) return saved
    }
  }

  /** The key itself, and its record wrapped anew where another KEK wraps now. */
  const unwrap = async (
    scope: DataKeyScope,
    record: DataKeyRecord,
    signal: SignOptions,
  ): Promise<CryptoKey> => {
    if (record.state === 'destroyed' || record.wrapped === undefined) {
      throw new SignetError('key_destroyed', `data key ${record.id} was destroyed`)
    }
    const context = contextOf(scope, record)
    const current = record.kek === kek.id
    const opener = current ? kek : await earlier(record.kek)
    const secret = await opener.unwrap(
      fromBase64Url(record.wrapped, 'wrapped data key'),
      context,
      signal,
    )
    try {
      if (secret.length !== 32) {
        throw new SignetError('key_mismatch', 'the wrapped data key has a wrong length')
      }
      if (!current) await rewrap(scope, record, secret, context, signal)
      return await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, ['encrypt', 'decrypt'])
    } finally {
      secret.fill(0)
      if (!current) await opener.close()
    }
  }

  const earlier = async (id: string): Promise<Kek> => {
    if (options.earlier !== undefined) return await options.earlier(id)
    throw new SignetError('key_not_found', 'the data key was wrapped by a key that is not known')
  }

  const rewrap = async (
    scope: DataKeyScope,
    { id, wrapped }: DataKeyRecord,
    secret: Bytes,
    context: WrapContext,
    signal: SignOptions,
  ): Promise<void> => {
    const anew = toBase64Url(await kek.wrap(secret, context, signal))
    await update(scope, (records) =>
      // Only what is still as it was read: a key that was destroyed meanwhile stays destroyed.
      records.some((record) => record.id === id && record.wrapped === wrapped)
        ? records.map((record) =>
          record.id === id ? { ...record, kek: kek.id, wrapped: anew } : record
        )
        : undefined)
  }

  const active = (records: readonly DataKeyRecord[]) =>
    records.find(({ state }) => state === 'active')

  return {
    async encrypt(scope, data, bound = new Uint8Array(), signal = {}) {
      const records = await append(scope, signal, (records) => active(records) === undefined)
      const record = active(records)!
      const key = await unwrap(scope, record, signal)
      const iv = crypto.getRandomValues(new Uint8Array(12))
      const head = concat(Uint8Array.of(FORMAT), idBytes(record.id), iv)
      const params = { name: 'AES-GCM', iv, additionalData: associated(head, scope, bound) }
      return concat(head, new Uint8Array(await crypto.subtle.encrypt(params, key, owned(data))))
    },

    async decrypt(scope, encrypted, bound = new Uint8Array(), signal = {}) {
      if (encrypted.length < HEAD + 16 || encrypted[0] !== FORMAT) {
        throw new SignetError('encoding_invalid', 'not data that was encrypted here')
      }
      const head = owned(encrypted.slice(0, HEAD))
      const id = head.slice(1, 17)
      const { records } = await store.load(scope)
      const record = records.find((one) => equalBytes(idBytes(one.id), id))
      if (record === undefined) {
        throw new SignetError('key_not_found', `there is no data key ${toHex(id)} in this scope`)
      }
      const key = await unwrap(scope, record, signal)
      const additionalData = associated(head, scope, bound)
      const params = { name: 'AES-GCM', iv: head.slice(17), additionalData }
      try {
        const data = owned(encrypted.slice(HEAD))
        return new Uint8Array(await crypto.subtle.decrypt(params, key, data))
      } catch {
        throw new SignetError('key_mismatch', 'the data do not decrypt: other scope, or altered')
      }
    },

    async rotate(scope, signal = {}) {
      const before = (await store.load(scope)).records.at(-1)?.version ?? 0
      const records = await append(
        scope,
        signal,
        (records) => (records.at(-1)?.version ?? 0) <= before,
      )
      return active(records)!
    },

    async destroy(scope, id) {
      const at = now()
      await update(scope, (records) => {
        const record = records.find((one) => one.id === id)
        if (record === undefined) {
          throw new SignetError('key_not_found', `there is no data key ${id} in this scope`)
        }
        if (record.state === 'destroyed') return undefined
        if (record.state === 'active') {
          throw new SignetError('usage_invalid', `data key ${id} is the active one`, {
            remedy: 'rotate first, and let everything be encrypted anew',
          })
        }
        return records.map((one): DataKeyRecord =>
          one.id === id ? { ...one, state: 'destroyed', wrapped: undefined, destroyed: at } : one
        )
      })
    },

    async list(scope) {
      return (await store.load(scope)).records
    },
  }
}

/** A store in memory, for tests and as the pattern of others. */
export function memoryDataKeys(): DataKeyStore {
  const lines = new Map<string, DataKeyLine>()
  const nameOf = ({ tenant, purpose }: DataKeyScope) => JSON.stringify([tenant, purpose])
  const load = (scope: DataKeyScope) => lines.get(nameOf(scope)) ?? { revision: '0', records: [] }
  return {
    load: (scope) => Promise.resolve(load(scope)),
    save(scope, revision, records) {
      if (load(scope).revision !== revision) return Promise.resolve(false)
      lines.set(nameOf(scope), { revision: String(Number(revision) + 1), records })
      return Promise.resolve(true)
    },
  }
}

/** A new data key, in one call where the KEK can. */
async function newDataKey(kek: Kek, context: WrapContext, options: SignOptions) {
  if (kek.newDataKey !== undefined) return await kek.newDataKey(context, options)
  const secret = crypto.getRandomValues(new Uint8Array(32))
  return { secret, wrapped: await kek.wrap(secret, context, options) }
}

function contextOf(
  { tenant, purpose }: DataKeyScope,
  { id, version }: Pick<DataKeyRecord, 'id' | 'version'>,
): WrapContext {
  return { tenant, purpose, id, version: String(version) }
}

function associated(head: Uint8Array, scope: DataKeyScope, bound: Uint8Array): Bytes {
  const { tenant, purpose } = scope
  // A fixed-length head and a self-delimiting JSON text: no two inputs give the same octets.
  return concat(head, contextBytes({ tenant, purpose }), bound)
}

function idBytes(id: string): Bytes {
  return Uint8Array.from(id.match(/../g) ?? [], (octet) => parseInt(octet, 16))
}
