/** `signet log verify`: a whole log, a proof, or an exported range, and a verdict that a person understands. */
import { fromUtf8, utf8 } from '../bytes.ts'
import { formatVkey, parseNote } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import {
  checkPolicy,
  cosignersOf,
  type LogReport,
  openCheckpoint,
  pageEntries,
  parseProof,
  parseTreeHead,
  reportPage,
  treeHasher,
  type VerifiedCheckpoint,
  verifyLog,
  verifyProof,
  verifyRange,
} from '../log/mod.ts'
import { errorToJson } from './command.ts'
import type { Run } from './context.ts'
import { type Published, readPublished, type TrustFlags, trustOf } from './log_trust.ts'
import { printable } from './text.ts'

interface VerifyFlags extends TrustFlags {
  readonly strict?: boolean
  readonly entry?: string
  readonly html?: string
}

const MAX_FILE = 512 * 2 ** 20

/** Verifies what the target is; the exit code. */
export async function verifyTarget(run: Run, flags: VerifyFlags, target: string): Promise<number> {
  if (await run.backends.isFolder(target)) return await verifyFolder(run, flags, target)
  const bytes = await run.backends.readFile(target, MAX_FILE)
  if (bytes[0] === 0x7b) return await verifyExport(run, flags, bytes)
  return await verifyProofFile(run, flags, bytes)
}

async function verifyProofFile(run: Run, flags: VerifyFlags, bytes: Uint8Array): Promise<number> {
  const proof = parseProof(bytes)
  const entry = flags.entry === undefined
    ? proof.extra
    : await run.backends.readFile(flags.entry, 65_535)
  if (entry === undefined) {
    throw new SignetError('usage_invalid', 'the proof does not hold its entry', {
      remedy: 'give the entry with --entry',
    })
  }
  const origin = flags.origin ?? parseTreeHead(parseNote(proof.checkpoint).text).origin
  const { verifiers, policy } = await trustOf(run, flags, origin)
  const { index, checkpoint } = await verifyProof(proof, entry, { log: verifiers, policy, origin })
  run.answer(
    { ok: true, index, entry: fromUtf8(entry), checkpoint: checkpointJson(checkpoint) },
    `entry ${index} is in the log ${printable(origin)}, signed at ${checkpoint.size} entries:\n${
      printable(fromUtf8(entry))
    }`,
  )
  return 0
}

async function verifyExport(run: Run, flags: VerifyFlags, bytes: Uint8Array): Promise<number> {
  const end = bytes.indexOf(10)
  const head = parseJson(bytes.subarray(0, Math.max(0, end)), { what: 'log range' })
  const note = isObject(head) && typeof head.checkpoint === 'string' ? head.checkpoint : ''
  const origin = flags.origin ?? parseTreeHead(parseNote(note).text).origin
  const { verifiers, policy } = await trustOf(run, flags, origin)
  const { from, entries, checkpoint } = await verifyRange(bytes, verifiers, { origin })
  if (policy !== undefined) {
    const witnesses = policy.witnesses.map(({ verifier }) => verifier)
    checkPolicy(policy, await openCheckpoint(note, verifiers, { witnesses }))
  }
  run.answer(
    { ok: true, from, entries: entries.length, checkpoint: checkpointJson(checkpoint) },
    `entries ${from} to ${from + entries.length - 1} are in the log ${printable(origin)}, ` +
      `all of them and unchanged`,
  )
  return 0
}

async function verifyFolder(run: Run, flags: VerifyFlags, folder: string): Promise<number> {
  const published = await readPublished(run, folder, flags)
  const { storage, checkpoint } = published
  const entries = flags.html === undefined ? undefined : pageEntries()
  let drawn = 0
  const report = await verifyLog(storage, checkpoint, {
    hasher: treeHasher(await run.backends.sha256()),
    strict: flags.strict,
    checker: await run.backends.logChecker(folder),
    onEntry: entries?.add,
    signal: run.signal,
    onProgress(done, size) {
      if (!run.terminal.interactive || run.json || flags.quiet || Date.now() - drawn < 100) return
      drawn = Date.now()
      run.terminal.err(`\r\x1b[2Kverifying entry ${done} of ${size}`)
    },
  })
  if (drawn > 0) run.terminal.err('\r\x1b[2K')
  if (flags.html !== undefined) {
    const witnesses = cosigners(published)
    const facts = { checkpoint, anchored: published.anchored, witnesses, now: Date.now() }
    const page = utf8(reportPage(report, entries!, facts))
    await run.backends.writeFile(flags.html, page, { overwrite: true, mode: 0o644 })
  }
  run.answer(reportJson(report, published), verdict(report, published))
  return report.whole ? 0 : 5
}

function cosigners({ policy, checkpoint }: Published) {
  const names = policy === undefined ? [] : cosignersOf(policy, checkpoint)
  return policy?.witnesses.map(({ name }) => ({ name, cosigned: names.includes(name) }))
}

/** The verdict for people. */
export function verdict(report: LogReport, published: Published): string {
  const { head, faults, pruned, times } = report
  const { checkpoint, anchored, policy } = published
  const range = head.size === 0 ? 'no entries' : `entries 0 to ${head.size - 1}`
  const text = [`${printable(head.origin)}: ${report.whole ? `${range} whole` : 'NOT WHOLE'}`]
  for (const fault of faults.slice(0, 20)) text.push(`  ${printable(fault.message)}`)
  if (faults.length > 20) text.push(`  and ${faults.length - 20} more faults`)
  if (pruned > 0) {
    text.push(`  the bodies of the first ${pruned} entries were pruned; their hashes hold`)
  }
  if (times !== undefined) {
    text.push(`  written from ${printable(times.first)} to ${printable(times.last)}`)
  }
  text.push(
    `  signed by ${
      checkpoint.verified.map(({ verifier }) => printable(`${verifier.name}+${verifier.id}`)).join(
        ', ',
      )
    }`,
  )
  if (policy !== undefined && policy.witnesses.length > 0) {
    const names = cosignersOf(policy, checkpoint)
    text.push(
      `  cosigned by ${names.length === 0 ? 'no witness' : names.map(printable).join(', ')}`,
    )
  }
  if (anchored === undefined) {
    text.push('  no anchor was given: a cut tail would not be noticed')
  } else {
    const after = head.size - anchored.size
    text.push(
      after === 0
        ? '  the anchor is this very checkpoint'
        : `  ${after} ${after === 1 ? 'entry' : 'entries'} after the anchored checkpoint`,
    )
  }
  return text.join('\n')
}

function reportJson(report: LogReport, { checkpoint, anchored, policy }: Published) {
  return {
    ok: report.whole,
    verified: report.verified,
    pruned: report.pruned,
    times: report.times,
    faults: report.faults.map(errorToJson),
    checkpoint: checkpointJson(checkpoint),
    witnesses: policy === undefined ? undefined : cosignersOf(policy, checkpoint),
    anchored: anchored === undefined ? undefined : { size: anchored.size },
  }
}

/** A checkpoint in a machine-readable report. */
export function checkpointJson(
  { origin, size, note, verified }: VerifiedCheckpoint,
): Readonly<Record<string, unknown>> {
  return {
    origin,
    size,
    note,
    signatures: verified.map(({ verifier, time }) => ({
      name: verifier.name,
      id: verifier.id,
      algorithm: verifier.key.algorithm.name,
      time,
      vkey: formatVkey(verifier),
    })),
  }
}
