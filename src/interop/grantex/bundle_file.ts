/**
 * The encrypted file of a consent bundle, in the three layouts that Grantex's clients have. All are AES-256-GCM.
 *
 * - `npm` (`@grantex/gemma@0.1.1`): IV(12) ‖ tag(16) ‖ ciphertext; the key is one SHA-256 of the passphrase. Weak.
 * - `gtxb` (its repository since): "GTXB" ‖ 1 ‖ salt(16) ‖ IV(12) ‖ tag(16) ‖ ciphertext, the first 21 bytes
 *   authenticated too; the key by scrypt with N = 2^17, r = 8, p = 1, which takes 128 MiB.
 * - `python`: base64 of nonce(12) ‖ ciphertext ‖ tag(16); the key is 64 hexadecimal characters.
 */
import { type Bytes, concat, fromBase64, fromHex, fromUtf8, toBase64, utf8 } from '../../bytes.ts'
import { isSignetError, SignetError } from '../../errors.ts'
import type { Scrypt } from '../../keys/mod.ts'
import { formatGrantexBundle, type GrantexBundle, parseGrantexBundle } from './bundle.ts'

/** The layouts. */
export type GrantexFileLayout = 'npm' | 'gtxb' | 'python'

/** Options of both directions. */
export interface GrantexFileOptions {
  /** A faster scrypt than the portable one. */
  readonly scrypt?: Scrypt | undefined
}

const MAGIC = utf8('GTXB')
const VERSION = 1
const HEAD = MAGIC.length + 1 + 16
const [IV, TAG] = [12, 16]
const MAX_FILE = 1024 * 1024
/** Version 1 has these and says so nowhere in the file: a hostile file cannot ask for more. */
const COST = { N: 2 ** 17, r: 8, p: 1, length: 32 }

const portableScrypt: Scrypt = async (password, salt, { N, r, p, length }) =>
  (await import('@noble/hashes/scrypt.js')).scryptAsync(password, salt, { N, r, p, dkLen: length })

/** The layout of a file, by its first bytes; any bytes may be one of `npm`. */
export function grantexFileLayout(file: Uint8Array): GrantexFileLayout {
  if (MAGIC.every((byte, i) => file[i] === byte)) return 'gtxb'
  // Base64 throughout: in a binary file of this length that does not happen.
  return file.length >= 40 && /^[A-Za-z0-9+/]+={0,2}\n?$/.test(latin1(file)) ? 'python' : 'npm'
}

/**
 * Decrypts a bundle file of whatever layout. `secret` is the passphrase; for `python` 64 hexadecimal characters.
 *
 * Errors: `passphrase_required` (empty), `passphrase_wrong` (wrong, or the file is damaged, cut or of no layout:
 * nobody learns which), `too_large`, `kdf_refused` (another version, or scrypt has not the memory),
 * `bundle_malformed` (it decrypts to something else).
 */
export async function openGrantexFile(
  file: Uint8Array,
  secret: string,
  options: GrantexFileOptions = {},
): Promise<GrantexBundle> {
  if (file.length > MAX_FILE) {
    throw new SignetError('too_large', `the bundle file has more than ${MAX_FILE} bytes`)
  }
  if (secret === '') throw new SignetError('passphrase_required', 'the passphrase is empty')
  const plain = await OPEN[grantexFileLayout(file)](file, secret, options)
  try {
    return parseGrantexBundle(plain)
  } catch (cause) {
    if (!isSignetError(cause) || cause.code === 'bundle_malformed') throw cause
    throw new SignetError('bundle_malformed', 'the file does not hold a bundle', { cause })
  } finally {
    plain.fill(0)
  }
}

/**
 * Encrypts a bundle. `gtxb` is the one to choose; `npm` is what the published client reads, and its key is no
 * harder to guess than the passphrase; `python` takes 64 hexadecimal characters.
 *
 * Errors: `passphrase_required` (empty), `usage_invalid` (`python` without 64 hexadecimal characters),
 * `kdf_refused`.
 */
export async function sealGrantexFile(
  bundle: GrantexBundle,
  secret: string,
  layout: GrantexFileLayout,
  options: GrantexFileOptions = {},
): Promise<Bytes> {
  if (secret === '') throw new SignetError('passphrase_required', 'the passphrase is empty')
  const plain = utf8(formatGrantexBundle(bundle))
  const iv = crypto.getRandomValues(new Uint8Array(IV))
  try {
    if (layout === 'npm') {
      const sealed = await encrypt(await aesKey(await sha256(secret), 'encrypt'), iv, plain)
      return concat(iv, sealed.subarray(-TAG), sealed.subarray(0, -TAG))
    }
    if (layout === 'python') {
      const key = rawKey(secret)
      if (key === undefined) {
        throw new SignetError(
          'usage_invalid',
          'the key of a Python file is 64 hexadecimal characters',
        )
      }
      return utf8(toBase64(concat(iv, await encrypt(await aesKey(key, 'encrypt'), iv, plain))))
    }
    const head = concat(MAGIC, Uint8Array.of(VERSION), crypto.getRandomValues(new Uint8Array(16)))
    const key = await aesKey(await stretch(head, secret, options), 'encrypt')
    const sealed = await encrypt(key, iv, plain, head)
    return concat(head, iv, sealed.subarray(-TAG), sealed.subarray(0, -TAG))
  } finally {
    plain.fill(0)
  }
}

type Opener = (file: Uint8Array, secret: string, options: GrantexFileOptions) => Promise<Bytes>

const OPEN: Record<GrantexFileLayout, Opener> = {
  async npm(file, secret) {
    if (file.length <= IV + TAG) throw wrong()
    return await decryptFile(file, await aesKey(await sha256(secret), 'decrypt'))
  },
  async gtxb(file, secret, options) {
    if (file.length <= HEAD + IV + TAG) throw wrong()
    if (file[MAGIC.length] !== VERSION) {
      throw new SignetError('kdf_refused', 'the bundle file is of an unknown version')
    }
    const head = new Uint8Array(file.subarray(0, HEAD))
    const key = await aesKey(await stretch(head, secret, options), 'decrypt')
    return await decryptFile(file.subarray(HEAD), key, head)
  },
  async python(file, secret) {
    const key = rawKey(secret)
    if (key === undefined) throw wrong()
    let raw: Bytes
    try {
      raw = fromBase64(fromUtf8(file).trimEnd())
    } catch (error) {
      if (isSignetError(error, 'encoding_invalid')) throw wrong()
      throw error
    }
    if (raw.length <= IV + TAG) throw wrong()
    return await decrypt(await aesKey(key, 'decrypt'), raw.subarray(0, IV), raw.subarray(IV))
  },
}

/** IV ‖ tag ‖ ciphertext; WebCrypto wants the tag at the end. */
function decryptFile(file: Uint8Array, key: CryptoKey, head?: Bytes): Promise<Bytes> {
  const sealed = concat(file.subarray(IV + TAG), file.subarray(IV, IV + TAG))
  return decrypt(key, new Uint8Array(file.subarray(0, IV)), sealed, head)
}

async function decrypt(key: CryptoKey, iv: Bytes, sealed: Bytes, head?: Bytes): Promise<Bytes> {
  const parameters = {
    name: 'AES-GCM',
    iv,
    ...(head === undefined ? {} : { additionalData: head }),
  }
  try {
    return new Uint8Array(await crypto.subtle.decrypt(parameters, key, sealed))
  } catch {
    throw wrong()
  }
}

async function encrypt(key: CryptoKey, iv: Bytes, plain: Bytes, head?: Bytes): Promise<Bytes> {
  const parameters = {
    name: 'AES-GCM',
    iv,
    ...(head === undefined ? {} : { additionalData: head }),
  }
  return new Uint8Array(await crypto.subtle.encrypt(parameters, key, plain))
}

async function aesKey(secret: Bytes, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> {
  try {
    return await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, [use])
  } finally {
    secret.fill(0)
  }
}

async function stretch(head: Bytes, secret: string, options: GrantexFileOptions): Promise<Bytes> {
  const { scrypt = portableScrypt } = options
  try {
    return new Uint8Array(await scrypt(passphrase(secret), head.subarray(-16), COST))
  } catch (cause) {
    if (isSignetError(cause)) throw cause
    throw new SignetError('kdf_refused', 'scrypt in 128 MiB is not done here', { cause })
  }
}

async function sha256(secret: string): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', passphrase(secret)))
}

/** Lone surrogates become U+FFFD in Node, and so two passphrases one; here they are none. */
function passphrase(secret: string): Bytes {
  if (!secret.isWellFormed()) throw wrong()
  return utf8(secret)
}

function rawKey(secret: string): Bytes | undefined {
  return /^[0-9a-fA-F]{64}$/.test(secret) ? fromHex(secret.toLowerCase()) : undefined
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes)
}

function wrong(): SignetError {
  return new SignetError(
    'passphrase_wrong',
    'the passphrase is wrong, or the bundle file is damaged',
  )
}
