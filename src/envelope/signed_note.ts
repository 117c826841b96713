/**
 * C2SP signed notes: text that ends in a newline, an empty line, and signature lines
 * `— name base64(key id ‖ signature)`. A key is its name, its 4-byte id and its signature type
 * together; the type comes from the trusted verifier key, never from the note.
 *
 * The text of a note that {@link openNote} has not verified must not be believed.
 */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, fromBase64, fromUtf8, owned, toBase64, toHex, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { type Key, type PublicKey, publicKey, signMessage } from '../keys/mod.ts'

/** Notes larger than this are none: 32 post-quantum signatures of 5 kB leave room for the text. */
const MAX_NOTE_BYTES = 1024 * 1024
/** signed-note asks for 16 at least; a note full of junk signatures is refused unread. */
const MAX_SIGNATURES = 32
const DASH = '\u2014 '

/** One signature type of the signed-note registry. */
export interface NoteScheme {
  /** The identifier byte. */
  readonly type: number
  /** The algorithm of its keys. */
  readonly algorithm: Algorithm
  /** True if the signature starts with a time: 8 bytes, seconds since 1970, big-endian. */
  readonly timestamped: boolean
  /** What is signed, of the note's text, the key's name and the time (0 where there is none). */
  message(text: string, name: string, time: number): Bytes
}

/** Type 0x01: Ed25519 over the text. */
export const ED25519_NOTE: NoteScheme = {
  type: 0x01,
  algorithm: ALGORITHMS['Ed25519'],
  timestamped: false,
  message: (text) => utf8(text),
}

/** A key that verifies notes. */
export interface NoteVerifier {
  /** The key's name. */
  readonly name: string
  /** The key id: 8 lower-case hexadecimal digits. */
  readonly id: string
  /** How it signs. */
  readonly scheme: NoteScheme
  /** The key itself. */
  readonly key: PublicKey
}

/** One signature line, taken apart. */
export interface NoteSignature {
  /** The key's name. */
  readonly name: string
  /** The key id: 8 lower-case hexadecimal digits. */
  readonly id: string
  /** What follows the key id. */
  readonly signature: Bytes
}

/** A note as read. Nothing in it is verified. */
export interface Note {
  /** The text, its last newline included. */
  readonly text: string
  /** At least one. */
  readonly signatures: readonly NoteSignature[]
}

/** A signature that holds. */
export interface VerifiedNoteSignature {
  /** Whose it is. */
  readonly verifier: NoteVerifier
  /** Seconds since 1970, if the scheme has a time. */
  readonly time?: number
  /** The line as it stood in the note. */
  readonly line: string
}

/** A note of which at least one known key's signature holds, and no known key's fails. */
export interface VerifiedNote {
  /** The text that was signed. */
  readonly text: string
  /** The signatures that hold, each key once, in the order of the note. */
  readonly verified: readonly VerifiedNoteSignature[]
  /** How many lines were of unknown keys; nothing is known about them. */
  readonly unknown: number
}

/** Signs notes. */
export interface NoteSigner {
  /** What verifies its signatures. */
  readonly verifier: NoteVerifier
  /** Signs a text and gives the line, its newline included. */
  sign(text: string): Promise<string>
}

/** Reads a note. Errors: `note_malformed`, `encoding_invalid` (not UTF-8), `too_large`. */
export function parseNote(input: Uint8Array | string): Note {
  if (input.length > MAX_NOTE_BYTES) {
    throw new SignetError('too_large', `note has more than ${MAX_NOTE_BYTES} bytes`)
  }
  const all = typeof input === 'string' ? input : fromUtf8(input, 'note')
  // deno-lint-ignore no-control-regex -- control characters are what is refused
  if (/[\u0000-\u0009\u000b-\u001f]/.test(all) || !all.isWellFormed()) {
    throw malformed('it holds a control character or a lone surrogate')
  }
  const split = all.lastIndexOf('\n\n')
  if (split < 0 || !all.endsWith('\n')) throw malformed('no empty line before the signatures')
  const lines = all.slice(split + 2, -1).split('\n')
  if (lines[0] === '') throw malformed('it has no signature')
  if (lines.length > MAX_SIGNATURES) {
    throw malformed(`it has ${lines.length} signatures, more than ${MAX_SIGNATURES}`)
  }
  return { text: all.slice(0, split + 1), signatures: lines.map(parseNoteSignature) }
}

/** Takes one signature line (without its newline) apart. Errors: `note_malformed`. */
export function parseNoteSignature(line: string): NoteSignature {
  const [name = '', base64 = '', ...more] = line.slice(DASH.length).split(' ')
  if (!line.startsWith(DASH) || more.length > 0 || !isName(name)) {
    throw malformed('a line after the text is no signature')
  }
  const bytes = decode(base64)
  if (bytes === undefined || bytes.length < 5) throw malformed(`bad signature of ${quote(name)}`)
  return { name, id: toHex(bytes.subarray(0, 4)), signature: owned(bytes.slice(4)) }
}

/** A signature as the line of a note, with its newline. */
export function formatNoteSignature({ name, id, signature }: NoteSignature): string {
  return `${DASH}${name} ${toBase64(concat(idBytes(id), signature))}\n`
}

/**
 * Reads a note and verifies it with the keys that the caller trusts; at least one must have signed.
 *
 * Errors: those of {@link parseNote}; `signature_invalid` if a known key's signature fails (the whole note
 * is refused then); `signer_untrusted` if no known key signed it.
 */
export async function openNote(
  input: Uint8Array | string | Note,
  verifiers: readonly NoteVerifier[],
): Promise<VerifiedNote> {
  const note = typeof input === 'string' || input instanceof Uint8Array ? parseNote(input) : input
  const verified = new Map<NoteVerifier, VerifiedNoteSignature>()
  let unknown = 0
  for (const line of note.signatures) {
    const known = verifiers.filter(({ name, id }) => name === line.name && id === line.id)
    if (known.length === 0) unknown++
    for (const verifier of known) {
      const time = await verifyLine(note.text, line, verifier)
      if (time === undefined) {
        throw new SignetError('signature_invalid', `signature of ${quote(line.name)} fails`, {
          where: line.name,
        })
      }
      const entry = { verifier, line: formatNoteSignature(line) }
      if (!verified.has(verifier)) {
        verified.set(verifier, verifier.scheme.timestamped ? { ...entry, time } : entry)
      }
    }
  }
  if (verified.size === 0) {
    throw new SignetError('signer_untrusted', 'no known key signed the note', {
      remedy: `it is signed by ${note.signatures.map(({ name }) => quote(name)).join(', ')}`,
    })
  }
  return { text: note.text, verified: [...verified.values()], unknown }
}

/** The time of a signature that holds (0 if its scheme has none), else undefined. */
async function verifyLine(
  text: string,
  { signature }: NoteSignature,
  { name, scheme, key }: NoteVerifier,
): Promise<number | undefined> {
  if (!scheme.timestamped) {
    return await key.verify(scheme.message(text, name, 0), signature) ? 0 : undefined
  }
  if (signature.length < 8) return undefined
  const time = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0)
  // tlog-cosignature allows times to 2^63-1; none that a double cannot hold will be an honest one.
  if (time > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  const message = scheme.message(text, name, Number(time))
  return await key.verify(message, signature.subarray(8)) ? Number(time) : undefined
}

/** The verifier of a public key under a name. Errors: `vkey_malformed`, `algorithm_mismatch`. */
export async function noteVerifier(
  name: string,
  key: PublicKey,
  scheme: NoteScheme = ED25519_NOTE,
): Promise<NoteVerifier> {
  if (!isName(name)) {
    throw new SignetError('vkey_malformed', `${quote(name)} is no name of a note key`, {
      remedy: 'use a host and path without spaces and plus signs, such as example.com/log',
    })
  }
  if (key.algorithm.name !== scheme.algorithm.name) {
    throw new SignetError(
      'algorithm_mismatch',
      `note signatures of type ${scheme.type} are made by ${scheme.algorithm.name} keys`,
    )
  }
  const input = concat(utf8(`${name}\n`), Uint8Array.of(scheme.type), key.raw)
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', input))
  return { name, id: toHex(hash.subarray(0, 4)), scheme, key }
}

/** The text form of a verifier: `name+id+base64(type ‖ key)`. */
export function formatVkey({ name, id, scheme, key }: NoteVerifier): string {
  return `${name}+${id}+${toBase64(concat(Uint8Array.of(scheme.type), key.raw))}`
}

/**
 * Reads a verifier key. Its type must be one of `schemes`, its id the recommended hash.
 * Errors: `vkey_malformed`.
 */
export async function parseVkey(
  text: string,
  schemes: readonly NoteScheme[] = [ED25519_NOTE],
): Promise<NoteVerifier> {
  const [name = '', id = '', base64 = '', ...more] = splitVkey(text)
  const bytes = decode(base64)
  if (more.length > 0 || bytes === undefined || !/^[0-9a-f]{8}$/.test(id)) {
    throw new SignetError('vkey_malformed', 'a verifier key is name+id+base64')
  }
  const scheme = schemes.find(({ type }) => type === bytes[0])
  if (scheme === undefined) {
    throw new SignetError('vkey_malformed', `verifier key of ${quote(name)} has an unfit type`)
  }
  if (bytes.length - 1 !== scheme.algorithm.publicBytes) {
    throw new SignetError('vkey_malformed', `verifier key of ${quote(name)} has a wrong length`)
  }
  const key = await publicKey(scheme.algorithm, bytes.slice(1)).catch((cause) => {
    throw new SignetError('vkey_malformed', `verifier key of ${quote(name)} is no key`, { cause })
  })
  const verifier = await noteVerifier(name, key, scheme)
  if (verifier.id !== id) {
    throw new SignetError(
      'vkey_malformed',
      `verifier key of ${quote(name)}: the id is not its hash`,
    )
  }
  return verifier
}

/** Base64 may hold plus signs, a name may not: only the first two part. */
function splitVkey(text: string): string[] {
  const first = text.indexOf('+')
  const second = text.indexOf('+', first + 1)
  if (first < 0 || second < 0) return []
  return [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)]
}

/** Options of {@link noteSigner}. */
export interface NoteSignerOptions {
  /** How it signs. Default {@link ED25519_NOTE}. */
  readonly scheme?: NoteScheme | undefined
  /** The time, in milliseconds since 1970. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

/** A signer of notes. Errors as of {@link noteVerifier}; signing throws what the key throws. */
export async function noteSigner(
  name: string,
  key: Key,
  options: NoteSignerOptions = {},
): Promise<NoteSigner> {
  const { scheme = ED25519_NOTE, clock = Date.now } = options
  const verifier = await noteVerifier(name, key.publicKey, scheme)
  return {
    verifier,
    async sign(text) {
      const time = scheme.timestamped ? Math.floor(clock() / 1000) : 0
      const signature = await signMessage(key, scheme.message(text, name, time))
      return formatNoteSignature({
        name,
        id: verifier.id,
        signature: scheme.timestamped ? concat(u64(time), signature) : signature,
      })
    },
  }
}

/** A note of a text and the lines of its signers. Errors: `note_malformed` (the text is none). */
export async function signNote(text: string, signers: readonly NoteSigner[]): Promise<string> {
  let note = `${text}\n`
  for (const signer of signers) note += await signer.sign(text)
  parseNote(note)
  return note
}

/** An unsigned 64-bit integer, big-endian. */
export function u64(value: number): Bytes {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value))
  return bytes
}

function idBytes(id: string): Bytes {
  return Uint8Array.from({ length: 4 }, (_, i) => parseInt(id.slice(2 * i, 2 * i + 2), 16))
}

function isName(name: string): boolean {
  // deno-lint-ignore no-control-regex -- control characters are what is refused
  return name !== '' && name.isWellFormed() && !/[\p{White_Space}+\u0000-\u001f]/u.test(name)
}

function decode(base64: string): Bytes | undefined {
  try {
    return fromBase64(base64)
  } catch {
    return undefined
  }
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 120))
}

function malformed(why: string): SignetError {
  return new SignetError('note_malformed', `note: ${why}`)
}
