/**
 * An exclusive lock that ends with its process, however it ends: the lock that SQLite takes on a database
 * file (`BEGIN EXCLUSIVE`). It is the operating system's own (fcntl, LockFileEx), so nothing stale is left
 * by a crash, a power cut or a restored backup, and there is no process id to be mistaken about; and it
 * is the one such lock that Deno, Node and Bun all have, and that all three respect of each other.
 *
 * Not for network file systems whose locks do not work. Deleting the lock file of a running writer defeats
 * it, as it would any lock file.
 */
import { DatabaseSync } from 'node:sqlite'
import { SignetError } from '../src/errors.ts'

/** A lock that is held. */
export interface HeldLock {
  /** Gives it back. Idempotent. */
  release(): void
}

/**
 * Takes the lock of a file, which is made if need be and holds nothing; does not wait.
 * Errors: `log_locked` while anybody has it, in this process or another; `io_failed`.
 */
export function takeLock(path: string): HeldLock {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    database.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE')
  } catch (cause) {
    database?.close()
    if (/locked|busy/i.test((cause as Error).message)) {
      throw new SignetError('log_locked', 'another writer has the log open', {
        where: path,
        remedy: 'one process may write to a log; ask that one, or wait until it has ended',
        cause,
      })
    }
    throw new SignetError('io_failed', 'the lock file cannot be opened', { where: path, cause })
  }
  const held = database
  let open = true
  return {
    release() {
      if (open) held.close()
      open = false
    },
  }
}
