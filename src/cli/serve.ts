/** `signet serve`: the gateway as a process of its own, over a database file. */
import process from 'node:process'
import { Command } from 'commander'
import { SignetError } from '../errors.ts'
import {
  type Gateway,
  gateway,
  type GatewayEvent,
  type GatewayStore,
  newSignInCode,
} from '../gateway/mod.ts'
import type { PublicKey } from '../keys/mod.ts'
import { action, several, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { openPublic } from './public_side.ts'
import { type CeilingFlags, ceilingsOf, withCeilings } from './serve_ceilings.ts'
import { checkGrantex, type GrantexFlags, servedGrantex, withGrantex } from './serve_grantex.ts'
import { firstOperator } from './serve_operator.ts'
import { servedPolicy } from './serve_policy.ts'
import { printable } from './text.ts'

const HELP = `
Examples:
  signet keys new --key issuer.pem --algorithm Ed25519
  signet serve --data gateway --key issuer.pem --sign-in alice
  signet serve --data gateway --key issuer.pem --issuer https://gateway.example --listen 127.0.0.1:8787
  signet serve --data gateway --key issuer.pem --policy policy.json --max-duration 30d --max-log-size 500MB
  signet serve --data gateway --key issuer.pem --grantex rsa.pem --grantex-developer dev_me

Behind a proxy that speaks TLS, --issuer is what the world calls the server by. The operator's key is written to
DIR/operator.key when the folder is made; whoever has it may register agents, and revoke. With --grantex,
DIR/webhooks.key is what the secrets of webhooks come from: whoever has it can sign as this server does. To change
keys without a gap, first publish the next one (--publish), then sign with it and publish the last one.

A policy denies requests, allows them without asking a person, or has a person asked in any case; without one a person
is asked for everything:
  {"format": "signet-policy@v1", "rules": [
    {"id": "no-payments", "effect": "deny", "scopes": ["payments:initiate"]},
    {"id": "calendar", "effect": "allow", "agents": ["agent_…"], "principals": ["alice"], "keys": ["<thumbprint>"],
     "scopes": ["calendar:read"], "max_duration": 3600, "max_offline_age": 3600}]}
Send SIGHUP to have the file read again; a broken one changes nothing.`

interface ServeFlags extends CommonFlags, CeilingFlags, GrantexFlags {
  readonly key: string
  readonly listen: string
  readonly issuer?: string
  readonly publish?: string[]
  readonly signIn?: string[]
  readonly clientHeader?: string
  readonly policy?: string
}

/** The command. */
export function serveCommand(context: CliContext): Command {
  const command = withKeys(new Command('serve'))
    .description('give grants, take the logs of devices in, and take authority back')
    .requiredOption('--data <dir>', 'folder of the database, made if need be')
    .requiredOption('--key <uri>', "the issuer's Ed25519 key")
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:8787')
    .option('--issuer <url>', 'name and address of the server; default: http:// and --listen')
    .option(
      '--publish <key>',
      'further public keys to publish: the next, the last, a keyset',
      several,
    )
    .option('--policy <file>', 'what needs no person, or is denied; read again at SIGHUP')
    .option('--client-header <name>', 'where a trusted proxy says whose request it is')
    .option('--sign-in <principal>', 'print a one-time link with which they can sign in', several)
  return withGrantex(withCeilings(command))
    .addHelpText('after', HELP)
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
    .action(action(context, serve))
}

async function serve(run: Run, flags: ServeFlags): Promise<void> {
  const listen = parseListen(flags.listen)
  checkGrantex(flags)
  const closers: (() => unknown)[] = []
  try {
    const published = await publishedKeys(run, flags.publish ?? [])
    const key = await (await run.keyring()).open(flags.key, { signal: run.signal })
    closers.push(() => key.close())
    const store = await run.backends.gatewayStore(flags.data)
    closers.push(() => store.close())
    const policy = flags.policy === undefined ? undefined : await servedPolicy(run, flags.policy)
    closers.push(() => policy?.close())
    const grantex = await servedGrantex(run, flags, store)
    closers.push(() => grantex?.close())
    await firstOperator(run, flags.data, store)
    // With port 0 the name is known only once it listens.
    let answer: Gateway = () => Promise.resolve(new Response(null, { status: 503 }))
    const server = await run.backends.serveHttp(
      async (request, info) => {
        const client = clientOf(request, flags.clientHeader) ?? info.client
        return await answer(request, { client })
      },
      { ...listen, onFault: (error) => run.say(printable(String(error))) },
    )
    closers.push(() => server.close())
    const { issuer = server.url } = flags
    answer = gateway({
      issuer,
      key,
      published,
      store,
      dialects: grantex === undefined ? [] : [grantex.routes],
      decide: policy?.decide,
      ceilings: ceilingsOf(flags),
      log: (event) => tell(run, event),
    })
    await grantex?.start(issuer)
    for (const principal of flags.signIn ?? []) await printLink(run, store, issuer, principal)
    run.answer(
      { issuer, url: server.url, kid: key.publicKey.id },
      `${issuer} is served at ${server.url}, signing with ${key.publicKey.id}`,
    )
    await ended(run.signal)
    run.say('stopping')
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

/** Keys to publish besides: those of files, and of keysets what was not revoked. */
async function publishedKeys(run: Run, files: readonly string[]): Promise<PublicKey[]> {
  const keys: PublicKey[] = []
  for (const text of files) {
    const side = await openPublic(run, text)
    const live = 'keyset' in side
      ? side.keyset.members.filter(({ status }) => status !== 'revoked').map(({ key }) => key)
      : side.keys
    keys.push(...live)
  }
  return keys
}

async function printLink(
  run: Run,
  store: GatewayStore,
  issuer: string,
  principal: string,
): Promise<void> {
  const code = await newSignInCode(store, principal, Math.floor(Date.now() / 1000))
  const link = `${issuer}/sign-in?${new URLSearchParams({ code })}`
  run.terminal.err(`sign-in link of ${printable(principal)}, for once: ${link}\n`)
}

/** One line for each request. No query, no token, no body. */
function tell(run: Run, event: GatewayEvent): void {
  const { method, path, status, took, requestId, error, decision } = event
  const rule = decision?.rule === undefined ? '' : ` by ${decision.rule}`
  const policy = decision === undefined ? '' : ` policy: ${decision.effect}${rule}`
  run.say(`${method} ${printable(path)} ${status} ${took.toFixed(1)}ms ${requestId}${policy}`)
  if (error !== undefined && status >= 500) {
    const cause = error instanceof SignetError ? error.cause ?? error : error
    run.say(`  ${printable(String((cause as Error)?.stack ?? cause))}`)
  }
}

/** The last address in a field is the one that our own proxy put there; those before it anybody can make up. */
function clientOf(request: Request, field: string | undefined): string | undefined {
  return field === undefined ? undefined : request.headers.get(field)?.split(',').at(-1)?.trim()
}

function parseListen(text: string): { host: string; port: number } {
  const [, host, port] = /^(\[[0-9a-f:]+\]|[^:[\]]+):([0-9]{1,5})$/i.exec(text) ?? []
  if (host === undefined || Number(port) > 65535) {
    throw new SignetError('usage_invalid', '--listen is no host and port', {
      remedy: 'write it as 127.0.0.1:8787',
    })
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** Resolves when the process is told to end: Ctrl-C, or SIGTERM from whatever started it. */
function ended(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve()
    signal?.addEventListener('abort', () => resolve(), { once: true })
    process.once('SIGTERM', () => resolve())
  })
}
