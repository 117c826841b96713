/**
 * Sends what is in the outbox. One message at a time to each address, a few to all of an owner's: who answers slowly, or
 * not at all, holds nobody up. What fails is tried again, each time after twice the time, and then given up.
 */
import { isSignetError, type SignetError } from '../errors.ts'
import {
  claim,
  type Due,
  dueNow,
  forget,
  type Message,
  oldMessages,
  type Outcome,
  settle,
} from './outbox.ts'
import type { GatewayStore } from './store.ts'

/** Calls another server. Must follow no redirect where `redirect` is `manual`, and heed the `signal`. */
export type Fetch = (request: Request) => Promise<Response>

/** Options of {@link delivery}. */
export interface DeliveryOptions {
  /** Where the outbox is. */
  readonly store: GatewayStore
  /** What to send for a message, now; undefined: nobody wants it any more. Errors: `usage_invalid`: not there. */
  readonly prepare: (message: Message, now: number) => Promise<Request | undefined>
  /** All addresses, in the order of their names: they take turns once more waits than is looked at. */
  readonly hooks: () => Promise<readonly { readonly hook: string; readonly owner: string }[]>
  /** Sends. */
  readonly fetch: Fetch
  /** The clock, seconds since 1970. */
  readonly now: () => number
  /** Attempts before a message is given up. */
  readonly attempts: number
  /** Seconds until the second attempt. Each further one waits twice as long as the one before. */
  readonly retryAfter: number
  /** Seconds until an answer must be there. */
  readonly timeout: number
  /** Told what went wrong with the store. */
  readonly onFault?: ((error: unknown) => void) | undefined
}

/** Sends what is due. */
export interface Delivery {
  /**
   * Sends all that is due now, and comes back once each was tried; how many were taken. For a platform's own timer.
   * Errors: those of the store.
   */
  deliverDue(): Promise<number>
  /** Goes on doing so until `signal` ends it. Throws nothing. */
  run(signal: AbortSignal): Promise<void>
}

const SLOTS = 16
const SLOTS_OF_OWNER = 4
/** Places of the queue that are looked at at once. */
const LOOK = 200
/** How often is looked for new ones, milliseconds. */
const POLL = 1000
/** Longest wait for another attempt, seconds. */
const MAX_WAIT = 6 * 3600
/** Attempts that were begun and never ended, because the process did, come on top; but not for ever. */
const CRASHES = 10
/** No message is sent later than this after what it tells of. */
const MAX_AGE = 24 * 3600

/** Sends what is in the outbox of a store. */
export function delivery(options: DeliveryOptions): Delivery {
  const { store, now } = options
  const flights = new Map<string, { readonly owner: string; readonly done: Promise<void> }>()
  let [turn, taken, ended] = ['', 0, 0]
  let fault: unknown
  const isBusy = (hook: string, owner: string) =>
    flights.has(hook) ||
    [...flights.values()].filter((one) => one.owner === owner).length >= SLOTS_OF_OWNER

  const flight = async (due: Due, signal: AbortSignal) => {
    const lease = now() + 2 * options.timeout + 5
    const claimed = await claim(store, due, lease)
    if (claimed === undefined) return
    const outcome = await attempt(claimed.message, options, signal)
    if (outcome === undefined) return await forget(store, [claimed.message.id])
    await settle(store, claimed, outcome, now())
    if (outcome.status === 'delivered') taken++
    await forget(store, await oldMessages(store, due.hook, now()))
  }

  /**
   * What may begin, the oldest first. Of a heap nobody reads more than the front: there the next to each address takes
   * its turn, however much waits for the others.
   */
  const next = async function* (): AsyncGenerator<Due> {
    const page = await dueNow(store, now(), LOOK)
    if (page.length === LOOK) {
      const hooks = await options.hooks()
      const from = Math.max(0, hooks.findIndex(({ hook }) => hook > turn))
      for (const { hook, owner } of [...hooks.slice(from), ...hooks.slice(0, from)]) {
        if (isBusy(hook, owner)) continue
        yield* await dueNow(store, now(), 1, hook)
      }
    }
    yield* page // of a heap too: there may be some whose address is gone
  }

  /** Begins what may begin; true if there was nothing more. */
  const launch = async (signal: AbortSignal): Promise<boolean> => {
    for await (const due of next()) {
      if (signal.aborted || flights.size >= SLOTS) return false
      if (isBusy(due.hook, due.owner)) continue
      const done = flight(due, signal)
        .catch((error) => {
          if (isSignetError(error, 'store_conflict')) return // another process was faster
          fault = error
          options.onFault?.(error)
        })
        .finally(() => {
          flights.delete(due.hook)
          ended++ // what waits behind it may begin
        })
      flights.set(due.hook, { owner: due.owner, done })
      turn = due.hook
    }
    return true
  }
  const landed = () => Promise.race([...flights.values()].map(({ done }) => done))

  return {
    async deliverDue() {
      const [before, never] = [taken, new AbortController().signal]
      fault = undefined
      while (true) {
        if (fault !== undefined) throw fault
        const was = ended
        const sawAll = await launch(never)
        if (flights.size > 0) await landed()
        else if (sawAll && ended === was) return taken - before
      }
    },
    async run(signal) {
      while (!signal.aborted) {
        const was = ended
        try {
          await launch(signal)
        } catch (error) {
          fault = error
          options.onFault?.(error)
        }
        if (fault !== undefined) {
          fault = undefined
          await pause(signal, []) // whatever is wrong with the store, it is not asked all the time
          continue
        }
        if (signal.aborted || ended !== was) continue
        await pause(signal, [...flights.values()].map(({ done }) => done))
      }
      await Promise.all([...flights.values()].map(({ done }) => done))
    },
  }
}

/** One attempt; undefined if nobody wants the message any more. */
async function attempt(
  message: Message,
  options: DeliveryOptions,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const { prepare, fetch, now, timeout } = options
  if (now() - message.createdAt > MAX_AGE || message.attempts > options.attempts + CRASHES) {
    return { status: 'failed', lastError: message.lastError ?? 'it was too late' }
  }
  let lastError: string
  const late = AbortSignal.timeout(timeout * 1000)
  try {
    const request = await prepare(message, now())
    if (request === undefined) return undefined
    const response = await fetch(new Request(request, { signal: AbortSignal.any([late, signal]) }))
    // Nobody reads what it says, however much that is.
    await response.body?.cancel()
    if (response.ok) return { status: 'delivered' }
    lastError = response.status === 0 ? 'a redirect' : `HTTP ${response.status}`
  } catch (error) {
    lastError = wordOf(error, late)
  }
  // Whoever ends this process has not refused it.
  if (signal.aborted) return { status: 'pending', dueAt: now(), lastError: 'interrupted' }
  if (message.attempts >= options.attempts) return { status: 'failed', lastError }
  const wait = Math.min(MAX_WAIT, options.retryAfter * 2 ** (message.attempts - 1))
  return { status: 'pending', dueAt: now() + wait, lastError }
}

/** In words of ours: those of the platform may tell of the network that the server stands in. */
function wordOf(error: unknown, late: AbortSignal): string {
  if (late.aborted) return 'no answer in time'
  return isSignetError(error, 'usage_invalid') ? (error as SignetError).message : 'no connection'
}

/** Waits a while, or until one of these is done. */
function pause(signal: AbortSignal, others: readonly Promise<void>[]): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, POLL)
    signal.addEventListener('abort', end)
    for (const other of others) other.then(end)
  })
}
