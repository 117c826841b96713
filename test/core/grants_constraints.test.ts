/** Constraints and their order: the complete table of types, and the property that it stands for. */
import fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import {
  checkCall,
  type Constraint,
  CORE_TYPES,
  type CoreType,
  extensionsOf,
  parseCapability,
  parseConstraint,
  satisfies,
  subsumes,
  widening,
} from '../../src/grants/mod.ts'
import type { JsonObject, JsonValue } from '../../src/json.ts'
import { mutate, SCALARS, tree, value } from './_constraints.ts'

const read = (type: string, members: JsonObject = {}): Constraint =>
  parseConstraint({ constraint_type: type, ...members })
const exact = (value: JsonValue) => read('exact', { value })
const range = (members: JsonObject) => read('range', members)
const oneOf = (...values: JsonValue[]) => read('one_of', { values })
const notOneOf = (...excluded: JsonValue[]) => read('not_one_of', { excluded })
const contains = (...required: JsonValue[]) => read('contains', { required })
const subset = (...allowed: JsonValue[]) => read('subset', { allowed })
const wildcard = read('wildcard')
const all = (...list: Constraint[]) => read('all', { constraints: list.map(({ json }) => json) })
const any = (...list: Constraint[]) => read('any', { constraints: list.map(({ json }) => json) })

/** Values that each type is asked about, besides those in the tables. */
const VALUES: readonly unknown[] = [
  0,
  -0,
  1,
  1.5,
  -1,
  5,
  10,
  11,
  1e300,
  NaN,
  Infinity,
  -Infinity,
  2 ** 53 + 2,
  '',
  'a',
  'b',
  'c',
  '1',
  'A',
  '\ud800',
  true,
  false,
  null,
  undefined,
  [],
  ['a'],
  ['a', 'b'],
  ['b', 'a', 'a'],
  [['a']],
  [undefined],
  {},
  { a: 1 },
  { length: 0 },
  new Date(0),
  new Map(),
  () => 1,
  Symbol('a'),
  1n,
  new Uint8Array(1),
  Object.create({ a: 1 }),
]

test('a constraint that is malformed in any way is refused', () => {
  const wrong: unknown[] = [
    undefined,
    null,
    'wildcard',
    [],
    1,
    {},
    { constraint_type: 1 },
    { constraint_type: null },
    { constraint_type: 'exact' },
    { constraint_type: 'exact', value: [] },
    { constraint_type: 'exact', value: {} },
    { constraint_type: 'exact', value: 1, values: [] },
    { constraint_type: 'exact', value: NaN },
    { constraint_type: 'exact', value: '\ud800' },
    { constraint_type: 'range', min: '0' },
    { constraint_type: 'range', min: null },
    { constraint_type: 'range', min: NaN },
    { constraint_type: 'range', max: Infinity },
    { constraint_type: 'range', maximum: 5 },
    { constraint_type: 'range', min_inclusive: 'false' },
    { constraint_type: 'one_of' },
    { constraint_type: 'one_of', values: 'abc' },
    { constraint_type: 'one_of', values: [NaN] },
    { constraint_type: 'not_one_of', values: ['a'] },
    { constraint_type: 'contains', required: {} },
    { constraint_type: 'subset', allowed: null },
    { constraint_type: 'wildcard', value: 1 },
    { constraint_type: 'all' },
    { constraint_type: 'all', constraints: {} },
    { constraint_type: 'any', constraints: [1] },
    { constraint_type: 'exact', value: 'x'.repeat(4095) },
  ]
  for (const json of wrong) {
    assert.throws(
      () => parseConstraint(json as JsonValue),
      { code: 'grant_malformed' },
      JSON.stringify(json),
    )
  }
  for (const type of ['Exact', 'glob', 'regex', '', 'toString', '__proto__', 'extension']) {
    assert.throws(() => read(type), { code: 'constraint_unknown' })
  }
  assert.equal(exact('x'.repeat(4094)).type, 'exact')
})

test('constraints nest 32 deep and no deeper, and a tool has 64 of them', () => {
  const nested = (depth: number): JsonObject =>
    depth === 1
      ? { constraint_type: 'wildcard' }
      : { constraint_type: depth % 2 ? 'all' : 'any', constraints: [nested(depth - 1)] }
  assert.equal(satisfies(parseConstraint(nested(32)), 1), true)
  assert.throws(() => parseConstraint(nested(33)), { code: 'grant_malformed' })
  assert.throws(() => parseConstraint(nested(3000)), { code: 'grant_malformed' })
  const flat = (count: number) => all(...Array.from({ length: count - 1 }, () => wildcard))
  assert.equal(satisfies(flat(64), 1), true)
  assert.throws(() => flat(65), { code: 'grant_malformed' })
  const tool = (count: number) =>
    parseCapability({
      t: Object.fromEntries(
        Array.from({ length: count }, (_, i) => [`a${i}`, { constraint_type: 'wildcard' }]),
      ),
    })
  assert.equal(tool(64).size, 1)
  assert.throws(() => tool(65), { code: 'grant_malformed' })
})

test('each type accepts what it says and nothing else', () => {
  const table: [Constraint, unknown[], unknown[]][] = [
    [exact('a'), ['a'], ['A', 'ab', '', ['a'], null, 1]],
    [exact(1), [1, 1.0], ['1', true, [1], 1n]],
    [exact(0), [0, -0], [false, '', null]],
    [exact(null), [null], [undefined, 'null', 0]],
    [exact(true), [true], ['true', 1]],
    [range({}), [0, -1e308, 1e308], [NaN, Infinity, -Infinity, '0', 0n, null, [0]]],
    [range({ min: 0, max: 10 }), [0, -0, 10, 5.5], [-1e-9, 10.000001, '5']],
    [range({ min: 0, min_inclusive: false }), [1e-300, 1], [0, -0, -1]],
    [range({ max: 10, max_inclusive: false }), [9.999, -5], [10, 11]],
    [range({ min: 5, max: 1 }), [], [1, 3, 5]],
    [oneOf('a', 1, null, { x: [1], y: 2 }), ['a', 1, null, { y: 2, x: [1] }], [
      '1',
      undefined,
      {},
      'A',
    ]],
    [oneOf(), [], ['a', undefined, null]],
    [notOneOf('a', 1), ['b', '1', null, [], {}], ['a', 1, undefined, NaN, '\ud800', () => 1]],
    [notOneOf(), ['a', null], [undefined, NaN]],
    [contains('a', 'b'), [['b', 'a'], ['a', 'x', 'b', 'a']], [['a'], [], 'ab', { 0: 'a', 1: 'b' }]],
    [contains(), [[], ['x']], ['x', {}, null, [undefined], [NaN]]],
    [subset('a', 'b'), [[], ['a'], ['b', 'a', 'b']], [['c'], ['a', 'c'], 'a', null]],
    [subset(), [[]], [['a'], null]],
    [wildcard, ['a', 1, null, [], {}], []],
    [all(range({ min: 0 }), notOneOf(5)), [0, 6], [5, -1, 'a']],
    [all(), ['a', null], []],
    [any(exact('a'), range({ min: 0 })), ['a', 3], ['b', -1]],
    [any(), [], ['a', null]],
  ]
  for (const [constraint, yes, no] of table) {
    const name = JSON.stringify(constraint.json)
    for (const value of yes) {
      assert.equal(satisfies(constraint, value), true, `${name} ${String(value)}`)
    }
    for (const value of no) {
      assert.equal(satisfies(constraint, value), false, `${name} ${typeof value}`)
    }
  }
})

test('satisfies() is total, also for objects that defend themselves', () => {
  const { proxy, revoke } = Proxy.revocable([], {})
  revoke()
  const trap = {
    get x() {
      throw new Error('trap')
    },
  }
  const circle: unknown[] = []
  circle.push(circle)
  const samples = [
    exact(1),
    range({}),
    oneOf(1),
    notOneOf(1),
    contains(1),
    subset(1),
    wildcard,
    all(contains(), subset()),
    any(oneOf(1), contains(1)),
  ]
  for (const value of [...VALUES, proxy, trap, [trap], circle]) {
    for (const one of samples) assert.equal(typeof satisfies(one, value), 'boolean')
  }
})

/**
 * The table of draft §4.5: for each pair of types a child that must pass and one that must not, given the parent. A
 * pair of types that is not here must fail whatever the members are.
 */
const PAIRS: readonly [
  parent: Constraint,
  passes: readonly Constraint[],
  fails: readonly Constraint[],
][] = [
  [exact('a'), [exact('a')], [exact('b')]],
  [exact(0), [exact(0), exact(-0)], [exact('0'), exact(false)]],
  [
    range({ min: 0, max: 10 }),
    [
      range({ min: 0, max: 10 }),
      range({ min: 1, max: 9 }),
      range({ min: 0, min_inclusive: false, max: 10, max_inclusive: false }),
      range({ min: -0, max: 10 }),
      exact(0),
      exact(10),
      exact(-0),
    ],
    [
      range({}),
      range({ min: 0 }),
      range({ max: 10 }),
      range({ min: -1, max: 10 }),
      range({ min: 0, max: 11 }),
      exact(-1),
      exact('5'),
      exact(null),
    ],
  ],
  [
    range({ min: 0, min_inclusive: false, max: 10, max_inclusive: false }),
    [
      range({ min: 0, min_inclusive: false, max: 10, max_inclusive: false }),
      range({ min: 1, max: 9 }),
      exact(5),
    ],
    [
      range({ min: 0, max: 10, max_inclusive: false }),
      range({ min: 0, min_inclusive: false, max: 10 }),
      exact(0),
      exact(-0),
      exact(10),
    ],
  ],
  [range({}), [range({}), range({ min: 1 }), exact(1)], [exact('1')]],
  [oneOf('a', 'b', 1), [oneOf('a', 1), oneOf(), oneOf('b', 'a', 1), exact('a'), exact(1)], [
    oneOf('a', 'c'),
    exact('1'),
  ]],
  [notOneOf('a'), [notOneOf('a'), notOneOf('b', 'a')], [notOneOf(), notOneOf('b')]],
  [contains('a'), [contains('a'), contains('b', 'a')], [contains(), contains('b')]],
  [subset('a', 'b'), [subset('a'), subset(), subset('b', 'a')], [subset('a', 'c')]],
  [
    wildcard,
    [
      wildcard,
      exact('a'),
      range({}),
      oneOf('a'),
      notOneOf('a'),
      contains(),
      subset(),
      all(),
      any(exact(1)),
    ],
    [any()],
  ],
  [
    all(range({ min: 0 }), range({ max: 10 })),
    [
      all(range({ min: 0 }), range({ max: 10 })),
      all(range({ max: 9 }), notOneOf(3), range({ min: 1 })),
      all(exact(5), exact(5)),
    ],
    // One clause of the child may stand for one of the parent's only.
    [all(range({ min: 0 })), all(range({ min: 0, max: 10 })), all(exact(5)), all()],
  ],
  [all(), [all(), all(exact(1))], []],
  [
    any(exact('a'), range({ min: 0 })),
    [
      any(exact('a')),
      any(range({ min: 1 }), exact('a')),
      any(exact(5)),
      any(exact('a'), exact('a')),
    ],
    [any(), any(exact('b')), any(exact('a'), range({})), any(exact('a'), wildcard)],
  ],
]

/** One constraint per type for the pairs that are never allowed. */
const SAMPLE: Readonly<Record<CoreType, readonly Constraint[]>> = {
  exact: [exact('a'), exact(5)],
  range: [range({ min: 1, max: 2 }), range({})],
  one_of: [oneOf('a'), oneOf()],
  not_one_of: [notOneOf('b'), notOneOf()],
  contains: [contains('a'), contains()],
  subset: [subset('a'), subset()],
  wildcard: [wildcard],
  all: [all(exact('a')), all(), all(wildcard)],
  any: [any(exact('a')), any(wildcard)],
}

const ALLOWED = new Set([
  ...CORE_TYPES.map((type) => `${type} ${type}`),
  ...CORE_TYPES.map((type) => `wildcard ${type}`),
  'range exact',
  'one_of exact',
])

test('subsumes() follows the whole table of types', () => {
  const seen = new Set<string>()
  for (const [parent, passes, fails] of PAIRS) {
    for (const [children, wanted] of [[passes, true], [fails, false]] as const) {
      for (const child of children) {
        const name = `${JSON.stringify(parent.json)} ← ${JSON.stringify(child.json)}`
        assert.equal(subsumes(parent, child), wanted, name)
        if (wanted) seen.add(`${parent.type} ${child.type}`)
      }
    }
  }
  // Each pair that is allowed was seen to pass, and each of the others is refused.
  assert.deepEqual([...seen].sort(), [...ALLOWED].sort())
  assert.equal(CORE_TYPES.length ** 2 - ALLOWED.size, 62)
  for (const parent of CORE_TYPES) {
    for (const child of CORE_TYPES) {
      if (ALLOWED.has(`${parent} ${child}`)) continue
      for (const above of SAMPLE[parent]) {
        for (const below of SAMPLE[child]) {
          assert.equal(subsumes(above, below), false, `${parent} ${child}`)
        }
      }
    }
  }
})

test('clauses of `all` are matched one to one, also where a greedy choice leads astray', () => {
  // The first parent clause fits both children, the second only the first child.
  const parent = all(range({ min: 0 }), range({ min: 5 }))
  assert.equal(subsumes(parent, all(range({ min: 5 }), range({ min: 0 }))), true)
  assert.equal(subsumes(parent, all(range({ min: 0 }), range({ min: 5 }))), true)
  assert.equal(subsumes(parent, all(range({ min: 0 }), range({ min: 4 }))), false)
  // Trying all assignments would take 31 factorial steps to find that there is none.
  const clauses = Array.from(
    { length: 31 },
    (_, i) => range({ min: i === 30 ? 100 : 0, max: 1000 }),
  )
  const children = Array.from({ length: 31 }, () => range({ min: 1, max: 1000 }))
  const start = performance.now()
  assert.equal(subsumes(all(...clauses), all(...children)), false)
  assert.ok(performance.now() - start < 10_000)
})

/** Agrees with the backtracking of the draft on every small instance. */
test('the matching is that of the draft', () => {
  const backtrack = (parents: readonly Constraint[], children: readonly Constraint[]): boolean => {
    const [first, ...rest] = parents
    if (first === undefined) return true
    return children.some((child, at) =>
      subsumes(first, child) && backtrack(rest, children.filter((_, i) => i !== at))
    )
  }
  const clause = fc.integer({ min: 0, max: 3 }).map((min) => range({ min }))
  fc.assert(
    fc.property(
      fc.array(clause, { maxLength: 4 }),
      fc.array(clause, { maxLength: 5 }),
      (parents, children) => {
        assert.equal(subsumes(all(...parents), all(...children)), backtrack(parents, children))
      },
    ),
    { numRuns: 300 },
  )
})

test('arguments that a tool would see and the check would not are refused', () => {
  const capability = parseCapability({ t: { a: { constraint_type: 'wildcard' } }, free: {} })
  const hidden = Object.defineProperty({ a: 1 }, 'b', { value: 2, enumerable: false })
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const wrong: [unknown, string][] = [
    [Object.assign(Object.create({ b: 2 }), { a: 1 }), 'arguments_malformed'],
    [new Map([['a', 1]]), 'arguments_malformed'],
    [hidden, 'argument_unexpected'],
    [{ a: 1, [Symbol('b')]: 2 }, 'argument_unexpected'],
    [{ a: 1, b: undefined }, 'argument_unexpected'],
    [{ a: undefined }, 'argument_missing'],
    [Object.create({ a: 1 }), 'arguments_malformed'],
    [[1], 'arguments_malformed'],
    ['a', 'arguments_malformed'],
    [undefined, 'arguments_malformed'],
    [proxy, 'arguments_malformed'],
  ]
  for (const [args, code] of wrong) {
    const answer = checkCall(capability, 't', args)
    assert.equal(answer.allowed ? 'allowed' : answer.code, code)
  }
  assert.equal(
    checkCall(capability, 't', Object.assign(Object.create(null), { a: 1 })).allowed,
    true,
  )
  assert.equal(checkCall(capability, 'free', proxy).allowed, false)
  for (const tool of [undefined, 1, Symbol('t'), { toString: null }, ['t']]) {
    assert.equal(checkCall(capability, tool as unknown as string, {}).allowed, false)
  }
})

test('a registered type is asked, and believed only when it says true', () => {
  const path = {
    type: 'path_prefix',
    validate: ({ root }: JsonObject) => typeof root === 'string',
    check: ({ root }: JsonObject, value: unknown) =>
      typeof value === 'string' && value.startsWith(root as string),
    subsumes: (parent: JsonObject, child: JsonObject) =>
      parent.constraint_type === 'path_prefix' &&
      (child.root ?? child.value as string).toString().startsWith(parent.root as string),
  }
  const shy = {
    type: 'shy',
    validate: () => true,
    check: () => {
      throw new Error('no idea')
    },
    subsumes: () => 'yes' as unknown as boolean,
  }
  const extensions = extensionsOf(path, shy)
  const ext = (json: JsonObject) => parseConstraint(json, 'x', extensions)
  const under = (root: string) => ext({ constraint_type: 'path_prefix', root })
  const other = ext({ constraint_type: 'shy' })
  assert.equal(satisfies(under('/a'), '/a/b'), true)
  assert.equal(satisfies(under('/a'), '/b'), false)
  assert.equal(satisfies(other, 1), false)
  assert.equal(subsumes(under('/a'), under('/a/b')), true)
  assert.equal(subsumes(under('/a/b'), under('/a')), false)
  assert.equal(subsumes(under('/a'), exact('/a/b')), true)
  assert.equal(subsumes(wildcard, under('/a')), true)
  assert.equal(subsumes(under('/a'), wildcard), false)
  assert.equal(subsumes(exact('/a'), under('/a')), false)
  assert.equal(subsumes(under('/a'), other), false)
  assert.equal(subsumes(other, under('/a')), false)
  assert.equal(subsumes(other, other), false)
  assert.throws(() => ext({ constraint_type: 'path_prefix' }), { code: 'grant_malformed' })
  assert.throws(() => read('path_prefix', { root: '/a' }), { code: 'constraint_unknown' })
  for (const type of ['exact', 'path_prefix', 'Bad', '']) {
    assert.throws(() => extensionsOf(path, { ...path, type }), TypeError)
  }
})

const descent = fc.tuple(tree, fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })))
  .map(([parent, stream]): [JsonObject, JsonObject] => [
    parent,
    mutate(parent, () => stream.next().value),
  ])

test('what a child accepts its parent accepts, for any pair that the table lets pass', () => {
  let passed = 0
  fc.assert(
    fc.property(
      fc.oneof(descent, fc.tuple(tree, tree)),
      fc.array(value, { maxLength: 8 }),
      ([above, below], extra) => {
        const [parent, child] = [parseConstraint(above), parseConstraint(below)]
        if (!subsumes(parent, child)) return
        passed++
        for (const one of [...VALUES, ...SCALARS, ...extra]) {
          if (satisfies(child, one)) assert.equal(satisfies(parent, one), true)
        }
      },
    ),
    // These are sure to pass, so that the property is never about nothing.
    {
      numRuns: 3000,
      examples: PAIRS.flatMap(([parent, passes]) =>
        passes.map((
          child,
        ): [[JsonObject, JsonObject], JsonValue[]] => [[parent.json, child.json], []])
      ),
    },
  )
  assert.ok(passed >= PAIRS.flatMap(([, passes]) => passes).length)
})

test('subsumes() is reflexive but for `any` without clauses, and transitive', () => {
  fc.assert(
    fc.property(tree, (json) => {
      const one = parseConstraint(json)
      const holdsEmpty = JSON.stringify(json).includes('"any","constraints":[]')
      if (!holdsEmpty) assert.equal(subsumes(one, one), true)
    }),
    { numRuns: 500 },
  )
  const chain = PAIRS.flatMap(([parent, passes]) => [parent, ...passes])
  for (const a of chain) {
    for (const b of chain) {
      if (!subsumes(a, b)) continue
      for (const c of chain) if (subsumes(b, c)) assert.equal(subsumes(a, c), true)
    }
  }
})

test('no call that a child capability covers is one that its parent refuses', () => {
  const name = fc.constantFrom('a', 'b')
  const tools = fc.dictionary(
    name,
    fc.dictionary(name, tree, { maxKeys: 2, noNullPrototype: true }),
    { maxKeys: 2, noNullPrototype: true },
  )
  const args = fc.dictionary(name, value, { maxKeys: 2, noNullPrototype: true })
  const calls = fc.array(fc.tuple(name, args), { maxLength: 12 })
  const family = fc.tuple(tools, fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })))
    .map(
      ([parent, stream]): [typeof parent, typeof parent] => {
        const dice = () => stream.next().value as number
        const child = Object.fromEntries(
          Object.entries(parent).filter(() => dice() > 0.2).map(([tool, map]) => [
            tool,
            Object.fromEntries(Object.entries(map).map(([arg, json]) => [arg, mutate(json, dice)])),
          ]),
        )
        return [parent, child]
      },
    )
  let covered = 0
  fc.assert(
    fc.property(fc.oneof(family, fc.tuple(tools, tools)), calls, ([above, below], asked) => {
      const [parent, child] = [parseCapability(above), parseCapability(below)]
      if (widening(parent, child) !== undefined) return
      for (const [tool, given] of asked) {
        if (!checkCall(child, tool, given).allowed) continue
        covered++
        assert.equal(checkCall(parent, tool, given).allowed, true)
      }
    }),
    {
      numRuns: 2000,
      examples: [
        [[{ a: {} }, { a: { b: { constraint_type: 'exact', value: 1 } } }], [['a', { b: 1 }]]],
        [[{ a: {}, b: {} }, { b: {} }], [['b', { a: 1 }], ['a', {}]]],
      ],
    },
  )
  assert.ok(covered >= 2)
})

test('any JSON is read as a capability or refused with a code', () => {
  const json = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.string(), fc.dictionary(fc.string(), fc.oneof(tree, fc.jsonValue()))),
  )
  fc.assert(
    fc.property(json, fc.anything(), (given, args) => {
      try {
        const capability = parseCapability(given as JsonValue)
        for (const tool of capability.keys()) {
          assert.equal(typeof checkCall(capability, tool, args).allowed, 'boolean')
        }
      } catch (error) {
        assert.ok(isSignetError(error, 'grant_malformed', 'constraint_unknown'), String(error))
      }
    }),
    {
      numRuns: 1000,
      examples: [[{ t: { a: { constraint_type: 'wildcard' } } }, { a: 1 }], [{ t: 1 }, {}]],
    },
  )
})
