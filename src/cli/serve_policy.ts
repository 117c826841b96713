/** The policy of a server, out of a file that may be changed while it runs. */
import process from 'node:process'
import { isSignetError } from '../errors.ts'
import {
  type Decide,
  type GrantPolicy,
  MAX_POLICY_BYTES,
  parseGrantPolicy,
} from '../gateway/mod.ts'
import type { Run } from './context.ts'
import { printable } from './text.ts'

/** A policy that is in force. */
export interface ServedPolicy {
  /** What it says now. */
  readonly decide: Decide
  /** Listens to SIGHUP no more. */
  close(): void
}

/**
 * Reads a policy, and again at each SIGHUP. A file that cannot be read or understood then changes nothing: the policy
 * that was in force stays. Errors: those of `readFile` and `parseGrantPolicy`, the first time.
 */
export async function servedPolicy(run: Run, file: string): Promise<ServedPolicy> {
  const read = async () =>
    parseGrantPolicy(await run.backends.readFile(file, MAX_POLICY_BYTES), printable(file))
  let current: GrantPolicy = await read()
  const tell = () => {
    const { size } = current
    run.say(`policy ${printable(file)}: ${size} rule${size === 1 ? '' : 's'}`)
  }
  let reading: Promise<void> = Promise.resolve()
  const again = () => {
    reading = reading.then(async () => {
      try {
        current = await read()
        tell()
      } catch (error) {
        const why = isSignetError(error) ? `${error.message} [${error.code}]` : String(error)
        // Not `say`: whoever changed the file must hear that it does not count, --quiet or not.
        run.terminal.err(`policy not taken, the one before stays in force: ${printable(why)}\n`)
      }
    })
  }
  process.on('SIGHUP', again)
  tell()
  return {
    decide: (question) => current.decide(question),
    close: () => void process.off('SIGHUP', again),
  }
}
