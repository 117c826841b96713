/** `signet grant`: give authority, pass on less of it, check it, and take it back. */
import type { Command } from 'commander'
import { fromUtf8, utf8 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import {
  checkStatusListAge,
  formatChain,
  type GrantChain,
  type GrantTerms,
  issueGrant,
  narrowGrant,
  openStatusList,
  parseChain,
  signStatusList,
  StatusList,
  TOKEN_STATUS,
  type TrustedIssuer,
  unpackStatusList,
  type VerifiedGrant,
  type VerifiedLink,
  type VerifiedStatusList,
  verifyGrant,
} from '../grants/mod.ts'
import { parseJws } from '../envelope/mod.ts'
import { isObject, parseJson } from '../json.ts'
import { type Key, type PublicKey, refusal } from '../keys/mod.ts'
import { action, common, group, several, wholeNumber, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { duration, limitsOf, toolsOf } from './grant_terms.ts'
import { grantText, type LinkReport } from './grant_text.ts'
import { seconds } from './keys.ts'
import { onePublic, openPublic } from './public_side.ts'

const EXAMPLES = `
Examples:
  signet keys new --key issuer.pem --algorithm Ed25519
  signet keys new --key agent.pem --algorithm Ed25519
  signet keys show --key agent.pem --jwk > agent.jwk
  signet grant issue --key issuer.pem --issuer https://example.com --holder agent.jwk \\
      --scope calendar:read --lifetime 1h --depth 2 --out grant.txt
  signet grant narrow grant.txt --key agent.pem --holder helper.jwk --lifetime 5m --out less.txt
  signet grant verify less.txt --key issuer.pem --issuer https://example.com --tool calendar:read
  signet grant inspect less.txt

A grant is a file with one token per line, the root first. It is no secret: without the key of its holder it is of
no use. A scope is a tool that may be called with any arguments; its name matches as it stands, without wildcards.
A --capability file holds tools with constraints on their arguments:
  {"read_file": {"path": {"constraint_type": "one_of", "values": ["/data/q3.pdf"]}}}
Taking back: give --status-uri and --status-index when issuing, and publish the list that grant revoke writes.`

const MAX_FILE = 2 ** 20
const MAX_LIST_FILE = 8 * 2 ** 20

interface TermFlags extends CommonFlags {
  readonly key: string
  readonly holder: string
  readonly scope?: string[]
  readonly capability?: string
  readonly audience?: string[]
  readonly limits?: string
  readonly statusUri?: string
  readonly statusIndex?: number
  readonly lifetime?: number
  readonly depth?: number
  readonly out: string
}

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

interface RevokeFlags extends CommonFlags {
  readonly key: string
  readonly list: string
  readonly index?: number
  readonly link?: number
  readonly create?: number
  readonly uri?: string
  readonly suspend?: boolean
}

/** The group. */
export function grantCommands(context: CliContext): Command {
  const grant = group(
    context,
    'grant',
    'give authority, pass on less of it, check it, take it back',
  )
    .addHelpText('after', EXAMPLES)
  withTerms(grant.command('issue'))
    .description('issue a grant: the first token of a chain')
    .requiredOption('--issuer <uri>', 'who gives the authority, as verifiers pin it')
    .requiredOption('--lifetime <time>', 'how long it is valid: seconds, or 30m, 12h, 7d', duration)
    .option('--depth <n>', 'how often it may be passed on', wholeNumber, 0)
    .action(action(context, issue))
  withTerms(grant.command('narrow'))
    .description('pass a grant on, with no more authority than it has; no server is asked')
    .argument('<grant>', 'file of the grant')
    .option('--lifetime <time>', 'if it is to end before the grant does', duration)
    .option('--depth <n>', 'how deep the chain may become; default: as the grant says', wholeNumber)
    .action(action(context, narrow))
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
  withKeys(grant.command('revoke'))
    .description('take a grant back: mark it in a status list and sign the list anew')
    .argument('[grant]', 'file of the grant')
    .requiredOption('--key <uri>', "the issuer's key, which signs the list")
    .requiredOption('--list <file>', 'the status list, which is replaced')
    .option('--link <n>', 'which token of the chain; 0, the root, takes all back', wholeNumber)
    .option('--index <n>', 'an index in the list, instead of a grant', wholeNumber)
    .option('--suspend', 'for now only; needs a list of more than one bit')
    .option('--create <size>', 'make the list, for so many tokens', wholeNumber)
    .option('--uri <uri>', 'where a list that is made will be published')
    .action(action(context, revoke))
  return grant
}

function withTerms(command: Command): Command {
  return withKeys(command)
    .requiredOption('--key <uri>', 'the key that signs')
    .requiredOption('--holder <uri>', 'public side of the key that it is given to')
    .option('--scope <name>', 'a tool that may be called with any arguments', several)
    .option('--capability <file>', 'tools with constraints on their arguments, as JSON')
    .option('--audience <name>', 'for whom', several)
    .option('--limits <file>', 'how often, how much, with whose approval, as JSON')
    .option('--status-uri <uri>', 'where its status list will be')
    .option('--status-index <n>', 'its index there', wholeNumber)
    .requiredOption('--out <file>', 'where to write the grant; must not exist')
}

async function issue(run: Run, flags: TermFlags & { issuer: string }): Promise<void> {
  const terms = await termsOf(run, flags)
  if (terms.tools === undefined && terms.scopes === undefined) {
    throw new SignetError('usage_invalid', 'a grant of nothing', {
      remedy: 'give --scope or --capability',
    })
  }
  const { issuer, lifetime = 0, depth } = flags
  await withKey(run, flags.key, async (key) =>
    await write(
      run,
      flags.out,
      await issueGrant(key, { ...terms, issuer, lifetime, maxDepth: depth }, {
        signal: run.signal,
      }),
    ))
}

async function narrow(run: Run, flags: TermFlags, file: string): Promise<void> {
  const chain = await readChain(run, file)
  const terms = await termsOf(run, flags)
  const { lifetime, depth: maxDepth } = flags
  await withKey(run, flags.key, async (key) =>
    await write(
      run,
      flags.out,
      await narrowGrant(chain, key, { ...terms, lifetime, maxDepth }, { signal: run.signal }),
    ))
}

async function termsOf(run: Run, flags: TermFlags): Promise<GrantTerms> {
  const { statusUri: uri, statusIndex: idx } = flags
  if ((uri === undefined) !== (idx === undefined)) {
    throw new SignetError('usage_invalid', '--status-uri and --status-index belong together')
  }
  return {
    holder: await onePublic(run, flags.holder),
    scopes: flags.scope,
    tools: flags.capability === undefined ? undefined : await toolsOf(run, flags.capability),
    audience: flags.audience,
    limits: flags.limits === undefined ? undefined : await limitsOf(run, flags.limits),
    status: uri === undefined ? undefined : { uri, idx: idx! },
  }
}

async function readChain(run: Run, file: string): Promise<GrantChain> {
  return parseChain(fromUtf8(await run.backends.readFile(file, MAX_FILE), 'grant'))
}

async function write(run: Run, file: string, chain: GrantChain): Promise<void> {
  await run.backends.writeFile(file, utf8(formatChain(chain)), { mode: 0o644 })
  const links = chain.map(claimsOf)
  const { exp } = links.at(-1) as { exp: number }
  run.answer(
    { file, tokens: chain.length, claims: links.at(-1) },
    `${file}: ${chain.length} token${chain.length === 1 ? '' : 's'}, expires ${iso(exp)}`,
  )
}

async function withKey<T>(run: Run, uri: string, work: (key: Key) => Promise<T>): Promise<T> {
  const key = await (await run.keyring()).open(uri)
  try {
    return await work(key)
  } finally {
    await key.close()
  }
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
  run.answer({ verified: false, tokens }, JSON.stringify(tokens, null, 2))
}

function claimsOf(token: string) {
  const claims = parseJson(parseJws(token).payload, { what: 'claims', maxDepth: 128 })
  if (isObject(claims)) return claims
  throw new SignetError('grant_malformed', 'grant: the claims are not an object')
}

async function revoke(run: Run, flags: RevokeFlags, file: string | undefined): Promise<void> {
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
async function readList(run: Run, flags: RevokeFlags, key: Key): Promise<ListBefore> {
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

async function readToken(run: Run, file: string): Promise<string> {
  return fromUtf8(await run.backends.readFile(file, MAX_LIST_FILE), 'status list').trim()
}

function iso(at: number): string {
  return at > 8.64e12 ? String(at) : new Date(at * 1000).toISOString()
}
