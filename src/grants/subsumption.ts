/**
 * Invariant I4 for one argument (draft §4.5): whether a child's constraint is at least as narrow as its parent's.
 * Of the pairs of types only those below may pass; every other is refused, also where one could see that it is
 * narrower (`one_of` under `range`, `exact` under `any`): two implementations must agree.
 *
 * | parent ↓ child → | exact | range | one_of | not_one_of | contains | subset | wildcard | all | any |
 * |------------------|-------|-------|--------|------------|----------|--------|----------|-----|-----|
 * | exact            | equal |       |        |            |          |        |          |     |     |
 * | range            | inside| inside|        |            |          |        |          |     |     |
 * | one_of           | member|       | ⊆      |            |          |        |          |     |     |
 * | not_one_of       |       |       |        | ⊇          |          |        |          |     |     |
 * | contains         |       |       |        |            | ⊇        |        |          |     |     |
 * | subset           |       |       |        |            |          | ⊆      |          |     |     |
 * | wildcard         | yes   | yes   | yes    | yes        | yes      | yes    | yes      | yes | yes |
 * | all              |       |       |        |            |          |        |          | 1:1 |     |
 * | any              |       |       |        |            |          |        |          |     | each|
 *
 * Where the draft leaves room, and what is done here so that a yes is always true:
 * - Values compare by their RFC 8785 form, here and in {@link satisfies}: with two notions of equality (`-0`
 *   and `0`) a child could accept what its parent refuses.
 * - A range accepts finite numbers only, and its bounds are finite.
 * - `any` without clauses accepts nothing and is refused as a child, as the draft says. `all` without
 *   clauses accepts everything; it stands under `wildcard` and under another `all` without clauses only.
 * - `wildcard` stands under `wildcard` alone, so not under an `all` without clauses, which accepts the same.
 * - A registered type decides about pairs that it is one half of. Two different registered types never
 *   stand under each other: neither can vouch for the other.
 */
import { type Constraint, isSubset, type RangeBounds, satisfies, says } from './constraints.ts'
import { hasMatching } from './matching.ts'

/** True if every value that satisfies `child` satisfies `parent`, as far as the table can tell. */
export function subsumes(parent: Constraint, child: Constraint): boolean {
  if (child.type === 'any' && child.constraints.length === 0) return false
  switch (parent.type) {
    case 'wildcard':
      return true
    case 'extension':
      return asked(parent, child)
    default:
      return child.type === 'extension' ? asked(parent, child) : isNarrower(parent, child)
  }
}

function isNarrower(parent: Constraint, child: Constraint): boolean {
  switch (parent.type) {
    case 'exact':
      return child.type === 'exact' && child.key === parent.key
    case 'range':
      if (child.type === 'exact') return satisfies(parent, child.value)
      return child.type === 'range' && isInside(parent.bounds, child.bounds)
    case 'one_of':
      if (child.type === 'exact') return parent.keys.has(child.key)
      return child.type === 'one_of' && isSubset(child.keys, parent.keys)
    case 'not_one_of':
      return child.type === 'not_one_of' && isSubset(parent.keys, child.keys)
    case 'contains':
      return child.type === 'contains' && isSubset(parent.keys, child.keys)
    case 'subset':
      return child.type === 'subset' && isSubset(child.keys, parent.keys)
    case 'all':
      // Each of the parent's clauses needs a clause of the child's for itself; the child may have more.
      return child.type === 'all' && hasMatching(
        parent.constraints.length,
        child.constraints.length,
        (p, c) => subsumes(parent.constraints[p]!, child.constraints[c]!),
      )
    case 'any':
      return child.type === 'any' &&
        child.constraints.every((clause) => parent.constraints.some((one) => subsumes(one, clause)))
    default:
      return false
  }
}

function isInside(parent: RangeBounds, child: RangeBounds): boolean {
  return isBeyond(parent.min, parent.minInclusive, child.min, child.minInclusive, 1) &&
    isBeyond(parent.max, parent.maxInclusive, child.max, child.maxInclusive, -1)
}

/** Whether the child's bound lies at the parent's or further in; `inward` is the direction of that. */
function isBeyond(
  parent: number | undefined,
  parentInclusive: boolean,
  child: number | undefined,
  childInclusive: boolean,
  inward: 1 | -1,
): boolean {
  if (parent === undefined) return true
  if (child === undefined) return false
  if (child === parent) return parentInclusive || !childInclusive
  return inward === 1 ? child > parent : child < parent
}

function asked(parent: Constraint, child: Constraint): boolean {
  const extensions = [parent, child].flatMap((one) =>
    one.type === 'extension' ? [one.extension] : []
  )
  const [extension, other] = extensions
  if (extension === undefined || other !== undefined && other !== extension) return false
  return says(() => extension.subsumes(parent.json, child.json))
}
