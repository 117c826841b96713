/**
 * The gateway room: the HTTP face. One function `(Request) => Promise<Response>` over a store.
 *
 * | route | who | what |
 * |---|---|---|
 * | `GET /.well-known/jwks.json`, `/.well-known/oauth-authorization-server`, `/status/:list` | anybody | keys, metadata (RFC 8414), status lists |
 * | `POST /oauth/par` | an agent, by its `client_id` | a request (RFC 9126): `scope` or `authorization_details`, PKCE with S256, a registered `redirect_uri`; `limits`, `resource`, `duration`, `offline_max_age`, `max_depth`, `login_hint`, `dpop_jkt` |
 * | `GET /oauth/authorize` | a browser | the policy decides, or the person: on to `/consent/:id` |
 * | `GET`, `POST /consent/:id`, `/sign-in` | a principal who is signed in | the page on which a person decides |
 * | `POST /oauth/token` | the future holder, signed by its key | a code and `req_cnf` for `{access_token, token_type: "aat", expires_in, grant_id, bundle_id, bundle}`; or a token exchange (RFC 8693): `subject_token`, `holder_cnf` and `req_cnf` for a narrower grant, to the same agent or one that takes from it |
 * | `GET /bundles`, `/bundles/:id`, `POST /bundles/:id/refresh` | the device, signed by its key | `{bundle_id, generation, expires_at, status, bundle?}` |
 * | `GET`, `POST /bundles/:id/sync` | the device, signed by its key | entries of its log (`acceptSync`); without a body: where the server stands |
 * | `POST /oauth/introspect`, `/oauth/revoke` | the operator; the holder may give back | RFC 7662, RFC 7009 |
 * | `/admin/agents`, `/admin/grants`, `/admin/bundles`, `/admin/findings`, `POST /admin/sign-in-codes` | the operator, `Authorization: Bearer sgop_…` | register, list, suspend, resume, say from whom an agent takes (`PATCH`, `takes_from`), revoke with all below, export a log (`…/audit`), what is wrong with logs |
 *
 * "Signed" is RFC 9421 in the profile of `verifyRequest`. Errors are RFC 9457, under `/oauth/` those of OAuth with the
 * stable `code` besides. Other dialects add routes by `GatewayOptions.dialects`.
 */
export { type Gateway, gateway, type GatewayOptions, type RequestInfo } from './app.ts'
export { newSignInCode, type Principal, type PrincipalAuthenticator } from './principals.ts'
export { keepOperatorKey, newOperatorKey } from './operators.ts'
export { type RateClass, RateError, type Rates } from './rate.ts'
export type { Decide, PolicyDecision, PolicyQuestion } from './decide.ts'
export { type Ceilings, type GatewayEvent, type Routes, type World } from './world.ts'
export type { Noted, RouteContext, RouteHandler, Router } from './router.ts'
export { digestOf, newId, newSecret } from './ids.ts'
export { type GrantPolicy, MAX_POLICY_BYTES, parseGrantPolicy, POLICY_FORMAT } from './policy.ts'
export { memoryGatewayStore, type StoreOptions } from './memory_store.ts'
export {
  type AgentRecord,
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
export { type GrantexWebhooks, grantexWebhooks, type WebhookOptions } from './grantex/webhooks.ts'
export type { Delivery, Fetch } from './delivery.ts'
export type { Extension } from './extension.ts'
export { isLoopbackAddress, isPublicAddress } from './target.ts'
