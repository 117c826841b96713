import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { signJws } from '../../src/envelope/mod.ts'
import {
  authorizeCall,
  type CallRequest,
  issueGrant,
  type IssueTerms,
  type LimitsJson,
  makePop,
  memoryLedger,
  memoryReplayStore,
  narrowGrant,
  POP_TYPE,
  signApproval,
  type StatusCheck,
  toExchangeClaims,
  type VerifiedGrant,
  verifyGrant,
} from '../../src/grants/mod.ts'
import { canonicalBytes } from '../../src/json.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'

const NOW = 1_800_000_000
const ISSUER = 'https://auth.example.com'
const [issuer, alice, bob, carol] = await Promise.all(
  Array.from({ length: 4 }, () => generateKey(ALGORITHMS.Ed25519)),
) as [Key, Key, Key, Key]
const trusted = [{ issuer: ISSUER, keys: [issuer.publicKey] }]

const PAY = { pay: { amount: { constraint_type: 'range', min: 0 } } }

async function issued(terms: Partial<IssueTerms> = {}) {
  return await issueGrant(issuer, {
    issuer: ISSUER,
    holder: alice.publicKey,
    scopes: ['read'],
    tools: PAY,
    lifetime: 3600,
    maxDepth: 2,
    ...terms,
  }, { now: NOW })
}

async function verified(terms: Partial<IssueTerms> = {}): Promise<VerifiedGrant> {
  return await verifyGrant(await issued(terms), trusted, { now: NOW })
}

async function decide(grant: VerifiedGrant, call: Partial<CallRequest> = {}): Promise<string> {
  const answer = await authorizeCall(grant, {
    tool: 'pay',
    args: { amount: 1 },
    possession: 'held-here',
    now: NOW + 1,
    ...call,
  })
  return answer.allowed ? 'allowed' : answer.code
}

test('authorizeCall() denies before the time, after it, and what is not granted', async () => {
  const grant = await verified()
  assert.equal(await decide(grant), 'allowed')
  assert.equal(await decide(grant, { now: NOW + 3600 }), 'grant_expired')
  assert.equal(await decide(grant, { now: NOW - 31 }), 'grant_not_yet_valid')
  assert.equal(await decide(grant, { tool: 'rea' }), 'tool_denied')
  assert.equal(await decide(grant, { args: { amount: -1 } }), 'argument_denied')
  assert.equal(await decide(grant, { args: { amount: 1, to: 'x' } }), 'argument_unexpected')
  await assert.rejects(decide(grant, { now: NaN }), TypeError)
})

test('authorizeCall() judges and counts what the arguments were, whatever they become while it waits', async () => {
  const status = { idx: 7, uri: 'https://auth.example.com/status/1' }
  const limits = { pay: { budget: { argument: 'amount', max: 100 } } }
  const tools = { pay: { amount: { constraint_type: 'range', max: 100 } } }
  const grant = await verified({ status, limits, tools })
  const ledger = memoryLedger()
  const call = { tool: 'pay', possession: 'held-here', now: NOW + 1, ledger } as const
  let spent = 0
  for (let i = 0; i < 5; i++) {
    const args = { amount: 100 }
    // The constraint saw 100; the budget must not see 0 while the status is asked for.
    const decided = authorizeCall(grant, { ...call, args, status: () => 'valid' })
    args.amount = 0
    const answer = await decided
    if (answer.allowed) spent += Number(answer.args.amount)
  }
  assert.equal(spent, 100)
})

test('authorizeCall() hands out the arguments that it judged, and refuses what it cannot see', async () => {
  const tools = {
    one: { path: { constraint_type: 'exact', value: '/a' } },
    many: { paths: { constraint_type: 'subset', allowed: ['/a'] } },
  }
  const grant = await verified({ tools })
  const at = { possession: 'held-here', now: NOW + 1 } as const
  const path = '/a'
  const hiding: unknown[] = [
    Object.create({ admin: true }, { path: { value: path, enumerable: true } }),
    Object.defineProperty({ path }, 'mode', { value: 'write' }),
    { path, [Symbol('mode')]: 'write' },
    new Proxy({ path }, {
      ownKeys() {
        throw new Error('trap')
      },
    }),
    new Date(),
    undefined,
  ]
  for (const args of hiding) {
    assert.equal(await decide(grant, { tool: 'one', args }), 'arguments_malformed')
    assert.equal(await decide(grant, { tool: 'read', args }), 'arguments_malformed')
    assert.equal(await decide(grant, { tool: 'none', args }), 'tool_denied')
  }
  let asked = 0
  const shifting = {
    get path() {
      return asked++ === 0 ? '/a' : '/etc/shadow'
    },
  }
  const one = await authorizeCall(grant, { ...at, tool: 'one', args: shifting })
  assert.ok(one.allowed)
  assert.deepEqual([one.args, asked], [{ path }, 1])
  const paths = Object.assign(['/etc/shadow'], {
    *[Symbol.iterator]() {
      yield '/a'
    },
  })
  const many = await authorizeCall(grant, { ...at, tool: 'many', args: { paths } })
  // The list says one thing by its iterator and another by its indexes: the tool gets what was judged.
  assert.deepEqual(many.allowed ? many.args : many.code, { paths: ['/a'] })
})

test('a proof or approvals that are no text are a denial, and no fault', async () => {
  const grant = await verified({
    limits: { '*': { approval: { keys: [bob.publicKey.id], quorum: 1 } } },
  })
  const replay = memoryReplayStore({ now: () => NOW })
  const ledger = memoryLedger()
  for (const odd of [5, null, {}, [], true] as never[]) {
    const possession = { proof: odd, replay }
    assert.equal(await decide(grant, { ledger, possession }), 'pop_invalid')
    assert.equal(await decide(grant, { ledger, approvals: [odd] }), 'approval_missing')
    assert.equal(await decide(grant, { ledger, approvals: odd }), 'approval_missing')
  }
})

test('a revoked, suspended or unknown link denies, wherever it stands in the chain', async () => {
  const status = { idx: 7, uri: 'https://auth.example.com/status/1' }
  const root = await issued({ status })
  const chain = await narrowGrant(root, alice, {
    holder: bob.publicKey,
    status: { ...status, idx: 8 },
  }, { now: NOW })
  const grant = await verifyGrant(chain, trusted, { now: NOW })
  const says = (idx: number, what: 'revoked' | 'suspended' | 'unknown'): StatusCheck => (ref) =>
    ref.idx === idx ? what : 'valid'
  assert.equal(await decide(grant, { status: () => 'valid' }), 'allowed')
  assert.equal(await decide(grant, { status: () => Promise.resolve('valid') }), 'allowed')
  assert.equal(await decide(grant), 'status_unknown')
  assert.equal(await decide(grant, { status: says(7, 'revoked') }), 'grant_revoked')
  assert.equal(await decide(grant, { status: says(8, 'revoked') }), 'grant_revoked')
  assert.equal(await decide(grant, { status: says(8, 'suspended') }), 'grant_suspended')
  assert.equal(await decide(grant, { status: says(7, 'unknown') }), 'status_unknown')
  const failing: StatusCheck = () => {
    throw new Error('no network')
  }
  assert.equal(await decide(grant, { status: failing }), 'status_unknown')
})

test('a proof counts once, and for its own call only', async () => {
  const chain = await issued()
  const grant = await verifyGrant(chain, trusted, { now: NOW })
  const call = { tool: 'pay', args: { amount: 1 } }
  const replay = memoryReplayStore({ now: () => NOW })
  const proof = await makePop(chain, alice, call, { now: NOW })
  const possession = { proof, replay }
  assert.equal(await decide(grant, { possession, args: { amount: 2 } }), 'pop_mismatch')
  assert.equal(await decide(grant, { possession, tool: 'read' }), 'pop_mismatch')
  assert.equal(await decide(grant, { possession, now: NOW + 31 }), 'pop_stale')
  assert.equal(await decide(grant, { possession }), 'allowed')
  assert.equal(await decide(grant, { possession }), 'pop_replayed')
  const foreign = await makePop(chain, bob, call, { now: NOW })
  assert.equal(await decide(grant, { possession: { proof: foreign, replay } }), 'pop_invalid')
})

test('a proof counts under its own leaf alone, also where another one has the same name', async () => {
  const [one, two] = await Promise.all(
    [600, 900].map((lifetime) => issued({ lifetime, jti: 'same' })),
  )
  const call = { tool: 'pay', args: { amount: 1 } }
  const proof = await makePop(one!, alice, call, { now: NOW })
  const under = async (chain: readonly string[], text: string) =>
    await decide(await verifyGrant(chain, trusted, { now: NOW }), {
      possession: { proof: text, replay: memoryReplayStore({ now: () => NOW }) },
    })
  assert.equal(await under(two!, proof), 'pop_mismatch')
  assert.equal(await under(one!, proof), 'allowed')
  // A program that goes by the draft alone names the leaf by its `jti`.
  const claims = { aat_id: 'same', aat_tool: 'pay', hta: call.args, iat: NOW, jti: 'p' }
  const plain = await signJws(canonicalBytes(claims), alice, { typ: POP_TYPE })
  assert.equal(await under(one!, plain), 'allowed')
  for (const aat_hash of ['', 5, null]) {
    const odd = await signJws(canonicalBytes({ ...claims, aat_hash }), alice, { typ: POP_TYPE })
    assert.equal(await under(one!, odd), 'pop_mismatch')
  }
})

const limited = (limits: LimitsJson) => verified({ limits })

test('calls, rates and budgets are counted, and what cannot be counted is denied', async () => {
  const grant = await limited({
    pay: { calls: { max: 3 }, budget: { argument: 'amount', max: 0.3 } },
    read: { calls: { max: 2, per_seconds: 60 } },
  })
  assert.equal(await decide(grant), 'ledger_unavailable')
  const ledger = memoryLedger()
  const pay = (amount: unknown) => decide(grant, { ledger, args: { amount } })
  assert.equal(await pay(0.1), 'allowed')
  assert.equal(await pay(0.2), 'allowed')
  assert.equal(await pay(1e-9), 'budget_exhausted')
  assert.equal(await pay(1e-10), 'amount_malformed')
  assert.equal(await pay(0), 'allowed')
  assert.equal(await pay(0), 'calls_exhausted')
  const read = (now: number) => decide(grant, { ledger, tool: 'read', args: {}, now })
  assert.equal(await read(NOW), 'allowed')
  assert.equal(await read(NOW + 1), 'allowed')
  assert.equal(await read(NOW + 59), 'rate_exceeded')
  assert.equal(await read(NOW + 62), 'allowed')
})

test('a call waits for its quorum of approvals, each of which counts once', async () => {
  const grant = await limited({
    pay: { approval: { keys: [bob.publicKey.id, carol.publicKey.id], quorum: 2 } },
  })
  const ledger = memoryLedger()
  const args = { amount: 1 }
  const call = { grant: grant.id, tool: 'pay', args, expiresAt: NOW + 60 }
  const sign = (key: Key, what: Partial<typeof call> = {}) =>
    signApproval(key, { ...call, ...what }, { now: NOW })
  const pay = (...approvals: string[]) => decide(grant, { ledger, approvals })
  const [ofBob, ofCarol] = [await sign(bob), await sign(carol)]
  assert.equal(await pay(), 'approval_missing')
  assert.equal(await pay(ofBob), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(bob)), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(alice)), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(carol, { args: { amount: 2 } })), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(carol, { tool: 'read' })), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(carol, { grant: 'other' })), 'approval_missing')
  assert.equal(await pay(ofBob, await sign(carol, { expiresAt: NOW + 1 })), 'approval_missing')
  assert.equal(await pay(ofBob, 'garbage', ofCarol), 'allowed')
  assert.equal(await pay(ofBob, ofCarol), 'approval_used')
})

test('the export says who acts for whom, and never more than the grant', async () => {
  const root = await issued({ limits: { pay: { calls: { max: 1 } } } })
  const chain = await narrowGrant(root, alice, { holder: bob.publicKey }, { now: NOW })
  const claims = toExchangeClaims(await verifyGrant(chain, trusted, { now: NOW }), {
    subject: 'user-1',
  })
  const name = (key: Key) => `urn:ietf:params:oauth:jwk-thumbprint:sha-256:${key.publicKey.id}`
  assert.equal(claims.sub, 'user-1')
  assert.equal(claims.scope, 'read')
  assert.deepEqual(claims.act, { sub: name(bob), act: { sub: name(alice) } })
  const none = await verified({ limits: { '*': { calls: { max: 1 } } } })
  assert.throws(() => toExchangeClaims(none), { code: 'policy_denied' })
})
