/**
 * A bundle: all that a device takes offline, in one JWS of type `signet-bundle+jwt` that the server signs. The
 * grant, the keys to verify it, the status lists and the rules of being offline are covered by one signature,
 * so no part can be put in the place of another's.
 *
 * ```json
 * {"iss": "https://…", "jti": "bundle id", "aud": "urn:ietf:params:oauth:jwk-thumbprint:sha-256:…",
 *  "iat": 1, "exp": 2, "generation": 1, "cnf": {"jwk": {…}}, "grant": ["…"],
 *  "jwks": {"keys": […]}, "jwks_exp": 2, "status_lists": ["…"],
 *  "log": {"origin": "…", "acknowledged": {"size": 0, "root": "base64"}},
 *  "sync": "https://…/bundles/ID", "offline": {"max_age": 86400, "per_tool": {}, "skew": 60}}
 * ```
 *
 * `aud` is the device's key (RFC 9278). `generation` counts refreshes, so that an older bundle put back is
 * noticed. Times are seconds since 1970.
 */
import * as v from 'valibot'
import { type Bytes, fromBase64, toBase64 } from '../bytes.ts'
import { parseJws, signJws, verifyJws } from '../envelope/mod.ts'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import { canonicalBytes, type JsonObject, parseJson } from '../json.ts'
import { fromJwk, type Key, type PublicKey, publicKey, type SignOptions } from '../keys/mod.ts'
import { HASH_BYTES } from '../log/mod.ts'
import { conform, mapOf } from '../schema.ts'
import { thumbprintUri } from './holder_key.ts'
import type { TrustedIssuer } from './verify.ts'

/** The type in the header. */
export const BUNDLE_TYPE = 'signet-bundle+jwt'
/** Longest bundle that is read: status lists of many thousand grants fit. */
export const MAX_BUNDLE_LENGTH: number = 8 * 1024 * 1024
/** Keys and status lists in one bundle. */
const MAX_PARTS = 64

/** How much of a log the server has. */
export interface AcknowledgedHead {
  /** Entries. */
  readonly size: number
  /** Root over them, 32 bytes. */
  readonly root: Bytes
}

/** How long a device may go on by itself. All in seconds. */
export interface OfflineRules {
  /** Since the last contact with the server. */
  readonly maxAge: number
  /** The same for single tools, where it is less. */
  readonly perTool?: Readonly<Record<string, number>> | undefined
  /** How far clocks may differ. */
  readonly skew: number
}

/** What a bundle says. */
export interface BundleContent {
  /** Who made it. */
  readonly issuer: string
  /** Its id; stays the same through refreshes. */
  readonly id: string
  /** The device's key, and the key of the grant's holder. */
  readonly device: PublicKey
  /** When it was made. */
  readonly issuedAt: number
  /** When being offline with it ends. */
  readonly expiresAt: number
  /** Counts refreshes up from 1. */
  readonly generation: number
  /** The grant, root first. */
  readonly grant: readonly string[]
  /** Snapshot of the issuer's keys. */
  readonly keys: readonly PublicKey[]
  /** When the snapshot stops to count. */
  readonly keysExpireAt: number
  /** Status list tokens for every link that names one. */
  readonly statusLists: readonly string[]
  /** The device's log: its name, and how much of it the server has. */
  readonly log: {
    readonly origin: string
    readonly acknowledged?: AcknowledgedHead | undefined
  }
  /** Base URL of this bundle at the server. */
  readonly sync: string
  /** How long the device may go on by itself. */
  readonly offline: OfflineRules
}

/** A bundle that a pinned key signed. Only {@link openBundle} makes one. Whether it still counts is another question. */
export interface VerifiedBundle extends BundleContent {}
/** See the interface: what a bundle says, and these. */
export class VerifiedBundle {
  readonly #nominal = true
  /** The pinned key that signed. */
  readonly key: PublicKey
  /** The bundle as it came. */
  readonly token: string

  /** Called by {@link openBundle} alone. */
  constructor(content: BundleContent, key: PublicKey, token: string) {
    Object.assign(this, content)
    this.key = key
    this.token = token
    Object.freeze(this)
  }
}

/** Seals a bundle for a device. Errors: `offline_bundle_malformed` for a content that no reader would take. */
export async function sealBundle(
  content: BundleContent,
  key: Key,
  options: SignOptions = {},
): Promise<string> {
  const { log, offline } = content
  const claims: JsonObject = {
    iss: content.issuer,
    jti: content.id,
    aud: thumbprintUri(content.device),
    iat: content.issuedAt,
    exp: content.expiresAt,
    generation: content.generation,
    cnf: { jwk: content.device.jwk },
    grant: [...content.grant],
    jwks: { keys: content.keys.map((one) => ({ ...one.jwk, kid: one.id })) },
    jwks_exp: content.keysExpireAt,
    status_lists: [...content.statusLists],
    log: {
      origin: log.origin,
      ...(log.acknowledged === undefined ? {} : {
        acknowledged: { size: log.acknowledged.size, root: toBase64(log.acknowledged.root) },
      }),
    },
    sync: content.sync,
    offline: {
      max_age: offline.maxAge,
      per_tool: offline.perTool === undefined ? undefined : { ...offline.perTool },
      skew: offline.skew,
    },
  }
  const payload = canonicalBytes(claims)
  await readContent(parseJson(payload, PARSE))
  return await signJws(payload, key, { ...options, typ: BUNDLE_TYPE })
}

const PARSE = { what: 'offline bundle', maxBytes: MAX_BUNDLE_LENGTH, maxDepth: 12 }
const Seconds = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Text = v.pipe(v.string(), v.minLength(1), v.maxLength(2048))

const BundleSchema = v.looseObject({
  iss: Text,
  jti: Text,
  aud: Text,
  iat: Seconds,
  exp: Seconds,
  generation: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  cnf: v.looseObject({ jwk: v.record(v.string(), v.unknown()) }),
  grant: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(MAX_PARTS)),
  jwks: v.looseObject({
    keys: v.pipe(
      v.array(v.record(v.string(), v.unknown())),
      v.minLength(1),
      v.maxLength(MAX_PARTS),
    ),
  }),
  jwks_exp: Seconds,
  status_lists: v.pipe(v.array(v.string()), v.maxLength(MAX_PARTS)),
  log: v.strictObject({
    origin: Text,
    acknowledged: v.optional(v.strictObject({ size: Seconds, root: v.string() })),
  }),
  sync: Text,
  // Strict: a rule that is not understood would be a rule that is not kept.
  offline: v.strictObject({
    max_age: Seconds,
    per_tool: v.optional(mapOf(Seconds)),
    skew: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(600)),
  }),
})

/**
 * Reads a bundle and verifies it under a key of a pinned issuer, which `iss` and `kid` select. Its parts are
 * those of one sealed whole afterwards; NOT judged are its times, whether it is this device's, the grant, and the
 * status lists: `verifyOffline` does.
 *
 * Errors: `token_malformed`, `token_type`, `token_critical`, `too_large`; `signer_untrusted` (issuer or key
 * not pinned); `algorithm_mismatch`, `signature_invalid`; `offline_bundle_malformed`.
 */
export async function openBundle(
  token: string,
  trusted: readonly TrustedIssuer[],
): Promise<VerifiedBundle> {
  const jws = parseJws(token, { maxLength: MAX_BUNDLE_LENGTH })
  const { kid } = jws.header
  // The issuer that it claims only selects whose keys are tried; the signature then covers the claim.
  const claimed = parseJson(jws.payload, PARSE) as JsonObject | null
  const issuer = trusted.find((one) => one.issuer === claimed?.iss)
  const key = issuer?.keys.find(({ id }) => id === kid)
  if (issuer === undefined || key === undefined) {
    throw new SignetError(
      'signer_untrusted',
      issuer === undefined
        ? 'the bundle is from an issuer that is not pinned'
        : `no pinned key of ${quoted(issuer.issuer)} signed the bundle`,
      { remedy: 'pin the issuer and its keys, and pull the bundle again' },
    )
  }
  const { payload } = await verifyJws(jws, key, { typ: BUNDLE_TYPE })
  return new VerifiedBundle(await readContent(parseJson(payload, PARSE)), key, token)
}

async function readContent(value: unknown): Promise<BundleContent> {
  const claims = conform(BundleSchema, value, 'offline_bundle_malformed', 'bundle')
  const { log, offline } = claims
  try {
    const device = await keyOf(claims.cnf.jwk)
    if (claims.aud !== thumbprintUri(device)) throw malformed('its audience is not the device key')
    const sync = new URL(claims.sync)
    const local = ['localhost', '127.0.0.1', '[::1]'].includes(sync.hostname)
    if (sync.protocol !== 'https:' && !(local && sync.protocol === 'http:')) {
      throw malformed('its server is not at an https: URL')
    }
    return {
      issuer: claims.iss,
      id: claims.jti,
      device,
      issuedAt: claims.iat,
      expiresAt: claims.exp,
      generation: claims.generation,
      grant: claims.grant,
      keys: await Promise.all(claims.jwks.keys.map(keyOf)),
      keysExpireAt: claims.jwks_exp,
      statusLists: claims.status_lists,
      log: {
        origin: log.origin,
        acknowledged: log.acknowledged === undefined ? undefined : headOf(log.acknowledged),
      },
      sync: claims.sync,
      offline: { maxAge: offline.max_age, perTool: offline.per_tool, skew: offline.skew },
    }
  } catch (cause) {
    if (isSignetError(cause, 'offline_bundle_malformed')) throw cause
    if (!isSignetError(cause) && !(cause instanceof TypeError)) throw cause
    throw malformed(cause.message, cause)
  }
}

async function keyOf(jwk: Record<string, unknown>): Promise<PublicKey> {
  const { algorithm, publicKey: raw, privateKey } = fromJwk(jwk as JsonObject)
  if (privateKey !== undefined) throw malformed('it holds a private key')
  const key = await publicKey(algorithm, raw)
  // A snapshot in which a name stands for another key would let `kid` choose (RFC 7638).
  if (jwk.kid !== undefined && jwk.kid !== key.id) {
    throw malformed('a key in it is not named by its thumbprint')
  }
  return key
}

function headOf({ size, root }: { size: number; root: string }): AcknowledgedHead {
  const bytes = fromBase64(root, 'root')
  if (bytes.length !== HASH_BYTES) throw malformed('the acknowledged root is not 32 bytes')
  return { size, root: bytes }
}

function malformed(why: string, cause?: unknown): SignetError {
  return new SignetError('offline_bundle_malformed', `bundle: ${why}`, { cause })
}
