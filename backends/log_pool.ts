/**
 * Checks the bundles of a log in a folder on several threads. A worker runs this very module, which it
 * finds by its address; where that is not to be had (a bundle, a single binary), or a thread does not start,
 * the work is done on the calling thread, as it is for logs too small to be worth starting workers for.
 */
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { isSignetError, SignetError } from '../src/errors.ts'
import {
  type BundleChecker,
  bundleChecker,
  type EntryBundleReport,
  type Range,
  treeHasher,
} from '../src/log/mod.ts'
import { blockingLogReader } from './log_resources.ts'
import { nodeSha256 } from './node_sha256.ts'

/** What a worker starts with. */
interface Start {
  readonly signetLogPool: string
  readonly size: number
  readonly strict: boolean
}
type Answer =
  | { readonly reports: readonly EntryBundleReport[] }
  | { readonly code: SignetError['code']; readonly message: string; readonly where?: string }

/** Bundles that a worker is given at once: some 16 000 entries. */
const SHARE = 64
/** Shares under way per worker, so that none waits for the next one. */
const UNDER_WAY = 2
/** For fewer bundles starting workers takes as long as they save: half a million entries. */
const WORTH_STARTING = 2048

/** Options of {@link folderChecker}. */
export interface FolderCheckerOptions {
  /** Threads. Default: as many as the machine has, at most 8. */
  readonly threads?: number | undefined
  /** Bundles below which no worker is started. Default 2048: 524 288 entries. */
  readonly worthStarting?: number | undefined
  /** What workers run; for tests of what happens when they misbehave. */
  readonly program?: URL | undefined
}

/** A checker of bundles of the log in a folder. */
export function folderChecker(folder: string, options: FolderCheckerOptions = {}): BundleChecker {
  const { threads = Math.min(8, availableParallelism()), worthStarting = WORTH_STARTING } = options
  const here = bundleChecker(blockingLogReader(folder), treeHasher(nodeSha256))
  const isModule = /\/log_pool\.[jt]s$/.test(import.meta.url)
  const { program = new URL(import.meta.url) } = options
  return (range, size, check) => {
    if (!isModule || threads < 2 || range.end - range.start < worthStarting) {
      return here(range, size, check)
    }
    const { strict = false } = check
    const start: Start = { signetLogPool: folder, size, strict }
    const lanes = Array.from({ length: threads }, () => new Lane(program, start))
    return shared(here, lanes, range, size, check)
  }
}

async function* shared(
  here: BundleChecker,
  lanes: readonly Lane[],
  { start, end }: Range,
  size: number,
  options: Parameters<BundleChecker>[2],
): AsyncGenerator<EntryBundleReport> {
  try {
    const answers: Promise<readonly EntryBundleReport[] | undefined>[] = []
    let next = start
    for (let at = start; at < end; at += SHARE) {
      while (next < end && answers.length < lanes.length * UNDER_WAY) {
        const share = { start: next, end: Math.min(end, next + SHARE) }
        const answer = lanes[(next - start) / SHARE % lanes.length]!.check(share)
        answer.catch(() => {}) // its turn comes
        answers.push(answer)
        next = share.end
      }
      if (options.signal?.aborted) return // verifyLog() says so
      const reports = await answers.shift()!
      if (reports !== undefined) yield* reports
      else yield* here({ start: at, end: Math.min(end, at + SHARE) }, size, options)
    }
  } finally {
    await Promise.all(lanes.map((lane) => lane.end()))
  }
}

/** A worker; it answers in the order in which it was asked. */
class Lane {
  readonly #worker: Worker | undefined
  readonly #asked: {
    readonly resolve: (reports: readonly EntryBundleReport[] | undefined) => void
    readonly reject: (error: unknown) => void
  }[] = []
  #gone = false

  constructor(program: URL, start: Start) {
    try {
      this.#worker = new Worker(program, { workerData: start })
    } catch {
      this.#gone = true // not permitted, or no threads here
      return
    }
    const gone = () => {
      this.#gone = true
      for (const { resolve } of this.#asked.splice(0)) resolve(undefined)
    }
    this.#worker.on('error', gone)
    this.#worker.on('exit', gone)
    this.#worker.on('message', (answer: Answer) => {
      const asked = this.#asked.shift()
      if ('reports' in answer) asked?.resolve(answer.reports)
      else {
        const { code, message, where } = answer
        asked?.reject(new SignetError(code, message, where === undefined ? {} : { where }))
      }
    })
  }

  /** The reports of a share; undefined if the thread did not start, or has ended. */
  check(share: Range): Promise<readonly EntryBundleReport[] | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#gone) return resolve(undefined)
      this.#asked.push({ resolve, reject })
      this.#worker!.postMessage(share)
    })
  }

  async end(): Promise<void> {
    await this.#worker?.terminate()
  }
}

/** What runs in a worker: ranges in, reports out. */
function serve({ signetLogPool: folder, size, strict }: Start): void {
  const check = bundleChecker(blockingLogReader(folder), treeHasher(nodeSha256))
  let before: Promise<void> = Promise.resolve()
  parentPort!.on('message', (range: Range) => {
    before = before.then(async () => {
      let answer: Answer
      try {
        const reports: EntryBundleReport[] = []
        for await (const report of check(range, size, { strict })) reports.push(report)
        answer = { reports }
      } catch (error) {
        const { code, message, where } = isSignetError(error)
          ? error
          : new SignetError('io_failed', 'a thread failed to verify its part of the log')
        answer = { code, message, ...(where === undefined ? {} : { where }) }
      }
      parentPort!.postMessage(answer)
    })
  })
}

if (!isMainThread && typeof (workerData as Partial<Start> | null)?.signetLogPool === 'string') {
  serve(workerData as Start)
}
