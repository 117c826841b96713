/**
 * DSSE 1.0 (secure-systems-lab/dsse, protocol.md and envelope.md): bytes, their type, signatures over
 * both. What is signed is PAE(type, payload) = `DSSEv1 SP len(type) SP type SP len(payload) SP payload`, with
 * lengths in decimal and the payload as it travelled; nothing is parsed before its signature holds.
 *
 * ECDSA signatures are DER here, as Sigstore and OMS write them; all others are raw.
 */
import * as v from 'valibot'
import { type Bytes, concat, fromBase64, toBase64, utf8 } from '../bytes.ts'
import { ecdsaFromDer, ecdsaToDer } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { type Key, type PublicKey, signMessage, type SignOptions } from '../keys/mod.ts'
import { conform } from '../schema.ts'

/** One signature of an envelope. */
export interface EnvelopeSignature {
  /** The signature, raw or DER. */
  readonly signature: Bytes
  /** An unauthenticated hint at the key; proves nothing. */
  readonly keyid?: string | undefined
}

/** An envelope as it was received. Nothing of it has been verified. */
export interface Envelope {
  /** Type of the payload. */
  readonly payloadType: string
  /** The payload, decoded from base64. */
  readonly payload: Bytes
  /** At least one. */
  readonly signatures: readonly EnvelopeSignature[]
}

/**
 * A payload whose signature holds under `key`. Only {@link verifyEnvelope} makes one: the private member makes
 * the type nominal, and the room exports the type alone.
 */
export class VerifiedPayload {
  readonly #nominal = true
  /** The signed type. */
  readonly payloadType: string
  /** The signed bytes. */
  readonly payload: Bytes
  /** The trusted key under which the signature holds. */
  readonly key: PublicKey

  /** Called by {@link verifyEnvelope} alone. */
  constructor(envelope: Envelope, key: PublicKey) {
    this.payloadType = envelope.payloadType
    this.payload = envelope.payload
    this.key = key
  }
}

const EnvelopeSchema = v.strictObject({
  payload: v.string(),
  payloadType: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  signatures: v.pipe(
    v.array(v.strictObject({
      sig: v.string(),
      keyid: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(1024)))),
    })),
    v.maxLength(64),
  ),
})

/** Pre-authentication encoding: the bytes that are signed. */
export function pae(payloadType: string, payload: Uint8Array): Bytes {
  const type = utf8(payloadType)
  return concat(utf8(`DSSEv1 ${type.length} `), type, utf8(` ${payload.length} `), payload)
}

/** Reads the JSON form. Errors: `envelope_malformed`, `signature_count` (none at all). */
export function parseEnvelope(json: unknown): Envelope {
  const { payload, payloadType, signatures } = conform(
    EnvelopeSchema,
    json,
    'envelope_malformed',
    'DSSE envelope',
  )
  if (signatures.length === 0) {
    throw new SignetError('signature_count', 'DSSE envelope: there is no signature')
  }
  return {
    payloadType,
    payload: base64(payload, 'payload'),
    signatures: signatures.map(({ sig, keyid }) => ({
      signature: base64(sig, 'signature'),
      // OMS §11.1: absent, null and empty all say nothing.
      keyid: keyid === null || keyid === '' ? undefined : keyid,
    })),
  }
}

/** The JSON form of an envelope. */
export function envelopeToJson(envelope: Envelope): JsonObject {
  return {
    payload: toBase64(envelope.payload),
    payloadType: envelope.payloadType,
    signatures: envelope.signatures.map(({ signature, keyid }) => ({
      sig: toBase64(signature),
      keyid: keyid ?? '',
    })),
  }
}

/** Signs a payload with one key. */
export async function signEnvelope(
  payloadType: string,
  payload: Bytes,
  key: Key,
  options: SignOptions & { readonly keyid?: string } = {},
): Promise<Envelope> {
  const raw = await signMessage(key, pae(payloadType, payload), options)
  const signature = key.publicKey.algorithm.family === 'ecdsa' ? ecdsaToDer(raw) : raw
  return { payloadType, payload, signatures: [{ signature, keyid: options.keyid }] }
}

/**
 * Verifies that one of the envelope's signatures holds under a trusted key, with that key's algorithm.
 * Errors: `signature_invalid`.
 */
export async function verifyEnvelope(envelope: Envelope, key: PublicKey): Promise<VerifiedPayload> {
  const message = pae(envelope.payloadType, envelope.payload)
  for (const { signature } of envelope.signatures) {
    const raw = rawSignature(key, signature)
    if (raw === undefined || !await key.verify(message, raw)) continue
    return new VerifiedPayload(envelope, key)
  }
  throw new SignetError('signature_invalid', `no signature holds under key ${key.id}`)
}

function rawSignature(key: PublicKey, signature: Bytes): Bytes | undefined {
  if (key.algorithm.family !== 'ecdsa') return signature
  try {
    return ecdsaFromDer(signature, key.algorithm.signatureBytes!)
  } catch (error) {
    if (isSignetError(error, 'der_malformed')) return undefined
    throw error
  }
}

function base64(text: string, what: string): Bytes {
  try {
    return fromBase64(text)
  } catch (cause) {
    throw new SignetError('envelope_malformed', `DSSE envelope: ${what} is not base64`, { cause })
  }
}
