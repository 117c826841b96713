import fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import {
  type GrantPolicy,
  parseGrantPolicy,
  POLICY_FORMAT,
  type PolicyDecision,
  type PolicyQuestion,
} from '../../src/gateway/mod.ts'
import { parseCapability, requestBundle, type ToolsJson, widening } from '../../src/grants/mod.ts'
import { canonicalize, type JsonObject } from '../../src/json.ts'
import { mutate, tree } from './_constraints.ts'
import {
  approve,
  authorize,
  bodyOf,
  device,
  parFields,
  postForm,
  push,
  REDIRECT,
  refused,
  registered,
  scene,
  session,
  signedForm,
  tokenFields,
} from './_gateway.ts'

const KEY = 'k'.repeat(43)
const exact = (value: string) => ({ constraint_type: 'exact', value })
const one_of = (...values: string[]) => ({ constraint_type: 'one_of', values })

const ALLOW = {
  id: 'calendar',
  effect: 'allow',
  agents: ['agent_1'],
  principals: ['alice', 'bob'],
  keys: [KEY],
  scopes: ['calendar:read', 'mail:send'],
  tools: { read_file: { path: one_of('/a', '/b') } },
  max_duration: 3600,
  max_offline_age: 600,
}
const DENY = { id: 'payments', effect: 'deny', scopes: ['payments:initiate'] }

const text = (rules: unknown, more = {}) =>
  JSON.stringify({ format: POLICY_FORMAT, rules, ...more })
const policy = (...rules: unknown[]): GrantPolicy => parseGrantPolicy(text(rules))

function question(more: Partial<PolicyQuestion> = {}): PolicyQuestion {
  const agent = {
    id: 'agent_1',
    name: 'A',
    status: 'active',
    redirectUris: [],
    createdAt: 0,
  } as const
  return {
    agent,
    principalHint: 'alice',
    holder: KEY,
    tools: { 'calendar:read': {} },
    duration: 3600,
    offlineAge: 600,
    maxDepth: 0,
    ...more,
  }
}

test('parseGrantPolicy() refuses what is not wholly understood, and names the place', () => {
  const deny = (more: object) => [{ ...DENY, ...more }]
  const allow = (more: object) => [{ ...ALLOW, ...more }]
  const cases: readonly [string, string | undefined, string][] = [
    ['', undefined, 'json_malformed'],
    ['{"format":1,"format":2}', undefined, 'json_duplicate_key'],
    ['[]', undefined, 'policy_malformed'],
    ['{}', 'format', 'policy_malformed'],
    [text([DENY], { format: 'signet-policy@v2' }), 'format', 'policy_malformed'],
    [text([DENY], { default: 'allow' }), 'default', 'policy_malformed'],
    [text(undefined), 'rules', 'policy_malformed'],
    [text({}), 'rules', 'policy_malformed'],
    [text([]), 'rules', 'policy_malformed'],
    [text([DENY, null]), 'rules.1', 'policy_malformed'],
    [text([DENY, {}]), 'rules.1.effect', 'policy_malformed'],
    [text(deny({ effect: 'permit' })), 'rules.0.effect', 'policy_malformed'],
    [text(deny({ effect: 'DENY' })), 'rules.0.effect', 'policy_malformed'],
    [text(deny({ scope: ['x'] })), 'rules.0.scope', 'policy_malformed'],
    [text(deny({ max_duration: 5 })), 'rules.0.max_duration', 'policy_malformed'],
    [text(allow({ over_duration: 5 })), 'rules.0.over_duration', 'policy_malformed'],
    [text(allow({ reason: 'x' })), 'rules.0.reason', 'policy_malformed'],
    [
      '{"format":"signet-policy@v1","rules":[{"__proto__":1}]}',
      'rules.0.effect',
      'policy_malformed',
    ],
    [text(deny({ id: undefined })), 'rules.0.id', 'policy_malformed'],
    [text(deny({ id: '' })), 'rules.0.id', 'policy_malformed'],
    [text(deny({ id: 'a b' })), 'rules.0.id', 'policy_malformed'],
    [text(deny({ id: 'a\n' })), 'rules.0.id', 'policy_malformed'],
    [text(deny({ reason: 'say "no"' })), 'rules.0.reason', 'policy_malformed'],
    [text(deny({ scopes: undefined })), 'rules.0', 'policy_malformed'],
    [text(deny({ scopes: undefined, reason: 'x' })), 'rules.0', 'policy_malformed'],
    [text(deny({ scopes: [] })), 'rules.0.scopes', 'policy_malformed'],
    [text(deny({ scopes: 'payments:initiate' })), 'rules.0.scopes', 'policy_malformed'],
    [text(deny({ scopes: ['payments:*'] })), 'rules.0.scopes', 'policy_malformed'],
    [text(deny({ scopes: [''] })), 'rules.0.scopes.0', 'policy_malformed'],
    [text(deny({ beyond: {} })), 'rules.0.beyond', 'policy_malformed'],
    [text(deny({ beyond: { ...ALLOW.tools, x: {} } })), 'rules.0.beyond', 'policy_malformed'],
    [
      text(deny({ beyond: { x: { y: { constraint_type: 'regex' } } } })),
      'rules.0.beyond',
      'policy_malformed',
    ],
    [
      text(deny({ beyond: { x: { y: { constraint_type: 'range', maximum: 5 } } } })),
      'rules.0.beyond',
      'policy_malformed',
    ],
    [text(deny({ over_duration: -1 })), 'rules.0.over_duration', 'policy_malformed'],
    [text(deny({ over_duration: 1.5 })), 'rules.0.over_duration', 'policy_malformed'],
    [text(deny({ over_duration: '5' })), 'rules.0.over_duration', 'policy_malformed'],
    [text([DENY, { ...DENY, scopes: ['x'] }]), 'rules.1.id', 'policy_malformed'],
    [text([DENY, { ...DENY, id: 'again', reason: 'other words' }]), 'rules.1', 'policy_malformed'],
    [text(allow({ agents: undefined })), 'rules.0.agents', 'policy_malformed'],
    [text(allow({ agents: [] })), 'rules.0.agents', 'policy_malformed'],
    [text(allow({ principals: undefined })), 'rules.0.principals', 'policy_malformed'],
    [text(allow({ keys: undefined })), 'rules.0', 'policy_malformed'],
    [text(allow({ keys: [] })), 'rules.0.keys', 'policy_malformed'],
    [text(allow({ keys: ['short'] })), 'rules.0.keys.0', 'policy_malformed'],
    [text(allow({ insecure_any_key: true })), 'rules.0', 'policy_malformed'],
    [
      text(allow({ keys: undefined, insecure_any_key: false })),
      'rules.0.insecure_any_key',
      'policy_malformed',
    ],
    [text(allow({ scopes: undefined, tools: undefined })), 'rules.0', 'policy_malformed'],
    [text(allow({ tools: {} })), 'rules.0.tools', 'policy_malformed'],
    [text(allow({ tools: { 'mail:send': {} } })), 'rules.0.tools', 'policy_malformed'],
    [text(allow({ scopes: ['a b'] })), 'rules.0.scopes.0', 'policy_malformed'],
    [text(allow({ max_duration: undefined })), 'rules.0.max_duration', 'policy_malformed'],
    [text(allow({ max_offline_age: undefined })), 'rules.0.max_offline_age', 'policy_malformed'],
    [text(allow({ max_depth: null })), 'rules.0.max_depth', 'policy_malformed'],
    [' '.repeat(2 ** 20 + 1), undefined, 'too_large'],
  ]
  for (const [input, where, code] of cases) {
    assert.throws(() => parseGrantPolicy(input), (error) => {
      assert.ok(isSignetError(error), `${input}: ${error}`)
      assert.equal(error.code, code, input.slice(0, 300))
      if (where !== undefined) assert.equal(error.where, where, error.message)
      return true
    })
  }
  assert.equal(policy(ALLOW, DENY).size, 2)
})

test('a policy: denial before asking, asking before allowing, and asking where nothing speaks', () => {
  const allows = { effect: 'allow', principal: 'alice', rule: 'calendar' }
  const asks = { effect: 'ask' }
  const denies = { effect: 'deny', rule: 'payments' }
  const rule = (effect: string, more: object) => ({ id: 'r', effect, ...more })
  const cases: readonly [
    string,
    readonly unknown[],
    Partial<PolicyQuestion>,
    PolicyDecision | object,
  ][] = [
    ['all is within', [ALLOW], {}, allows],
    ['less', [ALLOW], { duration: 1, offlineAge: 1 }, allows],
    [
      'a tool with its constraint',
      [ALLOW],
      { tools: { read_file: { path: exact('/a') } } },
      allows,
    ],
    ['scope with constraints', [ALLOW], { tools: { 'mail:send': { to: exact('bob') } } }, allows],
    [
      'all tools',
      [ALLOW],
      { tools: { 'mail:send': {}, read_file: { path: one_of('/a', '/b') } } },
      allows,
    ],
    ['any audience, if the rule names none', [ALLOW], { audience: ['https://x/'] }, allows],
    ['another agent', [ALLOW], { agent: { ...question().agent, id: 'agent_12' } }, asks],
    ['another principal', [ALLOW], { principalHint: 'mallory' }, asks],
    ['no principal', [ALLOW], { principalHint: undefined }, asks],
    ['another key', [ALLOW], { holder: 'x'.repeat(43) }, asks],
    ['no key', [ALLOW], { holder: undefined }, asks],
    ['one tool more', [ALLOW], { tools: { 'calendar:read': {}, 'calendar:write': {} } }, asks],
    ['a prefix is no scope', [ALLOW], { tools: { 'calendar': {} } }, asks],
    ['nor is a longer name', [ALLOW], { tools: { 'calendar:read:all': {} } }, asks],
    ['another value', [ALLOW], { tools: { read_file: { path: one_of('/a', '/c') } } }, asks],
    ['without its constraint', [ALLOW], { tools: { read_file: {} } }, asks],
    [
      'another argument',
      [ALLOW],
      { tools: { read_file: { path: exact('/a'), mode: exact('w') } } },
      asks,
    ],
    ['nothing', [ALLOW], { tools: {} }, asks],
    ['too long', [ALLOW], { duration: 3601 }, asks],
    ['too long offline', [ALLOW], { offlineAge: 601 }, asks],
    ['passed on', [ALLOW], { maxDepth: 1 }, asks],
    [
      'two rules do not add up',
      [
        { ...ALLOW, scopes: ['calendar:read'], tools: undefined },
        { ...ALLOW, id: 'mail', scopes: ['mail:send'], tools: undefined },
      ],
      { tools: { 'calendar:read': {}, 'mail:send': {} } },
      asks,
    ],
    ['its audience', [{ ...ALLOW, audience: ['https://x/', 'https://y/'] }], {
      audience: ['https://y/'],
    }, allows],
    ['everybody is more', [{ ...ALLOW, audience: ['https://x/'] }], {}, asks],
    ['another audience', [{ ...ALLOW, audience: ['https://x/'] }], {
      audience: ['https://x/', 'https://y/'],
    }, asks],
    ['any key, said in so many words', [{ ...ALLOW, keys: undefined, insecure_any_key: true }], {
      holder: undefined,
    }, allows],
    ['one of several', [{ ...DENY, scopes: ['x', 'payments:initiate'] }], {
      tools: { 'payments:initiate': {} },
    }, denies],
    ['denied alone', [DENY], { tools: { 'payments:initiate': {} } }, denies],
    ['however narrow', [DENY], { tools: { 'payments:initiate': { amount: exact('1') } } }, denies],
    ['with more around it', [ALLOW, DENY], {
      tools: { 'calendar:read': {}, 'payments:initiate': {} },
    }, denies],
    ['allowed elsewhere', [{ ...ALLOW, scopes: ['payments:initiate'] }, DENY], {
      tools: { 'payments:initiate': {} },
    }, denies],
    ['its reason', [{ ...DENY, reason: 'not here' }], { tools: { 'payments:initiate': {} } }, {
      ...denies,
      reason: 'not here',
    }],
    ['denied is another tool', [ALLOW, DENY], {}, allows],
    ['asking before allowing', [ALLOW, rule('ask', { scopes: ['calendar:read'] })], {}, {
      effect: 'ask',
      rule: 'r',
    }],
    ['denial before asking', [rule('ask', { agents: ['agent_1'] }), DENY], {
      tools: { 'payments:initiate': {} },
    }, denies],
    ['an agent', [ALLOW, rule('deny', { agents: ['agent_1'] })], {}, { effect: 'deny', rule: 'r' }],
    ['another agent', [ALLOW, rule('deny', { agents: ['agent_2'] })], {}, allows],
    ['a principal', [ALLOW, rule('deny', { principals: ['alice'] })], {}, {
      effect: 'deny',
      rule: 'r',
    }],
    ['another principal', [ALLOW, rule('deny', { principals: ['bob'] })], {}, allows],
    [
      'all conditions',
      [ALLOW, rule('deny', { principals: ['alice'], scopes: ['mail:send'] })],
      {},
      allows,
    ],
    ['over a time', [ALLOW, rule('deny', { over_duration: 3599 })], {}, {
      effect: 'deny',
      rule: 'r',
    }],
    ['not over', [ALLOW, rule('deny', { over_duration: 3600 })], {}, allows],
    ['over offline', [rule('ask', { over_offline_age: 599 })], {}, { effect: 'ask', rule: 'r' }],
    ['over depth', [rule('deny', { over_depth: 0 })], { maxDepth: 1 }, {
      effect: 'deny',
      rule: 'r',
    }],
    ['for an audience', [rule('deny', { audience: ['https://x/'] })], {
      audience: ['https://y/', 'https://x/'],
    }, { effect: 'deny', rule: 'r' }],
    ['for everybody', [rule('deny', { audience: ['https://x/'] })], {}, {
      effect: 'deny',
      rule: 'r',
    }],
    [
      'for another',
      [rule('deny', { audience: ['https://x/'] })],
      { audience: ['https://y/'] },
      asks,
    ],
    ['within bounds', [rule('deny', { beyond: ALLOW.tools })], {
      tools: { read_file: { path: exact('/b') } },
    }, asks],
    ['bounds of another tool', [rule('deny', { beyond: ALLOW.tools })], {}, asks],
    ['beyond bounds', [rule('deny', { beyond: ALLOW.tools })], {
      tools: { 'x': {}, read_file: { path: exact('/c') } },
    }, { effect: 'deny', rule: 'r' }],
    ['without bounds', [rule('deny', { beyond: ALLOW.tools })], { tools: { read_file: {} } }, {
      effect: 'deny',
      rule: 'r',
    }],
  ]
  for (const [name, rules, more, wanted] of cases) {
    assert.deepEqual(policy(...rules).decide(question(more)), wanted, name)
    assert.deepEqual(
      policy(...rules.toReversed()).decide(question(more)),
      wanted,
      `${name}, reversed`,
    )
  }
})

test('a policy gives nothing for what it cannot understand', () => {
  const tools = { 'calendar:read': { day: { constraint_type: 'cel', expression: 'true' } } }
  assert.throws(
    () => policy(ALLOW).decide(question({ tools })),
    (error) => isSignetError(error, 'constraint_unknown'),
  )
})

const some = <T>(...values: T[]) => fc.subarray(values, { minLength: 1 })
const maybe = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const few = fc.constantFrom(0, 1, 2)
const toolMapOf = (minKeys: number): fc.Arbitrary<ToolsJson> =>
  fc.dictionary(
    fc.constantFrom('a', 'b', 'c'),
    fc.dictionary(fc.constantFrom('x', 'y'), tree, { minKeys, maxKeys: 1, noNullPrototype: true }),
    { minKeys: 1, maxKeys: 3, noNullPrototype: true },
  )
const toolMap = toolMapOf(0)
const audience = some('https://x/', 'https://y/')
const allowRule = fc.record({
  effect: fc.constant('allow'),
  agents: fc.constant(['agent_1']),
  principals: some('alice', 'bob'),
  keys: fc.constant([KEY]),
  tools: toolMap,
  audience: maybe(audience),
  max_duration: few,
  max_offline_age: few,
  max_depth: few,
})
const touchRule = fc.record({
  effect: fc.constantFrom('deny', 'ask'),
  agents: maybe(some('agent_1', 'agent_2')),
  principals: maybe(some('alice', 'bob')),
  scopes: maybe(some('a', 'b', 'd')),
  beyond: maybe(toolMapOf(1)),
  audience: maybe(audience),
  over_duration: maybe(few),
  over_offline_age: maybe(few),
  over_depth: maybe(few),
}).filter((rule) =>
  Object.entries(rule).some(([name, value]) => name !== 'effect' && value !== undefined)
)
const ruleSet = fc.tuple(
  fc.array(allowRule, { minLength: 1, maxLength: 3 }),
  fc.array(touchRule, { maxLength: 2 }),
).map(([allows, touches]) => unlike([...allows, ...touches]))

/** No two rules that are the same, and each with its own name. */
function unlike(rules: readonly object[]): readonly JsonObject[] {
  const texts = new Set(rules.map((rule) => canonicalize({ ...rule, id: undefined })))
  return [...texts].map((text, i) => ({ id: `r${i}`, ...JSON.parse(text) }))
}

/** Questions that the rules have something to say to: mostly of what a rule allows. */
const asked = fc.record({
  rules: ruleSet,
  at: fc.nat(),
  odd: toolMap,
  isOdd: fc.nat(3),
  duration: few,
  offlineAge: few,
  maxDepth: few,
  audience: maybe(audience),
})
  .map(({ rules, at, odd, isOdd, ...rest }) => {
    const all = rules.filter(({ effect }) => effect === 'allow')
    const tools = (isOdd === 0 ? odd : all[at % all.length]!.tools) as ToolsJson
    return { rules, question: question({ ...rest, tools }) }
  })
const stream = fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true }))

test('no rule that denies or asks ever makes anything allowed, and order decides nothing', () => {
  let allowed = 0
  let taken = 0
  fc.assert(
    fc.property(asked, touchRule, ({ rules, question }, more) => {
      const before = policy(...rules).decide(question)
      const after = policy(...unlike([...rules, more])).decide(question)
      if (before.effect === 'allow') allowed++
      if (before.effect === 'allow' && after.effect !== 'allow') taken++
      if (after.effect === 'allow') assert.equal(before.effect, 'allow')
      if (before.effect === 'deny') assert.equal(after.effect, 'deny')
      const turned = policy(...rules.toReversed()).decide(question)
      assert.equal(turned.effect, before.effect)
    }),
    { numRuns: 600 },
  )
  assert.ok(allowed > 20 && taken > 5, `${allowed} ${taken}`)
})

test('what is narrower than an allowed request is allowed, whatever rules there are', () => {
  let narrowed = 0
  fc.assert(
    fc.property(asked, stream, ({ rules, question }, dice) => {
      const one = policy(...rules)
      if (one.decide(question).effect !== 'allow') return
      const next = () => dice.next().value as number
      const tools = Object.fromEntries(
        Object.entries(question.tools as ToolsJson)
          .filter((_, at) => at === 0 || next() > 0.3)
          .map(([tool, map]) => [
            tool,
            Object.fromEntries(Object.entries(map).map(([arg, json]) => [arg, mutate(json, next)])),
          ]),
      )
      if (widening(parseCapability(question.tools), parseCapability(tools)) !== undefined) return
      narrowed++
      const less = {
        ...question,
        tools,
        duration: Math.floor(question.duration * next()),
        offlineAge: Math.floor(question.offlineAge * next()),
        maxDepth: Math.floor(question.maxDepth * next()),
        audience: question.audience?.slice(0, 1),
      }
      assert.equal(one.decide(less).effect, 'allow')
    }),
    { numRuns: 1000 },
  )
  assert.ok(narrowed > 20, `${narrowed}`)
})

test('the gateway goes by the policy, and tells the log which rule decided', async () => {
  let rules: readonly object[] = []
  const at = await scene({ decide: (question) => policy(...rules).decide(question) })
  const agent = await registered(at)
  const [who, thief] = [await device(), await device()]
  const jkt = who.key.publicKey.id
  const rule = {
    ...ALLOW,
    agents: [agent],
    keys: [jkt],
    scopes: ['calendar:read'],
    tools: undefined,
  }
  const wish = {
    scope: 'calendar:read',
    duration: '3600',
    offline_max_age: '600',
    login_hint: 'alice',
    dpop_jkt: jkt,
  }
  const go = async (more = {}) => {
    const answer = await authorize(at, agent, await push(at, agent, { ...wish, ...more }))
    return new URL(answer.headers.get('location')!, at.issuer)
  }
  const last = () => at.events.at(-1)!.decision
  rules = [rule, DENY]
  assert.equal((await go({ dpop_jkt: undefined })).pathname.startsWith('/consent/'), true)
  assert.deepEqual(last(), { effect: 'ask' })
  assert.equal((await go({ login_hint: undefined })).pathname.startsWith('/consent/'), true)
  const denied = await go({ scope: 'calendar:read payments:initiate' })
  assert.equal(denied.searchParams.get('error'), 'access_denied')
  assert.equal(denied.searchParams.get('error_description'), null)
  assert.deepEqual(last(), { effect: 'deny', rule: 'payments' })
  rules = [{ ...DENY, scopes: ['calendar:read'], reason: 'not on sundays' }]
  assert.equal((await go()).searchParams.get('error_description'), 'not on sundays')
  const bad = postForm(at, '/oauth/par', await parFields(agent, { dpop_jkt: 'x' }))
  await refused(bad, 400, 'request_malformed')

  // A code is of use to no key but the one that was named.
  rules = [rule]
  const code = (await go()).searchParams.get('code')!
  assert.deepEqual(last(), { effect: 'allow', principal: 'alice', rule: 'calendar' })
  const stolen = tokenFields(agent, code, thief)
  await refused(signedForm(at, thief, '/oauth/token', stolen), 400, 'code_refused')
  assert.equal(at.events.at(-1)!.decision, undefined)
  const { grant_id: id } = await bodyOf(
    await signedForm(at, who, '/oauth/token', tokenFields(agent, code, who)),
  )
  const { record } = (await at.store.records.get('grant', id))!
  assert.equal(record.principal, 'alice')
  const request = (await at.store.records.get('request', record.request!))!.record
  assert.deepEqual([request.approvedBy, request.rule], ['policy', 'calendar'])
})

test('requestBundle() binds its request to the key of the device, and hears why it was denied', async () => {
  let rules: readonly object[] = []
  const at = await scene({ decide: (question) => policy(...rules).decide(question) })
  const agent = await registered(at)
  const who = await device()
  const rule = { ...ALLOW, agents: [agent], keys: [who.key.publicKey.id], tools: undefined }
  const go = async () => {
    const fetch = (url: string, init: RequestInit) => at.fetch(new Request(url, init))
    const wish = {
      agent,
      redirect: REDIRECT,
      tools: { 'calendar:read': {} },
      duration: 60,
      offlineMaxAge: 60,
      principal: 'alice',
    }
    const asked = await requestBundle(who.key, at.issuer, wish, { fetch, now: () => at.now })
    const answer = await at.fetch(new Request(asked.url))
    return await asked.redeem(answer.headers.get('location')!)
  }
  rules = [rule]
  assert.match((await go()).id, /^bundle_/)
  rules = [rule, { ...DENY, scopes: ['calendar:read'], reason: 'not on sundays' }]
  await assert.rejects(go(), (error) => {
    assert.ok(isSignetError(error, 'policy_denied'))
    assert.match(error.message, /"access_denied", "not on sundays"/)
    return true
  })
})

test('what a policy denies to a principal no such principal can approve', async () => {
  let rules: readonly object[] = [{ id: 'not-bob', effect: 'deny', principals: ['bob'] }]
  const at = await scene({ decide: (question) => policy(...rules).decide(question) })
  const agent = await registered(at)
  const id = await push(at, agent)
  await authorize(at, agent, id)
  const to = await approve(at, id, await session(at, 'bob'))
  assert.deepEqual(
    [to.searchParams.get('error'), to.searchParams.get('code')],
    ['access_denied', null],
  )
  assert.deepEqual(at.events.at(-1)!.decision, { effect: 'deny', rule: 'not-bob' })
  const { record } = (await at.store.records.get('request', id))!
  assert.deepEqual([record.status, record.principal, record.rule], ['denied', 'bob', 'not-bob'])

  // Nor what was denied since it was asked for; but for the rest of it the person decides.
  const again = await push(at, agent)
  await authorize(at, agent, again)
  rules = [{ ...DENY, scopes: ['mail:send'] }]
  const cookie = await session(at)
  const less = await approve(at, again, cookie, { tool: ['calendar:read'] })
  assert.match(less.searchParams.get('code')!, /^sgco_/)
})
