/** `signet grant list`, and `grant revoke` at a server: the grants that it gave. */
import type { Command } from 'commander'
import * as v from 'valibot'
import { isObject, type JsonObject, type JsonValue } from '../json.ts'
import { action } from './command.ts'
import type { CliContext, Run } from './context.ts'
import {
  idOf,
  type ListFlags,
  NOT_DONE,
  oneOf,
  operatorOf,
  type TakeBackFlags,
  withList,
} from './operator.ts'
import { answerList, day, time, whose } from './operator_text.ts'
import { printable } from './text.ts'

/** Flags of `grant revoke` at a server. */
export type GrantRevokeFlags = TakeBackFlags

interface GrantListFlags extends ListFlags {
  readonly agent?: string
  readonly principal?: string
  readonly parent?: string
}

const GRANT = v.looseObject({
  id: v.string(),
  agent: v.string(),
  principal: v.string(),
  parent: v.optional(v.string()),
  tools: v.custom<JsonObject>((value) => isObject(value as JsonValue)),
  expires_at: time,
  state: v.string(),
  reason: v.optional(v.string()),
})
const REVOKED = v.looseObject({ id: v.string(), revoked: v.array(v.string()) })

/** Adds the list. */
export function withGrantList(context: CliContext, grant: Command): void {
  withList(grant.command('list'))
    .description('the grants that a server gave, and whether they hold')
    .option('--agent <id>', 'of this agent only')
    .option('--principal <name>', 'on behalf of this principal only')
    .option('--parent <id>', 'made out of this grant only')
    .action(action(context, list))
}

async function list(run: Run, flags: GrantListFlags): Promise<void> {
  const { agent, principal, parent, limit } = flags
  const operator = await operatorOf(run, flags)
  const listed = await operator.list(
    '/admin/grants',
    GRANT,
    limit,
    oneOf({ agent, principal, parent }),
  )
  answerList(
    run,
    listed,
    ['ID', 'STATE', 'AGENT', 'PRINCIPAL', 'TOOLS', 'EXPIRES', 'MADE OUT OF'],
    (grant) => [
      grant.id,
      grant.state,
      grant.agent,
      grant.principal,
      Object.keys(grant.tools).join(', '),
      day(grant.expires_at),
      grant.parent,
    ],
  )
}

/** Revokes a grant of a server with all that was made out of it, and tells what that was. */
export async function revokeAtServer(run: Run, flags: GrantRevokeFlags, id: string): Promise<void> {
  const operator = await operatorOf(run, flags)
  const path = `/admin/grants/${idOf(id)}`
  if (flags.yes !== true) {
    const grant = await operator.get(path, GRANT)
    const tools = Object.keys(grant.tools).map(printable).join(', ')
    run.answer(
      { done: false, grant },
      `would revoke ${whose(grant)} (${tools}) and all that was made out of it\n${NOT_DONE}`,
    )
    return
  }
  const { reason } = flags
  const done = await operator.post(`${path}/revoke`, REVOKED, { reason })
  run.answer(
    { done: true, ...done },
    [`${printable(done.id)} is revoked`, ...cascade(done)].join('\n'),
  )
}

/** What was revoked along with something. */
export function cascade(
  { id, revoked }: { readonly id: string; readonly revoked: readonly string[] },
): string[] {
  const others = revoked.filter((one) => one !== id)
  if (revoked.length === 0) return ['there was nothing left to revoke']
  return others.length === 0 ? [] : ['and with it', ...others.map((one) => `  ${printable(one)}`)]
}
