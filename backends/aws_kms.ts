/**
 * Keys in AWS KMS. The private half never leaves it; what is signed is a digest, a short message, or mu.
 *
 *     awskms:key-id=alias/models;region=eu-west-1
 *     awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
 *
 * Served: ECDSA on P-256, P-384 and P-521, RSA with PKCS#1 v1.5 or PSS (`alg=PS256`), Ed25519 up to 4096
 * bytes, ML-DSA-65, and symmetric keys that wrap keys. Credentials are those of the SDK's own chain. Needs
 * `@aws-sdk/client-kms`, which is loaded when the first key is opened and not before.
 *
 * An alias is followed once, on opening: what signs afterwards is that very key, wherever the alias then
 * points. Signatures are held against the public key by `signMessage`, whoever made them.
 *
 * @module
 */
import {
  type Algorithm,
  type AlgorithmName,
  ALGORITHMS,
  type SigningMode,
} from '../src/algorithms.ts'
import type { Bytes } from '../src/bytes.ts'
import { ecdsaFromDer, fromSpki, mlDsaMu, type SigningInput } from '../src/crypto/mod.ts'
import { isSignetError, SignetError } from '../src/errors.ts'
import {
  checkAborted,
  type Kek,
  type Key,
  keyOf,
  type KeyProvider,
  type KeyUri,
  type ListedKey,
  publicKey,
  requireAlgorithm,
  type SignOptions,
} from '../src/keys/mod.ts'
import { type ClientOptions, type Service, services } from './aws_kms/client.ts'
import { bytes, garbage, isKey, member, text } from './aws_kms/answers.ts'
import { openKek } from './aws_kms/kek.ts'
import { listKeys } from './aws_kms/list.ts'
import { type KmsUri, parseKmsUri } from './aws_kms/uri.ts'

export type { AwsCredentials, ClientOptions } from './aws_kms/client.ts'

/** The provider of `awskms:`, and what it does beyond signing. */
export interface AwsKmsKeys extends KeyProvider {
  /** Opens a symmetric key that wraps keys (`key_usage` if it is none). */
  openKek(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /** Makes a symmetric key that wraps keys, at an alias (`file_exists`). */
  generateKek(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /**
   * The enabled keys that sign, of a region: `awskms:region=eu-west-1`. A key id narrows the list to that key.
   * The label is an alias, the id the ARN. Needs kms:ListKeys, and for labels kms:ListAliases; keys that
   * may not be looked at are left out.
   */
  list(uri: KeyUri, options?: SignOptions): Promise<readonly ListedKey[]>
}

/** How KMS serves an algorithm. */
interface Serving {
  readonly spec: string
  readonly signing: string
  readonly modes: readonly SigningMode[]
}

/** Key specs and signing algorithms (KMS developer guide, "Key spec reference"). */
const SERVED: Partial<Record<AlgorithmName, Serving>> = {
  'ES256': { spec: 'ECC_NIST_P256', signing: 'ECDSA_SHA_256', modes: ['digest'] },
  'ES384': { spec: 'ECC_NIST_P384', signing: 'ECDSA_SHA_384', modes: ['digest'] },
  'ES512': { spec: 'ECC_NIST_P521', signing: 'ECDSA_SHA_512', modes: ['digest'] },
  'RS256': { spec: 'RSA_3072', signing: 'RSASSA_PKCS1_V1_5_SHA_256', modes: ['digest'] },
  'PS256': { spec: 'RSA_3072', signing: 'RSASSA_PSS_SHA_256', modes: ['digest'] },
  'Ed25519': { spec: 'ECC_NIST_EDWARDS25519', signing: 'ED25519_SHA_512', modes: ['message'] },
  'ML-DSA-65': {
    spec: 'ML_DSA_65',
    signing: 'ML_DSA_SHAKE_256',
    modes: ['message', 'external-mu'],
  },
}

/** Longest message of type RAW; the shortest has one byte (KMS API reference, Sign). */
const MAX_RAW = 4096
const algorithms = (Object.keys(SERVED) as AlgorithmName[]).map((name) => ALGORITHMS[name])

/** The provider of `awskms:` keys. */
export function awsKmsKeys(options: ClientOptions = {}): AwsKmsKeys {
  const connect = services(options)

  /** Opens a service for work that hands it on; closes it if the work fails. */
  const within = async <T>(
    where: KmsUri,
    opts: SignOptions,
    work: (service: Service) => Promise<T>,
  ) => {
    checkAborted(opts.signal)
    const service = await connect(where)
    try {
      return await work(service)
    } catch (error) {
      service.close()
      throw error
    }
  }

  /** Makes a key at an alias, and takes it back where the alias is taken or nobody waits any more. */
  const create = async (
    service: Service,
    where: KmsUri,
    attributes: { readonly KeySpec: string; readonly KeyUsage: string },
    opts: SignOptions,
  ): Promise<void> => {
    if (!where.keyId.startsWith('alias/')) {
      throw new SignetError('usage_invalid', 'KMS chooses the id of a new key by itself', {
        remedy: 'name an alias: awskms:key-id=alias/NAME;region=REGION',
      })
    }
    if (await exists(service, where.keyId, opts)) throw taken()
    const made = await service.call(
      'CreateKey',
      { ...attributes, Description: 'made by signet' },
      {},
    )
    const id = text(member(made, 'KeyMetadata'), 'Arn')
    try {
      await service.call('CreateAlias', { AliasName: where.keyId, TargetKeyId: id }, opts)
    } catch (error) {
      await service.call('ScheduleKeyDeletion', { KeyId: id, PendingWindowInDays: 7 })
        .catch(() => {}) // the first fault is the one to tell
      throw isSignetError(error, 'file_exists') ? taken() : error
    }
  }

  return {
    scheme: 'awskms',
    algorithms,

    async open(uri, opts = {}) {
      const where = parseKmsUri(uri)
      return await within(where, opts, (service) => openKey(service, where, opts))
    },

    async generate(uri, algorithm, opts = {}) {
      const where = parseKmsUri(uri)
      requireAlgorithm(algorithms, algorithm)
      if (where.algorithm !== undefined && where.algorithm !== algorithm.name) {
        throw new SignetError('usage_invalid', 'alg= in the URI names another algorithm')
      }
      const { spec } = SERVED[algorithm.name]!
      return await within(where, opts, async (service) => {
        await create(service, where, { KeySpec: spec, KeyUsage: 'SIGN_VERIFY' }, opts)
        return await openKey(service, { ...where, algorithm: algorithm.name }, opts)
      })
    },

    async openKek(uri, opts = {}) {
      const where = parseKmsUri(uri)
      return await within(where, opts, (service) => openKek(service, where.keyId, opts))
    },

    async generateKek(uri, opts = {}) {
      const where = parseKmsUri(uri)
      return await within(where, opts, async (service) => {
        const attributes = { KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' }
        await create(service, where, attributes, opts)
        return await openKek(service, where.keyId, opts)
      })
    },

    async list(uri, opts = {}) {
      const where = parseKmsUri(uri, { wholeRegion: true })
      return await within(where, opts, async (service) => {
        const listed = await listKeys(service, where, opts, publicSide)
        service.close()
        return listed
      })
    },
  }
}

/** Algorithm and public key of a key that signs; undefined for any other. */
async function publicSide(service: Service, keyId: string, where: KmsUri, opts: SignOptions) {
  const found = await service.call('GetPublicKey', { KeyId: keyId }, opts)
  if (found.KeyUsage !== 'SIGN_VERIFY') return undefined
  return fromSpki(bytes(found, 'PublicKey'), where.algorithm)
}

async function openKey(service: Service, where: KmsUri, opts: SignOptions): Promise<Key> {
  const found = await service.call('GetPublicKey', { KeyId: where.keyId }, opts)
  if (found.KeyUsage !== 'SIGN_VERIFY') {
    throw new SignetError('key_usage', 'the key in KMS is not one that signs')
  }
  const { algorithm, publicKey: raw } = fromSpki(bytes(found, 'PublicKey'), where.algorithm)
  const serving = SERVED[algorithm.name]
  // The deprecated name still comes along, and from moto it comes alone.
  const spec = text({ name: found.KeySpec ?? found.CustomerMasterKeySpec }, 'name')
  const fits = algorithm.family === 'rsa' ? spec.startsWith('RSA_') : spec === serving?.spec
  if (serving === undefined || !fits) {
    throw garbage(`its key is of ${algorithm.name} and not of ${spec}`)
  }
  if (where.algorithm !== undefined && where.algorithm !== algorithm.name) {
    throw new SignetError('algorithm_mismatch', `the key in KMS is one of ${algorithm.name}`)
  }
  const offered = found.SigningAlgorithms
  if (!Array.isArray(offered) || !offered.includes(serving.signing)) {
    throw new SignetError('algorithm_unsupported', `KMS does not sign with ${serving.signing} here`)
  }
  const arn = text(found, 'KeyId')
  const half = await publicKey(algorithm, raw)
  return keyOf(half, {
    modes: serving.modes,
    async sign(input, opts) {
      const [MessageType, Message] = await messageOf(algorithm, raw, input)
      const request = { KeyId: arn, Message, MessageType, SigningAlgorithm: serving.signing }
      const answer = await service.call('Sign', request, opts)
      if (!isKey(answer, arn) || answer.SigningAlgorithm !== serving.signing) {
        throw garbage('it signed with another key or algorithm')
      }
      return signatureOf(algorithm, bytes(answer, 'Signature'))
    },
    close: () => service.close(),
  })
}

/** What KMS is given: message type and message. */
async function messageOf(
  algorithm: Algorithm,
  raw: Bytes,
  { mode, bytes }: SigningInput,
): Promise<readonly ['DIGEST' | 'RAW' | 'EXTERNAL_MU', Uint8Array]> {
  if (mode === 'digest') return ['DIGEST', bytes]
  if (mode === 'external-mu') return ['EXTERNAL_MU', bytes]
  if (bytes.length >= 1 && bytes.length <= MAX_RAW) return ['RAW', bytes]
  // FIPS 204 algorithm 2: for an empty context the signature is that of RAW.
  if (algorithm.family === 'ml-dsa') return ['EXTERNAL_MU', await mlDsaMu(raw, bytes)]
  if (bytes.length === 0) {
    throw new SignetError('mode_unsupported', `KMS signs no empty message with ${algorithm.name}`)
  }
  throw new SignetError('too_large', `KMS signs up to ${MAX_RAW} bytes with ${algorithm.name}`, {
    remedy: 'use an EC key, or a composite, which signs a digest: composite:ml-dsa=…;ed25519=…',
  })
}

function signatureOf(algorithm: Algorithm, signature: Bytes): Bytes {
  const { signatureBytes } = algorithm
  try {
    const raw = algorithm.family === 'ecdsa' ? ecdsaFromDer(signature, signatureBytes!) : signature
    if (raw.length === (signatureBytes ?? raw.length)) return raw
  } catch {
    // no DER: told below
  }
  throw garbage('its signature is malformed')
}

async function exists(service: Service, keyId: string, opts: SignOptions): Promise<boolean> {
  try {
    await service.call('DescribeKey', { KeyId: keyId }, opts)
    return true
  } catch (error) {
    if (isSignetError(error, 'key_not_found')) return false
    throw error
  }
}

function taken(): SignetError {
  return new SignetError('file_exists', 'KMS has a key of that alias already')
}
