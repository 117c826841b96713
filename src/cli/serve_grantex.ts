/** The face of Grantex that a server shows, if it is told to. */
import type { Command } from 'commander'
import { fromHex, fromUtf8, toHex, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  type GatewayStore,
  grantexRoutes,
  type GrantexWebhooks,
  grantexWebhooks,
  newGrantexKey,
  type Routes,
} from '../gateway/mod.ts'
import { several } from './command.ts'
import type { Run } from './context.ts'
import { printable } from './text.ts'

/** Flags of the face. */
export interface GrantexFlags {
  readonly data: string
  readonly grantex?: string
  readonly grantexDeveloper?: string[]
  readonly grantexDirectory?: string
  readonly insecureLocalWebhooks?: boolean
}

/** Adds the flags. */
export function withGrantex(command: Command): Command {
  return command
    .option('--grantex <uri>', "an RS256 key: answer Grantex's clients too, below /grantex")
    .option('--grantex-developer <id>', 'print a new API key of theirs, for once', several)
    .option('--grantex-directory <id>', 'whose SCIM users are the people of this server')
    .option('--insecure-local-webhooks', 'also send webhooks to this machine, and in the clear')
}

/** A face that is shown. */
export interface ServedGrantex {
  /** For `dialects` of the gateway. */
  readonly routes: Routes
  /** Sends webhooks from now on, and prints the new API keys, for once. Errors: `usage_invalid`. */
  start(issuer: string): Promise<void>
  /** Sends no more, and lets go of the key. */
  close(): Promise<void>
}

/** Refuses flags of the face without it. Errors: `usage_invalid`. */
export function checkGrantex(flags: GrantexFlags): void {
  const { grantex, grantexDeveloper, grantexDirectory, insecureLocalWebhooks } = flags
  if (grantex !== undefined) return
  if ((grantexDeveloper ?? grantexDirectory ?? insecureLocalWebhooks) === undefined) return
  throw new SignetError(
    'usage_invalid',
    '--grantex-developer, --grantex-directory and --insecure-local-webhooks go with --grantex',
  )
}

/** The face that the flags ask for, if they do; close it before the store. Errors: those of opening the key. */
export async function servedGrantex(
  run: Run,
  flags: GrantexFlags,
  store: GatewayStore,
): Promise<ServedGrantex | undefined> {
  const { grantex: uri, grantexDirectory: directory, grantexDeveloper = [] } = flags
  if (uri === undefined) return undefined
  const webhooks = await webhooksFor(run, flags, store)
  const key = await (await run.keyring()).open(uri, { signal: run.signal })
  const stop = new AbortController()
  let sent: Promise<void> | undefined
  return {
    routes: grantexRoutes({ key, webhooks, directory }),
    async start(issuer) {
      sent = webhooks.run(stop.signal)
      for (const developer of grantexDeveloper) {
        const apiKey = await newGrantexKey(store, developer)
        run.terminal.err(`API key of ${printable(developer)} at ${issuer}/grantex: ${apiKey}\n`)
      }
    },
    async close() {
      stop.abort()
      await sent
      await key.close()
    },
  }
}

/** Webhooks of the face. What their secrets come from lies in a file that only its owner reads. */
async function webhooksFor(
  run: Run,
  { data, insecureLocalWebhooks: insecureLoopback }: GrantexFlags,
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
