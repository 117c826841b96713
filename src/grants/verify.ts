/**
 * Verifies a chain in the order of draft §7: sizes; no token twice; the root under a pinned key; then each child
 * under the key that its parent names. The signature of a token comes before its claims are read, and the
 * algorithm is that of the trusted key or of the key in the parent, never the message's.
 *
 * Deviations, all stricter: `kid` of the root must name a pinned key and `kid` of a child, if present, its
 * parent's holder; times are whole seconds; every token's lifetime is bounded, not only the root's.
 */
import { toBase64Url } from '../bytes.ts'
import { type Jws, verifyJws } from '../envelope/mod.ts'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import type { Sha256 } from '../log/mod.ts'
import {
  checkCritical,
  checkDistinct,
  type GrantChain,
  linkHash,
  type Peeked,
  peekTokens,
  readTokens,
  UNDERSTOOD,
} from './chain.ts'
import { capabilityOf, GRANT_TYPE, type GrantClaims, parseClaims } from './claims.ts'
import { type ConstraintExtensions, NO_EXTENSIONS } from './constraints.ts'
import { holderKey } from './holder_key.ts'
import {
  checkChild,
  checkLeaf,
  checkRoot,
  checkTimes,
  type ParentLink,
  timeBounds,
} from './invariants.ts'
import type { JsonObject } from '../json.ts'
import { MAX_DEPTH } from './sizes.ts'
import { VerifiedGrant, type VerifiedLink } from './verified.ts'

/** An issuer that somebody decided to trust, with its keys. */
export interface TrustedIssuer {
  /** Exactly as in `iss`. */
  readonly issuer: string
  /** Its keys. `kid` chooses among them, by thumbprint. */
  readonly keys: readonly PublicKey[]
}

/** Options of {@link verifyGrant}. */
export interface VerifyGrantOptions {
  /** Who is asking: a grant with an audience must name it, and one without has none to miss. */
  readonly audience?: string | undefined
  /** Refuses a grant without an audience. Default false. */
  readonly requireAudience?: boolean | undefined
  /** The time, in seconds. Default: the clock. */
  readonly now?: number | undefined
  /** Seconds that `iat` may lie in the future. Default 30. `exp` has no such leeway. */
  readonly skew?: number | undefined
  /** Longest time from `iat` to `exp`, in seconds. Default 90 days. */
  readonly maxLifetime?: number | undefined
  /** Deepest chain. Default, and at most, 64. */
  readonly maxDepth?: number | undefined
  /** Registered constraint types that are understood. */
  readonly extensions?: ConstraintExtensions | undefined
  /** A SHA-256 that is faster than the platform's asynchronous one. */
  readonly sha256?: Sha256 | undefined
}

/**
 * Verifies a grant against pinned issuers.
 *
 * Errors, with the token in `where` as `chain[2].exp`: `too_large`, `token_malformed`, `grant_malformed`,
 * `grant_cycle`, `signer_untrusted` (no pinned key of that name, or of another issuer), `algorithm_mismatch`,
 * `token_type`, `token_critical`, `signature_invalid`, `constraint_unknown`, `grant_unlinked` (I1, I5),
 * `grant_depth` (I2), `grant_expired`, `grant_not_yet_valid`, `grant_lifetime` (I3), `grant_widened` (I4),
 * `grant_audience`, and those of strict JSON.
 *
 * NOT verified here: revocation, limits, approvals, possession of the holder's key. See `authorizeCall`.
 */
export async function verifyGrant(
  chain: GrantChain,
  trusted: readonly TrustedIssuer[],
  options: VerifyGrantOptions = {},
): Promise<VerifiedGrant> {
  const { extensions = NO_EXTENSIONS, sha256 } = options
  const maxDepth = Math.min(options.maxDepth ?? MAX_DEPTH, MAX_DEPTH)
  const times = timeBounds(options)
  const raw = readTokens(chain)
  const checks = new EarlyChecks(raw, sha256)
  checks.begin(pinnedKey(raw[0]!, trusted))
  const tokens = peekTokens(raw)
  const links: VerifiedLink[] = []
  let parent: ParentLink & { readonly key: PublicKey } | undefined
  let json: JsonObject | undefined
  for (const [at, token] of tokens.entries()) {
    try {
      const signer = parent === undefined ? pinned(token, trusted) : childSigner(token, parent.key)
      await checks.signature(at, signer, tokens)
      json = token.json
      const claims = parseClaims(json, extensions)
      checkCritical(token.header, claims.limits !== undefined)
      if (parent === undefined) {
        checkIssuer(claims, signer, trusted)
        checkRoot(claims, maxDepth)
      } else checkChild(parent, claims, maxDepth)
      checkTimes(claims, times)
      const key = await holderKey(claims.holder)
      // The leaf's key comes last and signs nothing here; it is read while the signatures are checked.
      if (at === 0) begun(tokens.at(-1)!.holder)
      const hash = await checks.hash(at)
      links.push(linkOf(claims, key, hash))
      parent = { claims, key, holder: key.id, hash }
    } catch (error) {
      throw placed(error, at)
    }
  }
  const leaf = parent!
  checkDistinct(links.map(({ jti }) => jti))
  checkLeaf(leaf.claims)
  checkAudience(leaf.claims.audience, options)
  return new VerifiedGrant({
    holder: leaf.key,
    links,
    maxDepth: leaf.claims.maxDepth,
    audience: leaf.claims.audience,
    capability: capabilityOf(leaf.claims),
    claims: json!,
  })
}

/**
 * Signatures and hashes that are worked on while others are: a platform checks signatures on threads of its own. Which
 * key a child needs says its parent, whose signature does not hold yet; so a check that was begun early counts only if
 * it was made under the very key that the parent, once verified, turns out to name. At most {@link AHEAD} are begun
 * before the one that is waited for, so that a stranger's chain costs little.
 */
class EarlyChecks {
  readonly #tokens: readonly Jws[]
  readonly #sha256: Sha256 | undefined
  readonly #signatures: (Promise<Checked> | undefined)[] = []
  readonly #hashes: (Promise<string> | undefined)[] = []

  constructor(tokens: readonly Jws[], sha256: Sha256 | undefined) {
    this.#tokens = tokens
    this.#sha256 = sha256
  }

  /** Begins the check of the root. */
  begin(key: PublicKey | undefined): void {
    if (key !== undefined) this.#signatures[0] = this.#check(0, key)
  }

  /** Waits for the signature of a token under a key, and begins those that come next. */
  async signature(at: number, key: PublicKey, tokens: readonly Peeked[]): Promise<void> {
    const found = this.#signatures[at] ??= this.#check(at, key)
    for (let next = at + 1; next <= at + AHEAD && next < tokens.length; next++) {
      this.#signatures[next] ??= this.#guess(next, tokens[next - 1]!)
    }
    await this.#settle(at, key, await found)
  }

  async #settle(at: number, key: PublicKey, found: Checked): Promise<void> {
    // Ids are hashes of the keys, so one id is one key.
    const { holds, error } = found.key?.id === key.id ? found : await this.#check(at, key)
    if (!holds) throw error
  }

  /** The hash of a token. */
  async hash(at: number): Promise<string> {
    return await (this.#hashes[at] ??= this.#digest(at))
  }

  /** Never rejects, so that nobody must wait for it. */
  async #check(at: number, key: PublicKey): Promise<Checked> {
    const options = { typ: GRANT_TYPE, understands: UNDERSTOOD }
    const verifying = verifyJws(this.#tokens[at]!, key, options).then(
      () => ({ key, holds: true }),
      (error: unknown) => ({ key, holds: false, error }),
    )
    // After the signature was handed to the platform: the one does not wait for the other.
    this.#hashes[at] ??= this.#digest(at)
    return await verifying
  }

  async #guess(at: number, { holder }: Peeked): Promise<Checked> {
    try {
      if (holder !== undefined) return await this.#check(at, await holderKey(holder))
    } catch { // no key: the parent will be refused for that
    }
    return { key: undefined, holds: false }
  }

  async #digest(at: number): Promise<string> {
    const token = this.#tokens[at]!
    if (this.#sha256 !== undefined) return linkHash(token, this.#sha256)
    return toBase64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', token.signingInput)))
  }
}

/** What became of a signature, and under which key; no key: it was not checked. */
interface Checked {
  readonly key: PublicKey | undefined
  readonly holds: boolean
  readonly error?: unknown
}

/** Signatures that are begun before their turn. */
const AHEAD = 3

function begun(holder: JsonObject | undefined): void {
  if (holder !== undefined) holderKey(holder).catch(() => {}) // told of in its turn
}

/** The pinned key that the root's `kid` names. Whose it is, the claims must confirm. */
function pinnedKey(
  { header: { kid } }: Jws,
  trusted: readonly TrustedIssuer[],
): PublicKey | undefined {
  for (const { keys } of trusted) {
    for (const key of keys) if (key.id === kid) return key
  }
  return undefined
}

function pinned(token: Jws, trusted: readonly TrustedIssuer[]): PublicKey {
  const { kid } = token.header
  const key = pinnedKey(token, trusted)
  if (key !== undefined) return key
  throw new SignetError(
    'signer_untrusted',
    typeof kid === 'string'
      ? `no trusted issuer has a key ${quoted(kid)}`
      : 'the grant does not say which key signed it',
    { where: 'kid', remedy: "pin the issuer's key, or fetch its newest JWKS over a way you trust" },
  )
}

function childSigner({ header: { kid } }: Jws, holder: PublicKey): PublicKey {
  if (kid === undefined || kid === holder.id) return holder
  throw new SignetError(
    'grant_unlinked',
    'the chain does not hold together: signed by another key',
    {
      where: 'kid',
    },
  )
}

/** One key may be pinned for several issuers; the one that the root names must be among them. */
function checkIssuer(
  { iss }: GrantClaims,
  signer: PublicKey,
  trusted: readonly TrustedIssuer[],
): void {
  const isPinned = trusted.some(({ issuer, keys }) =>
    issuer === iss && keys.some(({ id }) => id === signer.id)
  )
  if (isPinned) return
  throw new SignetError('signer_untrusted', `the key is not one of issuer ${quoted(iss)}`, {
    where: 'iss',
  })
}

/** Whether a grant's audience names who is asking. Errors: `grant_audience`. */
export function checkAudience(
  audience: readonly string[] | undefined,
  options: {
    readonly audience?: string | undefined
    readonly requireAudience?: boolean | undefined
  },
): void {
  const isMeant = audience === undefined
    ? options.requireAudience !== true
    : options.audience !== undefined && audience.includes(options.audience)
  if (isMeant) return
  throw new SignetError('grant_audience', 'the grant is meant for somebody else', { where: 'aud' })
}

function linkOf(claims: GrantClaims, key: PublicKey, id: string): VerifiedLink {
  return Object.freeze({
    id,
    jti: claims.jti,
    issuer: claims.iss,
    holderThumbprint: key.id,
    issuedAt: claims.iat,
    expiresAt: claims.exp,
    status: claims.status,
    limits: claims.limits,
  })
}

/** The same error, with the token in its place. */
function placed(error: unknown, at: number): unknown {
  if (!isSignetError(error)) return error
  const { code, message, where, remedy } = error
  return new SignetError(code, `token ${at} of the chain: ${message}`, {
    where: where === undefined ? `chain[${at}]` : `chain[${at}].${where}`,
    cause: error.cause ?? error,
    ...(remedy === undefined ? {} : { remedy }),
  })
}
