/** `signet serve`: the gateway as a process of its own, over a database file. */
import process from 'node:process'
import { Command } from 'commander'
import { fromHex, fromUtf8, toHex, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  type Gateway,
  gateway,
  type GatewayEvent,
  type GatewayStore,
  grantexRoutes,
  type GrantexWebhooks,
  grantexWebhooks,
  newGrantexKey,
  newOperatorKey,
  newSignInCode,
} from '../gateway/mod.ts'
import type { Key, PublicKey } from '../keys/mod.ts'
import { action, several, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { openPublic } from './public_side.ts'
import { type ServedPolicy, servedPolicy } from './serve_policy.ts'
import { printable } from './text.ts'

const HELP = `
Examples:
  signet keys new --key issuer.pem --algorithm Ed25519
  signet serve --data gateway --key issuer.pem --sign-in alice
  signet serve --data gateway --key issuer.pem --issuer https://gateway.example --listen 127.0.0.1:8787
  signet serve --data gateway --key issuer.pem --policy policy.json
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

interface ServeFlags extends CommonFlags {
  readonly data: string
  readonly key: string
  readonly listen: string
  readonly issuer?: string
  readonly publish?: string[]
  readonly signIn?: string[]
  readonly clientHeader?: string
  readonly policy?: string
  readonly grantex?: string
  readonly grantexDeveloper?: string[]
  readonly grantexDirectory?: string
  readonly insecureLocalWebhooks?: boolean
}

/** The command. */
export function serveCommand(context: CliContext): Command {
  return withKeys(new Command('serve'))
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
    .option('--grantex <uri>', "an RS256 key: answer Grantex's clients too, below /grantex")
    .option('--grantex-developer <id>', 'print a new API key of theirs, for once', several)
    .option('--grantex-directory <id>', 'whose SCIM users are the people of this server')
    .option('--insecure-local-webhooks', 'also send webhooks to this machine, and in the clear')
    .option('--sign-in <principal>', 'print a one-time link with which they can sign in', several)
    .addHelpText('after', HELP)
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
    .action(action(context, serve))
}

async function serve(run: Run, flags: ServeFlags): Promise<void> {
  const listen = parseListen(flags.listen)
  const published: PublicKey[] = []
  for (const text of flags.publish ?? []) {
    const side = await openPublic(run, text)
    const live = 'keyset' in side
      ? side.keyset.members.filter(({ status }) => status !== 'revoked').map(({ key }) => key)
      : side.keys
    published.push(...live)
  }
  const key = await (await run.keyring()).open(flags.key, { signal: run.signal })
  const store = await run.backends.gatewayStore(flags.data)
  let grantex: Key | undefined
  let policy: ServedPolicy | undefined
  const stop = new AbortController()
  let sent: Promise<void> | undefined
  try {
    if (flags.policy !== undefined) policy = await servedPolicy(run, flags.policy)
    grantex = await grantexKey(run, flags)
    await makeOperator(run, flags.data, store)
    const webhooks = grantex && await webhooksFor(run, flags, store)
    // With port 0 the name is known only once it listens.
    let answer: Gateway | undefined
    const server = await run.backends.serveHttp(
      async (request, info) => {
        const client = clientOf(request, flags.clientHeader) ?? info.client
        return await answer?.(request, { client }) ?? new Response(null, { status: 503 })
      },
      { ...listen, onFault: (error) => run.say(printable(String(error))) },
    )
    const { issuer = server.url } = flags
    try {
      const { grantexDirectory: directory } = flags
      const dialects = grantex === undefined
        ? []
        : [grantexRoutes({ key: grantex, webhooks, directory })]
      answer = gateway({
        issuer,
        key,
        published,
        store,
        dialects,
        decide: policy?.decide,
        log: (event) => tell(run, event),
      })
      sent = webhooks?.run(stop.signal)
      for (const developer of flags.grantexDeveloper ?? []) {
        const apiKey = await newGrantexKey(store, developer)
        run.terminal.err(`API key of ${printable(developer)} at ${issuer}/grantex: ${apiKey}\n`)
      }
      for (const principal of flags.signIn ?? []) {
        const code = await newSignInCode(store, principal, Math.floor(Date.now() / 1000))
        const link = `${issuer}/sign-in?${new URLSearchParams({ code })}`
        run.terminal.err(`sign-in link of ${printable(principal)}, for once: ${link}\n`)
      }
      run.answer(
        { issuer, url: server.url, kid: key.publicKey.id },
        `${issuer} is served at ${server.url}, signing with ${key.publicKey.id}`,
      )
      await ended(run.signal)
      run.say('stopping')
    } finally {
      await server.close()
    }
  } finally {
    stop.abort()
    await sent
    store.close()
    await key.close()
    await grantex?.close()
    policy?.close()
  }
}

/** The key of the Grantex dialect, if that is wanted. */
async function grantexKey(run: Run, flags: ServeFlags): Promise<Key | undefined> {
  if (flags.grantex !== undefined) {
    return await (await run.keyring()).open(flags.grantex, { signal: run.signal })
  }
  const { grantexDeveloper, grantexDirectory, insecureLocalWebhooks } = flags
  if ((grantexDeveloper ?? grantexDirectory ?? insecureLocalWebhooks) === undefined) {
    return undefined
  }
  throw new SignetError(
    'usage_invalid',
    '--grantex-developer, --grantex-directory and --insecure-local-webhooks go with --grantex',
  )
}

/** Webhooks of the dialect. What their secrets come from lies in a file that only its owner reads. */
async function webhooksFor(
  run: Run,
  { data, insecureLocalWebhooks: insecureLoopback }: ServeFlags,
  store: GatewayStore,
): Promise<GrantexWebhooks> {
  const path = `${data}/webhooks.key`
  if (!await run.backends.exists(path)) {
    const fresh = crypto.getRandomValues(new Uint8Array(32))
    await run.backends.writeFile(path, utf8(`${toHex(fresh)}\n`), { mode: 0o600 })
  }
  return grantexWebhooks({
    store,
    key: fromHex(fromUtf8(await run.backends.readFile(path, 1024), path).trim(), path),
    fetch: await run.backends.publicFetch({ insecureLoopback }),
    insecureLoopback,
    onFault: (error) => run.say(printable(String(error))),
  })
}

/** The first operator's key, into a file that only its owner reads. */
async function makeOperator(
  run: Run,
  folder: string,
  store: Parameters<typeof newOperatorKey>[0],
): Promise<void> {
  if ((await store.records.list('operator', { limit: 1 })).length > 0) return
  const path = `${folder}/operator.key`
  await newOperatorKey(store, 'operator', Math.floor(Date.now() / 1000), async (key) => {
    await run.backends.writeFile(path, utf8(`${key}\n`), { mode: 0o600, overwrite: true })
  })
  run.say(`the operator's key is in ${printable(path)}`)
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
