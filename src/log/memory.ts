/** A log's storage in memory: for tests, and as the pattern of a storage. Durable as long as the object. */
import type { Bytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import type { LogStorage, LogWriter } from './storage.ts'

/** A {@link LogStorage} in memory. */
export function memoryLogStorage(): LogStorage {
  const resources = new Map<string, Bytes>()
  let journal: Bytes[] = []
  let locked = false
  return {
    read: (path) => Promise.resolve(resources.get(path)?.slice()),
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async lock(): Promise<LogWriter> {
      if (locked) throw new SignetError('log_locked', 'the log has a writer already')
      locked = true
      let held = true
      const check = () => {
        if (!held) throw new SignetError('log_closed', 'the writer gave its lock back')
      }
      return {
        records: journal.map((record) => record.slice()),
        cut: 0,
        // deno-lint-ignore require-await -- a fault must reject, not throw
        async append(record) {
          check()
          journal.push(record.slice())
        },
        async publish(changes) {
          check()
          const before = journal.length
          for (const { path, bytes } of await changes) {
            if (bytes !== undefined) resources.set(path, bytes.slice())
            else {
              const gone = [...resources.keys()].filter((one) => `${one}/`.startsWith(`${path}/`))
              for (const one of gone) resources.delete(one)
            }
          }
          journal = journal.slice(before)
        },
        // deno-lint-ignore require-await -- a fault must reject, not throw
        async release() {
          if (held) locked = false
          held = false
        },
      }
    },
  }
}
