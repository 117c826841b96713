/** Whom a verifier of seals trusts, and who of them a bundle says it is from. */
import { type Bytes, toHex } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import {
  type Keyset,
  type KeysetMember,
  pemDigest,
  type PublicKey,
  refusal,
  toPublicPem,
} from '../keys/mod.ts'

/** A key that may seal, and whose it is. */
export interface TrustedSigner extends KeysetMember {
  /** Name of the publisher, if the key came with one. */
  readonly publisher?: string | undefined
}

/** A certificate authority whose certificates may seal. */
export interface TrustedRoot {
  /** DER of the root certificate. */
  readonly certificate: Bytes
  /** Name of the publisher, if the root stands for one. */
  readonly publisher?: string | undefined
  /**
   * Only certificates of this holder: exactly the subject (RFC 4514) or one of the alternative names, as
   * `Signer.certificate` tells them. Without it, every holder of a fit certificate under the root may seal.
   */
  readonly identity?: string | undefined
}

/** Whom a verifier trusts. Comes from the verifier's own files, never from a bundle. */
export interface Trust {
  /** Keys. */
  readonly signers: readonly TrustedSigner[]
  /** Roots of certificates. */
  readonly roots?: readonly TrustedRoot[] | undefined
  /** How many different publishers must have sealed. */
  readonly threshold?: number | undefined
}

/** Trusts plain keys, without a name or an end. */
export function trustKeys(...keys: readonly PublicKey[]): Trust {
  return { signers: keys.map((key) => ({ key, status: 'primary' })) }
}

/** Trusts the members of a keyset, within their validity. */
export function trustKeyset(keyset: Keyset): Trust {
  return { signers: keyset.members.map((member) => ({ ...member, publisher: keyset.name })) }
}

/** OMS's name of a key: hex SHA-256 of its PEM (OMS v1.0 §4.1). */
export async function keyHint(key: PublicKey): Promise<string> {
  return toHex(await pemDigest(toPublicPem(key)))
}

/**
 * The trusted keys that a hint may mean; without a hint all of them. The hint only selects: a wrong one
 * finds nobody, a forged one finds a key under which the signature will not hold. So does the algorithm that
 * bundles before 1.1.0 name; the one that is used is the key's.
 *
 * Errors: `signer_untrusted`, `algorithm_mismatch`.
 */
export async function signersFor(
  trust: Trust,
  { hint, keyDetails }: {
    readonly hint?: string | undefined
    readonly keyDetails?: string | undefined
  },
): Promise<TrustedSigner[]> {
  const hints = await Promise.all(trust.signers.map(({ key }) => keyHint(key)))
  const found = trust.signers.filter((_, i) => hint === undefined || hints[i] === hint)
  const fitting = found.filter(({ key }) =>
    keyDetails === undefined || key.algorithm.sigstore === keyDetails
  )
  if (fitting.length > 0) return fitting
  if (found.length > 0) {
    throw new SignetError(
      'algorithm_mismatch',
      `the seal says that it is a signature of ${quoted(keyDetails!)}, which no trusted key makes`,
    )
  }
  throw new SignetError('signer_untrusted', 'the seal names a key that is not trusted here', {
    ...(hint === undefined ? {} : { where: `key hint ${quoted(hint)}` }),
    remedy: "give the signer's public key with --key, or add it to your publishers",
  })
}

/**
 * Throws why a key is not believed at a time (seconds since 1970), if so. What speaks against it under any name
 * counts: a key that one publisher revoked is no better for being another's too.
 */
export function checkValidity(
  signers: readonly TrustedSigner[],
  key: PublicKey,
  now: number,
): void {
  for (const signer of signers) {
    const error = signer.key.id === key.id ? refusal(signer, now) : undefined
    if (error !== undefined) throw error
  }
}
