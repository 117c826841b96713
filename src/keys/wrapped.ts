/**
 * Private keys wrapped by a hardware key: for algorithms that the hardware does not know. The file can lie
 * anywhere; it opens only where the wrapping key is. The private key is in this process's memory while open.
 *
 *     wrapped:file=models.json;kek=pkcs11%3Atoken%3Dci%3Bobject%3Dkek
 *
 * The file is JSON:
 *
 *     {"format": "signet-wrapped-key-v1", "jwk": {…public JWK with alg…}, "kek": "…", "wrapped": "base64url"}
 *
 * The wrapping is bound to the context {format, alg, kid}, so a wrapped seed cannot be passed off as one of
 * another key or algorithm. `kek` says which key wrapped it; it is information, the URI decides.
 */
import * as v from 'valibot'
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, fromBase64Url, toBase64Url, utf8 } from '../bytes.ts'
import { generateRaw, type RawKeyPair } from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import { type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { conform } from '../schema.ts'
import { fromJwk, toJwk } from './jwk.ts'
import type { Kek, WrapContext } from './kek.ts'
import { checkAborted, type Key, type SignOptions } from './key.ts'
import { importKey } from './memory.ts'
import { type KeyProvider, type Keyring, requireAlgorithm } from './provider.ts'
import { thumbprint } from './public_key.ts'
import { type KeyUri, uriAttributes } from './uri.ts'

const FORMAT = 'signet-wrapped-key-v1'
const MAX_BYTES = 16_384

const FileSchema = v.strictObject({
  format: v.literal(FORMAT),
  jwk: v.record(v.string(), v.string()),
  kek: v.string(),
  wrapped: v.string(),
})

/** Files of wrapped keys, as the provider needs them. */
export interface WrappedFiles {
  /** A file's bytes, at most so many. */
  readFile(path: string, maxBytes: number): Promise<Uint8Array>
  /** Writes a new file; `file_exists` where there is one. */
  writeNew(path: string, bytes: Uint8Array): Promise<void>
}

/** Those whose raw private key {@link Kek} takes. */
const WRAPPABLE: readonly Algorithm[] = Object.values(ALGORITHMS).filter(({ privateBytes }) =>
  privateBytes !== undefined && privateBytes % 8 === 0
)

/** Wraps a raw key pair into the bytes of a file. The caller wipes the pair. */
export async function wrapKey(
  algorithm: Algorithm,
  pair: RawKeyPair,
  kek: Kek,
  options?: SignOptions,
): Promise<Bytes> {
  requireAlgorithm(WRAPPABLE, algorithm)
  const jwk = toJwk(algorithm, { publicKey: pair.publicKey })
  const context = contextOf(algorithm, await thumbprint(jwk))
  const wrapped = await kek.wrap(pair.privateKey, context, options)
  const file = { format: FORMAT, jwk, kek: kek.id, wrapped: toBase64Url(wrapped) }
  return utf8(JSON.stringify(file, null, 2) + '\n')
}

/**
 * Opens a wrapped key. ML-DSA keys serve `external-mu` too, so that they can be half of a composite. Errors:
 * `key_malformed`, `key_mismatch` (another wrapping key, or altered), and what the store of the kek says.
 */
export async function unwrapKey(file: Uint8Array, kek: Kek, options?: SignOptions): Promise<Key> {
  const value = parseJson(file, { what: 'wrapped key', maxBytes: MAX_BYTES })
  const { jwk, wrapped } = conform(FileSchema, value as JsonValue, 'key_malformed', 'wrapped key')
  const { algorithm, publicKey, privateKey: clear } = fromJwk(jwk as JsonObject)
  if (clear !== undefined) {
    throw new SignetError('key_malformed', 'wrapped key: the private key stands beside it')
  }
  requireAlgorithm(WRAPPABLE, algorithm)
  const context = contextOf(algorithm, await thumbprint(toJwk(algorithm, { publicKey })))
  const bytes = fromBase64Url(wrapped, 'wrapped key')
  const privateKey = await kek.unwrap(bytes, context, options)
  try {
    if (privateKey.length !== algorithm.privateBytes) {
      throw new SignetError('key_mismatch', 'wrapped key: its length is not that of its algorithm')
    }
    // WebCrypto signs no mu; the portable code does.
    const engine = algorithm.family === 'ml-dsa' ? 'noble' : undefined
    return await importKey(algorithm, { publicKey, privateKey }, { engine })
  } finally {
    privateKey.fill(0)
  }
}

/** The provider of `wrapped:`. `ring` opens the wrapping keys. */
export function wrappedKeys(ring: Pick<Keyring, 'openKek'>, files: WrappedFiles): KeyProvider {
  const withKek = async <T>(
    kek: string,
    options: SignOptions | undefined,
    work: (kek: Kek) => Promise<T>,
  ): Promise<T> => {
    const opened = await ring.openKek(kek, options)
    try {
      return await work(opened)
    } finally {
      await opened.close()
    }
  }
  return {
    scheme: 'wrapped',
    algorithms: WRAPPABLE,
    async open(uri, options) {
      const { file, kek } = partsOf(uri)
      checkAborted(options?.signal)
      const bytes = await files.readFile(file, MAX_BYTES)
      return await withKek(kek, options, (opened) => unwrapKey(bytes, opened, options))
    },
    async generate(uri, algorithm, options) {
      const { file, kek } = partsOf(uri)
      requireAlgorithm(WRAPPABLE, algorithm)
      checkAborted(options?.signal)
      return await withKek(kek, options, async (opened) => {
        const pair = await generateRaw(algorithm)
        try {
          const bytes = await wrapKey(algorithm, pair, opened, options)
          checkAborted(options?.signal)
          await files.writeNew(file, bytes)
          return await unwrapKey(bytes, opened, options)
        } finally {
          pair.privateKey.fill(0)
        }
      })
    },
  }
}

function partsOf(uri: KeyUri): { readonly file: string; readonly kek: string } {
  const attributes = uriAttributes(uri, ['file', 'kek'])
  const [file, kek] = [attributes.get('file'), attributes.get('kek')]
  if (file && kek) return { file, kek }
  throw new SignetError('uri_malformed', 'wrapped: URI does not name a file and a wrapping key', {
    remedy: 'write wrapped:file=PATH;kek=URI, the URI percent-encoded',
  })
}

function contextOf({ name }: Algorithm, kid: string): WrapContext {
  return { format: FORMAT, alg: name, kid }
}
