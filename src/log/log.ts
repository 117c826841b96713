/**
 * The append-only log: one writer, group commit, checkpoints.
 *
 * An append is acknowledged when its entry is in the journal and would survive a power cut; all appends
 * that wait share one such write. Soon after, or when asked for, the entries go into tiles and the new
 * tree is signed: that is what readers see. What was acknowledged and not yet signed is found in the journal
 * when the log is opened again.
 */
import { type Bytes, utf8 } from '../bytes.ts'
import {
  formatVkey,
  type NoteSigner,
  type NoteVerifier,
  parseNote,
  parseNoteSignature,
  signNote,
} from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import { type LogAnchor, makeAnchor } from './anchor.ts'
import { formatTreeHead, openCheckpoint, type VerifiedCheckpoint } from './checkpoint.ts'
import { batchLength, type Commit, commitOf } from './commit.ts'
import { draftEntry, type EntryDraft, type LogEvent } from './entry.ts'
import { encodeRecord, type JournalSealer } from './journal.ts'
import type { Sha256, TreeHasher } from './merkle.ts'
import type { LogProof } from './proof.ts'
import { prunable } from './prunable.ts'
import type { Found, LogState } from './recover.ts'
import type { LogStorage, LogWriter } from './storage.ts'
import { TILE_WIDTH, tilePath } from './tile.ts'
import type { Unpublished } from './unpublished.ts'
import { LogView } from './view.ts'

/** Options of {@link openLog}. */
export interface OpenLogOptions {
  /** The log's name, in its checkpoints: a host and path without scheme, such as `example.com/audit`. */
  readonly origin: string
  /** More keys that sign each checkpoint: ML-DSA-44. */
  readonly alsoSign?: readonly Key[] | undefined
  /** Where the newest checkpoint is kept besides. The log is compared with it before anything is written. */
  readonly anchor?: LogAnchor | undefined
  /** The time, in milliseconds since 1970. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
  /** Default: portable. */
  readonly sha256?: Sha256 | undefined
  /** After how many milliseconds appended entries are signed and published. Default 250. */
  readonly publishAfter?: number | undefined
  /** Told when publishing or anchoring fails in the background; it is tried again. Default: silent. */
  readonly onFault?: ((error: unknown) => void) | undefined
}

/** An acknowledged entry. */
export interface Appended {
  /** Its index in the log. */
  readonly index: number
  /** Its bytes, canonical JSON. */
  readonly entry: Bytes
}

/** What opening found in the journal. */
export interface Recovery {
  /** Entries that were acknowledged, or about to be, and not yet published. */
  readonly entries: number
  /** Bytes of a torn write that were cut off. */
  readonly cut: number
}

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

type WaitingAppend = Waiting<Appended> & { readonly draft: EntryDraft }

/** With so many entries or bytes to publish it is done at once; with eight times that, appends wait for it. */
const PUBLISH_AT = 8192
const PUBLISH_AT_BYTES = 8 * 1024 * 1024

/** What a {@link Log} is made of. */
export interface LogParts {
  /** Where it is. */
  readonly storage: LogStorage
  /** The lock, and the right to write. */
  readonly writer: LogWriter
  /** They sign each checkpoint. */
  readonly signers: readonly NoteSigner[]
  /** Seals what goes into the journal. */
  readonly sealer: JournalSealer
  /** Makes the tree. */
  readonly hasher: TreeHasher
  /** What was there. */
  readonly found: Found
  /** As given. */
  readonly options: OpenLogOptions
}

/** An open log. Made by {@link openLog}. */
export class Log {
  /** The log's name. */
  readonly origin: string
  /** What verifies its checkpoints. */
  readonly verifiers: readonly NoteVerifier[]
  /** What opening found in the journal. */
  readonly recovery: Recovery
  readonly #parts: LogParts
  readonly #clock: () => number
  readonly #unpublished: Unpublished
  #state: LogState
  #checkpoint: VerifiedCheckpoint | undefined
  #cosignatures: string[] = []
  #clockBehind = false

  // One loop does all the work, so that nothing is published while a commit is under way.
  #appends: WaitingAppend[] = []
  #publishers: Waiting<VerifiedCheckpoint>[] = []
  #loop: Promise<void> | undefined
  #publishing: Promise<void> | undefined
  #due = false
  /** The last publication failed: the next one waits for the timer, or until somebody asks. */
  #stuck = false
  #timer: ReturnType<typeof setTimeout> | undefined
  #closed: Promise<void> | undefined
  #fault: SignetError | undefined

  /** Use {@link openLog}. */
  constructor(parts: LogParts) {
    const { found, options, signers, writer } = parts
    this.#parts = parts
    this.#clock = options.clock ?? Date.now
    this.#unpublished = found.unpublished
    this.#state = found.state
    this.#checkpoint = found.checkpoint
    this.origin = options.origin
    this.verifiers = signers.map(({ verifier }) => verifier)
    this.recovery = { entries: found.recovered, cut: writer.cut }
  }

  /** Called by {@link openLog}: tells in the log how it was found. */
  async start(): Promise<void> {
    if (this.size === 0) {
      const data = { id: crypto.randomUUID(), keys: this.verifiers.map(formatVkey) }
      await this.#appendOwn({ type: 'log.created', data })
    }
    if (this.recovery.entries > 0 || this.recovery.cut > 0) {
      await this.#appendOwn({ type: 'log.recovered', data: { ...this.recovery } })
    }
    await this.checkpoint()
  }

  /** Number of acknowledged entries. */
  get size(): number {
    return this.#state.edge.size
  }

  /**
   * Appends an entry; resolves when it would survive a power cut. Calls need not wait for each other: those
   * that come while a write is under way share the next one, in the order of the calls.
   *
   * Errors: `entry_malformed`, `entry_too_large` and those of `canonicalize` (nothing is written);
   * `log_not_durable` (the disk refused; the entry is not in the log); `log_in_doubt` (only opening the log
   * anew tells); `log_closed`.
   */
  async append(event: LogEvent): Promise<Appended> {
    const draft = draftEntry(event)
    this.#checkOpen()
    return await this.#enqueue(draft)
  }

  /** Publishes all that is acknowledged and gives the signed checkpoint over it. Errors: `io_failed`. */
  async checkpoint(): Promise<VerifiedCheckpoint> {
    if (this.#checkpoint?.size === this.size && !this.#unpublished.removing) return this.#checkpoint
    return await this.#publishNext()
  }

  /** The log at its last published checkpoint. */
  view(): LogView {
    const { storage, hasher } = this.#parts
    return new LogView(storage, this.#checkpoint!, { hasher })
  }

  /** A proof of an entry; publishes first if the entry is newer than the checkpoint. Errors: `log_range`. */
  async prove(index: number): Promise<LogProof> {
    if (index >= this.#checkpoint!.size) await this.checkpoint()
    const [view, checkpoint] = [this.view(), this.#checkpoint!]
    return await view.prove(index, checkpoint)
  }

  /**
   * Puts cosignatures on the published checkpoint, which must still be the one that they are over
   * (`log_range` else). The caller has verified them. Errors: `note_malformed`, `io_failed`.
   */
  async cosign(over: VerifiedCheckpoint, lines: readonly string[]): Promise<VerifiedCheckpoint> {
    this.#checkOpen()
    for (const line of lines) parseNoteSignature(line.replace(/\n$/, ''))
    if (this.#checkpoint!.text === over.text && this.size === over.size) {
      this.#cosignatures = [...lines]
      const made = await this.#publishNext()
      if (lines.every((line) => made.note.includes(line))) return made
    }
    throw new SignetError('log_range', 'the log has grown beyond the cosigned checkpoint')
  }

  /**
   * Destroys the openings of entries' private fields: the content is forgotten, all proofs stay. Told in an
   * entry `log.forgot`. What disks and backups keep of deleted files is beyond this. Errors: `log_range`.
   */
  async forget(indexes: readonly number[]): Promise<void> {
    this.#checkOpen()
    const wrong = indexes.find((i) => !Number.isSafeInteger(i) || i < 0 || i >= this.size)
    if (wrong !== undefined) {
      throw new SignetError('log_range', `no entry ${wrong} in a log of ${this.size}`)
    }
    await this.#appendOwn({ type: 'log.forgot', data: { entries: [...indexes] } })
    for (const index of indexes) this.#unpublished.forget(index)
    await this.checkpoint()
  }

  /**
   * Deletes the bodies of whole bundles before an index, and the openings of their private fields; the
   * hashes stay, and so do all proofs. Told in an entry `log.pruned`. Gives the index of the first body that
   * is kept. What disks and backups keep of deleted files is beyond this.
   *
   * Errors: `log_corrupt` for a body that is not as it was logged: it is evidence, and stays.
   */
  async prune(before: number): Promise<number> {
    this.#checkOpen()
    const { size } = await this.checkpoint()
    // The last bundle stays: the time of the newest entry is in it.
    const bundles = Math.floor(Math.min(before, size - 1) / TILE_WIDTH)
    if (!(bundles > 0)) return 0
    const there = await prunable(this.view(), bundles)
    if (there.length === 0) return bundles * TILE_WIDTH
    await this.#appendOwn({ type: 'log.pruned', data: { before: bundles * TILE_WIDTH } })
    // The oldest first: should it end in the middle, what is left is a log that was pruned less far.
    for (const { n, secret } of there) {
      for (const index of secret) this.#unpublished.forget(index)
      const path = tilePath({ level: 'entries', n, width: TILE_WIDTH })
      // A partial bundle may have outlived the writer that filled it.
      this.#unpublished.remove(`${path}.p`)
      this.#unpublished.remove(path)
    }
    await this.checkpoint()
    return bundles * TILE_WIDTH
  }

  /** Waits for all appends, publishes, and gives the lock back. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      try {
        while (this.#loop !== undefined) await this.#loop
        if (this.#fault === undefined) await this.checkpoint()
      } finally {
        clearTimeout(this.#timer)
        // The timer may have gone off amid that: what it began must not meet a lock that was given back.
        while (this.#loop !== undefined || this.#publishing !== undefined) {
          await (this.#loop ?? this.#publishing)
        }
        await this.#parts.writer.release()
      }
    })()
    return this.#closed
  }

  #checkOpen(): void {
    if (this.#fault !== undefined) throw this.#fault
    if (this.#closed !== undefined) throw new SignetError('log_closed', 'the log was closed')
  }

  async #appendOwn(event: LogEvent): Promise<Appended> {
    return await this.#enqueue(draftEntry(event, { own: true }))
  }

  #enqueue(draft: EntryDraft): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.#appends.push({ draft, resolve, reject })
      this.#loop ??= this.#work()
    })
  }

  #publishNext(): Promise<VerifiedCheckpoint> {
    return new Promise((resolve, reject) => {
      this.#publishers.push({ resolve, reject })
      this.#loop ??= this.#work()
    })
  }

  async #work(): Promise<void> {
    // Callers that were answered together ask again together: let them all come before the next write.
    await settle()
    while (this.#appends.length > 0 || (this.#wantsPublishing && this.#publishing === undefined)) {
      if (this.#wantsPublishing && this.#publishing === undefined) {
        this.#publishing = this.#publish()
      }
      if (this.#backlog >= 8 * PUBLISH_AT) await this.#publishing
      if (this.#appends.length > 0) await this.#commitNext()
      await settle()
    }
    this.#loop = undefined
    this.#setTimer()
  }

  #setTimer(): void {
    if (this.#backlog > 0 && this.#timer === undefined && this.#closed === undefined) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.#due = true
        this.#loop ??= this.#work()
      }, this.#parts.options.publishAfter ?? 250)
    }
  }

  /** Entries to publish; large ones count for more. */
  get #backlog(): number {
    const entries = this.size - (this.#checkpoint?.size ?? 0)
    return Math.max(entries, this.#unpublished.bytes * PUBLISH_AT / PUBLISH_AT_BYTES)
  }

  get #wantsPublishing(): boolean {
    const long = this.#backlog >= PUBLISH_AT && !this.#stuck
    return this.#due || this.#publishers.length > 0 || long
  }

  async #commitNext(): Promise<void> {
    const batch = this.#appends.splice(0, batchLength(this.#appends))
    try {
      if (this.#fault !== undefined) throw this.#fault
      if (this.#stuck && this.#backlog >= 8 * PUBLISH_AT) {
        throw new SignetError('log_not_durable', 'the log cannot publish what it has already taken')
      }
      const { first, entries } = await this.#commit(batch.map(({ draft }) => draft))
      for (const [i, { resolve }] of batch.entries()) {
        resolve({ index: first + i, entry: entries[i]! })
      }
    } catch (error) {
      if (isSignetError(error, 'log_in_doubt')) this.#fault = error
      for (const { reject } of batch) reject(error)
    }
  }

  async #commit(drafts: readonly EntryDraft[]): Promise<Commit> {
    const { hasher, sealer, writer } = this.#parts
    const commit = commitOf(drafts, this.#state, this.#clock(), this.#clockBehind)
    const written = writer.append(await encodeRecord(commit, sealer))
    written.catch(() => {}) // it is waited for below
    // The tree grows while the disk writes.
    const edge = this.#state.edge.clone()
    const tiles = commit.entries.flatMap((entry) => edge.append(hasher.leaf(entry)))
    await written
    this.#clockBehind = commit.clockBehind
    this.#state = { edge, time: commit.time }
    this.#unpublished.add(commit.entries, tiles, commit.openings)
    return commit
  }

  /** Never throws: who waits for it is told, else `onFault`. Takes what is committed before its first await. */
  async #publish(): Promise<void> {
    const waiting = this.#publishers.splice(0)
    this.#due = false
    try {
      const checkpoint = await this.#publishNow()
      this.#stuck = false
      for (const { resolve } of waiting) resolve(checkpoint)
    } catch (error) {
      this.#stuck = true
      for (const { reject } of waiting) reject(error)
      if (waiting.length === 0) this.#parts.options.onFault?.(error)
    }
    this.#publishing = undefined
    if (this.#wantsPublishing) this.#loop ??= this.#work()
    else if (this.#loop === undefined) this.#setTimer()
  }

  async #publishNow(): Promise<VerifiedCheckpoint> {
    if (this.#fault !== undefined) throw this.#fault
    const { writer, options } = this.#parts
    const { edge } = this.#state
    const publication = this.#unpublished.take(edge)
    const text = formatTreeHead({ origin: this.origin, size: edge.size, root: edge.root })
    const noted = this.#noteOf(text)
    const changes = async () => [
      ...publication.changes(),
      { path: 'checkpoint', bytes: utf8(await noted) },
    ]
    try {
      await writer.publish(changes())
    } catch (error) {
      publication.failed()
      throw error
    }
    publication.done()
    const note = await noted
    const opened = await openCheckpoint(note, this.verifiers, { origin: this.origin })
    const checkpoint = { ...opened, note }
    this.#checkpoint = checkpoint
    if (options.anchor !== undefined) {
      await options.anchor.store(await makeAnchor(this.view(), checkpoint))
    }
    return checkpoint
  }

  /** The note over a tree: a new one, or the present one with the cosignatures that came for it. */
  async #noteOf(text: string): Promise<string> {
    const cosignatures = this.#cosignatures.splice(0)
    const current = this.#checkpoint
    if (current?.text !== text) return await signNote(text, this.#parts.signers)
    const fresh = cosignatures.filter((line) => !current.note.includes(line))
    const note = current.note + fresh.join('')
    parseNote(note)
    return note
  }
}

/** A few turns of the microtask queue. */
async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await undefined
}
