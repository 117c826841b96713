/**
 * The Sigstore bundle (sigstore/protobuf-specs, sigstore_bundle.proto, JSON form) as far as it carries one
 * DSSE envelope, with the verification material that OMS v1.0 §4.1 allows: a hint at a public key, or a
 * certificate chain. Exactly one signature: the proto's comment on `dsse_envelope` demands that clients
 * refuse more.
 */
import * as v from 'valibot'
import { type Bytes, fromBase64, toBase64, wrapBase64 } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { type Envelope, envelopeToJson, parseEnvelope } from './dsse.ts'

/** Who is said to have signed. All of it is the bundle's own word. */
export type VerificationMaterial =
  | {
    /** One key, known to the verifier beforehand. */
    readonly method: 'key'
    /** OMS: hex SHA-256 of the key's PEM. Bundles before 1.1.0 have none. */
    readonly hint?: string | undefined
    /** Bundles before 1.1.0: Sigstore's name of the algorithm, such as `PKIX_ECDSA_P384_SHA_384`. */
    readonly keyDetails?: string | undefined
  }
  | {
    /** A certificate and its issuers, known by their root. */
    readonly method: 'certificate'
    /** DER, leaf first. */
    readonly chain: readonly Bytes[]
  }

/** A bundle as it was received. Nothing of it has been verified. */
export interface Bundle {
  /** Who is said to have signed. */
  readonly material: VerificationMaterial
  /** What was signed; exactly one signature. */
  readonly envelope: Envelope
}

/** The media type that is written and read. */
export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'

const Text = v.pipe(v.string(), v.maxLength(65536))
const Tlog = v.optional(v.array(v.unknown()))
const PublicKeySchema = v.strictObject({
  hint: v.optional(v.nullable(Text)),
  // Before 1.1.0 the key itself stood here. It is never used: a bundle can't vouch for its own key.
  rawBytes: v.optional(Text),
  keyDetails: v.optional(Text),
})
const BundleSchema = v.strictObject({
  mediaType: v.string(),
  verificationMaterial: v.strictObject({
    publicKey: v.optional(PublicKeySchema),
    x509CertificateChain: v.optional(v.strictObject({
      certificates: v.pipe(
        v.array(v.strictObject({ rawBytes: Text })),
        v.minLength(1),
        v.maxLength(16),
      ),
    })),
    certificate: v.optional(v.unknown()),
    tlogEntries: Tlog,
    timestampVerificationData: v.optional(v.unknown()),
  }),
  dsseEnvelope: v.optional(v.unknown()),
  messageSignature: v.optional(v.unknown()),
})

/** Options of {@link parseBundle}. */
export interface ParseBundleOptions {
  /** Largest bundle taken, in bytes. Default {@link MAX_BUNDLE_BYTES}. */
  readonly maxBytes?: number
}

/** Largest bundle written, and taken by default: some two million files, and what V8 still holds as one text. */
export const MAX_BUNDLE_BYTES: number = 511 * 2 ** 20

/** Few values make a bundle; most are those of transparency log entries, which nobody here reads. */
const MAX_VALUES = 10_000

/**
 * Reads a bundle.
 *
 * Errors: `too_large`, those of JSON, `bundle_media_type`, `bundle_malformed`, `envelope_malformed`,
 * `signature_count`, `bundle_method_unsupported` (Sigstore keyless bundles, and message signatures).
 */
export function parseBundle(bytes: Uint8Array, options: ParseBundleOptions = {}): Bundle {
  const { maxBytes = MAX_BUNDLE_BYTES } = options
  const json = parseJson(bytes, { what: 'bundle', maxBytes, maxDepth: 32, maxValues: MAX_VALUES })
  checkMediaType(json)
  const { verificationMaterial, dsseEnvelope, messageSignature } = conform(
    BundleSchema,
    json,
    'bundle_malformed',
    'bundle',
  )
  const { publicKey, x509CertificateChain, certificate } = verificationMaterial
  if (certificate !== undefined) {
    throw new SignetError(
      'bundle_method_unsupported',
      'this is a keyless Sigstore bundle; key and certificate bundles are verified here',
    )
  }
  if (messageSignature !== undefined) {
    throw new SignetError(
      'bundle_method_unsupported',
      'this bundle signs a message, not a statement about a model',
    )
  }
  if ((publicKey === undefined) === (x509CertificateChain === undefined)) {
    throw new SignetError('bundle_malformed', 'bundle names not exactly one signing method')
  }
  const envelope = parseEnvelope(dsseEnvelope)
  if (envelope.signatures.length !== 1) {
    throw new SignetError(
      'signature_count',
      `bundle has ${envelope.signatures.length} signatures; exactly one is allowed`,
    )
  }
  if (x509CertificateChain === undefined) {
    const { hint, keyDetails } = publicKey!
    // An empty hint says nothing, as the reference has it.
    return { material: { method: 'key', hint: hint || undefined, keyDetails }, envelope }
  }
  const chain = x509CertificateChain.certificates.map(({ rawBytes }) => certificateDer(rawBytes))
  return { material: { method: 'certificate', chain }, envelope }
}

/**
 * The bytes of a bundle: compact JSON and a final newline. Errors: `too_large` (beyond {@link MAX_BUNDLE_BYTES}
 * nobody would read it).
 */
export function formatBundle(bundle: Bundle): Bytes {
  const { material, envelope } = bundle
  const who = material.method === 'key' ? { publicKey: { hint: material.hint ?? '' } } : {
    x509CertificateChain: {
      certificates: material.chain.map((bytes) => ({ rawBytes: toBase64(bytes) })),
    },
  }
  const head = { mediaType: BUNDLE_MEDIA_TYPE, verificationMaterial: { ...who, tlogEntries: [] } }
  const { payload: _, ...rest } = envelopeToJson({ ...envelope, payload: new Uint8Array() })
  const bytes = wrapBase64(
    `${JSON.stringify(head).slice(0, -1)},"dsseEnvelope":{"payload":"`,
    envelope.payload,
    `",${JSON.stringify(rest).slice(1)}}\n`,
  )
  if (bytes.length <= MAX_BUNDLE_BYTES) return bytes
  throw new SignetError('too_large', `the bundle has more than ${MAX_BUNDLE_BYTES} bytes`, {
    remedy: 'seal fewer files at once',
  })
}

/** Checked first, so that some other kind of file is called what it is. */
function checkMediaType(json: unknown): void {
  const type = typeof json === 'object' && json !== null && 'mediaType' in json
    ? json.mediaType
    : undefined
  if (type === BUNDLE_MEDIA_TYPE) return
  if (typeof type !== 'string') {
    throw new SignetError('bundle_malformed', 'the file is no Sigstore bundle: it has no mediaType')
  }
  throw new SignetError(
    'bundle_media_type',
    `bundle is of type ${quoted(type)}`,
    {
      remedy: `only ${BUNDLE_MEDIA_TYPE} is read`,
    },
  )
}

function certificateDer(rawBytes: string): Bytes {
  try {
    return fromBase64(rawBytes)
  } catch (cause) {
    throw new SignetError('certificate_malformed', 'a certificate is not base64', { cause })
  }
}
