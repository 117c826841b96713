/** What commands that write to a log share: their flags, and opening it. */
import type { Command } from 'commander'
import { formatVkey } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { type Log, openLog, type Recovery } from '../log/mod.ts'
import { several, withKeys } from './command.ts'
import type { CommonFlags, Run } from './context.ts'
import { fileAnchor, originOf } from './log_trust.ts'
import { printable } from './text.ts'

/** Flags of a command that writes to a log. */
export interface WriterFlags extends CommonFlags {
  readonly key: string
  readonly origin?: string
  readonly alsoSign?: string[]
  readonly anchor?: string
}

/** Adds the flags of a command that writes to a log. */
export function withWriter(command: Command): Command {
  return withKeys(command)
    .requiredOption('--key <uri>', "the log's Ed25519 or ML-DSA-44 key")
    .option('--origin <name>', "the log's name, such as example.com/audit; needed when it is made")
    .option('--also-sign <uri>', 'a further key that signs each checkpoint (ML-DSA-44)', several)
    .option('--anchor <file>', 'keep the newest checkpoint there too, and compare with it first')
}

/** Opens a log for writing after the flags, and closes it whatever happens. */
export async function writing<T>(
  run: Run,
  folder: string,
  flags: WriterFlags,
  work: (log: Log) => Promise<T>,
): Promise<T> {
  const storage = await run.backends.logStorage(folder)
  const found = await originOf(storage)
  const origin = flags.origin ?? found
  if (origin === undefined) {
    throw new SignetError('usage_invalid', `there is no log in ${folder}`, {
      remedy: 'to make one, give it a name: --origin example.com/audit',
    })
  }
  const ring = await run.keyring()
  const keys = []
  try {
    for (const uri of [flags.key, ...flags.alsoSign ?? []]) keys.push(await ring.open(uri))
    const log = await openLog(storage, keys[0]!, {
      origin,
      alsoSign: keys.slice(1),
      anchor: flags.anchor === undefined ? undefined : fileAnchor(run, flags.anchor),
      sha256: await run.backends.sha256(),
      onFault: (error) => run.say(`warning: ${printable((error as Error).message)}`),
    })
    if (found === undefined) {
      run.say(`a new log; its verifier key is ${log.verifiers.map(formatVkey).join(' and ')}`)
    }
    if (log.recovery.entries > 0 || log.recovery.cut > 0) run.say(recoveryText(log.recovery))
    try {
      return await work(log)
    } finally {
      await log.close()
    }
  } finally {
    for (const key of keys) await key.close()
  }
}

function recoveryText({ entries, cut }: Recovery): string {
  return `recovered: ${entries} entries were in the journal only, ${cut} bytes of a torn write were cut`
}
