/**
 * Audit logs of Grantex devices, in the dialect of its TypeScript and of its Python client. Their own
 * checks leave out signatures, and partly the first link and the numbering; here all of them are made.
 *
 * The chain has nothing that a cut tail would miss: a log that ends early is whole by its own measure.
 */
import type { PublicKey } from '../../keys/mod.ts'
import { type ForeignLog, type LineFault, splitAudit, textOf, wellFormed } from '../audit_lines.ts'
import type { Line } from '../audit_lines.ts'
import { canonicalHash, type Dialect, dialectOf, numberOf, signatureHolds } from './dialects.ts'

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
  const dialect = dialectOf(lines[0])
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
    const hash = await canonicalHash(canonical)
    const claimed = textOf(line, 'hash') ?? ''
    if (claimed !== hash) fault('its hash is not that of its content')
    if (dialect.ambiguous(line)) fault('another content has the same hash: "|" or "," in a field')
    const at = Date.parse(textOf(line, 'timestamp') ?? '')
    if (Number.isNaN(at)) fault('its time is none')
    else if (at < time) fault('its time is before that of the line before')
    if (options.key !== undefined) {
      if (await signatureHolds(dialect, line, hash, options.key)) signed++
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
