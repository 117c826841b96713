/** Schema checks with one kind of error: the code of the room, and the path to the fault. */
import * as v from 'valibot'
import { type ErrorCode, quoted, SignetError } from './errors.ts'

/** The value, typed, if it fits the schema; else `code`, naming what and where. Values are never shown. */
export function conform<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
  code: ErrorCode,
  what: string,
): T {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue) ?? undefined
  // Names in the path are other people's.
  const where = path === undefined || /^[\w.$/-]{1,200}$/.test(path) ? path : quoted(path)
  const expected = issue.expected ?? issue.type
  throw new SignetError(code, `${what}: ${where ?? 'the whole'} is not ${expected}`, {
    ...(where === undefined ? {} : { where }),
  })
}

/** An object from any name to one kind of value; `v.record` leaves members named `constructor` or `__proto__` out. */
export function mapOf<T>(
  value: v.GenericSchema<unknown, T>,
): v.GenericSchema<unknown, Readonly<Record<string, T>>> {
  return v.custom<Readonly<Record<string, T>>>((found) =>
    typeof found === 'object' && found !== null && !Array.isArray(found) &&
    Object.values(found).every((one) => v.is(value, one))
  )
}
