/** The engine over the platform's WebCrypto. It serves the `message` mode only: WebCrypto hashes by itself. */
import type { Algorithm, AlgorithmFamily } from '../algorithms.ts'
import { type Bytes, fromBase64Url, owned, toBase64Url } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { rsaPublicFromPrivate } from './rsa.ts'
import { fromPkcs8, fromSpki, toPkcs8, toSpki } from './spki.ts'
import type { Engine, RawKeyPair, RawSigner, SigningInput } from './engine.ts'

type Format = 'raw' | 'pkcs8' | 'spki' | 'jwk'
type KeyData = Bytes | JsonWebKey

/** How a family's raw keys enter WebCrypto. */
interface Import {
  publicKey(algorithm: Algorithm, raw: Uint8Array): [Format, KeyData]
  privateKey(algorithm: Algorithm, pair: RawKeyPair): [Format, KeyData]
}

const SPKI_PKCS8: Import = {
  publicKey: (algorithm, raw) => ['spki', toSpki(algorithm, raw)],
  privateKey: (algorithm, pair) => ['pkcs8', toPkcs8(algorithm, pair)],
}

const IMPORTS: Partial<Record<AlgorithmFamily, Import>> = {
  eddsa: { ...SPKI_PKCS8, publicKey: (_, raw) => ['raw', owned(raw)] },
  ecdsa: {
    publicKey: (_, raw) => ['raw', owned(raw)],
    privateKey: (algorithm, { publicKey, privateKey }) => {
      const half = algorithm.privateBytes!
      return ['jwk', {
        ...algorithm.jwk,
        x: toBase64Url(publicKey.subarray(1, 1 + half)),
        y: toBase64Url(publicKey.subarray(1 + half)),
        d: toBase64Url(privateKey),
      }]
    },
  },
  rsa: SPKI_PKCS8,
  // Formats of the WICG "Modern Algorithms" draft, which no type library knows yet.
  'ml-dsa': {
    publicKey: (_, raw) => ['raw-public' as Format, owned(raw)],
    privateKey: (_, { privateKey }) => ['raw-seed' as Format, privateKey],
  },
}

/** WebCrypto's parameters to sign and verify; ML-DSA takes a context. */
function parameters(algorithm: Algorithm, context?: Uint8Array): AlgorithmIdentifier {
  const all = context === undefined ? algorithm.webcrypto : { ...algorithm.webcrypto, context }
  return all as unknown as AlgorithmIdentifier
}

function subtleImport(
  [format, data]: [Format, KeyData],
  algorithm: Algorithm,
  extractable: boolean,
  usage: 'sign' | 'verify',
): Promise<CryptoKey> {
  const { importKey } = crypto.subtle as unknown as {
    importKey(...args: unknown[]): Promise<CryptoKey>
  }
  return importKey.call(crypto.subtle, format, data, parameters(algorithm), extractable, [usage])
}

function signerOf(key: CryptoKey, algorithm: Algorithm, context?: Uint8Array): RawSigner {
  return {
    modes: ['message'],
    async sign(input) {
      onlyMessage(input)
      return new Uint8Array(
        await crypto.subtle.sign(parameters(algorithm, context), key, owned(input.bytes)),
      )
    },
  }
}

function onlyMessage(input: SigningInput): void {
  if (input.mode !== 'message') {
    throw new SignetError('mode_unsupported', `WebCrypto cannot work on a ${input.mode}`)
  }
}

async function generateKey(algorithm: Algorithm, extractable: boolean): Promise<CryptoKeyPair> {
  const rsa = { modulusLength: 3072, publicExponent: Uint8Array.of(1, 0, 1) }
  return await crypto.subtle.generateKey(
    { ...algorithm.webcrypto, ...(algorithm.family === 'rsa' ? rsa : {}) } as EcKeyGenParams,
    extractable,
    ['sign', 'verify'],
  ) as CryptoKeyPair
}

async function exportPublic(key: CryptoKey, algorithm: Algorithm): Promise<Bytes> {
  const format = { eddsa: 'raw', ecdsa: 'raw', rsa: 'spki', 'ml-dsa': 'raw-public', composite: '' }
  const bytes = new Uint8Array(
    await crypto.subtle.exportKey(format[algorithm.family] as 'raw', key),
  )
  return algorithm.family === 'rsa' ? fromSpki(bytes).publicKey : bytes
}

/** The platform's engine. */
export const webcrypto: Engine = {
  name: 'native',

  async generate(algorithm) {
    // A seed is the private key where the algorithm has one; no format has to be taken apart.
    if (algorithm.family === 'eddsa' || algorithm.family === 'ml-dsa') {
      const privateKey = crypto.getRandomValues(new Uint8Array(algorithm.privateBytes!))
      return { privateKey, publicKey: await this.publicKey(algorithm, privateKey) }
    }
    const pair = await generateKey(algorithm, true)
    const pkcs8 = new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey))
    return {
      privateKey: fromPkcs8(pkcs8).privateKey,
      publicKey: await exportPublic(pair.publicKey, algorithm),
    }
  },

  async generateSigner(algorithm) {
    const pair = await generateKey(algorithm, false)
    return {
      publicKey: await exportPublic(pair.publicKey, algorithm),
      signer: signerOf(pair.privateKey, algorithm),
    }
  },

  async publicKey(algorithm, privateKey) {
    const raw = owned(privateKey)
    if (algorithm.family === 'rsa') return rsaPublicFromPrivate(raw)
    if (algorithm.family === 'ecdsa') {
      // WebCrypto computes no point from a scalar in a way that all runtimes share.
      return (await import('./noble.ts')).noble.publicKey(algorithm, raw)
    }
    const entry = IMPORTS[algorithm.family]!
    const pair = { privateKey: raw, publicKey: new Uint8Array() }
    const key = await subtleImport(entry.privateKey(algorithm, pair), algorithm, true, 'sign')
    const jwk = await crypto.subtle.exportKey('jwk', key) as JsonWebKey & { pub?: string }
    return fromBase64Url(jwk.x ?? jwk.pub ?? '', 'public key')
  },

  async signer(algorithm, pair, context) {
    const entry = IMPORTS[algorithm.family]!
    try {
      const key = await subtleImport(entry.privateKey(algorithm, pair), algorithm, false, 'sign')
      return signerOf(key, algorithm, context)
    } catch (cause) {
      throw new SignetError('key_malformed', `not a private key of ${algorithm.name}`, { cause })
    }
  },

  async verifier(algorithm, publicKey, context) {
    const entry = IMPORTS[algorithm.family]!
    let key: CryptoKey
    try {
      key = await subtleImport(entry.publicKey(algorithm, publicKey), algorithm, true, 'verify')
    } catch (cause) {
      throw new SignetError('key_malformed', `not a public key of ${algorithm.name}`, { cause })
    }
    return async (input, signature) => {
      onlyMessage(input)
      const bytes = [owned(signature), owned(input.bytes)] as const
      try {
        return await crypto.subtle.verify(parameters(algorithm, context), key, ...bytes)
      } catch {
        return false // some runtimes throw on a signature that does not parse
      }
    }
  },
}
