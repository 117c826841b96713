/** Publishers files as commands use them: verified against what this machine remembers, and remembered. */
import { resolve } from 'node:path'
import { SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import {
  acceptPublishers,
  MAX_PUBLISHERS_BYTES,
  type VerifiedPublishers,
  verifyPublishers,
} from '../models/mod.ts'
import type { Run } from './context.ts'
import { openPublic } from './public_side.ts'

/** Flags of commands that believe a publishers file. */
export interface OwnerFlags {
  readonly owner?: string[]
}

/** The bytes of a publishers file. */
export function readPublishers(run: Run, file: string): Promise<Uint8Array> {
  return run.backends.readFile(file, MAX_PUBLISHERS_BYTES)
}

/** What this machine calls a publishers file: the place where it lies. */
export function publishersId(file: string): string {
  return resolve(file)
}

/** A publishers file, verified and remembered. `owners` count the first time only. */
export async function openPublishers(
  run: Run,
  file: string,
  { owner = [] }: OwnerFlags,
): Promise<VerifiedPublishers> {
  const bytes = await readPublishers(run, file)
  const owners = await ownersOf(run, owner)
  return await acceptPublishers(
    bytes,
    await run.backends.publishersMemory(),
    publishersId(file),
    { owners },
  )
}

/** The keys that `--owner` names; of a keyset the primary one. */
export async function ownersOf(run: Run, files: readonly string[]): Promise<PublicKey[]> {
  const sides = await Promise.all(files.map((file) => openPublic(run, file)))
  return sides.flatMap((side) =>
    'keyset' in side
      ? side.keyset.members.filter(({ status }) => status === 'primary').map(({ key }) => key)
      : side.keys
  )
}

/** Remembers a file anew, whatever was remembered of its place before. */
export async function rememberAnew(
  run: Run,
  file: string,
  bytes: Uint8Array,
  owners: readonly PublicKey[],
): Promise<VerifiedPublishers> {
  const memory = await run.backends.publishersMemory()
  const verified = await verifyPublishers(bytes, { owners })
  const previous = await memory.read(publishersId(file))
  if (await memory.write(publishersId(file), verified.state, previous)) return verified
  throw new SignetError('publishers_conflict', 'another program just remembered another version')
}
