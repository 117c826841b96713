/** `signet principal`: the people on whose behalf agents act at a server. */
import type { Command } from 'commander'
import * as v from 'valibot'
import { action, group } from './command.ts'
import type { CliContext, Run } from './context.ts'
import { operatorOf, type ServerFlags, withServer } from './operator.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet principal sign-in alice --server https://gateway.example --operator-key gateway/operator.key

Whoever opens the link within ten minutes signs in as alice, and can approve in her name: give it to her alone.`

/** The group. */
export function principalCommands(context: CliContext): Command {
  const principal = group(context, 'principal', 'let people sign in at a server')
    .addHelpText('after', EXAMPLES)
  withServer(principal.command('sign-in'))
    .description('print a link with which a person can sign in, once')
    .argument('<name>', 'who')
    .action(action(context, signIn))
  return principal
}

async function signIn(run: Run, flags: ServerFlags, name: string): Promise<void> {
  const operator = await operatorOf(run, flags)
  const made = await operator.post('/admin/sign-in-codes', signInOf(name), { principal: name })
  run.answer(made, `sign-in link of ${printable(name)}, for once: ${printable(made.link)}`)
}

/** What is handed on to somebody is a link of the web, for the one who was named. */
function signInOf(name: string) {
  return v.looseObject({
    principal: v.literal(name),
    code: v.string(),
    link: v.pipe(v.string(), v.regex(/^https?:\/\//)),
  })
}
