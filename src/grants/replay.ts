/** Where used proofs are remembered, so that each counts once. */
import { SignetError } from '../errors.ts'

/**
 * Remembers names until they expire. `insert` is atomic: of two at once with one name, one gets `true`. A store that
 * cannot tell throws, and the call is denied.
 */
export interface ReplayStore {
  /** True if the name is new and is now remembered until `expires` (seconds); false if it was used. */
  insert(id: string, expires: number): boolean | Promise<boolean>
}

/** Options of {@link memoryReplayStore}. */
export interface MemoryReplayOptions {
  /** Most names. Default 100 000. */
  readonly capacity?: number | undefined
  /** The time, in seconds. Default: the clock. */
  readonly now?: (() => number) | undefined
}

/**
 * A store in memory, for one process. It never forgets a name before that expires: when it is full of names that have
 * not, it throws `replay_store_full`. A clock that ran ahead and was set back opens no gap: what expires before the
 * latest time at which names were forgotten counts as used.
 */
export function memoryReplayStore(options: MemoryReplayOptions = {}): ReplayStore {
  const { capacity = 100_000, now = () => Date.now() / 1000 } = options
  const names = new Set<string>()
  /** Names by the second in which they expire, so that forgetting looks at nothing else. */
  const bySecond = new Map<number, string[]>()
  let forgottenTo = -Infinity

  const forget = (time: number) => {
    const before = Math.floor(time)
    if (!(before > forgottenTo)) return
    forgottenTo = before
    for (const [second, expired] of bySecond) {
      if (second >= before) continue
      for (const name of expired) names.delete(name)
      bySecond.delete(second)
    }
  }

  return {
    insert(id, expires) {
      const second = Math.ceil(expires)
      forget(now())
      if (names.has(id) || !(second >= forgottenTo)) return false
      if (names.size >= capacity) {
        throw new SignetError(
          'replay_store_full',
          `the memory of used proofs is full (${capacity}), and none has expired`,
          { remedy: 'wait, or give it more room' },
        )
      }
      names.add(id)
      const list = bySecond.get(second)
      if (list === undefined) bySecond.set(second, [id])
      else list.push(id)
      return true
    },
  }
}
