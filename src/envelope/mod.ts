/** The envelope room: what was signed is what was received. */
export {
  type Envelope,
  type EnvelopeSignature,
  envelopeToJson,
  pae,
  parseEnvelope,
  signEnvelope,
  type VerifiedPayload,
  verifyEnvelope,
} from './dsse.ts'
export {
  type Bundle,
  BUNDLE_MEDIA_TYPE,
  formatBundle,
  MAX_BUNDLE_BYTES,
  parseBundle,
  type ParseBundleOptions,
  type VerificationMaterial,
} from './sigstore_bundle.ts'
export {
  type Jws,
  MAX_JWS_LENGTH,
  parseJws,
  type ParseJwsOptions,
  signJws,
  type SignJwsOptions,
  type VerifiedJws,
  verifyJws,
  type VerifyJwsOptions,
} from './jws.ts'
export {
  appendRotation,
  claimedRotations,
  followRotations,
  formatRotations,
  parseRotations,
  ROTATION_TYPE,
  type RotationOptions,
} from './rotation.ts'
export {
  ED25519_NOTE,
  formatNoteSignature,
  formatVkey,
  type Note,
  type NoteScheme,
  type NoteSignature,
  type NoteSigner,
  noteSigner,
  type NoteSignerOptions,
  type NoteVerifier,
  noteVerifier,
  openNote,
  parseNote,
  parseNoteSignature,
  parseVkey,
  signNote,
  u64,
  type VerifiedNote,
  type VerifiedNoteSignature,
} from './signed_note.ts'
export {
  DEVICE_TAG,
  type HttpRequestParts,
  type NonceStore,
  type ReceivedRequest,
  signRequest,
  type SignRequestOptions,
  type VerifiedRequest,
  verifyRequest,
  type VerifyRequestOptions,
} from './http_signature.ts'
export { type SignableRequest, signatureBase } from './signature_base.ts'
export { checkContentDigest, contentDigest } from './content_digest.ts'
