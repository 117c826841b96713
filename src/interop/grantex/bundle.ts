/**
 * Grantex's consent bundle: what a device takes offline. The key snapshot in it is not signed by anybody, and the
 * private audit key was made by the server and travels in the clear; both are theirs, and both are said here.
 */
import * as v from 'valibot'
import { ALGORITHMS } from '../../algorithms.ts'
import { derivePublic, toPkcs8 } from '../../crypto/mod.ts'
import { SignetError } from '../../errors.ts'
import { isObject, type JsonObject, type JsonValue, parseJson } from '../../json.ts'
import {
  type Key,
  type PublicKey,
  publicKey,
  readPrivateKey,
  readPublicKeys,
  toPem,
  toPublicPem,
} from '../../keys/mod.ts'
import { conform } from '../../schema.ts'
import {
  grantexKeys,
  type GrantexTrust,
  type VerifiedGrantexToken,
  verifyGrantexToken,
  type VerifyGrantexTokenOptions,
} from './token.ts'

/** A consent bundle: the seven members of its wire form. */
export interface GrantexBundle {
  /** `bundle_…`. */
  readonly bundleId: string
  /** Compact JWS. */
  readonly grantToken: string
  /** Keys to verify it with. NOT authenticated. */
  readonly jwksSnapshot: {
    /** JWKs. */
    readonly keys: readonly JsonObject[]
    /** ISO 8601. */
    readonly fetchedAt: string
    /** ISO 8601. */
    readonly validUntil: string
  }
  /** PEM: SPKI and unencrypted PKCS#8. */
  readonly offlineAuditKey: {
    /** SPKI PEM. */
    readonly publicKey: string
    /** PKCS#8 PEM in the clear. */
    readonly privateKey: string
    /** The only one there is. */
    readonly algorithm: 'Ed25519'
  }
  /** Milliseconds since 1970: when it was issued. */
  readonly checkpointAt: number
  /** URL. */
  readonly syncEndpoint: string
  /** ISO 8601. */
  readonly offlineExpiresAt: string
}

const MAX_BUNDLE = 256 * 1024
const text = v.pipe(v.string(), v.minLength(1), v.maxLength(64 * 1024))
const time = v.pipe(v.string(), v.maxLength(40), v.isoTimestamp())
const SCHEMA = v.object({
  bundleId: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,128}$/)),
  grantToken: text,
  jwksSnapshot: v.object({
    keys: v.pipe(
      v.array(v.custom<JsonObject>((value) => isObject(value as JsonValue))),
      v.minLength(1),
      v.maxLength(100),
    ),
    fetchedAt: time,
    validUntil: time,
  }),
  offlineAuditKey: v.object({ publicKey: text, privateKey: text, algorithm: v.literal('Ed25519') }),
  checkpointAt: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(8.64e15)),
  syncEndpoint: v.pipe(v.string(), v.regex(/^https?:\/\/[^\s]{1,2000}$/)),
  offlineExpiresAt: time,
})

/**
 * Reads a bundle from JSON; other members (`data`, which repeats all of it) are dropped.
 * Errors: `bundle_malformed`, `too_large`, and those of JSON.
 */
export function parseGrantexBundle(json: Uint8Array | string): GrantexBundle {
  const value = parseJson(json, { what: 'bundle', maxBytes: MAX_BUNDLE, maxDepth: 12 })
  return conform<GrantexBundle>(SCHEMA, value, 'bundle_malformed', 'bundle')
}

/** The bundle as JSON, its seven members and nothing else. */
export function formatGrantexBundle(bundle: GrantexBundle): string {
  const { bundleId, grantToken, jwksSnapshot, offlineAuditKey } = bundle
  const { checkpointAt, syncEndpoint, offlineExpiresAt } = bundle
  return JSON.stringify({
    ...{ bundleId, grantToken, jwksSnapshot, offlineAuditKey },
    ...{ checkpointAt, syncEndpoint, offlineExpiresAt },
  })
}

/**
 * The audit key of a bundle, its halves checked to belong together. Errors: `key_mismatch`, `key_malformed`,
 * `pem_malformed`, `algorithm_mismatch`.
 */
export async function grantexAuditKey({ offlineAuditKey }: GrantexBundle): Promise<Key> {
  const key = await readPrivateKey(offlineAuditKey.privateKey, { insecureClearKey: true })
  const [stated, ...more] = await readPublicKeys(offlineAuditKey.publicKey)
  if (key.publicKey.algorithm !== ALGORITHMS['Ed25519']) {
    throw new SignetError('algorithm_mismatch', 'the audit key is not an Ed25519 key')
  }
  if (more.length > 0 || stated?.id !== key.publicKey.id) {
    throw new SignetError('key_mismatch', 'the halves of the audit key do not belong together')
  }
  return key
}

/**
 * A new audit key as Grantex's clients want it from the server: both halves in PEM, the private one in the clear.
 * Legacy: a device of ours makes its own. The caller keeps the public half and forgets the rest.
 */
export async function newGrantexAuditKey(): Promise<
  { readonly pem: GrantexBundle['offlineAuditKey']; readonly publicKey: PublicKey }
> {
  const entry = ALGORITHMS['Ed25519']
  const privateKey = crypto.getRandomValues(new Uint8Array(entry.privateBytes!))
  try {
    const pair = { privateKey, publicKey: await derivePublic(entry, privateKey) }
    const verifying = await publicKey(entry, pair.publicKey)
    const pem = {
      publicKey: toPublicPem(verifying),
      privateKey: toPem('PRIVATE KEY', toPkcs8(entry, pair)),
      algorithm: 'Ed25519',
    } as const
    return { pem, publicKey: verifying }
  } finally {
    privateKey.fill(0)
  }
}

/** Options of {@link verifyGrantexBundle}. */
export interface VerifyGrantexBundleOptions extends VerifyGrantexTokenOptions {
  /** Takes the keys of the snapshot for the issuer's. Whoever edits the file is then the issuer. */
  readonly insecureTrustSnapshot?: boolean | undefined
}

/**
 * Verifies all of a bundle: the token under the issuer's pinned keys (or, insecurely, those of the snapshot), and
 * that neither snapshot nor offline time is over, which Grantex's clients never look at.
 *
 * Errors: those of `verifyGrantexToken` and `grantexKeys`; `bundle_expired`; `keys_expired` (the snapshot's time is
 * over); `bundle_malformed` (a snapshot or checkpoint from the future); `usage_invalid` (no pinned keys).
 */
export async function verifyGrantexBundle(
  bundle: GrantexBundle,
  trust: Pick<GrantexTrust, 'issuer'> & Partial<GrantexTrust>,
  options: VerifyGrantexBundleOptions = {},
): Promise<VerifiedGrantexToken> {
  const { now = Date.now() / 1000, skew = 30 } = options
  if (trust.keys === undefined && options.insecureTrustSnapshot !== true) {
    throw new SignetError('usage_invalid', "the keys of a bundle are nobody's word", {
      remedy: "pin the issuer's keys when the device is set up, and give them here",
    })
  }
  const keys = trust.keys ?? await grantexKeys(bundle.jwksSnapshot.keys)
  const token = await verifyGrantexToken(bundle.grantToken, { issuer: trust.issuer, keys }, options)
  const at = (iso: string) => Date.parse(iso) / 1000
  if (at(bundle.jwksSnapshot.fetchedAt) > now + skew || bundle.checkpointAt / 1000 > now + skew) {
    throw new SignetError('bundle_malformed', 'the bundle is from the future')
  }
  if (now >= at(bundle.jwksSnapshot.validUntil) + skew) {
    throw new SignetError('keys_expired', 'the key snapshot of the bundle has expired')
  }
  if (now >= at(bundle.offlineExpiresAt) + skew) {
    throw new SignetError('bundle_expired', 'the time that the bundle may be used offline is over')
  }
  return token
}
