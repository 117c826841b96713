/** `signet bundle list` and `bundle revoke`: the bundles that a server gave. */
import type { Command } from 'commander'
import * as v from 'valibot'
import { action } from './command.ts'
import type { CliContext, Run } from './context.ts'
import { cascade } from './grant_server.ts'
import {
  idOf,
  type ListFlags,
  NOT_DONE,
  oneOf,
  operatorOf,
  type TakeBackFlags,
  withList,
  withTakeBack,
} from './operator.ts'
import { answerList, day, time, whose } from './operator_text.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet bundle list --server https://gateway.example --operator-key operator.key --agent agent_01
  signet bundle revoke bundle_01 --server https://gateway.example --operator-key operator.key          what would be
  signet bundle revoke bundle_01 --server https://gateway.example --operator-key operator.key --yes    it is`

interface BundleListFlags extends ListFlags {
  readonly agent?: string
  readonly grant?: string
  readonly deviceKey?: string
}

interface BundleRevokeFlags extends TakeBackFlags {
  readonly withGrant?: boolean
}

const BUNDLE = v.looseObject({
  id: v.string(),
  grant: v.string(),
  agent: v.string(),
  principal: v.string(),
  device: v.string(),
  generation: v.number(),
  expires_at: time,
  seen_at: time,
  entries: v.number(),
  state: v.string(),
  revoked: v.optional(v.array(v.string()), []),
})

/** Adds the two commands to the group. */
export function withServersBundles(context: CliContext, bundle: Command): void {
  withList(bundle.command('list'))
    .description('the bundles that a server gave, and whether they hold')
    .option('--agent <id>', 'of this agent only')
    .option('--grant <id>', 'of this grant only')
    .option('--device-key <thumbprint>', 'of the device with this key only')
    .addHelpText('after', EXAMPLES)
    .action(action(context, list))
  withTakeBack(bundle.command('revoke'))
    .description('take a bundle back; its device hears of it when it syncs')
    .argument('<id>', 'the bundle')
    .option('--with-grant', 'its grant too, and all that was made out of that')
    .addHelpText('after', EXAMPLES)
    .action(action(context, revoke))
}

async function list(run: Run, flags: BundleListFlags): Promise<void> {
  const { agent, grant, deviceKey: device, limit } = flags
  const operator = await operatorOf(run, flags)
  const listed = await operator.list(
    '/admin/bundles',
    BUNDLE,
    limit,
    oneOf({ agent, grant, device }),
  )
  answerList(
    run,
    listed,
    ['ID', 'STATE', 'AGENT', 'PRINCIPAL', 'GRANT', 'ENTRIES', 'SEEN', 'EXPIRES'],
    (one) => [
      one.id,
      one.state,
      one.agent,
      one.principal,
      one.grant,
      String(one.entries),
      day(one.seen_at),
      day(one.expires_at),
    ],
  )
}

async function revoke(run: Run, flags: BundleRevokeFlags, id: string): Promise<void> {
  const operator = await operatorOf(run, flags)
  const path = `/admin/bundles/${idOf(id)}`
  const { reason, withGrant: grant = false } = flags
  if (flags.yes !== true) {
    const bundle = await operator.get(path, BUNDLE)
    const more = grant
      ? `, its grant ${printable(bundle.grant)} and all that was made out of it`
      : ''
    run.answer({ done: false, bundle }, `would revoke ${whose(bundle)}${more}\n${NOT_DONE}`)
    return
  }
  const done = await operator.post(`${path}/revoke`, BUNDLE, { reason, grant })
  const lines = grant ? cascade(done) : []
  run.answer(
    { done: true, ...done },
    [`${printable(done.id)} is ${printable(done.state)}`, ...lines].join('\n'),
  )
}
