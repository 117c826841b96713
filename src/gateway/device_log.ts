/** A device's log in the gateway's store: entries just as they came, and one head. */
import { fromBase64, toBase64 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import {
  bytesOf,
  parseSyncMessage,
  refusalOf,
  type SyncHead,
  type SyncStore,
} from '../grants/mod.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { defaultHasher, rootOf } from '../log/mod.ts'
import type { LogRecord } from './records.ts'
import type { Change, GatewayStore, LoggedEntry, Stored } from './store.ts'
import type { World } from './world.ts'

/** Entries, and bytes of entries, that are held in memory at once. A single entry may be as large as a message. */
const PAGE = 2000
const PAGE_BYTES = 4 * 1024 * 1024

/** The entries of a device's log in pages, up to an index. */
export async function* pagesOf(
  store: GatewayStore,
  device: string,
  to: number = Infinity,
): AsyncGenerator<LoggedEntry[]> {
  for (let from = 0; from < to;) {
    const page = await store.logs.entries(device, from, Math.min(PAGE, to - from), PAGE_BYTES)
    if (page.length === 0) return
    yield page
    from += page.length
  }
}

/** What the server has of a device's log; undefined for nothing. */
export async function headOf(store: GatewayStore, device: string): Promise<SyncHead | undefined> {
  const found = await store.records.get('log', device)
  return found && readHead(found.record)
}

/**
 * The log room's port over the gateway's store. Entries, head, and how many bytes there are now, are one commit, which
 * fails if the head is not the one that was read: so the ceilings hold for messages at once, too.
 */
export function syncStore(
  world: World,
  device: string,
  { checkpoint, right }: Evidence,
): SyncStore {
  const { store } = world
  let found: Stored<LogRecord> | undefined
  return {
    async head() {
      found = await store.records.get('log', device)
      return found && readHead(found.record)
    },
    async append(from, head, entries) {
      const now = world.now()
      const { record, version = 0 } = found ?? {}
      const known = record === undefined ? 0 : record.state.bytes
      if (known === undefined) {
        // Of a log from before they were counted. Once, and the caller looks again.
        const bytes = await allBytes(store, device)
        const counted = { ...record!, state: { ...record!.state, bytes } }
        await committed(store, [{ put: 'log', record: counted, version }])
        return false
      }
      const kept = { entries: from, bytes: known as number }
      const { logEntries, logBytes } = world.ceilings
      const refused = refusalOf({ entries: logEntries, bytes: logBytes }, kept, entries)
      if (refused !== undefined) return refused
      const { size, time, sentAt } = head
      const [root, first] = [toBase64(head.root), toBase64(head.first)]
      const bytes = kept.bytes + bytesOf(entries)
      const state = { size, bytes, root, first, time, sentAt, checkpoint, right }
      return await committed(store, [
        {
          append: device,
          size: from,
          entries: entries.map(({ bytes, verdict }) => ({ bytes, code: verdict, at: now })),
        },
        { put: 'log', record: { id: device, state, seenAt: now }, version },
      ])
    },
    async rootAt(size) {
      if (!mayReadAll(store, device, world.now())) return undefined
      const leaves = []
      for await (const page of pagesOf(store, device, size)) {
        for (const { bytes } of page) leaves.push(defaultHasher.leaf(bytes))
      }
      return leaves.length === size ? rootOf(leaves) : undefined
    },
  }
}

/** False if somebody else was faster. */
async function committed(store: GatewayStore, changes: readonly Change[]): Promise<boolean> {
  try {
    await store.commit(changes)
    return true
  } catch (error) {
    if (isSignetError(error, 'store_conflict')) return false
    throw error
  }
}

async function allBytes(store: GatewayStore, device: string): Promise<number> {
  let sum = 0
  for await (const page of pagesOf(store, device)) sum += bytesOf(page)
  return sum
}

const lastRead = new WeakMap<GatewayStore, { window: number; readonly devices: Set<string> }>()

/** Once a device and 10 seconds: any checkpoint of a smaller size makes the server read and hash the whole log. */
function mayReadAll(store: GatewayStore, device: string, now: number): boolean {
  const window = Math.floor(now / 10)
  let last = lastRead.get(store)
  if (last?.window !== window) lastRead.set(store, last = { window, devices: new Set() })
  if (last.devices.has(device)) return false
  last.devices.add(device)
  return true
}

function readHead({ state }: LogRecord): SyncHead {
  const bytes = (name: string) => fromBase64(state[name] as string, name)
  return {
    size: state.size as number,
    root: bytes('root'),
    first: bytes('first'),
    time: state.time as number,
    sentAt: state.sentAt as number | undefined,
  }
}

/** What is kept of a message besides its entries. */
export interface Evidence {
  /** The checkpoint of a message. */
  readonly checkpoint: string
  /** The hashes right of its range: with them the entries so far verify under the checkpoint. */
  readonly right: readonly string[]
}

/** Characters. A note may carry signatures that nobody looks at, and this one is kept. */
const MAX_CHECKPOINT = 16 * 1024

/** Out of a message, before it is verified; used only once it is. Errors: `sync_malformed`, `too_large`, those of JSON. */
export function evidenceIn(body: Uint8Array): Evidence {
  const evidence = evidenceOf(parseSyncMessage(body))
  if (evidence.checkpoint.length <= MAX_CHECKPOINT) return evidence
  throw new SignetError('sync_malformed', 'sync: its checkpoint is too long')
}

function evidenceOf({ head, range }: ReturnType<typeof parseSyncMessage>): Evidence {
  if (head.probe !== undefined) return { checkpoint: head.probe.checkpoint, right: [] }
  const line = parseJson(range.subarray(0, Math.max(0, range.indexOf(10))), { what: 'log range' })
  const { checkpoint, right }: JsonObject = isObject(line) ? line : {}
  return {
    checkpoint: typeof checkpoint === 'string' ? checkpoint : '',
    right: Array.isArray(right) ? right as readonly string[] : [],
  }
}
