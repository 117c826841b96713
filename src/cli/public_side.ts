/** The public side of `--key`: whatever names keys that verify. */
import { SignetError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import {
  type Keyset,
  parseKeyset,
  parseKeyUri,
  primary,
  type PublicKey,
  readPublicKeys,
} from '../keys/mod.ts'
import { type Trust, trustKeys, trustKeyset } from '../models/mod.ts'
import { fromUtf8 } from '../bytes.ts'
import type { Run } from './context.ts'

/** Largest file of keys. */
export const MAX_KEY_FILE: number = 8 * 2 ** 20

/** Keys of a file, with what a keyset says about them. */
export type PublicSide =
  | { readonly keyset: Keyset }
  | { readonly keys: readonly PublicKey[] }

/** Opens a `--key`: a keyset, PEM, JWK or JWKS file, or a key URI of a store that has a public half. */
export async function openPublic(run: Run, text: string): Promise<PublicSide> {
  const uri = parseKeyUri(text)
  if (uri.scheme !== 'file') {
    const key = await (await run.keyring()).open(text)
    await key.close()
    return { keys: [key.publicKey] }
  }
  const bytes = await run.backends.readFile(uri.rest, MAX_KEY_FILE)
  return isKeyset(bytes)
    ? { keyset: await parseKeyset(bytes) }
    : { keys: await readPublicKeys(bytes) }
}

/** What a list of `--key` makes somebody trust. */
export async function trustOfKeys(run: Run, texts: readonly string[]): Promise<Trust> {
  const sides = await Promise.all(texts.map((text) => openPublic(run, text)))
  return {
    signers: sides.flatMap((side) =>
      ('keyset' in side ? trustKeyset(side.keyset) : trustKeys(...side.keys)).signers
    ),
  }
}

/** The one key that a `--key` means: a keyset's primary, or the only key of a file. */
export async function onePublic(run: Run, text: string): Promise<PublicKey> {
  const side = await openPublic(run, text)
  if ('keyset' in side) return primary(side.keyset).key
  const [key, ...more] = side.keys
  if (key !== undefined && more.length === 0) return key
  throw new SignetError(
    'usage_invalid',
    `${text} holds ${side.keys.length} keys, and one is wanted`,
  )
}

/** A keyset file is a JWKS with a name. */
function isKeyset(bytes: Uint8Array): boolean {
  const text = fromUtf8(bytes, 'key file')
  if (!text.trimStart().startsWith('{')) return false
  const json = parseJson(text, { what: 'key file', maxBytes: MAX_KEY_FILE })
  return isObject(json) && json.name !== undefined && json.keys !== undefined
}
