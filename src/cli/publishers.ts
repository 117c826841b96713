/** `signet publishers`: keep the signed list of those whose seals count. */
import type { Command } from 'commander'
import { SignetError } from '../errors.ts'
import { importRegistry } from '../interop/mod.ts'
import type { Key, KeysetMember } from '../keys/mod.ts'
import { readCertificates } from '../certificates/mod.ts'
import {
  acceptPublishers,
  addKey,
  addOwner,
  addPublisher,
  addRoot,
  mergeKeyset,
  newPublishers,
  type PublishersDocument,
  removeRoot,
  revisePublishers,
  revokeKey,
  signPublishers,
  unverifiedPublishers,
  verifyPublishers,
} from '../models/mod.ts'
import { action, common, group, several, wholeNumber, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { seconds } from './keys.ts'
import { MAX_KEY_FILE, openPublic } from './public_side.ts'
import {
  openPublishers,
  type OwnerFlags,
  ownersOf,
  publishersId,
  readPublishers,
  rememberAnew,
} from './publishers_file.ts'
import { listText, listToJson } from './publishers_text.ts'
import { printable } from './text.ts'

/** Flags of commands that make a new version. */
interface EditFlags extends CommonFlags {
  readonly key: string
  readonly until?: string
}

const EXAMPLES = `
Examples:
  signet publishers init trust.json --name 'Acme models' --key owner.pem --until 2027-01-01
  signet publishers add trust.json Alice alice.keys.json --key owner.pem
  signet publishers add trust.json Bob bob.pub.pem --key owner.pem --valid-from 2026-06-01
  signet publishers revoke trust.json --id KEYID --key owner.pem
  signet publishers rotate trust.json --key owner.pem --to owner-2.pem
On the machine of somebody who verifies, once, with the owner's public key, and from then on:
  signet publishers trust trust.json --owner owner.pub.pem
  signet model verify ./llama --publishers trust.json

The file is signed and numbered. What was accepted is remembered by the file's path: an older version, another
version of the same number and a version by somebody else are refused.`

/** The group. */
export function publishersCommands(context: CliContext): Command {
  const publishers = group(
    context,
    'publishers',
    'keep the signed list of those whose seals count',
  ).addHelpText('after', EXAMPLES)
  const edits = (name: string) =>
    withKeys(publishers.command(name))
      .argument('<file>', 'the publishers file')
      .requiredOption('--key <uri>', "the owner's key, which signs the new version")
      .option(
        '--until <date>',
        'not believed from then on (ISO 8601); default: lasts as long again',
      )
  edits('init')
    .description('make an empty list, version 1; it is remembered here')
    .requiredOption('--name <name>', 'which list this is')
    .option('--threshold <n>', 'how many different publishers must seal a model', wholeNumber)
    .option('--insecure-forget-previous', 'forget what was accepted at this path before')
    .action(action(context, init))
  common(publishers.command('trust'))
    .description('accept a list for the first time, by its owner')
    .argument('<file>', 'the publishers file')
    .requiredOption('--owner <file>', "the owner's public key, got by a safe way", several)
    .option('--insecure-forget-previous', 'forget what was accepted at this path before')
    .action(action(context, trust))
  common(publishers.command('list'))
    .description('verify a list and show it')
    .argument('<file>', 'the publishers file')
    .option('--owner <file>', "the owner's public key, the first time", several)
    .option('--unverified', 'show what the file says, whoever wrote it')
    .action(action(context, list))
  edits('add')
    .description('add a publisher, or keys of one; a keyset is taken over as it is now')
    .argument('<name>', 'whose keys they are')
    .argument('[keys...]', 'their public keys: keyset, PEM, JWK, JWKS or a key URI')
    .option('--root <file>', 'a root certificate whose certificates seal for it', several)
    .option('--valid-from <date>', 'the keys count from then on (ISO 8601)')
    .option('--valid-until <date>', 'the keys count until then')
    .action(action(context, add))
  edits('revoke')
    .description('revoke a key, wherever it stands, or take a root certificate out')
    .option('--id <id>', 'key id, see: signet publishers list', several)
    .option('--root <file>', 'the root certificate', several)
    .option('--at <date>', 'since when (ISO 8601); default: now')
    .action(action(context, revoke))
  edits('rotate')
    .description('hand the list over to another key; both sign')
    .requiredOption('--to <uri>', 'the new owner')
    .option('--keep', 'the old owner stays one')
    .action(action(context, rotateOwner))
  edits('renew')
    .description('make a new version, to last longer or with another threshold')
    .option('--threshold <n>', 'how many different publishers must seal a model', wholeNumber)
    .action(action(context, renew))
  edits('import-registry')
    .description('add the publishers of an aumai-modelseal registry; look at them first')
    .argument('<registry>', 'the registry file, which is not signed')
    .action(action(context, importFrom))
  return publishers
}

async function init(
  run: Run,
  flags: EditFlags & {
    readonly name: string
    readonly threshold?: number
    readonly insecureForgetPrevious?: boolean
  },
  file: string,
): Promise<void> {
  if (await run.backends.exists(file)) {
    throw new SignetError('file_exists', `${file} exists already`, { where: file })
  }
  const memory = await run.backends.publishersMemory()
  const before = await memory.read(publishersId(file))
  if (before !== undefined && !flags.insecureForgetPrevious) {
    throw new SignetError('file_exists', `a list was accepted at ${file} before`, {
      where: file,
      remedy: 'restore it, choose another path, or say --insecure-forget-previous',
    })
  }
  const expires = flags.until === undefined ? undefined : seconds(flags.until)
  await withOwner(run, [flags.key], async ([key]) => {
    const owners = [key!.publicKey]
    const { name, threshold } = flags
    const document = newPublishers({ name, owners, issued: now(), expires, threshold })
    const bytes = await signPublishers(document, [key!], { signal: run.signal })
    await run.backends.replaceFile(file, bytes, undefined)
    await rememberAnew(run, file, bytes, owners)
    run.answer(listToJson(document), `${printable(file)}: ${listText(document)}`)
  })
}

async function trust(
  run: Run,
  flags: CommonFlags & { readonly owner: string[]; readonly insecureForgetPrevious?: boolean },
  file: string,
): Promise<void> {
  const { document } = flags.insecureForgetPrevious
    ? await rememberAnew(
      run,
      file,
      await readPublishers(run, file),
      await ownersOf(run, flags.owner),
    )
    : await openPublishers(run, file, flags)
  run.answer(listToJson(document), `${printable(file)} is trusted: ${listText(document)}`)
}

async function list(
  run: Run,
  flags: CommonFlags & OwnerFlags & { readonly unverified?: boolean },
  file: string,
): Promise<void> {
  if (flags.unverified) {
    const document = await unverifiedPublishers(await readPublishers(run, file))
    const text = `NOT VERIFIED: this is what the file says, whoever wrote it\n${listText(document)}`
    return run.answer({ verified: false, ...listToJson(document) }, text)
  }
  const { document } = await openPublishers(run, file, flags)
  run.answer({ verified: true, ...listToJson(document) }, listText(document))
}

async function add(
  run: Run,
  flags: EditFlags & {
    readonly root?: string[]
    readonly validFrom?: string
    readonly validUntil?: string
  },
  file: string,
  name: string,
  files: string[],
): Promise<void> {
  const sides = await Promise.all(files.map((one) => openPublic(run, one)))
  const roots = await certificates(run, flags.root)
  if (sides.length + roots.length === 0) {
    throw new SignetError('usage_invalid', 'no key and no --root was named')
  }
  const given = {
    notBefore: flags.validFrom === undefined ? undefined : seconds(flags.validFrom),
    notAfter: flags.validUntil === undefined ? undefined : seconds(flags.validUntil),
  }
  await edit(run, flags, file, (document) => {
    for (const side of sides) {
      if ('keyset' in side) {
        const members = side.keyset.members.map((member) => narrowed(member, given))
        document = mergeKeyset(document, { name, members })
      } else {
        for (const key of side.keys) document = addKey(document, name, key, given)
      }
    }
    return roots.reduce((sum, root) => addRoot(sum, name, root), document)
  })
}

/** A member that is valid only where the flags say so too. */
function narrowed(
  member: KeysetMember,
  given: Pick<KeysetMember, 'notBefore' | 'notAfter'>,
): KeysetMember {
  const { notBefore = given.notBefore, notAfter = given.notAfter } = member
  return {
    ...member,
    notBefore: notBefore && Math.max(notBefore, given.notBefore ?? 0),
    notAfter: notAfter && Math.min(notAfter, given.notAfter ?? Infinity),
  }
}

async function revoke(
  run: Run,
  flags: EditFlags & { readonly id?: string[]; readonly root?: string[]; readonly at?: string },
  file: string,
): Promise<void> {
  const ids = flags.id ?? []
  const roots = await certificates(run, flags.root)
  if (ids.length + roots.length === 0) {
    throw new SignetError('usage_invalid', 'name a key with --id, or a certificate with --root')
  }
  const at = flags.at === undefined ? now() : seconds(flags.at)
  await edit(run, flags, file, (document) => {
    const without = ids.reduce((sum, id) => revokeKey(sum, id, at), document)
    return roots.reduce((sum, root) => removeRoot(sum, root), without)
  })
}

async function rotateOwner(
  run: Run,
  flags: EditFlags & { readonly to: string; readonly keep?: boolean },
  file: string,
): Promise<void> {
  await edit(run, flags, file, (document, [old, heir]) => {
    const more = addOwner(document, heir!.publicKey)
    return flags.keep ? more : revokeKey(more, old!.publicKey.id, now())
  }, [flags.to])
}

async function renew(
  run: Run,
  flags: EditFlags & { readonly threshold?: number },
  file: string,
): Promise<void> {
  await edit(run, flags, file, (document) => ({
    ...document,
    threshold: flags.threshold ?? document.threshold,
  }))
}

async function importFrom(
  run: Run,
  flags: EditFlags,
  file: string,
  registry: string,
): Promise<void> {
  const found = await importRegistry(await run.backends.readFile(registry, MAX_KEY_FILE))
  await edit(run, flags, file, (document) => {
    const known = new Set(
      document.publishers.flatMap(({ members }) => members.map(({ key }) => key.id)),
    )
    const fresh = found.filter(({ members }) => members.some(({ key }) => !known.has(key.id)))
    if (fresh.length === 0) {
      throw new SignetError('usage_invalid', `the list has every key of ${registry} already`)
    }
    if (fresh.length < found.length) {
      run.say(`${found.length - fresh.length} are in the list already`)
    }
    return fresh.reduce(addPublisher, document)
  })
}

/** Verifies the list, changes it, signs the next version, and writes it if nobody else did meanwhile. */
async function edit(
  run: Run,
  flags: EditFlags,
  file: string,
  change: (document: PublishersDocument, keys: readonly Key[]) => PublishersDocument,
  more: readonly string[] = [],
): Promise<void> {
  const before = await readPublishers(run, file)
  const memory = await run.backends.publishersMemory()
  await withOwner(run, [flags.key, ...more], async (keys) => {
    // Whoever holds an owner's key needs nobody to vouch for it.
    const owners = [keys[0]!.publicKey]
    const current = await acceptPublishers(before, memory, publishersId(file), {
      owners,
      skipExpiry: true,
    })
    const expires = flags.until === undefined ? undefined : seconds(flags.until)
    const document = change(
      revisePublishers(current.document, { issued: now(), expires }),
      keys,
    )
    const bytes = await signPublishers(document, keys, { signal: run.signal })
    await verifyPublishers(bytes, { previous: current.state }) // what all would refuse is not written
    await run.backends.replaceFile(file, bytes, before)
    await acceptPublishers(bytes, memory, publishersId(file))
    run.answer(listToJson(document), listText(document))
  })
}

/** Opens keys for the length of some work. */
async function withOwner(
  run: Run,
  uris: readonly string[],
  work: (keys: readonly Key[]) => Promise<void>,
): Promise<void> {
  const ring = await run.keyring()
  const keys: Key[] = []
  try {
    for (const uri of uris) keys.push(await ring.open(uri, { signal: run.signal }))
    await work(keys)
  } finally {
    await Promise.all(keys.map((key) => key.close()))
  }
}

async function certificates(run: Run, files: readonly string[] = []): Promise<Uint8Array[]> {
  const read = files.map(async (file) =>
    readCertificates(await run.backends.readFile(file, MAX_KEY_FILE))
  )
  return (await Promise.all(read)).flat()
}

function now(): number {
  return Math.floor(Date.now() / 1000)
}
