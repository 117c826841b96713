/**
 * Writes audit entries that Grantex's own clients take for theirs, in either dialect. What the TypeScript dialect
 * cannot hold without ambiguity is refused: its canonical text escapes nothing.
 */
import { toBase64Url, toHex, utf8 } from '../../bytes.ts'
import { quoted, SignetError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { type Key, signMessage } from '../../keys/mod.ts'
import { parseLexical } from '../lexical_json.ts'
import { canonicalHash, type Dialect, type GrantexDialect, PY, TS } from './dialects.ts'
import { isPlainJson, type PythonJson, pythonJson } from './python_json.ts'

/** What happened. */
export interface GrantexEvent {
  /** `tool:NAME`, as their adapters write it. */
  readonly action: string
  /** DID of the agent. */
  readonly agent: string
  /** Id of the grant. */
  readonly grant: string
  /** Scopes of the grant. */
  readonly scopes: readonly string[]
  /** `success`, `auth_failure`, `scope_violation`, `execution_error`, or a word of one's own. */
  readonly result: string
  /** More. Python's entries always have it. `bigint` and `PythonFloat` are for that dialect alone. */
  readonly metadata?: { readonly [name: string]: PythonJson | undefined } | undefined
  /** When, in milliseconds since 1970. */
  readonly time: number
}

/** Where a chain stands. */
export interface GrantexChain {
  /** Number of the last entry; 0 before the first. */
  readonly seq: number
  /** Its hash; undefined before the first. */
  readonly hash: string | undefined
}

/** An entry as written. */
export interface GrantexLine extends GrantexChain {
  /** One line of the log file, without the newline. */
  readonly text: string
  /** Hash of the entry. */
  readonly hash: string
}

/** The chain before its first entry. */
export const GRANTEX_START: GrantexChain = Object.freeze({ seq: 0, hash: undefined })

/**
 * Writes the entry that follows `chain`, signed by the device's Ed25519 key.
 *
 * Errors: `entry_malformed` (a field that another content would have the same hash with, no time, a number that
 * the dialect lacks), `algorithm_mismatch`, `json_number_unsafe`, `json_surrogate`, `json_too_deep`, and the key's.
 */
export async function writeGrantexEntry(
  dialect: GrantexDialect,
  event: GrantexEvent,
  chain: GrantexChain,
  key: Key,
): Promise<GrantexLine> {
  if (key.publicKey.algorithm.name !== 'Ed25519') {
    throw new SignetError('algorithm_mismatch', 'audit entries of Grantex are under Ed25519')
  }
  const seq = chain.seq + 1
  if (!Number.isSafeInteger(seq) || seq < 1) throw malformed('its number is none')
  const one = dialect === 'grantex-ts' ? TS : PY
  const content = contentOf(one, event, seq, chain.hash ?? one.genesis)
  const line = { text: content, json: parseLexical(content) }
  if (line.json.kind !== 'object') throw malformed('it is no object')
  const read = { text: line.text, json: line.json }
  if (one.ambiguous(read)) throw malformed('"|" or "," stands in a field, or a scope is empty')
  const hash = await canonicalHash(one.canonical(read)!)
  const raw = await signMessage(key, utf8(hash))
  const signature = one === TS ? toHex(raw) : `${toBase64Url(raw)}==`
  const text = `${content.slice(0, -1)},"hash":"${hash}","signature":"${signature}"}`
  return { seq, hash, text }
}

/** The members that are hashed, in the order of the files. */
function contentOf(
  { format, names, genesis }: Dialect,
  event: GrantexEvent,
  seq: number,
  previous: string,
): string {
  const { action, agent, grant, scopes, result, metadata } = event
  for (const field of [action, agent, grant, result, ...scopes]) {
    if (!field.isWellFormed()) throw malformed(`${quoted(field)} holds a lone surrogate`)
  }
  if (previous !== genesis && !/^[0-9a-f]{64}$/.test(previous)) {
    throw malformed('what it follows is no hash')
  }
  if (!(Math.abs(event.time) <= 8.64e15)) throw malformed('it has no time')
  const iso = new Date(event.time).toISOString()
  if (format === 'grantex-py') {
    // Python's isoformat: microseconds, none if there are none.
    const timestamp = iso.replace(
      /\.(\d{3})Z$/,
      (_, millis) => `${millis === '000' ? '' : `.${millis}000`}+00:00`,
    )
    return pythonJson({
      ...{ seq, timestamp, action, [names.agent]: agent, [names.grant]: grant, scopes, result },
      ...{ metadata: metadata ?? {}, [names.previous]: previous },
    })
  }
  if (metadata !== undefined) {
    if (!isPlainJson(metadata)) throw malformed('its metadata has a number that only Python has')
    parseJson(JSON.stringify(metadata)) // strict: no lone surrogates, no unsafe integers
  }
  return JSON.stringify({
    ...{ seq, timestamp: iso, action, [names.agent]: agent, [names.grant]: grant, scopes, result },
    ...(metadata === undefined ? {} : { metadata }),
    [names.previous]: previous,
  })
}

function malformed(why: string): SignetError {
  return new SignetError('entry_malformed', `audit entry: ${why}`)
}
