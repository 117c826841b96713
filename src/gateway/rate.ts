/** Rates: a bucket of tokens for each client and class of routes. In memory, so each process counts for itself. */
import { SignetError } from '../errors.ts'

/** Classes of routes: those that start something, those that devices use, and plain reading. */
export type RateClass = 'start' | 'device' | 'read' | 'operator'

/** Requests per minute by class; as many may come at once. */
export type Rates = Readonly<Record<RateClass, number>>

/** Unless told otherwise. */
export const RATES: Rates = { start: 60, device: 240, read: 1200, operator: 1200 }

/** Too many requests. Says when to come again. */
export class RateError extends SignetError {
  /** Seconds until the next request may come. */
  readonly retryAfter: number

  /** An error with the seconds to wait. */
  constructor(retryAfter: number) {
    super('rate_limited', 'too many requests', { remedy: `come again in ${retryAfter} seconds` })
    this.retryAfter = retryAfter
  }
}

/** Most clients that are counted at once; the ones that were quiet longest are forgotten. */
const MAX_CLIENTS = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** Counts; throws {@link RateError} when a client has used up what it may. `now` in seconds. */
export function rateLimiter(
  rates: Rates,
): (client: string, kind: RateClass, now: number) => void {
  const buckets = new Map<string, Bucket>()
  return (client, kind, now) => {
    const name = `${kind} ${client}`
    const rate = rates[kind]
    const found = buckets.get(name) ?? { tokens: rate, at: now }
    const tokens = Math.min(rate, found.tokens + Math.max(0, now - found.at) * rate / 60)
    buckets.delete(name) // so that it moves to the end
    buckets.set(name, { tokens: tokens < 1 ? tokens : tokens - 1, at: now })
    if (buckets.size > MAX_CLIENTS) buckets.delete(buckets.keys().next().value!)
    if (tokens < 1) throw new RateError(Math.max(1, Math.ceil((1 - tokens) * 60 / rate)))
  }
}
