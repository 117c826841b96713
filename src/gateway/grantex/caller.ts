/** Who calls the dialect, and how often they may. */
import { digestOf } from '../ids.ts'
import type { World } from '../world.ts'
import { type Dialect, Refusal } from './call.ts'
import { admitted } from './people.ts'
import { noteUse, scimTokenId } from './scim_tokens.ts'

/** What a route asks of its caller. */
export type Access = 'public' | 'key' | 'session' | 'scim'

const WINDOW = 60

/** The id of what is kept of an API key. */
export function apiKeyId(digest: string): string {
  return `grantex:key:${digest}`
}

/** Who calls. */
export interface Caller {
  readonly id: string
  readonly tenant: string
  readonly principal: string
}

/** Who calls: the developer of a key, or the principal of a session. A session is no key and a key no session. */
export async function callerOf(
  dialect: Dialect,
  request: Request,
  access: Access,
): Promise<Caller> {
  const { world } = dialect
  if (access === 'public') {
    world.count(request, 'read')
    return { id: '', tenant: '', principal: '' }
  }
  const unknown = () => {
    world.count(request, 'operator') // whoever guesses does not guess fast
    return new Refusal(401, 'UNAUTHORIZED', 'the API key or session is not known')
  }
  const [, secret] = /^bearer +([\x21-\x7e]{16,512})$/i.exec(
    request.headers.get('authorization') ?? '',
  ) ?? []
  if (secret === undefined) throw unknown()
  const id = CREDENTIALS[access](await digestOf(secret))
  const found = await world.store.records.get('document', id)
  const { tenant, principal = '', expiresAt = Infinity, revokedAt } = found?.record.value ?? {}
  if (typeof tenant !== 'string' || typeof principal !== 'string' || revokedAt !== undefined) {
    throw unknown()
  }
  if (!(Number(expiresAt) > world.now())) throw unknown()
  if (access === 'session') await admitted(dialect, principal, tenant)
  if (access === 'scim') await noteUse(world, found!)
  return { id, tenant, principal }
}

/** Names of what is kept of credentials: one kind never counts for another. */
const CREDENTIALS: Readonly<Record<Exclude<Access, 'public'>, (digest: string) => string>> = {
  key: apiKeyId,
  session: (digest) => `grantex:session:${digest}`,
  scim: scimTokenId,
}

/** Counts requests in windows of a minute, by key, in this process. Sets the headers of the original. */
export function counter(rate: number, { now }: World): (id: string, headers: Headers) => void {
  const counts = new Map<string, number>()
  let window = 0
  return (id, headers) => {
    const current = Math.floor(now() / WINDOW)
    if (current !== window) {
      counts.clear()
      window = current
    }
    const used = (counts.get(id) ?? 0) + 1
    counts.set(id, used)
    const reset = Math.max(1, (current + 1) * WINDOW - now())
    headers.set('x-ratelimit-limit', String(rate))
    headers.set('x-ratelimit-remaining', String(Math.max(0, rate - used)))
    headers.set('x-ratelimit-reset', String(reset))
    if (used <= rate) return
    headers.set('retry-after', String(reset))
    throw new Refusal(429, 'RATE_LIMIT_EXCEEDED', `Rate limit exceeded, retry in ${reset} seconds`)
  }
}
