/** Requests under the operator's key: bounded in time and size, followed nowhere, errors in the server's own words. */
import type * as v from 'valibot'
import { type Bytes, Gathering, utf8 } from '../bytes.ts'
import { ERROR_KINDS, type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { checkAborted } from '../keys/mod.ts'
import { conform } from '../schema.ts'

const PATIENCE = 30_000

/** A request to a server. */
export interface Ask {
  readonly method: string
  readonly path: string
  readonly maxBytes: number
  readonly body?: object | undefined
  /** Milliseconds without a byte of an answer. Default 30 000. */
  readonly patience?: number | undefined
}

/**
 * One request; the body of an answer of success. Errors: the server's own code and words; `server_refused`,
 * `server_failed`, `too_large`, `aborted`.
 */
export async function request(
  server: string,
  key: string,
  { method, path, maxBytes, body, patience = PATIENCE }: Ask,
  signal: AbortSignal | undefined,
): Promise<Bytes> {
  checkAborted(signal)
  const late = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(() => late.abort(), patience)
  }
  const headers = new Headers({ accept: 'application/json', authorization: `Bearer ${key}` })
  if (body !== undefined) headers.set('content-type', 'application/json')
  wait()
  try {
    const response = await fetch(server + path, {
      method,
      headers,
      // Wherever a redirect leads, the key does not go there.
      redirect: 'manual',
      signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]),
      ...body === undefined ? {} : { body: utf8(JSON.stringify(body)) },
    })
    const bytes = await readAll(response, server, maxBytes, wait)
    if (response.ok) return bytes
    throw refusal(server, response, bytes)
  } catch (cause) {
    checkAborted(signal)
    if (isSignetError(cause)) throw cause
    throw failed(server, 'does not answer', cause)
  } finally {
    clearTimeout(timer)
  }
}

async function readAll(
  { body }: Response,
  server: string,
  maxBytes: number,
  wait: () => void,
): Promise<Bytes> {
  const all = new Gathering()
  const reader = body?.getReader()
  for (;;) {
    const { done, value } = await reader?.read() ?? { done: true as const, value: undefined }
    if (done) return all.bytes
    wait()
    if (all.length + value.length > maxBytes) {
      await reader?.cancel()
      throw new SignetError('too_large', `the answer of ${server} has more than ${maxBytes} bytes`)
    }
    all.add(value)
  }
}

/** An answer that is JSON of a form. Errors: `server_failed`. */
export function read<T>(bytes: Bytes, schema: v.GenericSchema<unknown, T>, server: string): T {
  let value
  try {
    value = parseJson(bytes, { what: 'answer of the server' })
  } catch (cause) {
    throw failed(server, 'answers with something that is no JSON', cause)
  }
  return conform(schema, value, 'server_failed', 'answer of the server')
}

/** What the server says of itself (RFC 9457), as far as it is one of ours. */
function refusal(server: string, { status, headers }: Response, bytes: Bytes): SignetError {
  const problem = problemOf(headers, bytes)
  if (problem === undefined) {
    const isRedirect = status >= 300 && status < 400
    return failed(server, `answers HTTP ${status}${isRedirect ? ', elsewhere' : ''}`)
  }
  const { code, title, detail, where } = problem
  const text = (value: unknown) =>
    typeof value === 'string' && value !== '' ? value.slice(0, 300) : undefined
  const known = typeof code === 'string' && Object.hasOwn(ERROR_KINDS, code)
  const remedy = code === 'unauthenticated'
    ? "give this server's key: --operator-key FILE"
    : text(detail)
  const place = text(where)
  return new SignetError(
    known ? code as ErrorCode : 'server_refused',
    `${server} says: ${text(title) ?? `HTTP ${status}`}`,
    { ...place === undefined ? {} : { where: place }, ...remedy === undefined ? {} : { remedy } },
  )
}

function problemOf(headers: Headers, bytes: Bytes): JsonObject | undefined {
  if (!/^application\/problem\+json\s*(?:;|$)/i.test(headers.get('content-type') ?? '')) {
    return undefined
  }
  try {
    const value = parseJson(bytes, { maxBytes: 65_536, maxDepth: 8 })
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** A server that is none of ours, or does not work. */
export function failed(server: string, what: string, cause?: unknown): SignetError {
  return new SignetError('server_failed', `${server} ${what}`, {
    where: server,
    remedy: 'see that a Signet server runs there, and that this machine reaches it',
    cause,
  })
}
