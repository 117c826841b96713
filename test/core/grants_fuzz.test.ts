/** Grants as strangers make them: whatever comes, a code comes back; and whatever is narrowed is narrower. */
import fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  amountUnits,
  type Charge,
  issueGrant,
  memoryLedger,
  memoryReplayStore,
  narrowGrant,
  parseChain,
  parseLimits,
  type ToolsJson,
  verifyGrant,
  verifyPop,
} from '../../src/grants/mod.ts'
import { claimsJson } from '../../src/grants/chain.ts'
import { MAX_JSON_DEPTH } from '../../src/grants/sizes.ts'
import { type JsonObject, type JsonValue, parseJson } from '../../src/json.ts'
import { mutate, tree, value } from './_constraints.ts'
import {
  alice,
  bob,
  childClaims,
  forge,
  ISSUER,
  issuer,
  NOW,
  pair,
  rootClaims,
  TRUSTED,
  verdict,
} from './_grants.ts'

const dictionary = { noNullPrototype: true, maxKeys: 2 } as const
const name = fc.constantFrom('a', 'b')
const tools: fc.Arbitrary<ToolsJson> = fc.dictionary(
  name,
  fc.dictionary(name, tree, dictionary),
  dictionary,
)

test('where narrowGrant() agrees, no call is covered below that is refused above', async () => {
  let narrowed = 0
  let covered = 0
  const narrower = (above: ToolsJson, dice: () => number): ToolsJson =>
    Object.fromEntries(
      Object.entries(above).map(([tool, map]) => [
        tool,
        Object.fromEntries(Object.entries(map).map(([arg, json]) => [arg, mutate(json, dice)])),
      ]),
    )
  const family = fc.tuple(tools, fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })))
    .map(([above, stream]): [ToolsJson, ToolsJson] => [
      above,
      narrower(above, () => stream.next().value as number),
    ])
  const calls = fc.array(fc.tuple(name, fc.dictionary(name, value, dictionary)), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(family, calls, async ([above, below], asked) => {
      const terms = { issuer: ISSUER, holder: alice.publicKey, lifetime: 60, maxDepth: 1 }
      const root = await issueGrant(issuer, { ...terms, tools: above }, { now: NOW })
      const chain = await narrowGrant(root, alice, { holder: bob.publicKey, tools: below }, {
        now: NOW,
      })
        .catch((error) => {
          assert.ok(isSignetError(error, 'grant_widened'))
          return undefined
        })
      if (chain === undefined) return
      narrowed++
      const parent = await verifyGrant(root, TRUSTED, { now: NOW })
      const child = await verifyGrant(chain, TRUSTED, { now: NOW })
      for (const [tool, args] of asked) {
        if (!child.check(tool, args).allowed) continue
        covered++
        assert.equal(parent.check(tool, args).allowed, true)
      }
    }),
    {
      numRuns: 80,
      examples: [
        [[{ a: { b: { constraint_type: 'range', min: 0 } } }, {
          a: { b: { constraint_type: 'exact', value: 1 } },
        }], [['a', { b: 1 }]]],
        [[{ a: {}, b: {} }, { b: { a: { constraint_type: 'wildcard' } } }], [['b', { a: 'x' }]]],
      ],
    },
  )
  assert.ok(narrowed >= 2 && covered >= 2)
})

/** A claim or header of any shape. */
const anything = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(undefined, '', -1, 1.5, '0', [], {}, null, true),
)
const CLAIMS = Object.keys(rootClaims({ aud: 1, status: 1, limits: 1, par_hash: 1 }))

test('a signed token with claims of any shape is refused with a code, or fits', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CLAIMS),
      anything,
      fc.boolean(),
      async (claim, any, isChild) => {
        const chain = isChild
          ? await pair({ [claim]: any })
          : [await forge(issuer, rootClaims({ [claim]: any }))]
        assert.match(await verdict(chain), /^\w+$/)
      },
    ),
    { numRuns: 300, examples: [['limits', { x: {} }, true], ['cnf', { jwk: {} }, false]] },
  )
})

test('a signed token with a header of any shape is refused with a code, or fits', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('alg', 'typ', 'kid', 'crit', 'limits', 'jwk', 'b64'),
      anything,
      async (member, any) => {
        const root = await forge(issuer, rootClaims())
        const child = await forge(alice, childClaims(root), { [member]: any })
        assert.match(await verdict([root, child]), /^\w+$/)
      },
    ),
    { numRuns: 150, examples: [['crit', ['limits']], ['kid', undefined]] },
  )
})

test('any text is no grant, no proof and no chain', async () => {
  const grant = await verifyGrant(await pair(), TRUSTED, { now: NOW })
  const token = await forge(issuer, rootClaims())
  const broken = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}$/),
    fc.tuple(fc.nat(token.length - 1), fc.constantFrom('A', '.', '=', ' ', '_', '\n', 'é'))
      .filter(([at, unit]) => token[at] !== unit)
      .map(([at, unit]) => token.slice(0, at) + unit + token.slice(at + 1)),
  )
  const call = { tool: 'calendar:read', args: {} }
  const options = { replay: memoryReplayStore(), now: NOW }
  await fc.assert(
    fc.asyncProperty(broken, async (text) => {
      assert.notEqual(await verdict([text]), 'ok')
      await assert.rejects(verifyPop(text, grant, call, options), (error) => isSignetError(error))
      try {
        parseChain(text)
      } catch (error) {
        assert.ok(isSignetError(error))
      }
    }),
    { numRuns: 400 },
  )
})

test('claims are read alike in the quick way and in the strict one', async () => {
  const inner = fc.oneof(
    fc.jsonValue().map((json) => JSON.stringify(json)),
    fc.constantFrom(
      '9007199254740993',
      '9007199254740992',
      '1e400',
      '1e21',
      '1e+21',
      '-0',
      '1.0',
      '{"a":1,"a":2}',
      '{"2":1,"1":2}',
      '{"__proto__":{}}',
      '"\\ud800"',
      '"\\u0061"',
      ' 1',
      '01',
      '"\t"',
      '[',
    ),
  )
  const codeOf = async (body: string) => await verdict([await forge(issuer, body)])
  await fc.assert(
    fc.asyncProperty(inner, async (text) => {
      const plain = JSON.stringify(rootClaims()).slice(0, -1)
      // A space is enough for the strict way.
      const [quick, strict] = [`${plain},"x":${text}}`, `${plain}, "x":${text}}`]
      assert.equal(await codeOf(quick), await codeOf(strict))
    }),
    { numRuns: 150, examples: [['9007199254740992'], ['"\\ud800"'], ['{"a":1,"a":2}'], ['1']] },
  )
})

test('the quick way gives what the strict parser gives, or its error', () => {
  const outcome = (read: () => JsonValue) => {
    try {
      return JSON.stringify(read())
    } catch (error) {
      assert.ok(isSignetError(error))
      return error.code
    }
  }
  const same = (text: string) =>
    assert.equal(
      outcome(() => claimsJson(utf8(text))),
      outcome(() => parseJson(text, { maxDepth: MAX_JSON_DEPTH })),
      text.slice(0, 200),
    )
  const deep = (levels: number, [open, close]: string, inner = '1') =>
    `{"a":${open!.repeat(levels - 1)}${inner}${close!.repeat(levels - 1)}}`
  for (const levels of [MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, 100_000]) {
    same(deep(levels, '[]'))
    same(deep(levels, '[]', `"${'[{'.repeat(levels)}"`))
    same(`{"a":${'{"a":'.repeat(levels - 1)}1${'}'.repeat(levels)}`)
  }
  same(`{"a":[${'1,'.repeat(24_000)}1]}`)
  for (let digits = 14; digits < 24; digits++) {
    for (const text of ['9', '1'].map((digit) => digit.repeat(digits))) {
      for (const one of [text, `-${text}`, `${text}.5`, `0.${text}`, `"${text}"`, `1e${text}`]) {
        for (let before = 0; before < 17; before++) same(`{"${'n'.repeat(before)}":${one}}`)
      }
    }
  }
  for (
    const one of ['9007199254740991', '9007199254740992', '1e+21', '1e21', '-0', '1E5', '5e-324']
  ) {
    same(`{"n":${one}}`)
  }
  for (
    const one of [
      '"\\ud83d\\ude00"',
      '"\\ud800"',
      '"\\uD800"',
      '"\\\\ud800"',
      '"\u{1f600}"',
      '"\\/"',
      '"\u007f"',
    ]
  ) same(`{"s":${one}}`)
  for (
    const one of [
      '{"a":1,"a":1}',
      '{"1":1,"0":1}',
      '{"__proto__":1}',
      '{"__proto__":{},"__proto__":{}}',
    ]
  ) {
    same(one)
    same(`{"o":${one}}`)
  }
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.nat(),
      fc.constantFrom('', '"', '\\', ',', '{', '}', '[', ']', ':', '0', ' ', '"a":1,', '\\ud800'),
      fc.boolean(),
      (json, at, piece, cuts) => {
        const text = JSON.stringify(json)
        same(text)
        const place = at % text.length
        const edited = text.slice(0, place) + piece + text.slice(place + (cuts ? 1 : 0))
        if (edited.isWellFormed()) same(edited)
      },
    ),
    { numRuns: 1000 },
  )
})

test('limits of any shape are read, or refused with a code', () => {
  const member = fc.constantFrom('calls', 'budget', 'approval', 'offline_max_age', 'max', 'x')
  const inner = fc.dictionary(
    fc.constantFrom('max', 'per_seconds', 'argument', 'keys', 'quorum', 'currency'),
    fc.jsonValue({ maxDepth: 1 }),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue({ maxDepth: 1 }),
        fc.dictionary(fc.string(), fc.dictionary(member, fc.oneof(inner, fc.nat()))),
      ),
      (json) => {
        try {
          parseLimits(json as JsonValue)
        } catch (error) {
          assert.ok(isSignetError(error, 'grant_malformed'))
        }
      },
    ),
    { numRuns: 200, examples: [[{ t: { calls: { max: 1 } } }], [{ t: { calls: { max: '1' } } }]] },
  )
})

test('amounts are exact decimals, and nothing else is an amount', () => {
  for (
    const [number, units] of [
      [0, 0n],
      [-0, 0n],
      [1, 10n ** 9n],
      [0.1, 10n ** 8n],
      [1e-9, 1n],
      [1.5e-7, 150n],
      [123456.789, 123456789000000n],
      [Number.MAX_SAFE_INTEGER, 9007199254740991n * 10n ** 9n],
    ] as const
  ) assert.equal(amountUnits(number), units)
  for (
    const wrong of [
      -1,
      NaN,
      Infinity,
      1e-10,
      0.1234567891,
      2 ** 53,
      1e21,
      '1',
      null,
      undefined,
      1n,
      [1],
      { valueOf: () => 1 },
    ]
  ) {
    assert.equal(amountUnits(wrong), undefined)
  }
  fc.assert(fc.property(fc.nat(10 ** 9), fc.integer({ min: 0, max: 9 }), (whole, decimals) => {
    const number = Number(`${whole}e-${decimals}`)
    assert.equal(amountUnits(number), BigInt(whole) * 10n ** BigInt(9 - decimals))
  }))
})

const charge = (more: Partial<Charge> = {}): Charge => ({
  account: 'x',
  kind: 'calls',
  amount: 1n,
  max: 5n,
  expires: NOW + 1000,
  ...more,
})

test('a ledger takes all of a call or nothing, and gives back what was not used', () => {
  const ledger = memoryLedger()
  const two = [charge({ account: 'a', max: 3n }), charge({ account: 'b', max: 1n })]
  const first = ledger.reserve(two, NOW)
  assert.ok(first.ok)
  const second = ledger.reserve(two, NOW)
  assert.deepEqual([second.ok, second.ok ? '' : second.account], [false, 'b'])
  // The refused one took nothing from a.
  const rest = [1, 2].map(() => ledger.reserve([charge({ account: 'a', max: 3n })], NOW).ok)
  assert.deepEqual(rest, [true, true])
  assert.equal(ledger.reserve([charge({ account: 'a', max: 3n })], NOW).ok, false)
  first.reservation.release()
  first.reservation.release()
  first.reservation.commit()
  const again = ledger.reserve(two, NOW)
  assert.ok(again.ok)
  again.reservation.commit()
  again.reservation.release()
  assert.equal(ledger.reserve(two, NOW).ok, false)
  assert.throws(() => ledger.reserve([charge(), charge()], NOW), TypeError)
  assert.throws(() => ledger.reserve([charge({ amount: -1n })], NOW), TypeError)
})

test('a ledger goes on where it was, and what was open stays counted', () => {
  const ledger = memoryLedger()
  const rate = charge({ account: 'r', kind: 'rate', max: 2n, perSeconds: 10 })
  assert.ok(ledger.reserve([charge({ max: 2n }), rate], NOW).ok)
  const state = JSON.parse(JSON.stringify(ledger.toJson())) as JsonObject
  const next = memoryLedger({ state })
  assert.deepEqual(next.open(), ['1'])
  assert.ok(next.reserve([charge({ max: 2n }), rate], NOW).ok)
  assert.equal(next.reserve([charge({ max: 2n })], NOW).ok, false)
  assert.equal(next.reserve([rate], NOW).ok, false)
  assert.equal(next.settle('1', 'release'), true)
  assert.equal(next.settle('1', 'release'), false)
  assert.ok(next.reserve([charge({ max: 2n }), rate], NOW).ok)
  for (
    const wrong of [null, [], {}, { ...state, accounts: [{}] }, { ...state, holds: 1 }, {
      ...state,
      serial: '1',
    }]
  ) {
    assert.throws(() => memoryLedger({ state: wrong as JsonValue }), { code: 'ledger_malformed' })
  }
})

test('no span of a rate ever holds more than it may, whatever the clock does', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 60 }),
      (max, perSeconds, steps) => {
        const ledger = memoryLedger()
        const rate = charge({ kind: 'rate', max: BigInt(max), perSeconds })
        const taken: number[] = []
        let now = NOW
        for (const step of steps) {
          now += step / 10
          if (ledger.reserve([rate], now).ok) taken.push(now)
        }
        for (const end of taken) {
          const span = taken.filter((at) => at > end - perSeconds && at <= end)
          assert.ok(span.length <= max)
        }
        // Once nothing is in the span any more, there is room again.
        assert.ok(ledger.reserve([rate], now + perSeconds * 1.1).ok)
        // The clock is set back: what was counted later still counts.
        if (max === 1) assert.equal(ledger.reserve([rate], now).ok, false)
      },
    ),
    { numRuns: 200 },
  )
})

test('a full ledger forgets what has expired and nothing else, and takes no expired account anew', () => {
  const ledger = memoryLedger({ capacity: 2 })
  const on = (account: string, expires: number, now: number) =>
    ledger.reserve([charge({ account, expires, max: 1n })], now).ok
  assert.equal(on('a', NOW + 10, NOW), true)
  assert.equal(on('b', NOW + 20, NOW), true)
  assert.equal(on('c', NOW + 30, NOW), false)
  assert.equal(on('c', NOW + 30, NOW + 15), true)
  // The clock is set back, to when the first would still have counted.
  assert.equal(on('a', NOW + 10, NOW), false)
})

test('a memory of proofs forgets nothing inside its window, and says so when it is full', () => {
  let now = NOW
  const store = memoryReplayStore({ capacity: 3, now: () => now })
  assert.equal(store.insert('a', NOW + 30), true)
  assert.equal(store.insert('a', NOW + 30), false)
  assert.equal(store.insert('b', NOW + 60), true)
  assert.equal(store.insert('c', NOW + 60), true)
  assert.throws(() => store.insert('d', NOW + 60), { code: 'replay_store_full' })
  assert.equal(store.insert('a', NOW + 30), false)
  now = NOW + 40
  assert.equal(store.insert('d', NOW + 60), true)
  assert.equal(store.insert('b', NOW + 60), false)
  // The clock is set back: the first one was forgotten, and still does not count twice.
  now = NOW
  assert.equal(store.insert('a', NOW + 30), false)
  assert.throws(() => store.insert('e', NOW + 60), { code: 'replay_store_full' })
  assert.equal(memoryReplayStore().insert('x', NaN), false)
})
