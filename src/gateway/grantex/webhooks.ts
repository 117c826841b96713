/**
 * Webhooks of the dialect: their addresses, and what is signed and sent. The secret of an address is derived from a key
 * that only the server's own settings hold, so that nothing in the store signs anything.
 */
import * as v from 'valibot'
import { owned, toHex, utf8 } from '../../bytes.ts'
import { isSignetError, SignetError } from '../../errors.ts'
import type { JsonObject } from '../../json.ts'
import { type Delivery, delivery, type Fetch } from '../delivery.ts'
import { newId } from '../ids.ts'
import { forgetAll, type Message, messagesOf } from '../outbox.ts'
import type { DocumentRecord } from '../records.ts'
import { everyRecord, type GatewayStore, retrying, type Stored } from '../store.ts'
import { checkTarget } from '../target.ts'
import { type Answer, badRequest, bodyOf, type Call, iso, notFound, Refusal } from './call.ts'

/** Options of {@link grantexWebhooks}. */
export interface WebhookOptions {
  /** That of the gateway. */
  readonly store: GatewayStore
  /** 32 random bytes that are kept apart from the store: the secrets of all addresses come from it. */
  readonly key: Uint8Array
  /**
   * Sends. Names were looked at, and no more: where private places can be reached, give one that looks at the addresses
   * they lead to, `publicFetch` of `gateway-fetch`. The platform's `fetch` is for where there are none.
   */
  readonly fetch: Fetch
  /** Also send to this machine, and in the clear. For tests only. */
  readonly insecureLoopback?: boolean | undefined
  /** The clock, seconds since 1970. Default: the system's. */
  readonly now?: (() => number) | undefined
  /** Attempts before a message is given up. Default 8: for about an hour. */
  readonly attempts?: number | undefined
  /** Seconds until the second attempt; each further one waits twice as long. Default 30. */
  readonly retryAfter?: number | undefined
  /** Seconds until an answer must be there. Default 10. */
  readonly timeout?: number | undefined
  /** Told what went wrong with the store. */
  readonly onFault?: ((error: unknown) => void) | undefined
}

/** Webhooks: give it to `grantexRoutes`, and let it run. */
export interface GrantexWebhooks extends Delivery {
  /** Attempts before a message is given up. */
  readonly attempts: number
  /** Name of the key, which an address is registered under. */
  keyId(): Promise<string>
  /** The secret of an address. */
  secretOf(id: string): Promise<string>
  /** The URL of an address. Errors: `usage_invalid`. */
  check(url: string): URL
}

/** What is told of. The first three are in Grantex's documents, the others in its events. */
export const EVENTS = [
  'grant.created',
  'grant.revoked',
  'token.issued',
  'consent_bundle.created',
  'consent_bundle.synced',
  'consent_bundle.revoked',
] as const

/** Kind of something that happened. */
export type EventType = typeof EVENTS[number]

/** Each thing that happens is committed with a message for each of them. */
const MAX_WEBHOOKS = 10
const MAX_SHOWN = 10_000

/** A webhook, as it is kept. */
export interface Webhook {
  readonly id: string
  readonly tenant: string
  readonly url: string
  readonly events: readonly string[]
  /** Of which key its secret is. */
  readonly keyId: string
  readonly createdAt: number
}

const idOf = (id: string) => `grantex:webhook:${id}`
const ALL = 'grantex:webhooks'
const keyOf = (tenant: string) => `grantex:webhooks:${tenant}`

/** Webhooks of a gateway. Nothing is sent before `run` or `deliverDue`. Errors: `usage_invalid`. */
export function grantexWebhooks(options: WebhookOptions): GrantexWebhooks {
  const { store, insecureLoopback, attempts = 8, retryAfter = 30, timeout = 10 } = options
  const { fetch, onFault, now = () => Math.floor(Date.now() / 1000) } = options
  if (options.key.length !== 32) throw new SignetError('usage_invalid', 'the key has not 32 bytes')
  if (!(attempts >= 1 && retryAfter > 0 && timeout > 0)) {
    throw new SignetError('usage_invalid', 'attempts and times of webhooks are above 0')
  }
  const key = hmacKey(options.key)
  const check = (url: string) => checkTarget(url, { insecureLoopback })
  const secretOf = async (id: string) => await hmac(await key, `signet grantex webhook ${id}`)
  const keyId = async () => (await hmac(await key, 'signet grantex webhook key')).slice(0, 16)
  const prepare = async ({ hook, url, body }: Message, at: number) => {
    const found = await store.records.get('document', idOf(hook))
    if (found === undefined) return undefined
    if (found.record.value.keyId !== await keyId()) {
      throw new SignetError('usage_invalid', 'the key of the server has changed: register it anew')
    }
    check(url) // what was allowed when it was registered need not be now
    return await signedRequest(url, body, await secretOf(hook), at)
  }
  const hooks = async () => {
    const found: { hook: string; owner: string }[] = []
    for await (const { record: { value } } of everyRecord(store.records, 'document', ALL)) {
      found.push({ hook: String(value.id), owner: String(value.tenant) })
    }
    return found
  }
  return {
    attempts,
    keyId,
    secretOf,
    check,
    ...delivery({
      ...{ store, prepare, hooks, fetch, now, attempts, retryAfter, timeout, onFault },
    }),
  }
}

/**
 * One delivery. `x-grantex-signature-v2` is over `<seconds>.<body>`, made anew for each attempt, so that receivers can
 * refuse what is old; `x-grantex-signature`, over the body alone, is there for receivers that know no other.
 */
async function signedRequest(
  url: string,
  body: string,
  secret: string,
  now: number,
): Promise<Request> {
  const key = await hmacKey(utf8(secret))
  return new Request(url, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Signet-Webhooks/1',
      'x-grantex-signature': `sha256=${await hmac(key, body)}`,
      'x-grantex-timestamp': String(now),
      'x-grantex-signature-v2': `sha256=${await hmac(key, `${now}.${body}`)}`,
    },
    body,
  })
}

async function hmacKey(raw: Uint8Array): Promise<CryptoKey> {
  return await crypto.subtle.importKey(
    'raw',
    owned(raw),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    [
      'sign',
    ],
  )
}

async function hmac(key: CryptoKey, text: string): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8(text))))
}

const NEW = v.object({
  url: v.pipe(v.string(), v.minLength(1), v.maxLength(2048)),
  events: v.pipe(v.array(v.picklist(EVENTS)), v.minLength(1), v.maxLength(EVENTS.length)),
})

/** `POST /v1/webhooks`. The secret is told this once. */
export async function createWebhook(call: Call): Promise<Answer> {
  const { dialect: { world: { store, now } }, tenant } = call
  const webhooks = sending(call)
  const { url, events } = bodyOf(call, NEW)
  try {
    webhooks.check(url)
  } catch (error) {
    if (isSignetError(error, 'usage_invalid')) throw badRequest(error.message)
    throw error
  }
  const id = newId('wh_', now() * 1000)
  const keyId = await webhooks.keyId()
  const value: Webhook = { id, tenant, url, events: [...new Set(events)], keyId, createdAt: now() }
  const record = { id: idOf(id), keys: [ALL, keyOf(tenant)], value: { ...value } }
  await retrying(async () => {
    // Before the list is: of two at once one looks again.
    const seat = await store.records.get('document', `grantex:webhookseat:${tenant}`)
    const held = await store.records.list('document', { key: keyOf(tenant), limit: MAX_WEBHOOKS })
    if (held.length >= MAX_WEBHOOKS) {
      throw new Refusal(402, 'PLAN_LIMIT_EXCEEDED', `${MAX_WEBHOOKS} webhooks are the most`)
    }
    const taken = { id: `grantex:webhookseat:${tenant}`, keys: [], value: { last: id } }
    await store.commit([
      { put: 'document', record, version: 0 },
      { put: 'document', record: taken, version: seat?.version ?? 0 },
    ])
  })
  return { status: 201, body: { ...view(value), secret: await webhooks.secretOf(id) } }
}

/** `GET /v1/webhooks`. */
export async function listWebhooks(call: Call): Promise<Answer> {
  const webhooks = await webhooksOf(call.dialect.world.store, call.tenant)
  return { status: 200, body: { webhooks: webhooks.toReversed().map(view) } }
}

/** The webhooks of a developer, the oldest first. */
export async function webhooksOf(store: GatewayStore, tenant: string): Promise<Webhook[]> {
  const found = await store.records.list('document', { key: keyOf(tenant), limit: MAX_WEBHOOKS })
  return found.map(({ record }) => record.value as unknown as Webhook)
}

/** `DELETE /v1/webhooks/:id`. What waits for it is not sent. */
export async function deleteWebhook(call: Call): Promise<Answer> {
  const { store } = call.dialect.world
  const id = await retrying(async () => {
    const { record, version } = await webhookOf(call)
    await store.commit([{ remove: 'document', id: record.id, version }])
    return String(record.value.id)
  })
  await forgetAll(store, id)
  return { status: 204 }
}

/** `GET /v1/webhooks/:id/deliveries`: what became of messages, the newest first. */
export async function listDeliveries(call: Call): Promise<Answer> {
  const { query, dialect: { webhooks, world: { store } } } = call
  const { record: { value: { id } } } = await webhookOf(call)
  const status = query.get('status')
  if (status !== null && !['pending', 'delivered', 'failed'].includes(status)) {
    throw badRequest('status is pending, delivered or failed')
  }
  const [page, pageSize] = [number(call, 'page', 1), Math.min(100, number(call, 'pageSize', 20))]
  // Without their bodies: whatever there is of them, it is not held at once.
  const found: JsonObject[] = []
  for await (const { record } of everyRecord(store.records, 'document', messagesOf(String(id)))) {
    const message = record.value as unknown as Message
    if (status !== null && message.status !== status) continue
    found.push({
      ...deliveryView(message),
      maxAttempts: webhooks?.attempts ?? message.attempts,
    })
    if (found.length > MAX_SHOWN) found.shift()
  }
  const deliveries = found.toReversed().slice((page - 1) * pageSize, page * pageSize)
  return { status: 200, body: { deliveries, total: found.length, page, pageSize } }
}

function number({ query }: Call, name: string, otherwise: number): number {
  const text = query.get(name) ?? String(otherwise)
  if (!/^[1-9][0-9]{0,5}$/.test(text)) throw badRequest(`${name} is a positive number`)
  return Number(text)
}

async function webhookOf(call: Call): Promise<Stored<DocumentRecord>> {
  const found = await call.dialect.world.store.records.get('document', idOf(call.params[0]!))
  if (found?.record.value.tenant !== call.tenant) throw notFound('Webhook')
  return found
}

/** A webhook that nothing would ever be sent to is not taken. */
function sending({ dialect }: Call): GrantexWebhooks {
  if (dialect.webhooks !== undefined) return dialect.webhooks
  throw new Refusal(501, 'NOT_IMPLEMENTED', 'this server sends no webhooks')
}

function view({ id, url, events, createdAt }: Webhook): JsonObject {
  return { id, url, events, createdAt: iso(createdAt) }
}

function deliveryView(message: Message): JsonObject {
  const { id, hook, event, type, status, attempts, url, lastError, createdAt, doneAt } = message
  return {
    ...{ id, webhookId: hook, eventId: event, eventType: type, status, attempts, url },
    lastError: lastError ?? null,
    createdAt: iso(createdAt),
    deliveredAt: status === 'delivered' && doneAt !== undefined ? iso(doneAt) : null,
  }
}
