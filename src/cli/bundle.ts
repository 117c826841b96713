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
  type OpenDeviceOptions,
  peekDevice,
  pullBundle,
  type PulledBundle,
  refreshDevice,
  type VerifiedBundle,
} from '../grants/mod.ts'
import type { Key } from '../keys/mod.ts'
import { action, EXIT_CODES, group, withKeys } from './command.ts'
import type { CliContext, Run } from './context.ts'
import {
  configOf,
  type DeviceFlags,
  isRunning,
  opened,
  pinned,
  readConfig,
  withDevice,
  withParts,
  writeConfig,
} from './device_folder.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet keys new --key device.pem --algorithm Ed25519
  signet bundle pull https://gateway.example --device agent --key device.pem --pin gateway.jwks
  signet bundle status agent --tool calendar:read
  signet bundle refresh agent
  signet sync agent

A device is a folder: device.json (which key, and whose bundles count), state (sealed), log (what it did).
The pinned keys decide whom the device believes: get them over a way you trust.`

/** The group. */
export function bundleCommands(context: CliContext): Command {
  const bundle = group(
    context,
    'bundle',
    'get what a device takes offline, look at it, and renew it',
  )
    .addHelpText('after', EXAMPLES)
  withKeys(bundle.command('pull'))
    .description('get the bundle of a device key, verify it, and keep it')
    .argument('<server>', "the server's URL, or with --file its name, as in bundles")
    .requiredOption('--device <dir>', 'folder of the device, made if need be')
    .option('--key <uri>', "the device's Ed25519 key; needed the first time")
    .option(
      '--pin <file>',
      "the server's public keys: PEM, JWK, JWKS or keyset; needed the first time",
    )
    .option('--kek <uri>', 'what seals the state; default: made of the device key')
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
  return bundle
}

interface PullFlags extends DeviceFlags {
  readonly device: string
  readonly pin?: string
  readonly kek?: string
  readonly bundle?: string
  readonly file?: string
}

async function pull(run: Run, flags: PullFlags, server: string): Promise<void> {
  const { device: folder } = flags
  const before = await readConfig(run, folder)
  const issuer = server.replace(/\/$/, '')
  if (before !== undefined && before.trusted.issuer !== issuer) {
    throw new SignetError('usage_invalid', `the device in ${folder} belongs to another server`, {
      remedy: 'give each server a folder of its own',
    })
  }
  const key = flags.key ?? before?.key
  if (key === undefined || flags.pin === undefined && before === undefined) {
    throw new SignetError('usage_invalid', 'the first time, --key and --pin are needed', {
      remedy:
        'make a key with signet keys new, and get the keys of the server over a way you trust',
    })
  }
  const trusted = flags.pin === undefined ? before!.trusted : await pinned(run, issuer, flags.pin)
  const config = { key, kek: flags.kek ?? before?.kek, trusted }
  await withParts(run, folder, config, flags, async (options, opening) => {
    const pulled = await bundleFor(run, opening, issuer, flags)
    await opened(options, run, async (device) => {
      if ('file' in pulled) await device.enroll(pulled.file)
      else await device.heard(pulled)
      await writeConfig(run, folder, config)
      answer(run, device.report(), device)
    })
  })
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
  options: OpenDeviceOptions,
  tool: string | undefined,
): Promise<number> {
  run.say('the device is in use: this is by its state, without its log')
  const { report, bundle, acknowledged } = await peekDevice({ ...options, tool })
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
      iso(bundle.expiresAt)
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

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '')
}
