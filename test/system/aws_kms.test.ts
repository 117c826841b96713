import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AlgorithmName, ALGORITHMS, type SigningMode } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { parseKeyUri, signMessage } from '../../src/keys/mod.ts'
import { awsKmsKeys, type ClientOptions } from '../../backends/aws_kms.ts'
import { type Call, type KmsDouble, kmsDouble } from '../doubles/kms_double.ts'
import { type KeyProviderSuite, keyProviderSuite, refusal } from '../suites/key_provider_suite.ts'
import {
  type FaultyFixture,
  faultyStoreSuite,
  type StoreFault,
} from '../suites/faulty_store_suite.ts'
import { type Emulator, lacking, MINISTACK, MOTO, run } from './_emulators.ts'

const credentials = {
  accessKeyId: 'AKIATESTTESTTESTTEST',
  secretAccessKey: 'secret-access-key-of-the-test',
  sessionToken: 'session-token-of-the-test',
}
const secrets = [credentials.secretAccessKey, credentials.sessionToken]
const message = utf8('message')
const wrong = (type: string, status = 400) => ({ status, body: { __type: type, message: 'no' } })
const pause = (ms: number) =>
  new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ms))

const SERVED: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>> = {
  'ES256': ['digest'],
  'ES384': ['digest'],
  'ES512': ['digest'],
  'RS256': ['digest'],
  'PS256': ['digest'],
  'Ed25519': ['message'],
  'ML-DSA-65': ['message', 'external-mu'],
}
const generates = Object.keys(SERVED) as AlgorithmName[]
const only = (...names: AlgorithmName[]) =>
  Object.fromEntries(names.map((name) => [name, SERVED[name]]))

const malformedUris = [
  'awskms:',
  'awskms:region=eu-west-1',
  'awskms:key-id=a;key-id=b',
  'awskms:key-id=a;colour=red',
  'awskms:key-id=a b',
  'awskms:key-id=a;endpoint=http://example.com',
  'awskms:key-id=a;endpoint=ftp://localhost',
  'awskms:key-id=a;endpoint=https://user:password@example.com',
  'awskms:key-id=a;alg=none',
  'awskms://',
  'awskms:///',
  'awskms:///arn:aws:s3:::bucket/key',
  'awskms:///alias/a?colour=red',
]

const suite = (
  name: string,
  algorithms: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>>,
  start: () => Promise<{ endpoint: string; stop(): Promise<void> }>,
  more: Pick<KeyProviderSuite, 'maxMessageBytes' | 'minMessageBytes' | 'randomised' | 'skip'> = {},
) =>
  keyProviderSuite({
    name,
    algorithms,
    generates,
    malformedUris,
    randomised: ['ES256', 'ES384', 'ES512', 'PS256', 'ML-DSA-65'],
    ...more,
    async fixture() {
      const { endpoint, stop } = await start()
      return {
        provider: awsKmsKeys({ credentials }),
        uri: (label) =>
          `awskms:key-id=alias/${label};region=eu-west-1;endpoint=${endpoint}` +
          (label.includes('ps256') ? ';alg=PS256' : ''),
        secrets,
        cleanup: stop,
      }
    },
  })

const double = async () => {
  const { endpoint, close } = await kmsDouble()
  return { endpoint, stop: close }
}
suite('awsKmsKeys() on our double', only('ES256', 'ES384', 'ES512', 'ML-DSA-65'), double, {
  randomised: ['ML-DSA-65'],
})
suite('awsKmsKeys() on our double, short messages', only('Ed25519'), double, {
  minMessageBytes: 1,
  maxMessageBytes: 4096,
})
const emulated = (emulator: Emulator) => ({ skip: lacking(emulator) })
suite(
  'awsKmsKeys() on ministack',
  only('ES256', 'ES384', 'ES512', 'RS256', 'PS256', 'Ed25519'),
  () => run(MINISTACK),
  { ...emulated(MINISTACK), minMessageBytes: 1, maxMessageBytes: 4096 },
)
const skip = lacking(MOTO) ?? false
test('moto, which hashes a digest once more, gets no signature past us', { skip }, async () => {
  const { endpoint, stop } = await run(MOTO)
  try {
    const provider = awsKmsKeys({ credentials })
    const uri = parseKeyUri(`awskms:key-id=alias/key;region=eu-west-1;endpoint=${endpoint}`)
    const key = await provider.generate(uri, ALGORITHMS.ES256)
    const error = await refusal({ secrets }, signMessage(key, message), 'key_backend_unavailable')
    assert.match(error.message, /public key refuses/)
  } finally {
    await stop()
  }
})

for (const emulator of [MINISTACK, MOTO, undefined]) {
  const name = emulator?.name ?? 'our double'
  const skip = emulator === undefined ? false : lacking(emulator) ?? false
  test(`a wrapped secret opens in its context and unaltered, on ${name}`, { skip }, async () => {
    const { endpoint, stop } = emulator === undefined ? await double() : await run(emulator)
    try {
      const provider = awsKmsKeys({ credentials })
      const at = (label: string) =>
        parseKeyUri(`awskms:key-id=alias/${label};region=eu-west-1;endpoint=${endpoint}`)
      const context = { tenant: 'acme', purpose: 'weights', version: '1' }
      const kek = await provider.generateKek(at('kek'))
      const other = await provider.generateKek(at('other'))
      await refusal({ secrets }, provider.generateKek(at('kek')), 'file_exists')
      const { secret, wrapped } = await kek.newDataKey!(context)
      assert.equal(secret.length, 32)
      assert.deepEqual(await kek.unwrap(wrapped, context), secret)
      const seed = crypto.getRandomValues(new Uint8Array(32))
      assert.deepEqual(await kek.unwrap(await kek.wrap(seed, context), context), seed)
      const all = { secrets: [...secrets, secret] }
      // ministack 1.5 encrypts by exclusive or: it notices neither another key nor an altered text.
      if (emulator !== MINISTACK) {
        const evil = { ...context, tenant: 'evil' }
        await refusal(all, kek.unwrap(wrapped, evil), 'key_mismatch')
      }
      const others = other.unwrap(wrapped, context)
      if (emulator !== MINISTACK) {
        await refusal(all, others, 'key_mismatch', 'key_backend_unavailable', 'key_access_denied')
      }
      const altered = wrapped.slice()
      altered[altered.length - 1]! ^= 1
      const unwrapping = kek.unwrap(altered, context)
      if (emulator !== MINISTACK) await refusal(all, unwrapping, 'key_mismatch')
      await provider.generate(at('signer'), ALGORITHMS.ES256)
      await refusal({ secrets }, provider.openKek(at('signer')), 'key_usage')
      await refusal({ secrets }, provider.open(at('kek')), 'key_usage', 'algorithm_unsupported')
      await kek.close()
      await refusal({ secrets }, kek.unwrap(wrapped, context), 'key_closed')
    } finally {
      await stop()
    }
  })
}

faultyStoreSuite({
  name: 'awsKmsKeys() on a failing double',
  algorithm: 'ES256',
  async fixture() {
    const kms = await kmsDouble()
    let calls = 0
    const faults = new WeakMap<Call, StoreFault | undefined>()
    kms.fault = async (call) => {
      if (call.operation !== 'Sign') return undefined
      const fault = fixture.inject(calls++)
      faults.set(call, fault)
      if (fault === 'delay') await pause(300)
      if (fault === 'drop') return 'drop'
      return fault === 'throttle' ? wrong('ThrottlingException') : undefined
    }
    // r = s = 1: well-formed, and no signature of anything
    kms.alter = (call, answer) =>
      faults.get(call) === 'garbage' ? { ...answer, Signature: 'MAYCAQECAQE=' } : answer
    const fixture: FaultyFixture = {
      provider: awsKmsKeys({ credentials }),
      uri: (label) => `awskms:key-id=alias/${label};region=eu-west-1;endpoint=${kms.endpoint}`,
      secrets,
      cleanup: () => kms.close(),
      inject: () => undefined,
      calls: () => calls,
      reset() {
        calls = 0
        fixture.inject = () => undefined
      },
    }
    return fixture
  },
})

/** A double with one key, opened. */
async function withKey(algorithm: AlgorithmName = 'ES256', options: ClientOptions = {}) {
  const kms: KmsDouble = await kmsDouble()
  const provider = awsKmsKeys({ credentials, ...options })
  const uri = parseKeyUri(`awskms:key-id=alias/key;region=eu-west-1;endpoint=${kms.endpoint}`)
  const key = await provider.generate(uri, ALGORITHMS[algorithm])
  const signs = () => kms.calls.filter(({ operation }) => operation === 'Sign').length
  return { kms, provider, uri, key, signs, [Symbol.asyncDispose]: () => kms.close() }
}

const FAULTS: readonly (readonly [string, number, ErrorCode])[] = [
  ['NotFoundException', 400, 'key_not_found'],
  ['DisabledException', 400, 'key_disabled'],
  ['KMSInvalidStateException', 400, 'key_disabled'],
  ['InvalidKeyUsageException', 400, 'key_usage'],
  ['AccessDeniedException', 400, 'key_access_denied'],
  ['ExpiredTokenException', 400, 'key_access_denied'],
  ['UnrecognizedClientException', 400, 'key_access_denied'],
  ['ThrottlingException', 400, 'key_backend_unavailable'],
  ['KMSInternalException', 500, 'key_backend_unavailable'],
  ['DependencyTimeoutException', 500, 'key_backend_unavailable'],
  ['NeverHeardOfException', 400, 'key_backend_unavailable'],
]
for (const [type, status, code] of FAULTS) {
  test(`${type} of KMS is ${code}, and costs the exit code 7`, async () => {
    await using all = await withKey('ES256', { attempts: 2 })
    all.kms.fault = ({ operation }) => operation === 'Sign' ? wrong(type, status) : undefined
    const error = await refusal({ secrets }, signMessage(all.key, message), code)
    assert.equal(error.kind, 'backend')
    assert.match(error.message, new RegExp(type))
    const again = all.provider.open(all.uri)
    all.kms.fault = () => wrong(type, status)
    assert.equal(
      (await refusal({ secrets }, again.then(() => all.provider.open(all.uri)), code)).code,
      code,
    )
  })
}

test('throttling, a dropped line and a fault within KMS are got over', async () => {
  await using all = await withKey()
  const faults = [wrong('ThrottlingException'), 'drop', wrong('KMSInternalException', 500)] as const
  for (const fault of faults) {
    let left = 2
    const before = all.signs()
    all.kms.fault = ({ operation }) => operation === 'Sign' && left-- > 0 ? fault : undefined
    assert.ok(await all.key.publicKey.verify(message, await signMessage(all.key, message)))
    assert.equal(all.signs() - before, 3)
  }
})

test('what waiting does not cure is asked for once', async () => {
  await using all = await withKey()
  for (const type of ['AccessDeniedException', 'DisabledException', 'ValidationException']) {
    const before = all.signs()
    all.kms.fault = ({ operation }) => operation === 'Sign' ? wrong(type) : undefined
    await refusal(
      { secrets },
      signMessage(all.key, message),
      'key_access_denied',
      'key_disabled',
      'key_usage',
    )
    assert.equal(all.signs() - before, 1)
  }
})

test('KMS that is not there, or does not answer, is an error of the backend in bounded time', async () => {
  const nowhere = parseKeyUri('awskms:key-id=alias/a;region=eu-west-1;endpoint=http://127.0.0.1:1')
  const provider = awsKmsKeys({ credentials, attempts: 2 })
  await refusal({ secrets }, provider.open(nowhere), 'key_backend_unavailable')
  await using all = await withKey('ES256', { attempts: 2, timeout: 200 })
  all.kms.fault = () => pause(2_000)
  const start = performance.now()
  await refusal({ secrets }, signMessage(all.key, message), 'key_backend_unavailable')
  assert.ok(performance.now() - start < 1_900)
})

test('a call under way is cancelled at once', async () => {
  await using all = await withKey()
  all.kms.fault = () => pause(1_500)
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 50)
  const start = performance.now()
  const options = { signal: controller.signal }
  await refusal({ secrets }, signMessage(all.key, message, options), 'aborted')
  await refusal({ secrets }, all.provider.open(all.uri, options), 'aborted')
  assert.ok(performance.now() - start < 1_000)
})

test('garbage for an answer never leaves as a signature', async () => {
  await using all = await withKey()
  const bogus: readonly Record<string, unknown>[] = [
    { Signature: undefined },
    { Signature: '' },
    { Signature: 'AAAA' },
    { Signature: 'MAYCAQECAQE=' }, // DER of r = s = 1
    { KeyId: 'arn:aws:kms:eu-west-1:111122223333:key/another' },
    { SigningAlgorithm: 'ECDSA_SHA_384' },
    { KeyId: undefined, SigningAlgorithm: 7 },
  ]
  for (const part of bogus) {
    all.kms.alter = (call, answer) => call.operation === 'Sign' ? { ...answer, ...part } : answer
    await refusal({ secrets }, signMessage(all.key, message), 'key_backend_unavailable')
  }
  all.kms.alter = (_, answer) => answer
  all.kms.fault = () => ({ status: 200, body: ['<html>'] })
  await refusal({ secrets }, signMessage(all.key, message), 'key_backend_unavailable')
})

test('a public key that is not of the kind that KMS claims is refused on opening', async () => {
  await using all = await withKey()
  const bogus: readonly (readonly [Record<string, unknown>, ErrorCode])[] = [
    [{ KeySpec: 'ECC_NIST_EDWARDS25519' }, 'key_backend_unavailable'],
    [{ KeySpec: undefined }, 'key_backend_unavailable'],
    [{ PublicKey: undefined }, 'key_backend_unavailable'],
    [{ PublicKey: 'AAAA' }, 'der_malformed'],
    [{ KeyUsage: 'ENCRYPT_DECRYPT' }, 'key_usage'],
    [{ SigningAlgorithms: [] }, 'algorithm_unsupported'],
    [{ KeyId: '' }, 'key_backend_unavailable'],
  ]
  for (const [part, code] of bogus) {
    all.kms.alter = (_, answer) => ({ ...answer, ...part })
    await refusal({ secrets }, all.provider.open(all.uri), code)
  }
})

test('an alias that is pointed elsewhere does not change the key that is open', async () => {
  await using all = await withKey()
  await signMessage(all.key, message)
  const { body } = all.kms.calls.find(({ operation }) => operation === 'Sign')!
  assert.match(String(body.KeyId), /^arn:aws:kms:/)
})

test('ML-DSA signs long messages by mu, Ed25519 names the way out', async () => {
  const long = new Uint8Array(100_000)
  {
    await using all = await withKey('ML-DSA-65')
    assert.ok(await all.key.publicKey.verify(long, await signMessage(all.key, long)))
    const { body } = all.kms.calls.findLast(({ operation }) => operation === 'Sign')!
    assert.equal(body.MessageType, 'EXTERNAL_MU')
  }
  await using all = await withKey('Ed25519')
  const error = await refusal({ secrets }, signMessage(all.key, long), 'too_large')
  assert.match(error.remedy ?? '', /composite/)
})

test('a new key whose alias is taken meanwhile is scheduled for deletion', async () => {
  await using all = await withKey()
  let hidden = true
  all.kms.fault = ({ operation }) => {
    const fault = hidden && operation === 'DescribeKey' ? wrong('NotFoundException') : undefined
    if (operation === 'DescribeKey') hidden = false
    return fault
  }
  await refusal({ secrets }, all.provider.generate(all.uri, ALGORITHMS.ES256), 'file_exists')
  assert.equal(all.kms.calls.at(-1)!.operation, 'ScheduleKeyDeletion')
  const byId = parseKeyUri(all.uri.text.replace('alias/key', '1234'))
  await refusal({ secrets }, all.provider.generate(byId, ALGORITHMS.ES256), 'usage_invalid')
})

test('both forms of the URI reach the same key', async () => {
  await using all = await withKey()
  const slashed = all.kms.endpoint.replace('http:', 'awskms:') + '/alias/key?region=eu-west-1'
  const key = await all.provider.open(parseKeyUri(slashed))
  assert.equal(key.publicKey.id, all.key.publicKey.id)
})

test('list() finds what signs in a region, page by page, and leaves out what does not', async () => {
  const double = await kmsDouble()
  try {
    const provider = awsKmsKeys({ credentials, attempts: 1 })
    const place = `region=eu-west-1;endpoint=${double.endpoint}`
    const at = (alias: string) => parseKeyUri(`awskms:key-id=alias/${alias};${place}`)
    const made = []
    for (const name of ['ES256', 'Ed25519', 'ML-DSA-65', 'ES384', 'ES512'] as const) {
      const key = await provider.generate(at(name), ALGORITHMS[name])
      made.push({ label: `alias/${name}`, id: key.publicKey.id })
      await key.close()
    }
    await (await provider.generateKek(at('kek'))).close()
    const region = parseKeyUri(`awskms:${place}`)
    const all = await provider.list!(region)
    assert.deepEqual(
      all.map(({ label, publicKey }) => ({ label, id: publicKey?.id })),
      made,
    )
    for (const { uri, publicKey } of all) {
      const opened = await provider.open(parseKeyUri(uri))
      assert.equal(opened.publicKey.id, publicKey?.id)
      await opened.close()
    }
    const one = await provider.list!(at('ES384'))
    assert.deepEqual(one.map(({ label }) => label), ['alias/ES384'])
    await refusal({ secrets }, provider.list!(at('none')), 'key_not_found')

    // Without the right to see aliases keys go by their ARN; a key that may not be seen is left out.
    const hidden = all[0]!.id
    double.fault = ({ operation, body }) =>
      operation === 'ListAliases' || (operation === 'GetPublicKey' && body.KeyId === hidden)
        ? wrong('AccessDeniedException')
        : undefined
    const partly = await provider.list!(region)
    assert.deepEqual(
      partly.map(({ label, id }) => [label, id]),
      all.slice(1).map(({ id }) => ['', id]),
    )
    const opened = await provider.open(parseKeyUri(partly[0]!.uri))
    assert.equal(opened.publicKey.id, made[1]!.id)
    await opened.close()
    double.fault = ({ operation }) =>
      operation === 'ListKeys' ? wrong('AccessDeniedException') : undefined
    await refusal({ secrets }, provider.list!(region), 'key_access_denied')
    double.fault = () => undefined
    for (const Keys of [undefined, 'x', [{}], [{ KeyId: 7 }]]) {
      double.alter = ({ operation }, answer) =>
        operation === 'ListKeys' ? { ...answer, Keys } : answer
      await refusal({ secrets }, provider.list!(region), 'key_backend_unavailable')
    }
    double.alter = ({ operation }, answer) =>
      operation === 'ListKeys' ? { Keys: [], Truncated: true } : answer
    await refusal({ secrets }, provider.list!(region), 'key_backend_unavailable')
  } finally {
    await double.close()
  }
})

for (const emulator of [MINISTACK, MOTO]) {
  const skip = lacking(emulator) ?? false
  test(`list() on ${emulator.name}`, { skip }, async () => {
    const { endpoint, stop } = await run(emulator)
    try {
      const provider = awsKmsKeys({ credentials })
      const place = `region=eu-west-1;endpoint=${endpoint}`
      const uri = parseKeyUri(`awskms:key-id=alias/listed;${place}`)
      const key = await provider.generate(uri, ALGORITHMS.ES256)
      const found = (await provider.list!(parseKeyUri(`awskms:${place}`)))
        .find(({ label }) => label === 'alias/listed')
      assert.equal(found?.publicKey?.id, key.publicKey.id)
      await key.close()
    } finally {
      await stop()
    }
  })
}
