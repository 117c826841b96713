/** What a device's log tells when the device is opened, and is told. */
import { SignetError } from '../errors.ts'
import { isObject, type JsonValue } from '../json.ts'
import { type Log, type LogEntry, type LogView, parseEntry, TILE_WIDTH } from '../log/mod.ts'

/** Most intents that one entry tells of. */
const MAX_TOLD = 4096

/** An action that was begun, and of which nobody knows how it ended. */
export interface UnresolvedIntent {
  /** Index of its intent in the log. */
  readonly index: number
  /** The tool, where the intent was read. */
  readonly tool?: string | undefined
  /** When it was begun, RFC 3339. */
  readonly time?: string | undefined
}

/** An intent, as far as counting needs it. */
export interface LoggedIntent {
  readonly index: number
  readonly charges: JsonValue
  /** Seconds since 1970. */
  readonly time: number
}

/** What was found. */
export interface LogFindings {
  /** Intents without an outcome, oldest first. */
  readonly unresolved: readonly UnresolvedIntent[]
  /** Intents that cost something. */
  readonly counted: readonly LoggedIntent[]
  /** The newest generation of the state that the log names. */
  readonly stateGeneration: number
  /** The newest generation of each bundle that the log names, by the bundle's id. */
  readonly bundleGenerations: ReadonlyMap<string, number>
  /** Of actions: index and time (seconds since 1970) of the first at or after `unsent`, index of the last of all. */
  readonly firstUnsent: { readonly index: number; readonly time: number } | undefined
  readonly lastAction: number
  /** Indexes of entries of denials at or after `unsent`, ascending. */
  readonly denied: readonly number[]
  /** The newest time that the device judged by, seconds since 1970; 0: no entry tells. */
  readonly newestTime: number
}

/** Logs what was left open, and a torn state. What was told once is not found again. Errors: those of the log. */
export async function tellRecovered(
  log: Log,
  unresolved: readonly UnresolvedIntent[],
  torn: boolean,
): Promise<void> {
  if (unresolved.length === 0 && !torn) return
  const intents = unresolved.map(({ index }) => index)
  for (let at = 0; at === 0 || at < intents.length; at += MAX_TOLD) {
    const data = { intents: intents.slice(at, at + MAX_TOLD), torn }
    await log.append({ type: 'device.recovered', outcome: 'unknown', data })
  }
}

/** Where to begin. */
export interface ScanFrom {
  /** The first entry that is read. */
  readonly index: number
  /** Intents before it whose outcome is not. */
  readonly pending: readonly number[]
  /** The first entry that the server has not acknowledged. */
  readonly unsent: number
}

/**
 * Reads a log from a place on. Times are those that the device wrote into its entries (`at`). The log's own never go
 * back, so after a clock that was ahead they stand still and tell nothing.
 *
 * Errors: `log_corrupt`, `log_missing`, and those of `parseEntry`.
 */
export async function scanLog(view: LogView, from: ScanFrom): Promise<LogFindings> {
  const open = new Map<number, UnresolvedIntent>(from.pending.map((index) => [index, { index }]))
  const counted: LoggedIntent[] = []
  const bundleGenerations = new Map<string, number>()
  let stateGeneration = 0
  let firstUnsent: LogFindings['firstUnsent']
  let lastAction = -1
  const denied: number[] = []
  let newestTime = 0
  for await (const entry of entriesFrom(view, from.index)) {
    const { seq: index, type } = entry
    const data = isObject(entry.data) ? entry.data : {}
    const time = typeof data.at === 'number' ? data.at : Date.parse(entry.time) / 1000
    if (time === data.at) newestTime = Math.max(newestTime, time)
    if (type.startsWith('action.')) {
      lastAction = index
      if (index >= from.unsent) firstUnsent ??= { index, time }
    }
    if (type === 'action.denied' && index >= from.unsent) denied.push(index)
    if (type === 'action.intent') {
      open.set(index, { index, tool: entry.action, time: entry.time })
      if (data.charges !== undefined) {
        counted.push({ index, charges: data.charges, time })
      }
    } else if (type === 'action.outcome') {
      open.delete(Number(entry.ref))
    } else if (type.startsWith('device.')) {
      const { state, bundle, generation, intents } = data
      if (typeof state === 'number') stateGeneration = Math.max(stateGeneration, state)
      if (typeof bundle === 'string' && typeof generation === 'number') {
        bundleGenerations.set(bundle, Math.max(bundleGenerations.get(bundle) ?? 0, generation))
      }
      // What was told once as unresolved stays so, and is not told again.
      if (Array.isArray(intents)) { for (const one of intents) open.delete(Number(one)) }
    }
  }
  const unresolved = [...open.values()].sort((a, b) => a.index - b.index)
  return {
    unresolved,
    counted,
    stateGeneration,
    bundleGenerations,
    firstUnsent,
    lastAction,
    denied,
    newestTime,
  }
}

async function* entriesFrom(view: LogView, from: number): AsyncGenerator<LogEntry> {
  const { size } = view.head
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < size; n++) {
    const first = n * TILE_WIDTH
    // The proof of its last entry ties the bundle's hashes to the checkpoint.
    await view.hashes(Math.min(size, first + TILE_WIDTH) - 1)
    for (const [i, bytes] of (await view.bundle(n)).entries()) {
      if (first + i < from) continue
      const entry = parseEntry(bytes)
      if (entry.seq !== first + i) {
        throw new SignetError('log_corrupt', `entry ${first + i} says that it is ${entry.seq}`)
      }
      yield entry
    }
  }
}
