/** `signet log import`: the log of another system, checked properly and taken in whole. */
import { owned, toHex } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { isTrusthandoff, readGrantexAudit, readTrusthandoffEvents } from '../interop/mod.ts'
import type { Log } from '../log/mod.ts'
import type { Run } from './context.ts'
import { onePublic } from './public_side.ts'
import { printable } from './text.ts'

const MAX_FILE = 512 * 2 ** 20
const AT_ONCE = 512

/** Checks a file and appends its lines to the log that `writing` opens. */
export async function importLog(
  run: Run,
  flags: { readonly signer?: string; readonly acceptFaults?: boolean },
  path: string,
  writing: (work: (log: Log) => Promise<void>) => Promise<void>,
): Promise<void> {
  const file = await run.backends.readFile(path, MAX_FILE)
  const key = flags.signer === undefined ? undefined : await onePublic(run, flags.signer)
  const found = isTrusthandoff(file)
    ? readTrusthandoffEvents(file)
    : await readGrantexAudit(file, { key })
  const { format, lines, faults, signed } = found
  if (faults.length > 0) {
    const told = faults.slice(0, 20).map(({ line, message }) =>
      `line ${line}: ${printable(message)}`
    )
    run.say(told.join('\n'))
    if (!flags.acceptFaults) {
      throw new SignetError('content_differs', `${path} has ${faults.length} faults`, {
        where: `line ${faults[0]!.line}`,
        remedy: 'look at them; --accept-faults takes it in and logs them',
      })
    }
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', owned(file)))
  const result = { format, lines: lines.length, faults: faults.length, signed }
  await writing(async (log) => {
    const from = log.size
    for (let at = 0; at < lines.length; at += AT_ONCE) {
      await Promise.all(lines.slice(at, at + AT_ONCE).map(({ event }) => log.append(event)))
    }
    const first = faults.slice(0, 100).map(({ line, message }) => ({ line, message }))
    await log.append({
      type: 'import.done',
      outcome: faults.length === 0 ? 'whole' : 'faulty',
      data: { ...result, faults: first, sha256: toHex(digest), from },
    })
    run.answer(
      { ok: faults.length === 0, ...result, from },
      `${lines.length} lines of ${format} are entries ${from} to ${log.size - 2}; ` +
        (key === undefined ? 'no signature was verified' : `${signed} signatures hold`),
    )
  })
}
