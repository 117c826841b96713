/** `signet audit`: what devices did, as their server has it, and what it finds wrong. */
import type { Command } from 'commander'
import * as v from 'valibot'
import { type Bytes, fromUtf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import { action, group } from './command.ts'
import type { CliContext, Run } from './context.ts'
import {
  idOf,
  type ListFlags,
  operatorOf,
  type ServerFlags,
  withList,
  withServer,
} from './operator.ts'
import { answerList, day, time } from './operator_text.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet audit export bundle_01 --server https://gateway.example --operator-key operator.key --out robot.jsonl
  signet log verify robot.jsonl --key robot.pub.pem --origin gateway.example/devices/<thumbprint>
  signet audit verdicts bundle_01 --server https://gateway.example --operator-key operator.key
  signet audit findings --server https://gateway.example --operator-key operator.key

An export is the device's own log: it verifies with the device's key, and the server is not believed. Verdicts are
entries that the grant does not cover; findings are logs that were cut, forked or replaced, with the signed evidence.`

/** As `log verify` takes it. */
const MAX_EXPORT = 512 * 2 ** 20

interface ExportFlags extends ServerFlags {
  readonly out: string
}

interface FindingsFlags extends ListFlags {
  readonly bundle?: string
}

const VERDICT = v.looseObject({
  index: v.number(),
  code: v.string(),
  at: time,
  entry: v.optional(v.string()),
})
const FINDING = v.looseObject({
  id: v.string(),
  bundle: v.string(),
  kind: v.string(),
  at: time,
})

/** The group. */
export function auditCommands(context: CliContext): Command {
  const audit = group(
    context,
    'audit',
    'what devices did, as their server has it, and what it finds wrong',
  )
    .addHelpText('after', EXAMPLES)
  withServer(audit.command('export'))
    .description("write the log of a bundle's device into a file that log verify takes")
    .argument('<bundle>', 'id of the bundle')
    .requiredOption('--out <file>', 'where to write it; must not exist')
    .action(action(context, exportLog))
  withServer(audit.command('verdicts'))
    .description('entries of that log that the server finds fault with')
    .argument('<bundle>', 'id of the bundle')
    .action(action(context, verdicts))
  withList(audit.command('findings'))
    .description('logs that are not what they were: cut, forked, replaced')
    .option('--bundle <id>', 'of this bundle only')
    .action(action(context, findings))
  return audit
}

async function exportLog(run: Run, flags: ExportFlags, bundle: string): Promise<void> {
  const { out } = flags
  if (await run.backends.exists(out)) {
    throw new SignetError('file_exists', `${printable(out)} exists already`, { where: out })
  }
  const operator = await operatorOf(run, flags)
  const bytes = await operator.download(`/admin/bundles/${idOf(bundle)}/audit`, MAX_EXPORT)
  const entries = entriesOf(bytes)
  // What devices did is nobody else's business.
  await run.backends.writeFile(out, bytes, { mode: 0o600 })
  run.answer(
    { file: out, entries, verified: false },
    `${printable(out)}: ${entries} entries, not verified here: use signet log verify`,
  )
}

/** How many entries an export holds, if it is whole: a line says how many come after it. */
function entriesOf(bytes: Bytes): number {
  const end = bytes.indexOf(10)
  let lines = 0
  for (let at = end; at >= 0; at = bytes.indexOf(10, at + 1)) lines++
  const head = end < 0 ? undefined : headOf(bytes.subarray(0, end))
  if (head !== undefined && head === lines - 1 && bytes.at(-1) === 10) return head
  throw new SignetError('server_failed', 'what the server sent is no whole export of a log', {
    remedy: 'try again',
  })
}

function headOf(line: Bytes): number | undefined {
  try {
    const head = parseJson(fromUtf8(line), { maxBytes: 65_536 })
    return isObject(head) && head.from === 0 && typeof head.to === 'number' ? head.to : undefined
  } catch {
    return undefined
  }
}

async function verdicts(run: Run, flags: ServerFlags, bundle: string): Promise<void> {
  const operator = await operatorOf(run, flags)
  const schema = v.object({ items: v.array(VERDICT) })
  const { items } = await operator.get(`/admin/bundles/${idOf(bundle)}/verdicts`, schema)
  answerList(
    run,
    { items, more: false },
    ['ENTRY', 'CODE', 'RECEIVED'],
    ({ index, code, at }) => [String(index), code, day(at)],
  )
}

async function findings(run: Run, flags: FindingsFlags): Promise<void> {
  const { bundle, limit } = flags
  const operator = await operatorOf(run, flags)
  const listed = await operator.list('/admin/findings', FINDING, limit, { bundle })
  answerList(
    run,
    listed,
    ['ID', 'KIND', 'BUNDLE', 'SEEN'],
    ({ id, kind, bundle: of, at }) => [id, kind, of, day(at)],
  )
}
