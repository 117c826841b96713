/**
 * What a verifier remembers of the publishers files it accepted, so that nobody can hand it an older one.
 * The first time somebody has to name the owner; from then on the owners of the last version count, and the
 * version never goes back.
 */
import { SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import {
  type PublishersState,
  type VerifiedPublishers,
  verifyPublishers,
  type VerifyPublishersOptions,
} from './publishers_file.ts'

/** The port: the last accepted state of each publishers file. `id` is any text that names the file. */
export interface PublishersMemory {
  /**
   * The state, or undefined if no version was ever accepted. A state that cannot be read throws
   * (`publishers_malformed`, `file_unreadable`): forgetting would let an older list in.
   */
  read(id: string): Promise<PublishersState | undefined>
  /**
   * Puts a state in the place of `expected` (undefined: of none), atomically. False, and nothing is written,
   * if another one stands there now. Once true, it survives a crash.
   */
  write(
    id: string,
    state: PublishersState,
    expected: PublishersState | undefined,
  ): Promise<boolean>
}

/** A memory that lasts as long as the process. */
export function publishersInMemory(): PublishersMemory {
  const states = new Map<string, PublishersState>()
  return {
    read: (id) => Promise.resolve(states.get(id)),
    write: (id, state, expected) => {
      const free = states.get(id)?.digest === expected?.digest
      if (free) states.set(id, state)
      return Promise.resolve(free)
    },
  }
}

/** Options of {@link acceptPublishers}. */
export interface AcceptOptions extends VerifyPublishersOptions {
  /** Owners that somebody vouches for. Used the first time, and only then. */
  readonly owners?: readonly PublicKey[] | undefined
}

/**
 * Verifies a publishers file against what is remembered under `id`, and remembers it.
 *
 * Errors: those of {@link verifyPublishers} and of the memory; `publishers_untrusted` when nothing is
 * remembered and no owner was named.
 */
export async function acceptPublishers(
  file: Uint8Array,
  memory: PublishersMemory,
  id: string,
  options: AcceptOptions = {},
): Promise<VerifiedPublishers> {
  const { owners = [], ...rest } = options
  // Each further round means that somebody else's version was accepted meanwhile: it ends.
  for (let round = 0; round < 100; round++) {
    const previous = await memory.read(id)
    if (previous === undefined && owners.length === 0) {
      throw new SignetError(
        'publishers_untrusted',
        'this publishers file was never accepted here, and no owner of it was named',
        { remedy: "name the owner's public key once: signet publishers trust FILE --owner KEY" },
      )
    }
    const verified = await verifyPublishers(
      file,
      previous === undefined ? { owners, ...rest } : { previous, ...rest },
    )
    if (previous?.digest === verified.state.digest) return verified
    if (await memory.write(id, verified.state, previous)) return verified
  }
  throw new SignetError('publishers_conflict', 'other programs keep changing what is remembered')
}
