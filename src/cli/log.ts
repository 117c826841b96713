/** `signet log`: append to a log, and prove to anybody what is in it. */
import type { Command } from 'commander'
import { concat, fromUtf8, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { isObject, type JsonValue, parseJson } from '../json.ts'
import {
  exportRange,
  formatProof,
  type Log,
  type LogEvent,
  openCheckpoint,
  parseEntry,
  TILE_WIDTH,
} from '../log/mod.ts'
import { action, common, group, wholeNumber } from './command.ts'
import type { CliContext, Run } from './context.ts'
import { lines } from './lines.ts'
import { withForgetting } from './log_forget.ts'
import { readPublished, type TrustFlags, withTrust } from './log_trust.ts'
import { checkpointJson, verifyTarget } from './log_verify.ts'
import { witnessCommands } from './log_witness.ts'
import { withWriter, type WriterFlags, writing } from './log_writer.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet keys new --key log.pem --algorithm Ed25519
  signet log append audit --key log.pem --origin example.com/audit --anchor log.anchor --type tool.call
  signet log verify audit --key log.pem --anchor log.anchor
  signet log prove audit 1 --key log.pem --out entry.tlog-proof
  signet log verify entry.tlog-proof --key log.pem

A log is a folder that any web server can serve (C2SP tlog-tiles); keep its folder .signet to yourself.
The anchor is the newest checkpoint, kept elsewhere: it is how a cut tail or a swapped log is noticed.`

/** Largest batch of events under way from standard input. */
const IN_FLIGHT = 256

/** The group. */
export function logCommands(context: CliContext): Command {
  const log = group(context, 'log', 'append to a log, and prove what is in it')
    .addHelpText('after', EXAMPLES)
  withWriter(log.command('append'))
    .description('append entries; each is acknowledged when it would survive a power cut')
    .argument('<log>', 'folder of the log, made if need be')
    .option('--type <type>', 'what kind of entry')
    .option('--actor <who>', 'who did it')
    .option('--subject <whom>', 'to whom or what')
    .option('--action <what>', 'what was done')
    .option('--outcome <how>', 'how it ended')
    .option('--ref <id>', 'a grant, a task, an earlier entry')
    .option('--trace <id>', 'trace id')
    .option('--data <json>', 'anything else')
    .option('--private <json>', 'an object of fields that go into the log as commitments only')
    .option('--stdin', 'read events from standard input, one JSON object a line')
    .action(action(context, append))
  withTrust(common(log.command('tail')))
    .description('print the newest entries, verified')
    .argument('<log>', 'folder of the log')
    .option('-n, --lines <n>', 'how many', wholeNumber, 10)
    .action(action(context, tail))
  withTrust(common(log.command('verify')))
    .description('verify a whole log, a proof of an entry, or an exported range')
    .argument('<target>', 'folder of a log, a .tlog-proof, or a file made by log export')
    .option('--strict', 'also read every entry strictly')
    .option('--entry <file>', 'the entry that a proof is of; default: the one in the proof')
    .option('--html <file>', 'write the report of a log as a page too')
    .action(action(context, verifyTarget))
  withTrust(common(log.command('prove')))
    .description('prove one entry in a text file that verifies offline anywhere')
    .argument('<log>', 'folder of the log')
    .argument('<index>', 'index of the entry', wholeNumber)
    .option('--out <file>', 'write it there; default: standard output')
    .option('--no-entry', 'leave the entry itself out of the file')
    .action(action(context, prove))
  withTrust(common(log.command('checkpoint')))
    .description('print the verified checkpoint')
    .argument('<log>', 'folder of the log')
    .option('--since <file>', 'also prove that the log grew out of an earlier checkpoint')
    .action(action(context, checkpoint))
  withTrust(common(log.command('export')))
    .description('write a range of entries that verifies by itself')
    .argument('<log>', 'folder of the log')
    .option('--from <index>', 'first entry', wholeNumber, 0)
    .option('--to <index>', 'one past the last entry; default: all', wholeNumber)
    .requiredOption('--out <file>', 'where to')
    .action(action(context, exportEntries))
  log.addCommand(witnessCommands(context))
  withForgetting(context, log)
  withWriter(log.command('import'))
    .description('check the log of another system and take it in, its lines byte for byte')
    .argument('<log>', 'folder of the log, made if need be')
    .argument('<file>', 'Grantex audit JSONL (TypeScript or Python), or trusthandoff events')
    .option('--signer <file>', "the device's public key, to verify signatures")
    .option('--accept-faults', 'take it in even though its checks fail; the faults are logged too')
    .action(
      action(
        context,
        async (run, flags: ImportFlags, folder: string, file: string) =>
          await (await import('./log_import.ts')).importLog(
            run,
            flags,
            file,
            (work) => writing(run, folder, flags, work),
          ),
      ),
    )
  return log
}

type ImportFlags = WriterFlags & { readonly signer?: string; readonly acceptFaults?: boolean }

const EVENT_FLAGS = ['type', 'actor', 'subject', 'action', 'outcome', 'ref', 'trace'] as const

type AppendFlags =
  & WriterFlags
  & { readonly [name in typeof EVENT_FLAGS[number] | 'data' | 'private']?: string }
  & { readonly stdin?: boolean }

async function append(run: Run, flags: AppendFlags, folder: string): Promise<void> {
  if ((flags.type === undefined) === (flags.stdin !== true)) {
    throw new SignetError('usage_invalid', 'give either --type or --stdin')
  }
  const single = flags.stdin ? undefined : eventOf(flags)
  await writing(run, folder, flags, async (log) => {
    if (single === undefined) return await appendLines(run, log)
    const { index, entry } = await log.append(single)
    run.answer({ index, entry: JSON.parse(fromUtf8(entry)) }, `entry ${index}`)
  })
}

function eventOf(flags: AppendFlags): LogEvent {
  const event: Record<string, JsonValue> = {}
  for (const name of EVENT_FLAGS) if (flags[name] !== undefined) event[name] = flags[name]
  for (const name of ['data', 'private'] as const) {
    if (flags[name] !== undefined) event[name] = parseJson(flags[name], { what: `--${name}` })
  }
  return event as unknown as LogEvent
}

/** Prints the index of each entry once it is durable; that line is the acknowledgement. */
async function appendLines(run: Run, log: Log): Promise<void> {
  const under = new Set<Promise<void>>()
  let failed: unknown
  for await (const line of lines(run.signal)) {
    const work = log.append(parseEvent(line)).then(
      ({ index }) => run.terminal.out(run.json ? `{"index":${index}}\n` : `${index}\n`),
      (error) => void (failed ??= error),
    ).finally(() => under.delete(work))
    under.add(work)
    if (under.size >= IN_FLIGHT) await Promise.race(under)
    if (failed !== undefined) break
  }
  await Promise.all(under)
  if (failed !== undefined) throw failed
}

function parseEvent(line: Uint8Array): LogEvent {
  const value = parseJson(line, { what: 'event' })
  if (isObject(value)) return { ...value } as unknown as LogEvent
  throw new SignetError('entry_malformed', 'an event is a JSON object')
}

async function tail(
  run: Run,
  flags: TrustFlags & { lines: number },
  folder: string,
): Promise<void> {
  const { view, checkpoint } = await readPublished(run, folder, flags)
  const from = Math.max(0, checkpoint.size - flags.lines)
  const found: string[] = []
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < checkpoint.size; n++) {
    // The proof of its last entry ties the bundle's hashes to the checkpoint.
    await view.hashes(Math.min(checkpoint.size, (n + 1) * TILE_WIDTH) - 1)
    const bundle = await view.bundle(n)
    found.push(...bundle.map((entry) => fromUtf8(entry)).slice(Math.max(0, from - n * TILE_WIDTH)))
  }
  run.answer(found.map((text) => JSON.parse(text)), found.map(printable).join('\n'))
}

async function prove(
  run: Run,
  flags: TrustFlags & { out?: string; entry: boolean },
  folder: string,
  index: number,
): Promise<void> {
  const { view, checkpoint } = await readPublished(run, folder, flags)
  const proof = await view.prove(index, checkpoint)
  const entry = await view.entry(index)
  const file = formatProof({ ...proof, extra: flags.entry ? entry : undefined })
  if (flags.out === undefined) return run.terminal.out(file)
  await run.backends.writeFile(flags.out, utf8(file), { mode: 0o644 })
  const { type, time } = parseEntry(entry)
  run.answer(
    { index, size: checkpoint.size, hashes: proof.hashes.length, file: flags.out },
    `entry ${index} (${type}, ${time}) is proved by ${proof.hashes.length} hashes in ${flags.out}`,
  )
}

async function checkpoint(
  run: Run,
  flags: TrustFlags & { since?: string },
  folder: string,
): Promise<void> {
  const { view, checkpoint: found, verifiers } = await readPublished(run, folder, flags)
  if (flags.since !== undefined) {
    const file = await run.backends.readFile(flags.since, 2 ** 20)
    const before = await openCheckpoint(file, verifiers, { origin: found.origin })
    if (before.size > found.size) {
      throw new SignetError(
        'log_rolled_back',
        `the log had ${before.size} entries, it has ${found.size}`,
      )
    }
    const proof = await view.consistency(before)
    run.say(`it grew out of the ${before.size} entries before (${proof.length} hashes)`)
  }
  if (run.json) run.answer(checkpointJson(found), '')
  else run.terminal.out(found.note)
}

async function exportEntries(
  run: Run,
  flags: TrustFlags & { from: number; to?: number; out: string },
  folder: string,
): Promise<void> {
  const { view, checkpoint: head } = await readPublished(run, folder, flags)
  const { from, to = head.size } = flags
  const parts: Uint8Array[] = []
  for await (const part of exportRange(view, { start: from, end: to }, head)) parts.push(part)
  await run.backends.writeFile(flags.out, concat(...parts), { mode: 0o644 })
  run.answer(
    { from, to, size: head.size, file: flags.out },
    `entries ${from} to ${to - 1} are in ${flags.out}`,
  )
}
