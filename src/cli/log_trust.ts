/** Whose checkpoints a command believes, and where logs and anchors lie. */
import type { Command } from 'commander'
import { owned } from '../bytes.ts'
import { type NoteVerifier, noteVerifier, parseNote, parseVkey } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import {
  checkAnchor,
  checkPolicy,
  LOG_SCHEMES,
  type LogAnchor,
  type LogPolicy,
  type LogStorage,
  LogView,
  openCheckpoint,
  parsePolicy,
  parseTreeHead,
  treeHasher,
  type VerifiedCheckpoint,
} from '../log/mod.ts'
import { several } from './command.ts'
import type { CommonFlags, Run } from './context.ts'
import { openPublic } from './public_side.ts'

const MAX_SMALL_FILE = 2 * 2 ** 20

/** Flags that say whom to believe. */
export interface TrustFlags extends CommonFlags {
  readonly key?: string[] | string
  readonly vkey?: string[]
  readonly policy?: string
  readonly origin?: string
  readonly anchor?: string
}

/** Adds the flags that say whom to believe. */
export function withTrust(command: Command): Command {
  return command
    .option('--key <file>', "the log's public key: PEM, JWK, JWKS or keyset", several)
    .option('--vkey <text>', "the log's verifier key, name+id+base64", several)
    .option('--policy <file>', 'logs, witnesses and quorum (C2SP tlog-policy)')
    .option('--origin <name>', "the log's name; default: the one that it says")
    .option('--anchor <file>', 'the newest checkpoint, as kept elsewhere')
}

/** Keys of a log, and the policy. */
export interface LogTrust {
  readonly verifiers: readonly NoteVerifier[]
  readonly policy: LogPolicy | undefined
}

/** What the flags make somebody believe of the log of a name. */
export async function trustOf(run: Run, flags: TrustFlags, origin: string): Promise<LogTrust> {
  const policy = flags.policy === undefined
    ? undefined
    : await parsePolicy(await run.backends.readFile(flags.policy, MAX_SMALL_FILE))
  const verifiers = [...policy?.logs ?? []]
  for (const text of flags.vkey ?? []) verifiers.push(await parseVkey(text, LOG_SCHEMES))
  for (const file of [flags.key ?? []].flat()) {
    const side = await openPublic(run, file)
    const keys = 'keys' in side
      ? side.keys
      : side.keyset.members.filter(({ status }) => status !== 'revoked').map(({ key }) => key)
    for (const key of keys) {
      const scheme = LOG_SCHEMES.find(({ algorithm }) => algorithm.name === key.algorithm.name)
      if (scheme !== undefined) verifiers.push(await noteVerifier(origin, key, scheme))
    }
  }
  if (verifiers.length > 0) return { verifiers, policy }
  throw new SignetError('usage_invalid', 'nothing says whose log to believe', {
    remedy: "give the log's public key (--key or --vkey), or a --policy that names it",
  })
}

/** The name in a log's checkpoint, which nobody has verified; undefined if there is no log. */
export async function originOf(storage: LogStorage): Promise<string | undefined> {
  const note = await storage.read('checkpoint')
  return note === undefined ? undefined : parseTreeHead(parseNote(note).text).origin
}

/** A log as published. */
export interface Published extends LogTrust {
  readonly storage: LogStorage
  readonly checkpoint: VerifiedCheckpoint
  readonly view: LogView
  /** The anchored checkpoint, if there is an anchor. */
  readonly anchored: VerifiedCheckpoint | undefined
}

/** Reads a log as published and verifies its checkpoint, with policy and anchor if they were given. */
export async function readPublished(
  run: Run,
  folder: string,
  flags: TrustFlags,
): Promise<Published> {
  const storage = await run.backends.logStorage(folder)
  const note = await storage.read('checkpoint')
  if (note === undefined) {
    throw new SignetError('log_missing', `there is no log in ${folder}`, { where: folder })
  }
  const origin = flags.origin ?? parseTreeHead(parseNote(note).text).origin
  const { verifiers, policy } = await trustOf(run, flags, origin)
  const witnesses = policy?.witnesses.map(({ verifier }) => verifier)
  const checkpoint = await openCheckpoint(note, verifiers, { origin, witnesses })
  if (policy !== undefined) checkPolicy(policy, checkpoint)
  const hasher = treeHasher(await run.backends.sha256())
  const view = new LogView(storage, checkpoint, { hasher })
  let anchored: VerifiedCheckpoint | undefined
  if (flags.anchor !== undefined) {
    const anchor = await fileAnchor(run, flags.anchor).load()
    if (anchor === undefined) {
      throw new SignetError('file_unreadable', `there is no anchor ${flags.anchor}`, {
        where: flags.anchor,
      })
    }
    anchored = await checkAnchor(anchor, view, verifiers, { hasher })
  }
  return { storage, checkpoint, view, verifiers, policy, anchored }
}

/** An anchor in a file. */
export function fileAnchor(run: Run, path: string): LogAnchor {
  return {
    async load() {
      if (!await run.backends.exists(path)) return undefined
      return owned(await run.backends.readFile(path, MAX_SMALL_FILE))
    },
    store: (bytes) => run.backends.writeFile(path, bytes, { overwrite: true, mode: 0o600 }),
  }
}
