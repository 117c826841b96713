/**
 * `signet log prune` and `signet log forget`: what a log may lose without losing a proof. Neither can be
 * undone, so both only say what they would do until they are told `--yes`.
 */
import type { Command } from 'commander'
import { isSignetError, SignetError } from '../errors.ts'
import { type LogEntry, openingPath, parseEntry, TILE_WIDTH, tilePath } from '../log/mod.ts'
import { action, wholeNumber } from './command.ts'
import type { CliContext, Run } from './context.ts'
import { type Published, readPublished } from './log_trust.ts'
import { withWriter, type WriterFlags, writing } from './log_writer.ts'
import { printable } from './text.ts'

const PRUNE_EXAMPLES = `
Examples:
  signet log prune audit --key log.pem --before-time 2026-01-01          what would go
  signet log prune audit --key log.pem --before-time 2026-01-01 --yes    it goes
  signet log prune audit --key log.pem --before 100000 --yes

Bodies go in whole bundles of 256. Hashes stay: the log is still whole, and proofs that were given out, and
new ones, still verify for whoever has the entry. The log tells of it in an entry log.pruned.`

const FORGET_EXAMPLES = `
Examples:
  signet log forget audit 17 23 --key log.pem          what would be forgotten
  signet log forget audit 17 23 --key log.pem --yes    it is

Private fields lie in the log as salted commitments; salt and values lie beside it. They are destroyed:
nobody can tell the values any more, not even by guessing, and every proof still holds. What disks and
backups keep of deleted files is beyond this. The log tells of it in an entry log.forgot.`

const NOT_DONE = 'nothing was changed: this cannot be undone, so say --yes to do it'

interface SureFlags extends WriterFlags {
  readonly yes?: boolean
}

interface PruneFlags extends SureFlags {
  readonly before?: number
  readonly beforeTime?: string
}

/** Adds the two commands. */
export function withForgetting(context: CliContext, log: Command): void {
  withWriter(log.command('prune'))
    .description('delete old bodies; hashes and proofs stay')
    .argument('<log>', 'folder of the log')
    .option('--before <index>', 'the first entry to keep', wholeNumber)
    .option('--before-time <time>', 'or its time: a date, or RFC 3339')
    .option('--yes', 'do it; without this the command only says what it would do')
    .addHelpText('after', PRUNE_EXAMPLES)
    .action(action(context, prune))
  withWriter(log.command('forget'))
    .description("destroy what entries' private fields say; proofs stay")
    .argument('<log>', 'folder of the log')
    .argument('<index...>', 'indexes of the entries', indexes)
    .option('--yes', 'do it; without this the command only says what it would do')
    .addHelpText('after', FORGET_EXAMPLES)
    .action(action(context, forget))
}

async function prune(run: Run, flags: PruneFlags, folder: string): Promise<void> {
  if ((flags.before === undefined) === (flags.beforeTime === undefined)) {
    throw new SignetError('usage_invalid', 'give either --before or --before-time')
  }
  const published = await readPublished(run, folder, flags)
  const kept = await firstKept(published)
  const limit = flags.before ?? await firstSince(published, kept, timeOf(flags.beforeTime!))
  // The last bundle stays: the time of the newest entry is in it.
  const bundles = Math.floor(Math.min(limit, published.checkpoint.size - 1) / TILE_WIDTH)
  const [from, to] = [kept * TILE_WIDTH, bundles * TILE_WIDTH]
  if (to <= from) {
    const why = 'bodies go in whole bundles of 256, and the newest bundle stays'
    return run.answer({ done: false, from, to: from }, `there is nothing to prune: ${why}`)
  }
  const { time: first } = parseEntry(await published.view.entry(from))
  const { time: last } = parseEntry(await published.view.entry(to - 1))
  const what = `the bodies of entries ${from} to ${to - 1}, written from ${first} to ${last}`
  if (flags.yes) await writing(run, folder, flags, (log) => log.prune(to))
  run.answer(
    { done: flags.yes === true, from, to, first, last },
    flags.yes
      ? `deleted ${what}; their hashes and all proofs stay`
      : `would delete ${what}\n${NOT_DONE}`,
  )
}

/** The first bundle whose body is there: those before were pruned. */
async function firstKept({ storage, checkpoint }: Published): Promise<number> {
  const there = async (n: number) =>
    await storage.read(tilePath({ level: 'entries', n, width: TILE_WIDTH })) !== undefined
  return await firstThat(0, Math.floor(checkpoint.size / TILE_WIDTH), there)
}

/** The index of the first bundle with an entry of that time or later: times never run back. */
async function firstSince({ view, checkpoint }: Published, from: number, time: number) {
  const end = Math.ceil(checkpoint.size / TILE_WIDTH)
  const late = async (n: number) => {
    const last = await view.entry(Math.min(checkpoint.size, (n + 1) * TILE_WIDTH) - 1)
    return Date.parse(parseEntry(last).time) >= time
  }
  return await firstThat(from, end, late) * TILE_WIDTH
}

/** The first number from `from` to `end` that is so, all after it being so too; `end` if none is. */
async function firstThat(from: number, end: number, isSo: (n: number) => Promise<boolean>) {
  let [low, high] = [from, end]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (await isSo(middle)) high = middle
    else low = middle + 1
  }
  return low
}

function timeOf(text: string): number {
  const time = Date.parse(text)
  const iso = /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}))?$/.test(text)
  if (iso && !Number.isNaN(time)) return time
  throw new SignetError('usage_invalid', `${printable(text)} is no time`, {
    remedy: 'such as 2026-01-01, which is UTC, or 2026-01-01T10:00:00+02:00',
  })
}

function indexes(text: string, previous: readonly number[] = []): number[] {
  return [...previous, wholeNumber(text)]
}

/** An entry to forget, as it stands. */
interface Doomed {
  readonly index: number
  /** Undefined if its body was pruned. */
  readonly entry: LogEntry | undefined
  /** Names of its private fields. */
  readonly fields: readonly string[]
  /** Whether its opening is still there. */
  readonly known: boolean
}

async function forget(
  run: Run,
  flags: SureFlags,
  folder: string,
  indexes: readonly number[],
): Promise<void> {
  const published = await readPublished(run, folder, flags)
  const doomed: Doomed[] = []
  for (const index of new Set(indexes)) doomed.push(await look(published, index))
  const known = doomed.filter((one) => one.known).map(({ index }) => index)
  const done = flags.yes === true && known.length > 0
  if (done) await writing(run, folder, flags, (log) => log.forget(known))
  const lines = doomed.map(({ index, entry, fields, known }) => {
    if (!known) return `entry ${index}: there is nothing left to forget`
    const named = entry === undefined ? 'what is private' : fields.map(printable).join(', ')
    const what = entry === undefined ? 'pruned' : `${entry.type}, ${entry.time}`
    return `entry ${index} (${what}): ${done ? 'forgot' : 'would forget'} ${named}`
  })
  if (!done && known.length > 0) lines.push(NOT_DONE)
  const entries = doomed.map(({ index, fields, known }) => ({ index, fields, known }))
  run.answer({ done, entries }, lines.join('\n'))
}

async function look({ view, storage }: Published, index: number): Promise<Doomed> {
  let entry: LogEntry | undefined
  try {
    entry = parseEntry(await view.entry(index))
  } catch (error) {
    if (!isSignetError(error, 'log_missing')) throw error
  }
  const known = await storage.read(openingPath(index)) !== undefined
  const fields = Object.keys(entry?.private ?? {})
  if (entry !== undefined && fields.length === 0) {
    throw new SignetError('usage_invalid', `entry ${index} has no private fields`, {
      where: `entry ${index}`,
      remedy: 'what stands in an entry itself stays; log prune takes whole old bodies away',
    })
  }
  return { index, entry, fields, known }
}
