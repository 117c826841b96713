/** A grant that was verified. Only `verifyGrant` makes one. */
import type { JsonObject } from '../json.ts'
import type { PublicKey } from '../keys/mod.ts'
import {
  type CallDecision,
  type Capability,
  capabilityToJson,
  checkCall,
  type ToolsJson,
} from './capability.ts'
import type { StatusRef } from './claims.ts'
import { type Limits, offlineMaxAge } from './limit_terms.ts'

/** One token of a verified chain. */
export interface VerifiedLink {
  /** SHA-256 of its signing input, base64url: what its child calls it. */
  readonly id: string
  /** Its name. */
  readonly jti: string
  /** Who signed it: the root's issuer, or the thumbprint URI of a holder's key. */
  readonly issuer: string
  /** Thumbprint of the key of whom it was given to. */
  readonly holderThumbprint: string
  /** Issued, in seconds. */
  readonly issuedAt: number
  /** Expires, in seconds. */
  readonly expiresAt: number
  /** Where its status is found. NOT yet asked. */
  readonly status?: StatusRef | undefined
  /** Its limits. NOT yet counted. */
  readonly limits?: Limits | undefined
}

/** What {@link VerifiedGrant} is made of. */
export interface GrantParts {
  readonly holder: PublicKey
  readonly links: readonly VerifiedLink[]
  readonly maxDepth: number
  readonly audience: readonly string[] | undefined
  readonly capability: Capability
  readonly claims: JsonObject
}

/**
 * A grant whose chain holds: signatures, issuer, audience, and I1 to I5 of the draft, at the time it was verified.
 * Not settled by it: whether a link was revoked, whether limits are used up, whether the presenter has the
 * holder's key, and the time of later calls. `authorizeCall` asks all of that each time.
 */
export class VerifiedGrant {
  readonly #nominal = true
  readonly #capability: Capability
  readonly #claims: JsonObject
  /** The leaf's hash, which commits to every link above it: two grants of one id are one grant. */
  readonly id: string
  /** Who gave the authority: `iss` of the root. */
  readonly issuer: string
  /** The leaf's holder, who must prove to have this key. */
  readonly holder: PublicKey
  /** For whom the leaf is; undefined: for everybody who trusts the issuer. */
  readonly audience: readonly string[] | undefined
  /** Tokens above the leaf, counted in the chain itself. */
  readonly depth: number
  /** How deep the chain may become. */
  readonly maxDepth: number
  /** When the leaf was issued, in seconds. */
  readonly issuedAt: number
  /** When the leaf, and with it all, expires, in seconds. */
  readonly expiresAt: number
  /** Every tool that may be called. */
  readonly tools: readonly string[]
  /** The tools that may be called with any arguments. */
  readonly scopes: readonly string[]
  /** The tokens, root first. */
  readonly links: readonly VerifiedLink[]
  /** True if some link has limits. */
  readonly isLimited: boolean
  /** True if some link has a status to be asked for. */
  readonly isRevocable: boolean

  /** Called by `verifyGrant` alone. */
  constructor(parts: GrantParts) {
    const { links, capability } = parts
    const leaf = links.at(-1)!
    this.#capability = capability
    this.id = leaf.id
    this.issuer = links[0]!.issuer
    this.holder = parts.holder
    this.audience = parts.audience
    this.depth = links.length - 1
    this.maxDepth = parts.maxDepth
    this.issuedAt = leaf.issuedAt
    this.expiresAt = leaf.expiresAt
    this.tools = Object.freeze([...capability.keys()])
    this.scopes = Object.freeze(this.tools.filter((tool) => capability.get(tool)!.size === 0))
    this.links = Object.freeze(links)
    this.#claims = parts.claims
    this.isLimited = links.some(({ limits }) => limits !== undefined)
    this.isRevocable = links.some(({ status }) => status !== undefined)
    Object.freeze(this)
  }

  /** What the leaf allows, just as it was verified; each time a copy. Read this, and not the claims again. */
  get capability(): ToolsJson {
    return structuredClone(capabilityToJson(this.#capability))
  }

  /**
   * All claims of the leaf, those too that nobody here knows; each time a copy. Whoever signed the
   * leaf wrote them: what nobody here knows was not compared with its parent's.
   */
  get claims(): JsonObject {
    return structuredClone(this.#claims)
  }

  /**
   * Whether the leaf covers a call. Pure and total: no time, no revocation, no limits, no proof. Arguments are
   * compared by value; whoever hands them on must hand on what was checked.
   */
  check(tool: string, args: unknown): CallDecision {
    return checkCall(this.#capability, tool, args)
  }

  /** Whether a tool may be called at all, with some arguments. */
  allows(tool: string): boolean {
    return this.#capability.has(tool)
  }

  /** Seconds since the last contact that a tool allows; the strictest link decides. undefined: no ceiling. */
  offlineMaxAge(tool: string): number | undefined {
    return offlineMaxAge(this.links.map(({ limits }) => limits), tool)
  }
}
