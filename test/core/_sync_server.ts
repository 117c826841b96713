/** A server that takes logs in, in memory, and an unreliable way to it. */
import { ED25519_NOTE, noteVerifier, verifyRequest } from '../../src/envelope/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  acceptSync,
  type AcceptSyncOptions,
  type Fetch,
  formatSyncAnswer,
  MAX_SYNC_BYTES,
  type MemorySyncStore,
  memorySyncStore,
  type SyncAnswer,
} from '../../src/grants/mod.ts'
import type { Bytes } from '../../src/bytes.ts'
import type { PublicKey } from '../../src/keys/mod.ts'

/** A request as the server sees it. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  readonly body: Bytes
}

/** What is in the hands of a test. */
export interface SyncServer {
  readonly fetch: Fetch
  /** Takes everything, until another one is put here. */
  store: MemorySyncStore
  /** Requests so far. */
  readonly seen: Seen[]
  /** Seconds since 1970. */
  now: number
  status: SyncAnswer['status']
  bundle: string | undefined
  /** What a refresh or a pull gives. */
  refreshed: (() => Promise<unknown>) | undefined
  /** Asked before a request gets to the server; a response or an error takes its place. */
  before:
    | ((request: Seen, n: number) => Response | undefined | Promise<Response | undefined>)
    | undefined
  /** Asked after the server has done its work; an error loses the answer. */
  after: ((response: Response, n: number) => Response | Promise<Response>) | undefined
  /** More of how messages are judged. */
  options: Partial<AcceptSyncOptions>
}

/** A server that knows one device. */
export function syncServer(device: PublicKey, origin: string, now: number): SyncServer {
  const nonces = new Set<string>()
  const serve = async (request: Seen): Promise<Response> => {
    const headers = { date: new Date(server.now * 1000).toUTCString() }
    try {
      await verifyRequest(request, {
        now: server.now,
        keyOf: (id) => (id === device.id ? device : undefined),
        nonces: {
          insert: (id) => Promise.resolve(!nonces.has(id) && nonces.add(id) !== undefined),
        },
      })
      if (!request.url.endsWith('/sync')) {
        return Response.json(await server.refreshed?.() ?? {}, { headers })
      }
      if (request.body.length > MAX_SYNC_BYTES) return new Response('', { status: 413 })
      const outcome = await acceptSync(server.store, request.body, {
        origin,
        verifiers: [await noteVerifier(origin, device, ED25519_NOTE)],
        now: server.now,
        ...server.options,
      })
      const text = formatSyncAnswer({ ...outcome, status: server.status, bundle: server.bundle })
      return new Response(text, { headers })
    } catch (error) {
      if (!isSignetError(error)) throw error
      const status = ['signature', 'trust'].includes(error.kind) ? 401 : 400
      return Response.json({ code: error.code }, { status, headers })
    }
  }
  const server: SyncServer = {
    store: memorySyncStore(),
    seen: [],
    now,
    status: { state: 'active' },
    bundle: undefined,
    refreshed: undefined,
    before: undefined,
    after: undefined,
    options: {},
    async fetch(url, { method, headers, body = new Uint8Array(), signal }) {
      signal.throwIfAborted()
      const request = { method, url, headers, body }
      server.seen.push(request)
      const n = server.seen.length
      const response = await server.before?.(request, n) ?? await serve(request)
      return await server.after?.(response, n) ?? response
    },
  }
  return server
}
