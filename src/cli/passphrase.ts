/**
 * Where a passphrase comes from: a file, a descriptor, or somebody typing. Never the command line or the
 * environment: both can be read by others.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { fromUtf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'

import type { CliContext, CommonFlags, ProviderOptions } from './context.ts'

const MAX_BYTES = 4096

/** A source after the flags of a command. A passphrase that is typed for a new key is asked for twice. */
export function passphraseSource(
  { backends, terminal }: CliContext,
  flags: CommonFlags,
  fresh: boolean,
): ProviderOptions['passphrase'] {
  let read: string | undefined // a descriptor can be read once only
  return async (purpose) => {
    const { passphraseFile: file, passphraseFd: fd } = flags
    if (file !== undefined && fd !== undefined) {
      throw new SignetError(
        'usage_invalid',
        '--passphrase-file and --passphrase-fd exclude each other',
      )
    }
    if (file !== undefined) read ??= firstLine(await backends.readFile(file, MAX_BYTES))
    if (fd !== undefined) read ??= firstLine(readDescriptor(fd))
    if (read !== undefined) return read
    if (fresh && flags.insecureClearKey) return undefined // the new key is wanted in the clear
    if (terminal.askSecret === undefined) {
      throw new SignetError('passphrase_required', `a passphrase is needed for ${purpose}`, {
        remedy: 'give --passphrase-file FILE or --passphrase-fd N, or run it on a terminal',
      })
    }
    const typed = await terminal.askSecret(`Passphrase for ${purpose}: `)
    if (fresh && typed !== await terminal.askSecret('The same again: ')) {
      throw new SignetError('usage_invalid', 'the two passphrases differ')
    }
    return typed
  }
}

/** A file that an editor saved ends in a newline, which nobody types. */
function firstLine(bytes: Uint8Array): string {
  return fromUtf8(bytes, 'passphrase').split(/\r?\n/, 1)[0]!
}

/** Deno's `readSync` knows no inherited descriptors; every Unix has them as files. */
function readDescriptor(fd: number): Uint8Array {
  const path = `/dev/fd/${fd}`
  try {
    const bytes = readFileSync(process.platform === 'win32' ? fd : path)
    if (bytes.length <= MAX_BYTES) return bytes
  } catch (cause) {
    throw new SignetError('io_failed', `descriptor ${fd} cannot be read`, { cause })
  }
  throw new SignetError('too_large', `descriptor ${fd} gives more than a passphrase`)
}
