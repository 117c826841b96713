/**
 * Certification paths (RFC 5280 §6.1), from a certificate to one of the caller's trust anchors.
 *
 * Steps: a certificate that is itself an anchor is trusted at once. Otherwise its issuers are looked
 * for by name, first among the anchors and then among the other certificates given, depth first. Each
 * link is judged by the checks of {@link LINK_CHECKS} and by its signature; a path that reached an
 * anchor is judged by name constraints. Anchors are judged like any other CA: by their dates, their
 * constraints, their uses (RFC 5937); only the signature on them is not looked at.
 *
 * Beyond RFC 5280: extended key usage of a CA binds what is below it; names are the same only when
 * their DER is; a critical extension without an entry in `extensions.ts`, policies among
 * them, ends the path.
 *
 * Bounds: {@link MAX_CHAIN} certificates given, {@link MAX_PATH} in a path, {@link MAX_SIGNATURES}
 * signatures verified, {@link MAX_COMPARISONS} names compared. More of any is refused, not truncated.
 * What paths there are grows with the certificates given, and 16 make a few hundred at most.
 *
 * NOT verified: revocation (no CRL or OCSP is fetched), certificate policies, transparency.
 */
import { equalBytes } from '../bytes.ts'
import { type ErrorCode, SignetError } from '../errors.ts'
import { type Certificate, certificateLabel } from './certificate.ts'
import { type Budget, constraintFault, namesOf } from './constraints.ts'
import { PURPOSE } from './extensions.ts'
import { signatureFault } from './signature.ts'

/** Certificates of a chain, the first one included. */
export const MAX_CHAIN = 16
/** Certificates in a path, from the first to the anchor. */
const MAX_PATH = 8
const MAX_SIGNATURES = 32
const MAX_COMPARISONS = 1 << 14

/** Options of {@link certificatePath}. */
export interface PathOptions {
  /** The time at which all certificates must be valid, in seconds since 1970. */
  readonly at: number
  /** Purpose (dotted OID) that the extended key usage of a CA must allow, where it has one. */
  readonly purpose: string
}

/** Why a certificate does not do. */
interface Fault {
  readonly code: ErrorCode
  readonly certificate: Certificate
  readonly why: string
}

/** Judges `issuer` as the next of `path` (first certificate first). Undefined is yes. */
type LinkCheck = (
  issuer: Certificate,
  path: readonly Certificate[],
  options: PathOptions,
) => string | undefined

/** What an issuer must be, cheapest first; each reason is said of the issuer. */
const LINK_CHECKS: readonly LinkCheck[] = [
  ({ extensions: { basicConstraints } }) =>
    basicConstraints?.ca ? undefined : 'it is not a CA (basic constraints), yet issued another',
  // §6.1.4 n: only where the extension is present.
  ({ extensions: { keyUsage } }) =>
    keyUsage === undefined || keyUsage.includes('keyCertSign')
      ? undefined
      : 'its key usage does not allow it to sign certificates',
  ({ extensions: { extendedKeyUsage } }, _, { purpose }) =>
    extendedKeyUsage === undefined ||
      [PURPOSE.any, purpose].some((one) => extendedKeyUsage.includes(one))
      ? undefined
      : 'its extended key usage does not allow what is asked of the certificates below it',
  // §6.1.4 l, m: self-issued certificates do not count, and neither does the last, our first.
  ({ extensions: { basicConstraints } }, path) => {
    const between = path.slice(1).filter((one) => !isSelfIssued(one)).length
    return between <= (basicConstraints?.pathLength ?? Infinity)
      ? undefined
      : `its path length constraint allows ${basicConstraints?.pathLength} CAs below it, not ${between}`
  },
  keyIdFault,
]

/** §4.2.1.1: the key identifiers of a link agree where both ends have them. */
function keyIdFault(issuer: Certificate, path: readonly Certificate[]): string | undefined {
  const id = path.at(-1)!.extensions.authorityKeyId
  const keyId = issuer.extensions.subjectKeyId
  if (id?.keyId !== undefined && keyId !== undefined && id.keyId !== keyId) {
    return 'its subject key identifier is not the authority key identifier of what it issued'
  }
  const names = id?.issuer?.filter(({ kind }) => kind === 'directory') ?? []
  const isNamed = names.length === 0 ||
    names.some(({ content }) => equalBytes(content, issuer.issuer.der))
  if (!isNamed || (id?.serial !== undefined && id.serial !== issuer.serial)) {
    return 'it is not the certificate that the authority key identifier of what it issued names'
  }
  return undefined
}

const isSelfIssued = ({ subject, issuer }: Certificate) => equalBytes(subject.der, issuer.der)

/** The same holder: no path has use for one twice (RFC 4158 §2.4.2). */
const isSameHolder = (a: Certificate, b: Certificate) =>
  equalBytes(a.spki, b.spki) && equalBytes(a.subject.der, b.subject.der)

/** Judges any certificate of a path by itself. */
function ownFault(certificate: Certificate, { at }: PathOptions): Fault | undefined {
  const { extensions, issuer, notBefore, notAfter } = certificate
  const fault = (why: string, code: ErrorCode = 'certificate_untrusted') => ({
    code,
    certificate,
    why,
  })
  if (extensions.unknownCritical.length > 0) {
    return fault(`critical extension ${extensions.unknownCritical[0]} is not known`)
  }
  if (issuer.rdns.length === 0) return fault('it names no issuer') // §4.1.2.4
  const ca = extensions.basicConstraints?.ca ?? false
  if (!ca && extensions.keyUsage?.includes('keyCertSign')) {
    return fault('it may sign certificates, and is not a CA') // §4.2.1.9
  }
  if (!ca && extensions.nameConstraints) return fault('it constrains names, and is not a CA')
  // Validity is in whole seconds, the last one included (§4.1.2.5).
  const second = Math.floor(at)
  if (second < notBefore) {
    return fault(`it is not valid before ${iso(notBefore)}`, 'key_not_yet_valid')
  }
  if (second > notAfter) return fault(`it expired on ${iso(notAfter)}`, 'key_expired')
  return undefined
}

const iso = (seconds: number) =>
  new Date(seconds * 1000).toISOString().replace('.000', '').replace(/^\+/, '')

/**
 * The path from `chain[0]` to one of `anchors`: first certificate first, anchor last, one member when
 * the first is itself an anchor. The rest of `chain` may stand in any order and be useless; nothing in
 * it is trusted for being there. What `chain[0]` may be used for is left to the caller.
 *
 * Errors: `certificate_untrusted`, `key_expired`, `key_not_yet_valid`, each with the certificate and
 * the check that failed, of the path that came furthest; `usage_invalid` for a time that is none.
 */
export async function certificatePath(
  chain: readonly Certificate[],
  anchors: readonly Certificate[],
  options: PathOptions,
): Promise<readonly Certificate[]> {
  if (!Number.isFinite(options.at)) {
    throw new SignetError('usage_invalid', 'the time to check certificates at is not a number')
  }
  const [first, ...others] = chain
  if (first === undefined) {
    throw new SignetError('certificate_malformed', 'the chain holds no certificate')
  }
  if (chain.length > MAX_CHAIN) {
    throw new SignetError(
      'certificate_untrusted',
      `the chain holds ${chain.length} certificates; ${MAX_CHAIN} are taken`,
    )
  }
  const own = ownFault(first, options)
  if (own !== undefined) throw errorOf(own)
  if (anchors.some((anchor) => equalBytes(anchor.der, first.der))) return [first]
  const search = new Search(others, anchors, options)
  const path = await search.from([first])
  if (path === undefined) throw errorOf(search.fault!)
  return path
}

function errorOf({ code, certificate, why }: Fault): SignetError {
  return new SignetError(code, `certificate "${certificateLabel(certificate)}": ${why}`)
}

/** One search: what it may use, what it has spent, and the fault of the path that came furthest. */
class Search {
  readonly #others: readonly Certificate[]
  readonly #anchors: readonly Certificate[]
  readonly #options: PathOptions
  readonly #signatures = new Map<Certificate, Map<Certificate, string | undefined>>()
  readonly #budget: Budget = { comparisons: MAX_COMPARISONS }
  #signaturesLeft = MAX_SIGNATURES
  #furthest = 0
  #fault: Fault | undefined

  constructor(
    others: readonly Certificate[],
    anchors: readonly Certificate[],
    options: PathOptions,
  ) {
    this.#others = others
    this.#anchors = anchors
    this.#options = options
  }

  /** The fault to report when no path was found. */
  get fault(): Fault | undefined {
    return this.#fault
  }

  /** The first path that begins with this one and ends in an anchor. */
  async from(path: readonly Certificate[]): Promise<readonly Certificate[] | undefined> {
    const last = path.at(-1)!
    const issued = (issuer: Certificate) => equalBytes(issuer.subject.der, last.issuer.der)
    const isNew = (issuer: Certificate) => !path.some((one) => isSameHolder(one, issuer))
    const anchors = this.#anchors.filter((one) => issued(one) && isNew(one))
    const others = this.#others.filter((one) => issued(one) && isNew(one))
    if (anchors.length + others.length === 0) {
      this.#note(path.length, {
        code: 'certificate_untrusted',
        certificate: last,
        why: isSelfIssued(last)
          ? 'the chain ends here, in a root that is not among the trusted ones'
          : 'its issuer is neither in the chain nor among the trusted roots',
      })
    }
    for (const issuer of [...anchors, ...others]) {
      const isAnchor = anchors.includes(issuer)
      const fault = await this.#linkFault(issuer, path)
      const longer = [...path, issuer]
      const reason = fault ?? (isAnchor ? this.#namesFault(longer) : undefined)
      if (reason !== undefined) this.#note(longer.length, reason)
      else if (isAnchor) return longer
      else {
        const found = await this.from(longer)
        if (found !== undefined) return found
      }
    }
    return undefined
  }

  /** Keeps the first fault of the longest path. */
  #note(length: number, fault: Fault): void {
    if (length <= this.#furthest) return
    this.#furthest = length
    this.#fault = fault
  }

  async #linkFault(
    issuer: Certificate,
    path: readonly Certificate[],
  ): Promise<Fault | undefined> {
    const fault = (certificate: Certificate, why: string): Fault => ({
      code: 'certificate_untrusted',
      certificate,
      why,
    })
    if (path.length >= MAX_PATH) {
      return fault(issuer, `a path of more than ${MAX_PATH} certificates would be needed`)
    }
    for (const check of LINK_CHECKS) {
      const why = check(issuer, path, this.#options)
      if (why !== undefined) return fault(issuer, why)
    }
    const own = ownFault(issuer, this.#options)
    if (own !== undefined) return own
    const child = path.at(-1)!
    const why = await this.#signatureFault(child, issuer)
    return why === undefined ? undefined : fault(child, why)
  }

  /** Each pair is verified once, in however many paths it occurs. */
  async #signatureFault(child: Certificate, issuer: Certificate): Promise<string | undefined> {
    const known = this.#signatures.get(child) ?? new Map<Certificate, string | undefined>()
    this.#signatures.set(child, known)
    if (known.has(issuer)) return known.get(issuer)
    // Ends the search: only a chain made for it needs so many.
    if (--this.#signaturesLeft < 0) {
      throw new SignetError(
        'certificate_untrusted',
        `the chain has more than ${MAX_SIGNATURES} signatures to try on the way to a trusted root`,
      )
    }
    const fault = await signatureFault(child, issuer)
    known.set(issuer, fault)
    return fault
  }

  /** §6.1.3 b, c: each CA's constraints bind all below it, self-issued CAs excepted. */
  #namesFault(path: readonly Certificate[]): Fault | undefined {
    for (const [i, certificate] of path.slice(0, -1).entries()) {
      if (i > 0 && isSelfIssued(certificate)) continue
      const names = namesOf(certificate)
      for (const issuer of path.slice(i + 1)) {
        const why = constraintFault(names, issuer, this.#budget)
        if (why !== undefined) return { code: 'certificate_untrusted', certificate, why }
      }
    }
    return undefined
  }
}
