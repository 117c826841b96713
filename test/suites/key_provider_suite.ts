/**
 * What a key provider is, said as tests: every provider passes this suite, whatever holds its keys.
 * A new provider is one file and one call of {@link keyProviderSuite}.
 *
 * What a store can do is declared by the caller and compared with what provider and keys declare;
 * nothing is found out by trying. Suites about failing stores (delay, throttle, drop, garbage) build on
 * {@link refusal}, {@link inputFor} and {@link KeyProviderFixture} and live in files of their own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shake256 } from '@noble/hashes/sha3.js'
import {
  type Algorithm,
  type AlgorithmName,
  ALGORITHMS,
  type SigningMode,
} from '../../src/algorithms.ts'
import { type Bytes, concat, owned, toBase64, toBase64Url, toHex, utf8 } from '../../src/bytes.ts'
import type { SigningInput } from '../../src/crypto/mod.ts'
import { type ErrorCode, SignetError } from '../../src/errors.ts'
import {
  type Key,
  type KeyProvider,
  parseKeyUri,
  type PublicKey,
  signMessage,
  thumbprint,
} from '../../src/keys/mod.ts'

/** A provider with a store behind it, for the length of one suite. */
export interface KeyProviderFixture {
  /** The provider under test. */
  readonly provider: KeyProvider
  /** URI of a key that is not there yet. Each label is asked for once. */
  uri(label: string): string
  /**
   * Makes a key by other means than the provider and tells its URI. Called for the algorithms that the
   * provider does not generate.
   */
  provision?(algorithm: Algorithm, label: string): Promise<string>
  /** Passphrases, PINs, credentials, seeds: whatever no error may show. */
  readonly secrets?: readonly (string | Uint8Array)[]
  /** Takes the store down again. */
  cleanup?(): Promise<void>
}

/** What is tested, and what is expected of it. */
export interface KeyProviderSuite {
  /** Begins the name of each test. */
  readonly name: string
  /** Builds the store. Called once, by the first test. */
  readonly fixture: () => Promise<KeyProviderFixture>
  /** The algorithms that the provider opens, each with the modes that its keys must declare, best first. */
  readonly algorithms: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>>
  /** The algorithms that it generates, which it must declare. Default: all that it opens. */
  readonly generates?: readonly AlgorithmName[]
  /** Algorithms that sign one message differently each time. Default: those that always do. */
  readonly randomised?: readonly AlgorithmName[]
  /** URIs of the provider's scheme that make no sense. */
  readonly malformedUris?: readonly string[]
  /** Longest message of `message` mode, where the store sets a limit; one byte more is `too_large`. */
  readonly maxMessageBytes?: number
  /** Shortest message of `message` mode; a shorter one is `mode_unsupported`. Default 0. */
  readonly minMessageBytes?: number
  /** How many signatures to make at once. Default 100. */
  readonly parallel?: number
  /** Why all is skipped, where it is. */
  readonly skip?: string | undefined
}

/** Every mode there is. */
export const MODES: readonly SigningMode[] = ['message', 'digest', 'external-mu']

const ALWAYS_RANDOMISED: readonly AlgorithmName[] = [
  'PS256',
  'ML-DSA-44',
  'ML-DSA-65',
  'ML-DSA-65-Ed25519',
]
const UNKNOWN: Algorithm = { ...ALGORITHMS.Ed25519, oid: '1.2.3.4' }

/** Registers the tests of one provider. */
export function keyProviderSuite(suite: KeyProviderSuite): void {
  const opened = Object.entries(suite.algorithms) as [AlgorithmName, readonly SigningMode[]][]
  const generates = suite.generates ?? opened.map(([name]) => name)
  const randomised = suite.randomised ?? ALWAYS_RANDOMISED
  const parallel = suite.parallel ?? 100
  const keys = new Map<string, Promise<{ readonly uri: string; readonly key: Key }>>()
  let made: Promise<KeyProviderFixture> | undefined
  const fixture = () => made ??= suite.fixture()

  const check = (name: string, fn: (fixture: KeyProviderFixture) => unknown) =>
    test(`${suite.name}: ${name}`, { skip: suite.skip ?? false }, async () => {
      await fn(await fixture())
    })

  /** The key that the tests of one algorithm share. */
  const shared = (name: AlgorithmName) => {
    let key = keys.get(name)
    if (key === undefined) keys.set(name, key = newKey(name))
    return key
  }
  const newKey = async (name: AlgorithmName) => {
    const { provider, uri, provision } = await fixture()
    if (generates.includes(name)) {
      const text = uri(`suite-${name.toLowerCase()}`)
      return { uri: text, key: await provider.generate(parseKeyUri(text), ALGORITHMS[name]) }
    }
    if (provision === undefined) throw new Error(`the fixture has no way to make a ${name} key`)
    const text = await provision(ALGORITHMS[name], `suite-${name.toLowerCase()}`)
    return { uri: text, key: await provider.open(parseKeyUri(text)) }
  }

  check('it declares what it generates, and URIs of its scheme reach it', (fixture) => {
    const { provider, uri } = fixture
    assert.deepEqual(provider.algorithms.map((one) => one.name).sort(), [...generates].sort())
    for (const entry of provider.algorithms) assert.equal(entry, ALGORITHMS[entry.name])
    assert.equal(parseKeyUri(uri('declared')).scheme, provider.scheme)
  })

  check('a key that is not there is key_not_found', async (fixture) => {
    const { provider, uri } = fixture
    await refusal(fixture, provider.open(parseKeyUri(uri('absent'))), 'key_not_found')
  })

  for (const text of suite.malformedUris ?? []) {
    check(`the URI ${JSON.stringify(text)} is uri_malformed`, async (fixture) => {
      const { provider } = fixture
      const uri = parseKeyUri(text)
      await refusal(fixture, provider.open(uri), 'uri_malformed')
      const [algorithm] = provider.algorithms
      if (algorithm === undefined) return
      await refusal(fixture, provider.generate(uri, algorithm), 'uri_malformed')
    })
  }

  check('an algorithm that it does not declare is not generated', async (fixture) => {
    const { provider, uri } = fixture
    const others = Object.values(ALGORITHMS).filter((one) => !generates.includes(one.name))
    for (const algorithm of [...others, UNKNOWN]) {
      const text = uri(`unsupported-${others.indexOf(algorithm)}`)
      await refusal(
        fixture,
        provider.generate(parseKeyUri(text), algorithm),
        'algorithm_unsupported',
      )
      await refusal(fixture, provider.open(parseKeyUri(text)), 'key_not_found')
    }
  })

  check('opening with a signal that was given before is aborted', async (fixture) => {
    const { uri } = await shared(opened[0]![0])
    const options = { signal: AbortSignal.abort() }
    await refusal(fixture, fixture.provider.open(parseKeyUri(uri), options), 'aborted')
  })

  const first = generates.find((name) => name !== 'RS256' && name !== 'PS256') ?? generates[0]
  if (first !== undefined) {
    const algorithm = ALGORITHMS[first]

    check('a key is never generated over another one', async (fixture) => {
      const { uri, key } = await shared(first)
      const { provider } = fixture
      await refusal(fixture, provider.generate(parseKeyUri(uri), algorithm), 'file_exists')
      const again = await provider.open(parseKeyUri(uri))
      assert.equal(again.publicKey.id, key.publicKey.id)
      await again.close()
    })

    check('of keys generated at one URI at once, one comes to be', async (fixture) => {
      const { provider, uri } = fixture
      const target = parseKeyUri(uri('race'))
      const results = await Promise.allSettled(
        Array.from({ length: 4 }, () => provider.generate(target, algorithm)),
      )
      const won = results.filter((result) => result.status === 'fulfilled')
      assert.equal(won.length, 1)
      for (const lost of results.filter((result) => result.status === 'rejected')) {
        await refusal(fixture, Promise.reject(lost.reason), 'file_exists')
      }
      const key = await provider.open(target)
      assert.equal(key.publicKey.id, won[0]!.value.publicKey.id)
    })

    check('generating with a signal that was given before leaves no key', async (fixture) => {
      const { provider, uri } = fixture
      const target = parseKeyUri(uri('aborted'))
      const options = { signal: AbortSignal.abort() }
      await refusal(fixture, provider.generate(target, algorithm, options), 'aborted')
      await refusal(fixture, provider.open(target), 'key_not_found')
    })
  }

  for (const [name, modes] of opened) {
    const algorithm = ALGORITHMS[name]

    check(`${name}: a key opened again is the key that was made`, async ({ provider }) => {
      const { uri, key } = await shared(name)
      const again = await provider.open(parseKeyUri(uri))
      for (const { publicKey, modes: declared } of [key, again]) {
        assert.equal(publicKey.algorithm, algorithm)
        assert.equal(publicKey.raw.length, algorithm.publicBytes ?? publicKey.raw.length)
        assert.equal(publicKey.id, await thumbprint(publicKey.jwk))
        assert.deepEqual(declared, modes)
      }
      assert.equal(again.publicKey.id, key.publicKey.id)
      const message = utf8('opened again')
      const signature = await signMessage(again, message)
      assert.ok(await key.publicKey.verify(message, signature))
      assert.equal(await key.publicKey.verify(utf8('opened twice'), signature), false)
      await again.close()
    })

    for (const mode of MODES) {
      if (!modes.includes(mode)) {
        check(`${name}: ${mode}, which the key does not declare, is refused`, async (fixture) => {
          const { key } = await shared(name)
          const input = { mode, bytes: new Uint8Array(64) }
          await refusal(fixture, key.sign(input), 'mode_unsupported')
        })
        continue
      }

      check(`${name}: ${mode} signs what the message verifies`, async () => {
        const { key } = await shared(name)
        // A view into something larger: only the view may be signed.
        const whole = crypto.getRandomValues(new Uint8Array(100))
        for (const message of [whole.subarray(7, 40), new Uint8Array(suite.minMessageBytes ?? 0)]) {
          const signature = await key.sign(await inputFor(key.publicKey, mode, message))
          assert.equal(signature.length, algorithm.signatureBytes ?? signature.length)
          assert.ok(await key.publicKey.verify(message, signature))
          assert.equal(await key.publicKey.verify(whole, signature), false)
        }
      })

      if (mode === 'message') continue
      check(`${name}: ${mode} of the wrong length is refused`, async (fixture) => {
        const { key } = await shared(name)
        const { bytes } = await inputFor(key.publicKey, mode, utf8('message'))
        for (const wrong of [bytes.subarray(1), concat(bytes, bytes), new Uint8Array()]) {
          await refusal(fixture, key.sign({ mode, bytes: wrong }), 'digest_malformed')
        }
      })
    }

    const { maxMessageBytes: max, minMessageBytes: min = 0 } = suite
    if (modes.includes('message') && min > 0) {
      check(`${name}: messages below the shortest are refused`, async (fixture) => {
        const { key } = await shared(name)
        const input = { mode: 'message', bytes: new Uint8Array(min - 1) } as const
        await refusal(fixture, key.sign(input), 'mode_unsupported')
      })
    }
    if (modes.includes('message') && max !== undefined) {
      check(
        `${name}: messages are signed up to the limit and refused above it`,
        async (fixture) => {
          const { key } = await shared(name)
          const message = new Uint8Array(max)
          const signature = await key.sign({ mode: 'message', bytes: message })
          assert.ok(await key.publicKey.verify(message, signature))
          const input = { mode: 'message', bytes: new Uint8Array(max + 1) } as const
          await refusal(fixture, key.sign(input), 'too_large')
        },
      )
    }

    check(
      `${name}: ${parallel} signatures at once are all valid, each of its message`,
      async () => {
        const { key } = await shared(name)
        // Each message twice, so that a mixed-up answer and a repeated one both show.
        const messages = Array.from({ length: parallel }, (_, i) => utf8(`message ${i >> 1}`))
        const signatures = await Promise.all(messages.map((message) => signMessage(key, message)))
        const valid = await Promise.all(
          signatures.map((signature, i) => key.publicKey.verify(messages[i]!, signature)),
        )
        assert.deepEqual(valid, messages.map(() => true))
        const distinct = new Set(signatures.map(toHex)).size
        if (randomised.includes(name)) assert.equal(distinct, parallel)
        else assert.ok(distinct >= Math.ceil(parallel / 2))
        if (algorithm.family !== 'ecdsa') return
        // The same r for two messages would give the private key away.
        const half = algorithm.signatureBytes! / 2
        const nonces = new Set(signatures.map((signature) => toHex(signature.subarray(0, half))))
        assert.equal(nonces.size, distinct)
      },
    )

    check(`${name}: a signal given before or during signing is aborted`, async (fixture) => {
      const { key } = await shared(name)
      const input = await inputFor(key.publicKey, modes[0]!, utf8('aborted'))
      await refusal(fixture, key.sign(input, { signal: AbortSignal.abort() }), 'aborted')
      const during = new AbortController()
      const signing = key.sign(input, { signal: during.signal })
      during.abort(new Error('changed my mind'))
      await refusal(fixture, signing, 'aborted')
      const late = new AbortController()
      const signature = await key.sign(input, { signal: late.signal })
      late.abort()
      assert.ok(await key.publicKey.verify(utf8('aborted'), signature))
    })

    check(`${name}: a closed key signs no more, and leaves other handles open`, async (fixture) => {
      const { uri, key } = await shared(name)
      const other = await fixture.provider.open(parseKeyUri(uri))
      const input = await inputFor(key.publicKey, modes[0]!, utf8('closed'))
      await other.close()
      await other.close()
      await refusal(fixture, other.sign(input), 'key_closed')
      const signature = await key.sign(input)
      assert.ok(await other.publicKey.verify(utf8('closed'), signature))
      const third = await fixture.provider.open(parseKeyUri(uri))
      assert.ok(await third.publicKey.verify(utf8('closed'), await third.sign(input)))
      await third.close()
    })

    check(
      `${name}: closing while signatures are made never yields a wrong one`,
      async (fixture) => {
        const { uri } = await shared(name)
        const key = await fixture.provider.open(parseKeyUri(uri))
        const input = await inputFor(key.publicKey, modes[0]!, utf8('closing'))
        const signing = [key.sign(input), key.sign(input), key.sign(input)]
        const closing = key.close()
        for (const result of await Promise.allSettled(signing)) {
          if (result.status === 'fulfilled') {
            assert.ok(await key.publicKey.verify(utf8('closing'), result.value))
          } else await refusal(fixture, Promise.reject(result.reason), 'key_closed')
        }
        await closing
      },
    )
  }

  // The last test takes the store down; a hook would not be known to every runner.
  check('all keys close', async ({ cleanup }) => {
    try {
      for (const { key } of await Promise.all(keys.values())) await key.close()
    } finally {
      await cleanup?.()
    }
  })
}

/** What a key is given to sign a message in a mode, computed without the code under test. */
export async function inputFor(
  key: PublicKey,
  mode: SigningMode,
  message: Uint8Array,
): Promise<SigningInput> {
  if (mode === 'message') return { mode, bytes: message }
  if (mode === 'external-mu') return { mode, bytes: mu(key.raw, message) }
  const digest = await crypto.subtle.digest(key.algorithm.hash!, owned(message))
  return { mode, bytes: new Uint8Array(digest) }
}

/** ML-DSA's message representative, FIPS 204 algorithms 2 and 7. */
export function mu(
  publicKey: Uint8Array,
  message: Uint8Array,
  context: Uint8Array = new Uint8Array(),
): Bytes {
  const tr = shake256(publicKey, { dkLen: 64 })
  const head = Uint8Array.of(0, context.length)
  return owned(shake256(concat(tr, head, context, message), { dkLen: 64 }))
}

/** Checks that `work` is refused with one of the codes, and that the error shows no secret. */
export async function refusal(
  fixture: Pick<KeyProviderFixture, 'secrets'>,
  work: Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<SignetError> {
  const error = await work.then(() => undefined, (reason: unknown) => reason)
  assert.ok(error instanceof SignetError, `expected a SignetError, got ${String(error)}`)
  assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code}`)
  const text = everythingOf(error)
  for (const secret of fixture.secrets ?? []) {
    const bytes = typeof secret === 'string' ? utf8(secret) : secret
    const forms = [toHex(bytes), toBase64(bytes), toBase64Url(bytes)]
    if (typeof secret === 'string') forms.push(secret, encodeURIComponent(secret))
    const shown = forms.some((form) => text.includes(form))
    assert.ok(!shown, `the error ${error.code} shows a secret`)
  }
  return error
}

/** All text that an error carries: own members and those of its causes. */
function everythingOf(error: unknown, depth: number = 0): string {
  if (typeof error !== 'object' || error === null || depth > 8) return String(error)
  const members = Object.getOwnPropertyNames(error).map((name) => {
    const value: unknown = Reflect.get(error, name)
    return `${name}: ${everythingOf(value, depth + 1)}`
  })
  return [String(error), ...members].join('\n')
}
