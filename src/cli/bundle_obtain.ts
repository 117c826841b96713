/** How a device gets its bundle, wherever it comes from: into a folder that remembers its key and its server. */
import { resolve } from 'node:path'
import { SignetError } from '../errors.ts'
import type { Device, PulledBundle } from '../grants/mod.ts'
import type { Key } from '../keys/mod.ts'
import type { Run } from './context.ts'
import {
  type DeviceFlags,
  opened,
  pinned,
  readConfig,
  withParts,
  writeConfig,
} from './device_folder.ts'

/** Flags of commands that get a bundle. */
export interface ObtainFlags extends DeviceFlags {
  readonly device: string
  readonly pin?: string
  readonly kek?: string
}

/** Gets a bundle for the device of a folder, has the device verify and keep it, and works with the device. */
export async function obtain<T>(
  run: Run,
  flags: ObtainFlags,
  server: string,
  from: (key: Key, issuer: string) => Promise<PulledBundle | { readonly file: string }>,
  work: (device: Device) => T,
): Promise<T> {
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
  const config = {
    key,
    kek: flags.kek ?? before?.kek,
    // Commands may be given elsewhere, and would look for another file there, find none, and compare with nothing.
    anchor: flags.anchor === undefined ? before?.anchor : resolve(flags.anchor),
    trusted,
  }
  return await withParts(run, folder, config, flags, async (options, opening) => {
    const pulled = await from(opening, issuer)
    return await opened(options, run, async (device) => {
      if ('file' in pulled) await device.enroll(pulled.file)
      else await device.heard(pulled)
      await writeConfig(run, folder, config)
      return work(device)
    })
  })
}
