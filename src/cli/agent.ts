/** `signet agent`: the agents of a server. */
import type { Command } from 'commander'
import * as v from 'valibot'
import { SignetError } from '../errors.ts'
import { action, group, several } from './command.ts'
import type { CliContext, Run } from './context.ts'
import {
  idOf,
  type ListFlags,
  operatorOf,
  type ServerFlags,
  withList,
  withServer,
} from './operator.ts'
import { answerList, day, facts, time } from './operator_text.ts'

const EXAMPLES = `
Examples:
  export SIGNET_OPERATOR_KEY="$(cat gateway/operator.key)"
  signet agent register --server https://gateway.example --name Robot \\
      --redirect http://127.0.0.1:8788/callback --tool calendar:read
  signet agent list --server https://gateway.example
  signet agent update agent_02 --takes-from agent_01 --server https://gateway.example
  signet agent suspend agent_01 --server https://gateway.example --operator-key gateway/operator.key
  signet agent resume agent_01 --server https://gateway.example

What was given to an agent, the server narrows and passes on to that agent, or to one that takes from it.
A suspended agent gets nothing, and nothing of theirs is valid; resuming gives back what was not revoked.`

const TAKES_FROM_HELP = 'an agent whose grants may be passed on to it'

interface RegisterFlags extends ServerFlags {
  readonly name: string
  readonly description?: string
  readonly redirect: string[]
  readonly tool?: string[]
  readonly takesFrom?: string[]
}

interface UpdateFlags extends ServerFlags {
  readonly takesFrom?: string[]
  readonly takesFromNobody?: boolean
}

const AGENT = v.looseObject({
  id: v.string(),
  name: v.string(),
  description: v.optional(v.string()),
  status: v.string(),
  redirect_uris: v.array(v.string()),
  tools: v.optional(v.array(v.string())),
  takes_from: v.optional(v.array(v.string())),
  created_at: time,
})
type Agent = v.InferOutput<typeof AGENT>

/** The group. */
export function agentCommands(context: CliContext): Command {
  const agent = group(
    context,
    'agent',
    'register the agents of a server, suspend them, let them act again',
  )
    .addHelpText('after', EXAMPLES)
  withServer(agent.command('register'))
    .description('let an agent ask for authority; prints its id')
    .requiredOption('--name <name>', 'what people see who are asked')
    .option('--description <text>', 'what it is for')
    .requiredOption('--redirect <uri>', 'where an answer may go, letter by letter', several)
    .option('--tool <name>', 'a tool that it may ask for; default: any', several)
    .option('--takes-from <id>', TAKES_FROM_HELP, several)
    .action(action(context, register))
  withList(agent.command('list'))
    .description('the agents of a server')
    .action(action(context, list))
  withServer(agent.command('show'))
    .description('one agent')
    .argument('<id>', 'the agent')
    .action(action(context, show))
  withServer(agent.command('update'))
    .description('say from which agents it takes, instead of those before')
    .argument('<id>', 'the agent')
    .option('--takes-from <id>', TAKES_FROM_HELP, several)
    .option('--takes-from-nobody', 'from none but itself')
    .action(action(context, update))
  withServer(agent.command('suspend'))
    .description('stop an agent, and all that it has')
    .argument('<id>', 'the agent')
    .action(
      action(context, (run, flags: ServerFlags, id: string) => turn(run, flags, id, 'suspend')),
    )
  withServer(agent.command('resume'))
    .description('let a suspended agent act again')
    .argument('<id>', 'the agent')
    .action(
      action(context, (run, flags: ServerFlags, id: string) => turn(run, flags, id, 'resume')),
    )
  return agent
}

async function register(run: Run, flags: RegisterFlags): Promise<void> {
  const { name, description, redirect: redirect_uris, tool: tools, takesFrom: takes_from } = flags
  const operator = await operatorOf(run, flags)
  const made = await operator.post('/admin/agents', AGENT, {
    name,
    description,
    redirect_uris,
    tools,
    takes_from,
  })
  run.answer(made, agentText(made))
}

async function update(run: Run, flags: UpdateFlags, id: string): Promise<void> {
  const { takesFrom = [], takesFromNobody = false } = flags
  if (takesFromNobody === takesFrom.length > 0) {
    throw new SignetError('usage_invalid', 'from whom is it to take?', {
      remedy: 'give all of them with --takes-from ID, or say --takes-from-nobody',
    })
  }
  const operator = await operatorOf(run, flags)
  const changed = await operator.patch(`/admin/agents/${idOf(id)}`, AGENT, {
    takes_from: takesFrom,
  })
  run.answer(changed, agentText(changed))
}

async function list(run: Run, flags: ListFlags): Promise<void> {
  const operator = await operatorOf(run, flags)
  const listed = await operator.list('/admin/agents', AGENT, flags.limit)
  answerList(
    run,
    listed,
    ['ID', 'STATUS', 'NAME', 'TOOLS', 'REGISTERED', 'TAKES FROM'],
    ({ id, status, name, tools, created_at: at, takes_from: givers = [] }) => [
      id,
      status,
      name,
      toolText(tools),
      day(at),
      givers.length === 0 ? undefined : givers.join(', '),
    ],
  )
}

async function show(run: Run, flags: ServerFlags, id: string): Promise<void> {
  const operator = await operatorOf(run, flags)
  const agent = await operator.get(`/admin/agents/${idOf(id)}`, AGENT)
  run.answer(agent, agentText(agent))
}

async function turn(
  run: Run,
  flags: ServerFlags,
  id: string,
  verb: 'suspend' | 'resume',
): Promise<void> {
  const operator = await operatorOf(run, flags)
  const schema = v.looseObject({ id: v.string(), status: v.string() })
  const done = await operator.post(`/admin/agents/${idOf(id)}/${verb}`, schema)
  run.answer(done, facts([['agent', done.id], ['status', done.status]]))
}

function toolText(tools: readonly string[] | undefined): string {
  return tools === undefined ? 'any' : tools.join(', ')
}

function agentText(agent: Agent): string {
  return facts([
    ['agent', agent.id],
    ['name', agent.name],
    ['description', agent.description],
    ['status', agent.status],
    ['tools', toolText(agent.tools)],
    ...agent.redirect_uris.map((uri) => ['redirect', uri] as const),
    ...(agent.takes_from ?? []).map((id) => ['takes from', id] as const),
    ['registered', day(agent.created_at)],
  ])
}
