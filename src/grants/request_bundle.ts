/**
 * A device asks for its bundle: the client's side of the code flow (RFC 6749 §4.1 as RFC 9700 wants it). The request
 * is pushed (RFC 9126) with PKCE (RFC 7636); a person or a policy decides in a browser; the answer must come from
 * the same server (RFC 9207), for this request, and its code is redeemed under the device's key.
 */
import { toBase64Url, utf8 } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import type { Key } from '../keys/mod.ts'
import type { ToolsJson } from './capability.ts'
import { DETAIL_TYPE } from './claims.ts'
import { deviceHttp, type DeviceHttpOptions } from './device_http.ts'
import type { LimitsJson } from './limit_terms.ts'
import type { PulledBundle } from './pull_bundle.ts'

/** What a device asks for. */
export interface BundleWish {
  /** The agent, as it is registered at the server: OAuth's `client_id`. */
  readonly agent: string
  /** Where the browser is sent with the answer; registered for the agent, letter by letter. */
  readonly redirect: string
  /** Tools by name with the constraints of their arguments; `scopesToTools` makes them of scopes. */
  readonly tools: ToolsJson
  /** How often, how much, with whose approval. */
  readonly limits?: LimitsJson | undefined
  /** How long the grant is to be valid, seconds. Default: the server's. */
  readonly duration?: number | undefined
  /** How long after the last contact the device may act, seconds. Default: the server's. */
  readonly offlineMaxAge?: number | undefined
  /** How often the grant may be passed on. Default 0. */
  readonly maxDepth?: number | undefined
  /** For whom: absolute URIs (RFC 8707). */
  readonly resources?: readonly string[] | undefined
  /** Who is to be asked. */
  readonly principal?: string | undefined
}

/** A request that waits for a decision. */
export interface BundleRequest {
  /** Where the person who decides has to go, in a browser. */
  readonly url: string
  /**
   * Takes the URL that the browser was sent to, and redeems its code. Errors: `request_malformed` (no answer to this
   * request, which goes on), `policy_denied`, `sync_malformed`, and those of `DeviceHttp.request`. Not verified: the
   * bundle. `Device.heard` does that.
   */
  redeem(callback: string): Promise<PulledBundle & { readonly id: string }>
}

const FORM = 'application/x-www-form-urlencoded'

/** Pushes a request to a server. Errors: those of `DeviceHttp.request`; `sync_malformed`. */
export async function requestBundle(
  key: Key,
  server: string,
  wish: BundleWish,
  options: DeviceHttpOptions = {},
): Promise<BundleRequest> {
  const issuer = server.replace(/\/$/, '')
  const http = deviceHttp(key, options)
  const [verifier, state] = [secret(), secret()]
  const challenge = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(verifier)))
  const post = async (path: string, fields: Fields) => {
    const { body, serverTime } = await http.request('POST', issuer + path, form(fields), FORM)
    const answer = parseJson(body, { what: 'answer of the server' })
    if (!isObject(answer)) throw malformed('the answer of the server is no object')
    return { answer, serverTime }
  }
  const { answer: { request_uri: uri } } = await post('/oauth/par', {
    client_id: wish.agent,
    response_type: 'code',
    redirect_uri: wish.redirect,
    code_challenge: toBase64Url(challenge),
    code_challenge_method: 'S256',
    state,
    authorization_details: JSON.stringify([{ type: DETAIL_TYPE, tools: wish.tools }]),
    limits: wish.limits && JSON.stringify(wish.limits),
    duration: wish.duration,
    offline_max_age: wish.offlineMaxAge,
    max_depth: wish.maxDepth,
    resource: wish.resources,
    login_hint: wish.principal,
    // The code is of use to this key alone (RFC 9449 §10), so that a policy can tell devices apart.
    dpop_jkt: key.publicKey.id,
  })
  if (typeof uri !== 'string') throw malformed('the server did not take the request')
  const query = new URLSearchParams({ client_id: wish.agent, request_uri: uri })
  return {
    url: `${issuer}/oauth/authorize?${query}`,
    async redeem(callback) {
      const { answer, serverTime } = await post('/oauth/token', {
        grant_type: 'authorization_code',
        client_id: wish.agent,
        redirect_uri: wish.redirect,
        code: codeOf(callback, wish.redirect, issuer, state),
        code_verifier: verifier,
        req_cnf: JSON.stringify({ jwk: key.publicKey.jwk }),
      })
      const { bundle, bundle_id: id } = answer
      if (typeof bundle !== 'string' || typeof id !== 'string') {
        throw malformed('the server gave no bundle')
      }
      return { id, bundle, revoked: undefined, serverTime }
    },
  }
}

/** The code in an answer, if it is one to this request and from this server. */
function codeOf(callback: string, redirect: string, issuer: string, state: string): string {
  const [url, wanted] = [URL.parse(callback), new URL(redirect)]
  if (url?.origin !== wanted.origin || url.pathname !== wanted.pathname) {
    throw stray('the answer came to another address than was asked for')
  }
  const one = (name: string) => {
    const [value, more] = url.searchParams.getAll(name)
    return more === undefined ? value : undefined
  }
  // RFC 9207 §2.4: who answers is compared before anything else is believed.
  if (one('iss') !== issuer) throw stray('the answer is another server’s')
  if (one('state') !== state) throw stray('the answer is to another request')
  const [code, error, why] = [one('code'), one('error'), one('error_description')]
  if (error !== undefined) {
    const said = why === undefined ? quoted(error) : `${quoted(error)}, ${quoted(why)}`
    throw new SignetError('policy_denied', `the request was not approved: ${said}`)
  }
  if (code === undefined) throw stray('the answer holds no code')
  return code
}

type Fields = Readonly<Record<string, string | number | readonly string[] | undefined>>

function form(fields: Fields) {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value ?? []].flat()) body.append(name, String(one))
  }
  return utf8(body.toString())
}

/** 256 random bits: more than RFC 7636 §7.1 asks of a verifier. */
function secret(): string {
  return toBase64Url(crypto.getRandomValues(new Uint8Array(32)))
}

/** What came to the redirect is no answer to this request: anybody can send a browser there. */
function stray(why: string): SignetError {
  return new SignetError('request_malformed', why)
}

function malformed(why: string): SignetError {
  return new SignetError('sync_malformed', why)
}
