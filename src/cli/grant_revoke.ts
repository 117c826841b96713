/** `signet grant revoke`: in a status list that lies here, or at the server that gave the grant. */
import type { Command } from 'commander'
import { fromUtf8, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  type GrantChain,
  openStatusList,
  signStatusList,
  StatusList,
  TOKEN_STATUS,
  unpackStatusList,
} from '../grants/mod.ts'
import { isObject } from '../json.ts'
import type { Key } from '../keys/mod.ts'
import { action, wholeNumber, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { claimsOf, readChain } from './grant_file.ts'
import { type GrantRevokeFlags, revokeAtServer } from './grant_server.ts'
import { OPERATOR_KEY_HELP, REASON_HELP, SERVER_HELP, YES_HELP } from './operator.ts'
import { withKey } from './private_side.ts'

const MAX_LIST_FILE = 8 * 2 ** 20

interface ListFlags extends CommonFlags {
  readonly key?: string
  readonly list?: string
  readonly index?: number
  readonly link?: number
  readonly create?: number
  readonly uri?: string
  readonly suspend?: boolean
}

/** Flags of `grant revoke`: of a list here, or of a server. */
type RevokeFlags = ListFlags & Partial<GrantRevokeFlags>

/** What the flags of a list must be for anything to be done. */
interface WholeFlags extends ListFlags {
  readonly key: string
  readonly list: string
}

const OF_A_LIST = ['key', 'list', 'link', 'index', 'suspend', 'create', 'uri'] as const
const OF_A_SERVER = ['operatorKey', 'reason', 'yes'] as const

/** Adds the command. */
export function withRevoking(context: CliContext, grant: Command): void {
  withKeys(grant.command('revoke'))
    .description(
      'take a grant back: in a status list that you sign, or at a server with all below it',
    )
    .argument('[grant]', 'file of the grant; with --server its id')
    .option('--key <uri>', "the issuer's key, which signs the list")
    .option('--list <file>', 'the status list, which is replaced')
    .option('--link <n>', 'which token of the chain; 0, the root, takes all back', wholeNumber)
    .option('--index <n>', 'an index in the list, instead of a grant', wholeNumber)
    .option('--suspend', 'mark it suspended, not revoked; needs a list of more than one bit')
    .option('--create <size>', 'make the list, for so many tokens', wholeNumber)
    .option('--uri <uri>', 'where a list that is made will be published')
    .option('--server <url>', SERVER_HELP)
    .option('--operator-key <file>', OPERATOR_KEY_HELP)
    .option('--reason <text>', REASON_HELP)
    .option('--yes', YES_HELP)
    .action(action(context, revoke))
}

async function revoke(run: Run, flags: RevokeFlags, grant: string | undefined): Promise<void> {
  const { server, key, list } = flags
  const foreign = (server === undefined ? OF_A_SERVER : OF_A_LIST)
    .find((name) => flags[name as keyof RevokeFlags] !== undefined)
  if (foreign !== undefined) {
    const name = foreign.replace('operatorKey', 'operator-key')
    throw new SignetError(
      'usage_invalid',
      server === undefined ? `--${name} goes with --server` : `--${name} does not go with --server`,
    )
  }
  if (server !== undefined) {
    if (grant === undefined) throw new SignetError('usage_invalid', 'which grant? give its id')
    return await revokeAtServer(run, { ...flags, server }, grant)
  }
  if (key === undefined || list === undefined) {
    throw new SignetError('usage_invalid', 'a status list needs --key and --list', {
      remedy: 'or name the server that gave the grant: --server URL',
    })
  }
  await revokeInList(run, { ...flags, key, list }, grant)
}

async function revokeInList(run: Run, flags: WholeFlags, file: string | undefined): Promise<void> {
  if ((file === undefined) === (flags.index === undefined)) {
    throw new SignetError('usage_invalid', 'give either a grant or --index')
  }
  await withKey(run, flags.key, async (key) => {
    const now = Math.floor(Date.now() / 1000)
    const before = await readList(run, flags, key)
    const { list, facts } = before
    const status = file === undefined
      ? { idx: flags.index!, uri: facts.uri }
      : statusOfLink(await readChain(run, file), flags.link ?? 0)
    if (status.uri !== facts.uri) {
      throw new SignetError('status_list_foreign', 'the status of the token is in another list', {
        where: status.uri,
      })
    }
    list.set(status.idx, flags.suspend ? TOKEN_STATUS.suspended : TOKEN_STATUS.invalid)
    // Newer than before, also when the clock stands: two lists of one time would be two truths.
    const issuedAt = Math.max(now, (before.issuedAt ?? 0) + 1)
    const token = await signStatusList(list, key, { ...facts, issuedAt }, { signal: run.signal })
    await run.backends.replaceFile(flags.list, utf8(`${token}\n`), before.bytes)
    const what = flags.suspend ? 'suspended' : 'revoked'
    run.answer(
      { list: flags.list, uri: facts.uri, index: status.idx, status: what },
      `index ${status.idx} of ${facts.uri} is ${what}; publish ${flags.list}`,
    )
  })
}

interface ListBefore {
  readonly list: StatusList
  readonly facts: {
    readonly uri: string
    readonly issuer?: string | undefined
    readonly ttl?: number | undefined
  }
  readonly issuedAt: number | undefined
  readonly bytes: Uint8Array | undefined
}

/** The list to be changed: the key's own, or a new one. */
async function readList(run: Run, flags: WholeFlags, key: Key): Promise<ListBefore> {
  if (flags.create !== undefined) {
    if (flags.uri === undefined) {
      throw new SignetError('usage_invalid', 'a list that is made needs its --uri')
    }
    const list = StatusList.of(flags.create, flags.suspend ? 2 : 1)
    return { list, facts: { uri: flags.uri }, issuedAt: undefined, bytes: undefined }
  }
  const bytes = await run.backends.readFile(flags.list, MAX_LIST_FILE)
  const found = await openStatusList(fromUtf8(bytes, 'status list').trim(), [key.publicKey])
  if (found.expiresAt !== undefined) {
    throw new SignetError('usage_invalid', 'the list says when it expires, so a server keeps it', {
      remedy: 'take the grant back there',
    })
  }
  return {
    list: await unpackStatusList(claimsOf(found.token).status_list),
    facts: { uri: found.uri, issuer: found.issuer, ttl: found.ttl },
    issuedAt: found.issuedAt,
    bytes,
  }
}

function statusOfLink(chain: GrantChain, link: number): { idx: number; uri: string } {
  const token = chain[link]
  if (token === undefined) {
    throw new SignetError('usage_invalid', `the chain has no token ${link}`)
  }
  const { status } = claimsOf(token)
  const list = isObject(status) ? status.status_list : undefined
  if (isObject(list) && typeof list.idx === 'number' && typeof list.uri === 'string') {
    return { idx: list.idx, uri: list.uri }
  }
  throw new SignetError('usage_invalid', `token ${link} of the chain cannot be taken back`, {
    remedy: 'it was issued without --status-uri; wait for it to expire, or take back one above it',
  })
}
