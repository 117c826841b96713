import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { type HttpHandler, type HttpServer, serveHttp } from '../../backends/http_server.ts'

async function serving(
  handler: HttpHandler,
  work: (server: HttpServer, faults: unknown[]) => unknown,
) {
  const faults: unknown[] = []
  const server = await serveHttp(handler, { port: 0, grace: 300, onFault: (e) => faults.push(e) })
  try {
    await work(server, faults)
  } finally {
    await server.close()
  }
}

/** Sends bytes as they are; gives all that comes back. */
function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(Number(port), hostname, () => socket.write(text))
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => got += part)
    socket.on('close', () => resolve(got))
    socket.on('error', reject)
  })
}

test('serveHttp() passes method, path, headers and body on, and the whole answer back', () =>
  serving(async (request) => {
    const { pathname, search } = new URL(request.url)
    const body = new Uint8Array(await request.arrayBuffer())
    const headers = new Headers({ 'content-type': 'application/json', 'x-one': 'a' })
    headers.append('set-cookie', 'a=1')
    headers.append('set-cookie', 'b=2')
    const told = [request.method, pathname, search, request.headers.get('x-asked'), body.length]
    return new Response(JSON.stringify(told), { status: 201, headers })
  }, async ({ url }) => {
    const large = new Uint8Array(300_000).fill(7)
    const headers = { 'x-asked': 'yes' }
    const answer = await fetch(`${url}/a/b?c=d`, { method: 'POST', headers, body: large })
    assert.equal(answer.status, 201)
    assert.deepEqual(await answer.json(), ['POST', '/a/b', '?c=d', 'yes', 300_000])
    assert.deepEqual(answer.headers.getSetCookie(), ['a=1', 'b=2'])
    const head = await fetch(`${url}/x`, { method: 'HEAD' })
    assert.deepEqual([head.status, await head.text()], [201, ''])
  }))

test('serveHttp() answers what is no request to us with 400, and a handler that throws with 500', () =>
  serving((request) => {
    if (request.url.endsWith('/throw')) throw new Error('secret')
    return Promise.resolve(new Response(new URL(request.url).pathname))
  }, async ({ url }, faults) => {
    const end = '\r\nHost: a\r\nConnection: close\r\n\r\n'
    assert.match(await raw(url, `GET http://evil.example/ HTTP/1.1${end}`), /^HTTP\/1\.1 400 /)
    assert.match(await raw(url, `OPTIONS * HTTP/1.1${end}`), /^HTTP\/1\.1 400 /)
    assert.match(await raw(url, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 |^$/)
    assert.match(await raw(url, `GET //evil.example/x HTTP/1.1${end}`), /\/\/evil\.example\/x/)
    const odd = 'GET /a HTTP/1.1\r\nHost: a/b@c\r\nConnection: close\r\n\r\n'
    assert.match(await raw(url, odd), /\/a/)
    const answer = await fetch(`${url}/throw`)
    assert.deepEqual([answer.status, await answer.text()], [500, 'internal error\n'])
    assert.match(String(faults[0]), /secret/)
  }))

test('serveHttp() gives an endless answer up when the client goes, and close() does not wait for it', async () => {
  const stopped = Promise.withResolvers<void>()
  await serving(() => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
      cancel: () => stopped.resolve(),
    })
    return Promise.resolve(new Response(body))
  }, async ({ url }) => {
    const answer = await fetch(url)
    const reader = answer.body!.getReader()
    assert.ok((await reader.read()).value!.length > 0)
    await reader.cancel()
    await stopped.promise
    await fetch(url) // left open
  })
})

test('serveHttp() refuses an address that is taken', () =>
  serving(() => Promise.resolve(new Response()), async ({ url }) => {
    const port = Number(new URL(url).port)
    await assert.rejects(serveHttp(() => Promise.resolve(new Response()), { port }), {
      code: 'io_failed',
    })
  }))
