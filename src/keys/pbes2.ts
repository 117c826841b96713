/**
 * Encrypted PKCS#8: `EncryptedPrivateKeyInfo` with PBES2 (RFC 8018 §6.2, appendix A.4). Read: PBKDF2 with
 * HMAC-SHA-1/256/384/512 and scrypt (RFC 7914 §7), AES-CBC of 128, 192 and 256 bits. Written: scrypt with
 * N = 2^14, r = 8, p = 8 and AES-256-CBC. That is the work of N = 2^17 with p = 1 in 16 MiB instead of
 * 128 MiB: OpenSSL's `pkey` takes no more than 32 MiB, and a worker has not so much to give.
 *
 * CBC proves nothing about its plaintext: whoever reads must check the key against its public half.
 */
import { type Bytes, equalBytes, owned, utf8 } from '../bytes.ts'
import { der, derInteger, derOid, DerReader, TAG } from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'

/** Cost of scrypt. */
export interface ScryptCost {
  /** Power of two. */
  readonly N: number
  /** Block size. */
  readonly r: number
  /** Lanes. */
  readonly p: number
}

/** scrypt (RFC 7914), for backends that have a fast one. */
export type Scrypt = (
  password: Uint8Array,
  salt: Uint8Array,
  options: ScryptCost & { readonly length: number },
) => Promise<Uint8Array>

/** Options of both directions. */
export interface Pbes2Options {
  /** A faster scrypt than the portable one. */
  readonly scrypt?: Scrypt | undefined
  /** Cost when writing. */
  readonly cost?: ScryptCost | undefined
}

const COST: ScryptCost = { N: 2 ** 14, r: 8, p: 8 }
const OID = {
  pbes2: derOid('1.2.840.113549.1.5.13'),
  pbkdf2: derOid('1.2.840.113549.1.5.12'),
  scrypt: derOid('1.3.6.1.4.1.11591.4.11'),
  aes256cbc: derOid('2.16.840.1.101.3.4.1.42'),
}
const AES_CBC: readonly [Bytes, number][] = [
  [derOid('2.16.840.1.101.3.4.1.2'), 16],
  [derOid('2.16.840.1.101.3.4.1.22'), 24],
  [OID.aes256cbc, 32],
]
const PRF: readonly [Bytes, string][] = [
  [derOid('1.2.840.113549.2.7'), 'SHA-1'],
  [derOid('1.2.840.113549.2.9'), 'SHA-256'],
  [derOid('1.2.840.113549.2.10'), 'SHA-384'],
  [derOid('1.2.840.113549.2.11'), 'SHA-512'],
]

/** Most that a key file may ask for: 128·N·r·p bytes are one GiB, eight times what we write. */
const MOST_SCRYPT = 2 ** 23
/** Some ten seconds. */
const MOST_ROUNDS = 20_000_000

const portableScrypt: Scrypt = async (password, salt, { N, r, p, length }) =>
  (await import('@noble/hashes/scrypt.js')).scryptAsync(password, salt, { N, r, p, dkLen: length })

/** Encrypts a PKCS#8 `PrivateKeyInfo`. */
export async function encryptPkcs8(
  pkcs8: Uint8Array,
  passphrase: string,
  options: Pbes2Options = {},
): Promise<Bytes> {
  const { scrypt = portableScrypt, cost = COST } = options
  const salt = crypto.getRandomValues(new Uint8Array(16))
  const iv = crypto.getRandomValues(new Uint8Array(16))
  const secret = await scrypt(utf8(passphrase), salt, { ...cost, length: 32 })
  const key = await aesKey(secret, 'encrypt')
  const encrypted = await crypto.subtle.encrypt({ name: 'AES-CBC', iv }, key, owned(pkcs8))
  const number = (value: number) => derInteger(bigEndian(value))
  const kdf = der(
    TAG.sequence,
    OID.scrypt,
    der(
      TAG.sequence,
      der(TAG.octetString, salt),
      number(cost.N),
      number(cost.r),
      number(cost.p),
      number(32),
    ),
  )
  const cipher = der(TAG.sequence, OID.aes256cbc, der(TAG.octetString, iv))
  const scheme = der(TAG.sequence, OID.pbes2, der(TAG.sequence, kdf, cipher))
  return der(TAG.sequence, scheme, der(TAG.octetString, new Uint8Array(encrypted)))
}

/**
 * Decrypts `EncryptedPrivateKeyInfo`.
 *
 * Errors: `passphrase_wrong` (with CBC a wrong passphrase and a damaged file look the same),
 * `kdf_refused` (work that would take minutes or gigabytes), `der_malformed`, `algorithm_unsupported`.
 */
export async function decryptPkcs8(
  encrypted: Uint8Array,
  passphrase: string,
  options: Pbes2Options = {},
): Promise<Bytes> {
  const outer = new DerReader(encrypted, 'encrypted private key')
  const info = outer.open(TAG.sequence)
  outer.end()
  const scheme = info.open(TAG.sequence)
  const data = info.read(TAG.octetString)
  info.end()
  expectOid(scheme, [[OID.pbes2, 0]], 'encryption scheme (PBES2 expected)')
  const parameters = scheme.open(TAG.sequence)
  scheme.end()
  const kdf = parameters.open(TAG.sequence)
  const cipher = parameters.open(TAG.sequence)
  parameters.end()
  const length = expectOid(cipher, AES_CBC, 'cipher (AES-CBC expected)')
  const iv = cipher.read(TAG.octetString)
  cipher.end()
  if (iv.length !== 16) cipher.fail('the IV does not have 16 bytes')
  const secret = await deriveKey(kdf, utf8(passphrase), length, options.scrypt ?? portableScrypt)
  const key = await aesKey(secret, 'decrypt')
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-CBC', iv }, key, data))
  } catch {
    throw wrongPassphrase()
  }
}

/** Imports an AES key and wipes it. Chromium has no AES-192. */
async function aesKey(secret: Uint8Array, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> {
  try {
    return await crypto.subtle.importKey('raw', owned(secret), 'AES-CBC', false, [use])
  } catch (cause) {
    const bits = secret.length * 8
    throw new SignetError('algorithm_unsupported', `AES-CBC of ${bits} bits does not work here`, {
      cause,
    })
  } finally {
    secret.fill(0)
  }
}

/** The error for a key that did not come out of its encryption whole. */
export function wrongPassphrase(): SignetError {
  return new SignetError('passphrase_wrong', 'the passphrase is wrong, or the key file is damaged')
}

async function deriveKey(
  kdf: DerReader,
  password: Bytes,
  length: number,
  scrypt: Scrypt,
): Promise<Uint8Array> {
  const derive = expectOid(kdf, [[OID.pbkdf2, pbkdf2], [OID.scrypt, scryptKey]], 'KDF')
  const parameters = kdf.open(TAG.sequence)
  kdf.end()
  return await derive(parameters, password, length, scrypt)
}

/** RFC 7914 §7. */
async function scryptKey(
  parameters: DerReader,
  password: Bytes,
  length: number,
  scrypt: Scrypt,
): Promise<Uint8Array> {
  const salt = parameters.read(TAG.octetString)
  const [N, r, p] = [parameters.readNumber(), parameters.readNumber(), parameters.readNumber()]
  checkLength(parameters, length)
  parameters.end()
  const refused = (cause?: unknown) =>
    new SignetError('kdf_refused', `scrypt with N=${N}, r=${r}, p=${p} is not done`, { cause })
  if (r < 1 || p < 1 || N < 2 || N * r * p > MOST_SCRYPT || (N & (N - 1)) !== 0) throw refused()
  try {
    return await scrypt(password, salt, { N, r, p, length })
  } catch (cause) {
    throw refused(cause)
  }
}

/** RFC 8018 appendix A.2. */
async function pbkdf2(parameters: DerReader, password: Bytes, length: number): Promise<Uint8Array> {
  const salt = parameters.read(TAG.octetString)
  const iterations = parameters.readNumber()
  checkLength(parameters, length)
  // Without a prf it is HMAC-SHA-1.
  const hash = parameters.peek() === TAG.sequence ? prf(parameters.open(TAG.sequence)) : 'SHA-1'
  parameters.end()
  const refused = (cause?: unknown) =>
    new SignetError('kdf_refused', `PBKDF2 with ${iterations} rounds is not done`, { cause })
  if (iterations < 1 || iterations > MOST_ROUNDS) throw refused()
  try {
    const base = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits'])
    const kdf = { name: 'PBKDF2', hash, salt, iterations }
    return new Uint8Array(await crypto.subtle.deriveBits(kdf, base, length * 8))
  } catch (cause) {
    throw refused(cause) // workerd takes no more than 100 000 rounds
  }
}

/** Both KDFs may repeat how long the key is. */
function checkLength(parameters: DerReader, length: number): void {
  if (parameters.peek() === TAG.integer && parameters.readNumber() !== length) {
    parameters.fail('the key length is not that of the cipher')
  }
}

function prf(reader: DerReader): string {
  const hash = expectOid(reader, PRF, 'PBKDF2 function')
  if (reader.peek() !== undefined && reader.read(TAG.null).length > 0) {
    reader.fail('NULL has content')
  }
  reader.end()
  return hash
}

function expectOid<T>(reader: DerReader, known: readonly [Bytes, T][], what: string): T {
  const found = der(TAG.oid, reader.read(TAG.oid))
  const entry = known.find(([oid]) => equalBytes(oid, found))
  if (entry === undefined) {
    throw new SignetError('algorithm_unsupported', `encrypted private key: unknown ${what}`)
  }
  return entry[1]
}

function bigEndian(value: number): Bytes {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}
