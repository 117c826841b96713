/**
 * Trust policy of a log (C2SP tlog-policy): which logs, which witnesses, and how many of them must have
 * cosigned a checkpoint. The file is octets; names are compared as such, so it is read as Latin-1.
 */
import { toHex } from '../bytes.ts'
import { type NoteVerifier, parseVkey } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { LOG_SCHEMES, type VerifiedCheckpoint, WITNESS_SCHEMES } from './checkpoint.ts'

const MAX_POLICY_BYTES = 1024 * 1024
/** The specification asks for 32 logs, 32 witnesses and 32 groups at least. */
const MAX_LINES = 1000

/** A witness of a policy. */
export interface PolicyWitness {
  /** What the policy calls it. */
  readonly name: string
  /** What verifies its cosignatures. */
  readonly verifier: NoteVerifier
  /** Where it takes checkpoints. */
  readonly url?: string | undefined
}

/** k of some witnesses and groups. */
export interface PolicyGroup {
  /** What the policy calls it. */
  readonly name: string
  /** How many members must have witnessed. */
  readonly threshold: number
  /** Names of witnesses and groups. */
  readonly members: readonly string[]
}

/** A policy. */
export interface LogPolicy {
  /** Keys of the logs that are accepted; each verifies only its own origin. */
  readonly logs: readonly NoteVerifier[]
  /** The witnesses. */
  readonly witnesses: readonly PolicyWitness[]
  /** The groups, members before those who name them. */
  readonly groups: readonly PolicyGroup[]
  /** A witness, a group, or `none`. */
  readonly quorum: string
}

/** Reads a policy. Errors: `log_policy_malformed` (with the line), `too_large`. */
export async function parsePolicy(input: Uint8Array | string): Promise<LogPolicy> {
  if (input.length > MAX_POLICY_BYTES) throw new SignetError('too_large', 'log policy is too large')
  const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : input
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')
  const lines = text.split('\n')
  if (lines.length > MAX_LINES) throw new SignetError('too_large', 'log policy has too many lines')
  const reader = new PolicyReader()
  for (const [i, line] of lines.entries()) {
    try {
      await reader.line(line)
    } catch (error) {
      if (!isSignetError(error)) throw error
      throw new SignetError('log_policy_malformed', `log policy, line ${i + 1}: ${error.message}`, {
        where: `line ${i + 1}`,
        cause: error,
      })
    }
  }
  return reader.policy()
}

class PolicyReader {
  readonly #logs: NoteVerifier[] = []
  readonly #witnesses: PolicyWitness[] = []
  readonly #groups: PolicyGroup[] = []
  readonly #names = new Set<string>(['none'])
  readonly #members = new Set<string>()
  readonly #logKeys = new Set<string>()
  readonly #witnessKeys = new Set<string>()
  #quorum: string | undefined

  async line(line: string): Promise<void> {
    // deno-lint-ignore no-control-regex -- control characters are what is refused
    if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) fail('a control character')
    const [keyword = '', ...items] = line.split(/[ \t]+/).filter((item) => item !== '')
    if (keyword === '' || keyword.startsWith('#')) return
    switch (keyword) {
      case 'log':
        return await this.#log(items)
      case 'witness':
        return await this.#witness(items)
      case 'group':
        return this.#group(items)
      case 'quorum':
        return this.#setQuorum(items)
    }
    fail('it starts with none of log, witness, group and quorum')
  }

  policy(): LogPolicy {
    if (this.#quorum === undefined) {
      throw new SignetError('log_policy_malformed', 'log policy: it has no quorum line')
    }
    return {
      logs: this.#logs,
      witnesses: this.#witnesses,
      groups: this.#groups,
      quorum: this.#quorum,
    }
  }

  async #log([vkey, , ...more]: string[]): Promise<void> {
    if (vkey === undefined || more.length > 0) return fail('a log is: log <vkey> [<url>]')
    const verifier = await parseVkey(latin1ToUtf8(vkey), LOG_SCHEMES)
    unique(this.#logKeys, toHex(verifier.key.raw), 'this log key stands twice')
    this.#logs.push(verifier)
  }

  async #witness([name, vkey, url, ...more]: string[]): Promise<void> {
    if (name === undefined || vkey === undefined || more.length > 0) {
      return fail('a witness is: witness <name> <vkey> [<url>]')
    }
    unique(this.#names, name, 'this name stands twice')
    const verifier = await parseVkey(latin1ToUtf8(vkey), WITNESS_SCHEMES)
    unique(this.#witnessKeys, toHex(verifier.key.raw), 'this witness key stands twice')
    this.#witnesses.push({ name, verifier, url })
  }

  #group([name, count, ...members]: string[]): void {
    if (name === undefined || count === undefined || members.length === 0) {
      return fail('a group is: group <name> all|any|<k> <name>...')
    }
    const words: Record<string, number> = { all: members.length, any: 1 }
    const threshold = Object.hasOwn(words, count)
      ? words[count]!
      : /^[1-9][0-9]{0,5}$/.test(count)
      ? Number(count)
      : 0
    if (threshold < 1 || threshold > members.length) {
      fail(`the threshold is not all, any or 1 to ${members.length}`)
    }
    for (const member of members) {
      if (member === 'none' || !this.#names.has(member)) fail('a member is not defined above')
      // Else one witness could count in two ways.
      unique(this.#members, member, 'a member is in a group already')
    }
    unique(this.#names, name, 'this name stands twice')
    this.#groups.push({ name, threshold, members })
  }

  #setQuorum([name, ...more]: string[]): void {
    if (name === undefined || more.length > 0) return fail('a quorum is: quorum <name>')
    if (this.#quorum !== undefined) fail('a second quorum line')
    if (!this.#names.has(name)) fail('the quorum is not defined above')
    this.#quorum = name
  }
}

/** The witnesses of a policy that cosigned a checkpoint, by name. */
export function cosignersOf(policy: LogPolicy, checkpoint: VerifiedCheckpoint): string[] {
  return policy.witnesses
    .filter(({ verifier }) =>
      checkpoint.verified.some((line) =>
        line.verifier.key.id === verifier.key.id && line.verifier.id === verifier.id
      )
    )
    .map(({ name }) => name)
}

/**
 * Checks a verified checkpoint against a policy: a log of the policy signed it under its own origin (unless
 * the policy names no logs), and the quorum of witnesses cosigned it. Times of cosignatures are not looked at.
 *
 * Errors: `checkpoint_origin`, `witness_quorum` (the message names who is missing).
 */
export function checkPolicy(policy: LogPolicy, checkpoint: VerifiedCheckpoint): void {
  const isLog = policy.logs.length === 0 ||
    checkpoint.verified.some(({ verifier }) =>
      verifier.name === checkpoint.origin &&
      policy.logs.some(({ id, name, key }) =>
        id === verifier.id && name === verifier.name && key.id === verifier.key.id
      )
    )
  if (!isLog) {
    throw new SignetError(
      'checkpoint_origin',
      `no log of the policy signed the checkpoint of ${JSON.stringify(checkpoint.origin)}`,
    )
  }
  const present = new Set(cosignersOf(policy, checkpoint))
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => present.has(member)).length >= threshold) present.add(name)
  }
  if (policy.quorum === 'none' || present.has(policy.quorum)) return
  const missing = policy.witnesses.filter(({ name }) => !present.has(name)).map(({ name }) => name)
  throw new SignetError(
    'witness_quorum',
    `the quorum "${policy.quorum}" is not reached: no cosignature of ${missing.join(', ')}`,
  )
}

/** A policy of one log and k of some witnesses. */
export function simplePolicy(
  logs: readonly NoteVerifier[],
  witnesses: readonly PolicyWitness[] = [],
  threshold: number = witnesses.length,
): LogPolicy {
  if (threshold === 0) return { logs, witnesses, groups: [], quorum: 'none' }
  const members = witnesses.map(({ name }) => name)
  return { logs, witnesses, groups: [{ name: 'quorum', threshold, members }], quorum: 'quorum' }
}

function unique(seen: Set<string>, value: string, why: string): void {
  if (seen.has(value)) fail(why)
  seen.add(value)
}

function fail(why: string): never {
  throw new SignetError('log_policy_malformed', why)
}

/** vkeys hold key names, which are UTF-8. */
function latin1ToUtf8(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)))
}
