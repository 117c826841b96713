/**
 * A keyset: the keys of one identity over time. One primary signs; verify-only members still verify;
 * revoked ones verify nothing. It is written as a JWK Set (RFC 7517 §5) whose keys carry four more members:
 *
 * - `status`: `primary`, `verify-only` or `revoked`
 * - `nbf`, `exp`: validity, seconds since 1970 (from, inclusive; until, exclusive)
 * - `revoked_at`: since when a revoked key is not believed
 * - `key`: the key URI of the private half; never published
 *
 * A keyset file is as trustworthy as the place it lies in: it is not signed. Publishers files are.
 */
import * as v from 'valibot'
import { quoted, SignetError } from '../errors.ts'
import { type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { fromJwk } from './jwk.ts'
import { type PublicKey, publicKey } from './public_key.ts'

/** What a member may do. */
export type KeyStatus = 'primary' | 'verify-only' | 'revoked'

/** A key and its place in time. Times are seconds since 1970. */
export interface KeysetMember {
  /** The public half. */
  readonly key: PublicKey
  /** What it may do. */
  readonly status: KeyStatus
  /** Valid from, inclusive. */
  readonly notBefore?: number | undefined
  /** Valid until, exclusive. */
  readonly notAfter?: number | undefined
  /** Not believed from here on; only with status `revoked`. */
  readonly revokedAt?: number | undefined
  /** Where the private half is. */
  readonly uri?: string | undefined
}

/** The keys of one identity. */
export interface Keyset {
  /** Whose keys they are. */
  readonly name: string
  /** At least one, at most one primary, no key twice. */
  readonly members: readonly KeysetMember[]
}

const Time = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const MemberSchema = v.looseObject({
  kid: v.string(),
  status: v.picklist(['primary', 'verify-only', 'revoked']),
  nbf: v.optional(Time),
  exp: v.optional(Time),
  revoked_at: v.optional(Time),
  key: v.optional(v.string()),
})
const KeysetSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(200)),
  keys: v.pipe(v.array(v.unknown()), v.minLength(1), v.maxLength(1000)),
})

/** Reads a keyset. Errors: `keyset_malformed`, and those of JSON and JWK. */
export async function parseKeyset(file: Uint8Array | string): Promise<Keyset> {
  const value = parseJson(file, { what: 'keyset', maxBytes: 8 * 2 ** 20 })
  const { name, keys } = conform(KeysetSchema, value, 'keyset_malformed', 'keyset')
  return checked({ name, members: await Promise.all((keys as JsonValue[]).map(memberFromJson)) })
}

/** One member of its JWK; `kid` must be the thumbprint. */
export async function memberFromJson(json: JsonValue): Promise<KeysetMember> {
  const member = conform(MemberSchema, json, 'keyset_malformed', 'keyset member')
  const { kid, status, nbf, exp, revoked_at, key: uri } = member
  const content = fromJwk(member as JsonObject)
  if (content.privateKey !== undefined) throw malformed('a member holds a private key')
  const key = await publicKey(content.algorithm, content.publicKey)
  if (kid !== key.id) throw malformed(`"kid" ${quoted(kid)} is not the key's thumbprint`)
  if ((revoked_at !== undefined) !== (status === 'revoked')) {
    throw malformed('"revoked_at" stands with status "revoked" and only there')
  }
  return { key, status, notBefore: nbf, notAfter: exp, revokedAt: revoked_at, uri }
}

/** The JSON form of one member. */
export function memberToJson(member: KeysetMember): JsonObject {
  return {
    ...member.key.jwk,
    kid: member.key.id,
    use: 'sig',
    status: member.status,
    nbf: member.notBefore,
    exp: member.notAfter,
    revoked_at: member.revokedAt,
    key: member.uri,
  }
}

/** The text of a keyset file. */
export function formatKeyset(keyset: Keyset): string {
  return json({ name: keyset.name, keys: keyset.members.map(memberToJson) })
}

/**
 * What may be published: a plain JWKS of the members that verify, without key URIs. Readers of a JWKS know
 * no status, so revoked keys are left out.
 */
export function formatJwks(keyset: Keyset): string {
  const keys = keyset.members.filter((member) => member.status !== 'revoked').map((member) => ({
    ...member.key.jwk,
    kid: member.key.id,
    use: 'sig',
  }))
  return json({ keys })
}

function json(value: JsonValue): string {
  return JSON.stringify(value, null, 2) + '\n'
}

/** A keyset of one key. */
export function newKeyset(name: string, key: PublicKey, uri?: string): Keyset {
  return checked({ name, members: [{ key, status: 'primary', uri }] })
}

/** The member that signs, or `key_not_found`. */
export function primary(keyset: Keyset): KeysetMember {
  const found = keyset.members.find((member) => member.status === 'primary')
  if (found !== undefined) return found
  throw new SignetError('key_not_found', `keyset ${quoted(keyset.name)} has no primary key`, {
    remedy: 'make one with: signet keys rotate',
  })
}

/** The keyset with a new primary; the old one verifies until `until` (seconds), or for good. */
export function rotate(keyset: Keyset, key: PublicKey, uri?: string, until?: number): Keyset {
  const known = keyset.members.find((member) => member.key.id === key.id)
  if (known?.status === 'revoked') {
    throw new SignetError('key_revoked', `key ${key.id} is revoked, and stays so`)
  }
  const members = keyset.members.map((member): KeysetMember =>
    member.status === 'primary'
      ? { ...member, status: 'verify-only', notAfter: earliest(member.notAfter, until) }
      : member
  )
  return checked({ ...keyset, members: [{ key, status: 'primary', uri }, ...members] })
}

/** The keyset with one member revoked from a time on. What is revoked stays so, from the earliest time named. */
export function revoke(keyset: Keyset, keyId: string, at: number): Keyset {
  if (!keyset.members.some((member) => member.key.id === keyId)) {
    throw new SignetError(
      'key_not_found',
      `keyset ${quoted(keyset.name)} has no key ${quoted(keyId)}`,
    )
  }
  const members = keyset.members.map((member): KeysetMember =>
    member.key.id === keyId
      ? { ...member, status: 'revoked', revokedAt: earliest(member.revokedAt, at)! }
      : member
  )
  return { ...keyset, members }
}

/**
 * Why a member's signatures are not believed at a time (seconds), or undefined if they are.
 *
 * A revoked key verifies nothing, since whoever holds it can date a signature back, unless `provenAt` says
 * when the signature was there at the latest: a time that the holder of the key cannot choose (a log's
 * checkpoint, a timestamp authority), never one out of the signed content. Then the key counts for what was
 * signed before its revocation, and its validity is that at the proven time.
 */
export function refusal(
  member: KeysetMember,
  now: number,
  provenAt?: number,
): SignetError | undefined {
  const { key, status, notBefore, notAfter, revokedAt } = member
  const at = provenAt ?? now
  if (status === 'revoked' && (provenAt === undefined || provenAt >= revokedAt!)) {
    return new SignetError('key_revoked', `key ${key.id} was revoked at ${iso(revokedAt!)}`)
  }
  if (notBefore !== undefined && at < notBefore) {
    return new SignetError('key_not_yet_valid', `key ${key.id} is valid from ${iso(notBefore)}`)
  }
  if (notAfter !== undefined && at >= notAfter) {
    return new SignetError('key_expired', `key ${key.id} was valid until ${iso(notAfter)}`)
  }
}

/** Checks what a schema cannot say. */
function checked(keyset: Keyset): Keyset {
  const ids = keyset.members.map((member) => member.key.id)
  if (new Set(ids).size < ids.length) throw malformed('a key stands in it twice')
  if (keyset.members.filter((member) => member.status === 'primary').length > 1) {
    throw malformed('it has two primary keys')
  }
  return keyset
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? a ?? b : Math.min(a, b)
}

function iso(seconds: number): string {
  // Dates end at 8.64e12 seconds; a hostile file may say more.
  return seconds > 8.64e12 ? `second ${seconds}` : new Date(seconds * 1000).toISOString()
}

function malformed(why: string): SignetError {
  return new SignetError('keyset_malformed', `keyset: ${why}`)
}
