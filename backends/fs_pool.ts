/**
 * Hashes many files on several threads: the calling thread, and workers that start when there is
 * enough to do (starting one takes some 50 ms, in which one thread hashes 60 MB).
 *
 * A worker's program is the source text of the functions it runs, not a file of its own: so it is
 * there in a folder of modules, in a packed one, in a bundle and in a single binary. Where a worker
 * cannot start or its program does not survive the bundler, all work stays on the calling thread.
 */
import { setImmediate } from 'node:timers'
import { Worker } from 'node:worker_threads'
import * as fs from 'node:fs'
import type { Bytes } from '../src/bytes.ts'
import type { DigestAlgorithm } from '../src/crypto/mod.ts'
import { type ErrorCode, SignetError } from '../src/errors.ts'
import type { DigestRequest } from '../src/models/mod.ts'
import { type Span, spanDigester, type SpanResult } from './fs_digest.ts'
import { nodeHasher } from './node_crypto.ts'

/** What hashing one file costs besides its bytes, as bytes: opening and checking take ~50 µs. */
const FILE_COST = 64 * 1024
/** Workers start after this much work in one go … */
const WORTH_STARTING = 32 << 20
/** … when at least this much waits, per worker. */
const WORTH_SHARING = 1 << 20
/** A worker is given more when less than half of this is before it. */
const WORKER_BACKLOG = 8 << 20
/** How long the calling thread hashes before it looks after its events, in milliseconds. */
const SLICE = 2
/** Workers end after so many milliseconds without work. */
const IDLE = 1000

/** Digests that a worker makes; the others need code that its program does not hold. */
const WORKER_HASHES: Partial<Record<DigestAlgorithm, string>> = {
  sha256: 'sha256',
  blake2b: 'blake2b512',
}

type ToWorker =
  | { readonly id: number; readonly span: Span; readonly hash: string; readonly tell: boolean }
  | { readonly abort: number }
type FromWorker =
  | { readonly id: number; readonly result: SpanResult }
  | { readonly id: number; readonly count: number }

interface Task {
  readonly id: number
  /** The path as the tree names it, for messages. */
  readonly path: string
  readonly span: Span
  readonly request: DigestRequest
  readonly cost: number
  /** Set when a worker has it. */
  lane: Lane | undefined
  done: boolean
  settle(result: SpanResult): void
  fail(error: unknown): void
}

interface Lane {
  readonly worker: Worker
  readonly tasks: Map<number, Task>
  state: 'starting' | 'up' | 'gone'
  cost: number
}

/** Hashes spans on several threads. */
export interface DigestPool {
  /** Digests one span whose size is expected to be `size` bytes; `path` names it in errors. */
  digest(path: string, span: Span, size: number, request: DigestRequest): Promise<Bytes>
  /** How many worker threads are up now. */
  readonly workers: number
}

/** What a worker runs: batches of spans in, results out, `'up'` first. */
function workerProgram(makeDigester: typeof spanDigester): void {
  const { parentPort } = process.getBuiltinModule('node:worker_threads')
  const { createHash } = process.getBuiltinModule('node:crypto')
  const { setImmediate } = process.getBuiltinModule('node:timers')
  if (parentPort === null) return
  const port = parentPort
  const digest = makeDigester(process.getBuiltinModule('node:fs'))
  const queue: Exclude<ToWorker, { abort: number }>[] = []
  const aborted = new Set<number>()
  let running = false
  let results: FromWorker[] = []
  let sent = 0
  const send = () => {
    if (results.length > 0) port.postMessage(results)
    results = []
    sent = performance.now()
  }
  const run = async () => {
    running = true
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      const { id, span, hash, tell } = job
      const result = aborted.delete(id) ? undefined : await digest(span, createHash(hash), {
        read: (count) => tell && port.postMessage([{ id, count }]),
        aborted: () => aborted.delete(id),
        readAhead: () => 'Deno' in globalThis,
        turn: () => new Promise((resolve) => setImmediate(resolve)),
      })
      if (result === undefined) continue
      // Many small results travel together. None waits for a big file: that one turns the loop.
      if (results.push({ id, result }) === 1) setImmediate(send)
      if (performance.now() - sent > 1) send()
    }
    running = false
    send()
  }
  port.on('message', (batch: ToWorker[]) => {
    for (const job of batch) 'abort' in job ? aborted.add(job.abort) : queue.push(job)
    if (!running) void run()
  })
  port.postMessage('up')
}

/** The program of a worker, as text. */
const PROGRAM: string = `(${workerProgram})(${spanDigester})`

/**
 * A pool of `threads` threads, the calling one included. It holds nothing until the first digest,
 * ends its workers by itself and never keeps the process alive without work.
 *
 * `program` is for tests of what happens when workers misbehave.
 */
export function digestPool(threads: number, program: string = PROGRAM): DigestPool {
  const digestHere = spanDigester(fs)
  const waiting = new Set<Task>()
  const lanes = new Set<Lane>()
  let broken = false
  let pumping = false
  let working = false
  let lastTurn = 0
  let nextId = 0
  let active = 0
  let sinceIdle = 0
  let waitingCost = 0
  let idleTimer: ReturnType<typeof setTimeout> | undefined

  function take(task: Task): Task {
    waiting.delete(task)
    waitingCost -= task.cost
    return task
  }

  function leave(lane: Lane, task: Task): void {
    lane.tasks.delete(task.id)
    lane.cost -= task.cost
    if (lane.tasks.size === 0 && lane.state === 'up') lane.worker.unref()
  }

  function start(): void {
    let worker: Worker
    try {
      worker = new Worker(program, { eval: true })
    } catch {
      broken = true // not permitted, or no threads here
      return
    }
    worker.unref()
    const lane: Lane = { worker, tasks: new Map(), state: 'starting', cost: 0 }
    lanes.add(lane)
    const gone = (cause: unknown) => {
      if (lane.state === 'gone') return
      lane.state = 'gone'
      broken = true
      lanes.delete(lane)
      for (const task of [...lane.tasks.values()]) {
        leave(lane, task)
        task.fail(
          new SignetError('io_failed', `the thread that hashed ${task.path} ended`, {
            where: task.path,
            remedy: 'try again, with one worker',
            cause,
          }),
        )
      }
    }
    worker.on('error', gone)
    worker.on('messageerror', gone)
    worker.on('exit', (code) => gone(new Error(`worker exit code ${code}`)))
    worker.on('message', (message: 'up' | FromWorker[]) => {
      if (message === 'up') lane.state = 'up'
      else for (const part of message) receive(lane, part)
      feed()
    })
  }

  function receive(lane: Lane, part: FromWorker): void {
    const task = lane.tasks.get(part.id)
    if (task === undefined) return // aborted
    if ('count' in part) return tell(task, part.count)
    leave(lane, task)
    task.settle(part.result)
  }

  /** Reports progress; an error thrown by the listener ends its own digest, nothing else. */
  function tell(task: Task, count: number): void {
    if (task.done) return
    try {
      task.request.onBytes?.(count)
    } catch (error) {
      cancel(task)
      task.fail(error)
    }
  }

  /** Takes a task out of wherever it is. */
  function cancel(task: Task): void {
    if (waiting.has(task)) take(task)
    if (task.lane?.tasks.has(task.id)) {
      leave(task.lane, task)
      task.lane.worker.postMessage([{ abort: task.id }] satisfies ToWorker[])
    }
  }

  /** Gives every worker that runs low its share of what waits. */
  function feed(): void {
    for (const lane of lanes) {
      if (lane.state !== 'up' || lane.cost > WORKER_BACKLOG / 2) continue
      let share = Math.ceil(waiting.size / (lanes.size + 1))
      const batch: ToWorker[] = []
      for (const task of waiting) {
        if (share === 0 || lane.cost >= WORKER_BACKLOG) break
        const hash = WORKER_HASHES[task.request.algorithm]
        if (hash === undefined) continue
        share--
        take(task)
        task.lane = lane
        lane.tasks.set(task.id, task)
        lane.cost += task.cost
        const { id, span, request: { onBytes } } = task
        batch.push({ id, span, hash, tell: onBytes !== undefined })
      }
      if (batch.length === 0) continue
      lane.worker.ref()
      lane.worker.postMessage(batch)
    }
  }

  function startWhatIsWorthIt(): void {
    if (broken || sinceIdle < WORTH_STARTING) return
    let starting = 0
    for (const lane of lanes) if (lane.state === 'starting') starting++
    while (
      !broken && lanes.size < threads - 1 && waitingCost > WORTH_SHARING * (starting + 1)
    ) {
      start()
      starting++
    }
  }

  /** Hashes here what waits, and keeps the workers fed meanwhile. */
  async function work(): Promise<void> {
    working = true
    for (;;) {
      feed()
      const [task] = waiting
      if (task === undefined) break
      take(task)
      startWhatIsWorthIt()
      await hashHere(task)
      if (performance.now() - lastTurn > SLICE) await turn()
    }
    working = false
  }

  async function hashHere(task: Task): Promise<void> {
    try {
      const hash = await nodeHasher(task.request.algorithm)
      const events = {
        read: (count: number) => tell(task, count),
        aborted: () => task.done,
        // With all threads hashing, reading in between is faster on Node and Bun, and slower on Deno.
        readAhead: () => lanes.size === 0 || 'Deno' in globalThis,
        turn,
      }
      task.settle(await digestHere(task.span, hash, events))
    } catch (error) {
      task.fail(error)
    }
  }

  function turn(): Promise<void> {
    return new Promise((resolve) =>
      setImmediate(() => {
        lastTurn = performance.now()
        resolve()
      })
    )
  }

  /** Starts work in the next turn, so that what is asked for in this one is shared out together. */
  async function pump(): Promise<void> {
    if (pumping) return
    pumping = true
    await turn()
    pumping = false
    if (!working) return work()
    startWhatIsWorthIt()
    feed()
  }

  function idle(): void {
    sinceIdle = 0
    if (lanes.size === 0) return
    idleTimer = setTimeout(() => {
      for (const lane of lanes) {
        lane.state = 'gone'
        void lane.worker.terminate()
      }
      lanes.clear()
    }, IDLE)
    ;(idleTimer as { unref?: () => void }).unref?.()
  }

  return {
    get workers(): number {
      let count = 0
      for (const lane of lanes) if (lane.state === 'up') count++
      return count
    },

    digest(path, span, size, request) {
      const { signal } = request
      return new Promise<Bytes>((resolve, reject) => {
        const aborted = () => {
          cancel(task)
          task.fail(
            new SignetError('aborted', `hashing ${path} was aborted`, {
              where: path,
              cause: signal?.reason,
            }),
          )
        }
        const end = (): boolean => {
          if (task.done) return false
          task.done = true
          signal?.removeEventListener('abort', aborted)
          if (--active === 0) idle()
          return true
        }
        const task: Task = {
          id: nextId++,
          path,
          span,
          request,
          cost: Math.max(0, size) + FILE_COST,
          lane: undefined,
          done: false,
          settle(result) {
            if (!end()) return
            if ('digest' in result) resolve(result.digest as Bytes)
            else reject(spanError(path, result.fault, result.why))
          },
          fail: (error) => end() && reject(error),
        }
        active++
        clearTimeout(idleTimer)
        if (signal?.aborted) return aborted()
        signal?.addEventListener('abort', aborted)
        waiting.add(task)
        waitingCost += task.cost
        sinceIdle += task.cost
        void pump()
      })
    },
  }
}

/** What to do about each fault. */
const REMEDIES: Partial<Record<ErrorCode, string>> = {
  file_unreadable: 'check the path and its permissions',
  file_changed: 'try again while nothing writes to the folder',
  symlink_refused: 'put the file itself in the place of the link',
  special_file_refused: 'remove it or leave it out',
}

/** The error for a fault of one file. */
export function spanError(path: string, fault: ErrorCode, why: string): SignetError {
  return new SignetError(fault, `${path} ${why}`, { where: path, remedy: REMEDIES[fault] })
}
