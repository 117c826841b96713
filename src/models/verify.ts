/**
 * Verifying seals: who sealed (from the verifier's own trust, never from the bundle's words), what was sealed,
 * and what became of it. {@link verifySeal} looks at one bundle alone; {@link verifyModel} holds one or more
 * bundles and a tree against each other.
 */
import { equalBytes } from '../bytes.ts'
import {
  parseBundle,
  type VerificationMaterial,
  type VerifiedPayload,
  verifyEnvelope,
} from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import { type CompareOptions, compareTree, type Comparison } from './compare.ts'
import type { FileTree } from './file_tree.ts'
import {
  decodeStatement,
  type DecodeStatementOptions,
  readStatement,
  type Statement,
} from './statement.ts'
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
  /** Accepts certificates that have expired, as the reference implementation does. */
  readonly skipCertificateExpiry?: boolean | undefined
}

/**
 * Verifies one bundle against a trust. Nothing is read from it before its signature holds, but the hint
 * that selects among trusted keys.
 *
 * Errors: those of `parseBundle`, `signer_untrusted`, `signature_invalid`, `key_revoked`, `key_expired`,
 * `key_not_yet_valid`, `certificate_untrusted`, and those of `decodeStatement`.
 */
export async function verifySeal(
  bundle: Uint8Array,
  trust: Trust,
  options: VerifySealOptions = {},
): Promise<VerifiedSeal> {
  const { material, envelope } = parseBundle(bundle)
  const now = options.now ?? Math.floor(Date.now() / 1000)
  if (material.method === 'certificate') {
    throw new SignetError('bundle_method_unsupported', 'certificate bundles are not read yet')
  }
  const found = await firstValid(
    await signersFor(trust, material.hint),
    async (signer) => ({ signer, payload: await verifyEnvelope(envelope, signer.key) }),
  )
  checkValidity(found.signer, now)
  const who = signerOf(found.signer.key, found.signer.publisher)
  return new VerifiedSeal(who, await decodeStatement(found.payload, options), found.payload)
}

function signerOf(key: PublicKey, publisher?: string): Signer {
  return { keyId: key.id, algorithm: key.algorithm.name, publisher }
}

/** The first candidate that does not fail with `signature_invalid`; the last failure if all do. */
async function firstValid<T, R>(
  candidates: readonly T[],
  attempt: (candidate: T) => Promise<R>,
): Promise<R> {
  let failure: unknown
  for (const candidate of candidates) {
    try {
      return await attempt(candidate)
    } catch (error) {
      if (!isSignetError(error, 'signature_invalid')) throw error
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
   * Seals that must hold, each named by algorithm, key id or publisher. Without it every bundle must
   * hold; with it those that nobody asked for may fail, and are reported.
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
  require: readonly string[] | undefined,
): VerifiedSeal {
  const failed = reports.find(({ error }) => error !== undefined)?.error
  if (require === undefined && failed !== undefined) throw failed
  for (const wanted of require ?? []) {
    const met = seals.some(({ signer }) =>
      [signer.algorithm, signer.keyId, signer.publisher].includes(wanted)
    )
    if (met) continue
    throw failed ??
      new SignetError('policy_denied', `no seal of ${JSON.stringify(wanted)} was given`)
  }
  const [first] = seals
  if (first === undefined) throw failed ?? new SignetError('policy_denied', 'no seal was given')
  if (!seals.every(({ payload }) => equalBytes(payload, first.payload))) {
    throw new SignetError('policy_denied', 'the bundles seal different statements')
  }
  const publishers = new Set(seals.flatMap(({ signer }) => signer.publisher ?? []))
  const { threshold = 0 } = trust
  if (publishers.size < threshold) {
    throw new SignetError(
      'policy_denied',
      `${publishers.size} of ${threshold} publishers sealed this model`,
    )
  }
  return first
}

/** What a bundle says, whoever wrote it. For showing only: nothing of it is verified. */
export async function unverifiedStatement(
  bundle: Uint8Array,
): Promise<{ readonly material: VerificationMaterial; readonly statement: Statement }> {
  const { material, envelope } = parseBundle(bundle)
  return { material, statement: await readStatement(envelope, { allowCaseCollisions: true }) }
}
