/**
 * One verifier over the whole bundle. What can be known once is found when the bundle is opened: signatures,
 * the chain, whose it all is, which links are revoked. What changes while time goes by is judged at each call, and
 * costs microseconds. Nothing is answered by the first thing that fails: a report lists all that speaks against
 * acting, each with its code, and the worst decides.
 */
import { type ErrorCode, isSignetError, quoted, SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import { openBundle, type VerifiedBundle } from './bundle.ts'
import { thumbprintUri } from './holder_key.ts'
import type { LinkStatus } from './authorize.ts'
import type { StatusRef } from './claims.ts'
import { checkStatusListAge, openStatusList, type VerifiedStatusList } from './status_list.ts'
import type { VerifiedGrant } from './verified.ts'
import { type TrustedIssuer, verifyGrant } from './verify.ts'

/** Something that speaks against acting. */
export interface OfflineFinding {
  /** What. */
  readonly code: ErrorCode
  /** The same for people. */
  readonly message: string
  /** Which part: a status list, a link of the grant. */
  readonly where?: string | undefined
}

/** What {@link OfflineAuthority.judge} found. */
export interface OfflineReport {
  /** True if nothing speaks against acting. */
  readonly ok: boolean
  /** What decides, if anything speaks against it. */
  readonly worst: OfflineFinding | undefined
  /** All that speaks against it, worst first. */
  readonly findings: readonly OfflineFinding[]
  /** The time that was judged by, seconds since 1970: never before the newest time that was seen. */
  readonly time: number
}

/** What the device knows besides its bundle. Times are seconds since 1970. */
export interface OfflineSituation {
  /** What the clock says. */
  readonly now: number
  /** The newest time that was ever seen. */
  readonly highWater: number
  /** When the server was heard last; the making of the bundle counts in any case. */
  readonly lastContact?: number | undefined
  /** Since when entries of the log wait for the server's acknowledgement; undefined: none does. */
  readonly waitingSince?: number | undefined
  /** The newest generation of the bundle that was ever seen. */
  readonly newestGeneration?: number | undefined
  /** The server said that it is over. */
  readonly revoked?: { readonly reason?: string | undefined } | undefined
  /** What the device found when it was opened. */
  readonly found?: readonly OfflineFinding[] | undefined
}

/** From the worst on. What is not here is worse than all of these: a signature, an issuer, a form. */
const SEVERITY: readonly ErrorCode[] = [
  'offline_audience',
  'grant_holder',
  'device_state_rolled_back',
  'bundle_rolled_back',
  'bundle_revoked',
  'grant_revoked',
  'grant_suspended',
  'status_unknown',
  'status_list_missing',
  'status_list_foreign',
  'clock_set_back',
  'bundle_early',
  'grant_not_yet_valid',
  'status_list_early',
  'grant_expired',
  'bundle_expired',
  'keys_expired',
  'status_list_expired',
  'status_list_stale',
  'contact_too_old',
  'tool_contact_too_old',
  'checkpoint_stale',
]

/** Options of {@link openOffline}. */
export interface OpenOfflineOptions {
  /** Whose bundles count. */
  readonly trusted: readonly TrustedIssuer[]
  /** The key of this device. */
  readonly device: PublicKey
  /** Who this device is in the eyes of grants that name an audience. Default: the thumbprint URI of its key. */
  readonly audience?: string | undefined
}

/** A bundle with all its parts verified. Only {@link openOffline} makes one. */
export class OfflineAuthority {
  /** The bundle. */
  readonly bundle: VerifiedBundle
  /** The grant; undefined where it does not verify. */
  readonly grant: VerifiedGrant | undefined
  readonly #lists: ReadonlyMap<string, VerifiedStatusList>
  readonly #lasting: readonly OfflineFinding[]

  /** Called by {@link openOffline} alone. */
  constructor(
    bundle: VerifiedBundle,
    grant: VerifiedGrant | undefined,
    lists: ReadonlyMap<string, VerifiedStatusList>,
    lasting: readonly OfflineFinding[],
  ) {
    this.bundle = bundle
    this.grant = grant
    this.#lists = lists
    this.#lasting = lasting
  }

  /** What was found when the bundle was opened, and time cannot change. */
  get lasting(): readonly OfflineFinding[] {
    return this.#lasting
  }

  /** What the bundle's lists say of a link, whatever their age. */
  statusOf({ uri, idx }: StatusRef): LinkStatus {
    const list = this.#lists.get(uri)
    if (list === undefined || idx >= list.size) return 'unknown'
    const verdict = list.verdict(idx)
    return verdict === 'invalid' ? 'revoked' : verdict
  }

  /**
   * What speaks against acting now, with a tool if one is given. Whether the grant allows the tool and its
   * arguments is NOT judged here: `grant.check` does.
   */
  judge(situation: OfflineSituation, tool?: string): OfflineReport {
    const { bundle, grant } = this
    const { skew, maxAge, perTool } = bundle.offline
    const { now, highWater, revoked } = situation
    const time = Math.max(now, highWater)
    const findings = [...this.#lasting, ...situation.found ?? []]
    const add = (code: ErrorCode, message: string, where?: string) =>
      findings.push(where === undefined ? { code, message } : { code, message, where })

    if (!(now >= highWater - skew)) {
      const by = Math.round(highWater - now)
      add('clock_set_back', `the clock is ${by} s behind the newest time that was seen`)
    }
    if (revoked !== undefined) add('bundle_revoked', 'the server has revoked the bundle')
    const newest = situation.newestGeneration ?? 0
    if (bundle.generation < newest) {
      add('bundle_rolled_back', `the bundle is generation ${bundle.generation}, ${newest} was seen`)
    }

    if (bundle.issuedAt > time + skew) add('bundle_early', 'the bundle is from the future')
    if (time >= bundle.expiresAt + skew) add('bundle_expired', 'the time of being offline is over')
    if (time >= bundle.keysExpireAt + skew) {
      add('keys_expired', 'the snapshot of the issuer’s keys has expired')
    }
    if (grant !== undefined) {
      if (grant.issuedAt > time + skew) add('grant_not_yet_valid', 'the grant is from the future')
      if (time >= grant.expiresAt) add('grant_expired', 'the grant has expired')
    }
    for (const list of this.#lists.values()) {
      try {
        checkStatusListAge(list, { now: time, skew, maxAge })
      } catch (error) {
        findings.push(findingOf(error, list.uri))
      }
    }

    const contact = Math.max(bundle.issuedAt, situation.lastContact ?? 0)
    if (time - contact > maxAge + skew) {
      add(
        'contact_too_old',
        `the server was heard ${age(time - contact)} ago, more than ${maxAge} s`,
      )
    }
    if (tool !== undefined) {
      const own = perTool !== undefined && Object.hasOwn(perTool, tool) ? perTool[tool]! : Infinity
      const ceiling = Math.min(own, grant?.offlineMaxAge(tool) ?? Infinity)
      if (time - contact > ceiling + skew) {
        add(
          'tool_contact_too_old',
          `tool ${quoted(tool)} needs a contact of the last ${ceiling} s; it is ${
            age(time - contact)
          } ago`,
        )
      }
    }
    const { waitingSince } = situation
    if (waitingSince !== undefined && time - waitingSince > maxAge + skew) {
      add('checkpoint_stale', `the log waits to be synced for ${age(time - waitingSince)}`)
    }
    if (findings.length > 1) findings.sort((a, b) => rank(a) - rank(b))
    return { ok: findings.length === 0, worst: findings[0], findings, time }
  }
}

/** Whether a finding is about whose a thing is, or who signed it, and not about time or revocation. */
export function isForged({ code }: OfflineFinding): boolean {
  return SEVERITY.indexOf(code) < SEVERITY.indexOf('device_state_rolled_back')
}

function rank({ code }: OfflineFinding): number {
  return SEVERITY.indexOf(code)
}

function age(seconds: number): string {
  return `${Math.round(seconds)} s`
}

/**
 * Opens a bundle and verifies all in it that does not depend on the time. Of the bundle itself it throws
 * what `openBundle` throws; what is wrong inside of it becomes part of each report.
 */
export async function openOffline(
  token: string,
  options: OpenOfflineOptions,
): Promise<OfflineAuthority> {
  const { trusted, device } = options
  const bundle = await openBundle(token, trusted)
  const findings: OfflineFinding[] = []
  if (bundle.device.id !== device.id) {
    findings.push({
      code: 'offline_audience',
      message: 'the bundle is for the key of another device',
    })
  }
  const lists = await openLists(bundle, findings)
  const grant = await openGrant(bundle, options.audience ?? thumbprintUri(device), findings)
  if (grant !== undefined && grant.holder.id !== device.id) {
    findings.push({ code: 'grant_holder', message: 'the grant is held by another key' })
  }
  for (const { status, jti } of grant?.links ?? []) {
    if (status === undefined) continue
    const finding = statusFinding(lists.get(status.uri), status, `token ${quoted(jti)}`)
    if (finding !== undefined) findings.push(finding)
  }
  return new OfflineAuthority(bundle, grant, lists, findings)
}

/** The lists of a bundle by their address; of two for one address the newer. */
async function openLists(
  bundle: VerifiedBundle,
  findings: OfflineFinding[],
): Promise<Map<string, VerifiedStatusList>> {
  const lists = new Map<string, VerifiedStatusList>()
  for (const [i, token] of bundle.statusLists.entries()) {
    const where = `status list ${i}`
    try {
      const list = await openStatusList(token, bundle.keys)
      if (list.issuer !== undefined && list.issuer !== bundle.issuer) {
        const message = 'the status list is of another issuer'
        findings.push({ code: 'status_list_foreign', message, where })
      }
      const known = lists.get(list.uri)
      if (known === undefined || known.issuedAt < list.issuedAt) lists.set(list.uri, list)
    } catch (error) {
      findings.push(findingOf(error, where))
    }
  }
  return lists
}

/** Times are judged at each call, so the chain is verified as of its own making. */
async function openGrant(
  bundle: VerifiedBundle,
  audience: string,
  findings: OfflineFinding[],
): Promise<VerifiedGrant | undefined> {
  try {
    const trusted = [{ issuer: bundle.issuer, keys: bundle.keys }]
    const { issuedAt: now, offline: { skew } } = bundle
    return await verifyGrant(bundle.grant, trusted, { audience, now, skew })
  } catch (error) {
    findings.push(findingOf(error, 'grant'))
    return undefined
  }
}

function statusFinding(
  list: VerifiedStatusList | undefined,
  { uri, idx }: { readonly uri: string; readonly idx: number },
  where: string,
): OfflineFinding | undefined {
  if (list === undefined) {
    const message = `the bundle lacks the status list ${quoted(uri)}`
    return { code: 'status_list_missing', message, where }
  }
  try {
    const verdict = list.verdict(idx)
    if (verdict === 'valid') return undefined
    return verdict === 'suspended'
      ? { code: 'grant_suspended', message: `${where} of the grant is suspended`, where }
      : { code: 'grant_revoked', message: `${where} of the grant was revoked`, where }
  } catch (error) {
    return findingOf(error, where)
  }
}

/** A finding of an error of ours; any other is a fault and thrown on. */
export function findingOf(error: unknown, where?: string): OfflineFinding {
  if (!isSignetError(error)) throw error
  return { code: error.code, message: error.message, where: where ?? error.where }
}

/** What {@link verifyOffline} is told besides. */
export interface VerifyOfflineOptions extends OpenOfflineOptions, OfflineSituation {
  /** The tool that is to be used. */
  readonly tool?: string | undefined
}

/** Opens a bundle and judges it in one go. Whatever is wrong is in the report; nothing is thrown. */
export async function verifyOffline(
  token: string,
  options: VerifyOfflineOptions,
): Promise<OfflineReport & { readonly authority?: OfflineAuthority | undefined }> {
  let authority: OfflineAuthority
  try {
    authority = await openOffline(token, options)
  } catch (error) {
    const finding = findingOf(error)
    const time = Math.max(options.now, options.highWater)
    return { ok: false, worst: finding, findings: [finding], time }
  }
  return { ...authority.judge(options, options.tool), authority }
}

/** The error of a report that is not ok. */
export function offlineError({ worst, findings }: OfflineReport): SignetError {
  const { code, message, where } = worst!
  const more = findings.slice(1).map((one) => one.code)
  const text = more.length === 0 ? message : `${message} (also: ${more.join(', ')})`
  return new SignetError(code, text, where === undefined ? {} : { where })
}
