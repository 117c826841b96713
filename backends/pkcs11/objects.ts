/** Objects on a token: finding exactly one, reading what is public of it, and making new ones. */
import { Buffer } from 'node:buffer'
import { type Algorithm, type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, equalBytes } from '../../src/bytes.ts'
import {
  checkPublic,
  der,
  derOid,
  DerReader,
  fromSpki,
  rsaPublicKey,
  TAG,
} from '../../src/crypto/mod.ts'
import { SignetError } from '../../src/errors.ts'
import { type Attribute, CK, type Handle } from './cryptoki.ts'
import { isFault } from './faults.ts'
import type { Session } from './token.ts'
import type { TokenUri } from './uri.ts'

const A = CK.attribute

/** An object that a URI names. */
export interface Found {
  readonly handle: Handle
  readonly label: string
  readonly id: Bytes
}

/** Handles of all objects that fit a template, up to a bound that no honest store reaches. */
export function findAll({ module, handle }: Session, template: readonly Attribute[]): Handle[] {
  module.C_FindObjectsInit(handle, template)
  try {
    const found: Handle[] = []
    for (;;) {
      const some = module.C_FindObjects(handle, 64)
      if (some.length === 0 || found.length > 10_000) return found
      found.push(...some)
    }
  } finally {
    module.C_FindObjectsFinal(handle)
  }
}

/** The template of a class and of what a URI says of the object. */
export function templateOf(
  objectClass: number,
  where: Pick<TokenUri, 'object' | 'id'>,
): Attribute[] {
  const template: Attribute[] = [{ type: A.class, value: objectClass }]
  if (where.object !== undefined) template.push({ type: A.label, value: where.object })
  if (where.id !== undefined) template.push({ type: A.id, value: Buffer.from(where.id) })
  return template
}

/** The one object of a class that a URI names: `key_not_found`, `key_ambiguous`. */
export function findOne(session: Session, objectClass: number, where: TokenUri): Found {
  const handles = findAll(session, templateOf(objectClass, where))
  const [handle] = handles
  if (handle === undefined) {
    throw new SignetError('key_not_found', 'the token has no such key', {
      remedy: 'list its keys: signet keys list --key pkcs11:token=…',
    })
  }
  if (handles.length > 1) {
    throw new SignetError('key_ambiguous', `${handles.length} keys of the token match the URI`, {
      remedy: 'name the one with id=',
    })
  }
  return describe(session, handle)
}

/** Label and id of an object. */
export function describe(session: Session, handle: Handle): Found {
  const label = read(session, handle, A.label)
  return {
    handle,
    label: label === undefined ? '' : Buffer.from(label).toString('utf8'),
    id: read(session, handle, A.id) ?? new Uint8Array(),
  }
}

/** One attribute, or undefined where the object has none or does not show it. */
export function read({ module, handle }: Session, object: Handle, type: number): Bytes | undefined {
  try {
    const [attribute] = module.C_GetAttributeValue(handle, object, [{ type }])
    return attribute === undefined ? undefined : Uint8Array.from(attribute.value)
  } catch (error) {
    if (isFault(error, 'CKR_ATTRIBUTE_TYPE_INVALID', 'CKR_ATTRIBUTE_SENSITIVE')) return undefined
    throw error
  }
}

/** A CK_BBOOL attribute; `absent` where there is none. */
export function flag(session: Session, object: Handle, type: number, absent: boolean): boolean {
  const value = read(session, object, type)
  return value === undefined || value.length === 0 ? absent : value[0] !== 0
}

/** A CK_ULONG attribute. */
export function number(session: Session, object: Handle, type: number): number | undefined {
  const value = read(session, object, type)
  return value?.reduceRight((sum, byte) => sum * 256 + byte, 0)
}

/** CKA_EC_PARAMS of a curve: its OID; Ed25519 may also be the name that PKCS#11 3.0 §2.3.10 gives it. */
const CURVES: readonly (readonly [AlgorithmName, Bytes])[] = [
  ['ES256', Uint8Array.from(ALGORITHMS.ES256.parameters)],
  ['ES384', Uint8Array.from(ALGORITHMS.ES384.parameters)],
  ['ES512', Uint8Array.from(ALGORITHMS.ES512.parameters)],
  ['Ed25519', derOid(ALGORITHMS.Ed25519.oid)],
  ['Ed25519', der(0x13, new TextEncoder().encode('edwards25519'))],
]

/** CKA_EC_PARAMS for a new key. */
export function curveOf(algorithm: Algorithm): Buffer {
  return Buffer.from(CURVES.find(([name]) => name === algorithm.name)![1])
}

/** The algorithm of a private key; `rsa` names the scheme where the key does not. */
export function algorithmOf(session: Session, key: Handle, rsa: AlgorithmName): Algorithm {
  const type = number(session, key, A.keyType)
  if (type === CK.key.rsa) return ALGORITHMS[rsa]
  const params = read(session, key, A.ecParams)
  const curve = params && CURVES.find(([, known]) => equalBytes(known, params))
  const isCurve = type === CK.key.ec || type === CK.key.edwards
  if (isCurve && curve !== undefined) return ALGORITHMS[curve[0]]
  throw new SignetError('algorithm_unsupported', 'the token’s key is of a kind that is not known')
}

/**
 * The raw public key that stands beside a private key: in its public object, in the private object itself
 * (RSA), or in a certificate. They are matched by CKA_ID, without one by label. It is NOT yet known to
 * belong to the private key.
 */
export function publicKeyOf(session: Session, found: Found, algorithm: Algorithm): Bytes {
  const where = found.id.length > 0
    ? { object: undefined, id: found.id }
    : { object: found.label, id: undefined }
  const beside = (objectClass: number) => findAll(session, templateOf(objectClass, where))
  const values = algorithm.family === 'rsa'
    ? [...beside(CK.class.publicKey), found.handle].map((one) => rsaOf(session, one))
    : beside(CK.class.publicKey).map((one) => pointOf(session, one, algorithm))
  const known = values.filter((value) => value !== undefined)
  if (known.length === 0) {
    for (const one of beside(CK.class.certificate)) {
      const certificate = read(session, one, A.value)
      if (certificate !== undefined) known.push(certificateKey(certificate, algorithm).publicKey)
    }
  }
  const [first, ...others] = known
  if (first === undefined) {
    throw new SignetError('key_not_found', 'the token has no public key beside the private one', {
      remedy: 'import its public key or certificate with the same id',
    })
  }
  if (others.some((other) => !equalBytes(other, first))) {
    throw new SignetError('key_ambiguous', 'different public keys stand beside the private key')
  }
  checkPublic(algorithm, first)
  return first
}

function rsaOf(session: Session, object: Handle): Bytes | undefined {
  const n = read(session, object, A.modulus)
  const e = read(session, object, A.publicExponent)
  return n === undefined || e === undefined ? undefined : rsaPublicKey({ n, e })
}

/** CKA_EC_POINT is an OCTET STRING in DER; some tokens give the point bare. */
function pointOf(session: Session, object: Handle, algorithm: Algorithm): Bytes | undefined {
  const value = read(session, object, A.ecPoint)
  if (value === undefined || value.length === algorithm.publicBytes) return value
  const reader = new DerReader(value, 'public key of the token')
  const point = reader.read(TAG.octetString)
  reader.end()
  return point
}

/** Subject and public key of an X.509 certificate (RFC 5280 §4.1). Nothing else of it is read or verified. */
export function certificateKey(
  certificate: Uint8Array,
  algorithm?: Algorithm,
): { readonly subject: Bytes; readonly publicKey: Bytes; readonly algorithm: Algorithm } {
  const outer = new DerReader(certificate, 'certificate')
  const tbs = outer.open(TAG.sequence).open(TAG.sequence)
  outer.end()
  if (tbs.peek() === 0xa0) tbs.read(0xa0) // version
  tbs.read(TAG.integer)
  for (const _ of ['signature', 'issuer', 'validity']) tbs.read(TAG.sequence)
  const subject = der(TAG.sequence, tbs.read(TAG.sequence))
  const spki = der(TAG.sequence, tbs.read(TAG.sequence))
  const rsa = algorithm?.family === 'rsa' ? algorithm.name : undefined
  return { subject, ...fromSpki(spki, rsa) }
}

/** A new id for a pair of objects. */
export function newId(): Bytes {
  return crypto.getRandomValues(new Uint8Array(16))
}

/** Attributes that both halves of a new pair have. */
export function common(where: TokenUri, id: Uint8Array): Attribute[] {
  return [
    { type: A.token, value: true },
    { type: A.id, value: Buffer.from(id) },
    ...(where.object === undefined ? [] : [{ type: A.label, value: where.object }]),
  ]
}
