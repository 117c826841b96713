/**
 * The publishers file: a DSSE envelope (JSON) of type `application/vnd.signet.publishers+json` around the RFC
 * 8785 form of a list (`publishers.ts`). What is verified are the bytes that travelled; that they are the
 * only way to write the list is checked as well, so that one list has one digest.
 *
 * Who may sign follows TUF's rule for root metadata (TUF 1.0 §5.3.4, with a threshold of one): an owner of the
 * version that the verifier accepted last, or an owner it was told of, and an owner whom the new version
 * itself names. An owner who stays signs once; when one hands over to another, both sign.
 *
 * Not promised: that the newest version was seen. Whoever can withhold a file can do so until it expires.
 */
import * as v from 'valibot'
import { type Bytes, equalBytes, fromBase64, fromHex, toBase64, toHex, utf8 } from '../bytes.ts'
import {
  type Envelope,
  envelopeToJson,
  parseEnvelope,
  signEnvelope,
  type VerifiedPayload,
  verifyEnvelope,
} from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { canonicalBytes, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import {
  type Key,
  memberFromJson,
  memberToJson,
  type PublicKey,
  refusal,
  type SignOptions,
} from '../keys/mod.ts'
import { conform } from '../schema.ts'
import { checkPublishers, type Publisher, type PublishersDocument } from './publishers.ts'
import type { Trust } from './trust.ts'

/** Payload type of the envelope around a list. */
export const PUBLISHERS_TYPE = 'application/vnd.signet.publishers+json'

/** Largest publishers file that is read, in bytes. */
export const MAX_PUBLISHERS_BYTES: number = 16 * 2 ** 20

/** Clocks differ; a list may come from this many seconds in the future. */
const CLOCK_SKEW = 300

/** Signatures beyond these are not looked at: verification has a bounded cost. */
const MAX_SIGNATURES = 16

/** What a verifier keeps of the last version it accepted. */
export interface PublishersState {
  /** Name of the list. */
  readonly name: string
  /** Its version. */
  readonly version: number
  /** SHA-256 of the signed payload, hex. */
  readonly digest: string
  /** Who may sign the next version. */
  readonly owners: PublishersDocument['owners']
}

/**
 * Where trust in a publishers file begins: the owners that somebody named, or the version that was accepted
 * last.
 */
export type PublishersAnchor =
  | { readonly owners: readonly PublicKey[] }
  | { readonly previous: PublishersState }

/**
 * A list that a trusted owner signed, that has not expired and is no older than the one before. Only
 * {@link verifyPublishers} makes one: the private member makes the type nominal, and the room exports the
 * type alone.
 */
export class VerifiedPublishers {
  readonly #nominal = true
  /** The list. */
  readonly document: PublishersDocument
  /** What to keep for the next time. */
  readonly state: PublishersState
  /** Key id of the owner who signed. */
  readonly owner: string

  /** Called by {@link verifyPublishers} alone. */
  constructor(document: PublishersDocument, digest: string, owner: PublicKey) {
    const { name, version, owners } = document
    this.document = document
    this.state = { name, version, digest, owners }
    this.owner = owner.id
  }
}

const Time = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const Members = v.pipe(v.array(v.unknown()), v.maxLength(1000))
const DocumentSchema = v.strictObject({
  name: v.string(),
  version: v.number(),
  issued: Time,
  expires: v.optional(Time),
  owners: Members,
  threshold: v.optional(v.number()),
  publishers: v.pipe(
    v.array(v.strictObject({
      name: v.string(),
      keys: Members,
      roots: v.optional(v.pipe(v.array(v.string()), v.maxLength(100))),
    })),
    v.maxLength(1000),
  ),
})

/**
 * Signs a list with one key or, when an owner hands over to another, with several. One of them must be an
 * owner whom the list names.
 *
 * Errors: `publishers_malformed`, `usage_invalid` (no key of an owner), and those of the keys.
 */
export async function signPublishers(
  document: PublishersDocument,
  keys: readonly Key[],
  options: SignOptions = {},
): Promise<Bytes> {
  const payload = canonicalBytes(documentToJson(checkPublishers(document)))
  await decodeDocument(payload) // what nobody could read is not signed
  const owners = document.owners.filter(({ status }) => status === 'primary')
  if (!owners.some((owner) => keys.some(({ publicKey }) => publicKey.id === owner.key.id))) {
    throw new SignetError('usage_invalid', 'publishers: none of the keys is one of its owners', {
      remedy: 'when an owner hands over to another, both sign',
    })
  }
  const envelopes: Envelope[] = []
  for (const key of keys) {
    const keyid = key.publicKey.id
    envelopes.push(await signEnvelope(PUBLISHERS_TYPE, payload, key, { ...options, keyid }))
  }
  const signatures = envelopes.flatMap((one) => one.signatures)
  const json = envelopeToJson({ payloadType: PUBLISHERS_TYPE, payload, signatures })
  return utf8(JSON.stringify(json, null, 2) + '\n')
}

/** Options of {@link verifyPublishers}. */
export interface VerifyPublishersOptions {
  /** Seconds since 1970. Default: the clock. */
  readonly now?: number | undefined
  /** Takes a list that has expired: for its owner, who makes the next version. */
  readonly skipExpiry?: boolean | undefined
}

/**
 * Verifies a publishers file.
 *
 * Errors: `publishers_malformed`, `too_large`, `payload_type`, `publishers_untrusted` (no trusted owner
 * signed, or it is another list), `publishers_rollback` (older than the version accepted last, or another
 * list of the same version), `publishers_expired`.
 */
export async function verifyPublishers(
  file: Uint8Array,
  anchor: PublishersAnchor & VerifyPublishersOptions,
): Promise<VerifiedPublishers> {
  const { now = Math.floor(Date.now() / 1000), skipExpiry = false } = anchor
  const previous = 'previous' in anchor ? anchor.previous : undefined
  const envelope = readEnvelope(file)
  const trusted = previous === undefined
    ? (anchor as { owners: readonly PublicKey[] }).owners
    : ownersAt(previous, now)
  const payload = await signedByOneOf(envelope, trusted)
  if (payload === undefined) {
    throw untrusted('no owner who is trusted here signed the publishers file')
  }
  const document = await decodeDocument(payload.payload)
  if (await signedByOneOf(envelope, ownersAt(document, now)) === undefined) {
    throw untrusted('none of the owners whom the publishers file names signed it')
  }
  const digest = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', payload.payload)))
  if (previous !== undefined) checkSuccession(previous, document, digest)
  if (document.issued > now + CLOCK_SKEW) {
    throw untrusted(`the publishers file was issued at ${iso(document.issued)}, in the future`)
  }
  if (!skipExpiry && document.expires !== undefined && now >= document.expires) {
    throw new SignetError(
      'publishers_expired',
      `the publishers file expired at ${iso(document.expires)}`,
      { remedy: 'get a newer one from its owner' },
    )
  }
  return new VerifiedPublishers(document, digest, payload.key)
}

/** Whom a verified list makes a verifier of seals trust. */
export function trustOf({ document }: VerifiedPublishers): Trust {
  return trustOfDocument(document)
}

/** Whom a list would make a verifier trust. That it is verified is the caller's part. */
export function trustOfDocument({ publishers, threshold }: PublishersDocument): Trust {
  return {
    signers: publishers.flatMap(({ name, members }) =>
      members.map((member) => ({ ...member, publisher: name }))
    ),
    roots: publishers.flatMap(({ name, roots }) =>
      roots.map((certificate) => ({ certificate, publisher: name }))
    ),
    threshold,
  }
}

/** What the file says, whoever wrote it. For showing only: nothing of it is verified. */
export async function unverifiedPublishers(file: Uint8Array): Promise<PublishersDocument> {
  return await decodeDocument(readEnvelope(file).payload)
}

/** The text form of a state, canonical. */
export function formatPublishersState(state: PublishersState): Bytes {
  const { name, version, digest, owners } = state
  return canonicalBytes({ name, version, digest, owners: owners.map(memberToJson) })
}

const StateSchema = v.strictObject({
  name: v.string(),
  version: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  digest: v.string(),
  owners: v.pipe(Members, v.minLength(1)),
})

/** Reads a state back. Errors: `publishers_malformed`. */
export async function parsePublishersState(bytes: Uint8Array): Promise<PublishersState> {
  return await malformedIfInput('state of a publishers file', async () => {
    const json = parseJson(bytes, { what: 'state', maxBytes: MAX_PUBLISHERS_BYTES, maxDepth: 8 })
    const state = conform(StateSchema, json, 'publishers_malformed', 'state')
    if (fromHex(state.digest, 'digest').length !== 32) throw malformed('its digest is not SHA-256')
    return {
      ...state,
      owners: await Promise.all((state.owners as JsonValue[]).map(memberFromJson)),
    }
  })
}

function readEnvelope(file: Uint8Array): Envelope {
  const envelope = malformedIfInput('publishers file', () =>
    parseEnvelope(
      parseJson(file, { what: 'envelope', maxBytes: MAX_PUBLISHERS_BYTES, maxDepth: 8 }),
    ))
  if (envelope.payloadType !== PUBLISHERS_TYPE) {
    throw new SignetError('payload_type', 'the file is signed, but it is no publishers file')
  }
  if (envelope.signatures.length > MAX_SIGNATURES) {
    throw malformed(`it has more than ${MAX_SIGNATURES} signatures`)
  }
  return envelope
}

/** The payload, verified under the first of the keys that holds. */
async function signedByOneOf(
  envelope: Envelope,
  keys: readonly PublicKey[],
): Promise<VerifiedPayload | undefined> {
  for (const key of keys) {
    try {
      return await verifyEnvelope(envelope, key)
    } catch (error) {
      // A key that is no point of its curve verifies nothing, and must not keep others from it.
      if (!isSignetError(error, 'signature_invalid', 'key_malformed')) throw error
    }
  }
}

/** The owners who may sign at a time. */
function ownersAt({ owners }: Pick<PublishersState, 'owners'>, now: number): PublicKey[] {
  return owners.filter((owner) => refusal(owner, now) === undefined).map(({ key }) => key)
}

function checkSuccession(
  previous: PublishersState,
  { name, version }: PublishersDocument,
  digest: string,
): void {
  if (name !== previous.name) {
    throw untrusted(
      `this is the list ${JSON.stringify(name)}, and ${JSON.stringify(previous.name)} is wanted`,
    )
  }
  if (version < previous.version) {
    throw new SignetError(
      'publishers_rollback',
      `the publishers file has version ${version}, and version ${previous.version} was seen already`,
      { remedy: 'get the newest one from its owner' },
    )
  }
  if (version === previous.version && digest !== previous.digest) {
    throw new SignetError(
      'publishers_rollback',
      `this is another version ${version} of the publishers than the one that was seen already`,
      { remedy: 'ask its owner how two lists got one number' },
    )
  }
}

function documentToJson(document: PublishersDocument): JsonObject {
  const { name, version, issued, expires, owners, threshold, publishers } = document
  return {
    name,
    version,
    issued,
    expires,
    owners: owners.map(memberToJson),
    threshold,
    publishers: publishers.map(({ name, members, roots }) => ({
      name,
      keys: members.map(memberToJson),
      roots: roots.length === 0 ? undefined : roots.map(toBase64),
    })),
  }
}

async function decodeDocument(payload: Uint8Array): Promise<PublishersDocument> {
  return await malformedIfInput('publishers', async () => {
    const json = parseJson(payload, {
      what: 'list',
      maxBytes: MAX_PUBLISHERS_BYTES,
      maxDepth: 8,
    })
    const list = conform(DocumentSchema, json, 'publishers_malformed', 'list')
    const members = (json: readonly unknown[]) =>
      Promise.all((json as JsonValue[]).map(memberFromJson))
    const owners = await members(list.owners)
    const publishers = await Promise.all(
      list.publishers.map(async ({ name, keys, roots = [] }): Promise<Publisher> => ({
        name,
        members: await members(keys),
        roots: roots.map((root) => fromBase64(root, 'a root certificate')),
      })),
    )
    const document = checkPublishers({ ...list, owners, publishers })
    if (!equalBytes(canonicalBytes(documentToJson(document)), payload)) {
      throw malformed('it is not written in the one canonical way')
    }
    return document
  })
}

/** Whatever is wrong with the text of a file of ours is one thing to its reader: it is malformed. */
function malformedIfInput<T>(what: string, read: () => T): T {
  const failed = (cause: unknown): never => {
    if (!isSignetError(cause) || cause.kind !== 'input' && cause.code !== 'algorithm_unsupported') {
      throw cause
    }
    if (cause.code === 'publishers_malformed' || cause.code === 'too_large') throw cause
    throw new SignetError('publishers_malformed', `${what}: ${cause.message}`, {
      cause,
      ...(cause.where === undefined ? {} : { where: cause.where }),
    })
  }
  try {
    const result = read()
    return result instanceof Promise ? result.catch(failed) as T : result
  } catch (cause) {
    return failed(cause)
  }
}

function untrusted(why: string): SignetError {
  return new SignetError('publishers_untrusted', why, {
    remedy:
      "ask the list's owner for a file signed by an owner you know, or for the new owner's key",
  })
}

function malformed(why: string): SignetError {
  return new SignetError('publishers_malformed', `publishers: ${why}`)
}

function iso(seconds: number): string {
  return seconds > 8.64e12 ? `second ${seconds}` : new Date(seconds * 1000).toISOString()
}
