/**
 * When two argument values are the same. By their RFC 8785 form: proofs of possession compare arguments in that
 * form (draft §7 step 7f), so a constraint must not tell apart what a proof cannot. `1.0` is `1`, `-0` is `0`,
 * `"1"` is not `1`, and members of objects have no order.
 */
import { canonicalize, type JsonValue } from '../json.ts'

/** One text per value; undefined for what is no JSON value. Total: whatever it is given, it answers. */
export function valueKey(value: unknown): string | undefined {
  if (typeof value === 'string') return value.isWellFormed() ? JSON.stringify(value) : undefined
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value !== 'number' && typeof value !== 'object') return undefined
  try {
    return canonicalize(value as JsonValue)
  } catch { // a date, a circle, a getter that throws, a number that has no exact form
    return undefined
  }
}
