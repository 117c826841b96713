/** The grants room: authority as a chain of tokens, each narrower than the one before. */
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
export { holderJwk, holderKey, thumbprintUri } from './holder_key.ts'
export { type GrantTerms, issueGrant, type IssueOptions, type IssueTerms } from './issue.ts'
export { type LimitJson, type Limits, type LimitsJson, parseLimits } from './limit_terms.ts'
export { narrowGrant, type NarrowTerms } from './narrow.ts'
export { parseScopes, parseScopeText, scopesToTools } from './scopes.ts'
export { subsumes } from './subsumption.ts'
export type { VerifiedGrant, VerifiedLink } from './verified.ts'
export { type TrustedIssuer, verifyGrant, type VerifyGrantOptions } from './verify.ts'
