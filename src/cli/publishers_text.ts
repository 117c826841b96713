/** A list of publishers for people and for programs. */
import type { KeysetMember } from '../keys/mod.ts'
import type { PublishersDocument } from '../models/mod.ts'
import { printable, table } from './text.ts'

/** The report of a list. */
export function listToJson(document: PublishersDocument): Record<string, unknown> {
  const { name, version, issued, expires, threshold, owners, publishers } = document
  return {
    name,
    version,
    issued: isoDate(issued),
    expires: isoDate(expires),
    threshold,
    owners: owners.map(keyToJson),
    publishers: publishers.map(({ name, members, roots }) => ({
      name,
      keys: members.map(keyToJson),
      roots: roots.length,
    })),
  }
}

function keyToJson({ key, status, notBefore, notAfter, revokedAt }: KeysetMember) {
  return {
    id: key.id,
    algorithm: key.algorithm.name,
    status,
    notBefore: isoDate(notBefore),
    notAfter: isoDate(notAfter),
    revokedAt: isoDate(revokedAt),
  }
}

/** The list in words: what it is, who owns it, who is in it. */
export function listText(document: PublishersDocument): string {
  const { name, version, issued, expires, threshold, owners, publishers } = document
  const rows = [
    ...owners.map((owner) => ['owner', '', ...keyCells(owner)]),
    ...publishers.flatMap(({ name, members, roots }) => [
      ...members.map((member) => ['publisher', printable(name), ...keyCells(member)]),
      ...roots.map(() => ['publisher', printable(name), '(root certificate)', '', '']),
    ]),
  ]
  const until = expires === undefined ? '' : `, believed until ${isoDate(expires)}`
  const many = threshold === undefined || threshold === 1
    ? ''
    : `\n${threshold} different publishers must seal a model`
  return `${printable(name)}, version ${version} of ${isoDate(issued)}${until}${many}\n` +
    table(rows)
}

function keyCells({ key, status, notBefore, notAfter, revokedAt }: KeysetMember): string[] {
  const when = status === 'revoked' ? [`revoked ${isoDate(revokedAt)}`] : [
    notBefore === undefined ? '' : `from ${isoDate(notBefore)}`,
    notAfter === undefined ? '' : `until ${isoDate(notAfter)}`,
  ]
  return [key.id, key.algorithm.name, when.join(' ').trim()]
}

/** Seconds since 1970 as ISO 8601; dates end at 8.64e12 seconds. */
function isoDate(at: number | undefined): string | undefined {
  if (at === undefined) return undefined
  return at > 8.64e12 ? `second ${at}` : new Date(at * 1000).toISOString()
}
