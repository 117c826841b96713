/** Where the policy is asked, and what becomes of a request that it denies. */
import type { AgentRecord, RequestRecord } from './records.ts'
import { denyRequest, redirectTo } from './requests.ts'
import type { Noted } from './router.ts'
import type { Stored } from './store.ts'
import type { PolicyDecision } from './decide.ts'
import { askedOf, type World } from './world.ts'

/** Asks the policy about a request; what it says goes into the log. */
export async function policyOn(
  world: World,
  noted: Noted,
  record: RequestRecord,
  agent: AgentRecord,
): Promise<PolicyDecision> {
  const { principalHint, holder } = record
  const decision = await world.decide({ ...askedOf(record), agent, principalHint, holder })
  noted.decision = decision
  return decision
}

/** Denies a request as the policy says, and sends the browser back to the application. */
export async function deniedByPolicy(
  world: World,
  stored: Stored<RequestRecord>,
  { rule, reason }: Extract<PolicyDecision, { readonly effect: 'deny' }>,
  principal?: string,
): Promise<Response> {
  await denyRequest(world, stored, { rule, principal })
  return redirectTo(world, stored.record, {
    error: 'access_denied',
    ...reason === undefined ? {} : { error_description: reason },
  })
}
