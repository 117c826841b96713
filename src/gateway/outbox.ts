/**
 * The outbox: messages that are sent because of something that happened. They are committed in the same step as what
 * happened, so none is lost; each is sent until its receiver took it, so it may come twice, or it is given up.
 *
 * A message is one document. While it waits, another stands in the queue, whose id begins with the time when it is due:
 * the list of the queue is in that order.
 */
import type { DocumentRecord } from './records.ts'
import { newId } from './ids.ts'
import { type Change, type GatewayStore, retrying, type Stored } from './store.ts'

/** A message. Times are seconds since 1970. */
export interface Message {
  readonly [name: string]: string | number | undefined
  /** `whd_…` */
  readonly id: string
  /** Name of the address that it goes to. */
  readonly hook: string
  /** Whose address that is. */
  readonly owner: string
  /** Name of what happened. */
  readonly event: string
  /** Kind of what happened. */
  readonly type: string
  /** What is sent; empty once that is over. */
  readonly body: string
  /** Where it goes. */
  readonly url: string
  /** How far it got. */
  readonly status: 'pending' | 'delivered' | 'failed'
  /** Attempts that were begun. */
  readonly attempts: number
  /** When it is due next. */
  readonly dueAt: number
  /** When what happened did. */
  readonly createdAt: number
  /** When it was taken, or given up. */
  readonly doneAt?: number | undefined
  /** What came of the last attempt, in words of ours. */
  readonly lastError?: string | undefined
}

/** A message and its version. */
export interface StoredMessage {
  readonly message: Message
  readonly version: number
}

/** A place in the queue. */
export interface Due {
  /** Its id in the store. */
  readonly id: string
  readonly version: number
  readonly at: number
  readonly message: string
  readonly hook: string
  readonly owner: string
}

const QUEUE = 'outbox:due'
/** How long is told what became of a message. */
const KEPT = 7 * 86_400
/** Old messages that go with each new end. */
const SWEEP = 5
/** Messages that are removed in one commit: as many as every store takes. */
const FORGOTTEN = 40

const queueOf = (hook: string) => `${QUEUE}:${hook}`
const idOf = (message: string) => `outbox:message:${message}`
const dueId = ({ dueAt, id }: Message) => `${QUEUE}:${String(dueAt).padStart(12, '0')}:${id}`

/** The key by which all messages to a hook are listed. */
export function messagesOf(hook: string): string {
  return `outbox:hook:${hook}`
}

/** What puts a message into the outbox. */
export function enqueue(
  given: Pick<Message, 'hook' | 'owner' | 'event' | 'type' | 'body' | 'url'>,
  now: number,
): Change[] {
  const message: Message = {
    ...given,
    id: newId('whd_', now * 1000),
    ...{ status: 'pending', attempts: 0, dueAt: now, createdAt: now },
  }
  return [put(message, 0), queue(message)]
}

/** The next places of the queue that are due, those to one hook or to all. */
export async function dueNow(
  store: GatewayStore,
  now: number,
  limit: number,
  hook?: string,
): Promise<Due[]> {
  const key = hook === undefined ? QUEUE : queueOf(hook)
  const found = await store.records.list('document', { key, limit })
  return found.map(dueOf).filter(({ at }) => at <= now)
}

/**
 * Takes a message out of the queue for an attempt, until `dueAt`: if this process ends before it tells what came of the
 * attempt, the message is due again then. Undefined: it was taken already. Errors: `store_conflict`: by another, now.
 */
export async function claim(
  store: GatewayStore,
  due: Due,
  dueAt: number,
): Promise<StoredMessage | undefined> {
  const found = await messageOf(store, due.message)
  const off: Change = { remove: 'document', id: due.id, version: due.version }
  if (found?.message.status !== 'pending' || dueId(found.message) !== due.id) {
    await store.commit([off])
    return undefined
  }
  const message = { ...found.message, attempts: found.message.attempts + 1, dueAt }
  await store.commit([off, put(message, found.version), queue(message)])
  return { message, version: found.version + 1 }
}

/** What came of an attempt: taken, to be tried again, or given up. */
export type Outcome =
  | { readonly status: 'delivered' }
  | { readonly status: 'pending'; readonly dueAt: number; readonly lastError: string }
  | { readonly status: 'failed'; readonly lastError: string }

/** Writes down what came of an attempt. Errors: `store_conflict`: it took so long that another began one. */
export async function settle(
  store: GatewayStore,
  { message, version }: StoredMessage,
  outcome: Outcome,
  now: number,
): Promise<void> {
  const place = (await store.records.get('document', dueId(message)))?.version ?? 0
  const off: Change = { remove: 'document', id: dueId(message), version: place }
  const isOver = outcome.status !== 'pending'
  const after: Message = { ...message, ...outcome, ...(isOver ? { doneAt: now, body: '' } : {}) }
  const on = isOver ? [] : [queue(after)]
  // The same time again is the same place.
  const moved = on.length > 0 && dueId(after) === dueId(message) ? [] : [off, ...on]
  await store.commit([...moved, put(after, version)])
}

/** Removes messages, wherever they are; a few at once are one commit. Errors: `store_conflict`. */
export async function forget(store: GatewayStore, ids: readonly string[]): Promise<void> {
  const changes: Change[] = []
  for (const id of ids) {
    const found = await messageOf(store, id)
    if (found === undefined) continue
    changes.push({ remove: 'document', id: idOf(id), version: found.version })
    const place = await store.records.get('document', dueId(found.message))
    if (place === undefined) continue
    changes.push({ remove: 'document', id: place.record.id, version: place.version })
  }
  if (changes.length > 0) await store.commit(changes)
}

/** Removes all messages to a hook. */
export async function forgetAll(store: GatewayStore, hook: string): Promise<void> {
  while (true) {
    const found = await store.records.list('document', { key: messagesOf(hook), limit: FORGOTTEN })
    if (found.length === 0) return
    const ids = found.map(({ record }) => String(record.value.id))
    await retrying(() => forget(store, ids))
    await new Promise((resolve) => setTimeout(resolve)) // as `everyRecord`
  }
}

/** Ids of a few messages to a hook whose end is long past. */
export async function oldMessages(
  store: GatewayStore,
  hook: string,
  now: number,
): Promise<string[]> {
  const found = await store.records.list('document', { key: doneKey(hook), limit: SWEEP })
  return found.map(({ record }) => record.value as unknown as Message)
    .filter(({ doneAt = now }) => doneAt + KEPT <= now)
    .map(({ id }) => id)
}

async function messageOf(store: GatewayStore, id: string): Promise<StoredMessage | undefined> {
  const found = await store.records.get('document', idOf(id))
  return found &&
    { message: found.record.value as unknown as Message, version: found.version }
}

const doneKey = (hook: string) => `outbox:done:${hook}`

function put(message: Message, version: number): Change {
  const { hook, status } = message
  const keys = [messagesOf(hook), ...(status === 'pending' ? [] : [doneKey(hook)])]
  return { put: 'document', record: { id: idOf(message.id), keys, value: message }, version }
}

function queue(message: Message): Change {
  const { id, hook, owner, dueAt } = message
  const record = {
    id: dueId(message),
    keys: [QUEUE, queueOf(hook)],
    value: { message: id, hook, owner, at: dueAt },
  }
  return { put: 'document', record, version: 0 }
}

function dueOf({ record, version }: Stored<DocumentRecord>): Due {
  const { message, hook, owner, at } = record.value as Record<string, string | number>
  return {
    ...{ id: record.id, version, at: Number(at) },
    ...{ message: String(message), hook: String(hook), owner: String(owner) },
  }
}
