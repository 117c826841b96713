/**
 * The grants room: authority as a chain of tokens, each narrower than the one before.
 *
 * ```ts
 * import { ALGORITHMS, authorizeCall, generateKey, issueGrant, narrowGrant, verifyGrant } from '@signet/signet'
 *
 * const [issuer, agent, helper] = await Promise.all([1, 2, 3].map(() => generateKey(ALGORITHMS.Ed25519)))
 * const tools = { read_file: { path: { constraint_type: 'one_of', values: ['/a', '/b'] } } }
 * const chain = await issueGrant(issuer!, {
 *   issuer: 'https://example.com',
 *   holder: agent!.publicKey,
 *   tools,
 *   lifetime: 3600,
 *   maxDepth: 1,
 * })
 *
 * // The agent passes less on, alone and offline.
 * const less = { read_file: { path: { constraint_type: 'exact', value: '/a' } } }
 * const longer = await narrowGrant(chain, agent!, { holder: helper!.publicKey, tools: less, lifetime: 60 })
 *
 * const grant = await verifyGrant(longer, [{ issuer: 'https://example.com', keys: [issuer!.publicKey] }])
 * const call = { tool: 'read_file', args: { path: '/b' }, possession: 'held-here' } as const
 * const decision = await authorizeCall(grant, call)
 * console.assert(!decision.allowed && decision.code === 'argument_denied')
 * ```
 *
 * @module
 */
export { amountUnits, UNITS_IN_ONE } from './amount.ts'
export { APPROVAL_TYPE, type ApprovedCall, argumentsHash, signApproval } from './approval.ts'
export {
  type Allowed,
  authorizeCall,
  type CallRequest,
  type Decision,
  type Denial,
  type DenialCode,
  type LinkStatus,
  type Possession,
  type StatusCheck,
} from './authorize.ts'
export { type GrantVerifier, grantVerifier, type GrantVerifierOptions } from './cache.ts'
export {
  type AcknowledgedHead,
  BUNDLE_TYPE,
  type BundleContent,
  MAX_BUNDLE_LENGTH,
  type OfflineRules,
  openBundle,
  sealBundle,
  type VerifiedBundle,
} from './bundle.ts'
export {
  type AdapterOptions,
  type AiData,
  type AiHook,
  type AiTool,
  type BareMcpHandler,
  guardAiTool,
  guardBareMcpTool,
  type GuardedAiTool,
  guardMcpTool,
  type McpExtra,
  type McpHandler,
  type McpToolResult,
} from './adapters.ts'
export {
  guard,
  type GuardableFunction,
  type Guarded,
  type GuardedObject,
  guardObject,
  type GuardOptions,
  type MethodGuards,
} from './guard.ts'
export type { Device } from './device.ts'
export type {
  ActContext,
  ActOptions,
  DeviceLog,
  DeviceSettings,
  ServerContact,
} from './device_parts.ts'
export type { UnresolvedIntent } from './device_log.ts'
export {
  deviceKek,
  type DeviceStorage,
  type MemoryDeviceStorage,
  memoryDeviceStorage,
} from './device_state.ts'
export { deviceKey, openDevice, type OpenDeviceOptions } from './open_device.ts'
export { peekDevice, type PeekedDevice } from './peek_device.ts'
export {
  type DeviceAnswer,
  type DeviceHttp,
  deviceHttp,
  type DeviceHttpOptions,
  type Fetch,
} from './device_http.ts'
export { type BundleRequest, type BundleWish, requestBundle } from './request_bundle.ts'
export { listBundles, pullBundle, type PulledBundle, refreshDevice } from './pull_bundle.ts'
export { syncDevice, type SyncDeviceOptions, type SyncResult } from './sync_device.ts'
export {
  type OfflineAuthority,
  offlineError,
  type OfflineFinding,
  type OfflineReport,
  type OfflineSituation,
  openOffline,
  type OpenOfflineOptions,
  verifyOffline,
  type VerifyOfflineOptions,
} from './offline.ts'
export { acceptSync, type AcceptSyncOptions, type KnownGrant, type SyncOutcome } from './sync.ts'
export {
  type EntryVerdict,
  formatSyncAnswer,
  formatSyncHead,
  type LogSize,
  type LogVerdict,
  MAX_SYNC_BYTES,
  MAX_SYNC_ENTRIES,
  parseSyncAnswer,
  parseSyncMessage,
  SYNC_MEDIA_TYPE,
  type SyncAnswer,
  type SyncMessageHead,
  type SyncProbe,
  type SyncRefusal,
} from './sync_message.ts'
export {
  bytesOf,
  type MemorySyncStore,
  memorySyncStore,
  refusalOf,
  type SyncEntry,
  type SyncHead,
  type SyncStore,
} from './sync_store.ts'
export {
  checkStatusListAge,
  openStatusList,
  type OpenStatusListOptions,
  type PackedStatusList,
  packStatusList,
  signStatusList,
  STATUS_LIST_MEDIA_TYPE,
  STATUS_LIST_TYPE,
  type StatusBits,
  StatusList,
  type StatusListAge,
  type StatusListFacts,
  type StatusVerdict,
  TOKEN_STATUS,
  unpackStatusList,
  type VerifiedStatusList,
} from './status_list.ts'
export {
  type ArgumentMap,
  type CallDecision,
  type CallRefusal,
  type Capability,
  capabilityToJson,
  checkCall,
  parseCapability,
  type ToolsJson,
  widening,
} from './capability.ts'
export { formatChain, type GrantChain, parseChain } from './chain.ts'
export {
  DETAIL_TYPE,
  GRANT_TYPE,
  type GrantClaims,
  parseClaims,
  type StatusRef,
  THUMBPRINT_URI,
} from './claims.ts'
export {
  type Constraint,
  type ConstraintCount,
  type ConstraintExtension,
  type ConstraintExtensions,
  type ConstraintForms,
  CORE_TYPES,
  type CoreType,
  extensionsOf,
  parseConstraint,
  type RangeBounds,
  satisfies,
  type SetType,
} from './constraints.ts'
export { type ExchangeClaims, plainScopes, toExchangeClaims } from './exchange.ts'
export { holderJwk, holderKey, thumbprintUri } from './holder_key.ts'
export { type GrantTerms, issueGrant, type IssueOptions, type IssueTerms } from './issue.ts'
export {
  type Charge,
  type Ledger,
  type LedgerAnswer,
  type MemoryLedger,
  memoryLedger,
  type MemoryLedgerOptions,
  type Reservation,
} from './ledger.ts'
export { type LimitJson, type Limits, type LimitsJson, parseLimits } from './limit_terms.ts'
export { narrowGrant, type NarrowTerms } from './narrow.ts'
export {
  makePop,
  type MakePopOptions,
  POP_TYPE,
  POP_WINDOW,
  type ProvedCall,
  type ProvedPossession,
  verifyPop,
  type VerifyPopOptions,
} from './proof.ts'
export { type MemoryReplayOptions, memoryReplayStore, type ReplayStore } from './replay.ts'
export { parseScopes, parseScopeText, scopesToTools } from './scopes.ts'
export {
  MAX_DEPTH as MAX_GRANT_DEPTH,
  MAX_LIFETIME as MAX_GRANT_LIFETIME,
  type Place,
} from './sizes.ts'
export { subsumes } from './subsumption.ts'
export type { VerifiedGrant, VerifiedLink } from './verified.ts'
export { type TrustedIssuer, verifyGrant, type VerifyGrantOptions } from './verify.ts'
