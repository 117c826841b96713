/**
 * A device's requests: signed by its key, tried again where that can help, and never for longer than somebody
 * wants to wait. What cannot get better by waiting is told at once.
 */
import { type Bytes, Gathering } from '../bytes.ts'
import { signRequest } from '../envelope/mod.ts'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import { checkAborted, type Key } from '../keys/mod.ts'
import { MAX_BUNDLE_LENGTH } from './bundle.ts'

/** The part of `fetch` that is used. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Headers
    readonly body?: Bytes
    readonly signal: AbortSignal
    readonly redirect: 'manual'
  },
) => Promise<Response>

/** How requests are made. */
export interface DeviceHttpOptions {
  /** Default: the platform's. */
  readonly fetch?: Fetch | undefined
  /** Ends it all with `aborted`. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for one request and its answer. Default 30 000. */
  readonly timeout?: number | undefined
  /** How often one request is made at most. Default 6. */
  readonly attempts?: number | undefined
  /** Longest wait between two attempts, milliseconds. A server that asks for more is not waited for. Default 60 000. */
  readonly maxWait?: number | undefined
  /** Waits, in milliseconds. Default: a timer. */
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
  /** Between 0 and 1, for the jitter. Default `Math.random`. */
  readonly random?: (() => number) | undefined
  /** Seconds since 1970. Default: the clock. */
  readonly now?: (() => number) | undefined
}

/** An answer with a status of success. */
export interface DeviceAnswer {
  /** The body. */
  readonly body: Bytes
  /** The server's clock, seconds since 1970, if it said. */
  readonly serverTime: number | undefined
}

/** Makes requests for a device. */
export interface DeviceHttp {
  /**
   * One request, with its repetitions. Errors: `aborted`; `sync_refused` (the server does not want it as it is;
   * `cause` has its words); `sync_failed` (it did not answer, or not well, as often as it was tried).
   */
  request(method: 'GET' | 'POST', url: string, body?: Bytes, type?: string): Promise<DeviceAnswer>
}

/** Statuses that another time may bring an end to (RFC 9110 §15, RFC 6585 §4, RFC 8470 §5.2). */
const PASSING: readonly number[] = [408, 425, 429, 500, 502, 503, 504]
const FIRST_WAIT = 250
/** Clocks that differ by more than this make signatures stale. */
const CLOCK_DRIFT = 30

/** Requests of a device's key. */
export function deviceHttp(key: Key, options: DeviceHttpOptions = {}): DeviceHttp {
  const {
    fetch = globalThis.fetch as unknown as Fetch,
    signal,
    timeout = 30_000,
    attempts = 6,
    maxWait = 60_000,
    sleep = pause,
    random = Math.random,
    now = () => Date.now() / 1000,
  } = options
  // A device without a clock that is right signs by the server's.
  let offset = 0

  const once = async (
    method: 'GET' | 'POST',
    url: string,
    body: Bytes | undefined,
    type: string | undefined,
  ): Promise<Attempt> => {
    checkAborted(signal)
    const plain = new Headers({ accept: 'application/json' })
    if (type !== undefined) plain.set('content-type', type)
    // Each attempt has a nonce of its own: the server may have used up the one before.
    const headers = await signRequest({ method, url, headers: plain, body }, key, {
      created: Math.floor(now() + offset),
    })
    const late = AbortSignal.timeout(timeout)
    const both = signal === undefined ? late : AbortSignal.any([signal, late])
    try {
      const init = { method, headers, signal: both, redirect: 'manual' as const }
      const response = await fetch(url, body === undefined ? init : { ...init, body })
      const read = await readAll(response)
      return { status: response.status, headers: response.headers, body: read }
    } catch (cause) {
      checkAborted(signal)
      if (isSignetError(cause)) throw cause
      return { fault: cause }
    }
  }

  return {
    async request(method, url, body, type) {
      for (let attempt = 1;; attempt++) {
        const answer = await once(method, url, body, type)
        const serverTime = timeOf(answer.headers)
        if (answer.status !== undefined && answer.status >= 200 && answer.status < 300) {
          return { body: answer.body, serverTime }
        }
        const stale = answer.status === 401 && serverTime !== undefined &&
          Math.abs(serverTime - now() - offset) > CLOCK_DRIFT
        // A connection that broke may have been mended below us, by sending the same request twice.
        const twice = answer.status === 401 && problemCode(answer.body) === 'request_replayed'
        if (answer.status !== undefined && !PASSING.includes(answer.status) && !stale && !twice) {
          throw refusal(answer)
        }
        const wanted = stale ? 0 : retryAfter(answer.headers, serverTime ?? now())
        const wait = stale ? 0 : wanted ?? FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + random())
        if (attempt >= attempts || (wanted ?? 0) > maxWait) throw failure(answer, attempt, wanted)
        if (stale) offset = serverTime - now()
        await sleep(Math.min(wait, maxWait), signal)
        checkAborted(signal)
      }
    },
  }
}

type Attempt =
  | {
    readonly status: number
    readonly headers: Headers
    readonly body: Bytes
    readonly fault?: undefined
  }
  | {
    readonly fault: unknown
    readonly status?: undefined
    readonly headers?: undefined
    readonly body?: undefined
  }

/** The answer's body; one that is larger than any bundle is none of ours. */
async function readAll(response: Response): Promise<Bytes> {
  const all = new Gathering()
  const reader = response.body?.getReader()
  for (;;) {
    const { done, value } = await reader?.read() ?? { done: true as const, value: undefined }
    if (done) return all.bytes
    if (all.length + value.length > 2 * MAX_BUNDLE_LENGTH) {
      await reader?.cancel()
      throw new SignetError('sync_failed', 'the answer of the server does not end')
    }
    all.add(value)
  }
}

function timeOf(headers: Headers | undefined): number | undefined {
  const time = Date.parse(headers?.get('date') ?? '')
  return Number.isNaN(time) ? undefined : time / 1000
}

/** Milliseconds that the server wants to be left alone (RFC 9110 §10.2.3). */
function retryAfter(headers: Headers | undefined, time: number): number | undefined {
  const text = headers?.get('retry-after')
  if (text === null || text === undefined) return undefined
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  const until = Date.parse(text)
  if (Number.isNaN(until)) return undefined
  return Math.max(0, until - time * 1000)
}

function refusal({ status, body }: Attempt & { readonly status: number }): SignetError {
  const code = problemCode(body)
  const said = code === undefined ? '' : ` (${quoted(code)})`
  const remedies: Readonly<Record<number, string>> = {
    401: 'see that the server knows this device key, and that the clock is right',
    403: 'the server knows the device and does not allow it: it may have been revoked',
    404: 'see that the bundle and its server belong together',
    413: 'send less at once',
  }
  return new SignetError('sync_refused', `the server refuses: HTTP ${status}${said}`, {
    where: String(status),
    remedy: remedies[status],
  })
}

function failure(answer: Attempt, attempt: number, wanted: number | undefined): SignetError {
  const times = attempt === 1 ? 'once' : `${attempt} times`
  const what = answer.status === undefined ? 'does not answer' : `answers HTTP ${answer.status}`
  const remedy = wanted === undefined
    ? 'try again later; what is in the log stays there'
    : `try again in ${Math.ceil(wanted / 1000)} s`
  return new SignetError('sync_failed', `the server ${what}, asked ${times}`, {
    remedy,
    cause: answer.fault,
  })
}

/** The code of a problem (RFC 9457), if the body is one. */
function problemCode(body: Bytes): string | undefined {
  try {
    const value = parseJson(body, { maxBytes: 65536, maxDepth: 8 })
    return isObject(value) && typeof value.code === 'string' ? value.code : undefined
  } catch {
    return undefined
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    signal?.addEventListener('abort', done, { once: true })
  })
}
