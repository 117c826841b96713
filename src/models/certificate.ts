/**
 * The trust decision of OMS's `certificate` method (OMS v1.0 §4.1, §8.2): a chain out of a bundle, leaf
 * first, against roots that the caller chose. What a certification path is, and what is not verified
 * (revocation above all), stands in `../certificates/path.ts`; here is what a leaf must be.
 *
 * OMS says that the chain is validated and the leaf is within its validity period, no more. The rules
 * for its use are ours, and stricter than the reference's, which takes a leaf whose key usage has
 * digitalSignature *or* whose extended key usage has codeSigning: under a public root that makes every
 * TLS server a signer of models. Here each of the two extensions that is present must allow it
 * (RFC 5280 §4.2.1.12), and one must be present.
 */
import { type Bytes, equalBytes, toHex } from '../bytes.ts'
import { fromSpki } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import {
  type Certificate,
  certificateLabel,
  certificatePath,
  type GeneralNameKind,
  generalNameText,
  MAX_CHAIN,
  nameText,
  parseCertificate,
  PURPOSE,
} from '../certificates/mod.ts'
import { type PublicKey, publicKey } from '../keys/mod.ts'

/** Who signed, as a certificate says it that leads to a trusted root. */
export interface CertificateSigner {
  /** The leaf's key, P-256, P-384 or P-521. It must verify the envelope; that is not done here. */
  readonly key: PublicKey
  /** The leaf's subject, an RFC 4514 string; it may be empty. */
  readonly subject: string
  /** Its issuer, an RFC 4514 string. */
  readonly issuer: string
  /** Its subject alternative names. */
  readonly names: readonly { readonly kind: GeneralNameKind; readonly value: string }[]
  /** First second of its validity, since 1970. */
  readonly notBefore: number
  /** Last second of its validity, since 1970. */
  readonly notAfter: number
  /** SHA-256 of the leaf in DER, lower-case hexadecimal. */
  readonly fingerprint: string
  /** The trusted certificate that the path ends in; the leaf itself if that is trusted. */
  readonly root: {
    /** Its subject, an RFC 4514 string. */
    readonly subject: string
    /** SHA-256 of it in DER, lower-case hexadecimal. */
    readonly fingerprint: string
    /** All of it, in DER, the same bytes as among `roots`. */
    readonly certificate: Bytes
  }
}

/** Options of {@link verifyCertificateChain}. */
export interface CertificateOptions {
  /** The time at which every certificate of the path must be valid, in seconds since 1970. */
  readonly at: number
  /**
   * Checks dates at the leaf's own notBefore when that is earlier than `at`, as the reference
   * implementation does: seals then outlive their certificates, and so does a stolen key, for ever.
   * It contradicts OMS v1.0 §8.2; it is here to read what the reference accepts. Default false.
   */
  readonly skipCertificateExpiry?: boolean | undefined
}

/**
 * Verifies that a certificate chain leads to a trusted root and that its leaf may sign models.
 *
 * In: `chain`, the certificates of the bundle in DER, leaf first, the others in any order, at most 16;
 * `roots`, trust anchors in DER. A root in the chain is not trusted for being there; a certificate
 * among `roots` is trusted whether or not it is self-signed, the leaf included.
 *
 * Errors: `certificate_malformed` (with which one), `certificate_untrusted` (with the certificate and
 * the check that failed), `key_expired`, `key_not_yet_valid`, `usage_invalid` (no time).
 *
 * NOT verified: any signature over a model, revocation, whether the subject is whom you expect.
 */
export async function verifyCertificateChain(
  chain: readonly Uint8Array[],
  roots: readonly Uint8Array[],
  options: CertificateOptions,
): Promise<CertificateSigner> {
  const certificates = parseChain(chain)
  const [leaf] = certificates
  const anchors = roots.map((der, i) => parseCertificate(der, `trusted root ${i + 1}`))
  const at = options.skipCertificateExpiry ? Math.min(options.at, leaf.notBefore) : options.at
  const path = await certificatePath(certificates, anchors, { at, purpose: PURPOSE.codeSigning })
  checkUse(leaf, path.length === 1)
  const root = path.at(-1)!
  return {
    key: await keyOfLeaf(leaf),
    subject: nameText(leaf.subject),
    issuer: nameText(leaf.issuer),
    names: (leaf.extensions.subjectAltName ?? [])
      .map((name) => ({ kind: name.kind, value: generalNameText(name) })),
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    fingerprint: await fingerprint(leaf),
    root: {
      subject: nameText(root.subject),
      fingerprint: await fingerprint(root),
      certificate: root.der,
    },
  }
}

/**
 * The chain to put into a bundle that `key` signs: leaf first, repetitions left out.
 *
 * In: the certificates as read from files, the leaf first. Errors: `key_mismatch` when the leaf is not
 * of this key; `certificate_malformed`; `certificate_untrusted` when no verifier could take the leaf
 * for its key or its use. NOT verified: that the chain leads anywhere, or its dates.
 */
export async function certificateChainFor(
  key: PublicKey,
  chain: readonly Uint8Array[],
): Promise<Bytes[]> {
  const certificates = parseChain(chain)
  const [leaf] = certificates
  const certified = await keyOfLeaf(leaf)
  if (certified.id !== key.id) {
    throw new SignetError(
      'key_mismatch',
      `certificate "${certificateLabel(leaf)}" is not of the key that signs`,
      { remedy: 'name the certificate of the signing key first, before those of its issuers' },
    )
  }
  checkUse(leaf, certificates.length === 1)
  return certificates.map(({ der }) => der)
    .filter((der, i, all) => all.findIndex((one) => equalBytes(one, der)) === i)
}

function parseChain(chain: readonly Uint8Array[]): [Certificate, ...Certificate[]] {
  // Checked before anything is parsed, for it bounds the work.
  if (chain.length > MAX_CHAIN) {
    throw new SignetError(
      'certificate_malformed',
      `the chain holds ${chain.length} certificates; ${MAX_CHAIN} are taken`,
    )
  }
  const [leaf, ...others] = chain.map((der, i) => parseCertificate(der, `certificate ${i + 1}`))
  if (leaf !== undefined) return [leaf, ...others]
  throw new SignetError('certificate_malformed', 'the chain holds no certificate')
}

/** What the leaf's extensions say about signing models. */
function checkUse(leaf: Certificate, isTrustedItself: boolean): void {
  const { basicConstraints, keyUsage, extendedKeyUsage } = leaf.extensions
  // A CA's key signs certificates. A leaf marked CA that may not sign certificates (the reference's
  // own test certificates are such) can do no harm; a self-signed one that is trusted by itself neither.
  const isIssuer = basicConstraints?.ca && (keyUsage?.includes('keyCertSign') ?? true)
  if (isIssuer && !isTrustedItself) throw unfit(leaf, 'it is a CA, and signs models itself')
  if (keyUsage === undefined && extendedKeyUsage === undefined) {
    throw unfit(leaf, 'neither its key usage nor its extended key usage allows it to sign')
  }
  if (keyUsage?.includes('digitalSignature') === false) {
    throw unfit(leaf, 'its key usage does not allow digital signatures')
  }
  if (extendedKeyUsage?.includes(PURPOSE.codeSigning) === false) {
    throw unfit(leaf, 'its extended key usage does not allow code signing')
  }
}

async function keyOfLeaf(leaf: Certificate): Promise<PublicKey> {
  try {
    const found = fromSpki(leaf.spki)
    if (found.algorithm.family === 'ecdsa') {
      return await publicKey(found.algorithm, found.publicKey)
    }
  } catch (cause) {
    if (!isSignetError(cause, 'der_malformed', 'key_malformed', 'algorithm_unsupported')) {
      throw cause
    }
    throw unfit(leaf, `its key is not taken: ${cause.message}`, cause)
  }
  // OMS v1.0 §4.2.
  throw unfit(leaf, 'its key is of no kind that signs models: P-256, P-384 and P-521 do')
}

function unfit(leaf: Certificate, why: string, cause?: unknown): SignetError {
  return new SignetError(
    'certificate_untrusted',
    `certificate "${certificateLabel(leaf)}": ${why}`,
    cause === undefined ? {} : { cause },
  )
}

async function fingerprint({ der }: Certificate): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', der)))
}
