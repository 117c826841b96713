/** Logs of other systems that hold one JSON object a line. */
import { type Bytes, fromUtf8, owned } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { LogEvent } from '../log/mod.ts'
import { type LexicalJson, parseLexical } from './lexical_json.ts'

/** A fault of a foreign log, and the line (from 1) that has it. */
export interface LineFault {
  /** Counts from 1. */
  readonly line: number
  /** What is wrong. */
  readonly message: string
}

/** A foreign log as read. */
export interface ForeignLog {
  /** Whose format it is. */
  readonly format: 'grantex-ts' | 'grantex-py' | 'trusthandoff'
  /** Its lines, byte for byte, without newlines, and what an entry of ours says about each. */
  readonly lines: readonly { readonly text: string; readonly event: LogEvent }[]
  /** What is wrong with it; empty if its checks hold. */
  readonly faults: readonly LineFault[]
  /** How many lines have a signature that was verified. */
  readonly signed: number
}

/** One line taken apart. */
export interface Line {
  readonly number: number
  readonly text: string
  readonly json: LexicalJson & { readonly kind: 'object' }
}

const MAX_LINE = 60_000

/**
 * Splits a file into lines and parses each. A line that does not parse, and a last line that does not end,
 * are faults; `too_large` if a line does not fit into an entry.
 */
export function splitAudit(file: Uint8Array): { lines: Line[]; faults: LineFault[] } {
  const lines: Line[] = []
  const faults: LineFault[] = []
  let at = 0
  for (let number = 1; at < file.length; number++) {
    const found = file.indexOf(10, at)
    const end = found < 0 ? file.length : found
    const bytes: Bytes = owned(file.slice(at, end))
    at = end + 1
    if (found < 0) faults.push({ line: number, message: 'the last line does not end: torn or cut' })
    if (bytes.length > MAX_LINE) {
      throw new SignetError('too_large', `line ${number} has more than ${MAX_LINE} bytes`)
    }
    try {
      const text = fromUtf8(bytes, `line ${number}`)
      const json = parseLexical(text)
      if (json.kind === 'object') lines.push({ number, text, json })
      else faults.push({ line: number, message: 'it is no object' })
    } catch (error) {
      if (!isSignetError(error)) throw error
      faults.push({ line: number, message: error.message })
    }
  }
  return { lines, faults }
}

/** A member that is text, else undefined. */
export function textOf({ json }: Pick<Line, 'json'>, name: string): string | undefined {
  const member = json.members.get(name)
  return member?.kind === 'string' ? member.value : undefined
}

/** Text that an entry can hold: lone surrogates have no UTF-8. */
export function wellFormed(text: string | undefined): string | undefined {
  return text?.toWellFormed()
}
