/**
 * A proof of one entry as a text file (C2SP tlog-proof): index, hashes and the checkpoint. With the entry
 * and the log's verifier key it can be checked anywhere, offline.
 */
import { type Bytes, fromBase64, fromUtf8, toBase64 } from '../bytes.ts'
import type { NoteVerifier } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { openCheckpoint, parseDecimal, parseHash, type VerifiedCheckpoint } from './checkpoint.ts'
import { defaultHasher, type TreeHasher, verifyInclusion } from './merkle.ts'
import { checkPolicy, type LogPolicy } from './policy.ts'

const HEADER = 'c2sp.org/tlog-proof@v1'
/** 63 hashes, the extra data, and a note. */
const MAX_PROOF_BYTES = 2 * 1024 * 1024

/** A proof as read. Nothing in it is verified. */
export interface LogProof {
  /** Opaque data that no signature covers. */
  readonly extra?: Bytes | undefined
  /** Index of the entry. */
  readonly index: number
  /** From the leaf's sibling upwards. */
  readonly hashes: readonly Bytes[]
  /** The checkpoint, a signed note. */
  readonly checkpoint: string
}

/** The text of a proof. */
export function formatProof({ extra, index, hashes, checkpoint }: LogProof): string {
  const lines = [HEADER]
  if (extra !== undefined) lines.push(`extra ${toBase64(extra)}`)
  lines.push(`index ${index}`, ...hashes.map(toBase64))
  return `${lines.join('\n')}\n\n${checkpoint}`
}

/** Reads a proof. Errors: `proof_malformed`, `too_large`, `encoding_invalid`. */
export function parseProof(input: Uint8Array | string): LogProof {
  if (input.length > MAX_PROOF_BYTES) {
    throw new SignetError('too_large', `proof has more than ${MAX_PROOF_BYTES} bytes`)
  }
  const text = typeof input === 'string' ? input : fromUtf8(input, 'proof')
  const end = text.indexOf('\n\n')
  if (end < 0) throw malformed('it has no checkpoint')
  const [header, ...lines] = text.slice(0, end).split('\n')
  if (header !== HEADER) throw malformed(`it does not start with ${HEADER}`)
  const extra = lines[0]?.startsWith('extra ') ? lines.shift()!.slice(6) : undefined
  const index = lines.shift()
  if (!index?.startsWith('index ')) throw malformed('it has no index')
  if (lines.length > 63) throw malformed('it has more than 63 hashes')
  try {
    return {
      extra: extra === undefined ? undefined : fromBase64(extra, 'extra data'),
      index: parseDecimal(index.slice(6)),
      hashes: lines.map(parseHash),
      checkpoint: text.slice(end + 2),
    }
  } catch (error) {
    if (!isSignetError(error)) throw error
    throw malformed(error.message)
  }
}

/** What a proof has to meet. */
export interface VerifyProofOptions {
  /** Keys of logs that are trusted; with `policy` its logs are added. */
  readonly log?: readonly NoteVerifier[] | undefined
  /** The log's name, if it must be a certain one. */
  readonly origin?: string | undefined
  /** Logs, witnesses and how many of them must have cosigned. */
  readonly policy?: LogPolicy | undefined
  /** Default: portable. */
  readonly hasher?: TreeHasher | undefined
}

/**
 * Verifies that an entry is in the log that a trusted key signed. `entry` are the entry's bytes as the log
 * holds them. Gives the checkpoint and the index. The `extra` data stays unverified.
 *
 * Errors: those of {@link parseProof} and `openCheckpoint`; `proof_invalid`; `witness_quorum`.
 */
export async function verifyProof(
  input: Uint8Array | string | LogProof,
  entry: Uint8Array,
  options: VerifyProofOptions,
): Promise<{ readonly index: number; readonly checkpoint: VerifiedCheckpoint }> {
  const { hasher = defaultHasher, policy, origin } = options
  const proof = typeof input === 'string' || input instanceof Uint8Array ? parseProof(input) : input
  const checkpoint = await openCheckpoint(proof.checkpoint, [
    ...options.log ?? [],
    ...policy?.logs ?? [],
  ], { origin, witnesses: policy?.witnesses.map(({ verifier }) => verifier) })
  if (policy !== undefined) checkPolicy(policy, checkpoint)
  const { size, root } = checkpoint
  verifyInclusion(proof.index, size, hasher.leaf(entry), proof.hashes, root, hasher)
  return { index: proof.index, checkpoint }
}

function malformed(why: string): SignetError {
  return new SignetError('proof_malformed', `log proof: ${why}`)
}
