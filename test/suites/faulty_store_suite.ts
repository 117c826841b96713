/**
 * What a key provider does when its store fails, said as tests: every provider of a store that can fail passes
 * this suite. Faults are put between the provider and a store that works otherwise; what stands for each is
 * the store's affair (a throttled KMS answers so, a throttled token says CKR_DEVICE_ERROR).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { type Key, parseKeyUri, signMessage } from '../../src/keys/mod.ts'
import { inputFor, type KeyProviderFixture, refusal } from './key_provider_suite.ts'

/**
 * What happens to a call that signs: it is slow (a few hundred milliseconds), refused for the moment, not
 * answered at all, or answered with bytes that are no signature of the input.
 */
export type StoreFault = 'delay' | 'throttle' | 'drop' | 'garbage'

/** A store whose answers can be spoilt. */
export interface FaultyFixture extends KeyProviderFixture {
  /** Asked before each call that signs, with its number from 0; decides what happens to it. */
  inject: (call: number) => StoreFault | undefined
  /** How many calls that sign reached the store since the last {@link FaultyFixture.reset}. */
  calls(): number
  /** No faults any more, and counting from 0. */
  reset(): void
}

/** What is tested. */
export interface FaultyStoreSuite {
  readonly name: string
  readonly fixture: () => Promise<FaultyFixture>
  readonly algorithm: AlgorithmName
  readonly skip?: string | undefined
}

/** Registers the tests of one store. */
export function faultyStoreSuite(suite: FaultyStoreSuite): void {
  let made: Promise<{ fixture: FaultyFixture; key: Key }> | undefined
  const setUp = async () => {
    const fixture = await suite.fixture()
    const uri = parseKeyUri(fixture.uri('faulty'))
    const key = await fixture.provider.generate(uri, ALGORITHMS[suite.algorithm])
    return { fixture, key }
  }
  const check = (name: string, fn: (fixture: FaultyFixture, key: Key) => Promise<void>) =>
    test(`${suite.name}: ${name}`, { skip: suite.skip ?? false }, async () => {
      const { fixture, key } = await (made ??= setUp())
      fixture.reset()
      await fn(fixture, key)
    })
  const message = utf8('message')
  const works = async (key: Key) =>
    assert.ok(await key.publicKey.verify(message, await signMessage(key, message)))

  check('a slow store is waited for', async (fixture, key) => {
    fixture.inject = () => 'delay'
    await works(key)
    assert.equal(fixture.calls(), 1)
  })

  check(
    'waiting for a slow store ends when it is aborted, and the key goes on',
    async (fixture, key) => {
      fixture.inject = () => 'delay'
      const controller = new AbortController()
      const input = await inputFor(key.publicKey, key.modes[0]!, message)
      const signing = key.sign(input, { signal: controller.signal })
      setTimeout(() => controller.abort(), 20)
      const start = performance.now()
      await refusal(fixture, signing, 'aborted')
      assert.ok(performance.now() - start < 250, 'the abort had to wait for the store')
      fixture.reset()
      await works(key)
    },
  )

  check('a store that refuses once is asked once more', async (fixture, key) => {
    fixture.inject = (call) => call === 0 ? 'throttle' : undefined
    await works(key)
    assert.equal(fixture.calls(), 2)
  })

  for (const fault of ['throttle', 'drop', 'garbage'] as const) {
    check(
      `${fault} for good is an error of the backend, and no signature`,
      async (fixture, key) => {
        fixture.inject = () => fault
        const error = await refusal(fixture, signMessage(key, message), 'key_backend_unavailable')
        assert.equal(error.kind, 'backend')
        assert.ok(fixture.calls() <= 6, `${fixture.calls()} attempts`)
        fixture.reset()
        await works(key)
      },
    )
  }

  check(
    'of 60 signatures at once amid faults none is lost, wrong, or made twice',
    async (fixture, key) => {
      fixture.inject = (call) =>
        call === 7 ? 'throttle' : call === 31 ? 'drop' : call % 10 === 0 ? 'delay' : undefined
      const messages = Array.from({ length: 60 }, (_, i) => utf8(`message ${i}`))
      const signatures = await Promise.all(messages.map((one) => signMessage(key, one)))
      const valid = signatures.map((one, i) => key.publicKey.verify(messages[i]!, one))
      assert.ok((await Promise.all(valid)).every(Boolean))
      assert.equal(fixture.calls(), 62, 'sixty, and one more for each fault that was got over')
    },
  )

  check('garbage amid 60 signatures spoils its own alone', async (fixture, key) => {
    fixture.inject = (call) => call === 20 ? 'garbage' : undefined
    const messages = Array.from({ length: 60 }, (_, i) => utf8(`message ${i}`))
    const results = await Promise.allSettled(messages.map((one) => signMessage(key, one)))
    const failed = results.filter((one) => one.status === 'rejected')
    assert.equal(failed.length, 1)
    await refusal(fixture, Promise.reject(failed[0]!.reason), 'key_backend_unavailable')
  })

  check('all is taken down', async (fixture, key) => {
    try {
      await key.close()
      const input = await inputFor(key.publicKey, key.modes[0]!, message)
      await refusal(fixture, key.sign(input), 'key_closed')
    } finally {
      await fixture.cleanup?.()
    }
  })
}
