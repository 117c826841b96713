import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import {
  authorizeCall,
  grantVerifier,
  type GrantVerifierOptions,
  issueGrant,
  type Ledger,
  memoryLedger,
  verifyGrant,
} from '../../src/grants/mod.ts'
import type { PublicKey } from '../../src/keys/mod.ts'
import {
  alice,
  childClaims,
  forge,
  ISSUER,
  issuer,
  mallory,
  NOW,
  pair,
  rootClaims,
  TRUSTED,
} from './_grants.ts'

/** Trust in the issuer that counts how often its signature is checked. */
function counted() {
  const { publicKey } = issuer
  const count = { checks: 0 }
  const key: PublicKey = {
    id: publicKey.id,
    algorithm: publicKey.algorithm,
    raw: publicKey.raw,
    jwk: publicKey.jwk,
    verify(message, signature) {
      count.checks++
      return publicKey.verify(message, signature)
    },
  }
  return { count, trusted: [{ issuer: ISSUER, keys: [key] }] }
}

function begin(options: GrantVerifierOptions = {}) {
  const { count, trusted } = counted()
  const verifier = grantVerifier(trusted, options)
  const tell = async (chain: readonly string[], now = NOW + 1) => {
    try {
      await verifier.verify(chain, now)
      return 'ok'
    } catch (error) {
      assert.ok(isSignetError(error))
      return error.code
    }
  }
  return { count, tell, verifier, trusted }
}

test('a chain is verified once, and its times again each time', async () => {
  const { count, tell, verifier } = begin()
  const chain = await pair({ exp: NOW + 60 })
  assert.equal(await tell(chain), 'ok')
  assert.equal(await tell([...chain]), 'ok')
  assert.equal(count.checks, 1)
  assert.equal(await verifier.verify(chain, NOW), await verifier.verify(chain, NOW))
  assert.equal(await tell(chain, NOW + 59), 'ok')
  assert.equal(await tell(chain, NOW + 60), 'grant_expired')
  assert.equal(await tell(chain, NOW - 31), 'grant_not_yet_valid')
  assert.equal(await tell(chain, NOW + 1), 'ok')
  assert.equal(count.checks, 1)
  await assert.rejects(verifier.verify(chain, NaN), TypeError)
})

test('what does not hold is not remembered, and nothing is taken for something else', async () => {
  const { count, tell } = begin()
  const [root, child] = await pair() as [string, string]
  assert.equal(await tell([root, child]), 'ok')
  // The same token with another signature, another order, another cut, a longer chain.
  const [head, body] = child.split('.') as [string, string]
  const unsigned = `${head}.${body}.${'A'.repeat(86)}`
  assert.equal(await tell([root, unsigned]), 'signature_invalid')
  assert.equal(await tell([root, unsigned]), 'signature_invalid')
  assert.equal(await tell([child, root]), 'signer_untrusted')
  assert.equal(await tell([`${root}\n${child}`]), 'token_malformed')
  assert.equal(await tell([root]), 'ok')
  assert.equal(await tell([root, child]), 'ok')
  assert.ok(count.checks >= 4)
  assert.equal(await tell([]), 'grant_malformed')
})

test('a chain that is another one at each look is remembered as what was verified', async () => {
  const forged = await forge(mallory, rootClaims())
  for (let look = 1; look <= 8; look++) {
    const { tell } = begin()
    const good = await forge(issuer, rootClaims())
    const chain = [good]
    let looks = 0
    Object.defineProperty(chain, 0, {
      get: () => ++looks <= look ? forged : good,
      enumerable: true,
    })
    await tell(chain)
    assert.equal(await tell([forged]), 'signer_untrusted', `${look} looks`)
  }
})

test('the memory has a bound, by number and by size, and keeps what is used', async () => {
  const chains = await Promise.all(
    ['a', 'b', 'c'].map(async (jti) => [await forge(issuer, rootClaims({ jti }))]),
  )
  const [a, b, c] = chains as [string[], string[], string[]]
  const { count, tell } = begin({ maxGrants: 2 })
  for (const chain of [a, b, a, c]) assert.equal(await tell(chain), 'ok')
  assert.equal(count.checks, 3)
  await tell(a)
  assert.equal(count.checks, 3, 'a was used after b')
  await tell(b)
  assert.equal(count.checks, 4, 'b was forgotten')
  const small = begin({ maxChars: 10 })
  for (const chain of [a, a]) await small.tell(chain)
  assert.equal(small.count.checks, 2)
})

test('a verifier keeps the trust that it was made with', async () => {
  const { count, trusted } = counted()
  const keys = [...trusted[0]!.keys]
  const verifier = grantVerifier([{ issuer: ISSUER, keys }], { audience: 'here' })
  keys.length = 0
  const chain = [await forge(issuer, rootClaims({ aud: 'here' }))]
  await verifier.verify(chain, NOW)
  assert.equal(count.checks, 1)
  const foreign = [await forge(issuer, rootClaims({ aud: 'there' }))]
  await assert.rejects(verifier.verify(foreign, NOW), { code: 'grant_audience' })
})

test('of many calls at once no more pass than the limits allow, on any link', async () => {
  const limits = { '*': { calls: { max: 7 }, budget: { argument: 'amount', max: 0.5 } } }
  const terms = {
    issuer: ISSUER,
    holder: alice.publicKey,
    scopes: ['pay'],
    lifetime: 60,
    maxDepth: 1,
  }
  const root = await issueGrant(issuer, { ...terms, limits }, { now: NOW })
  // Two siblings share what their parent has.
  const siblings = await Promise.all(
    ['left', 'right'].map(async (jti) =>
      await verifyGrant(
        [root[0]!, await forge(alice, childClaims(root[0]!, alice, { jti }))],
        TRUSTED,
        { now: NOW },
      )
    ),
  )
  const inner = memoryLedger()
  const slow: Ledger = {
    async reserve(charges, now) {
      await Promise.resolve()
      return inner.reserve(charges, now)
    },
  }
  const pay = async (at: number) => {
    const call = { tool: 'pay', args: { amount: 0.1 }, now: NOW, ledger: slow }
    return await authorizeCall(siblings[at % 2]!, { ...call, possession: 'held-here' })
  }
  const answers = await Promise.all(Array.from({ length: 40 }, (_, at) => pay(at)))
  const allowed = answers.filter((answer) => answer.allowed)
  assert.equal(allowed.length, 5)
  assert.ok(answers.every((answer) => answer.allowed || answer.code === 'budget_exhausted'))
  // What is given back can be had again, and once.
  await allowed[0]!.reservation.release()
  assert.equal((await pay(0)).allowed, true)
  assert.equal((await pay(1)).allowed, false)
  const broken: Ledger = {
    reserve: () => {
      throw new Error('no disk')
    },
  }
  const answer = await authorizeCall(siblings[0]!, {
    tool: 'pay',
    args: { amount: 0 },
    now: NOW,
    possession: 'held-here',
    ledger: broken,
  })
  assert.equal(answer.allowed ? 'allowed' : answer.code, 'ledger_unavailable')
})
