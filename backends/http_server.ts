/**
 * The bridge from HTTP/1.1 to a function of a request, over `node:http`, so that one server runs on Deno,
 * Node and Bun. It speaks plain HTTP: on a public address a reverse proxy that does TLS belongs before it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignetError } from '../src/errors.ts'

/** What answers requests; `client` is the address that one came from. Should it throw, the answer is 500. */
export type HttpHandler = (
  request: Request,
  info: { readonly client: string },
) => Promise<Response>

/** Options of {@link serveHttp}. */
export interface ServeOptions {
  /** Address to listen at. Default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** Port; 0 takes a free one. */
  readonly port: number
  /** Told what a handler threw, and what went wrong on a connection. Default: silent. */
  readonly onFault?: ((error: unknown) => void) | undefined
  /** How many milliseconds {@link HttpServer.close} waits for requests under way. Default 5000. */
  readonly grace?: number | undefined
}

/** A server that listens. */
export interface HttpServer {
  /** Where, such as `http://127.0.0.1:8083`. */
  readonly url: string
  /** Takes no more connections, and waits for requests under way. Idempotent. */
  close(): Promise<void>
}

const HEADERS_MS = 10_000
/** A request has to be here whole by then; answers may take as long as they like. */
const REQUEST_MS = 60_000
/** How long the rest of a request is taken in that was answered already. */
const LINGER_MS = 2000

/** Listens, and answers with the handler. Errors: `io_failed` (the address is taken or is none). */
export async function serveHttp(handler: HttpHandler, options: ServeOptions): Promise<HttpServer> {
  const { host = '127.0.0.1', port, onFault, grace = 5000 } = options
  const server = createServer(
    { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS },
    (incoming, outgoing) => {
      respond(handler, incoming, outgoing, onFault).catch((error) => {
        onFault?.(error)
        outgoing.destroy()
      })
    },
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new SignetError('io_failed', `cannot listen at ${host} port ${port}`, {
          where: `${host}:${port}`,
          cause,
        }),
      ))
    server.listen(port, host, resolve)
  })
  server.on('error', (error) => onFault?.(error))
  const { address, family, port: taken } = server.address() as AddressInfo
  let closed: Promise<void> | undefined
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`,
    close() {
      closed ??= new Promise((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), grace)
        server.close(() => {
          clearTimeout(timer)
          resolve()
        })
        server.closeIdleConnections()
      })
      return closed
    },
  }
}

async function respond(
  handler: HttpHandler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  onFault?: (error: unknown) => void,
): Promise<void> {
  const gone = new AbortController()
  outgoing.on('close', () => gone.abort())
  let response: Response
  let request: Request | undefined
  try {
    request = requestOf(incoming, gone.signal)
    response = request === undefined
      ? new Response('bad request\n', { status: 400 })
      : await handler(request, { client: incoming.socket.remoteAddress ?? '' })
  } catch (error) {
    onFault?.(error)
    response = new Response('internal error\n', { status: 500 })
  }
  const headers: Record<string, string | string[]> = Object.fromEntries(response.headers)
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  outgoing.writeHead(response.status, headers)
  if (response.body !== null && incoming.method !== 'HEAD') {
    await send(response.body, outgoing, gone.signal)
  }
  outgoing.end()
  if (!incoming.complete) await linger(incoming, request)
}

/**
 * Takes in and throws away, for a while, what is left of a request that was answered before its end. To close at once
 * would reset the connection, and the answer with it (RFC 9112 §9.6).
 */
async function linger(incoming: IncomingMessage, request: Request | undefined): Promise<void> {
  if (request?.body?.locked === false) await request.body.cancel().catch(() => {})
  const timer = setTimeout(() => incoming.destroy(), LINGER_MS)
  incoming.once('close', () => clearTimeout(timer))
  incoming.once('end', () => clearTimeout(timer))
  incoming.resume()
}

/** The body as it comes. To cancel it, unlike with `Readable.toWeb`, leaves the connection alone. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  const parts = incoming.iterator({ destroyOnReturn: false })
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await parts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await parts.return?.()
    },
  }, { highWaterMark: 0 })
}

/** The request, or undefined if its target is no path or its headers are none. */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  const { method = '', url = '', headers: named } = incoming
  // What a client says of the host goes into no decision: the path is what is asked for.
  if (!url.startsWith('/')) return undefined
  const authority = /^[A-Za-z0-9.:[\]-]+$/.test(named.host ?? '') ? named.host : 'localhost'
  try {
    const headers = new Headers()
    for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
      headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!)
    }
    const plain = method === 'GET' || method === 'HEAD'
    const body = plain ? undefined : bodyOf(incoming)
    return new Request(`http://${authority}${url}`, {
      method,
      headers,
      signal,
      ...(body === undefined ? {} : { body, duplex: 'half' }),
    } as RequestInit)
  } catch {
    return undefined
  }
}

/** Sends a body no faster than the client takes it, and gives it up when the client has gone. */
async function send(
  body: ReadableStream<Uint8Array>,
  outgoing: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const reader = body.getReader()
  const stop = () => void reader.cancel().catch(() => {})
  gone.addEventListener('abort', stop, { once: true })
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done || gone.aborted) return
      if (!outgoing.write(value)) await drained(outgoing, gone)
    }
  } finally {
    gone.removeEventListener('abort', stop)
  }
}

function drained(outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (gone.aborted) return resolve()
    const done = () => {
      outgoing.off('drain', done)
      gone.removeEventListener('abort', done)
      resolve()
    }
    outgoing.on('drain', done)
    gone.addEventListener('abort', done)
  })
}
