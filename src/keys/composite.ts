/**
 * Composite keys whose halves live in other stores, each where it can: Ed25519 in a token, ML-DSA in a KMS or
 * wrapped by a hardware key. The store of a half knows nothing of composites:
 *
 *     composite:ml-dsa=awskms%3Akey-id%3Dalias%2Fpq;ed25519=pkcs11%3Atoken%3Dci%3Bobject%3Ded
 *
 * The Ed25519 half signs M' as a message. The ML-DSA half must sign M' with the label as its context; stores
 * that take no context take mu, in which the context is already (FIPS 204 §6.2). What comes out is a composite
 * signature as any other. The halves must not be used for anything else
 * (draft-ietf-lamps-pq-composite-sigs, "Key Generation"); nothing here can see whether they are.
 */
import { type Algorithm, ALGORITHMS } from '../algorithms.ts'
import { concat } from '../bytes.ts'
import { COMPOSITE_LABEL, compositeMessage, mlDsaMu } from '../crypto/mod.ts'
import { SignetError } from '../errors.ts'
import { type Key, keyOf } from './key.ts'
import { type KeyProvider, type Keyring, requireAlgorithm } from './provider.ts'
import { publicKey } from './public_key.ts'
import { type KeyUri, uriAttributes } from './uri.ts'

const COMPOSITE = ALGORITHMS['ML-DSA-65-Ed25519']

/**
 * One key of two: closing it closes both. The ML-DSA key must serve `external-mu` (`mode_unsupported`), the
 * Ed25519 key `message`; `algorithm_mismatch` for keys of other algorithms.
 */
export async function compositeKey(mlDsa: Key, ed25519: Key): Promise<Key> {
  expect(mlDsa, ALGORITHMS['ML-DSA-65'])
  expect(ed25519, ALGORITHMS.Ed25519)
  if (!mlDsa.modes.includes('external-mu')) {
    throw new SignetError('mode_unsupported', 'the ML-DSA half does not sign an external mu', {
      remedy: 'take a half in a KMS, or one wrapped by a hardware key (wrapped:)',
    })
  }
  const half = mlDsa.publicKey.raw
  const both = concat(half, ed25519.publicKey.raw)
  return keyOf(await publicKey(COMPOSITE, both), {
    modes: ['message', 'digest'],
    async sign(input, options) {
      const bytes = await compositeMessage(input)
      const mu = await mlDsaMu(half, bytes, COMPOSITE_LABEL)
      return concat(
        ...await Promise.all([
          mlDsa.sign({ mode: 'external-mu', bytes: mu }, options),
          ed25519.sign({ mode: 'message', bytes }, options),
        ]),
      )
    },
    async close() {
      await Promise.all([mlDsa.close(), ed25519.close()])
    },
  })
}

/** The provider of `composite:`. `ring` opens and makes the halves. */
export function compositeKeys(ring: Pick<Keyring, 'open' | 'provider'>): KeyProvider {
  const algorithms = [COMPOSITE]
  return {
    scheme: 'composite',
    algorithms,
    async open(uri, options) {
      return await both(uri, (half) => ring.open(half, options))
    },
    /** Makes both halves. If the second cannot be made, the first stays in its store, unused. */
    async generate(uri, algorithm, options) {
      requireAlgorithm(algorithms, algorithm)
      return await both(uri, async (half, entry) => {
        const { provider, uri } = ring.provider(half)
        return await provider.generate(uri, entry, options)
      })
    },
  }
}

async function both(
  uri: KeyUri,
  open: (half: string, algorithm: Algorithm) => Promise<Key>,
): Promise<Key> {
  const [first, second] = halves(uri)
  const opened = await open(first, ALGORITHMS['ML-DSA-65'])
  let other: Key | undefined
  try {
    other = await open(second, ALGORITHMS.Ed25519)
    return await compositeKey(opened, other)
  } catch (error) {
    await Promise.all([opened.close(), other?.close()])
    throw error
  }
}

function halves(uri: KeyUri): readonly [mlDsa: string, ed25519: string] {
  const attributes = uriAttributes(uri, ['ml-dsa', 'ed25519'])
  const [mlDsa, ed25519] = [attributes.get('ml-dsa'), attributes.get('ed25519')]
  if (!mlDsa || !ed25519 || mlDsa === ed25519) {
    throw new SignetError('uri_malformed', 'composite: URI does not name two halves', {
      remedy: 'write composite:ml-dsa=URI;ed25519=URI, each URI percent-encoded',
    })
  }
  // One inside the other would be a key that never ends.
  if ([mlDsa, ed25519].some((half) => /^composite:/i.test(half))) {
    throw new SignetError('uri_malformed', 'composite: URI names a composite as half')
  }
  return [mlDsa, ed25519]
}

function expect({ publicKey }: Key, wanted: Algorithm): void {
  if (publicKey.algorithm === wanted) return
  throw new SignetError(
    'algorithm_mismatch',
    `a half of the composite is ${publicKey.algorithm.name} where ${wanted.name} belongs`,
  )
}
