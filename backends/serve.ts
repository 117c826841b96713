/** An HTTP server by what the runtime does best: Deno's own under Deno, `node:http` under Node and Bun. */
import { SignetError } from '../src/errors.ts'
import { type HttpHandler, type HttpServer, serveHttp, type ServeOptions } from './http_server.ts'

/** Listens, and answers with the handler. Errors: `io_failed` (the address is taken or is none). */
export async function serve(handler: HttpHandler, options: ServeOptions): Promise<HttpServer> {
  return 'Deno' in globalThis ? serveDeno(handler, options) : await serveHttp(handler, options)
}

function serveDeno(handler: HttpHandler, options: ServeOptions): HttpServer {
  const { host = '127.0.0.1', port, onFault, grace = 5000 } = options
  const stop = new AbortController()
  const fail = (error: unknown) => {
    onFault?.(error)
    return new Response('internal error\n', { status: 500 })
  }
  try {
    const server = Deno.serve(
      { hostname: host, port, signal: stop.signal, onListen: () => {}, onError: fail },
      (request, { remoteAddr }) =>
        handler(request, { client: 'hostname' in remoteAddr ? remoteAddr.hostname : '' }),
    )
    const { hostname, port: taken } = server.addr
    let closed: Promise<void> | undefined
    return {
      url: `http://${hostname.includes(':') ? `[${hostname}]` : hostname}:${taken}`,
      close() {
        const timer = setTimeout(() => stop.abort(), grace)
        return closed ??= server.shutdown().finally(() => clearTimeout(timer))
      },
    }
  } catch (cause) {
    throw new SignetError('io_failed', `cannot listen at ${host} port ${port}`, {
      where: `${host}:${port}`,
      cause,
    })
  }
}
