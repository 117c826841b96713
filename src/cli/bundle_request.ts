/** `signet bundle request`: ask for authority, have a person decide in a browser, and keep the bundle. */
import { SignetError } from '../errors.ts'
import {
  type BundleRequest,
  type PulledBundle,
  requestBundle,
  scopesToTools,
} from '../grants/mod.ts'
import { abortable, type Key } from '../keys/mod.ts'
import type { ObtainFlags } from './bundle_obtain.ts'
import type { Run } from './context.ts'
import { limitsOf, toolsOf } from './grant_terms.ts'

/** Flags of the command. */
export interface RequestFlags extends ObtainFlags {
  readonly agent: string
  readonly redirect: string
  readonly scope?: string[]
  readonly capability?: string
  readonly limits?: string
  readonly lifetime?: number
  readonly offlineAge?: number
  readonly depth?: number
  readonly audience?: string[]
  readonly principal?: string
}

/** Asks, waits for the answer of the browser, and redeems it. */
export async function requested(
  run: Run,
  key: Key,
  server: string,
  flags: RequestFlags,
): Promise<PulledBundle> {
  if ((flags.scope === undefined) === (flags.capability === undefined)) {
    throw new SignetError('usage_invalid', 'a request names what it asks for', {
      remedy: 'give --scope or --capability',
    })
  }
  const redirect = localAddress(flags.redirect)
  const request = await requestBundle(key, server, {
    agent: flags.agent,
    redirect: flags.redirect,
    tools: flags.scope === undefined
      ? await toolsOf(run, flags.capability!)
      : scopesToTools(flags.scope),
    limits: flags.limits === undefined ? undefined : await limitsOf(run, flags.limits),
    duration: flags.lifetime,
    offlineMaxAge: flags.offlineAge,
    maxDepth: flags.depth,
    resources: flags.audience,
    principal: flags.principal,
  }, { signal: run.signal })
  return await answered(run, request, redirect)
}

/** Waits on the redirect's address until the browser brings the answer. */
async function answered(run: Run, request: BundleRequest, { host, port, pathname }: Address) {
  const { promise, resolve, reject } = Promise.withResolvers<PulledBundle>()
  let busy = false
  const listener = await run.backends.serveHttp(async (incoming) => {
    const { pathname: path, search } = new URL(incoming.url)
    if (path !== pathname || busy) return page(404, 'There is nothing here.')
    busy = true
    try {
      resolve(await request.redeem(`http://${host}:${port}${path}${search}`))
      return page(200, 'The device has its bundle. You can close this window.')
    } catch (error) {
      // What is no answer to this request ends nothing: anybody can open this address.
      const isStray = error instanceof SignetError && error.code === 'request_malformed'
      if (!isStray) reject(error)
      return page(400, isStray ? 'This is no answer to the request.' : 'The device got no bundle.')
    } finally {
      busy = false
    }
  }, { host, port })
  try {
    run.terminal.err(`to decide, open in a browser:\n  ${request.url}\n`)
    return await abortable(promise, run.signal)
  } finally {
    await listener.close()
  }
}

interface Address {
  readonly host: string
  readonly port: number
  readonly pathname: string
}

/** A redirect that this process can wait on (RFC 8252 §7.3). */
function localAddress(redirect: string): Address {
  const url = URL.parse(redirect)
  if (url?.protocol !== 'http:' || url.hostname !== '127.0.0.1' || url.port === '') {
    throw new SignetError('usage_invalid', '--redirect is no address that can be waited on here', {
      remedy: 'register http://127.0.0.1:PORT/callback for the agent',
    })
  }
  return { host: url.hostname, port: Number(url.port), pathname: url.pathname }
}

function page(status: number, text: string): Response {
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
  }
  const style = 'font: 1.2rem/1.5 system-ui; margin: 4rem auto; max-width: 30rem'
  const html = `<!doctype html><title>Signet</title><body style="${style}"><p>${text}</p>`
  return new Response(html, { status, headers })
}
