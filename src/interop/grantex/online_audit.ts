/** The hash of an entry of Grantex's online audit log: a third scheme beside the two of its devices. */
import { toHex } from '../../bytes.ts'
import { canonicalize, type JsonObject } from '../../json.ts'

/** What is hashed. */
export interface OnlineAuditEntry {
  /** `alog_…`. */
  readonly id: string
  /** Who acted. */
  readonly agentId: string
  /** Its DID. */
  readonly agentDid: string
  /** Under which grant. */
  readonly grantId: string
  /** For whom. */
  readonly principalId: string
  /** Whose agent. */
  readonly developerId: string
  /** What was done. */
  readonly action: string
  /** More. */
  readonly metadata: JsonObject
  /** ISO 8601. */
  readonly timestamp: string
  /** Hash of the developer's entry before; null for the first. */
  readonly prevHash: string | null
  /** How it ended. */
  readonly status: 'success' | 'failure' | 'blocked'
}

/** SHA-256 in hexadecimal over the members in this order, metadata with sorted names. */
export async function onlineAuditHash(entry: OnlineAuditEntry): Promise<string> {
  const { id, agentId, agentDid, grantId, principalId, developerId, action } = entry
  const { metadata, timestamp, prevHash, status } = entry
  const text = JSON.stringify({
    ...{ id, agentId, agentDid, grantId, principalId, developerId, action },
    ...{ metadata: JSON.parse(canonicalize(metadata)), timestamp, prevHash, status },
  })
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return toHex(new Uint8Array(digest))
}
