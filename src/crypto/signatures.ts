/**
 * Signing and verifying with raw keys, whatever the algorithm: picks the engine that passed the
 * self-test, puts composite keys together from their halves, and checks lengths before anything else.
 */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, owned, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  COMPOSITE_LABEL,
  compositeSigner,
  compositeVerifier,
  type Halves,
  splitPair,
  splitPublic,
} from './composite.ts'
import {
  checkInput,
  type EngineName,
  type RawKeyPair,
  type RawSigner,
  type RawVerifier,
} from './engine.ts'
import { engineFor } from './selftest.ts'
import { checkPublic } from './spki.ts'

/** Options of signers and verifiers. */
export interface EngineOptions {
  /** Forces an engine past the self-test. For tests and comparisons. */
  readonly engine?: EngineName | undefined
  /** Context string: ML-DSA's (FIPS 204 §5.2) or the composite's application context. Default empty. */
  readonly context?: Uint8Array | undefined
  /** The public key went through {@link checkPublic} before, which is not cheap. */
  readonly checked?: boolean | undefined
}

const PARTS: Halves<Algorithm> = { mlDsa: ALGORITHMS['ML-DSA-65'], ed25519: ALGORITHMS['Ed25519'] }

/** A new key pair as raw bytes. */
export async function generateRaw(
  algorithm: Algorithm,
  options: EngineOptions = {},
): Promise<RawKeyPair> {
  if (algorithm.family !== 'composite') {
    return (await engineFor(algorithm, { engine: options.engine })).generate(algorithm)
  }
  const mlDsa = await generateRaw(PARTS.mlDsa, options)
  const ed25519 = await generateRaw(PARTS.ed25519, options)
  return {
    publicKey: concat(mlDsa.publicKey, ed25519.publicKey),
    privateKey: concat(mlDsa.privateKey, ed25519.privateKey),
  }
}

/** A new key of which only the public half leaves the engine. */
export async function generateSigner(
  algorithm: Algorithm,
  options: EngineOptions = {},
): Promise<{ publicKey: Bytes; signer: RawSigner }> {
  if (algorithm.family !== 'composite') {
    return (await engineFor(algorithm, { engine: options.engine })).generateSigner(algorithm)
  }
  const pair = await generateRaw(algorithm, options)
  return { publicKey: pair.publicKey, signer: await rawSigner(algorithm, pair, options) }
}

/** The public half of a raw private key. */
export async function derivePublic(
  algorithm: Algorithm,
  privateKey: Uint8Array,
  options: EngineOptions = {},
): Promise<Bytes> {
  if (algorithm.family !== 'composite') {
    return (await engineFor(algorithm, { engine: options.engine })).publicKey(algorithm, privateKey)
  }
  const at = PARTS.mlDsa.privateBytes!
  return concat(
    await derivePublic(PARTS.mlDsa, privateKey.slice(0, at), options),
    await derivePublic(PARTS.ed25519, privateKey.slice(at), options),
  )
}

/** A signer of a raw key pair. */
export async function rawSigner(
  algorithm: Algorithm,
  pair: RawKeyPair,
  options: EngineOptions = {},
): Promise<RawSigner> {
  if (algorithm.family === 'composite') {
    const pairs = splitPair(pair)
    return compositeSigner({
      mlDsa: await rawSigner(PARTS.mlDsa, pairs.mlDsa, { ...options, context: COMPOSITE_LABEL }),
      ed25519: await rawSigner(PARTS.ed25519, pairs.ed25519, { engine: options.engine }),
    }, options.context)
  }
  const engine = await engineFor(algorithm, {
    engine: options.engine,
    context: options.context !== undefined,
  })
  return engine.signer(algorithm, pair, options.context)
}

/**
 * A verifier of a raw public key. It answers false for anything that is not a valid signature;
 * it throws `mode_unsupported` where a mode makes no sense for the algorithm, `digest_malformed` where a
 * digest has the wrong length.
 */
export async function rawVerifier(
  algorithm: Algorithm,
  publicKey: Uint8Array,
  options: EngineOptions = {},
): Promise<RawVerifier> {
  if (options.checked !== true) checkPublic(algorithm, publicKey)
  if (algorithm.family === 'composite') {
    const keys = splitPublic(publicKey)
    return compositeVerifier({
      mlDsa: await rawVerifier(PARTS.mlDsa, keys.mlDsa, { ...options, context: COMPOSITE_LABEL }),
      ed25519: await rawVerifier(PARTS.ed25519, keys.ed25519, { engine: options.engine }),
    }, options.context)
  }
  const engine = await engineFor(algorithm, {
    engine: options.engine,
    context: options.context !== undefined,
  })
  const verify = await engine.verifier(algorithm, publicKey, options.context)
  return async (input, signature) => {
    checkInput(algorithm, input)
    const length = algorithm.signatureBytes
    if (length !== undefined && signature.length !== length) return false
    if (input.mode === 'message' || engine.name === 'noble') return await verify(input, signature)
    // WebCrypto takes messages only; the portable code takes the other modes.
    const portable = (await engineFor(algorithm, { engine: 'noble' })).verifier
    return await (await portable(algorithm, publicKey))(input, signature)
  }
}

/**
 * Checks that two raw halves belong together, by a signature made and verified. Imported keys are
 * not believed: a foreign public half makes Ed25519 leak its private half (double public key attack).
 */
export async function checkPair(
  algorithm: Algorithm,
  pair: RawKeyPair,
  options: EngineOptions = {},
): Promise<void> {
  const probe = { mode: 'message', bytes: utf8('signet pair check') } as const
  const { sign } = await rawSigner(algorithm, pair, options)
  const verify = await rawVerifier(algorithm, pair.publicKey, options)
  const signature = await sign(probe).catch((cause) => {
    // Deno looks at the numbers of an RSA key no sooner than when it signs.
    throw new SignetError('key_malformed', `not a private key of ${algorithm.name}`, { cause })
  })
  if (!await verify(probe, owned(signature))) {
    throw new SignetError('key_mismatch', 'the public key does not belong to the private key')
  }
}
