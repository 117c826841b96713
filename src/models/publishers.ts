/**
 * Publishers: the named keysets that a verifier decided to trust, with the owners who may change that list,
 * and how many different publishers must seal. This file is the list as plain data and the edits that it
 * allows; `publishers_file.ts` signs it and verifies it.
 *
 * All edits are pure: they give a new document. What is revoked stays revoked, from the earliest time named.
 */
import { ALGORITHMS } from '../algorithms.ts'
import { type Bytes, equalBytes, owned, toBase64 } from '../bytes.ts'
import { DerReader, TAG } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { Keyset, KeysetMember, PublicKey } from '../keys/mod.ts'

/** A publisher: whose seals count, and under which name. */
export interface Publisher {
  /** Unique in the list, also when case and Unicode form are disregarded. At most 200 characters. */
  readonly name: string
  /** Its keys. A key belongs to one publisher only: nobody counts twice towards a threshold. */
  readonly members: readonly KeysetMember[]
  /** Root certificates whose certificates seal for it, DER. */
  readonly roots: readonly Bytes[]
}

/** The list, signed or not. Times are seconds since 1970. */
export interface PublishersDocument {
  /** Which list this is: one owner may keep several, and none passes for another. */
  readonly name: string
  /** Counts up; at least 1. */
  readonly version: number
  /** When this version was made. */
  readonly issued: number
  /** Not believed from here on. */
  readonly expires?: number | undefined
  /** Who may sign the next version: members `primary` (may) or `revoked` (may not). */
  readonly owners: readonly KeysetMember[]
  /** How many different publishers must seal a model. Default: one seal by anybody of the list. */
  readonly threshold?: number | undefined
  /** Whose seals count. */
  readonly publishers: readonly Publisher[]
}

/** What {@link newPublishers} starts from. */
export interface NewPublishers {
  /** Name of the list. */
  readonly name: string
  /** Who may sign it, and its next version. */
  readonly owners: readonly PublicKey[]
  /** When it is made, seconds since 1970. */
  readonly issued: number
  /** Not believed from here on. */
  readonly expires?: number | undefined
  /** How many different publishers must seal. */
  readonly threshold?: number | undefined
}

/** Version 1 of a list without publishers. Errors: `publishers_malformed`. */
export function newPublishers(start: NewPublishers): PublishersDocument {
  const { name, owners, issued, expires, threshold } = start
  return checkPublishers({
    name,
    version: 1,
    issued,
    expires,
    owners: owners.map(ownerOf),
    threshold,
    publishers: [],
  })
}

/** What a new version changes besides its number. */
export interface Revision {
  /** When it is made, seconds since 1970. */
  readonly issued: number
  /** New end; default: lasts as long as the version before was meant to. */
  readonly expires?: number | undefined
  /** New threshold; default: as before. */
  readonly threshold?: number | undefined
}

/** The next version of a list, to be edited and signed. Errors: `publishers_malformed`. */
export function revisePublishers(
  document: PublishersDocument,
  revision: Revision,
): PublishersDocument {
  const { issued, threshold = document.threshold } = revision
  const lasts = document.expires === undefined ? undefined : document.expires - document.issued
  const expires = revision.expires ?? (lasts === undefined ? undefined : issued + lasts)
  return checkPublishers({ ...document, version: document.version + 1, issued, expires, threshold })
}

/** The list with one more publisher. Errors: `usage_invalid` (name or key is there already). */
export function addPublisher(
  document: PublishersDocument,
  publisher: Omit<Publisher, 'roots'> & Partial<Publisher>,
): PublishersDocument {
  const { name, members, roots = [] } = publisher
  if (document.publishers.some((one) => one.name === name)) {
    throw new SignetError('usage_invalid', `there is a publisher ${JSON.stringify(name)} already`)
  }
  for (const { key } of members) checkNewKey(document, key)
  // Where a private key lies is nobody else's business.
  const published = members.map((member) => ({ ...member, uri: undefined }))
  return checkPublishers({
    ...document,
    publishers: [...document.publishers, { name, members: published, roots }],
  })
}

/**
 * The list with a keyset as its owner publishes it now: new members are added, revocations and ends of
 * validity taken over. Nothing that is revoked, ended or not yet valid comes back; a member that the keyset
 * has no longer still verifies.
 *
 * Errors: `publishers_malformed` (a key is another publisher's).
 */
export function mergeKeyset(document: PublishersDocument, keyset: Keyset): PublishersDocument {
  const known = document.publishers.find((one) => one.name === keyset.name)
  if (known === undefined) return addPublisher(document, keyset)
  const before = new Map(known.members.map((member) => [member.key.id, member]))
  const members = keyset.members.map((member): KeysetMember => {
    const old = before.get(member.key.id)
    before.delete(member.key.id)
    const revoked = [member, old].filter((one) => one?.status === 'revoked')
    return {
      key: member.key,
      notBefore: extreme(Math.max, member.notBefore, old?.notBefore),
      notAfter: extreme(Math.min, member.notAfter, old?.notAfter),
      ...revoked.length === 0 ? { status: member.status } : {
        status: 'revoked',
        revokedAt: extreme(Math.min, ...revoked.map((one) => one?.revokedAt)),
      },
    }
  })
  const rest = [...before.values()].map((member): KeysetMember =>
    member.status === 'primary' ? { ...member, status: 'verify-only' } : member
  )
  return replace(document, { ...known, members: [...members, ...rest] })
}

function extreme(
  pick: (...values: number[]) => number,
  ...values: readonly (number | undefined)[]
): number | undefined {
  const given = values.filter((value) => value !== undefined)
  return given.length === 0 ? undefined : pick(...given)
}

/** Validity of a key that is added. */
export interface Validity {
  /** Valid from, inclusive; seconds since 1970. */
  readonly notBefore?: number | undefined
  /** Valid until, exclusive. */
  readonly notAfter?: number | undefined
}

/**
 * The list with one more key of a publisher, which is added if need be. Errors: `usage_invalid` (the key is
 * there already, revoked perhaps).
 */
export function addKey(
  document: PublishersDocument,
  name: string,
  key: PublicKey,
  { notBefore, notAfter }: Validity = {},
): PublishersDocument {
  const publisher = document.publishers.find((one) => one.name === name)
  const status = publisher?.members.some((member) => member.status === 'primary')
    ? 'verify-only'
    : 'primary'
  const member: KeysetMember = { key, status, notBefore, notAfter }
  if (publisher === undefined) return addPublisher(document, { name, members: [member] })
  checkNewKey(document, key)
  return replace(document, { ...publisher, members: [...publisher.members, member] })
}

/** The list with one more root certificate (DER) of a publisher, which is added if need be. */
export function addRoot(
  document: PublishersDocument,
  name: string,
  certificate: Uint8Array,
): PublishersDocument {
  const roots = [owned(certificate)]
  const publisher = document.publishers.find((one) => one.name === name)
  if (publisher === undefined) return addPublisher(document, { name, members: [], roots })
  return replace(document, { ...publisher, roots: [...publisher.roots, ...roots] })
}

/** The list without a root certificate (DER), and without its publisher if that had nothing else. */
export function removeRoot(
  document: PublishersDocument,
  certificate: Uint8Array,
): PublishersDocument {
  const publisher = document.publishers.find(({ roots }) =>
    roots.some((root) => equalBytes(root, certificate))
  )
  if (publisher === undefined) {
    throw new SignetError('key_not_found', 'the list has no such root certificate')
  }
  const roots = publisher.roots.filter((root) => !equalBytes(root, certificate))
  if (roots.length + publisher.members.length > 0) return replace(document, { ...publisher, roots })
  return { ...document, publishers: document.publishers.filter((one) => one !== publisher) }
}

/** The list with one more owner, who may sign the next version. */
export function addOwner(document: PublishersDocument, key: PublicKey): PublishersDocument {
  if (document.owners.some((owner) => owner.key.id === key.id)) {
    throw new SignetError('usage_invalid', `key ${key.id} is or was an owner already`)
  }
  return checkPublishers({ ...document, owners: [...document.owners, ownerOf(key)] })
}

/**
 * The list with one key revoked from a time on (seconds since 1970), wherever it stands: as key of a
 * publisher, as owner, or both.
 *
 * Errors: `key_not_found`, `publishers_malformed` (no owner would be left).
 */
export function revokeKey(
  document: PublishersDocument,
  keyId: string,
  at: number,
): PublishersDocument {
  let found = false
  const revoked = (member: KeysetMember): KeysetMember => {
    if (member.key.id !== keyId) return member
    found = true
    return { ...member, status: 'revoked', revokedAt: Math.min(member.revokedAt ?? at, at) }
  }
  const owners = document.owners.map(revoked)
  const publishers = document.publishers.map((publisher) => ({
    ...publisher,
    members: publisher.members.map(revoked),
  }))
  if (!found) throw new SignetError('key_not_found', `the list has no key ${keyId}`)
  return checkPublishers({ ...document, owners, publishers })
}

function ownerOf(key: PublicKey): KeysetMember {
  return { key, status: 'primary' }
}

function replace(document: PublishersDocument, publisher: Publisher): PublishersDocument {
  const publishers = document.publishers.map((one) => one.name === publisher.name ? publisher : one)
  return checkPublishers({ ...document, publishers })
}

function checkNewKey(document: PublishersDocument, key: PublicKey): void {
  for (const { name, members } of document.publishers) {
    const member = members.find((one) => one.key.id === key.id)
    if (member === undefined) continue
    throw new SignetError(
      'usage_invalid',
      `key ${key.id} is ${member.status === 'revoked' ? 'a revoked key' : 'a key'} of publisher ` +
        `${JSON.stringify(name)} already`,
    )
  }
}

/** Sizes beyond which a list is none. */
const MOST = { owners: 16, publishers: 1000, keys: 1000, roots: 100, name: 200 } as const

/** Returns a list in which all is as its types promise and beyond; else throws `publishers_malformed`. */
export function checkPublishers(document: PublishersDocument): PublishersDocument {
  const { name, version, issued, expires, owners, threshold, publishers } = document
  checkListName(name)
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least
  if (!whole(version, 1)) throw malformed('its version is not a positive whole number')
  if (!whole(issued, 0)) throw malformed('its time of issue is not a whole number')
  if (expires !== undefined && !whole(expires, issued + 1)) {
    throw malformed('it expires before it is issued')
  }
  if (threshold !== undefined && !whole(threshold, 1)) {
    throw malformed('its threshold is not a positive whole number')
  }
  checkOwners(owners)
  if (publishers.length > MOST.publishers) throw malformed('it has too many publishers')
  publishers.forEach(checkPublisher)
  distinct(
    publishers.map((one) => one.name.normalize('NFC').toLowerCase()),
    (fold) => `two publishers are called ${JSON.stringify(fold)}`,
  )
  distinct(
    publishers.flatMap(({ members }) => members.map(({ key }) => key.id)),
    (id) => `key ${id} stands twice`,
  )
  distinct(
    publishers.flatMap(({ roots }) => roots.map(toBase64)),
    () => 'a root certificate stands twice',
  )
  return document
}

function checkOwners(owners: readonly KeysetMember[]): void {
  if (owners.length > MOST.owners) throw malformed('it has too many owners')
  distinct(owners.map(({ key }) => key.id), (id) => `owner ${id} stands twice`)
  if (owners.some(({ status }) => status === 'verify-only')) {
    throw malformed('an owner is neither "primary" nor "revoked"')
  }
  if (owners.some(({ uri }) => uri !== undefined)) throw malformed('an owner has a key URI')
  if (!owners.some(({ status }) => status === 'primary')) {
    throw new SignetError('publishers_malformed', 'publishers: it has no owner who may sign', {
      remedy: 'add an owner before you revoke the last one',
    })
  }
}

function checkPublisher({ name, members, roots }: Publisher): void {
  checkListName(name)
  // `--require` takes an algorithm or a publisher; no publisher may pass for an algorithm.
  if (Object.hasOwn(ALGORITHMS, name)) throw malformed(`a publisher is called ${name}`)
  const shown = JSON.stringify(name)
  if (members.length > MOST.keys || roots.length > MOST.roots) {
    throw malformed(`publisher ${shown} has too many keys or roots`)
  }
  if (members.length + roots.length === 0) throw malformed(`publisher ${shown} has no key`)
  if (members.filter(({ status }) => status === 'primary').length > 1) {
    throw malformed(`publisher ${shown} has two primary keys`)
  }
  if (members.some(({ uri }) => uri !== undefined)) {
    throw malformed(`publisher ${shown} shows where a private key lies`)
  }
  roots.forEach(checkRoot)
}

/** Names are shown to people: nothing invisible, nothing that turns the direction of writing. */
function checkListName(name: string): void {
  const shown = JSON.stringify(name.slice(0, 80))
  if (name === '' || name.length > MOST.name || name.trim() !== name || !name.isWellFormed()) {
    throw malformed(`the name ${shown} is empty, too long or begins or ends with a space`)
  }
  if (/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u.test(name)) {
    throw malformed(`the name ${shown} holds characters that cannot be seen`)
  }
}

/** One DER structure; what it says is looked at when it is used. */
function checkRoot(certificate: Bytes): void {
  try {
    const reader = new DerReader(certificate, 'root certificate')
    reader.read(TAG.sequence)
    reader.end()
  } catch (error) {
    if (isSignetError(error)) throw malformed(error.message)
    throw error
  }
}

function distinct(values: readonly string[], why: (value: string) => string): void {
  const seen = new Set<string>()
  for (const value of values) {
    if (seen.has(value)) throw malformed(why(value))
    seen.add(value)
  }
}

function malformed(why: string): SignetError {
  return new SignetError('publishers_malformed', `publishers: ${why}`)
}
