/**
 * Rotation statements: the old key says which key comes after it, so that whoever trusts a keyset of earlier
 * days can follow. A statement is a DSSE envelope with two signatures, of the old key (it hands over) and of
 * the new one (it is held by whoever takes over). Its payload is JSON:
 *
 *     {"name": "alice", "sequence": 1, "previous": null, "from": "<key id>", "to": {…public JWK, kid…},
 *      "issued": 1767225600, "until": 1798761600}
 *
 * `sequence` counts from 1 and `previous` is the SHA-256 of the PAE of the statement before (lower-case
 * hexadecimal), so that statements form one chain. `until` ends the time in which the old key still verifies; absent, it has no end.
 *
 * What this does not protect from: whoever steals a key can hand it over to himself, before the verifiers who
 * have not followed yet; those who have will see two successors of one key, and refuse. Revoke stolen keys.
 */
import * as v from 'valibot'
import { type Bytes, toHex, utf8 } from '../bytes.ts'
import { quoted, SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import {
  fromJwk,
  type Key,
  type Keyset,
  type KeysetMember,
  type PublicKey,
  publicKey,
  rotate,
  type SignOptions,
} from '../keys/mod.ts'
import { conform } from '../schema.ts'
import {
  type Envelope,
  envelopeToJson,
  pae,
  parseEnvelope,
  signEnvelope,
  verifyEnvelope,
} from './dsse.ts'

/** DSSE payload type of a rotation statement. */
export const ROTATION_TYPE = 'application/vnd.signet.key-rotation.v1+json'

const FORMAT = 'signet-rotations-v1'
const MAX_BYTES = 8 * 2 ** 20

const Time = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const RotationSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(200)),
  sequence: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  previous: v.nullable(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))),
  from: v.string(),
  to: v.looseObject({ kid: v.string() }),
  issued: Time,
  until: v.optional(Time),
})
const FileSchema = v.strictObject({
  format: v.literal(FORMAT),
  rotations: v.pipe(v.array(v.unknown()), v.maxLength(1000)),
})

/** What {@link appendRotation} states beside the two keys. */
export interface RotationOptions extends SignOptions {
  /** When, seconds since 1970. */
  readonly issued: number
  /** The old key verifies until then, seconds since 1970; default: without end. */
  readonly until?: number | undefined
}

/**
 * The chain, longer by the statement by which `from` hands over to `to`; both sign. A chain that does not lead
 * to `from`, because a key was lost in between, is left behind: a new one begins.
 */
export async function appendRotation(
  chain: readonly Envelope[],
  name: string,
  from: Key,
  to: Key,
  options: RotationOptions,
): Promise<Envelope[]> {
  const { issued, until, signal } = options
  const last = chain.at(-1)
  const leads = last !== undefined && (await readStatement(last)).to.id === from.publicKey.id
  const before = leads ? chain : []
  const statement: JsonObject = {
    name,
    sequence: before.length + 1,
    previous: leads ? await digestOf(last) : null,
    from: from.publicKey.id,
    to: { ...to.publicKey.jwk, kid: to.publicKey.id },
    issued,
    ...(until === undefined ? {} : { until }),
  }
  const payload = utf8(JSON.stringify(statement))
  const [old, fresh] = await Promise.all(
    [from, to].map((key) =>
      signEnvelope(ROTATION_TYPE, payload, key, { signal, keyid: key.publicKey.id })
    ),
  )
  return [...before, { ...old!, signatures: [...old!.signatures, ...fresh!.signatures] }]
}

/**
 * The keyset as it is after the statements of a chain, oldest first. Statements that the keyset has taken in
 * already, and those older than all it knows, are passed over; from there on every one must follow from a key
 * that is trusted.
 *
 * Errors: `signature_invalid`; `key_revoked`, `key_expired`, `key_not_yet_valid` (the old key could not hand
 * over then); `rotation_forked` (a key has two successors); `rotation_malformed`.
 */
export async function followRotations(
  keyset: Keyset,
  chain: readonly Envelope[],
): Promise<Keyset> {
  let current = keyset
  let previous: string | null = null
  let following = false
  for (const [at, envelope] of chain.entries()) {
    const claimed = await readStatement(envelope)
    if (claimed.sequence !== at + 1 || claimed.previous !== previous) {
      throw malformed('the statements are not one chain')
    }
    previous = await digestOf(envelope)
    const member = current.members.find(({ key }) => key.id === claimed.from)
    if (member === undefined) {
      if (following) throw malformed('a statement is by a key that is not of this chain')
      continue // older than all we know
    }
    following = true
    current = await followOne(current, member, envelope, claimed)
  }
  return current
}

async function followOne(
  keyset: Keyset,
  member: KeysetMember,
  envelope: Envelope,
  statement: Rotation,
): Promise<Keyset> {
  // Both must hold over these very bytes; only then does what they say count.
  await verifyEnvelope(envelope, member.key)
  await verifyEnvelope(envelope, statement.to)
  if (statement.name !== keyset.name) {
    throw new SignetError('signer_untrusted', `the rotation is of ${quoted(statement.name)}`)
  }
  const known = keyset.members.find(({ key }) => key.id === statement.to.id)
  if (member.status !== 'primary') {
    if (known !== undefined) return keyset // taken in already
    throw member.status === 'revoked'
      ? new SignetError('key_revoked', `key ${member.key.id} is revoked: it hands over to nobody`)
      : new SignetError('rotation_forked', `key ${member.key.id} has two successors`, {
        remedy: 'somebody else may hold that key: ask its owner, and revoke it',
      })
  }
  const { issued, until } = statement
  const { notBefore, notAfter, key } = member
  if (notBefore !== undefined && issued < notBefore) {
    throw new SignetError(
      'key_not_yet_valid',
      `key ${key.id} was not valid yet when it handed over`,
    )
  }
  if (notAfter !== undefined && issued >= notAfter) {
    throw new SignetError('key_expired', `key ${key.id} was valid no more when it handed over`)
  }
  if (known !== undefined) {
    throw known.status === 'revoked'
      ? new SignetError('key_revoked', `key ${known.key.id} is revoked, and stays so`)
      : new SignetError('rotation_forked', `key ${known.key.id} is of the keyset already`)
  }
  return rotate(keyset, statement.to, undefined, until)
}

/**
 * What the statements of a chain say, oldest first, keys by their ids. NOTHING of it is verified: it is for
 * finding the keys that {@link followRotations} is then to start from.
 */
export async function claimedRotations(
  chain: readonly Envelope[],
): Promise<{ readonly name: string; readonly from: string; readonly to: string }[]> {
  const statements = await Promise.all(chain.map(readStatement))
  return statements.map(({ name, from, to }) => ({ name, from, to: to.id }))
}

/** Reads a file of statements. Nothing of it is verified. Errors: `rotation_malformed`, and those of JSON. */
export function parseRotations(file: Uint8Array): Envelope[] {
  const value = parseJson(file, { what: 'rotations', maxBytes: MAX_BYTES })
  return conform(FileSchema, value, 'rotation_malformed', 'rotations').rotations.map(parseEnvelope)
}

/** The text of a file of statements, oldest first. */
export function formatRotations(chain: readonly Envelope[]): string {
  return JSON.stringify({ format: FORMAT, rotations: chain.map(envelopeToJson) }, null, 2) + '\n'
}

/** A statement as it reads, with the key it hands over to. Unverified until both signatures hold. */
interface Rotation {
  readonly name: string
  readonly sequence: number
  readonly previous: string | null
  readonly from: string
  readonly to: PublicKey
  readonly issued: number
  readonly until?: number | undefined
}

async function readStatement({ payloadType, payload }: Envelope): Promise<Rotation> {
  if (payloadType !== ROTATION_TYPE) throw malformed('a statement is of another type')
  const value = parseJson(payload, { what: 'rotation', maxBytes: 65_536 })
  const statement = conform(RotationSchema, value, 'rotation_malformed', 'rotation')
  const { to } = statement
  if (!isObject(to as JsonObject)) throw malformed('"to" is no key')
  const content = fromJwk(to as JsonObject)
  const key = await publicKey(content.algorithm, content.publicKey)
  if (content.privateKey !== undefined || key.id !== to.kid) {
    throw malformed('"to" is no public key')
  }
  if (key.id === statement.from) throw malformed('a key hands over to itself')
  if (statement.until !== undefined && statement.until < statement.issued) {
    throw malformed('"until" is before "issued"')
  }
  return { ...statement, to: key }
}

async function digestOf({ payloadType, payload }: Envelope): Promise<string> {
  const bytes: Bytes = pae(payloadType, payload)
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

function malformed(why: string): SignetError {
  return new SignetError('rotation_malformed', `rotation: ${why}`)
}
