/** What every route gets: the options of the gateway, checked and completed. */
import type { ReceivedRequest, VerifiedRequest } from '../envelope/mod.ts'
import type { JsonObject } from '../json.ts'
import type { Key, PublicKey } from '../keys/mod.ts'
import type { Decide, PolicyDecision } from './decide.ts'
import type { Extension } from './extension.ts'
import type { PrincipalAuthenticator } from './principals.ts'
import type { RateClass } from './rate.ts'
import type { Asked, BundleRecord, GrantRecord, RequestRecord } from './records.ts'
import type { Router } from './router.ts'
import type { Change, GatewayStore } from './store.ts'

/** Longest times (seconds) and deepest chains that are given, longest logs that are kept. */
export interface Ceilings {
  /** Of a grant. */
  readonly duration: number
  /** Without contact. */
  readonly offlineAge: number
  /** Of delegation. */
  readonly maxDepth: number
  /** Entries of one device's log. */
  readonly logEntries: number
  /** Bytes of the entries of one device's log, just as they came. */
  readonly logBytes: number
}

/** What happened, for the operator's log. Holds no secret, no token, no query. */
export interface GatewayEvent {
  /** Name of the request in answers. */
  readonly requestId: string
  /** Method. */
  readonly method: string
  /** Path. */
  readonly path: string
  /** HTTP status. */
  readonly status: number
  /** Milliseconds. */
  readonly took: number
  /** What failed. Its text may tell of the inside. */
  readonly error?: unknown
  /** What the policy said, where it was asked. */
  readonly decision?: PolicyDecision | undefined
}

/** The world of the routes. */
export interface World {
  /** The server's name and address: an origin, without a slash at the end. */
  readonly issuer: string
  /** The key that signs. */
  readonly key: Key
  /** All keys that are published, the signing one first. */
  readonly published: readonly PublicKey[]
  /** Everything that is kept. */
  readonly store: GatewayStore
  /** Policies. */
  readonly decide: Decide
  /** Who may approve. */
  readonly principals: PrincipalAuthenticator
  /** What is given at most. */
  readonly ceilings: Ceilings
  /** Gives a dialect its say; while the gateway is built. */
  extend(extension: Extension): void
  /**
   * What to commit along with whatever a principal gets, so that they are not barred in between. Errors:
   * `policy_denied` if they are barred. `tenant` is that of the agent; undefined: of none.
   */
  admit(principal: string, tenant?: string): Promise<readonly Change[]>
  /** What to commit along with the end of a grant, and what of those made out of it ends too. */
  grantEnded(grant: GrantRecord, hasDescendants: boolean): Promise<readonly Change[]>
  /** What to commit along with the end of a bundle. */
  bundleEnded(bundle: BundleRecord): Promise<readonly Change[]>
  /** The clock, whole seconds since 1970. */
  now(): number
  /** Counts a request against the rate of its class. */
  count(request: Request, kind: RateClass): void
  /** The URL that the world calls a request by: the issuer and the request's path and query. */
  urlOf(request: Request): string
  /** A request whose signature holds, its body read afterwards; see `verifyRequest`. */
  verified(
    request: Request,
    keyOf: (keyId: string) => Promise<PublicKey | undefined>,
    maxBody?: number,
  ): Promise<VerifiedRequest>
  /** The same of parts that were read before. */
  verifiedParts(
    parts: ReceivedRequest,
    keyOf: (keyId: string) => Promise<PublicKey | undefined>,
  ): Promise<VerifiedRequest>
}

/** A part of the gateway: puts its routes into the router. */
export type Routes = (app: Router, world: World) => void

/** What was asked for, of a request's record. */
export function askedOf(request: RequestRecord): Asked {
  const { tools, limits, audience, duration, offlineAge, maxDepth } = request
  return { tools, limits, audience, duration, offlineAge, maxDepth }
}

/** A JSON answer. */
export function json(value: JsonObject | object, status: number = 200, headers = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  })
}
