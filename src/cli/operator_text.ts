/** What people read of a server's records. Names in them are strangers'. */
import * as v from 'valibot'
import type { Run } from './context.ts'
import type { Listed } from './operator.ts'
import { printable, table } from './text.ts'

/** Seconds since 1970, in a record. */
export const time: v.GenericSchema<unknown, number> = v.pipe(
  v.number(),
  v.safeInteger(),
  v.minValue(0),
)

/** What is about to be taken back, from whom, on whose behalf. */
export function whose(
  { id, agent, principal }: {
    readonly id: string
    readonly agent: string
    readonly principal: string
  },
): string {
  return `${printable(id)} of ${printable(agent)} for ${printable(principal)}`
}

/** A time as people read it. */
export function day(seconds: number | undefined): string {
  if (seconds === undefined) return '-'
  // A Date ends there (ECMA-262 §21.4.1.1).
  if (seconds > 8.64e12) return String(seconds)
  return new Date(seconds * 1000).toISOString().replace('.000', '')
}

/** Answers with a list: all of it for machines, a row each for people. */
export function answerList<T>(
  run: Run,
  listed: Listed<T>,
  heads: readonly string[],
  row: (item: T) => readonly (string | undefined)[],
): void {
  const rows = listed.items.map((item) => row(item).map((cell) => printable(cell ?? '-')))
  run.answer(listed, rows.length === 0 ? 'none' : table([heads, ...rows]))
  if (listed.more) run.say('there is more: see --limit')
}

/** Facts as rows; those that are not there are left out. */
export function facts(rows: readonly (readonly [string, string | undefined])[]): string {
  return table(
    rows.flatMap(([name, value]) => value === undefined ? [] : [[name, printable(value)]]),
  )
}
