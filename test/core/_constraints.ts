/** Constraints made at random, for properties about them. */
import fc from 'fast-check'
import type { JsonObject, JsonValue } from '../../src/json.ts'

/** Values out of a small world, so that constraints and values meet. */
export const SCALARS: readonly JsonValue[] = [
  -1,
  0,
  -0,
  0.5,
  1,
  2,
  'a',
  'b',
  '0',
  '',
  true,
  false,
  null,
]
const scalar = fc.constantFrom(...SCALARS)
export const value: fc.Arbitrary<JsonValue> = fc.oneof(
  { weight: 3, arbitrary: scalar },
  { weight: 2, arbitrary: fc.array(scalar, { maxLength: 4 }) },
  fc.record({ x: scalar }),
)
const bound = fc.option(fc.constantFrom(-1, 0, -0, 0.5, 1, 2), { nil: undefined })
const flag = fc.option(fc.boolean(), { nil: undefined })
const trees = fc.letrec<{ leaf: JsonObject; tree: JsonObject }>((tie) => ({
  leaf: fc.oneof(
    scalar.map((one): JsonObject => ({ constraint_type: 'exact', value: one })),
    fc.tuple(bound, bound, flag, flag).map(([min, max, low, high]): JsonObject => ({
      constraint_type: 'range',
      ...min === undefined ? {} : { min },
      ...max === undefined ? {} : { max },
      ...low === undefined ? {} : { min_inclusive: low },
      ...high === undefined ? {} : { max_inclusive: high },
    })),
    ...([['one_of', 'values'], ['not_one_of', 'excluded'], ['contains', 'required'], [
      'subset',
      'allowed',
    ]]
      .map(([type, member]) =>
        fc.array(value, { maxLength: 3 }).map((list): JsonObject => ({
          constraint_type: type!,
          [member!]: list,
        }))
      )),
    fc.constant<JsonObject>({ constraint_type: 'wildcard' }),
  ),
  tree: fc.oneof(
    { maxDepth: 3 },
    { weight: 3, arbitrary: tie('leaf') },
    fc.tuple(fc.constantFrom('all', 'any'), fc.array(tie('tree'), { maxLength: 3 }))
      .map(([type, constraints]): JsonObject => ({ constraint_type: type, constraints })),
  ),
}))

/** Any constraint of a small world, nested up to three deep. */
export const tree: fc.Arbitrary<JsonObject> = trees.tree

/** A constraint made out of another by steps that narrow, and sometimes by one that does not. */
export function mutate(json: JsonObject, dice: () => number): JsonObject {
  const list = (name: string) => [...json[name] as JsonValue[]]
  const without = (name: string) => ({ ...json, [name]: list(name).filter(() => dice() > 0.4) })
  const withMore = (name: string) => ({
    ...json,
    [name]: [...list(name), SCALARS[Math.floor(dice() * SCALARS.length)]!],
  })
  switch (json.constraint_type) {
    case 'one_of':
      return dice() < 0.3 && (json.values as JsonValue[]).length > 0
        ? exactOr(json, list('values')[0]!)
        : dice() < 0.8
        ? without('values')
        : withMore('values')
    case 'not_one_of':
      return dice() < 0.8 ? withMore('excluded') : without('excluded')
    case 'contains':
      return dice() < 0.8 ? withMore('required') : without('required')
    case 'subset':
      return dice() < 0.8 ? without('allowed') : withMore('allowed')
    case 'range':
      return dice() < 0.5
        ? { constraint_type: 'exact', value: [0, 1, -0, 2][Math.floor(dice() * 4)]! }
        : { ...json, ...dice() < 0.5 ? { min_inclusive: false } : { max: 1 } }
    case 'wildcard':
      return dice() < 0.5 ? json : { constraint_type: 'not_one_of', excluded: ['a'] }
    case 'all': {
      const clauses = (json.constraints as JsonObject[]).map((one) => mutate(one, dice)).reverse()
      return {
        ...json,
        constraints: dice() < 0.7
          ? [...clauses, { constraint_type: 'wildcard' }]
          : clauses.slice(1),
      }
    }
    case 'any': {
      const clauses = json.constraints as JsonObject[]
      const kept = clauses.filter((_, at) => at === 0 || dice() > 0.3)
      return { ...json, constraints: kept.map((one) => mutate(one, dice)) }
    }
    default:
      return json
  }
}

function exactOr(json: JsonObject, value: JsonValue): JsonObject {
  return typeof value === 'object' && value !== null ? json : { constraint_type: 'exact', value }
}
