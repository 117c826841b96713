import assert from 'node:assert/strict'
import { createServer as createTls } from 'node:https'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { test } from 'node:test'
import { publicFetch } from '../../backends/public_fetch.ts'
import tls from '../vectors/hooks_example_tls.json' with { type: 'json' }

type Asked = { readonly host: string | undefined; readonly body: string }

async function listening<T extends Server>(
  server: T & { closeAllConnections(): void },
  work: (port: number) => Promise<void>,
): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await work((server.address() as AddressInfo).port)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

const asked = (url: string, more: RequestInit = {}) =>
  new Request(url, { method: 'POST', body: 'hello', redirect: 'manual', ...more })

test('publicFetch() connects to no address that is not public, and looks a name up once', async () => {
  let connections = 0
  const server = createServer((_, response) => response.end())
  server.on('connection', () => connections++)
  await listening(server, async (port) => {
    for (
      const found of [
        ...[['127.0.0.1'], ['10.0.0.1'], ['::1'], ['::ffff:127.0.0.1'], ['169.254.169.254']],
        ...[['93.184.216.34', '127.0.0.1'], ['127.0.0.1', '93.184.216.34'], ['nonsense']],
      ]
    ) {
      let lookups = 0
      const fetch = publicFetch({ lookup: () => Promise.resolve((lookups++, found)) })
      for (const scheme of ['http', 'https']) {
        await assert.rejects(fetch(asked(`${scheme}://hooks.example:${port}/`)), {
          code: 'usage_invalid',
        })
      }
      assert.equal(lookups, 2)
    }
    // What is said to be this machine must be, all of it.
    const mixed = publicFetch({
      insecureLoopback: true,
      lookup: () => Promise.resolve(['127.0.0.1', '10.0.0.1']),
    })
    await assert.rejects(mixed(asked(`http://hooks.example:${port}/`)), { code: 'usage_invalid' })
    const none = publicFetch({ lookup: () => Promise.resolve([]) })
    await assert.rejects(none(asked('https://hooks.example/')), { code: 'io_failed' })
    const literal = publicFetch()
    await assert.rejects(literal(asked(`https://127.0.0.1:${port}/`)), { code: 'usage_invalid' })
    await assert.rejects(literal(asked(`https://[::1]:${port}/`)), { code: 'usage_invalid' })
  })
  assert.equal(connections, 0)
})

test('publicFetch() speaks no plain HTTP to public places', async () => {
  const fetch = publicFetch({ lookup: () => Promise.resolve(['93.184.216.34']) })
  await assert.rejects(fetch(asked('http://hooks.example/')), { code: 'usage_invalid' })
})

test('publicFetch() demands the certificate of the name, whatever address it has', async () => {
  const seen: Asked[] = []
  const server = createTls({ key: tls.key, cert: tls.certificate }, (incoming, response) => {
    let body = ''
    incoming.setEncoding('utf8').on('data', (part) => body += part)
    incoming.on('end', () => {
      seen.push({ host: incoming.headers.host, body })
      response.writeHead(204, { 'x-note': 'a' }).end()
    })
  })
  await listening(server, async (port) => {
    const settings = { insecureLoopback: true, lookup: () => Promise.resolve(['127.0.0.1']) }
    const known = publicFetch({ ...settings, ca: tls.certificate })
    await assert.rejects(known(asked(`https://other.example:${port}/`)), { code: 'io_failed' })
    await assert.rejects(publicFetch(settings)(asked(`https://hooks.example:${port}/`)), {
      code: 'io_failed',
    })
    assert.deepEqual(seen, [])
    const answer = await known(asked(`https://hooks.example:${port}/`))
    assert.deepEqual([answer.status, answer.headers.get('x-note')], [204, 'a'])
    assert.deepEqual(seen, [{ host: `hooks.example:${port}`, body: 'hello' }])
    // Where one address is dead, the next is tried.
    const second = publicFetch({
      ...{ insecureLoopback: true, ca: tls.certificate },
      lookup: () => Promise.resolve(['127.99.99.99', '127.0.0.1']),
    })
    assert.equal((await second(asked(`https://hooks.example:${port}/`))).status, 204)
  })
})

test('publicFetch() follows no redirect, and heeds the signal at every stage', async () => {
  const server = createServer((incoming, response) => {
    if (incoming.url === '/slow') return
    response.writeHead(302, { location: 'http://10.0.0.1/' }).end()
  })
  await listening(server, async (port) => {
    const fetch = publicFetch({ insecureLoopback: true })
    const { status, headers } = await fetch(asked(`http://127.0.0.1:${port}/`))
    assert.deepEqual([status, headers.get('location')], [302, 'http://10.0.0.1/'])
    const started = Date.now()
    const late = () => ({ signal: AbortSignal.timeout(100) })
    await assert.rejects(fetch(asked(`http://127.0.0.1:${port}/slow`, late())))
    const stuck = publicFetch({ lookup: () => new Promise(() => {}) })
    await assert.rejects(stuck(asked('https://hooks.example/', late())))
    await assert.rejects(fetch(asked(`http://127.0.0.1:${port}/`, { signal: AbortSignal.abort() })))
    assert.ok(Date.now() - started < 3000)
  })
})

test('publicFetch() comes back whatever a receiver makes of HTTP', async () => {
  const fetch = publicFetch({ insecureLoopback: true })
  const answers = [
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    ...['HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 999 Odd\r\n\r\n', 'garbage\r\n\r\n', ''],
    'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}`,
  ]
  for (const answer of answers) {
    for (const ends of [true, false]) {
      const server = createTcp((socket) => {
        socket.on('error', () => {}).once('data', () => {
          if (ends) socket.end(answer)
          else socket.write(answer)
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const signal = AbortSignal.timeout(300)
      let timer: ReturnType<typeof setTimeout> | undefined
      const late = new Promise((resolve) => timer = setTimeout(resolve, 2000, 'no end'))
      const asking = fetch(asked(`http://127.0.0.1:${port}/`, { signal })).then(
        ({ status }) => status,
        () => 'refused',
      )
      assert.notEqual(await Promise.race([asking, late]), 'no end', JSON.stringify([answer, ends]))
      clearTimeout(timer)
      server.close()
    }
  }
})
