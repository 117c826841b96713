/** `signet grant verify` and `inspect`. */
import type { Command } from 'commander'
import { fromUtf8 } from '../bytes.ts'
import { parseJws } from '../envelope/mod.ts'
import { isSignetError } from '../errors.ts'
import {
  checkStatusListAge,
  openStatusList,
  type TrustedIssuer,
  type VerifiedGrant,
  type VerifiedLink,
  type VerifiedStatusList,
  verifyGrant,
} from '../grants/mod.ts'
import { parseJson } from '../json.ts'
import { type PublicKey, refusal } from '../keys/mod.ts'
import { action, common, several } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { claimsOf, iso, readChain } from './grant_file.ts'
import { grantText, type LinkReport } from './grant_text.ts'
import { seconds } from './keys.ts'
import { openPublic } from './public_side.ts'
import { jsonText } from './text.ts'

const MAX_LIST_FILE = 8 * 2 ** 20

interface VerifyFlags extends CommonFlags {
  readonly key: string[]
  readonly issuer: string
  readonly audience?: string
  readonly at?: string
  readonly tool?: string
  readonly args: string
  readonly statusList?: string[]
  readonly skipRevocation?: boolean
}

/** Adds the two commands. */
export function withVerifying(context: CliContext, grant: Command): void {
  common(grant.command('verify'))
    .description('verify a grant, and tell whether a call is covered')
    .argument('<grant>', 'file of the grant')
    .requiredOption('--key <uri>', "the issuer's keys: a keyset, PEM, JWK or JWKS file", several)
    .requiredOption('--issuer <uri>', 'the issuer that is trusted with these keys')
    .option('--audience <name>', 'who is asking, if the grant is for somebody')
    .option('--tool <name>', 'a tool that is to be called')
    .option('--args <json>', 'its arguments', '{}')
    .option('--status-list <file>', "a status list, signed by the issuer's keys", several)
    .option('--skip-revocation', 'do not ask whether a link was taken back')
    .option('--at <date>', 'as of then (ISO 8601); default: now')
    .action(action(context, verify))
  common(grant.command('inspect'))
    .description('show what a grant says, without believing it')
    .argument('<grant>', 'file of the grant')
    .action(action(context, inspect))
}

async function verify(run: Run, flags: VerifyFlags, file: string): Promise<number> {
  const now = flags.at === undefined ? Math.floor(Date.now() / 1000) : seconds(flags.at)
  const args = parseJson(flags.args, { what: '--args' })
  const keys = (await Promise.all(flags.key.map((uri) => currentKeys(run, uri, now)))).flat()
  const trusted: TrustedIssuer[] = [{ issuer: flags.issuer, keys }]
  const grant = await verifyGrant(await readChain(run, file), trusted, {
    audience: flags.audience,
    now,
  })
  const lists = await Promise.all(
    (flags.statusList ?? []).map(async (path) => {
      const list = await openStatusList(await readToken(run, path), keys)
      checkStatusListAge(list, { now, skew: 30 })
      return list
    }),
  )
  const links = grant.links.map((link): LinkReport => ({
    ...linkJson(link),
    revocation: link.status === undefined
      ? 'cannot be taken back'
      : flags.skipRevocation
      ? 'skipped'
      : revocationOf(link.status, lists),
  }))
  const standing = links.every(({ revocation }) =>
    ['valid', 'skipped', 'cannot be taken back'].includes(revocation)
  )
  const call = flags.tool === undefined ? undefined : grant.check(flags.tool, args)
  const ok = standing && (call?.allowed ?? true)
  run.answer({ ok, ...grantJson(grant), links, call }, grantText(grant, links, call, ok))
  return ok ? 0 : 6
}

function revocationOf(
  status: NonNullable<VerifiedLink['status']>,
  lists: readonly VerifiedStatusList[],
): string {
  const list = lists.find(({ uri }) => uri === status.uri)
  try {
    return list?.verdict(status.idx) ?? 'unknown'
  } catch (error) {
    if (isSignetError(error, 'status_unknown')) return 'unknown'
    throw error
  }
}

/** Keys that verify now: a keyset says which of its members do. */
async function currentKeys(run: Run, uri: string, now: number): Promise<readonly PublicKey[]> {
  const side = await openPublic(run, uri)
  if ('keys' in side) return side.keys
  return side.keyset.members.filter((one) => refusal(one, now) === undefined).map(({ key }) => key)
}

function linkJson(
  { id, jti, issuer, holderThumbprint, issuedAt, expiresAt, status, limits }: VerifiedLink,
) {
  return {
    id,
    jti,
    issuer,
    holder: holderThumbprint,
    issuedAt: iso(issuedAt),
    expiresAt: iso(expiresAt),
    ...status === undefined ? {} : { status },
    ...limits === undefined ? {} : { limits: Object.fromEntries(limits) },
  }
}

function grantJson(grant: VerifiedGrant) {
  return {
    id: grant.id,
    issuer: grant.issuer,
    holder: grant.holder.id,
    audience: grant.audience,
    depth: grant.depth,
    maxDepth: grant.maxDepth,
    issuedAt: iso(grant.issuedAt),
    expiresAt: iso(grant.expiresAt),
    scopes: grant.scopes,
    tools: grant.tools,
  }
}

async function inspect(run: Run, _flags: CommonFlags, file: string): Promise<void> {
  const chain = await readChain(run, file)
  const tokens = chain.map((token) => ({ header: parseJws(token).header, claims: claimsOf(token) }))
  run.say('nothing of this is verified')
  run.answer({ verified: false, tokens }, jsonText(tokens))
}

async function readToken(run: Run, file: string): Promise<string> {
  return fromUtf8(await run.backends.readFile(file, MAX_LIST_FILE), 'status list').trim()
}
