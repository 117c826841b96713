/**
 * Audit logs of Grantex devices, in the dialect of its TypeScript and of its Python client. Their own
 * checks leave out signatures, and partly the first link and the numbering; here all of them are made.
 *
 * The chain has nothing that a cut tail would miss: a log that ends early is whole by its own measure.
 */
import { fromBase64Url, fromHex, toHex, utf8 } from '../../bytes.ts'
import { isSignetError } from '../../errors.ts'
import type { PublicKey } from '../../keys/mod.ts'
import {
  type ForeignLog,
  type Line,
  type LineFault,
  splitAudit,
  textOf,
  wellFormed,
} from '../audit_lines.ts'
import { type LexicalJson, pythonCanonical } from '../lexical_json.ts'

interface Dialect {
  readonly format: 'grantex-ts' | 'grantex-py'
  readonly genesis: string
  readonly names: Readonly<Record<'agent' | 'grant' | 'previous', string>>
  /** The text that is hashed; undefined if a member is missing or of a wrong kind. */
  canonical(line: Line): string | undefined
  signature(text: string): Uint8Array
  /** Two entries that differ and have one canonical text. */
  ambiguous(line: Line): boolean
}

const TS: Dialect = {
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
    ['timestamp', 'action', 'agentDID', 'grantId', 'result'].some((name) =>
      textOf(line, name)?.includes('|')
    ) || (textsOf(line.json.members.get('scopes')) ?? []).some((scope) => /[|,]/.test(scope)),
}

const PY: Dialect = {
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

/** Options of {@link readGrantexAudit}. */
export interface GrantexAuditOptions {
  /** The device's Ed25519 key. Without it no signature is verified, and `signed` is 0. */
  readonly key?: PublicKey | undefined
}

/**
 * Reads an audit log and makes all checks of its chain. Faults are reported, not thrown.
 * Errors: `too_large`.
 */
export async function readGrantexAudit(
  file: Uint8Array,
  options: GrantexAuditOptions = {},
): Promise<ForeignLog> {
  const { lines, faults } = splitAudit(file)
  const dialect = lines[0]?.json.members.has('agent_did') ? PY : TS
  let previous = dialect.genesis
  let seq = 1
  let time = -Infinity
  let signed = 0
  for (const line of lines) {
    const fault = (message: string) => faults.push({ line: line.number, message })
    const canonical = dialect.canonical(line)
    if (canonical === undefined) {
      fault(`it is no entry of the dialect ${dialect.format}`)
      continue
    }
    if (numberOf(line) !== String(seq)) fault(`it has number ${numberOf(line)}, not ${seq}`)
    if (textOf(line, dialect.names.previous) !== previous) {
      fault(
        seq === 1
          ? 'it does not start from the genesis value'
          : 'it does not follow the line before',
      )
    }
    const hash = await sha256Hex(canonical)
    const claimed = textOf(line, 'hash') ?? ''
    if (claimed !== hash) fault('its hash is not that of its content')
    if (dialect.ambiguous(line)) fault('another content has the same hash: "|" or "," in a field')
    const at = Date.parse(textOf(line, 'timestamp') ?? '')
    if (Number.isNaN(at)) fault('its time is none')
    else if (at < time) fault('its time is before that of the line before')
    if (options.key !== undefined) {
      if (await verifySignature(dialect, line, hash, options.key)) signed++
      else fault('its signature fails')
    }
    time = Number.isNaN(at) ? time : Math.max(time, at)
    previous = claimed
    seq = Number(numberOf(line)) + 1
  }
  return {
    format: dialect.format,
    lines: lines.map((line) => ({ text: line.text, event: eventOf(line, dialect) })),
    faults: faults.sort((a: LineFault, b: LineFault) => a.line - b.line),
    signed,
  }
}

function eventOf(line: Line, { format, names }: Dialect): ForeignLog['lines'][number]['event'] {
  return {
    type: `import.${format}`,
    actor: wellFormed(textOf(line, names.agent)),
    action: wellFormed(textOf(line, 'action')),
    outcome: wellFormed(textOf(line, 'result')),
    ref: wellFormed(textOf(line, names.grant)),
    data: { line: line.text },
  }
}

/** The signature is over the 64 ASCII bytes of the hash in hexadecimal. */
async function verifySignature(
  dialect: Dialect,
  line: Line,
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

function numberOf({ json }: Line): string {
  const seq = json.members.get('seq')
  return seq?.kind === 'literal' ? seq.text : ''
}

function textsOf(json: LexicalJson | undefined): string[] | undefined {
  if (json?.kind !== 'array') return undefined
  const texts = json.items.flatMap((item) => item.kind === 'string' ? [item.value] : [])
  return texts.length === json.items.length ? texts : undefined
}

/** Lone surrogates become U+FFFD, as in the runtimes of the writers. */
async function sha256Hex(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text)
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}
