/**
 * Event logs of trusthandoff: one JSON object a line, neither chained nor signed. All that can be checked is
 * that each line is an event, that no event id stands twice, and that time does not run back.
 */
import { type ForeignLog, splitAudit, textOf, wellFormed } from './audit_lines.ts'

const HEADERS = ['event_id', 'event_type', 'timestamp', 'producer_id', 'correlation_id'] as const

/** Reads an event log. Faults are reported, not thrown. Errors: `too_large`. */
export function readTrusthandoffEvents(file: Uint8Array): ForeignLog {
  const { lines, faults } = splitAudit(file)
  const seen = new Set<string>()
  let time = -Infinity
  for (const line of lines) {
    const fault = (message: string) => faults.push({ line: line.number, message })
    const missing = HEADERS.filter((name) => textOf(line, name) === undefined)
    if (missing.length > 0) fault(`it has no ${missing.join(', ')}`)
    const id = textOf(line, 'event_id') ?? ''
    if (seen.has(id)) fault('its event_id stood before')
    seen.add(id)
    const at = Date.parse(textOf(line, 'timestamp') ?? '')
    if (Number.isNaN(at)) fault('its time is none')
    else if (at < time) fault('its time is before that of the line before')
    time = Number.isNaN(at) ? time : Math.max(time, at)
  }
  return {
    format: 'trusthandoff',
    lines: lines.map((line) => ({
      text: line.text,
      event: {
        type: 'import.trusthandoff',
        actor: wellFormed(textOf(line, 'producer_id')),
        action: wellFormed(textOf(line, 'event_type')),
        outcome: wellFormed(textOf(line, 'reason')),
        ref: wellFormed(textOf(line, 'packet_id')),
        trace: wellFormed(textOf(line, 'correlation_id')),
        data: { line: line.text.toWellFormed() },
      },
    })),
    faults: faults.sort((a, b) => a.line - b.line),
    signed: 0,
  }
}

/** True if the first line looks like an event of trusthandoff. */
export function isTrusthandoff(file: Uint8Array): boolean {
  return splitAudit(file.subarray(0, file.indexOf(10) + 1)).lines[0]?.json.members.has(
    'event_type',
  ) ??
    false
}
