/** What all commands share: flags, the frame around an action, exit codes, and how an error is shown. */
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { type ErrorKind, isSignetError, type SignetError } from '../errors.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { passphraseSource } from './passphrase.ts'
import { jsonText, printable } from './text.ts'

/** Exit codes by kind of failure. 0 is success. */
export const EXIT_CODES: Readonly<Record<ErrorKind, number>> = {
  usage: 1,
  input: 2,
  signature: 3,
  trust: 4,
  content: 5,
  policy: 6,
  backend: 7,
}

/** Adds the flags of every command. */
export function common(command: Command): Command {
  return command
    .option('--json', 'print a machine-readable report on standard output')
    .option('-q, --quiet', 'no progress and no remarks')
}

/** Adds the flags of a command that opens private keys. */
export function withKeys(command: Command): Command {
  return common(command)
    .option('--passphrase-file <file>', 'read the passphrase from the first line of a file')
    .option('--passphrase-fd <n>', 'read the passphrase from a file descriptor', wholeNumber)
    .option('--insecure-clear-key', 'accept private keys that lie unencrypted on disk')
}

/** A parser of non-negative whole numbers. */
export function wholeNumber(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('not a whole number')
  return Number(text)
}

/** Collects a flag that may be given several times. */
export function several(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value]
}

/**
 * The frame of an action: builds the {@link Run} of the flags. What the action throws reaches
 * {@link runProgram}; a number it returns is the exit code.
 */
export function action<A extends unknown[], F extends CommonFlags>(
  context: CliContext,
  work: (run: Run, flags: F, ...args: A) => Promise<number | void>,
): (this: Command, ...args: unknown[]) => Promise<void> {
  return async function (...args) {
    // commander hands over: arguments, flags, command
    const flags = args.at(-2) as F
    const code = await work(runOf(context, flags), flags, ...args.slice(0, -2) as A)
    if (typeof code === 'number' && code !== 0) throw new ExitCode(code)
  }
}

function runOf(context: CliContext, flags: CommonFlags): Run {
  const { terminal, backends } = context
  const say = (text: string) => flags.quiet ? undefined : terminal.err(text + '\n')
  return {
    ...context,
    json: flags.json ?? false,
    say,
    keyring: (fresh = false) =>
      backends.keyring({
        passphrase: passphraseSource(context, flags, fresh),
        insecureClearKey: flags.insecureClearKey ?? false,
        warn: (message) => say(`warning: ${message}`),
      }),
    answer: (value, text) => terminal.out((flags.json ? jsonText(value) : text) + '\n'),
  }
}

/** An exit code that is no error: the answer was given, and it was no. */
class ExitCode extends Error {
  readonly code: number
  constructor(code: number) {
    super(`exit code ${code}`)
    this.code = code
  }
}

/** Parses arguments, runs the command, shows what went wrong; gives the exit code and throws nothing. */
export async function runProgram(
  program: Command,
  args: readonly string[],
  context: CliContext,
): Promise<number> {
  try {
    await program.parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof ExitCode) return error.code
    // commander has shown its own errors, help and version already
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_CODES.usage
    return showError(error, args.includes('--json'), context)
  }
}

function showError(error: unknown, json: boolean, { terminal }: CliContext): number {
  if (!isSignetError(error)) {
    terminal.err(`signet: this is a fault in signet itself: ${(error as Error)?.stack ?? error}\n`)
    return EXIT_CODES.input
  }
  if (json) terminal.out(jsonText({ ok: false, error: errorToJson(error) }) + '\n')
  terminal.err(`signet: ${printable(error.message)} [${error.code}]\n`)
  if (error.remedy !== undefined) terminal.err(`  try: ${printable(error.remedy)}\n`)
  return EXIT_CODES[error.kind]
}

/** An error as a report shows it. */
export function errorToJson(error: SignetError): Record<string, string | undefined> {
  const { code, kind, message, where, remedy } = error
  return { code, kind, message, where, remedy }
}

/** A group of commands whose help goes where the context says and which never ends the process by itself. */
export function group(context: CliContext, name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
}
