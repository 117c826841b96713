/**
 * Key files of others and ours, recognised by their content: PEM (SPKI, PKCS#8, encrypted PKCS#8), a JWK or
 * a JWKS. Public files yield verifying keys, private files raw pairs that are checked to belong together.
 */
import { fromUtf8 } from '../bytes.ts'
import {
  derivePublic,
  type EngineName,
  fromPkcs8,
  fromSpki,
  type RawKeyPair,
  toPkcs8,
  toSpki,
  traditionalToPkcs8,
} from '../crypto/mod.ts'
import type { Algorithm } from '../algorithms.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { fromJwk } from './jwk.ts'
import type { Key } from './key.ts'
import { importKey } from './memory.ts'
import {
  decryptPkcs8,
  encryptPkcs8,
  type Pbes2Options,
  type ScryptCost,
  wrongPassphrase,
} from './pbes2.ts'
import { fromPem, toPem } from './pem.ts'
import { type PublicKey, publicKey } from './public_key.ts'

/** Key files larger than this, or with more keys, are none. */
const MAX_BYTES = 1024 * 1024
const MAX_KEYS = 1000

/** Options of reading keys. */
export interface ReadKeyOptions extends Pbes2Options {
  /** RSA keys in PEM and JWKs without `alg` name no signature scheme; this does. Default `RS256`. */
  readonly rsa?: 'RS256' | 'PS256' | undefined
  /** Forces an engine past the self-test. For tests and comparisons. */
  readonly engine?: EngineName | undefined
}

/** Options of reading private keys. */
export interface ReadPrivateKeyOptions extends ReadKeyOptions {
  /** Asked once, when the key turns out to be encrypted. */
  readonly passphrase?: (() => Promise<string> | string) | undefined
  /** Takes a private key that lies in the clear. Off by default. */
  readonly insecureClearKey?: boolean | undefined
}

/** Public key as SPKI PEM, in OpenSSL's form. */
export function toPublicPem(key: PublicKey): string {
  return toPem('PUBLIC KEY', toSpki(key.algorithm, key.raw))
}

/**
 * Our key file: encrypted PKCS#8 followed by the public key, so that what is public can be read without a
 * passphrase. An empty passphrase is refused.
 */
export async function toEncryptedPem(
  algorithm: Algorithm,
  pair: RawKeyPair,
  passphrase: string,
  options: Pbes2Options & { readonly cost?: ScryptCost | undefined } = {},
): Promise<string> {
  if (passphrase === '') throw new SignetError('passphrase_required', 'the passphrase is empty')
  const pkcs8 = toPkcs8(algorithm, pair)
  try {
    const encrypted = await encryptPkcs8(pkcs8, passphrase, options)
    return toPem('ENCRYPTED PRIVATE KEY', encrypted) + publicBlock(algorithm, pair)
  } finally {
    pkcs8.fill(0)
  }
}

/** A key file whose private half lies in the clear. */
export function insecureToClearPem(algorithm: Algorithm, pair: RawKeyPair): string {
  return toPem('PRIVATE KEY', toPkcs8(algorithm, pair)) + publicBlock(algorithm, pair)
}

function publicBlock(algorithm: Algorithm, pair: RawKeyPair): string {
  return toPem('PUBLIC KEY', toSpki(algorithm, pair.publicKey))
}

/**
 * The public keys of a file: the `PUBLIC KEY` blocks of a PEM (a key file of ours has one beside its private
 * half), a JWK, or every signature key of a JWKS whose type is known. A JWK that holds a private key is refused: it does not
 * belong where public keys are handed around.
 *
 * Errors: `pem_malformed`, `jwk_malformed`, `key_malformed`, `algorithm_unsupported`, and those of JSON.
 */
export async function readPublicKeys(
  file: Uint8Array | string,
  options: ReadKeyOptions = {},
): Promise<PublicKey[]> {
  const text = textOf(file)
  if (!text.trimStart().startsWith('{')) {
    const blocks = fromPem(text).filter((block) => block.label === 'PUBLIC KEY')
    if (blocks.length === 0) {
      throw new SignetError('key_malformed', 'the PEM file holds no PUBLIC KEY block', {
        remedy: 'write one with: signet keys show --pem',
      })
    }
    checkCount(blocks)
    return await Promise.all(blocks.map(({ bytes }) => {
      const found = fromSpki(bytes, options.rsa)
      return publicKey(found.algorithm, found.publicKey, options)
    }))
  }
  const { jwks, isSet } = jwksOf(text)
  checkCount(jwks)
  const keys = await Promise.all(jwks.map((jwk) => publicOfJwk(jwk, isSet, options)))
  const found = keys.filter((key) => key !== undefined)
  if (found.length > 0 || jwks.length === 0) return found
  throw new SignetError('algorithm_unsupported', 'no key of the JWK Set is of a known algorithm')
}

/** The public key of a JWK. In a set, keys of types that are not understood are ignored (RFC 7517 §5). */
async function publicOfJwk(
  jwk: JsonObject,
  isInSet: boolean,
  options: ReadKeyOptions,
): Promise<PublicKey | undefined> {
  if (PRIVATE_MEMBERS.some((name) => jwk[name] !== undefined)) {
    throw new SignetError('key_malformed', 'a private key stands where a public one belongs', {
      remedy: 'export the public half, and consider the private one known',
    })
  }
  try {
    const found = fromJwk(jwk, options.rsa)
    return await publicKey(found.algorithm, found.publicKey, options)
  } catch (error) {
    if (isInSet && isSignetError(error, 'algorithm_unsupported')) return undefined
    throw error
  }
}

/** Members that only a private or secret JWK has, of whatever type (RFC 7518 §6, RFC 8037 §2, RFC 9964 §3). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/**
 * The private key of a file: PKCS#8 PEM, encrypted or not, OpenSSL's older EC and RSA PEM, or a private JWK.
 *
 * Errors: `passphrase_required`, `passphrase_wrong`, `key_mismatch` (a `PUBLIC KEY` block in the file is
 * another key's), `key_malformed`, `usage_invalid` (a clear key without `insecureClearKey`).
 */
export async function readPrivateKey(
  file: Uint8Array | string,
  options: ReadPrivateKeyOptions = {},
): Promise<Key> {
  const { algorithm, pair } = await readPrivatePair(textOf(file), options)
  try {
    return await importKey(algorithm, pair, options)
  } finally {
    pair.privateKey.fill(0)
  }
}

async function readPrivatePair(
  text: string,
  options: ReadPrivateKeyOptions,
): Promise<{ algorithm: Algorithm; pair: RawKeyPair }> {
  if (text.trimStart().startsWith('{')) {
    const [jwk, ...more] = jwksOf(text).jwks
    if (jwk === undefined || more.length > 0) {
      throw new SignetError('key_malformed', 'the file does not hold exactly one JWK')
    }
    const { algorithm, publicKey, privateKey } = fromJwk(jwk, options.rsa)
    if (privateKey === undefined) throw noPrivateKey()
    requireClear(options)
    return { algorithm, pair: { publicKey, privateKey } }
  }
  const blocks = fromPem(text).map(({ label, bytes }) => {
    const pkcs8 = traditionalToPkcs8(label, bytes)
    return pkcs8 === undefined ? { label, bytes } : { label: 'PRIVATE KEY', bytes: pkcs8 }
  })
  const [block, ...more] = blocks.filter((block) => block.label.endsWith('PRIVATE KEY'))
  if (block === undefined) throw noPrivateKey()
  if (more.length > 0) {
    throw new SignetError('key_malformed', 'the file holds more than one private key')
  }
  const isEncrypted = block.label === 'ENCRYPTED PRIVATE KEY'
  if (!isEncrypted && block.label !== 'PRIVATE KEY') throw otherForm(block.label)
  if (!isEncrypted) requireClear(options)
  const pkcs8 = isEncrypted
    ? await decryptPkcs8(block.bytes, await ask(options), options)
    : block.bytes
  const found = isEncrypted ? decrypted(pkcs8, options.rsa) : fromPkcs8(pkcs8, options.rsa)
  const beside = blocks.find((block) => block.label === 'PUBLIC KEY')?.bytes
  return {
    algorithm: found.algorithm,
    pair: {
      privateKey: found.privateKey,
      // CBC does not show that a key file was altered; the public key beside it does.
      publicKey: beside === undefined
        ? found.publicKey ?? await derivePublic(found.algorithm, found.privateKey, options)
        : publicOf(beside, found.algorithm, options.rsa),
    },
  }
}

function publicOf(spki: Uint8Array, algorithm: Algorithm, rsa?: 'RS256' | 'PS256') {
  const found = fromSpki(spki, rsa)
  if (found.algorithm === algorithm) return found.publicKey
  throw new SignetError('key_mismatch', 'the public key does not belong to the private key')
}

/** A wrong passphrase gives good padding once in 256 times; then it is the structure that breaks. */
function decrypted(pkcs8: Uint8Array, rsa?: 'RS256' | 'PS256'): ReturnType<typeof fromPkcs8> {
  try {
    return fromPkcs8(pkcs8, rsa)
  } catch (error) {
    if (isSignetError(error, 'der_malformed')) throw wrongPassphrase()
    throw error
  }
}

async function ask(options: ReadPrivateKeyOptions): Promise<string> {
  const passphrase = await options.passphrase?.()
  if (passphrase !== undefined && passphrase !== '') return passphrase
  throw new SignetError('passphrase_required', 'the key is encrypted and no passphrase was given', {
    remedy: 'give --passphrase-file FILE or --passphrase-fd N, or run it on a terminal',
  })
}

function requireClear(options: ReadPrivateKeyOptions): void {
  if (options.insecureClearKey) return
  throw new SignetError('usage_invalid', 'the private key lies in the clear', {
    remedy: 'encrypt it (openssl pkcs8 -topk8 -scrypt), or say --insecure-clear-key',
  })
}

function noPrivateKey(): SignetError {
  return new SignetError('key_malformed', 'the file holds no private key')
}

/** A private key in a form of somebody else's. */
function otherForm(label: string): SignetError {
  const remedy = label === 'OPENSSH PRIVATE KEY'
    ? { remedy: 'convert a copy of it with: ssh-keygen -p -m PKCS8 -f COPY' }
    : {}
  return new SignetError('key_malformed', `the private key is not PKCS#8 but ${label}`, remedy)
}

function jwksOf(text: string): { readonly jwks: JsonObject[]; readonly isSet: boolean } {
  const value = parseJson(text, { what: 'key file', maxBytes: MAX_BYTES })
  if (!isObject(value)) throw new SignetError('jwk_malformed', 'key file is not a JSON object')
  if (value.keys === undefined) return { jwks: [value], isSet: false }
  if (!Array.isArray(value.keys) || !value.keys.every(isObject)) {
    throw new SignetError('jwk_malformed', '"keys" is not a list of JWKs')
  }
  // RFC 7517 §5: keys for other uses are none of our business.
  const jwks = value.keys.filter((jwk) => jwk.use === undefined || jwk.use === 'sig')
  return { jwks, isSet: true }
}

function checkCount(keys: readonly unknown[]): void {
  if (keys.length > MAX_KEYS) {
    throw new SignetError('too_large', `a key file has more than ${MAX_KEYS} keys`)
  }
}

function textOf(file: Uint8Array | string): string {
  if (file.length > MAX_BYTES) throw new SignetError('too_large', 'a key file exceeds 1 MiB')
  return typeof file === 'string' ? file : fromUtf8(file, 'key file')
}
