/** `signet grant issue` and `narrow`: give authority, and pass on less of it. */
import type { Command } from 'commander'
import { utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  formatChain,
  type GrantChain,
  type GrantTerms,
  issueGrant,
  narrowGrant,
} from '../grants/mod.ts'
import { action, several, wholeNumber, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { claimsOf, iso, readChain } from './grant_file.ts'
import { duration, limitsOf, toolsOf } from './grant_terms.ts'
import { withKey } from './private_side.ts'
import { onePublic } from './public_side.ts'

interface TermFlags extends CommonFlags {
  readonly key: string
  readonly holder: string
  readonly scope?: string[]
  readonly capability?: string
  readonly audience?: string[]
  readonly limits?: string
  readonly statusUri?: string
  readonly statusIndex?: number
  readonly lifetime?: number
  readonly depth?: number
  readonly out: string
}

/** Adds the two commands. */
export function withIssuing(context: CliContext, grant: Command): void {
  withTerms(grant.command('issue'))
    .description('issue a grant: the first token of a chain')
    .requiredOption('--issuer <uri>', 'who gives the authority, as verifiers pin it')
    .requiredOption('--lifetime <time>', 'how long it is valid: seconds, or 30m, 12h, 7d', duration)
    .option('--depth <n>', 'how often it may be passed on', wholeNumber, 0)
    .action(action(context, issue))
  withTerms(grant.command('narrow'))
    .description('pass a grant on, with no more authority than it has; no server is asked')
    .argument('<grant>', 'file of the grant')
    .option('--lifetime <time>', 'if it is to end before the grant does', duration)
    .option('--depth <n>', 'how deep the chain may become; default: as the grant says', wholeNumber)
    .action(action(context, narrow))
}

function withTerms(command: Command): Command {
  return withKeys(command)
    .requiredOption('--key <uri>', 'the key that signs')
    .requiredOption('--holder <uri>', 'public side of the key that it is given to')
    .option('--scope <name>', 'a tool that may be called with any arguments', several)
    .option('--capability <file>', 'tools with constraints on their arguments, as JSON')
    .option('--audience <name>', 'for whom', several)
    .option('--limits <file>', 'how often, how much, with whose approval, as JSON')
    .option('--status-uri <uri>', 'where its status list will be')
    .option('--status-index <n>', 'its index there', wholeNumber)
    .requiredOption('--out <file>', 'where to write the grant; must not exist')
}

async function issue(run: Run, flags: TermFlags & { issuer: string }): Promise<void> {
  const terms = await termsOf(run, flags)
  if (terms.tools === undefined && terms.scopes === undefined) {
    throw new SignetError('usage_invalid', 'a grant of nothing', {
      remedy: 'give --scope or --capability',
    })
  }
  const { issuer, lifetime = 0, depth } = flags
  await withKey(run, flags.key, async (key) =>
    await write(
      run,
      flags.out,
      await issueGrant(key, { ...terms, issuer, lifetime, maxDepth: depth }, {
        signal: run.signal,
      }),
    ))
}

async function narrow(run: Run, flags: TermFlags, file: string): Promise<void> {
  const chain = await readChain(run, file)
  const terms = await termsOf(run, flags)
  const { lifetime, depth: maxDepth } = flags
  await withKey(run, flags.key, async (key) =>
    await write(
      run,
      flags.out,
      await narrowGrant(chain, key, { ...terms, lifetime, maxDepth }, { signal: run.signal }),
    ))
}

async function termsOf(run: Run, flags: TermFlags): Promise<GrantTerms> {
  const { statusUri: uri, statusIndex: idx } = flags
  if ((uri === undefined) !== (idx === undefined)) {
    throw new SignetError('usage_invalid', '--status-uri and --status-index belong together')
  }
  return {
    holder: await onePublic(run, flags.holder),
    scopes: flags.scope,
    tools: flags.capability === undefined ? undefined : await toolsOf(run, flags.capability),
    audience: flags.audience,
    limits: flags.limits === undefined ? undefined : await limitsOf(run, flags.limits),
    status: uri === undefined ? undefined : { uri, idx: idx! },
  }
}

async function write(run: Run, file: string, chain: GrantChain): Promise<void> {
  await run.backends.writeFile(file, utf8(formatChain(chain)), { mode: 0o644 })
  const links = chain.map(claimsOf)
  const { exp } = links.at(-1) as { exp: number }
  run.answer(
    { file, tokens: chain.length, claims: links.at(-1) },
    `${file}: ${chain.length} token${chain.length === 1 ? '' : 's'}, expires ${iso(exp)}`,
  )
}
