/**
 * Signed HTTP requests: RFC 9421 in one narrow profile, with which a device proves its key to a server.
 *
 * ```
 * Content-Digest: sha-256=:…:                          (RFC 9530; only with a body)
 * Signature-Input: sig1=("@method" "@target-uri" "content-digest");created=1763719200;nonce="…";
 *                  keyid="<RFC 7638 thumbprint>";alg="ed25519";tag="signet-device"
 * Signature: sig1=:…:
 * ```
 *
 * Method and target are always covered, a body always by its digest; further components may be. `created`, `nonce`,
 * `keyid`, `alg` and `tag` must be there, and nothing else. The key is the one that the verifier's own records hold for
 * `keyid`; `alg` can only agree with it. The nonce is used up last, so that nobody burns another's.
 */
import { toBase64, toBase64Url } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { type Key, type PublicKey, signMessage, type SignOptions } from '../keys/mod.ts'
import { checkContentDigest, contentDigest } from './content_digest.ts'
import { signatureBase } from './signature_base.ts'
import { formatString, type Member, type Parameters, parseDictionary } from './structured_fields.ts'

/** The tag of requests that a device signs. */
export const DEVICE_TAG = 'signet-device'

/** A request to be signed or verified: parts, since a body can be read once only. */
export interface HttpRequestParts {
  /** The method, upper case. */
  readonly method: string
  /** The absolute URL. */
  readonly url: string
  /** Fields. Default: none. */
  readonly headers?: Headers | undefined
  /** The whole body. Default: none. */
  readonly body?: Uint8Array | undefined
}

/** Options of {@link signRequest}. */
export interface SignRequestOptions extends SignOptions {
  /** What the signature is for. Default {@link DEVICE_TAG}. */
  readonly tag?: string | undefined
  /** Seconds since 1970. Default: the clock. */
  readonly created?: number | undefined
  /** At most 128 characters. Default: 16 random bytes. */
  readonly nonce?: string | undefined
}

/**
 * Where nonces are remembered. The port of every replay check: one step that both looks and writes.
 */
export interface NonceStore {
  /**
   * True if `id` was not there and now is, until `expires` (seconds since 1970) at least; of many calls at once for one
   * id one gets true. Throws if it cannot tell: then the request is refused.
   */
  insert(id: string, expires: number): Promise<boolean>
}

/** A request that came. */
export interface ReceivedRequest extends Omit<HttpRequestParts, 'body'> {
  /** The whole body, or what reads it: called once the signature holds, so that nobody else's is held in memory. */
  readonly body?: Uint8Array | (() => Promise<Uint8Array>) | undefined
}

/** What {@link verifyRequest} demands. */
export interface VerifyRequestOptions {
  /** The trusted key of an id (thumbprint), or undefined. */
  keyOf(keyId: string): PublicKey | undefined | Promise<PublicKey | undefined>
  /** Where nonces are remembered. */
  readonly nonces: NonceStore
  /** Seconds since 1970. */
  readonly now: number
  /** What the signature must be for. Default {@link DEVICE_TAG}. */
  readonly tag?: string | undefined
  /** How far `created` may lie from `now`, either way, in seconds. Default 300. */
  readonly window?: number | undefined
}

/** A request whose signature holds. Only {@link verifyRequest} makes one; the room exports the type alone. */
export class VerifiedRequest {
  readonly #nominal = true
  /** The trusted key that signed. */
  readonly key: PublicKey
  /** When it says that it was signed, seconds since 1970. */
  readonly created: number
  /** The method. */
  readonly method: string
  /** The absolute URL. */
  readonly url: string
  /** The body that came; covered by the signature. */
  readonly body: Uint8Array

  /** Called by {@link verifyRequest} alone. */
  constructor(request: Required<HttpRequestParts>, key: PublicKey, created: number) {
    this.key = key
    this.created = created
    this.method = request.method
    this.url = request.url
    this.body = request.body
  }
}

const LABEL = 'sig1'
const REQUIRED = ['@method', '@target-uri']
const PARAMETERS = ['created', 'nonce', 'keyid', 'alg', 'tag']
const ALG = 'ed25519'
const WINDOW = 300

/** The request's fields with the signature and, for a body, its digest. The key must be Ed25519 (`key_usage`). */
export async function signRequest(
  request: HttpRequestParts,
  key: Key,
  options: SignRequestOptions = {},
): Promise<Headers> {
  const { id, algorithm } = key.publicKey
  if (algorithm.name !== 'Ed25519') {
    throw new SignetError('key_usage', 'requests are signed with Ed25519 keys only')
  }
  const {
    tag = DEVICE_TAG,
    created = Math.floor(Date.now() / 1000),
    nonce = toBase64Url(crypto.getRandomValues(new Uint8Array(16))),
  } = options
  const headers = new Headers(request.headers)
  const components = [...REQUIRED]
  headers.delete('content-digest')
  if (request.body !== undefined && request.body.length > 0) {
    headers.set('content-digest', await contentDigest(request.body))
    components.push('content-digest')
  }
  const parameters = `(${components.map(formatString).join(' ')});created=${created}` +
    `;nonce=${formatString(nonce)};keyid=${formatString(id)};alg="${ALG}";tag=${formatString(tag)}`
  const base = signatureBase({ ...request, headers }, components, parameters)
  const signature = await signMessage(key, base, options)
  headers.set('signature-input', `${LABEL}=${parameters}`)
  headers.set('signature', `${LABEL}=:${toBase64(signature)}:`)
  return headers
}

/**
 * Verifies a request. Says who signed, and that it is neither old nor a repetition; NOT whether they may.
 *
 * Errors: `http_signature_missing`, `http_signature_malformed`, `field_malformed`, `signer_untrusted` (no such key),
 * `algorithm_mismatch`, `http_signature_stale`, `content_digest_mismatch`, `signature_invalid`, `request_replayed`.
 */
export async function verifyRequest(
  request: ReceivedRequest,
  options: VerifyRequestOptions,
): Promise<VerifiedRequest> {
  const { method, url, headers = new Headers() } = request
  const input = memberOf(headers, 'Signature-Input')
  const components = componentsOf(input)
  const { created, nonce, keyId } = readParameters(input.parameters, options)
  const signature = memberOf(headers, 'Signature')
  if (!(signature.value instanceof Uint8Array) || signature.parameters.size > 0) {
    throw malformed('the signature is not plain bytes')
  }
  const missing = REQUIRED.find((name) => !components.includes(name))
  if (missing !== undefined) throw malformed(`it does not cover ${missing}`)
  const key = await options.keyOf(keyId)
  // The id that the records know it by and the key's own must be one.
  if (key === undefined || key.id !== keyId) {
    throw new SignetError('signer_untrusted', `no key ${quoted(keyId)} is known here`)
  }
  if (key.algorithm.name !== 'Ed25519') {
    throw new SignetError('algorithm_mismatch', 'the key that is known here is not Ed25519')
  }
  const base = signatureBase({ method, url, headers }, components, input.raw)
  if (!await key.verify(base, signature.value)) {
    throw new SignetError('signature_invalid', `the signature does not hold under ${key.id}`)
  }
  const body = typeof request.body === 'function' ? await request.body() : request.body
  const covered = components.includes('content-digest')
  if (!covered && body !== undefined && body.length > 0) {
    throw malformed('it does not cover the body')
  }
  if (covered) {
    await checkContentDigest(headers.get('content-digest') ?? '', body ?? new Uint8Array())
  }
  const expires = created + (options.window ?? WINDOW) + 1
  if (!await options.nonces.insert(`${key.id} ${nonce}`, expires)) {
    throw new SignetError('request_replayed', 'the request was received before', {
      remedy: 'sign it again, with a new nonce',
    })
  }
  return new VerifiedRequest(
    { method, url, headers, body: body ?? new Uint8Array() },
    key,
    created,
  )
}

function memberOf(headers: Headers, name: string): Member {
  const field = headers.get(name)
  const member = field === null ? undefined : parseDictionary(field, name).get(LABEL)
  if (member !== undefined) return member
  throw new SignetError('http_signature_missing', `the request has no ${name} of ${LABEL}`, {
    remedy: 'sign it as RFC 9421 says, with the key of the device',
  })
}

function componentsOf({ value }: Member): string[] {
  if (!Array.isArray(value)) throw malformed('its input is no list')
  return value.map((item) => {
    if (typeof item.value !== 'string') throw malformed('a component is no string')
    if (item.parameters.size > 0) throw malformed('a component has parameters')
    return item.value
  })
}

function readParameters(parameters: Parameters, options: VerifyRequestOptions) {
  const unknown = [...parameters.keys()].find((name) => !PARAMETERS.includes(name))
  if (unknown !== undefined) throw malformed(`parameter ${quoted(unknown)} is not known`)
  const text = (name: string) => {
    const value = parameters.get(name)
    if (typeof value !== 'string' || value === '' || value.length > 128) {
      throw malformed(`parameter ${name} is no text of 1 to 128 characters`)
    }
    return value
  }
  const created = parameters.get('created')
  if (typeof created !== 'number') throw malformed('parameter created is no integer')
  if (text('alg') !== ALG) {
    throw new SignetError('algorithm_mismatch', `the signature is not ${ALG}`)
  }
  if (text('tag') !== (options.tag ?? DEVICE_TAG)) throw malformed('it is for something else')
  const { now, window = WINDOW } = options
  if (!(Math.abs(now - created) <= window)) {
    throw new SignetError('http_signature_stale', 'the signature is too old, or from the future', {
      remedy: `set the clock: the server's says ${new Date(now * 1000).toISOString()}`,
    })
  }
  return { created, nonce: text('nonce'), keyId: text('keyid') }
}

function malformed(why: string): SignetError {
  return new SignetError('http_signature_malformed', `HTTP signature: ${why}`)
}
