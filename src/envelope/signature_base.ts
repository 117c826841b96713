/**
 * The signature base of an HTTP request (RFC 9421 §2.5): one line for each covered component, and last the
 * parameters. Derived components of requests (§2.2) and plain fields (§2.1) are known; component parameters
 * (`;sf`, `;key`, `;bs`, `;req`, `;tr`, `;name`) are not.
 */
import { type Bytes, utf8 } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { formatString } from './structured_fields.ts'

/** A request as far as a signature can cover it. */
export interface SignableRequest {
  /** The method, as on the wire. */
  readonly method: string
  /** The absolute URL that the caller asked for. A server behind a proxy says here what the world calls it. */
  readonly url: string
  /** The fields. */
  readonly headers: Headers
}

const DERIVED: Readonly<Record<string, (request: SignableRequest, url: URL) => string>> = {
  '@method': ({ method }) => method,
  '@target-uri': (_, url) => url.href,
  '@authority': (_, url) => url.host,
  '@scheme': (_, url) => url.protocol.slice(0, -1),
  '@request-target': (_, url) => url.pathname + url.search,
  '@path': (_, url) => url.pathname,
  '@query': (_, url) => url.search === '' ? '?' : url.search,
}
const FIELD = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

/**
 * The bytes that are signed. `parameters` is the value of `@signature-params`: the member of `Signature-Input` as it
 * stands. Errors: `http_signature_malformed`: a component that is unknown, named twice, or not in the request.
 */
export function signatureBase(
  request: SignableRequest,
  components: readonly string[],
  parameters: string,
): Bytes {
  const url = targetOf(request.url)
  const lines = components.map((name) => `${formatString(name)}: ${valueOf(request, url, name)}\n`)
  if (new Set(components).size < components.length) throw malformed('a component is named twice')
  return utf8(`${lines.join('')}"@signature-params": ${parameters}`)
}

function valueOf(request: SignableRequest, url: URL, name: string): string {
  if (name.startsWith('@')) {
    const derive = Object.hasOwn(DERIVED, name) ? DERIVED[name] : undefined
    if (derive === undefined) throw malformed(`component ${quoted(name)} is not known`)
    return derive(request, url)
  }
  if (!FIELD.test(name)) throw malformed(`component ${quoted(name)} is no field in lower case`)
  const value = request.headers.get(name)
  if (value === null) throw malformed(`the request has no field ${quoted(name)}`)
  // Beyond ASCII the wire's bytes and their text differ (RFC 9421 §7.5.6).
  if (!/^[\t -~]*$/.test(value)) throw malformed(`field ${quoted(name)} is not ASCII`)
  return value
}

/** The URL without its fragment, which never travels. */
function targetOf(text: string): URL {
  const url = URL.parse(text)
  if (url === null) throw malformed('the URL of the request is none')
  url.hash = ''
  return url
}

function malformed(why: string): SignetError {
  return new SignetError('http_signature_malformed', `HTTP signature: ${why}`)
}
