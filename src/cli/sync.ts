/** `signet sync`: sends a device's log to its server, and hears what is new. */
import { Command } from 'commander'
import { syncDevice } from '../grants/mod.ts'
import { action, EXIT_CODES, wholeNumber } from './command.ts'
import type { CliContext, Run } from './context.ts'
import { configOf, type DeviceFlags, opened, withDevice, withParts } from './device_folder.ts'
import { printable } from './text.ts'

/** The command. */
export function syncCommand(context: CliContext): Command {
  const { out, err } = context.terminal
  return withDevice(new Command('sync'))
    .description("send a device's log to its server, and hear what is new")
    .argument('<dir>', 'folder of the device')
    .option('--attempts <n>', 'how often a request is made before it is given up', wholeNumber, 6)
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: err })
    .action(action(context, sync))
}

async function sync(
  run: Run,
  flags: DeviceFlags & { readonly attempts: number },
  folder: string,
): Promise<number> {
  const config = await configOf(run, folder)
  return await withParts(
    run,
    folder,
    config,
    flags,
    (options) =>
      opened(options, run, async (device) => {
        const result = await syncDevice(device, {
          signal: run.signal,
          attempts: Math.max(1, flags.attempts),
          onProgress: (done, size) => run.say(`${done} of ${size} entries are at the server`),
        })
        const { acknowledged, sent, verdicts, status, refreshed } = result
        const found = verdicts.map(({ index, code }) => `  entry ${index}: ${printable(code)}`)
        const why = status.reason === undefined ? '' : `: ${printable(status.reason)}`
        const lines = [
          `${sent} entries sent, ${acknowledged} at the server`,
          ...found.length === 0 ? [] : ['the server finds fault with:', ...found],
          ...refreshed
            ? [`a newer bundle came along: generation ${device.bundle?.generation}`]
            : [],
          ...status.state === 'revoked' ? [`the bundle was revoked${why}`] : [],
        ]
        run.answer({ ok: status.state === 'active', ...result }, lines.join('\n'))
        return status.state === 'active' ? 0 : EXIT_CODES.policy
      }),
  )
}
