/** The gateway room: the HTTP face. One function `(Request) => Promise<Response>` over a store. */
export { type Gateway, gateway, type GatewayOptions, type RequestInfo } from './app.ts'
export { newSignInCode, type Principal, type PrincipalAuthenticator } from './principals.ts'
export { keepOperatorKey, newOperatorKey } from './operators.ts'
export { type RateClass, RateError, type Rates } from './rate.ts'
export {
  type Ceilings,
  type Decide,
  type GatewayEvent,
  type PolicyDecision,
  type Routes,
  type World,
} from './world.ts'
export type { Noted, RouteContext, RouteHandler, Router } from './router.ts'
export { digestOf, newId, newSecret } from './ids.ts'
export { memoryGatewayStore, type StoreOptions } from './memory_store.ts'
export {
  type AgentRecord,
  type AnswerRecord,
  type Asked,
  type BundleRecord,
  type DocumentRecord,
  type FindingRecord,
  type GrantRecord,
  KEYS,
  keysOf,
  type Kind,
  type LogRecord,
  type OperatorRecord,
  type Records,
  type RequestRecord,
  type SessionRecord,
  type StatusPlace,
} from './records.ts'
export {
  type Change,
  type DeviceLogs,
  everyRecord,
  fitting,
  type GatewayStore,
  type ListOptions,
  type LoggedEntry,
  NONCE_SLACK,
  type RecordStore,
  retrying,
  type StatusHead,
  type StatusIndices,
  type StatusValues,
  type Stored,
} from './store.ts'
export { type GrantexOptions, grantexRoutes, newGrantexKey } from './grantex.ts'
