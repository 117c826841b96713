/** How a device gets bundles from its server. */
import { SignetError } from '../errors.ts'
import { isObject, type JsonValue, parseJson } from '../json.ts'
import type { Key } from '../keys/mod.ts'
import type { Device } from './device.ts'
import type { ServerContact } from './device_parts.ts'
import { type DeviceAnswer, deviceHttp, type DeviceHttpOptions } from './device_http.ts'

/** A bundle as the server gave it. Not verified: `Device.heard` does. */
export interface PulledBundle {
  /** The bundle; undefined if it does not count any more. */
  readonly bundle: string | undefined
  /** What the server says of its end. */
  readonly revoked: ServerContact['revoked']
  /** The server's clock, seconds since 1970. */
  readonly serverTime: number | undefined
}

/** Gets the newest bundle without asking for another one to be made. Errors: those of `DeviceHttp.request`. */
export async function pullBundle(
  key: Key,
  url: string,
  options: DeviceHttpOptions = {},
): Promise<PulledBundle> {
  return readBundle(await deviceHttp(key, options).request('GET', url))
}

/**
 * All bundles of a key at a server, those among them that do not count any more without a token. Errors: those of
 * `DeviceHttp.request`; `sync_malformed`.
 */
export async function listBundles(
  key: Key,
  server: string,
  options: DeviceHttpOptions = {},
): Promise<readonly (PulledBundle & { readonly id: string })[]> {
  const url = `${server.replace(/\/$/, '')}/bundles`
  const { body, serverTime } = await deviceHttp(key, options).request('GET', url)
  const value = parseJson(body, { what: 'answer of the server' })
  const bundles = isObject(value) ? value.bundles : undefined
  if (!Array.isArray(bundles)) {
    throw new SignetError('sync_malformed', 'the answer of the server holds no bundles')
  }
  return bundles.map((one: JsonValue) => {
    const id = isObject(one) && typeof one.bundle_id === 'string' ? one.bundle_id : ''
    return { id, ...bundleOf(one, serverTime) }
  })
}

/**
 * Has the server make the next bundle, and takes it in. What waits in the log need not be sent first. Errors: those of
 * `DeviceHttp.request` and `Device.heard`; `bundle_revoked`.
 */
export async function refreshDevice(
  device: Device,
  options: DeviceHttpOptions = {},
): Promise<void> {
  const { bundle } = device
  if (bundle === undefined) {
    throw new SignetError('device_unenrolled', 'the device has no bundle to refresh')
  }
  const http = deviceHttp(device.key, { now: () => device.now, ...options })
  const pulled = readBundle(await http.request('POST', `${bundle.sync}/refresh`))
  await device.heard({
    about: bundle.id,
    bundle: pulled.bundle,
    revoked: pulled.revoked,
    serverTime: pulled.serverTime,
  })
  if (pulled.bundle === undefined) {
    throw new SignetError('bundle_revoked', 'the server does not give this bundle out any more')
  }
}

function readBundle({ body, serverTime }: DeviceAnswer): PulledBundle {
  return bundleOf(parseJson(body, { what: 'answer of the server' }), serverTime)
}

function bundleOf(value: JsonValue, serverTime: number | undefined): PulledBundle {
  if (isObject(value)) {
    const { bundle, status } = value
    const told = isObject(status) ? status : {}
    const revoked = told.state === undefined || told.state === 'active' ? undefined : {
      at: typeof told.at === 'number' ? told.at : undefined,
      reason: typeof told.reason === 'string' ? told.reason : undefined,
    }
    if (typeof bundle === 'string') return { bundle, revoked, serverTime }
    if (revoked !== undefined) return { bundle: undefined, revoked, serverTime }
  }
  throw new SignetError('sync_malformed', 'the answer of the server holds no bundle')
}
