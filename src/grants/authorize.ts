/**
 * Decides one call under a verified grant. Everything that changes with time is asked each time: the clock, the
 * revocation of every link, possession of the key, approvals, and the limits of every link.
 *
 * Order: time, tool and arguments, revocation, proof of possession, approvals; then what uses something up: the proof's
 * name, and the reservation. What is denied early costs nobody anything.
 */
import { isSignetError, quoted } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { amountUnits } from './amount.ts'
import { type HeldApproval, heldApprovals } from './approval.ts'
import { type JudgedCall, readArguments } from './arguments.ts'
import type { CallRefusal } from './capability.ts'
import type { StatusRef } from './claims.ts'
import { type TimeBounds, timeBounds } from './invariants.ts'
import type { Charge, Ledger, Reservation } from './ledger.ts'
import type { LimitJson } from './limit_terms.ts'
import { type HeldProof, readPop } from './proof.ts'
import type { ReplayStore } from './replay.ts'
import type { VerifiedGrant, VerifiedLink } from './verified.ts'

/** What is known about a link. `unknown` denies. */
export type LinkStatus = 'valid' | 'revoked' | 'suspended' | 'unknown'

/** Says what became of a link. What it throws counts as `unknown`. */
export type StatusCheck = (
  status: StatusRef,
  link: VerifiedLink,
) => LinkStatus | Promise<LinkStatus>

/** How it is known that the caller has the holder's key. */
export type Possession =
  /** A proof that came with the call. `audience` is who is asking, and must stand in the proof. */
  | {
    readonly proof: string
    readonly replay: ReplayStore
    readonly audience?: string | undefined
    readonly window?: number | undefined
  }
  /** This very process holds the key: a device that guards its own tools. */
  | 'held-here'

/** A call to be decided. */
export interface CallRequest {
  /** The tool. */
  readonly tool: string
  /** Its arguments: a JSON object. They are read once, at once; what they are afterwards changes nothing. */
  readonly args: unknown
  /** How it is known that the caller holds the grant. */
  readonly possession: Possession
  /** The time, in seconds. Default: the clock. */
  readonly now?: number | undefined
  /** Seconds that the grant's `iat` may lie in the future. Default 30. */
  readonly skew?: number | undefined
  /** What became of the links. Needed as soon as one has a status. */
  readonly status?: StatusCheck | undefined
  /** Where limits are counted. Needed as soon as a limit applies. */
  readonly ledger?: Ledger | undefined
  /** Approvals that came with the call. */
  readonly approvals?: readonly string[] | undefined
}

/** Why a call is denied. */
export type DenialCode =
  | CallRefusal
  | 'grant_expired'
  | 'grant_not_yet_valid'
  | 'grant_revoked'
  | 'grant_suspended'
  | 'status_unknown'
  | 'pop_invalid'
  | 'pop_mismatch'
  | 'pop_stale'
  | 'pop_replayed'
  | 'replay_unavailable'
  | 'approval_missing'
  | 'amount_malformed'
  | 'calls_exhausted'
  | 'rate_exceeded'
  | 'budget_exhausted'
  | 'approval_used'
  | 'ledger_unavailable'

/** A denial. It holds no argument's value. */
export interface Denial {
  /** Never. */
  readonly allowed: false
  /** Why, stable. */
  readonly code: DenialCode
  /** Why, for people. */
  readonly reason: string
}

/** A call that may be made. */
export interface Allowed {
  /** Always. */
  readonly allowed: true
  /** The arguments that were judged, counted and approved. Run the tool with these, and with no others. */
  readonly args: JsonObject
  /** Must be settled afterwards: `reservation.commit()` or `.release()`. */
  readonly reservation: Reservation
}

/** A decision. */
export type Decision = Allowed | Denial

/**
 * Decides a call. The arguments may be the caller's own objects: a copy of them is taken first, everything is judged
 * by the copy, and the decision hands it out. Throws nothing but what misuse causes (`TypeError`).
 */
export async function authorizeCall(grant: VerifiedGrant, call: CallRequest): Promise<Decision> {
  const times = timeBounds(call)
  const { tool } = call
  const args = readArguments(call.args)
  if (!(grant.expiresAt > times.now)) return denied('grant_expired', 'the grant has expired')
  if (!(grant.issuedAt <= times.now + times.skew)) {
    return denied('grant_not_yet_valid', 'the grant was issued in the future')
  }
  const covered = grant.check(tool, args?.value)
  if (!covered.allowed) return covered
  const judged = { tool, args: args! }
  const revoked = grant.isRevocable ? await statusDenial(grant, call.status) : undefined
  if (revoked !== undefined) return revoked
  let proof: HeldProof | undefined
  if (call.possession !== 'held-here') {
    const read = await proofOf(grant, judged, call.possession, times)
    if ('allowed' in read) return read
    proof = read
  }
  let charges: readonly Charge[] = []
  if (grant.isLimited) {
    const counted = await chargesOf(grant, judged, call.approvals, times)
    if ('allowed' in counted) return counted
    charges = counted
  }
  if (charges.length > 0 && call.ledger === undefined) {
    return denied('ledger_unavailable', 'the grant has limits, and nobody here counts')
  }
  if (proof !== undefined) {
    const used = await useProof(proof)
    if (used !== undefined) return used
  }
  const { value } = judged.args
  if (charges.length === 0) return { allowed: true, args: value, reservation: NOTHING }
  const answer = await reserve(call.ledger!, charges, times.now)
  return 'allowed' in answer ? answer : { allowed: true, args: value, reservation: answer }
}

const NOTHING: Reservation = Object.freeze({ id: '', commit() {}, release() {} })

function denied(code: DenialCode, reason: string): Denial {
  return { allowed: false, code, reason }
}

async function statusDenial(
  grant: VerifiedGrant,
  check: StatusCheck | undefined,
): Promise<Denial | undefined> {
  for (const [at, link] of grant.links.entries()) {
    if (link.status === undefined) continue
    const found = await statusOf(link, link.status, check)
    if (found === 'valid') continue
    const which = `token ${at} of the chain`
    // A link that was taken back takes all that stand on it with it.
    if (found === 'revoked') return denied('grant_revoked', `${which} was revoked`)
    if (found === 'suspended') return denied('grant_suspended', `${which} is suspended`)
    return denied('status_unknown', `nobody here knows whether ${which} was revoked`)
  }
  return undefined
}

async function statusOf(
  link: VerifiedLink,
  status: StatusRef,
  check: StatusCheck | undefined,
): Promise<LinkStatus> {
  try {
    return await check?.(status, link) ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** Codes of errors that a proof's verifier throws and that say more than that it is no good. */
const PROOF_CODES = ['pop_mismatch', 'pop_stale', 'pop_replayed'] as const

async function proofOf(
  grant: VerifiedGrant,
  call: JudgedCall,
  { proof, ...options }: Exclude<Possession, 'held-here'>,
  { now }: TimeBounds,
): Promise<HeldProof | Denial> {
  try {
    return await readPop(proof, grant, call, { ...options, now })
  } catch (error) {
    if (!isSignetError(error)) throw error
    const code = PROOF_CODES.find((one) => one === error.code) ?? 'pop_invalid'
    return denied(code, error.message)
  }
}

async function useProof(proof: HeldProof): Promise<Denial | undefined> {
  try {
    await proof.use()
    return undefined
  } catch (error) {
    if (isSignetError(error, 'pop_replayed')) return denied('pop_replayed', error.message)
    return denied('replay_unavailable', 'it cannot be told whether the proof was used before')
  }
}

/** What a call costs on every link; the strictest of them decides, because all must agree. */
async function chargesOf(
  grant: VerifiedGrant,
  call: JudgedCall,
  presented: CallRequest['approvals'],
  times: TimeBounds,
): Promise<readonly Charge[] | Denial> {
  const charges: Charge[] = []
  const approvals: NonNullable<LimitJson['approval']>[] = []
  for (const link of grant.links) {
    for (const key of new Set([call.tool, '*'])) {
      const limit = link.limits?.get(key)
      if (limit === undefined) continue
      const base = { expires: link.expiresAt }
      if (limit.calls !== undefined) {
        const { max, per_seconds: perSeconds } = limit.calls
        const kind = perSeconds === undefined ? 'calls' : 'rate'
        const account = `${link.id} ${kind} ${key}`
        charges.push({ ...base, kind, account, amount: 1n, max: BigInt(max), perSeconds })
      }
      if (limit.budget !== undefined) {
        const amount = amountOf(call.args.value, limit.budget.argument)
        if (amount === undefined) {
          return denied(
            'amount_malformed',
            `the argument ${quoted(limit.budget.argument)} is no amount that a budget can count`,
          )
        }
        const max = amountUnits(limit.budget.max)!
        charges.push({ ...base, kind: 'budget', account: `${link.id} budget ${key}`, amount, max })
      }
      if (limit.approval !== undefined) approvals.push(limit.approval)
    }
  }
  if (approvals.length === 0) return charges
  const held = await approvalsOf(grant, call, presented, approvals, times)
  if (held === undefined) {
    return denied('approval_missing', 'the call needs approvals that are not there')
  }
  return [
    ...charges,
    ...held.map(({ approver, jti, expiresAt }): Charge => ({
      kind: 'approval',
      account: `${grant.id} approval ${approver} ${jti}`,
      amount: 1n,
      max: 1n,
      expires: expiresAt,
    })),
  ]
}

function amountOf(args: JsonObject, argument: string): bigint | undefined {
  return Object.hasOwn(args, argument) ? amountUnits(args[argument]) : undefined
}

/** The approvals that count, if they are enough for every link that asks for some. */
async function approvalsOf(
  grant: VerifiedGrant,
  call: JudgedCall,
  presented: CallRequest['approvals'],
  wanted: readonly NonNullable<LimitJson['approval']>[],
  times: TimeBounds,
): Promise<readonly HeldApproval[] | undefined> {
  const named = new Set(wanted.flatMap(({ keys }) => keys))
  // They come out of requests: what is no list holds none.
  const texts = Array.isArray(presented) ? presented : []
  const held = await heldApprovals(texts, named, grant, call, times)
  const isEnough = wanted.every(({ keys, quorum }) =>
    keys.filter((key) => held.has(key)).length >= quorum
  )
  return isEnough ? [...held.values()] : undefined
}

const EXHAUSTED: Readonly<Record<Charge['kind'] | 'full', readonly [DenialCode, string]>> = {
  calls: ['calls_exhausted', 'all calls that the grant allows were made'],
  rate: ['rate_exceeded', 'more calls in this time than the grant allows'],
  budget: ['budget_exhausted', 'the call costs more than is left of a budget'],
  approval: ['approval_used', 'an approval was used before'],
  full: ['ledger_unavailable', 'the ledger takes no more accounts'],
}

async function reserve(
  ledger: Ledger,
  charges: readonly Charge[],
  now: number,
): Promise<Reservation | Denial> {
  try {
    const answer = await ledger.reserve(charges, now)
    if (answer.ok) return answer.reservation
    return denied(...EXHAUSTED[answer.kind])
  } catch {
    return denied('ledger_unavailable', 'the limits of the grant cannot be counted')
  }
}
