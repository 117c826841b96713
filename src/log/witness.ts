/**
 * Witnesses (C2SP tlog-witness): they cosign a checkpoint only if it grew out of the one they cosigned
 * last. The server is one function of a request; the client is one function over `fetch`.
 */
import { equalBytes, fromUtf8, toBase64, toHex, utf8 } from '../bytes.ts'
import {
  type NoteSigner,
  type NoteVerifier,
  openNote,
  parseNote,
  parseNoteSignature,
} from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import {
  formatTreeHead,
  openCheckpoint,
  parseDecimal,
  parseHash,
  parseTreeHead,
  type VerifiedCheckpoint,
} from './checkpoint.ts'
import { defaultHasher, type TreeHasher, verifyConsistency } from './merkle.ts'
import type { PolicyWitness } from './policy.ts'
import type { LogView } from './view.ts'

const MAX_BODY = 2 * 1024 * 1024

/** Where a witness keeps the newest checkpoint of each log. */
export interface WitnessStore {
  /** The note kept for a log, or undefined. */
  load(origin: string): Promise<string | undefined>
  /**
   * Replaces `before` by `after`, durably, if and only if `before` is what is kept; else false. This is
   * what keeps two requests at once from rolling a log back.
   */
  swap(origin: string, before: string | undefined, after: string): Promise<boolean>
}

/** A log that a witness knows. */
export interface WitnessedLog {
  /** Its name. */
  readonly origin: string
  /** Its keys. */
  readonly verifiers: readonly NoteVerifier[]
}

/** Options of {@link witnessHandler}. */
export interface WitnessOptions {
  /** The logs that it cosigns for. */
  readonly logs: readonly WitnessedLog[]
  /** Its keys; each adds a cosignature. Their scheme must have a time. */
  readonly signers: readonly NoteSigner[]
  /** What it remembers. */
  readonly store: WitnessStore
  /** Path before `/add-checkpoint`. Default none. */
  readonly prefix?: string | undefined
  /** Default: portable. */
  readonly hasher?: TreeHasher | undefined
}

/**
 * A witness as a function of a request: `POST …/add-checkpoint`, and `GET …/<origin hash>/checkpoint`.
 * It answers every request, also malformed ones, and never throws.
 */
export function witnessHandler(options: WitnessOptions): (request: Request) => Promise<Response> {
  const { prefix = '' } = options
  return async (request) => {
    const { pathname } = new URL(request.url)
    try {
      if (pathname === `${prefix}/add-checkpoint`) {
        if (request.method !== 'POST') return text(405, 'use POST\n')
        return await addCheckpoint(await bodyOf(request), options)
      }
      const match = /^\/([0-9a-f]{64})\/checkpoint$/.exec(pathname.slice(prefix.length))
      if (pathname.startsWith(prefix) && match !== null && request.method === 'GET') {
        return await recent(match[1]!, options)
      }
      return text(404, 'no such resource\n')
    } catch (error) {
      if (isSignetError(error)) return text(400, `${error.message}\n`)
      return text(500, 'the witness failed\n')
    }
  }
}

async function addCheckpoint(body: string, options: WitnessOptions): Promise<Response> {
  const { logs, signers, store, hasher = defaultHasher } = options
  const { old, proof, note } = parseAddCheckpoint(body)
  const { origin } = parseTreeHead(parseNote(note).text)
  const log = logs.find((one) => one.origin === origin)
  if (log === undefined) return text(404, 'unknown log\n')
  let checkpoint: VerifiedCheckpoint
  try {
    checkpoint = await openCheckpoint(note, log.verifiers, { origin })
  } catch (error) {
    if (!isSignetError(error)) throw error
    return text(403, `${error.message}\n`)
  }
  const { size, root } = checkpoint
  if (old > size) return text(400, 'the old size is larger than the checkpoint\n')
  for (let tries = 0; tries < 8; tries++) {
    const before = await store.load(origin)
    const last = before === undefined ? undefined : parseTreeHead(parseNote(before).text)
    if (old !== (last?.size ?? 0)) return conflict(last?.size ?? 0)
    try {
      if (size === 0 && !equalBytes(root, hasher.empty)) {
        throw new SignetError('proof_invalid', 'root')
      }
      if (old === 0 ? proof.length > 0 : old === size && proof.length > 0) {
        throw new SignetError('proof_invalid', 'the proof must be empty')
      }
      if (last !== undefined && old === size && !equalBytes(root, last.root)) {
        throw new SignetError('proof_invalid', 'another root of the same size')
      }
      if (last !== undefined && old > 0) {
        verifyConsistency(old, size, proof, last.root, root, hasher)
      }
    } catch (error) {
      if (!isSignetError(error)) throw error
      return text(422, `${error.message}\n`)
    }
    const signed = formatTreeHead(checkpoint)
    if (signed !== checkpoint.text) return text(400, 'extension lines are not cosigned here\n')
    const lines: string[] = []
    for (const signer of signers) lines.push(await signer.sign(checkpoint.text))
    if (await store.swap(origin, before, checkpoint.note + lines.join(''))) {
      return text(200, lines.join(''))
    }
  }
  return text(503, 'too many requests at once\n')
}

async function recent(hash: string, { logs, store }: WitnessOptions): Promise<Response> {
  for (const { origin } of logs) {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(origin)))
    const note = toHex(digest) === hash ? await store.load(origin) : undefined
    if (note !== undefined) return text(200, note)
  }
  return text(404, 'no checkpoint\n')
}

/** Takes the body of add-checkpoint apart. Errors: `checkpoint_malformed`. */
function parseAddCheckpoint(body: string) {
  const end = body.indexOf('\n\n')
  const [first = '', ...hashes] = body.slice(0, Math.max(0, end)).split('\n')
  if (end < 0 || !first.startsWith('old ') || hashes.length > 63) {
    throw new SignetError('checkpoint_malformed', 'the body is not that of add-checkpoint')
  }
  return {
    old: parseDecimal(first.slice(4)),
    proof: hashes.map(parseHash),
    note: body.slice(end + 2),
  }
}

async function bodyOf(request: Request): Promise<string> {
  const reader = request.body?.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  while (reader !== undefined) {
    const { value, done } = await reader.read()
    if (done) break
    length += value.length
    if (length > MAX_BODY) {
      await reader.cancel()
      throw new SignetError('too_large', `the body has more than ${MAX_BODY} bytes`)
    }
    chunks.push(value)
  }
  const all = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return fromUtf8(all, 'body')
}

function text(status: number, body: string): Response {
  return new Response(body, { status, headers: { 'content-type': 'text/plain; charset=utf-8' } })
}

function conflict(size: number): Response {
  return new Response(`${size}\n`, { status: 409, headers: { 'content-type': 'text/x.tlog.size' } })
}

/** A store in memory: for tests. A witness that forgets is none. */
export function memoryWitnessStore(): WitnessStore {
  const kept = new Map<string, string>()
  return {
    load: (origin) => Promise.resolve(kept.get(origin)),
    swap: (origin, before, after) => {
      if (kept.get(origin) !== before) return Promise.resolve(false)
      kept.set(origin, after)
      return Promise.resolve(true)
    },
  }
}

/** Options of {@link requestCosignature}. */
export interface CosignOptions {
  /** Default: the platform's. */
  readonly fetch?: ((request: Request) => Promise<Response>) | undefined
  /** Ends the work early with `aborted`. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Asks a witness to cosign the checkpoint of a view. Gives the witness's signature lines that hold under
 * its key; others it may have sent are dropped.
 *
 * Errors: `io_failed` (no or another answer); `log_rolled_back` if the witness has cosigned a larger tree;
 * `log_forked` if it refuses the proof; `signer_untrusted`, `signature_invalid`.
 */
export async function requestCosignature(
  witness: PolicyWitness,
  view: LogView,
  checkpoint: VerifiedCheckpoint,
  options: CosignOptions = {},
): Promise<string[]> {
  if (witness.url === undefined) {
    throw new SignetError('usage_invalid', `the policy has no address of witness ${witness.name}`)
  }
  const url = `${witness.url.replace(/\/$/, '')}/add-checkpoint`
  let old = 0
  // The first try asks with size 0, as the specification allows, to learn what the witness has.
  for (let tries = 0; tries < 3; tries++) {
    const answer = await ask(url, await addBody(view, checkpoint, old), options)
    if (answer.status === 200) return await verifyLines(answer.body, witness, checkpoint)
    if (answer.status === 422) {
      throw new SignetError('log_forked', `witness ${witness.name} refuses the growth of the log`, {
        where: witness.name,
      })
    }
    if (answer.status !== 409) {
      throw new SignetError('io_failed', `witness ${witness.name} answered ${answer.status}`, {
        where: witness.name,
      })
    }
    old = parseDecimal(answer.body.replace(/\n$/, ''))
    if (old > checkpoint.size) {
      throw new SignetError(
        'log_rolled_back',
        `witness ${witness.name} cosigned ${old} entries; the log has ${checkpoint.size}`,
        { where: witness.name },
      )
    }
  }
  throw new SignetError('io_failed', `witness ${witness.name} changes its mind`)
}

async function addBody(
  view: LogView,
  checkpoint: VerifiedCheckpoint,
  old: number,
): Promise<string> {
  // The witness has its own root of the old size; the one that our tiles have proves the way.
  const root = old === 0 ? view.head.root : await view.hash({ start: 0, end: old })
  const proof = await view.consistency({ origin: checkpoint.origin, size: old, root })
  return [`old ${old}`, ...proof.map(toBase64)].join('\n') + `\n\n${checkpoint.note}`
}

async function ask(
  url: string,
  body: string,
  { fetch: send = fetch, signal }: CosignOptions,
): Promise<{ status: number; body: string }> {
  try {
    const request = new Request(url, { method: 'POST', body, ...(signal ? { signal } : {}) })
    const response = await send(request)
    return { status: response.status, body: await response.text() }
  } catch (cause) {
    if (signal?.aborted) throw new SignetError('aborted', 'cancelled by the caller', { cause })
    throw new SignetError('io_failed', 'the witness does not answer', { where: url, cause })
  }
}

async function verifyLines(
  body: string,
  witness: PolicyWitness,
  checkpoint: VerifiedCheckpoint,
): Promise<string[]> {
  const lines = body.split('\n').slice(0, -1)
  for (const line of lines) parseNoteSignature(line)
  const note = `${checkpoint.text}\n${lines.map((line) => `${line}\n`).join('')}`
  const { verified } = await openNote(note, [witness.verifier])
  return verified.map(({ line }) => line)
}
