/** Requests for consent and what becomes of them. Each is decided once; of two decisions at once one counts. */
import { isSignetError, SignetError } from '../errors.ts'
import { digestOf, newSecret } from './ids.ts'
import type { JsonObject } from '../json.ts'
import type { RequestRecord } from './records.ts'
import type { Stored } from './store.ts'
import type { World } from './world.ts'

/** How long a request can be decided, and a code redeemed; seconds. */
export const REQUEST_SECONDS = 600
export const CODE_SECONDS = 60
/** Requests that are looked at with each new one. */
const SWEEP = 10
const CODE_PREFIX = 'sgco_'

/**
 * Keeps a request, and forgets a few that are over, became no grant and were approved by nobody: anybody can make
 * requests, and they must not fill the disk. Ids sort by time, so the oldest come first.
 */
export async function keepRequest(world: World, record: RequestRecord): Promise<void> {
  const put = { put: 'request', record, version: 0 } as const
  const key = `open:${record.extra?.dialect ?? ''}`
  const oldest = await world.store.records.list('request', { key, limit: SWEEP })
  const gone = oldest
    .filter(({ record: { expiresAt, codeExpires = 0 } }) =>
      Math.max(expiresAt, codeExpires) <= world.now()
    )
    .map(({ record: { id }, version }) => ({ remove: 'request', id, version }) as const)
  try {
    await world.store.commit([put, ...gone])
  } catch (error) {
    // Somebody else forgot them at the same time.
    if (!isSignetError(error, 'store_conflict')) throw error
    await world.store.commit([put])
  }
}

/** A request that can still be decided. Errors: `not_found`: there is none, it was decided, or it is too late. */
export async function pendingRequest(world: World, id: string): Promise<Stored<RequestRecord>> {
  const found = await world.store.records.get('request', id)
  if (found?.record.status === 'pending' && found.record.expiresAt > world.now()) return found
  throw new SignetError('not_found', 'there is no such request, or it was decided', {
    remedy: 'start again from the application',
  })
}

/** Options of {@link approveRequest}. */
export interface ApproveOptions {
  /** What is given, if not all that was asked for. */
  readonly tools?: JsonObject | undefined
  /** The rule of the policy that approved. */
  readonly rule?: string | undefined
}

/** Approves a request; the code, which is kept as its digest only. Errors: `not_found`, `store_conflict`. */
export async function approveRequest(
  world: World,
  { record, version }: Stored<RequestRecord>,
  principal: string,
  approvedBy: 'principal' | 'policy',
  { tools = record.tools, rule }: ApproveOptions = {},
): Promise<string> {
  const code = newSecret(CODE_PREFIX)
  const now = world.now()
  const approved: RequestRecord = {
    ...record,
    tools,
    status: 'approved',
    principal,
    approvedBy,
    rule,
    decidedAt: now,
    codeHash: await digestOf(code),
    codeExpires: now + CODE_SECONDS,
  }
  await world.store.commit([{ put: 'request', record: approved, version }])
  return code
}

/** Denies a request: a principal did, or a rule of the policy. Errors: `store_conflict`. */
export async function denyRequest(
  world: World,
  { record, version }: Stored<RequestRecord>,
  by: { readonly principal?: string | undefined; readonly rule?: string | undefined },
): Promise<void> {
  const denied: RequestRecord = { ...record, ...by, status: 'denied', decidedAt: world.now() }
  await world.store.commit([{ put: 'request', record: denied, version }])
}

/** Where an answer goes: the redirect URI with parameters, and who answers (RFC 9207). */
export function redirectTo(
  world: World,
  { redirectUri, state }: RequestRecord,
  answer: Readonly<Record<string, string>>,
): Response {
  const url = new URL(redirectUri)
  for (const [name, value] of Object.entries(answer)) url.searchParams.set(name, value)
  if (state !== undefined) url.searchParams.set('state', state)
  url.searchParams.set('iss', world.issuer)
  // 303: whatever the method was, the next is GET (RFC 9700 §4.12).
  return new Response(null, { status: 303, headers: { location: url.href } })
}
