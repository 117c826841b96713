/**
 * The two dialects of a Grantex audit entry: that of its TypeScript and that of its Python client. Both sign the
 * 64 ASCII characters of a SHA-256 in hexadecimal; what is hashed, and how it is named, differs.
 */
import { fromBase64Url, fromHex, toHex, utf8 } from '../../bytes.ts'
import { isSignetError } from '../../errors.ts'
import type { PublicKey } from '../../keys/mod.ts'
import { type Line, textOf } from '../audit_lines.ts'
import { type LexicalJson, pythonCanonical } from '../lexical_json.ts'

/** Whose format an entry has. */
export type GrantexDialect = 'grantex-ts' | 'grantex-py'

/** What differs between the dialects. */
export interface Dialect {
  readonly format: GrantexDialect
  /** What stands for the hash before the first entry. */
  readonly genesis: string
  readonly names: Readonly<Record<'agent' | 'grant' | 'previous', string>>
  /** The text that is hashed; undefined if a member is missing or of a wrong kind. */
  canonical(line: Pick<Line, 'json' | 'text'>): string | undefined
  /** The bytes of a signature as it is written. Errors: `encoding_invalid`. */
  signature(text: string): Uint8Array
  /** Two entries that differ and have one canonical text. */
  ambiguous(line: Pick<Line, 'json' | 'text'>): boolean
}

/** Pipes between the fields, and nothing escaped. */
export const TS: Dialect = {
  format: 'grantex-ts',
  genesis: '0'.repeat(16),
  names: { agent: 'agentDID', grant: 'grantId', previous: 'prevHash' },
  canonical(line) {
    const scopes = textsOf(line.json.members.get('scopes'))
    const seq = line.json.members.get('seq')
    const metadata = line.json.members.get('metadata')
    const texts = ['timestamp', 'action', 'agentDID', 'grantId'].map((name) => textOf(line, name))
    const [result, previous] = [textOf(line, 'result'), textOf(line, 'prevHash')]
    if (
      scopes === undefined || seq?.kind !== 'literal' ||
      [...texts, result, previous].includes(undefined)
    ) {
      return undefined
    }
    // The line is JSON.stringify's work, so its text of the metadata is what was hashed.
    const raw = metadata === undefined ? '' : line.text.slice(metadata.start, metadata.end)
    return [seq.text, ...texts, scopes.join(','), result, raw, previous].join('|')
  },
  signature: (text) => fromHex(text, 'signature'),
  ambiguous: (line) =>
    ['timestamp', 'action', 'agentDID', 'grantId', 'result', 'prevHash'].some((name) =>
      textOf(line, name)?.includes('|')
    ) ||
    // [""] and [] are joined to the same text, as are ["a,b"] and ["a", "b"].
    (textsOf(line.json.members.get('scopes')) ?? []).some((scope) => /^$|[|,]/.test(scope)),
}

/** JSON with sorted names, in ASCII, with Python's numbers. */
export const PY: Dialect = {
  format: 'grantex-py',
  genesis: '0'.repeat(64),
  names: { agent: 'agent_did', grant: 'grant_id', previous: 'prev_hash' },
  canonical({ json }) {
    const names = ['action', 'agent_did', 'grant_id', 'metadata', 'prev_hash', 'result', 'scopes']
    names.push('seq', 'timestamp')
    const members = new Map<string, LexicalJson>()
    for (const name of names) {
      const member = json.members.get(name)
      if (member === undefined) return undefined
      members.set(name, member)
    }
    return pythonCanonical({ ...json, members })
  },
  signature: (text) => fromBase64Url(text.replace(/==$/, ''), 'signature'),
  ambiguous: () => false,
}

/** The dialect of an entry, by its names. */
export function dialectOf(line: Pick<Line, 'json'> | undefined): Dialect {
  return line?.json.members.has('agent_did') ? PY : TS
}

/** SHA-256 in hexadecimal of a canonical text. Lone surrogates become U+FFFD, as in the writers' runtimes. */
export async function canonicalHash(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text)
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

/** Whether the entry's signature over a hash holds. The signature is over the 64 ASCII bytes of the hexadecimal. */
export async function signatureHolds(
  dialect: Dialect,
  line: Pick<Line, 'json'>,
  hash: string,
  key: PublicKey,
): Promise<boolean> {
  try {
    const signature = dialect.signature(textOf(line, 'signature') ?? '')
    return await key.verify(utf8(hash), signature)
  } catch (error) {
    if (isSignetError(error, 'encoding_invalid')) return false
    throw error
  }
}

/** The text of `seq`, whatever number that is. */
export function numberOf({ json }: Pick<Line, 'json'>): string {
  const seq = json.members.get('seq')
  return seq?.kind === 'literal' ? seq.text : ''
}

/** A list of texts, or undefined if it is none. */
export function textsOf(json: LexicalJson | undefined): string[] | undefined {
  if (json?.kind !== 'array') return undefined
  const texts = json.items.flatMap((item) => item.kind === 'string' ? [item.value] : [])
  return texts.length === json.items.length ? texts : undefined
}
