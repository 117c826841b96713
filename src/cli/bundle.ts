/** `signet bundle`: what a device takes offline. */
import type { Command } from 'commander'
import { fromUtf8 } from '../bytes.ts'
import { ERROR_KINDS, SignetError } from '../errors.ts'
import {
  type AcknowledgedHead,
  type Device,
  listBundles,
  MAX_BUNDLE_LENGTH,
  type OfflineReport,
  peekDevice,
  pullBundle,
  type PulledBundle,
  refreshDevice,
  type VerifiedBundle,
} from '../grants/mod.ts'
import type { Key } from '../keys/mod.ts'
import { obtain, type ObtainFlags } from './bundle_obtain.ts'
import { requested, type RequestFlags } from './bundle_request.ts'
import { withServersBundles } from './bundle_server.ts'
import { action, EXIT_CODES, group, several, wholeNumber, withKeys } from './command.ts'
import type { CliContext, Run } from './context.ts'
import {
  comparing,
  configOf,
  type DeviceFlags,
  type FolderOptions,
  isRunning,
  opened,
  withAnchor,
  withDevice,
  withParts,
} from './device_folder.ts'
import { duration } from './grant_terms.ts'
import { day } from './operator_text.ts'
import { printable } from './text.ts'

/** Where a browser brings the answer to, unless told otherwise. */
const REDIRECT = 'http://127.0.0.1:8788/callback'

const EXAMPLES = `
Examples:
  signet keys new --key device.pem --algorithm Ed25519
  signet bundle request https://gateway.example --device agent --key device.pem --pin gateway.jwks \\
      --agent agt_01 --scope calendar:read
  signet bundle status agent --tool calendar:read
  signet bundle refresh agent
  signet sync agent

A device is a folder: device.json (which key, and whose bundles count), state (sealed), log (what it did).
A request prints a link; whoever opens it and approves gives the device its bundle. The agent must be registered with
${REDIRECT} at the server. pull gets a bundle that was given before.
The pinned keys decide whom the device believes: get them over a way you trust.`

/** The group. */
export function bundleCommands(context: CliContext): Command {
  const bundle = group(
    context,
    'bundle',
    'get what a device takes offline, look at it, and renew it',
  )
    .addHelpText('after', EXAMPLES)
  withObtain(bundle.command('request'))
    .description('ask for authority, have somebody decide in a browser, and keep the bundle')
    .argument('<server>', "the server's URL")
    .requiredOption('--agent <id>', 'the agent, as it is registered at the server')
    .option('--redirect <uri>', 'where the answer comes, as registered', REDIRECT)
    .option('--scope <name>', 'a tool that may be called with any arguments', several)
    .option('--capability <file>', 'tools with constraints on their arguments, as JSON')
    .option('--limits <file>', 'how often, how much, with whose approval, as JSON')
    .option('--lifetime <time>', 'how long it is valid: seconds, or 30m, 12h, 7d', duration)
    .option('--offline-age <time>', 'how long without contact; default: the server says', duration)
    .option('--depth <n>', 'how often it may be passed on', wholeNumber)
    .option('--audience <uri>', 'for whom', several)
    .option('--principal <name>', 'who is to be asked')
    .action(action(context, request))
  withObtain(bundle.command('pull'))
    .description('get the bundle of a device key, verify it, and keep it')
    .argument('<server>', "the server's URL, or with --file its name, as in bundles")
    .option('--bundle <id>', 'which, if the key has several')
    .option('--file <file>', 'take the bundle from a file, without a network')
    .action(action(context, pull))
  withDevice(bundle.command('status'))
    .description('say all that speaks for or against acting now; exit code 0: nothing does against')
    .argument('<dir>', 'folder of the device')
    .option('--tool <name>', 'judge for this tool')
    .action(action(context, status))
  withDevice(bundle.command('refresh'))
    .description('have the server make the next bundle, and keep it')
    .argument('<dir>', 'folder of the device')
    .action(action(context, refresh))
  withServersBundles(context, bundle)
  return bundle
}

/** Adds the flags of commands that get a bundle. */
function withObtain(command: Command): Command {
  return withAnchor(withKeys(command))
    .requiredOption('--device <dir>', 'folder of the device, made if need be')
    .option('--key <uri>', "the device's Ed25519 key; needed the first time")
    .option(
      '--pin <file>',
      "the server's public keys: PEM, JWK, JWKS or keyset; needed the first time",
    )
    .option('--kek <uri>', 'what seals the state; default: made of the device key')
}

async function request(run: Run, flags: RequestFlags, server: string): Promise<void> {
  await obtain(
    run,
    flags,
    server,
    (key, issuer) => requested(run, key, issuer, flags),
    (device) => answer(run, device.report(), device),
  )
}

interface PullFlags extends ObtainFlags {
  readonly bundle?: string
  readonly file?: string
}

async function pull(run: Run, flags: PullFlags, server: string): Promise<void> {
  await obtain(
    run,
    flags,
    server,
    (key, issuer) => bundleFor(run, key, issuer, flags),
    (device) => answer(run, device.report(), device),
  )
}

async function bundleFor(
  run: Run,
  key: Key,
  server: string,
  { bundle: id, file }: PullFlags,
): Promise<PulledBundle | { readonly file: string }> {
  if (file !== undefined) {
    return { file: fromUtf8(await run.backends.readFile(file, MAX_BUNDLE_LENGTH), file).trim() }
  }
  const { signal } = run
  if (id !== undefined) {
    const pulled = await pullBundle(key, `${server}/bundles/${encodeURIComponent(id)}`, { signal })
    if (pulled.bundle !== undefined) return pulled
    throw new SignetError('bundle_revoked', 'the server does not give this bundle out any more')
  }
  const all = await listBundles(key, server, { signal })
  const active = all.filter(({ bundle }) => bundle !== undefined)
  if (active.length === 1) return active[0]!
  throw new SignetError(
    active.length === 0 ? 'device_unenrolled' : 'usage_invalid',
    active.length === 0
      ? 'the server has no bundle for this key'
      : `the server has ${active.length} bundles for this key`,
    {
      remedy: active.length === 0
        ? 'have a request of this device approved first'
        : `name one: --bundle ${active.map((one) => printable(one.id)).join(', --bundle ')}`,
    },
  )
}

async function status(
  run: Run,
  flags: DeviceFlags & { readonly tool?: string },
  folder: string,
): Promise<number> {
  const config = await configOf(run, folder)
  return await withParts(run, folder, config, flags, async (options) => {
    try {
      return await opened(
        options,
        run,
        // deno-lint-ignore require-await -- the work is of a kind that may wait
        async (device) => answer(run, device.report(flags.tool), device),
      )
    } catch (error) {
      if (!isRunning(error)) throw error
      return await peek(run, options, flags.tool)
    }
  })
}

async function peek(
  run: Run,
  options: FolderOptions,
  tool: string | undefined,
): Promise<number> {
  run.say('the device is in use: this is by its state, without the newest of its log')
  const { report, bundle, acknowledged } = await comparing(
    run,
    options,
    () => peekDevice({ ...options, tool }),
  )
  return answer(run, report, { bundle, acknowledged })
}

async function refresh(run: Run, flags: DeviceFlags, folder: string): Promise<number> {
  const config = await configOf(run, folder)
  return await withParts(
    run,
    folder,
    config,
    flags,
    (options) =>
      opened(options, run, async (device) => {
        await refreshDevice(device, { signal: run.signal })
        return answer(run, device.report(), device)
      }),
  )
}

interface Shown {
  readonly bundle: VerifiedBundle | undefined
  readonly acknowledged: AcknowledgedHead | undefined
  readonly grant?: Device['grant']
  readonly log?: Device['log']
}

/** Shows a report; gives the exit code that its worst finding stands for. */
function answer(
  run: Run,
  report: OfflineReport,
  { bundle, acknowledged, grant, log }: Shown,
): number {
  const { ok, worst, findings } = report
  const lines = findings.map(({ code, message }) => `  ${printable(message)} [${code}]`)
  const facts = bundle === undefined ? [] : [
    `bundle ${printable(bundle.id)}, generation ${bundle.generation}, from ${
      printable(bundle.issuer)
    }`,
    `offline until ${
      day(bundle.expiresAt)
    }, ${bundle.offline.maxAge} s since the last contact at most`,
    ...grant === undefined ? [] : [`may use: ${grant.tools.map(printable).join(', ')}`],
    `log: ${log === undefined ? '' : `${log.size} entries, `}${
      acknowledged?.size ?? 0
    } at the server`,
  ]
  run.answer({
    ok,
    worst: worst?.code,
    findings,
    bundle: bundle && {
      id: bundle.id,
      issuer: bundle.issuer,
      generation: bundle.generation,
      issued_at: bundle.issuedAt,
      expires_at: bundle.expiresAt,
      sync: bundle.sync,
    },
    tools: grant?.tools,
    log: { size: log?.size, acknowledged: acknowledged?.size ?? 0 },
  }, [ok ? 'may act' : 'may not act:', ...lines, ...facts].join('\n'))
  return worst === undefined ? 0 : EXIT_CODES[ERROR_KINDS[worst.code]]
}
