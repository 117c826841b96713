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
  let [cursor, taken] = ['', 0]
  let fault: unknown

  const flight = async (due: Due, signal: AbortSignal) => {
    const lease = now() + 2 * options.timeout + 5
    const claimed = await claim(store, due, lease)
    if (claimed === undefined) return
    const outcome = await attempt(claimed.message, options, signal)
    if (outcome === undefined) return await forget(store, claimed.message.id)
    await settle(store, claimed, outcome, now())
    if (outcome.status === 'delivered') taken++
    for (const id of await oldMessages(store, due.hook, now())) await forget(store, id)
  }

  /** Begins what may begin; true if the queue was seen to its end. */
  const launch = async (signal: AbortSignal): Promise<boolean> => {
    const page = await dueNow(store, now(), cursor, LOOK)
    for (const due of page) {
      if (signal.aborted || flights.size >= SLOTS) return false
      const ofOwner = [...flights.values()].filter(({ owner }) => owner === due.owner).length
      if (flights.has(due.hook) || ofOwner >= SLOTS_OF_OWNER) continue
      const done = flight(due, signal)
        .catch((error) => {
          if (isSignetError(error, 'store_conflict')) return // another process was faster
          fault = error
          options.onFault?.(error)
        })
        .finally(() => flights.delete(due.hook))
      flights.set(due.hook, { owner: due.owner, done })
    }
    // One after the other, so that a heap of messages to one address does not hide those behind it.
    cursor = page.length < LOOK ? '' : page.at(-1)!.id
    return cursor === ''
  }
  const landed = () => Promise.race([...flights.values()].map(({ done }) => done))

  return {
    async deliverDue() {
      const [before, never] = [taken, new AbortController().signal]
      cursor = ''
      fault = undefined
      while (true) {
        if (fault !== undefined) throw fault
        const [sawAll, wasIdle] = [await launch(never), flights.size === 0]
        if (wasIdle && sawAll) return taken - before
        if (!wasIdle) await landed()
      }
    },
    async run(signal) {
      while (!signal.aborted) {
        let sawAll = true
        try {
          sawAll = await launch(signal)
        } catch (error) {
          fault = error
          options.onFault?.(error)
        }
        if (fault !== undefined) {
          fault = undefined
          await pause(signal, []) // whatever is wrong with the store, it is not asked all the time
          continue
        }
        if (!sawAll && flights.size < SLOTS) continue
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
