/** The command line: all groups under one program. */
import { Command } from 'commander'
import { runProgram } from './command.ts'
import type { CliContext } from './context.ts'

/** Groups by name; each is loaded when it is asked for, so that a verification starts fast. */
const GROUPS: readonly [string, string, (context: CliContext) => Promise<Command>][] = [
  [
    'keys',
    'make, show, rotate and try keys',
    async (context) => (await import('./keys.ts')).keysCommands(context),
  ],
  [
    'model',
    'seal a model folder and verify it elsewhere',
    async (context) => (await import('./model.ts')).modelCommands(context),
  ],
  [
    'publishers',
    'keep the signed list of those whose seals count',
    async (context) => (await import('./publishers.ts')).publishersCommands(context),
  ],
  [
    'log',
    'append to a log, and prove what is in it',
    async (context) => (await import('./log.ts')).logCommands(context),
  ],
  [
    'grant',
    'give authority, pass on less of it, check it, take it back',
    async (context) => (await import('./grant.ts')).grantCommands(context),
  ],
  [
    'serve',
    'give grants, take the logs of devices in, and take authority back',
    async (context) => (await import('./serve.ts')).serveCommand(context),
  ],
  [
    'bundle',
    'get what a device takes offline, look at it, and renew it',
    async (context) => (await import('./bundle.ts')).bundleCommands(context),
  ],
  [
    'agent',
    'register the agents of a server, suspend them, let them act again',
    async (context) => (await import('./agent.ts')).agentCommands(context),
  ],
  [
    'principal',
    'let people sign in at a server',
    async (context) => (await import('./principal.ts')).principalCommands(context),
  ],
  [
    'audit',
    'what devices did, as their server has it, and what it finds wrong',
    async (context) => (await import('./audit.ts')).auditCommands(context),
  ],
  [
    'sync',
    "send a device's log to its server, and hear what is new",
    async (context) => (await import('./sync.ts')).syncCommand(context),
  ],
  [
    'doctor',
    'say what runs on what here',
    async (context) => (await import('./doctor.ts')).doctorCommand(context),
  ],
  [
    'demo',
    'the main job of a room on real input, to watch',
    async (context) => (await import('./demo.ts')).demoCommands(context),
  ],
  [
    'cosign-plugin',
    'answer cosign as the program sigstore-kms-signet',
    async (context) => (await import('./cosign_plugin.ts')).cosignPluginCommand(context),
  ],
]

const EXIT_HELP = `
Exit codes: 0 ok, 1 usage, 2 input/output or unparsable, 3 signature invalid, 4 signer not trusted,
5 content differs, 6 denied by policy, 7 key backend unavailable.`

/** Runs a command line; gives the exit code and throws nothing. */
export async function main(
  args: readonly string[],
  context: CliContext,
  version: string,
): Promise<number> {
  const program = new Command('signet')
    .description('Prove whose key, what was sealed, who may do what, and what was done.')
    .version(version, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
    .showHelpAfterError('(signet --help shows what there is)')
    .addHelpText('after', EXIT_HELP)
  const [wanted] = args.filter((arg) => !arg.startsWith('-'))
  for (const [name, description, load] of GROUPS) {
    program.addCommand(
      name === wanted ? await load(context) : new Command(name).description(description),
    )
  }
  if (args.length === 0) {
    program.outputHelp()
    return 0
  }
  return await runProgram(program, args, context)
}
