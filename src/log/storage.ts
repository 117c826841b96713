/**
 * What a log needs of a disk. A storage is two things: a store of whole resources by path (`checkpoint`,
 * `tile/…` as in tlog-tiles, `private/…`), and a journal of records that one writer appends to.
 * It knows nothing of trees, entries or keys.
 */
import type { Bytes } from '../bytes.ts'

/** The port. {@link LogStorage.read} needs no lock and works beside a writer. */
export interface LogStorage {
  /**
   * The bytes of a resource, or undefined. Throws `io_failed`.
   */
  read(path: string): Promise<Bytes | undefined>
  /**
   * Takes the lock of the only writer, and cuts a torn write off the journal. The lock ends with the
   * process, however it ends. Throws `log_locked` while another writer has it (in this process or any
   * other), `log_corrupt` for a journal that is damaged other than by a torn write, `io_failed`.
   */
  lock(): Promise<LogWriter>
}

/** The writer's side. Calls of {@link LogWriter.append} do not overlap; nor do those of publish. */
export interface LogWriter {
  /** Records that are durable and not yet published, oldest first. May hold some that were published. */
  readonly records: readonly Bytes[]
  /** How many bytes of a torn write were cut off. */
  readonly cut: number
  /**
   * Appends one record; resolves when it would survive a power cut. Throws `log_not_durable` when the
   * record is certainly not in the journal, `log_in_doubt` when that could not be made sure: the writer is
   * of no more use then, and must be opened anew.
   */
  append(record: Bytes): Promise<void>
  /**
   * Writes and deletes resources, each whole or not at all, and resolves when all would survive a power cut
   * (but partial tiles that are deleted may come back). Deletions come after what is written before the last
   * change, in their order. The last change is not visible before all others are durable. Afterwards records that were appended before this
   * call (not: before `changes` settled) are forgotten. If it throws (`io_failed`), none is forgotten.
   */
  publish(changes: Promise<readonly Change[]>): Promise<void>
  /** Gives the lock back. Idempotent. */
  release(): Promise<void>
}

/** A resource to write or, without bytes, to delete. Deleting takes all below the path along (`tile/0/000.p`). */
export interface Change {
  /** Its path. */
  readonly path: string
  /** All of it. */
  readonly bytes?: Bytes | undefined
}
