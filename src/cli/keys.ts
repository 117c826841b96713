/** `signet keys`: make, show, rotate and try keys, wherever they live. */
import type { Command } from 'commander'
import { type Algorithm, algorithm, ALGORITHMS } from '../algorithms.ts'
import { utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import {
  formatJwks,
  formatKeyset,
  type Key,
  type Keyset,
  newKeyset,
  parseKeyset,
  primary,
  type PublicKey,
  revoke,
  rotate,
  toPublicPem,
} from '../keys/mod.ts'
import {
  appendRotation,
  type Envelope,
  followRotations,
  formatRotations,
  parseRotations,
} from '../envelope/mod.ts'
import { keyHint } from '../models/mod.ts'
import { action, common, group, several, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { MAX_KEY_FILE, onePublic, openPublic } from './public_side.ts'
import { printable, table } from './text.ts'

interface NewFlags extends CommonFlags {
  readonly key: string
  readonly algorithm: string
  readonly keyset?: string
  readonly name?: string
}

const EXAMPLES = `
Examples:
  signet keys new --key alice.pem --keyset alice.keys.json --name alice
  signet keys new --key alice-pq.pem --algorithm ML-DSA-65-Ed25519
  signet keys show --key alice.keys.json --jwks > jwks.json
  signet keys rotate --keyset alice.keys.json --key alice-2.pem --until 2027-01-01
  signet keys list --key "pkcs11:token=ci?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=pin"
  signet keys follow --keyset alice.as-I-know-her.json --rotations alice.keys.json.rotations

Algorithms: ${Object.keys(ALGORITHMS).join(', ')}.
Seals made with ES256, ES384 and ES512 verify in every OMS verifier; ML-DSA-65-Ed25519 withstands quantum
computers and verifies in signet.`

interface RotateFlags extends CommonFlags {
  readonly keyset: string
  readonly key: string
  readonly algorithm?: string
  readonly until?: string
  readonly rotations?: string
  readonly statement: boolean
}

/** The group. */
export function keysCommands(context: CliContext): Command {
  const keys = group(context, 'keys', 'make, show, rotate and try keys').addHelpText(
    'after',
    EXAMPLES,
  )
  withKeys(keys.command('new'))
    .description('make a key; the file or store must not have one yet')
    .requiredOption(
      '--key <uri>',
      'where the key shall live: a file, or a URI such as memory:, pkcs11:, awskms:',
    )
    .option('--algorithm <name>', 'what kind of key', 'ES256')
    .option('--keyset <file>', 'add it as primary key to a keyset, which is made if need be')
    .option('--name <name>', 'whose keyset it is; needed when the keyset is made')
    .action(action(context, newKey))
  withKeys(keys.command('show'))
    .description('show the public side of a key')
    .requiredOption('--key <uri>', 'a key file, a keyset, a PEM, JWK or JWKS file, or a key URI')
    .option('--pem', 'as PEM')
    .option('--jwk', 'as JWK')
    .option('--jwks', 'as JWK Set, for publication')
    .action(action(context, show))
  withKeys(keys.command('list'))
    .description('list the members of keysets, or the keys of a token or a KMS')
    .argument('[keyset...]', 'keyset files')
    .option('--key <uri>', 'a store: pkcs11:token=NAME?module-path=…, awskms:region=REGION')
    .action(action(context, list))
  withKeys(keys.command('rotate'))
    .description('make a new primary key; the old one still verifies')
    .requiredOption('--keyset <file>', 'the keyset')
    .requiredOption('--key <uri>', 'where the new key shall live')
    .option('--algorithm <name>', 'what kind of key; default: as the old one')
    .option('--until <date>', 'the old key verifies until then (ISO 8601); default: without end')
    .option('--rotations <file>', 'the chain of statements; default: beside the keyset')
    .option(
      '--no-statement',
      'sign nothing with the old key, because it is lost: nobody can follow',
    )
    .action(action(context, rotateKey))
  common(keys.command('follow'))
    .description('take over the rotations of a keyset that you trust')
    .requiredOption('--keyset <file>', 'the keyset as you have it')
    .requiredOption('--rotations <file>', 'the statements of its owner')
    .action(action(context, follow))
  common(keys.command('revoke'))
    .description('revoke a member of a keyset: it verifies nothing any more')
    .requiredOption('--keyset <file>', 'the keyset')
    .requiredOption('--id <id>', 'key id, see: signet keys list')
    .action(action(context, revokeKey))
  withKeys(keys.command('kek'))
    .description('make a key that wraps other keys, in a token or a KMS')
    .requiredOption('--key <uri>', 'where it shall live')
    .action(action(context, newKek))
  withKeys(keys.command('test'))
    .description('sign and verify with a key, in every mode that it declares')
    .requiredOption('--key <uri>', 'the key', several)
    .action(action(context, test))
  return keys
}

async function newKey(run: Run, flags: NewFlags): Promise<void> {
  const entry = algorithm(flags.algorithm)
  // Everything that can be refused is refused before a key exists.
  const before = flags.keyset === undefined ? undefined : await readKeyset(run, flags.keyset, true)
  if (before === undefined && flags.keyset !== undefined && flags.name === undefined) {
    throw new SignetError('usage_invalid', 'a new keyset needs a --name')
  }
  const key = await generate(run, flags.key, entry)
  if (flags.keyset !== undefined) {
    const keyset = before === undefined
      ? newKeyset(flags.name!, key.publicKey, flags.key)
      : rotate(before, key.publicKey, flags.key)
    await writeKeyset(run, flags.keyset, keyset, before !== undefined)
  }
  run.answer(await describe(key.publicKey), await describeText(key.publicKey))
  await key.close()
}

async function show(
  run: Run,
  flags: CommonFlags & { key: string; pem?: boolean; jwk?: boolean; jwks?: boolean },
): Promise<void> {
  if (flags.jwks) {
    const side = await openPublic(run, flags.key)
    run.terminal.out('keyset' in side ? formatJwks(side.keyset) : jwksOf(side.keys))
    return
  }
  const key = await onePublic(run, flags.key)
  if (flags.pem) run.terminal.out(toPublicPem(key))
  else if (flags.jwk) run.terminal.out(JSON.stringify({ ...key.jwk, kid: key.id }, null, 2) + '\n')
  else run.answer(await describe(key), await describeText(key))
}

async function list(
  run: Run,
  flags: CommonFlags & { key?: string },
  files: string[],
): Promise<void> {
  if ((flags.key === undefined) === (files.length === 0)) {
    throw new SignetError('usage_invalid', 'give either keyset files or a store with --key')
  }
  if (flags.key !== undefined) return await listStore(run, flags.key)
  const keysets = await Promise.all(files.map((file) => readKeyset(run, file)))
  const rows = keysets.flatMap((keyset) =>
    keyset!.members.map((member) => ({
      name: keyset!.name,
      id: member.key.id,
      algorithm: member.key.algorithm.name,
      status: member.status,
      notBefore: date(member.notBefore),
      notAfter: date(member.notAfter),
      revokedAt: date(member.revokedAt),
      key: member.uri,
    }))
  )
  const text = rows.map((row) => [
    printable(row.name),
    row.id,
    row.algorithm,
    row.revokedAt === undefined ? row.status : `revoked ${row.revokedAt}`,
    row.notAfter === undefined ? '' : `until ${row.notAfter}`,
    printable(row.key ?? ''),
  ])
  run.answer(rows, table(text))
}

/** The public thumbprint is what keysets and publishers know a key by. */
async function listStore(run: Run, uri: string): Promise<void> {
  const keys = await (await run.keyring()).list(uri, { signal: run.signal })
  const rows = keys.map(({ uri, label, id, algorithm, publicKey }) => ({
    label,
    id,
    algorithm: algorithm?.name,
    thumbprint: publicKey?.id,
    key: uri,
  }))
  const text = rows.map(({ label, algorithm, thumbprint, key }) => [
    printable(label),
    algorithm ?? 'unknown kind',
    thumbprint ?? 'no public key',
    printable(key),
  ])
  run.answer(rows, rows.length === 0 ? 'the store has no keys that sign' : table(text))
}

async function rotateKey(run: Run, flags: RotateFlags): Promise<void> {
  const until = flags.until === undefined ? undefined : seconds(flags.until)
  const keyset = (await readKeyset(run, flags.keyset))!
  const file = flags.rotations ?? `${flags.keyset}.rotations`
  const chain = await run.backends.exists(file) ? await readRotations(run, file) : []
  // The old key is opened before there is a new one: without it there would be nothing to follow.
  const from = flags.statement ? await (await run.keyring()).open(flags.keyset) : undefined
  const old = keyset.members.find(({ status }) => status === 'primary')?.key.algorithm.name
  const key = await generate(run, flags.key, algorithm(flags.algorithm ?? old ?? 'ES256'))
  const rotated = rotate(keyset, key.publicKey, flags.key, until)
  if (from !== undefined) {
    const issued = Math.floor(Date.now() / 1000)
    const longer = await appendRotation(chain, keyset.name, from, key, { issued, until })
    // First the statement: a keyset that nobody can follow is worse than a statement not yet acted upon.
    await run.backends.writeFile(file, utf8(formatRotations(longer)), {
      overwrite: true,
      mode: 0o644,
    })
    await from.close()
    run.say(`signed by the old key and the new one: ${file}`)
  }
  await writeKeyset(run, flags.keyset, rotated, true)
  run.answer(await describe(key.publicKey), await describeText(key.publicKey))
  await key.close()
}

async function follow(
  run: Run,
  flags: CommonFlags & { keyset: string; rotations: string },
): Promise<void> {
  const keyset = (await readKeyset(run, flags.keyset))!
  const followed = await followRotations(keyset, await readRotations(run, flags.rotations))
  const before = primary(keyset).key
  const { key } = primary(followed)
  if (key.id !== before.id) await writeKeyset(run, flags.keyset, followed, true)
  const text = key.id === before.id
    ? `${printable(keyset.name)}: nothing new, the primary key is ${key.id}`
    : `${printable(keyset.name)}: from ${before.id} to ${key.id}`
  run.answer({ name: keyset.name, from: before.id, to: key.id }, text)
}

async function readRotations(run: Run, file: string): Promise<Envelope[]> {
  return parseRotations(await run.backends.readFile(file, MAX_KEY_FILE))
}

async function revokeKey(
  run: Run,
  flags: CommonFlags & { keyset: string; id: string },
): Promise<void> {
  const keyset = (await readKeyset(run, flags.keyset))!
  const now = Math.floor(Date.now() / 1000)
  await writeKeyset(run, flags.keyset, revoke(keyset, flags.id, now), true)
  run.answer({ id: flags.id, revokedAt: date(now) }, `${flags.id} revoked`)
}

async function newKek(run: Run, flags: CommonFlags & { key: string }): Promise<void> {
  const kek = await (await run.keyring()).generateKek(flags.key, { signal: run.signal })
  await kek.close()
  run.answer({ id: kek.id }, kek.id)
}

async function test(run: Run, flags: CommonFlags & { key: string[] }): Promise<void> {
  const results = []
  for (const uri of flags.key) {
    const key = await (await run.keyring()).open(uri)
    const modes: Record<string, number> = {}
    for (const mode of key.modes) modes[mode] = await timeSignature(key, mode)
    results.push({ ...await describe(key.publicKey), modes })
    await key.close()
  }
  const text = results.map(({ id, algorithm, modes }) =>
    `${id}  ${algorithm}\n` +
    Object.entries(modes).map(([mode, ms]) =>
      `  ${mode.padEnd(12)} signed and verified in ${ms.toFixed(1)} ms`
    ).join('\n')
  )
  run.answer(results, text.join('\n'))
}

async function timeSignature(key: Key, mode: Key['modes'][number]): Promise<number> {
  const { hash } = key.publicKey.algorithm
  const message = utf8('signet keys test')
  const bytes = mode === 'message'
    ? message
    : mode === 'digest'
    ? new Uint8Array(await crypto.subtle.digest(hash!, message))
    : crypto.getRandomValues(new Uint8Array(64))
  const start = performance.now()
  const signature = await key.sign({ mode, bytes })
  const input = mode === 'external-mu'
    ? { mode, bytes }
    : { mode: 'message', bytes: message } as const
  if (!await key.publicKey.verify(input, signature)) {
    throw new SignetError('key_backend_unavailable', `the signature of a ${mode} does not verify`)
  }
  return performance.now() - start
}

async function generate(run: Run, uri: string, entry: Algorithm): Promise<Key> {
  const { provider, uri: parsed } = (await run.keyring(true)).provider(uri)
  return await provider.generate(parsed, entry, { signal: run.signal })
}

/** A keyset file; undefined if there is none and that is fine. */
async function readKeyset(run: Run, file: string, mayLack = false): Promise<Keyset | undefined> {
  if (mayLack && !await run.backends.exists(file)) return undefined
  return await parseKeyset(await run.backends.readFile(file, MAX_KEY_FILE))
}

async function writeKeyset(
  run: Run,
  file: string,
  keyset: Keyset,
  overwrite: boolean,
): Promise<void> {
  await run.backends.writeFile(file, utf8(formatKeyset(keyset)), { overwrite, mode: 0o644 })
}

async function describe(key: PublicKey) {
  return { id: key.id, algorithm: key.algorithm.name, hint: await keyHint(key) }
}

async function describeText(key: PublicKey): Promise<string> {
  const { id, algorithm, hint } = await describe(key)
  return table([['key id', id], ['algorithm', algorithm], ['OMS hint', hint]])
}

function jwksOf(keys: readonly PublicKey[]): string {
  return JSON.stringify(
    { keys: keys.map((key) => ({ ...key.jwk, kid: key.id, use: 'sig' })) },
    null,
    2,
  ) +
    '\n'
}

function date(at: number | undefined): string | undefined {
  return at === undefined || at > 8.64e12 ? undefined : new Date(at * 1000).toISOString()
}

/** Seconds since 1970 of an ISO date. */
export function seconds(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN
  if (Number.isNaN(ms)) {
    throw new SignetError('usage_invalid', `${JSON.stringify(text)} is no ISO 8601 date`)
  }
  return Math.floor(ms / 1000)
}
