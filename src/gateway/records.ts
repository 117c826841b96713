/**
 * What the gateway keeps, as plain JSON. Times are seconds since 1970. Secrets (codes, session tokens, operator
 * keys) are kept as their SHA-256 only, which is the id of their record.
 */
import type { JsonObject } from '../json.ts'

/** An agent: an OAuth client. */
export interface AgentRecord {
  /** `agent_…`; the `client_id`. */
  readonly id: string
  /** For people. */
  readonly name: string
  /** For people. */
  readonly description?: string | undefined
  /** A suspended agent gets nothing, and nothing of theirs is valid. */
  readonly status: 'active' | 'suspended'
  /** By whom: what the operator did, a developer does not undo. Undefined: by the operator. */
  readonly suspendedBy?: 'operator' | 'tenant' | undefined
  /** Exact; a redirect goes nowhere else. */
  readonly redirectUris: readonly string[]
  /** Tools that may be asked for. Undefined: any. */
  readonly tools?: readonly string[] | undefined
  /**
   * From which agents it takes grants that were made of theirs, besides its own. Undefined: from none, so that nobody
   * puts a grant under the name of an agent that took no part.
   */
  readonly takesFrom?: readonly string[] | undefined
  /** Whose agent it is, where several share a server. */
  readonly tenant?: string | undefined
  /** When it was registered. */
  readonly createdAt: number
  /** What a dialect keeps with it. */
  readonly extra?: JsonObject | undefined
}

/** What was asked for, in one form for pages, policies and grants. */
export interface Asked {
  /** Tool identifiers with their constraint maps, as in AAT. */
  readonly tools: JsonObject
  /** Limits by tool. */
  readonly limits?: JsonObject | undefined
  /** Who may take the grant for valid. */
  readonly audience?: readonly string[] | undefined
  /** How long the grant is to hold, seconds. */
  readonly duration: number
  /** How long the device may go without contact, seconds. */
  readonly offlineAge: number
  /** How often it may be passed on. */
  readonly maxDepth: number
}

/** A request for consent. */
export interface RequestRecord extends Asked {
  /** `req_…`. To know it is not to be allowed to approve it. */
  readonly id: string
  /** Who asks. */
  readonly agent: string
  /** Where the answer goes. */
  readonly redirectUri: string
  /** Goes back with the answer. */
  readonly state?: string | undefined
  /** PKCE, S256. */
  readonly codeChallenge: string
  /** Only this principal may approve, if named. */
  readonly principalHint?: string | undefined
  /** Thumbprint of the key that alone may redeem it, if named. */
  readonly holder?: string | undefined
  /** How far it got. */
  readonly status: 'pending' | 'approved' | 'denied' | 'redeemed'
  /** Who approved, or for whom a policy did. */
  readonly principal?: string | undefined
  /** What approved it. */
  readonly approvedBy?: 'principal' | 'policy' | undefined
  /** The rule of the policy that decided. */
  readonly rule?: string | undefined
  /** When it was decided. */
  readonly decidedAt?: number | undefined
  /** SHA-256 of the code, base64url. */
  readonly codeHash?: string | undefined
  /** Until when the code can be redeemed. */
  readonly codeExpires?: number | undefined
  /** The grant it became. */
  readonly grant?: string | undefined
  /** When it was made. */
  readonly createdAt: number
  /** Until when it can be decided. */
  readonly expiresAt: number
  /** What a dialect keeps with it. */
  readonly extra?: JsonObject | undefined
}

/** A place in a status list. */
export interface StatusPlace {
  /** Name of the list. */
  readonly list: string
  /** Index in it. */
  readonly index: number
}

/** A grant that this server issued. */
export interface GrantRecord {
  /** `grant_…` */
  readonly id: string
  /** To whom. */
  readonly agent: string
  /** On whose behalf. */
  readonly principal: string
  /** The approved request that it came from; undefined for delegated ones. */
  readonly request?: string | undefined
  /** The grant it was narrowed from; its end is the end of this one. */
  readonly parent?: string | undefined
  /** `jti` of the token. */
  readonly jti: string
  /** The token, a chain of one. */
  readonly token: string
  /** Thumbprint of the holder's key. */
  readonly holder: string
  /** What it allows. */
  readonly asked: Asked
  /** When it was issued. */
  readonly issuedAt: number
  /** Until when it holds. */
  readonly expiresAt: number
  /** Revoked ones stay so. */
  readonly status: 'active' | 'revoked'
  /** Since when. */
  readonly revokedAt?: number | undefined
  /** Why. */
  readonly reason?: string | undefined
  /** Its place in a status list. */
  readonly place: StatusPlace
  /** What a dialect keeps with it. */
  readonly extra?: JsonObject | undefined
}

/** A bundle that a device took offline. */
export interface BundleRecord {
  /** `bundle_…` */
  readonly id: string
  /** Its grant. */
  readonly grant: string
  /** Whose grant. */
  readonly agent: string
  /** On whose behalf. */
  readonly principal: string
  /** Thumbprint of the device's key. */
  readonly device: string
  /** The device's key, public JWK. */
  readonly deviceKey: JsonObject
  /** +1 each refresh. */
  readonly generation: number
  /** The newest bundle, as signed. */
  readonly jws: string
  /** Keys that signed entries of its log before, oldest first. */
  readonly keys: readonly JsonObject[]
  /** When it was made. */
  readonly createdAt: number
  /** Until when the newest holds offline. */
  readonly expiresAt: number
  /** Last contact. */
  readonly seenAt: number
  /** Revoked ones stay so. */
  readonly status: 'active' | 'revoked'
  /** Since when. */
  readonly revokedAt?: number | undefined
  /** Why. */
  readonly reason?: string | undefined
  /** Its place in a status list, if it has one of its own. */
  readonly place?: StatusPlace | undefined
  /** What a dialect keeps with it. */
  readonly extra?: JsonObject | undefined
}

/** What is known of a device's log. Its entries are in {@link DeviceLogs}. */
export interface LogRecord {
  /** Thumbprint of the device's key; its entries are kept under the same name. A device has one log for all bundles. */
  readonly id: string
  /** What the sync protocol needs to go on: size, bytes of all entries, root, newest checkpoint. */
  readonly state: JsonObject
  /** When something of it came last. */
  readonly seenAt: number
}

/** A log that is not what it was: rolled back, forked, replaced. */
export interface FindingRecord {
  /** `finding_…` */
  readonly id: string
  /** Of which bundle. */
  readonly bundle: string
  /** Of which device, where a log is one for all of its bundles. */
  readonly device?: string | undefined
  /** What is wrong. */
  readonly kind: string
  /** The signed evidence, as received. */
  readonly evidence: string
  /** What was acknowledged before. */
  readonly known: JsonObject
  /** When it was seen. */
  readonly at: number
}

/** An operator's key. */
export interface OperatorRecord {
  /** SHA-256 of the key, base64url. */
  readonly id: string
  /** For people. */
  readonly name: string
  /** Whose, where several share a server. */
  readonly tenant?: string | undefined
  /** When it was made. */
  readonly createdAt: number
  /** Since when it is not taken. */
  readonly revokedAt?: number | undefined
  /** What a dialect keeps with it. */
  readonly extra?: JsonObject | undefined
}

/** A principal's one-time code for signing in, or their session. */
export interface SessionRecord {
  /** SHA-256 of the code or the cookie, base64url. */
  readonly id: string
  /** What it is. */
  readonly use: 'code' | 'session'
  /** Who it is for. */
  readonly principal: string
  /** Until when. */
  readonly expiresAt: number
}

/** Anything a dialect keeps for itself. */
export interface DocumentRecord {
  /** Starts with the name of the dialect and a colon. */
  readonly id: string
  /** By what it can be listed. */
  readonly keys: readonly string[]
  /** The thing. */
  readonly value: JsonObject
}

/** Records by kind. */
export interface Records {
  /** Agents. */
  readonly agent: AgentRecord
  /** Requests for consent. */
  readonly request: RequestRecord
  /** Grants. */
  readonly grant: GrantRecord
  /** Bundles. */
  readonly bundle: BundleRecord
  /** Logs of devices. */
  readonly log: LogRecord
  /** What is wrong with logs. */
  readonly finding: FindingRecord
  /** Keys of operators. */
  readonly operator: OperatorRecord
  /** Codes and sessions of principals. */
  readonly session: SessionRecord
  /** Things of dialects. */
  readonly document: DocumentRecord
}

/** The kinds. */
export type Kind = keyof Records

/** By what records of each kind are listed, `name:value`. Stores index by these and nothing else. */
export const KEYS: {
  readonly [K in Kind]: (record: Records[K]) => readonly (string | undefined)[]
} = {
  agent: ({ tenant }) => [tenant && `tenant:${tenant}`],
  request: ({ agent, codeHash, status, approvedBy, extra }) => [
    `agent:${agent}`,
    codeHash && `code:${codeHash}`,
    // Those that are forgotten once they are over: not what a person approved. Apart by dialect, since their ids begin
    // otherwise and only those of one sort by time.
    status === 'redeemed' || approvedBy === 'principal'
      ? undefined
      : `open:${extra?.dialect ?? ''}`,
  ],
  grant: ({ agent, principal, parent, jti, place }) => [
    `agent:${agent}`,
    `principal:${principal}`,
    personKey(principal),
    parent && `parent:${parent}`,
    `jti:${jti}`,
    `place:${place.list}/${place.index}`,
  ],
  bundle: ({ agent, grant, device }) => [`agent:${agent}`, `grant:${grant}`, `device:${device}`],
  log: () => [],
  finding: ({ bundle, device }) => [`bundle:${bundle}`, device && `device:${device}`],
  operator: ({ tenant }) => [tenant && `tenant:${tenant}`],
  session: ({ principal }) => [`principal:${principal}`],
  document: ({ keys }) => keys,
}

/** The key of all grants of a person: to a directory of people the case of a name does not count (RFC 7643 §4.1.1). */
export function personKey(principal: string): string {
  return `person:${principal.toLowerCase()}`
}

/** The keys of one record. */
export function keysOf<K extends Kind>(kind: K, record: Records[K]): readonly string[] {
  return [
    ...new Set(KEYS[kind](record).filter((key) => key !== undefined && key !== '')),
  ] as string[]
}
