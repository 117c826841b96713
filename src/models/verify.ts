/**
 * Verifying seals: who sealed (from the verifier's own trust, never from the bundle's words), what was sealed,
 * and what became of it. {@link verifySeal} looks at one bundle alone; {@link verifyModel} holds one or more
 * bundles and a tree against each other.
 */
import { ALGORITHMS } from '../algorithms.ts'
import { equalBytes } from '../bytes.ts'
import {
  type Bundle,
  parseBundle,
  type VerificationMaterial,
  type VerifiedPayload,
  verifyEnvelope,
} from '../envelope/mod.ts'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import { type CompareOptions, compareTree, type Comparison } from './compare.ts'
import type { FileTree } from './file_tree.ts'
import type { Statement } from './statement.ts'
import { decodeStatement, type DecodeStatementOptions, readStatement } from './statement_read.ts'
import { checkValidity, signersFor, type Trust } from './trust.ts'

/** Who sealed, as the verifier knows them. */
export interface Signer {
  /** RFC 7638 thumbprint of the key. */
  readonly keyId: string
  /** Algorithm of the key. */
  readonly algorithm: string
  /** Publisher that the verifier's trust names. */
  readonly publisher?: string | undefined
  /** Subject of the certificate, if the seal came with one. */
  readonly certificate?: string | undefined
}

/** A seal whose signature holds under a trusted, valid key. Only {@link verifySeal} makes one. */
export class VerifiedSeal {
  readonly #nominal = true
  /** Who sealed. */
  readonly signer: Signer
  /** What was sealed. */
  readonly statement: Statement
  /** The signed bytes. */
  readonly payload: Uint8Array

  /** Called by {@link verifySeal} alone. */
  constructor(signer: Signer, statement: Statement, payload: VerifiedPayload) {
    this.signer = signer
    this.statement = statement
    this.payload = payload.payload
  }
}

/** Options of {@link verifySeal}. */
export interface VerifySealOptions extends DecodeStatementOptions {
  /** Seconds since 1970 at which keys must be valid. Default: now. */
  readonly now?: number | undefined
  /**
   * Accepts certificates that have expired, as the reference implementation does; see
   * `CertificateOptions`. Default false.
   */
  readonly skipCertificateExpiry?: boolean | undefined
}

/**
 * Verifies one bundle against a trust. Nothing is read from it before its signature holds, but the hint
 * that selects among trusted keys, or the certificates that lead to a trusted root.
 *
 * Errors: those of `parseBundle`, `signer_untrusted`, `algorithm_mismatch`, `signature_invalid`,
 * `key_malformed` (of the trusted key), `key_revoked`, `key_expired`, `key_not_yet_valid`,
 * `certificate_malformed`, `certificate_untrusted`, and those of `decodeStatement`.
 */
export async function verifySeal(
  bundle: Uint8Array,
  trust: Trust,
  options: VerifySealOptions = {},
): Promise<VerifiedSeal> {
  const { material, envelope } = parseBundle(bundle)
  const { signer, payload } = material.method === 'certificate'
    ? await byCertificate(material.chain, envelope, trust, options)
    : await byKey(material, envelope, trust, options)
  return new VerifiedSeal(signer, await decodeStatement(payload, options), payload)
}

/** Who signed, and what. */
interface Signed {
  readonly signer: Signer
  readonly payload: VerifiedPayload
}

const nowOf = ({ now }: VerifySealOptions) => now ?? Math.floor(Date.now() / 1000)

async function byKey(
  material: { readonly hint?: string | undefined; readonly keyDetails?: string | undefined },
  envelope: Bundle['envelope'],
  trust: Trust,
  options: VerifySealOptions,
): Promise<Signed> {
  const { signer: { key, publisher }, payload } = await firstValid(
    await signersFor(trust, material),
    async (signer) => ({ signer, payload: await verifyEnvelope(envelope, signer.key) }),
  )
  checkValidity(trust.signers, key, nowOf(options))
  return { signer: signerOf(key, publisher), payload }
}

async function byCertificate(
  chain: readonly Uint8Array[],
  envelope: Bundle['envelope'],
  { roots = [], signers }: Trust,
  options: VerifySealOptions,
): Promise<Signed> {
  if (roots.length === 0) {
    throw new SignetError(
      'signer_untrusted',
      'the seal names certificates, and no root is trusted',
      {
        remedy: 'give the root certificate that the signer told you of',
      },
    )
  }
  // Loaded when first needed: most verifiers never see a certificate.
  const { verifyCertificateChain } = await import('./certificate.ts')
  const { key, subject, names, root } = await verifyCertificateChain(
    chain,
    roots.map(({ certificate }) => certificate),
    { at: nowOf(options), skipCertificateExpiry: options.skipCertificateExpiry },
  )
  const payload = await verifyEnvelope(envelope, key)
  // No revocation list is fetched; a key that a keyset here calls revoked is not let in by this door.
  checkValidity(signers.filter(({ status }) => status === 'revoked'), key, nowOf(options))
  const holder = [subject, ...names.map(({ value }) => value)]
  const trusted = roots.find(({ certificate, identity }) =>
    equalBytes(certificate, root.certificate) &&
    (identity === undefined || identity !== '' && holder.includes(identity))
  )
  if (trusted === undefined) {
    throw new SignetError(
      'signer_untrusted',
      `the certificate is of ${quoted(holder.filter(Boolean).join(', '))}, who is not expected`,
    )
  }
  // A leaf without a subject has a name at least (RFC 5280 §4.1.2.6).
  const certificate = subject || names.map(({ value }) => value).join(', ')
  return { signer: { ...signerOf(key, trusted.publisher), certificate }, payload }
}

function signerOf(key: PublicKey, publisher?: string): Signer {
  return { keyId: key.id, algorithm: key.algorithm.name, publisher }
}

/** The first candidate that does not fail for its own sake; the last failure if all do. */
async function firstValid<T, R>(
  candidates: readonly T[],
  attempt: (candidate: T) => Promise<R>,
): Promise<R> {
  let failure: unknown
  for (const candidate of candidates) {
    try {
      return await attempt(candidate)
    } catch (error) {
      // A trusted key that is no point of its curve keeps no other from verifying.
      if (!isSignetError(error, 'signature_invalid', 'key_malformed')) throw error
      failure = error
    }
  }
  throw failure
}

/** A bundle to verify. */
export interface BundleInput {
  /** Where it came from, for the report. */
  readonly name: string
  /** The bytes of the file. */
  readonly bytes: Uint8Array
}

/** What became of one bundle. */
export interface BundleReport {
  /** Where it came from. */
  readonly name: string
  /** Who sealed, if the seal holds. */
  readonly signer?: Signer
  /** Why the seal does not hold, if so. */
  readonly error?: SignetError
}

/** Options of {@link verifyModel}. */
export interface VerifyModelOptions extends VerifySealOptions, CompareOptions {
  /**
   * Seals that must hold, each named by algorithm, key id or publisher; a name that could be two of these
   * is the first. Without any every bundle must hold; with some those that nobody asked for may fail, and
   * are reported.
   */
  readonly require?: readonly string[] | undefined
}

/** The answer of {@link verifyModel}. */
export interface ModelReport extends Comparison {
  /** Name and metadata that were signed, and the root digest. */
  readonly model: Pick<Statement, 'name' | 'root' | 'metadata' | 'serialization'>
  /** What became of each bundle. */
  readonly bundles: readonly BundleReport[]
}

/**
 * Verifies the bundles, then the tree. Throws when no verdict on the files is due, because a required seal
 * does not hold (the error of that seal), too few publishers sealed (`policy_denied`) or the bundles seal
 * different things (`policy_denied`). Differing files do not throw: see `ok` and `files` of the report.
 *
 * The files are read after the seal was verified and may change afterwards: load what was verified.
 */
export async function verifyModel(
  bundles: readonly BundleInput[],
  tree: FileTree,
  trust: Trust,
  options: VerifyModelOptions = {},
): Promise<ModelReport> {
  const seals: VerifiedSeal[] = []
  const reports: BundleReport[] = []
  for (const { name, bytes } of bundles) {
    try {
      const seal = await verifySeal(bytes, trust, options)
      seals.push(seal)
      reports.push({ name, signer: seal.signer })
    } catch (error) {
      if (!isSignetError(error)) throw error
      reports.push({ name, error })
    }
  }
  const first = decide(seals, reports, trust, options.require)
  const { name, root, metadata, serialization } = first.statement
  return {
    ...await compareTree(first.statement, tree, options),
    model: { name, root, metadata, serialization },
    bundles: reports,
  }
}

/** The seal to go by, or the reason why there is none. */
function decide(
  seals: readonly VerifiedSeal[],
  reports: readonly BundleReport[],
  trust: Trust,
  require: readonly string[] = [],
): VerifiedSeal {
  const failed = reports.find(({ error }) => error !== undefined)?.error
  if (require.length === 0 && failed !== undefined) throw failed
  for (const wanted of require) {
    if (seals.some(({ signer }) => answersTo(signer, wanted))) continue
    throw failed ??
      new SignetError('policy_denied', `no seal of ${quoted(wanted)} was given`)
  }
  const [first] = seals
  if (first === undefined) throw failed ?? new SignetError('policy_denied', 'no seal was given')
  if (!seals.every(({ payload }) => equalBytes(payload, first.payload))) {
    throw new SignetError('policy_denied', 'the bundles seal different statements')
  }
  const named = seals.map(({ signer }) => signer).filter(({ publisher }) => publisher !== undefined)
  // One key may stand for two publishers, by itself and in a certificate: it counts once.
  const sealed = Math.min(
    new Set(named.map(({ publisher }) => publisher)).size,
    new Set(named.map(({ keyId }) => keyId)).size,
  )
  const { threshold = 0 } = trust
  if (sealed < threshold) {
    throw new SignetError(
      'policy_denied',
      `${sealed} of ${threshold} publishers sealed this model`,
    )
  }
  return first
}

/** Publishers choose their names, so none may pass for an algorithm or for a key. */
function answersTo({ algorithm, keyId, publisher }: Signer, wanted: string): boolean {
  if (Object.hasOwn(ALGORITHMS, wanted)) return algorithm === wanted
  return (/^[\w-]{43}$/.test(wanted) ? keyId : publisher) === wanted
}

/** What a bundle says, whoever wrote it. For showing only: nothing of it is verified. */
export async function unverifiedStatement(
  bundle: Uint8Array,
): Promise<{ readonly material: VerificationMaterial; readonly statement: Statement }> {
  const { material, envelope } = parseBundle(bundle)
  return { material, statement: await readStatement(envelope, { allowCaseCollisions: true }) }
}
