/**
 * Does one certificate's key hold for the signature on another? A table of its own, because issuers
 * combine keys and hashes as they like (a P-384 key that signs with SHA-256 is common), which no
 * Signet key does. What is not in the table is refused: SHA-1 and MD5 above all.
 */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import { type Bytes, concat, toHex } from '../bytes.ts'
import {
  der,
  derInteger,
  derOid,
  DerReader,
  ecdsaFromDer,
  fromSpki,
  rawVerifier,
  selfTest,
  TAG,
} from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import type { Certificate } from './certificate.ts'

type Hash = 'SHA-256' | 'SHA-384' | 'SHA-512'

/** What the issuer's key must be for this signature algorithm, and how it verifies. */
interface Scheme {
  readonly name: string
  readonly key: 'eddsa' | 'ecdsa' | 'rsa'
  /** False for what is no valid signature. */
  verify(key: Algorithm, publicKey: Bytes, tbs: Bytes, signature: Bytes): Promise<boolean>
}

const NULL = Uint8Array.of(TAG.null, 0)
const HASHES: readonly { hash: Hash; oid: string; bytes: number; ecdsa: string; rsa: string }[] = [
  // RFC 5758 §3.2; RFC 4055 §5; the hashes RFC 5754 §2.
  {
    hash: 'SHA-256',
    oid: '2.16.840.1.101.3.4.2.1',
    bytes: 32,
    ecdsa: '1.2.840.10045.4.3.2',
    rsa: '1.2.840.113549.1.1.11',
  },
  {
    hash: 'SHA-384',
    oid: '2.16.840.1.101.3.4.2.2',
    bytes: 48,
    ecdsa: '1.2.840.10045.4.3.3',
    rsa: '1.2.840.113549.1.1.12',
  },
  {
    hash: 'SHA-512',
    oid: '2.16.840.1.101.3.4.2.3',
    bytes: 64,
    ecdsa: '1.2.840.10045.4.3.4',
    rsa: '1.2.840.113549.1.1.13',
  },
]

/** Schemes by the content of their `AlgorithmIdentifier`, parameters and all, in hexadecimal. */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map(
  [
    // RFC 8410 §3.
    entry(derOid(ALGORITHMS.Ed25519.oid), {
      name: 'Ed25519',
      key: 'eddsa',
      verify: async (key, publicKey, bytes, signature) =>
        await (await rawVerifier(key, publicKey))({ mode: 'message', bytes }, signature),
    }),
    ...HASHES.flatMap(({ hash, oid, bytes, ecdsa, rsa }) => [
      entry(derOid(ecdsa), ecdsaScheme(hash)),
      entry(concat(derOid(rsa), NULL), rsaScheme('RSASSA-PKCS1-v1_5', hash, bytes)),
      entry(
        concat(derOid('1.2.840.113549.1.1.10'), pssParameters(oid, bytes)),
        rsaScheme('RSA-PSS', hash, bytes),
      ),
    ]),
  ],
)

function entry(identifier: Bytes, scheme: Scheme): [string, Scheme] {
  return [toHex(identifier), scheme]
}

/** Names for what is refused with a reason better than "unknown". */
const REFUSED: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'MD5',
  '1.2.840.113549.1.1.5': 'SHA-1',
  '1.2.840.10045.4.1': 'SHA-1',
  '1.2.840.10040.4.3': 'DSA',
}

/** `RSASSA-PSS-params` (RFC 4055 §3.1) with one hash throughout and a salt of its length. */
function pssParameters(hash: string, salt: number): Bytes {
  const identifier = der(TAG.sequence, derOid(hash), NULL)
  const mgf1 = der(TAG.sequence, derOid('1.2.840.113549.1.1.8'), identifier)
  const length = derInteger(Uint8Array.of(salt))
  return der(TAG.sequence, der(0xa0, identifier), der(0xa1, mgf1), der(0xa2, length))
}

function ecdsaScheme(hash: Hash): Scheme {
  return {
    name: `ECDSA with ${hash}`,
    key: 'ecdsa',
    async verify(key, publicKey, tbs, encoded) {
      const signature = ecdsaFromDer(encoded, key.signatureBytes!)
      const verify = await rawVerifier(key, publicKey)
      if (hash === key.hash) return await verify({ mode: 'message', bytes: tbs }, signature)
      const digest = new Uint8Array(await crypto.subtle.digest(hash, tbs))
      const bytes = fitted(digest, HASHES.find((one) => one.hash === key.hash)!.bytes)
      return await verify({ mode: 'digest', bytes }, signature)
    },
  }
}

/**
 * The digest at the length that the key's own hash has, as the same number for ECDSA: of a longer one
 * the curve takes the leftmost bits (FIPS 186-5 §6.4.2), of a shorter one all, so zeros may precede it.
 * It holds as P-256 and P-384 are as long as their hashes, and P-521 is longer than any.
 */
function fitted(digest: Bytes, length: number): Bytes {
  return digest.length > length
    ? digest.slice(0, length)
    : concat(new Uint8Array(length - digest.length), digest)
}

function rsaScheme(name: string, hash: Hash, saltLength: number): Scheme {
  return {
    name: `${name} with ${hash}`,
    key: 'rsa',
    async verify(key, publicKey, bytes, signature) {
      // RSA is the platform's alone. It has shown that it can, with SHA-256, before it is believed.
      const base = ALGORITHMS[name === 'RSA-PSS' ? 'PS256' : 'RS256']
      const { engine, fault } = await selfTest(base)
      if (engine === undefined) {
        throw new SignetError('selftest_failed', `${base.name} does not work here: ${fault}`)
      }
      const variant = { ...key, hash, webcrypto: { name, hash, saltLength } }
      const verify = await rawVerifier(variant, publicKey, { engine: engine.name })
      return await verify({ mode: 'message', bytes }, signature)
    },
  }
}

/**
 * What is wrong with the signature on `child` when the key of `issuer` is to have made it; undefined
 * when it holds. Only the signature is looked at.
 */
export async function signatureFault(
  child: Certificate,
  issuer: Certificate,
): Promise<string | undefined> {
  const scheme = SCHEMES.get(toHex(child.signatureAlgorithm))
  if (scheme === undefined) return refused(child.signatureAlgorithm)
  try {
    const { algorithm, publicKey } = fromSpki(issuer.spki)
    if (algorithm.family !== scheme.key) {
      return `it is signed with ${scheme.name}, which is not for its issuer's key`
    }
    const holds = await scheme.verify(algorithm, publicKey, child.tbs, child.signature)
    return holds ? undefined : "its signature does not verify under its issuer's key"
  } catch (error) {
    if (isSignetError(error, 'key_malformed', 'algorithm_unsupported')) {
      return `its issuer's key is not taken: ${error.message}`
    }
    if (isSignetError(error, 'der_malformed')) return `its signature is malformed: ${error.message}`
    throw error
  }
}

function refused(identifier: Bytes): string {
  let oid: string
  try {
    oid = new DerReader(identifier, 'signature algorithm').readOid()
  } catch {
    return 'its signature algorithm is malformed'
  }
  const name = REFUSED[oid]
  return name === undefined
    ? `its signature algorithm ${oid} is not taken, or not with its parameters`
    : `its signature uses ${name}, which is refused`
}
