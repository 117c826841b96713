/**
 * Policies as a file. A policy says which requests for authority need no person, which are refused, and which a person
 * decides in any case. Strict JSON:
 *
 * ```json
 * {
 *   "format": "signet-policy@v1",
 *   "rules": [
 *     {
 *       "id": "calendar",
 *       "effect": "allow",
 *       "agents": ["agent_01"],
 *       "principals": ["alice"],
 *       "keys": ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"],
 *       "scopes": ["calendar:read"],
 *       "max_duration": 3600,
 *       "max_offline_age": 3600
 *     },
 *     { "id": "no-payments", "effect": "deny", "scopes": ["payments:initiate"] }
 *   ]
 * }
 * ```
 *
 * Rules have no order. Where several speak, `deny` counts more than `ask`, and `ask` more than `allow`; where none does,
 * a person is asked.
 *
 * An `allow` rule covers a request whole or not at all: two rules do not add up. It names whom, for whom, which keys,
 * what and how long. A request is covered if its agent, its principal and its key are named, every tool is within
 * `scopes` and `tools` (as a child grant within its parent), and every figure is at most the rule's. The principal and
 * the key are those that the request itself names (`login_hint`, `dpop_jkt`): nothing is guessed. `insecure_any_key`
 * instead of `keys` gives the authority to whoever knows the agent's id, which is no secret.
 *
 * A `deny` or `ask` rule touches a request if all of its conditions hold, each of which more authority only makes truer:
 * the request asks for one of `scopes`, in whatever way; for a tool named in `beyond` and not within what stands there;
 * for `audience` or for everybody; for more than `over_duration`, `over_offline_age` or `over_depth`. So nobody gets
 * around a rule by asking for more besides, and what is narrower than an allowed request is allowed.
 */
import * as v from 'valibot'
import { isSignetError, quoted, SignetError } from '../errors.ts'
import { type Capability, parseCapability, scopesToTools, widening } from '../grants/mod.ts'
import { canonicalize, isObject, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import type { PolicyDecision, PolicyQuestion } from './decide.ts'

/** `format` of a policy. */
export const POLICY_FORMAT = 'signet-policy@v1'
/** Largest policy, in bytes. */
export const MAX_POLICY_BYTES: number = 2 ** 20
const MAX_RULES = 1000

/** A policy as it was read: only {@link parseGrantPolicy} makes one. */
export interface GrantPolicy {
  /** How many rules it has. */
  readonly size: number
  /**
   * What it says to a request. Errors: `grant_malformed`, `constraint_unknown` (what is asked for cannot be understood,
   * so nothing is given). Not looked at: `limits`, which only take away.
   */
  decide(question: PolicyQuestion): PolicyDecision
}

const names = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,2000}$/, 'a name'))),
  v.minLength(1, 'at least one name'),
  v.maxLength(1000),
)
const keys = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\w-]{43}$/, 'a thumbprint'))),
  v.minLength(1),
  v.maxLength(1000),
)
const tools = v.custom<JsonObject>(
  (value) => isObject(value as JsonValue) && Object.keys(value as JsonObject).length > 0,
)
const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const id = v.pipe(v.string(), v.regex(/^[\w.-]{1,64}$/))
/** What RFC 6749 §4.1.2.1 lets an answer say. */
const reason = v.pipe(v.string(), v.regex(/^[\x20\x21\x23-\x5b\x5d-\x7e]{1,200}$/))

const ALLOW = v.strictObject({
  id,
  effect: v.literal('allow'),
  agents: names,
  principals: names,
  keys: v.optional(keys),
  insecure_any_key: v.optional(v.literal(true)),
  scopes: v.optional(names),
  tools: v.optional(tools),
  audience: v.optional(names),
  max_duration: whole,
  max_offline_age: whole,
  max_depth: v.optional(whole, 0),
})
const CONDITIONS = {
  agents: v.optional(names),
  principals: v.optional(names),
  scopes: v.optional(names),
  beyond: v.optional(tools),
  audience: v.optional(names),
  over_duration: v.optional(whole),
  over_offline_age: v.optional(whole),
  over_depth: v.optional(whole),
}
const DENY = v.strictObject({
  id,
  effect: v.literal('deny'),
  reason: v.optional(reason),
  ...CONDITIONS,
})
const ASK = v.strictObject({ id, effect: v.literal('ask'), ...CONDITIONS })
const SCHEMA = v.strictObject({
  format: v.literal(POLICY_FORMAT),
  rules: v.pipe(
    v.array(v.variant('effect', [ALLOW, DENY, ASK])),
    v.minLength(1, 'at least one rule'),
    v.maxLength(MAX_RULES),
  ),
})

type Allow = v.InferOutput<typeof ALLOW>
type Touch = v.InferOutput<typeof DENY> | v.InferOutput<typeof ASK>
/** A rule, and the capability of its `scopes` and `tools`, or of `beyond`. */
type Rule = (Allow | Touch) & { readonly capability: Capability }
type AllowRule = Extract<Rule, { readonly effect: 'allow' }>
type TouchRule = Exclude<Rule, AllowRule>

/**
 * Reads a policy. Errors: those of `parseJson`; `policy_malformed`, where `where` is the place, such as
 * `rules.2.scopes`: a member or an effect that is not known, a rule without a condition, one that stands there twice, no
 * rule at all.
 */
export function parseGrantPolicy(
  input: Uint8Array | string,
  what: string = 'policy',
): GrantPolicy {
  const json = parseJson(input, { what, maxBytes: MAX_POLICY_BYTES, maxValues: 200_000 })
  const { rules } = conform(SCHEMA, json, 'policy_malformed', what)
  const ids = new Set<string>()
  const contents = new Set<string>()
  const read = rules.map((rule, i): Rule => {
    const fail = (why: string, member = '', cause?: unknown): never => {
      const where = `rules.${i}${member && `.${member}`}`
      throw new SignetError('policy_malformed', `${what}: ${where}: ${why}`, { where, cause })
    }
    const { id, ...content } = rule
    if (ids.has(id)) fail(`a rule ${quoted(id)} stands there already`, 'id')
    const text = canonicalize({ ...content, reason: undefined })
    if (contents.has(text)) fail('the same rule stands there already')
    ids.add(id)
    contents.add(text)
    return rule.effect === 'allow'
      ? { ...rule, capability: coveredBy(rule, fail) }
      : { ...rule, capability: conditionsOf(rule, fail) }
  })
  return { size: read.length, decide: (question) => decide(read, question) }
}

type Fail = (why: string, member?: string, cause?: unknown) => never

function coveredBy(rule: Allow, fail: Fail): Capability {
  const { scopes = [], tools = {} } = rule
  if ((rule.keys === undefined) === (rule.insecure_any_key === undefined)) {
    fail('exactly one of keys and insecure_any_key belongs to a rule that allows')
  }
  const twice = scopes.find((scope) => Object.hasOwn(tools, scope))
  if (twice !== undefined) fail(`${quoted(twice)} stands in scopes and in tools`, 'tools')
  const plain = capabilityOf(() => scopesToTools(scopes), 'scopes', fail)
  const all = new Map([...plain, ...capabilityOf(() => tools, 'tools', fail)])
  if (all.size === 0) fail('it allows nothing: scopes or tools are missing')
  return all
}

function conditionsOf(rule: Touch, fail: Fail): Capability {
  const conditions = Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[]
  if (conditions.every((name) => rule[name] === undefined)) fail('it has no condition')
  capabilityOf(() => scopesToTools(rule.scopes ?? []), 'scopes', fail)
  const bounds = capabilityOf(() => rule.beyond ?? {}, 'beyond', fail)
  // Nothing is beyond that: the rule would look as if it denied the tool, and never would.
  const boundless = [...bounds].find(([, map]) => map.size === 0)
  if (boundless !== undefined) fail(`${quoted(boundless[0])} has no bounds there`, 'beyond')
  return bounds
}

function capabilityOf(tools: () => JsonObject, member: string, fail: Fail): Capability {
  try {
    return parseCapability(tools())
  } catch (error) {
    if (!isSignetError(error)) throw error
    return fail(error.message, member, error)
  }
}

function decide(rules: readonly Rule[], question: PolicyQuestion): PolicyDecision {
  const wanted = parseCapability(question.tools)
  const touching = (effect: 'deny' | 'ask') =>
    rules.find((rule): rule is TouchRule =>
      rule.effect === effect && touches(rule, question, wanted)
    )
  const denied = touching('deny')
  if (denied !== undefined) {
    const why = 'reason' in denied ? denied.reason : undefined
    return { effect: 'deny', rule: denied.id, ...why === undefined ? {} : { reason: why } }
  }
  const asked = touching('ask')
  if (asked !== undefined) return { effect: 'ask', rule: asked.id }
  const { principalHint: principal } = question
  const allowing = rules.find((rule) => rule.effect === 'allow' && covers(rule, question, wanted))
  if (allowing === undefined || principal === undefined) return { effect: 'ask' }
  return { effect: 'allow', principal, rule: allowing.id }
}

function covers(rule: AllowRule, question: PolicyQuestion, wanted: Capability): boolean {
  const { agent, principalHint, holder, duration, offlineAge, maxDepth, audience } = question
  const has = (list: readonly string[], one: string | undefined) =>
    one !== undefined && list.includes(one)
  return has(rule.agents, agent.id) && has(rule.principals, principalHint) &&
    (rule.insecure_any_key === true || has(rule.keys ?? [], holder)) &&
    duration <= rule.max_duration && offlineAge <= rule.max_offline_age &&
    maxDepth <= rule.max_depth &&
    (rule.audience === undefined ||
      audience !== undefined && audience.every((one) => has(rule.audience!, one))) &&
    wanted.size > 0 && widening(rule.capability, wanted) === undefined
}

function touches(rule: TouchRule, question: PolicyQuestion, wanted: Capability): boolean {
  const { agent, principalHint, audience } = question
  const over = (limit: number | undefined, figure: number) => limit === undefined || figure > limit
  return (rule.agents?.includes(agent.id) ?? true) &&
    (rule.principals === undefined ||
      principalHint !== undefined && rule.principals.includes(principalHint)) &&
    over(rule.over_duration, question.duration) &&
    over(rule.over_offline_age, question.offlineAge) &&
    over(rule.over_depth, question.maxDepth) &&
    (rule.audience === undefined || audience === undefined ||
      audience.some((one) => rule.audience!.includes(one))) &&
    (rule.scopes?.some((scope) => wanted.has(scope)) ?? true) &&
    (rule.beyond === undefined || isBeyond(rule.capability, wanted))
}

/** Whether something is asked of the bounded tools that is not within their bounds. */
function isBeyond(bounds: Capability, wanted: Capability): boolean {
  const bounded = new Map([...wanted].filter(([tool]) => bounds.has(tool)))
  return widening(bounds, bounded) !== undefined
}
