/**
 * An HTTP server for a function from `Request` to `Response`: Deno's own under Deno, `node:http` under Node and Bun.
 * Slow and silent clients are let go; a stop lets answers under way end first.
 *
 * @module
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import process from 'node:process'
import { Readable } from 'node:stream'
import { SignetError } from '../src/errors.ts'

/** Answers a request; `client` is the address that it came from. */
export type Handler = (request: Request, info: { readonly client: string }) => Promise<Response>

/** Where to listen. */
export interface Listen {
  /** Address or name. */
  readonly host: string
  /** Port; 0 takes a free one. */
  readonly port: number
}

/** A server that runs. */
export interface Running {
  /** The port that it listens on. */
  readonly port: number
  /** Resolves when the process is told to end (SIGTERM). */
  readonly terminated: Promise<void>
  /** Takes no more requests, and resolves when those under way are answered, or after some seconds. */
  stop(): Promise<void>
}

/** How long a stop waits for answers under way, milliseconds. */
const PATIENCE = 5000

/** Listens. Errors: `io_failed` if it cannot. */
export async function serve(handler: Handler, listen: Listen): Promise<Running> {
  let running: Omit<Running, 'terminated'>
  const place = { ...listen, host: listen.host.replace(/^\[|\]$/g, '') }
  try {
    running = 'Deno' in globalThis ? serveDeno(handler, place) : await serveNode(handler, place)
  } catch (cause) {
    throw new SignetError('io_failed', `cannot listen on ${listen.host}:${listen.port}`, {
      remedy: 'choose another --listen',
      cause,
    })
  }
  const terminated = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()))
  return { ...running, terminated }
}

function serveDeno(handler: Handler, { host, port }: Listen): Omit<Running, 'terminated'> {
  const stop = new AbortController()
  const server = Deno.serve(
    { hostname: host, port, signal: stop.signal, onListen: () => {} },
    (request, { remoteAddr }) =>
      handler(request, { client: 'hostname' in remoteAddr ? remoteAddr.hostname : '' }),
  )
  return {
    port: server.addr.port,
    async stop() {
      const timer = setTimeout(() => stop.abort(), PATIENCE)
      await server.shutdown()
      clearTimeout(timer)
    },
  }
}

async function serveNode(
  handler: Handler,
  { host, port }: Listen,
): Promise<Omit<Running, 'terminated'>> {
  const server = createServer({ requestTimeout: 60_000, headersTimeout: 10_000 }, (from, to) => {
    bridge(handler, from, to).catch(() => to.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), PATIENCE)
        server.close(() => {
          clearTimeout(timer)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}

async function bridge(
  handler: Handler,
  from: IncomingMessage,
  to: ServerResponse,
): Promise<void> {
  const request = requestOf(from)
  if (request === undefined) {
    to.writeHead(400).end()
    return
  }
  const response = await handler(request, { client: from.socket.remoteAddress ?? '' })
  to.statusCode = response.status
  to.setHeaders(response.headers)
  // Fetch joins what may stand several times; cookies must not be joined.
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0) to.setHeader('set-cookie', cookies)
  if (response.body !== null && from.method !== 'HEAD') {
    for await (const part of response.body) {
      if (!to.write(part)) await drained(to)
    }
  } else await response.body?.cancel()
  to.end()
  // What was not read of a body that is too large would be taken for the next request.
  if (!from.complete) from.destroy()
}

/** undefined for what no web request can be: a method or a target of another kind. */
function requestOf(from: IncomingMessage): Request | undefined {
  const { method = 'GET', url = '' } = from
  const headers = new Headers()
  for (let i = 0; i < from.rawHeaders.length; i += 2) {
    headers.append(from.rawHeaders[i]!, from.rawHeaders[i + 1]!)
  }
  const hasBody = method !== 'GET' && method !== 'HEAD'
  try {
    // The gateway goes by its own name, so the host that a client claims is of no account.
    return new Request(new URL(url, 'http://gateway.invalid'), {
      method,
      headers,
      ...hasBody ? { body: Readable.toWeb(from) as ReadableStream, duplex: 'half' } : {},
    } as RequestInit)
  } catch {
    return undefined
  }
}

function drained(to: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    to.once('drain', resolve)
    to.once('close', () => reject(new Error('the client is gone')))
  })
}
