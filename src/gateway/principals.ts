/**
 * Who approves: principals, the people on whose behalf agents act. How they sign in is a port; built in are one-time
 * codes that the operator hands out, good for one session of an hour.
 */
import { isSignetError, SignetError } from '../errors.ts'
import { digestOf, newSecret } from './ids.ts'
import type { SessionRecord } from './records.ts'
import type { GatewayStore, Stored } from './store.ts'

/** A principal who is signed in. */
export interface Principal {
  /** Who. */
  readonly id: string
  /** A secret of this session that only the server and the session's browser know; forms are tied to it. */
  readonly session: string
}

/** Tells who sends a request. */
export interface PrincipalAuthenticator {
  /** The principal of a request, or undefined if nobody is signed in. */
  authenticate(request: Request): Promise<Principal | undefined>
  /** Where a person signs in, to come back to `back` (a path of ours). */
  signInUrl(back: string): string
}

/** How long a code can be used, and a session; seconds. */
export const CODE_SECONDS = 600
export const SESSION_SECONDS = 3600
const PREFIX = 'sgin_'

/** The name of the cookie. `__Host-` ties it to this very host, and needs TLS (RFC 6265bis §4.1.3.2). */
export function cookieName(issuer: string): string {
  return issuer.startsWith('https:') ? '__Host-signet' : 'signet'
}

/** The built-in way: sessions in the store, begun by a one-time code. */
export function codePrincipals(
  store: GatewayStore,
  issuer: string,
  now: () => number,
): PrincipalAuthenticator {
  return {
    async authenticate(request) {
      const cookie = cookieOf(request, cookieName(issuer))
      if (cookie === undefined) return undefined
      const found = (await store.records.get('session', await digestOf(cookie)))?.record
      if (found?.use !== 'session' || found.expiresAt <= now()) return undefined
      return { id: found.principal, session: cookie }
    },
    signInUrl: (back) => `/sign-in?${new URLSearchParams({ back })}`,
  }
}

/** Makes a one-time code for a principal. Errors: `request_malformed`. */
export async function newSignInCode(
  store: GatewayStore,
  principal: string,
  now: number,
): Promise<string> {
  if (!/^[\x21-\x7e]{1,200}$/.test(principal)) {
    throw new SignetError('request_malformed', 'a principal is 1 to 200 printable characters')
  }
  const code = newSecret(PREFIX)
  const expiresAt = now + CODE_SECONDS
  const record = { id: await digestOf(code), use: 'code', principal, expiresAt } as const
  await store.commit([{ put: 'session', record, version: 0 }])
  await forgetOld(store, principal, now)
  return code
}

/** Forgets codes and sessions of a principal that have ended. */
async function forgetOld(store: GatewayStore, principal: string, now: number): Promise<void> {
  for (
    const { record, version } of await store.records.list('session', {
      key: `principal:${principal}`,
    })
  ) {
    if (record.expiresAt > now) continue
    try {
      await store.commit([{ remove: 'session', id: record.id, version }])
    } catch (error) {
      if (!isSignetError(error, 'store_conflict')) throw error
    }
  }
}

/** Whose a code is, while it is good. Looking does not use it up. */
export async function principalOfCode(
  store: GatewayStore,
  code: string,
  now: number,
): Promise<string | undefined> {
  return (await goodCode(store, code, now))?.record.principal
}

async function goodCode(
  store: GatewayStore,
  code: string,
  now: number,
): Promise<Stored<SessionRecord> | undefined> {
  if (!code.startsWith(PREFIX) || code.length > 100) return undefined
  const found = await store.records.get('session', await digestOf(code))
  return found?.record.use === 'code' && found.record.expiresAt > now ? found : undefined
}

/** Uses up a code; the cookie of the session that it begins, or undefined if the code is not good. */
export async function signIn(
  store: GatewayStore,
  code: string,
  now: number,
): Promise<string | undefined> {
  const found = await goodCode(store, code, now)
  if (found === undefined) return undefined
  const { record: { id, principal }, version } = found
  const cookie = newSecret('')
  const session = {
    id: await digestOf(cookie),
    use: 'session',
    principal,
    expiresAt: now + SESSION_SECONDS,
  } as const
  try {
    await store.commit([
      { remove: 'session', id, version },
      { put: 'session', record: session, version: 0 },
    ])
  } catch (error) {
    // Somebody else used the code at the same time.
    if (isSignetError(error, 'store_conflict')) return undefined
    throw error
  }
  return cookie
}

function cookieOf(request: Request, name: string): string | undefined {
  for (const part of request.headers.get('cookie')?.split(';') ?? []) {
    const at = part.indexOf('=')
    if (part.slice(0, at).trim() === name) return part.slice(at + 1).trim().slice(0, 200)
  }
}
