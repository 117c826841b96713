/** Our server with the Grantex dialect, in a process of its own, and what is needed to call it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sqliteGatewayStore } from '../../backends/gateway_sqlite.ts'
import { type GrantexOptions, newGrantexKey, type WebhookOptions } from '../../src/gateway/mod.ts'
import { toPem } from '../../src/keys/mod.ts'
import { sameRuntime } from './_temp.ts'

/** How a server is to be. */
export interface ServerSettings {
  readonly options?: Partial<GrantexOptions>
  /** Of webhooks. Without it none is sent. */
  readonly webhooks?: Partial<WebhookOptions>
  readonly allow?: readonly string[]
  readonly deny?: readonly string[]
}

/** A server, and a developer's key for it. */
export interface GrantexServer {
  /** URL that clients get. */
  readonly base: string
  /** API key. */
  readonly apiKey: string
  /** Starts it (again). */
  start(): Promise<void>
  /** Ends it at once: SIGKILL. */
  kill(): Promise<void>
  /** A call; the answer's status, JSON and headers. */
  call(method: string, path: string, body?: unknown, key?: string): Promise<Called>
}

/** An answer. */
export interface Called {
  readonly status: number
  // deno-lint-ignore no-explicit-any -- whatever the server says
  readonly body: any
  readonly headers: Headers
}

const RSA = {
  ...{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048 },
  publicExponent: Uint8Array.of(1, 0, 1),
}

async function newPem(algorithm: typeof RSA | { readonly name: 'Ed25519' }): Promise<string> {
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as CryptoKeyPair
  return toPem(
    'PRIVATE KEY',
    new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey)),
  )
}

/** Runs a server below a folder while `body` does, and ends it. */
export async function withServer(
  folder: string,
  settings: ServerSettings,
  body: (server: GrantexServer) => unknown,
): Promise<void> {
  const database = join(folder, 'gateway.db')
  const store = sqliteGatewayStore(database)
  const apiKey = await newGrantexKey(store, 'dev_acceptance')
  store.close()
  const port = await freePort()
  const { options = {}, webhooks, allow = [], deny = [] } = settings
  const given = JSON.stringify({
    ...{ database, port, options, webhooks, allow, deny },
    ...{ rsa: await newPem(RSA), ed25519: await newPem({ name: 'Ed25519' }) },
  })
  const base = `http://127.0.0.1:${port}/grantex`
  let child: ChildProcess | undefined
  const server: GrantexServer = {
    base,
    apiKey,
    async start() {
      const script = fileURLToPath(new URL('./_grantex_child.ts', import.meta.url))
      const [program, args] = sameRuntime(script, given)
      const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      child = started
      await new Promise<void>((resolve, reject) => {
        started.stdout!.once('data', () => resolve())
        started.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
      })
    },
    async kill() {
      const running = child
      child = undefined
      if (running === undefined) return
      const ended = new Promise((resolve) => running.once('exit', resolve))
      running.kill('SIGKILL')
      await ended
    },
    async call(method, path, content, key = apiKey) {
      const response = await fetch(base + path, {
        method,
        headers: {
          ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
          ...(content === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: typeof content === 'string' || content === undefined
          ? content
          : JSON.stringify(content),
      })
      const text = await response.text()
      const isJson = response.headers.get('content-type') === 'application/json'
      return {
        status: response.status,
        body: isJson ? JSON.parse(text) : text,
        headers: response.headers,
      }
    },
  }
  await server.start()
  try {
    await body(server)
  } finally {
    await server.kill()
  }
}

/** Registers an agent; its id. */
export async function newAgent(server: GrantexServer, scopes: readonly string[]): Promise<string> {
  const { status, body } = await server.call('POST', '/v1/agents', { name: 'Pi', scopes })
  assert.equal(status, 201)
  return body.agentId
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' ? address!.port : 0))
    })
  })
}
