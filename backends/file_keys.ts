/**
 * Keys in files: the provider of `file:PATH`.
 *
 * A key file is PEM: PKCS#8, encrypted with PBES2 (scrypt, AES-256-CBC), and beside it the public key, so
 * that what is public can be read without the passphrase. `openssl pkey` opens it. Files of others are read
 * as well: any PKCS#8 PEM or private JWK of a known algorithm.
 *
 * A keyset file (see `src/keys/keyset.ts`) stands for its primary key: the member's URI is opened, and the
 * key found there must be the member's. A relative path in it starts at the keyset's folder.
 *
 * Paths are literal: `file:my key%20?.pem` is a file of just that name. Only the form with an authority,
 * `file:///…` (RFC 8089), is a URL and percent-decoded; it may have no query and no fragment. There are no
 * attributes: a passphrase never stands in a URI.
 *
 * @module
 */
import type { Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { type Algorithm, ALGORITHMS } from '../src/algorithms.ts'
import { concat, fromUtf8, utf8 } from '../src/bytes.ts'
import { generateRaw } from '../src/crypto/mod.ts'
import { isSignetError, quoted, SignetError } from '../src/errors.ts'
import { isObject, parseJson } from '../src/json.ts'
import {
  abortable,
  checkAborted,
  importKey,
  insecureToClearPem,
  type Key,
  type KeyProvider,
  type Keyset,
  type KeysetMember,
  type KeyUri,
  parseKeyset,
  parseKeyUri,
  primary,
  readPrivateKey,
  refusal,
  requireAlgorithm,
  type ScryptCost,
  type SignOptions,
  toEncryptedPem,
} from '../src/keys/mod.ts'
import { writeNew } from './files.ts'
import { nodeScrypt } from './node_crypto.ts'

/** Options of {@link fileKeys}. */
export interface FileKeysOptions {
  /**
   * Asked for the passphrase of the file at a path: when it turns out to be encrypted, and before a new one
   * is written. `undefined`: there is none.
   */
  readonly passphrase?:
    | ((path: string) => Promise<string | undefined> | string | undefined)
    | undefined
  /** Opens private keys that lie in the clear, and writes them so where no passphrase is given. */
  readonly insecureClearKey?: boolean | undefined
  /** Told of an encrypted key file that others than its owner can read. */
  readonly warn?: ((message: string) => void) | undefined
  /** Opens the primary key of a keyset that lies in another store; usually the keyring's `open`. */
  readonly open?: ((uri: string, options?: SignOptions) => Promise<Key>) | undefined
  /** RSA keys in PEM name no signature scheme; this does. Default `RS256`. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /** Cost of scrypt in files that are written. Default N = 2^14, r = 8, p = 8, as OpenSSL can read it. */
  readonly cost?: ScryptCost | undefined
  /** Seconds since 1970, to judge the validity of a keyset's primary key. Default: the clock. */
  readonly now?: (() => number) | undefined
}

/** A keyset is the largest file that stands for a key. */
const MAX_BYTES = 8 * 2 ** 20

/**
 * The provider of keys in files.
 *
 * `open` throws `key_not_found` (no such file), `file_unreadable`, `key_exposed`, `passphrase_required`,
 * `passphrase_wrong`, `usage_invalid` (a clear key without `insecureClearKey`), what reading keys and keysets
 * throws, and for a keyset `key_mismatch`, `key_expired` and `key_not_yet_valid`. `generate` throws
 * `file_exists`, `passphrase_required` and `io_failed`; it never overwrites, and a file is there whole or not
 * at all.
 *
 * **Permissions.** A key in the clear that others can read or write is `key_exposed`; its group may read it
 * only where the file is root's, as secrets mounted into containers are. An encrypted key is opened wherever
 * it lies, and `warn` is told. Windows has no such modes: nothing is checked there.
 */
export function fileKeys(options: FileKeysOptions = {}): KeyProvider {
  const rsa = options.rsa ?? 'RS256'
  const algorithms = Object.values(ALGORITHMS).filter((entry) =>
    entry.family !== 'rsa' || entry.name === rsa
  )
  return {
    scheme: 'file',
    algorithms,
    async open(uri, { signal } = {}) {
      const path = pathOf(uri)
      checkAborted(signal)
      return await abortable(openFile(path, options, signal), signal)
    },
    async generate(uri, algorithm, { signal } = {}) {
      const path = pathOf(uri)
      requireAlgorithm(algorithms, algorithm)
      checkAborted(signal)
      await checkAbsent(path) // before a passphrase is typed for nothing
      const { pem, key } = await abortable(newKey(path, algorithm, options), signal)
      await writeNew(path, utf8(pem), { mode: 0o600 })
      return key
    },
  }
}

/** A new key and the text of its file. */
async function newKey(
  path: string,
  algorithm: Algorithm,
  { passphrase, insecureClearKey, cost }: FileKeysOptions,
): Promise<{ pem: string; key: Key }> {
  const secret = await passphrase?.(path) || undefined
  if (secret === undefined && !insecureClearKey) {
    throw new SignetError('passphrase_required', `${path}: a new key needs a passphrase`, {
      where: path,
      remedy: 'give --passphrase-file FILE or --passphrase-fd N, or run it on a terminal',
    })
  }
  const pair = await generateRaw(algorithm)
  try {
    const pem = secret === undefined
      ? insecureToClearPem(algorithm, pair)
      : await toEncryptedPem(algorithm, pair, secret, { scrypt: nodeScrypt, cost })
    return { pem, key: await importKey(algorithm, pair) }
  } finally {
    pair.privateKey.fill(0)
  }
}

async function openFile(
  path: string,
  options: FileKeysOptions,
  signal: AbortSignal | undefined,
): Promise<Key> {
  const file = await readKeyFile(path)
  const keyset = await located(path, () => keysetOf(file.text))
  if (keyset === undefined) return await openKey(file, options)
  const member = primary(keyset)
  const refused = refusal(member, (options.now ?? clock)())
  if (refused !== undefined) throw refused
  const key = await openMember(file.path, keyset.name, member, options, signal)
  if (
    key.publicKey.id === member.key.id && key.publicKey.algorithm === member.key.algorithm
  ) return key
  await key.close()
  throw new SignetError(
    'key_mismatch',
    `${path}: the key at the primary's URI is not the primary key`,
    { where: path },
  )
}

/** Opens the private half of a keyset's primary key, wherever it is. */
async function openMember(
  path: string,
  name: string,
  member: KeysetMember,
  options: FileKeysOptions,
  signal: AbortSignal | undefined,
): Promise<Key> {
  if (member.uri === undefined) {
    throw new SignetError(
      'key_not_found',
      `${path}: keyset ${quoted(name)} does not say where its primary key is`,
      { where: path, remedy: 'give its primary key a member "key" with a key URI' },
    )
  }
  const uri = parseKeyUri(member.uri)
  if (uri.scheme !== 'file') {
    if (options.open !== undefined) return await options.open(member.uri, { signal })
    throw new SignetError('uri_malformed', `${path}: no key provider for "${uri.scheme}:"`, {
      where: path,
    })
  }
  const file = await readKeyFile(resolve(dirname(path), pathOf(uri)))
  if (await located(file.path, () => keysetOf(file.text)) !== undefined) {
    throw new SignetError('keyset_malformed', `${path}: its primary key is a keyset again`, {
      where: path,
    })
  }
  const { name: scheme } = member.key.algorithm
  const rsa = scheme === 'RS256' || scheme === 'PS256' ? scheme : options.rsa
  return await openKey(file, { ...options, rsa })
}

/** The keyset that a file holds; undefined if it holds something else. A JWK Set has no name. */
async function keysetOf(text: string): Promise<Keyset | undefined> {
  if (!text.trimStart().startsWith('{')) return undefined
  const value = parseJson(text, { what: 'key file', maxBytes: MAX_BYTES })
  const isKeyset = isObject(value) && value.keys !== undefined && value.name !== undefined
  return isKeyset ? await parseKeyset(text) : undefined
}

async function openKey(file: KeyFile, options: FileKeysOptions): Promise<Key> {
  const { path, text } = file
  const key = await located(path, () =>
    readPrivateKey(text, {
      scrypt: nodeScrypt,
      rsa: options.rsa,
      insecureClearKey: options.insecureClearKey,
      passphrase: async () => await options.passphrase?.(path) ?? '',
    }))
  // Judged last: what holds no private key may be read by all.
  const hole = exposure(file)
  if (hole === undefined) return key
  if (text.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) {
    options.warn?.(hole)
    return key
  }
  await key.close()
  throw new SignetError('key_exposed', hole, {
    where: path,
    remedy: `chmod 600 ${path}, and consider the key known`,
  })
}

/** A file that was read, and whose it is. */
interface KeyFile {
  readonly path: string
  readonly text: string
  readonly stats: Stats
}

/** Who besides the owner can get at a file, if anybody. Pipes and the like have modes of no meaning. */
function exposure({ path, stats }: KeyFile): string | undefined {
  if (process.platform === 'win32' || !stats.isFile()) return undefined
  const allowed = stats.uid === 0 ? 0o740 : 0o700
  if ((stats.mode & 0o777 & ~allowed) === 0) return undefined
  const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
  return `${path}: others than its owner can get at this private key (mode ${mode})`
}

/** Reads a file from one descriptor, so that the mode that is judged is that of the bytes. */
async function readKeyFile(path: string): Promise<KeyFile> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, 'r')
    const stats = await handle.stat()
    const chunks: Uint8Array[] = []
    for (let size = 0;;) {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(65536), 0, 65536)
      if (bytesRead === 0) break
      size += bytesRead
      if (size > MAX_BYTES) {
        throw new SignetError('too_large', `${path} is no key file: it exceeds 8 MiB`, {
          where: path,
        })
      }
      chunks.push(buffer.subarray(0, bytesRead))
    }
    return { path, stats, text: fromUtf8(concat(...chunks), path) }
  } catch (cause) {
    if (isSignetError(cause)) throw cause
    const absent = ['ENOENT', 'ENOTDIR'].includes(codeOf(cause))
    throw new SignetError(
      absent ? 'key_not_found' : 'file_unreadable',
      `${path}: ${absent ? 'no such key file' : `cannot be read (${codeOf(cause)})`}`,
      { where: path, cause },
    )
  } finally {
    await handle?.close()
  }
}

async function checkAbsent(path: string): Promise<void> {
  try {
    await lstat(path)
  } catch {
    return // whatever is wrong, writing will tell
  }
  throw new SignetError('file_exists', `${path} exists already`, { where: path })
}

/** Adds the file to an error that does not say where. */
async function located<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isSignetError(error)) throw error
    const { code, message, where, remedy, cause } = error
    throw new SignetError(code, `${path}: ${message}`, { where: where ?? path, remedy, cause })
  }
}

/** The path that a URI names. */
function pathOf({ text, rest }: KeyUri): string {
  // A bare path may begin with two slashes too.
  const path = text !== rest && rest.startsWith('//') ? pathOfUrl(text) : rest
  if (path === '') throw new SignetError('uri_malformed', 'the key URI holds no path')
  return path
}

function pathOfUrl(text: string): string {
  if (/[?#]/.test(text)) {
    throw new SignetError('uri_malformed', 'a file:// URL of a key has no query and no fragment', {
      remedy: 'write ? as %3F and # as %23',
    })
  }
  try {
    decodeURIComponent(text) // Bun leaves bad percent-encoding as it is
    const path = fileURLToPath(new URL(text))
    // deno-lint-ignore no-control-regex -- control characters are what is refused
    if (!/[\u0000-\u001f\u007f]/.test(path)) return path
  } catch (cause) {
    throw new SignetError('uri_malformed', 'a file:// URL of a key does not name a local path', {
      cause,
    })
  }
  throw new SignetError('uri_malformed', 'the path in a key URI has control characters')
}

function clock(): number {
  return Math.floor(Date.now() / 1000)
}

function codeOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown }
  return String(code ?? name)
}
