/**
 * Composite signatures id-MLDSA65-Ed25519-SHA512 of draft-ietf-lamps-pq-composite-sigs (§2, §3).
 *
 * Both halves sign M' = prefix ‖ label ‖ len(ctx) ‖ ctx ‖ SHA-512(M). ML-DSA does so with the label as
 * its own context, so neither half can be cut out and passed off as a plain ML-DSA-65 signature. Keys,
 * seeds and signatures are the ML-DSA part followed by the Ed25519 part. Both halves must verify.
 */
import { ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, owned, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  checkInput,
  type RawKeyPair,
  type RawSigner,
  type RawVerifier,
  type SigningInput,
} from './engine.ts'

/** The label of the pair; also the context of its ML-DSA half. */
export const COMPOSITE_LABEL: Bytes = utf8('COMPSIG-MLDSA65-Ed25519-SHA512')

const PREFIX = utf8('CompositeAlgorithmSignatures2025')
const COMPOSITE = ALGORITHMS['ML-DSA-65-Ed25519']
const ML_DSA = ALGORITHMS['ML-DSA-65']
const ED25519 = ALGORITHMS['Ed25519']

/** The two halves of anything composite. */
export interface Halves<T> {
  /** ML-DSA-65, bound to {@link COMPOSITE_LABEL} as context where it signs or verifies. */
  readonly mlDsa: T
  /** Ed25519. */
  readonly ed25519: T
}

/** M' of a message (`message` mode) or of its SHA-512 (`digest` mode); `context` has at most 255 bytes. */
export async function compositeMessage(
  input: SigningInput,
  context: Uint8Array = new Uint8Array(),
): Promise<Bytes> {
  checkInput(COMPOSITE, input)
  const digest = input.mode === 'message'
    ? new Uint8Array(await crypto.subtle.digest('SHA-512', owned(input.bytes)))
    : input.bytes
  if (context.length > 255) throw new SignetError('usage_invalid', 'context exceeds 255 bytes')
  return concat(PREFIX, COMPOSITE_LABEL, Uint8Array.of(context.length), context, digest)
}

/** Cuts a composite public key in two. Its length has been checked. */
export function splitPublic(publicKey: Uint8Array): Halves<Bytes> {
  return split(publicKey, ML_DSA.publicBytes!)
}

/** Cuts a composite key pair in two. */
export function splitPair(pair: RawKeyPair): Halves<RawKeyPair> {
  const publicKeys = splitPublic(pair.publicKey)
  const privateKeys = split(pair.privateKey, ML_DSA.privateBytes!)
  return {
    mlDsa: { publicKey: publicKeys.mlDsa, privateKey: privateKeys.mlDsa },
    ed25519: { publicKey: publicKeys.ed25519, privateKey: privateKeys.ed25519 },
  }
}

/** A composite signer of two halves, which may live in different stores. */
export function compositeSigner(halves: Halves<RawSigner>, context?: Uint8Array): RawSigner {
  return {
    modes: ['message', 'digest'],
    async sign(input) {
      const message = { mode: 'message', bytes: await compositeMessage(input, context) } as const
      return concat(await halves.mlDsa.sign(message), await halves.ed25519.sign(message))
    },
  }
}

/** A composite verifier of two halves. Both are always asked. */
export function compositeVerifier(halves: Halves<RawVerifier>, context?: Uint8Array): RawVerifier {
  return async (input, signature) => {
    if (signature.length !== ML_DSA.signatureBytes! + ED25519.signatureBytes!) return false
    const message = { mode: 'message', bytes: await compositeMessage(input, context) } as const
    const parts = split(signature, ML_DSA.signatureBytes!)
    const first = await halves.mlDsa(message, parts.mlDsa)
    const second = await halves.ed25519(message, parts.ed25519)
    return first && second
  }
}

function split(bytes: Uint8Array, at: number): Halves<Bytes> {
  return { mlDsa: owned(bytes.slice(0, at)), ed25519: owned(bytes.slice(at)) }
}
