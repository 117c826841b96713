/** The hook of policies: what it is asked, and what it may say. */
import type { AgentRecord, Asked } from './records.ts'

/** What a policy says to a request for authority; `rule` names what in it decided. */
export type PolicyDecision =
  & { readonly rule?: string | undefined }
  & (
    | { readonly effect: 'ask' }
    /** `reason` is told to the agent: printable ASCII without quotes and backslashes. */
    | { readonly effect: 'deny'; readonly reason?: string | undefined }
    /** Allowed at once, on behalf of `principal`. */
    | { readonly effect: 'allow'; readonly principal: string }
  )

/** What a policy is asked. */
export interface PolicyQuestion extends Asked {
  /** Who asks. */
  readonly agent: AgentRecord
  /** On whose behalf, if the request says so; once a person has approved, they. */
  readonly principalHint?: string | undefined
  /** Thumbprint of the only key that the grant can go to, if the request names one. */
  readonly holder?: string | undefined
}

/**
 * The hook of policies: asked before any person is, and again when one has approved, and when a holder has the server
 * narrow a grant. Then a denial still counts, and nothing else.
 */
export type Decide = (question: PolicyQuestion) => PolicyDecision | Promise<PolicyDecision>
