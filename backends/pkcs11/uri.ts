/**
 * `pkcs11:` URIs (RFC 7512). Attributes may stand in the path or in the query, as step-kms writes them.
 * Beyond the RFC there is `alg`, which names the signature scheme of an RSA key.
 */
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import type { Bytes } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'
import { type KeyUri, percentBytes, toPercent, uriAttributes } from '../../src/keys/mod.ts'

/** Which token and which object of it. What is undefined matches everything. */
export interface TokenUri {
  readonly modulePath: string | undefined
  readonly token: string | undefined
  readonly serial: string | undefined
  readonly model: string | undefined
  readonly manufacturer: string | undefined
  readonly slotId: number | undefined
  readonly object: string | undefined
  readonly id: Bytes | undefined
  readonly pinSource: string | undefined
  readonly pinValue: string | undefined
  readonly algorithm: AlgorithmName | undefined
}

const KNOWN = [
  'token',
  'serial',
  'model',
  'manufacturer',
  'slot-id',
  'object',
  'id',
  'type',
  'module-path',
  'pin-source',
  'pin-value',
  'alg',
] as const

/** The kinds of object that we open. */
export type ObjectType = 'private' | 'secret-key'

/** Takes a `pkcs11:` URI apart. Errors: `uri_malformed`. */
export function parseTokenUri(uri: KeyUri, type: ObjectType = 'private'): TokenUri {
  const all = uriAttributes(uri, KNOWN, ['id'])
  const text = (name: typeof KNOWN[number]) => all.get(name)
  const slot = text('slot-id')
  if (slot !== undefined && !/^[0-9]{1,15}$/.test(slot)) throw malformed('slot-id is no number')
  if (text('type') !== undefined && text('type') !== type) {
    throw malformed(`type is not "${type}"`) // RFC 7512 §2.3: another kind of object
  }
  const alg = text('alg')
  if (alg !== undefined && !Object.hasOwn(ALGORITHMS, alg)) throw malformed('alg is not known')
  if (text('pin-source') !== undefined && text('pin-value') !== undefined) {
    throw malformed('pin-source and pin-value exclude each other') // RFC 7512 §2.4
  }
  if ([...all.values()].includes('')) throw malformed('an attribute is empty')
  const id = text('id')
  return {
    modulePath: text('module-path'),
    token: text('token'),
    serial: text('serial'),
    model: text('model'),
    manufacturer: text('manufacturer'),
    slotId: slot === undefined ? undefined : Number(slot),
    object: text('object'),
    id: id === undefined ? undefined : percentBytes(id, 'id'),
    pinSource: text('pin-source'),
    pinValue: text('pin-value'),
    algorithm: alg as AlgorithmName | undefined,
  }
}

/** As {@link parseTokenUri}, for what names one object: `object`, `id` or both. */
export function parseObjectUri(uri: KeyUri, type: ObjectType = 'private'): TokenUri {
  const parsed = parseTokenUri(uri, type)
  if (parsed.object === undefined && parsed.id === undefined) {
    throw malformed('it names no object', 'add object=LABEL or id=%XX%XX')
  }
  return parsed
}

/** The URI of an object, without any PIN. */
export function formatTokenUri(
  token: string,
  object: { readonly label: string; readonly id: Uint8Array },
  type: ObjectType = 'private',
): string {
  const id = object.id.length === 0 ? '' : `;id=${toPercent(object.id)}`
  const label = object.label === '' ? '' : `;object=${encodeURIComponent(object.label)}`
  return `pkcs11:token=${encodeURIComponent(token)}${label}${id};type=${type}`
}

function malformed(why: string, remedy?: string): SignetError {
  const options = remedy === undefined ? {} : { remedy }
  return new SignetError('uri_malformed', `pkcs11: URI: ${why}`, options)
}
