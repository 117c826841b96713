/**
 * A `fetch` that goes to the public internet only, whatever a name leads to: the addresses of a name are looked up once,
 * each is looked at, and the connection goes to one of those and no other. So a name that leads inside, or does so only
 * when asked a second time, leads nowhere. No redirect is followed and no proxy asked.
 */
import { lookup as resolve } from 'node:dns/promises'
import { request as requestHttp } from 'node:http'
import type { RequestOptions } from 'node:https'
import { request as requestHttps } from 'node:https'
import { SignetError } from '../src/errors.ts'
import { type Fetch, isLoopbackAddress, isPublicAddress } from '../src/gateway/mod.ts'

/** Options of {@link publicFetch}. */
export interface PublicFetchOptions {
  /** This machine may be called too, and in the clear. For tests only. */
  readonly insecureLoopback?: boolean | undefined
  /** All addresses of a name. Default: as the system finds them. */
  readonly lookup?: ((host: string) => Promise<readonly string[]>) | undefined
  /** Certificates of roots to trust instead of the runtime's, PEM. */
  readonly ca?: string | undefined
}

const MAX_ADDRESSES = 4

/**
 * Makes the function. It gives the status and header fields of an answer, and none of its body. Errors: `usage_invalid`
 * (an address that is not public, a scheme other than `https:`), `io_failed`.
 */
export function publicFetch(options: PublicFetchOptions = {}): Fetch {
  const { insecureLoopback = false, lookup = addresses } = options
  return async (request) => {
    const url = new URL(request.url)
    const { signal } = request
    signal.throwIfAborted()
    const host = url.hostname.replace(/^\[|\]$/g, '')
    // The body first, so that nothing waits once the connection is there.
    const body = new Uint8Array(await request.arrayBuffer())
    const found = await aborted(signal, lookup(host))
    const isLocal = insecureLoopback && found.length > 0 && found.every(isLoopbackAddress)
    if (!isLocal && !found.every(isPublicAddress)) {
      throw new SignetError('usage_invalid', 'the host has an address that is not public')
    }
    if (url.protocol !== 'https:' && !(isLocal && url.protocol === 'http:')) {
      throw new SignetError('usage_invalid', 'only https: is called')
    }
    const headers = Object.fromEntries(request.headers)
    const call = (address: string) =>
      send(url.protocol === 'http:' ? requestHttp : requestHttps, {
        method: request.method,
        hostname: address,
        port: url.port === '' ? undefined : Number(url.port),
        path: url.pathname + url.search,
        // The certificate must be that of the name, wherever the name leads to. An address has no server name (RFC 6066 §3).
        ...(host === address ? {} : { servername: host }),
        headers: { ...headers, host: url.host, 'content-length': body.length },
        agent: false, // a connection that is kept open would be one that nobody has looked at
        signal,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      }, body)
    const tried = found.slice(0, MAX_ADDRESSES)
    for (const address of tried) {
      try {
        return await aborted(signal, call(address))
      } catch (error) {
        // One of several may be out of reach from here.
        if (signal.aborted || address === tried.at(-1)) throw error
      }
    }
    throw new SignetError('io_failed', 'the host has no address')
  }
}

async function addresses(host: string): Promise<readonly string[]> {
  try {
    return (await resolve(host, { all: true })).map(({ address }) => address)
  } catch (cause) {
    throw new SignetError('io_failed', 'the host has no address', { cause })
  }
}

function send(
  request: typeof requestHttps,
  options: RequestOptions,
  body: Uint8Array,
): Promise<Response> {
  return new Promise((done, reject) => {
    const fail = (cause: unknown) =>
      reject(new SignetError('io_failed', 'the host did not answer', { cause }))
    const sent = request(options, (answer) => {
      const { statusCode = 0 } = answer
      const headers = new Headers()
      for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
        try {
          headers.append(answer.rawHeaders[i]!, answer.rawHeaders[i + 1]!)
        } catch { /* no field that anybody could read */ }
      }
      // The body may have no end.
      answer.on('error', () => {})
      answer.destroy()
      if (statusCode < 200 || statusCode > 599) fail(undefined)
      else done(new Response(null, { status: statusCode, headers }))
    })
    sent.on('error', fail)
    // An answer that would take the connection over (101) is neither an answer nor an error.
    sent.on('close', () => fail(undefined))
    sent.end(body)
  })
}

/** What comes of the work, unless the signal comes first. */
function aborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((done, reject) => {
    const stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    work.then(done, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
