/**
 * What a Grantex device uploads: audit entries in either dialect. Each is judged by itself, over the very bytes that
 * came. What breaks the integrity of the chain (`fault`) is told from what is only not in order (`remark`): a
 * denial without a grant, a scope outside of it, a time that runs back. Remarks never keep an entry out.
 */
import { fromUtf8 } from '../../bytes.ts'
import { SignetError } from '../../errors.ts'
import type { PublicKey } from '../../keys/mod.ts'
import { type Line, textOf } from '../audit_lines.ts'
import { parseLexical } from '../lexical_json.ts'
import {
  canonicalHash,
  dialectOf,
  type GrantexDialect,
  numberOf,
  PY,
  signatureHolds,
  textsOf,
  TS,
} from './dialects.ts'

/** An entry as it came. Nothing of it has been verified. */
export interface UploadedEntry {
  /** Its JSON, byte for byte. */
  readonly text: string
  /** Its parts, and where they stand in the text. */
  readonly json: Line['json']
  /** What it says its number is; 0 if that is none. */
  readonly seq: number
  /** What it says the hash before is. */
  readonly previous: string
  /** What it says its own hash is. */
  readonly hash: string
  /** By its names. */
  readonly dialect: GrantexDialect
}

/** An upload. */
export interface GrantexUpload {
  /** Whose entries. */
  readonly bundleId: string
  /** What the device calls itself; no client sends it. */
  readonly deviceId?: string | undefined
  /** In the order sent. */
  readonly entries: readonly UploadedEntry[]
}

/** Something about an entry, as Grantex tells it. */
export interface EntryNote {
  /** Of the entry. */
  readonly seq: number
  /** Stable. */
  readonly code: string
  /** For people. */
  readonly message: string
}

/** Where a stored chain stands. */
export interface StoredChain {
  /** Undefined before the first entry. */
  readonly dialect: GrantexDialect | undefined
  /** Number of the last entry. */
  readonly seq: number
  /** Its hash; undefined before the first. */
  readonly hash: string | undefined
  /** Milliseconds since 1970 of the latest time so far; undefined before the first. */
  readonly time?: number | undefined
}

/** What entries are held against. */
export interface UploadContext {
  /** The bundle's audit keys of all generations. */
  readonly keys: readonly PublicKey[]
  /** The grant's id. */
  readonly grant: string
  /** The agent's DID. */
  readonly agent: string
  /** The grant's scopes. */
  readonly scopes: readonly string[]
  /** Milliseconds since 1970. */
  readonly now: number
  /** Milliseconds since 1970: since when nothing may be done under the bundle. */
  readonly revokedAt?: number | undefined
}

/** Entries that go on a chain, and where that ends. */
export interface JudgedUpload {
  /** Those whose integrity holds, with what is remarkable about each. */
  readonly accepted: readonly { readonly text: string; readonly notes: readonly EntryNote[] }[]
  /** The chain behind them. */
  readonly chain: StoredChain
  /** What is wrong with the first that does not go on; all after it are not looked at. */
  readonly fault: EntryNote | undefined
}

/** Most entries of one upload. */
export const MAX_UPLOAD = 1000
const MAX_ENTRY = 60_000
/** A clock that runs ahead by more is remarked. */
const AHEAD = 5 * 60_000

/** Reads an upload. Errors: `entry_malformed`, `too_large` (more than 1000 entries), and those of JSON. */
export function parseGrantexUpload(body: Uint8Array): GrantexUpload {
  const text = fromUtf8(body, 'upload')
  const json = parseLexical(text)
  if (json.kind !== 'object') throw malformed('the upload is not an object')
  const bundleId = textOf({ json }, 'bundleId')
  const list = json.members.get('entries')
  if (bundleId === undefined || bundleId === '' || bundleId.length > 128) {
    throw malformed('"bundleId" is missing')
  }
  if (list?.kind !== 'array') throw malformed('"entries" is not a list')
  if (list.items.length > MAX_UPLOAD) {
    throw new SignetError('too_large', `more than ${MAX_UPLOAD} entries at once`)
  }
  const entries = list.items.map(({ start, end }) => uploadedEntry(text.slice(start, end)))
  return { bundleId, deviceId: textOf({ json }, 'deviceId'), entries }
}

/** Reads one entry by itself, so that places are those in its own text. Errors: `entry_malformed`, those of JSON. */
export function uploadedEntry(text: string): UploadedEntry {
  const json = parseLexical(text)
  if (json.kind !== 'object') throw malformed('an entry is not an object')
  const { format, names } = dialectOf({ json })
  const seq = /^[1-9][0-9]{0,15}$/.test(numberOf({ json })) ? Number(numberOf({ json })) : 0
  return {
    text,
    json,
    seq: Number.isSafeInteger(seq) ? seq : 0,
    previous: textOf({ json }, names.previous) ?? '',
    hash: textOf({ json }, 'hash') ?? '',
    dialect: format,
  }
}

/** What stands before the first entry of a dialect. */
export function grantexGenesis(dialect: GrantexDialect): string {
  return (dialect === 'grantex-ts' ? TS : PY).genesis
}

/** Whether the entry's content is what its hash says: for entries that were uploaded before. */
export async function hashHolds(entry: UploadedEntry): Promise<boolean> {
  const canonical = dialectOf(entry).canonical(entry)
  return canonical !== undefined && await canonicalHash(canonical) === entry.hash
}

/** Judges entries that are to go on a chain. */
export async function judgeGrantexUpload(
  entries: readonly UploadedEntry[],
  chain: StoredChain,
  context: UploadContext,
): Promise<JudgedUpload> {
  const accepted: { text: string; notes: readonly EntryNote[] }[] = []
  let keys = context.keys
  for (const entry of entries) {
    const fault = checkShape(entry) ?? await checkPlace(entry, chain)
    if (fault !== undefined) return { accepted, chain, fault: { seq: entry.seq, ...fault } }
    const key = await signerOf(entry, keys)
    if (key === undefined) {
      const message = 'signature fails under all keys of the bundle'
      return { accepted, chain, fault: { seq: entry.seq, code: 'INVALID_SIGNATURE', message } }
    }
    keys = [key, ...keys.filter((one) => one !== key)] // the next is likely signed by the same
    const time = Date.parse(textOf(entry, 'timestamp')!)
    accepted.push({
      text: entry.text,
      notes: remarks(entry, time, chain, context).map((note) => ({ seq: entry.seq, ...note })),
    })
    chain = {
      dialect: entry.dialect,
      seq: entry.seq,
      hash: entry.hash,
      time: Math.max(time, chain.time ?? time),
    }
  }
  return { accepted, chain, fault: undefined }
}

type Note = Omit<EntryNote, 'seq'>

const MEMBERS = ['seq', 'timestamp', 'action', 'scopes', 'result', 'metadata', 'hash', 'signature']

function checkShape(entry: UploadedEntry): Note | undefined {
  const invalid = (message: string): Note => ({ code: 'INVALID_ENTRY', message })
  const { names } = dialectOf(entry)
  const { members } = entry.json
  if (entry.text.length > MAX_ENTRY) return invalid(`more than ${MAX_ENTRY} characters`)
  if (entry.seq === 0) return invalid('seq must be a positive integer')
  // What the hash does not cover would look signed and be anybody's.
  const known = [...MEMBERS, names.agent, names.grant, names.previous]
  if ([...members.keys()].some((name) => !known.includes(name))) return invalid('unknown member')
  for (const name of ['timestamp', 'action', 'result', names.agent, names.grant]) {
    if (textOf(entry, name) === undefined) return invalid(`${name} must be a string`)
  }
  if (Number.isNaN(Date.parse(textOf(entry, 'timestamp')!))) {
    return invalid('timestamp must be a date')
  }
  if (textsOf(members.get('scopes')) === undefined) return invalid('scopes must be strings')
  if (!/^[0-9a-f]{64}$/.test(entry.hash)) return invalid('hash must be 64 hexadecimal characters')
  return undefined
}

async function checkPlace(entry: UploadedEntry, chain: StoredChain): Promise<Note | undefined> {
  if (entry.seq !== chain.seq + 1) {
    return { code: 'SEQ_GAP', message: `expected seq ${chain.seq + 1}` }
  }
  const isOther = chain.dialect !== undefined && chain.dialect !== entry.dialect
  if (isOther || entry.previous !== (chain.hash ?? grantexGenesis(entry.dialect))) {
    return { code: 'BROKEN_CHAIN', message: 'it does not follow the entry before' }
  }
  if (!await hashHolds(entry)) {
    return { code: 'INVALID_HASH', message: 'hash is not that of the content' }
  }
  return undefined
}

async function signerOf(
  entry: UploadedEntry,
  keys: readonly PublicKey[],
): Promise<PublicKey | undefined> {
  for (const key of keys) {
    if (await signatureHolds(dialectOf(entry), entry, entry.hash, key)) return key
  }
  return undefined
}

function remarks(
  entry: UploadedEntry,
  time: number,
  chain: StoredChain,
  context: UploadContext,
): Note[] {
  const { names, ambiguous } = dialectOf(entry)
  const [agent, grant] = [textOf(entry, names.agent), textOf(entry, names.grant)]
  const scopes = textsOf(entry.json.members.get('scopes')) ?? []
  const found: [boolean, string, string][] = [
    [grant === '' || agent === '', 'NO_GRANT', 'it names no grant: a denial before one was known'],
    [grant !== '' && grant !== context.grant, 'GRANT_MISMATCH', 'it is under another grant'],
    [agent !== '' && agent !== context.agent, 'AGENT_MISMATCH', 'it is of another agent'],
    [
      scopes.some((scope) => !context.scopes.includes(scope)),
      'SCOPE_OUTSIDE_GRANT',
      'it names a scope that the grant lacks',
    ],
    [time > context.now + AHEAD, 'TIME_AHEAD', 'its time is in the future'],
    [time < (chain.time ?? time), 'TIME_BACK', 'its time is before that of an earlier entry'],
    [
      context.revokedAt !== undefined && time > context.revokedAt,
      'AFTER_REVOCATION',
      'it happened after the revocation',
    ],
    [ambiguous(entry), 'AMBIGUOUS', 'another content has the same hash'],
  ]
  return found.flatMap(([is, code, message]) => is ? [{ code, message }] : [])
}

function malformed(why: string): SignetError {
  return new SignetError('entry_malformed', `upload: ${why}`)
}
