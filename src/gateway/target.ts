/**
 * Where a server may be sent by somebody else's word: to public places over TLS, never into the network that it stands
 * in (CWE-918). A name is judged here, and the addresses that it turns out to have by whoever connects.
 */
import { SignetError } from '../errors.ts'

/** Options of {@link checkTarget}. */
export interface TargetOptions {
  /** This machine may be called, and in the clear. For tests: whatever else runs here can be reached. */
  readonly insecureLoopback?: boolean | undefined
}

const MAX_URL = 2048
/** Names for inside (RFC 6761, RFC 6762, RFC 8375, and those that ICANN has set aside). */
const INSIDE = /(^|\.)(localhost|local|localdomain|internal|intranet|private|corp|home|lan|arpa)$/
const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/

/** IPv4 blocks that are not the public internet: IANA's special-purpose registry (RFC 6890), multicast, reserved. */
const CLOSED_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
]
/** IPv6: of 2000::/3, all that is given out, what leads elsewhere (Teredo, 6to4) or is for documents. */
const CLOSED_V6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

/**
 * The URL of a target. Errors: `usage_invalid`: no URL, too long, not `https:`, with a user name or a fragment, or a
 * host that is not public by its name.
 */
export function checkTarget(text: string, options: TargetOptions = {}): URL {
  const url = text.length <= MAX_URL ? URL.parse(text) : null
  if (url === null) throw refused('it is no URL, or a very long one')
  if (url.username !== '' || url.password !== '') throw refused('it holds a user name or password')
  if (url.hash !== '') throw refused('it has a fragment')
  if (options.insecureLoopback === true && LOOPBACK.test(url.hostname)) {
    if (url.protocol === 'http:' || url.protocol === 'https:') return url
  }
  if (url.protocol !== 'https:') throw refused('it is not https:')
  if (!isPublicHost(url.hostname)) throw refused('its host is not a public one')
  return url
}

/** The addresses of a target may differ from what its name says: whoever connects asks of each. */
export function isPublicAddress(address: string): boolean {
  const bits = bitsOf(address)
  if (bits === undefined) return false
  const within = ([block, length]: readonly [string, number]) =>
    bitsOf(block)!.slice(0, length) === bits.slice(0, length)
  return bits.length === 32
    ? !CLOSED_V4.some(within)
    : within(['2000::', 3]) && !CLOSED_V6.some(within)
}

/** True for an address of this machine. */
export function isLoopbackAddress(address: string): boolean {
  const bits = bitsOf(address)
  return bits === bitsOf('::1') || bits?.length === 32 && bits.startsWith('01111111')
}

function isPublicHost(host: string): boolean {
  // What ends in a number is an address (WHATWG URL §3.5), so in other notations too, and was written anew by the parser.
  if (host.startsWith('[')) return isPublicAddress(host.slice(1, -1))
  if (/(^|\.)[0-9]+\.?$/.test(host)) return isPublicAddress(host.replace(/\.$/, ''))
  const name = host.replace(/\.$/, '')
  return name.includes('.') && !host.includes('..') && !INSIDE.test(name)
}

/** 32 or 128 zeros and ones; undefined for what is no address. */
function bitsOf(address: string): string | undefined {
  const binary = (numbers: number[], width: number) =>
    numbers.map((number) => number.toString(2).padStart(width, '0')).join('')
  if (/^[0-9]{1,3}(\.[0-9]{1,3}){3}$/.test(address)) {
    const bytes = address.split('.').map(Number)
    return bytes.every((byte) => byte <= 255) ? binary(bytes, 8) : undefined
  }
  // The parser of URLs knows all ways to write IPv6, and leaves one. It takes no zone (`%eth0`).
  const host = address.includes(':') ? URL.parse(`http://[${address}]/`)?.hostname : undefined
  if (host === undefined) return undefined
  const [head = '', tail] = host.slice(1, -1).split('::')
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => parseInt(group, 16))
  const [left, right] = [groups(head), groups(tail ?? '')]
  return binary([...left, ...Array(8 - left.length - right.length).fill(0), ...right], 16)
}

function refused(why: string): SignetError {
  return new SignetError('usage_invalid', `this is no place to send to: ${why}`, {
    remedy: 'give an https: URL of a public host',
  })
}
