/**
 * A device as a folder: `device.json` says which key and whose bundles count, `state` is what it remembers, sealed, and
 * `log` what it did. Elsewhere lies an anchor, which tells when the whole folder was put back.
 */
import type { Command } from 'commander'
import * as v from 'valibot'
import { utf8 } from '../bytes.ts'
import { type ErrorCode, isSignetError, SignetError } from '../errors.ts'
import {
  type Device,
  openDevice,
  type OpenDeviceOptions,
  type TrustedIssuer,
} from '../grants/mod.ts'
import { canonicalize, type JsonObject, parseJson } from '../json.ts'
import { fromJwk, type Key, publicKey } from '../keys/mod.ts'
import type { LogAnchor } from '../log/mod.ts'
import { conform } from '../schema.ts'
import { withKeys } from './command.ts'
import type { CommonFlags, Run } from './context.ts'
import { openPublic } from './public_side.ts'
import { printable } from './text.ts'

const MAX_CONFIG = 2 ** 20

/** What comparing a log with its anchor says. */
const COMPARED: readonly ErrorCode[] = [
  'log_rolled_back',
  'log_forked',
  'log_replaced',
  'proof_malformed',
  'proof_invalid',
]

const ConfigSchema = v.strictObject({
  format: v.literal('signet-device-v1'),
  key: v.string(),
  kek: v.optional(v.string()),
  anchor: v.optional(v.string()),
  issuer: v.string(),
  keys: v.array(v.record(v.string(), v.unknown())),
})

/** What `device.json` holds. */
export interface DeviceConfig {
  /** The device's key. */
  readonly key: string
  /** What seals its state; absent: the key itself. */
  readonly kek?: string | undefined
  /** The file of the log's anchor; absent: where this machine keeps those of its devices. */
  readonly anchor?: string | undefined
  /** Whose bundles count, and under which keys. */
  readonly trusted: TrustedIssuer
}

/** Flags of commands on a device's folder. */
export interface DeviceFlags extends CommonFlags {
  readonly key?: string
  readonly anchor?: string
}

/** Adds the flags of a command on a device's folder. */
export function withDevice(command: Command): Command {
  return withAnchor(withKeys(command))
    .option('--key <uri>', "the device's key; default: as it was pulled with")
}

/** Adds the flag that says where the log's anchor is. */
export function withAnchor(command: Command): Command {
  return command.option(
    '--anchor <file>',
    "keep the log's newest checkpoint there, and compare with it first; default: in the user's state, away from the device",
  )
}

/** The configuration in a folder; undefined if there is none. Errors: `device_state_malformed`. */
export async function readConfig(run: Run, folder: string): Promise<DeviceConfig | undefined> {
  const path = configPath(folder)
  if (!await run.backends.exists(path)) return undefined
  const json = parseJson(await run.backends.readFile(path, MAX_CONFIG), { what: path })
  const config = conform(ConfigSchema, json, 'device_state_malformed', path)
  const { key, kek, anchor, issuer, keys } = config
  return { key, kek, anchor, trusted: { issuer, keys: await Promise.all(keys.map(keyOf)) } }
}

/** Writes the configuration. */
export async function writeConfig(run: Run, folder: string, config: DeviceConfig): Promise<void> {
  const { key, kek, anchor, trusted: { issuer, keys } } = config
  const text = canonicalize({
    format: 'signet-device-v1',
    key,
    kek,
    anchor,
    issuer,
    keys: keys.map(({ jwk }) => ({ ...jwk })),
  })
  await run.backends.writeFile(configPath(folder), utf8(text + '\n'), {
    overwrite: true,
    mode: 0o600,
  })
}

function configPath(folder: string): string {
  return `${folder.replace(/(?<=.)\/$/, '')}/device.json`
}

async function keyOf(jwk: Record<string, unknown>) {
  const { algorithm, publicKey: raw } = fromJwk(jwk as JsonObject)
  return await publicKey(algorithm, raw)
}

/** The keys of a `--pin`, for an issuer. */
export async function pinned(run: Run, issuer: string, file: string): Promise<TrustedIssuer> {
  const side = await openPublic(run, file)
  const keys = 'keys' in side
    ? side.keys
    : side.keyset.members.filter(({ status }) => status !== 'revoked').map(({ key }) => key)
  return { issuer, keys }
}

/** What a device of a folder is opened with. */
export interface FolderOptions extends OpenDeviceOptions {
  readonly anchor: LogAnchor & { readonly path: string }
}

/** Says with which anchor a log was compared, where that may have gone wrong. */
export async function comparing<T>(
  run: Run,
  { anchor }: FolderOptions,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isSignetError(error, ...COMPARED)) {
      run.say(`the anchor of the log is ${printable(anchor.path)}`)
    }
    throw error
  }
}

/** Opens what a device is made of, does some work with it, and closes all that was opened. */
export async function withParts<T>(
  run: Run,
  folder: string,
  config: DeviceConfig,
  flags: DeviceFlags,
  work: (options: FolderOptions, key: Key) => Promise<T>,
): Promise<T> {
  const ring = await run.keyring()
  const key = await ring.open(flags.key ?? config.key, { signal: run.signal })
  try {
    const file = flags.anchor ?? config.anchor
    const anchor = await run.backends.deviceAnchor(
      file === undefined ? { device: key.publicKey.id, issuer: config.trusted.issuer } : { file },
    )
    const kek = config.kek === undefined ? undefined : await ring.openKek(config.kek)
    try {
      return await work({
        key,
        kek,
        storage: await run.backends.deviceStorage(`${folder}/state`),
        log: await run.backends.logStorage(`${folder}/log`),
        anchor,
        trusted: [config.trusted],
        sha256: await run.backends.sha256(),
        onFault: (error) => run.say(`warning: ${printable((error as Error).message)}`),
      }, key)
    } finally {
      await kek?.close()
    }
  } finally {
    await key.close()
  }
}

/** Opens a device for writing, and closes it whatever happens. */
export async function opened<T>(
  options: FolderOptions,
  run: Run,
  work: (device: Device) => Promise<T>,
): Promise<T> {
  const device = await comparing(run, options, () => openDevice(options))
  try {
    if (device.torn) run.say('the newest state was torn; the one before it is used')
    if (device.unresolved.length > 0) {
      run.say(`${device.unresolved.length} actions had begun, and nobody knows how they ended`)
    }
    return await work(device)
  } finally {
    await device.close()
  }
}

/** The configuration of a folder that has to have one. Errors: `device_unenrolled`. */
export async function configOf(run: Run, folder: string): Promise<DeviceConfig> {
  const config = await readConfig(run, folder)
  if (config !== undefined) return config
  throw new SignetError('device_unenrolled', `there is no device in ${folder}`, {
    where: folder,
    remedy: 'make one: signet bundle pull SERVER --device DIR --key URI --pin FILE',
  })
}

/** True for the error of a log that a running agent has. */
export function isRunning(error: unknown): boolean {
  return isSignetError(error, 'log_locked')
}
