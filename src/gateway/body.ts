/** Bodies of requests: read once, bounded, and only of the kind that a route takes. */
import type * as v from 'valibot'
import { type Bytes, fromUtf8, Gathering } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { conform } from '../schema.ts'

/** Most bytes of a body unless a route says more. */
export const MAX_BODY: number = 256 * 1024

/** Fields of a form, each with all its values. */
export type Form = ReadonlyMap<string, readonly string[]>

/** The whole body. Errors: `too_large`, before it is held in memory. */
export async function readBody(request: Request, maxBytes: number = MAX_BODY): Promise<Bytes> {
  const refuse = () => new SignetError('too_large', `the body has more than ${maxBytes} bytes`)
  const length = request.headers.get('content-length')
  if (length !== null && !(Number(length) <= maxBytes)) {
    await request.body?.cancel()
    throw refuse()
  }
  if (request.body === null) return new Uint8Array()
  const body = new Gathering()
  const reader = request.body.getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (body.length + next.value.length > maxBytes) {
        await reader.cancel()
        throw refuse()
      }
      body.add(next.value)
    }
  } finally {
    reader.releaseLock()
  }
  return body.bytes
}

/** Throws `media_type_refused` unless the body is of a media type. */
export function requireType(headers: Headers, type: string): void {
  const found = headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase()
  if (found === type) return
  throw new SignetError('media_type_refused', `the body is not ${type}`)
}

/** A JSON body that fits a schema. Errors: `media_type_refused`, `too_large`, those of JSON, `request_malformed`. */
export async function readJson<T>(
  request: Request,
  schema: v.GenericSchema<unknown, T>,
): Promise<T> {
  requireType(request.headers, 'application/json')
  const value = parseJson(await readBody(request), { what: 'body', maxDepth: 40 })
  return conform(schema, value, 'request_malformed', 'body')
}

/** A form. Errors: `media_type_refused`, `too_large`, `request_malformed`. */
export async function readForm(request: Request): Promise<Form> {
  requireType(request.headers, 'application/x-www-form-urlencoded')
  return parseForm(await readBody(request))
}

/** The fields of a form's bytes. Errors: `encoding_invalid`, `request_malformed`. */
export function parseForm(body: Uint8Array): Form {
  const fields = new Map<string, string[]>()
  let count = 0
  for (const [name, value] of new URLSearchParams(fromUtf8(body, 'form'))) {
    if (++count > 200) throw new SignetError('request_malformed', 'the form has too many fields')
    fields.set(name, [...fields.get(name) ?? [], value])
  }
  return fields
}

/** A field that stands at most once (RFC 6749 §3.2); an empty one counts as absent. */
export function field(form: Form, name: string): string | undefined {
  const values = form.get(name) ?? []
  if (values.length <= 1) return values[0] === '' ? undefined : values[0]
  throw new SignetError('request_malformed', `${quoted(name)} is given more than once`)
}

/** A field that must be there. */
export function required(form: Form, name: string): string {
  const value = field(form, name)
  if (value !== undefined) return value
  throw new SignetError('request_malformed', `${quoted(name)} is missing`, { where: name })
}
