/** What a server gives and keeps at most, as flags. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Ceilings } from '../gateway/mod.ts'
import { wholeNumber } from './command.ts'
import { duration } from './grant_terms.ts'

/** Flags of the ceilings. Without one the gateway's own holds. */
export interface CeilingFlags {
  readonly maxDuration?: number
  readonly maxOfflineAge?: number
  readonly maxDepth?: number
  readonly maxLogEntries?: number
  readonly maxLogSize?: number
}

/** Adds the flags. */
export function withCeilings(command: Command): Command {
  return command
    .option('--max-duration <time>', 'longest grant: 12h, 30d; default and most: 90d', duration)
    .option('--max-offline-age <time>', 'longest time without contact; default: 7d', duration)
    .option('--max-depth <n>', 'how often a grant is passed on; default: 8', wholeNumber)
    .option('--max-log-entries <n>', "most entries of a device's log; default: 10000000", entries)
    .option('--max-log-size <size>', 'and its bytes: 500MB, 1GiB; default: 2GiB', byteCount)
}

/** What the flags say. */
export function ceilingsOf(flags: CeilingFlags): Partial<Ceilings> {
  const { maxDuration: duration, maxOfflineAge: offlineAge, maxDepth } = flags
  return {
    ...{ duration, offlineAge, maxDepth },
    ...{ logEntries: flags.maxLogEntries, logBytes: flags.maxLogSize },
  }
}

/** None at all would be a server that takes no log; elsewhere 0 often stands for any number. */
function entries(text: string): number {
  const number = wholeNumber(text)
  if (number > 0) return number
  throw new InvalidArgumentError('not a number from 1 on')
}

/** Decimal units, and binary ones (IEC 80000-13). */
const UNITS: ReadonlyMap<string, number> = new Map([
  ...['B', 'kB', 'MB', 'GB', 'TB'].map((unit, i) => [unit, 1000 ** i] as const),
  ...['', 'KiB', 'MiB', 'GiB', 'TiB'].map((unit, i) => [unit, 1024 ** i] as const),
])

/** Bytes of `4096`, `500MB`, `2GiB`. */
function byteCount(text: string): number {
  const [, number, unit = ''] = /^([0-9]{1,15})([A-Za-z]*)$/.exec(text) ?? []
  const bytes = Number(number) * (UNITS.get(unit) ?? NaN)
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  throw new InvalidArgumentError('not a size: bytes, or 500MB, 2GiB')
}
