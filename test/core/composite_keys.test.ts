import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AlgorithmName, ALGORITHMS, type SigningMode } from '../../src/algorithms.ts'
import { type Bytes, fromUtf8, toHex, utf8 } from '../../src/bytes.ts'
import { rawVerifier } from '../../src/crypto/mod.ts'
import { SignetError } from '../../src/errors.ts'
import {
  compositeKey,
  compositeKeys,
  generateKey,
  type Kek,
  type KeyProvider,
  type Keyring,
  keyring,
  memoryKek,
  memoryKeys,
  parseKeyUri,
  signMessage,
  unwrapKey,
  wrappedKeys,
} from '../../src/keys/mod.ts'
import { keyProviderSuite, refusal } from '../suites/key_provider_suite.ts'

const COMPOSITE: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>> = {
  'ML-DSA-65-Ed25519': ['message', 'digest'],
}
const encode = encodeURIComponent

keyProviderSuite({
  name: 'compositeKeys() over keys in memory',
  algorithms: COMPOSITE,
  parallel: 20,
  malformedUris: [
    'composite:',
    'composite:ml-dsa=memory%3Aa',
    'composite:ml-dsa=memory%3Aa;ed25519=memory%3Aa',
    'composite:ml-dsa=memory%3Aa;ed25519=',
    'composite:ml-dsa=memory%3Aa;ed448=memory%3Ab',
    'composite:ml-dsa=memory%3Aa;ed25519=composite%3Aml-dsa%3Da%3Bed25519%3Db',
  ],
  fixture() {
    const ring = keyring(memoryKeys({ engine: 'noble' }))
    return Promise.resolve({
      provider: compositeKeys(ring),
      uri: (label) =>
        `composite:ml-dsa=${encode(`memory:${label}-pq`)};ed25519=${encode(`memory:${label}-ed`)}`,
    })
  },
})

const WRAPPED: Readonly<Partial<Record<AlgorithmName, readonly SigningMode[]>>> = {
  'ML-DSA-44': ['message', 'external-mu'],
  'ML-DSA-65': ['message', 'external-mu'],
}

/** Wrapped keys over files and a kek in memory. */
function wrapped() {
  const files = new Map<string, Uint8Array>()
  const keks = new Map<string, Kek>()
  const provider: KeyProvider = wrappedKeys({
    async openKek(uri) {
      let kek = keks.get(uri)
      if (kek === undefined) keks.set(uri, kek = await memoryKek(uri))
      return { ...kek, close: () => Promise.resolve() }
    },
  }, {
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async readFile(path) {
      const bytes = files.get(path)
      if (bytes === undefined) throw new SignetError('key_not_found', 'there is no such file')
      return bytes
    },
    // deno-lint-ignore require-await -- a fault must reject, not throw
    async writeNew(path, bytes) {
      if (files.has(path)) throw new SignetError('file_exists', 'there is such a file')
      files.set(path, bytes)
    },
  })
  return { files, keks, provider }
}

keyProviderSuite({
  name: 'wrappedKeys() over a kek in memory',
  algorithms: WRAPPED,
  // RSA's private keys are longer than a kek takes, and P-521's are no multiple of 8 octets.
  generates: (Object.keys(ALGORITHMS) as AlgorithmName[]).filter((name) =>
    !['RS256', 'PS256', 'ES512'].includes(name)
  ),
  parallel: 20,
  malformedUris: ['wrapped:', 'wrapped:file=a', 'wrapped:kek=a', 'wrapped:file=a;kek=b;file=c'],
  fixture: () =>
    Promise.resolve({
      provider: wrapped().provider,
      uri: (label: string) => `wrapped:file=${label};kek=kek`,
    }),
})

test('what halves in two stores sign is one composite signature, and neither half alone', async () => {
  const mlDsa = await generateKey(ALGORITHMS['ML-DSA-65'], { engine: 'noble' })
  const ed25519 = await generateKey(ALGORITHMS.Ed25519)
  const key = await compositeKey(mlDsa, ed25519)
  const message = utf8('message')
  const signature = await signMessage(key, message)
  const verify = await rawVerifier(ALGORITHMS['ML-DSA-65-Ed25519'], key.publicKey.raw)
  assert.ok(await verify({ mode: 'message', bytes: message }, signature))
  const parts = [signature.slice(0, 3309), signature.slice(3309)] as const
  assert.equal(await mlDsa.publicKey.verify(message, parts[0]), false)
  assert.equal(await ed25519.publicKey.verify(message, parts[1]), false)
  const other = await generateKey(ALGORITHMS.Ed25519)
  const stripped = await compositeKey(mlDsa, other)
  assert.equal(await stripped.publicKey.verify(message, signature), false)
})

test('a half of the wrong algorithm, and one that signs no mu, make no composite', async () => {
  const mlDsa = await generateKey(ALGORITHMS['ML-DSA-65'], { engine: 'noble' })
  const ed25519 = await generateKey(ALGORITHMS.Ed25519)
  await refusal({}, compositeKey(ed25519, mlDsa), 'algorithm_mismatch')
  await refusal({}, compositeKey(mlDsa, mlDsa), 'algorithm_mismatch')
  const blunt = { ...mlDsa, modes: ['message'] as const }
  await refusal({}, compositeKey(blunt, ed25519), 'mode_unsupported')
})

test('a half that answers wrongly is found out, a half that fails closes the other', async () => {
  const mlDsa = await generateKey(ALGORITHMS['ML-DSA-65'], { engine: 'noble' })
  const ed25519 = await generateKey(ALGORITHMS.Ed25519)
  const garbage = { ...mlDsa, sign: () => Promise.resolve(new Uint8Array(3309) as Bytes) }
  const key = await compositeKey(garbage, ed25519)
  await refusal({}, signMessage(key, utf8('message')), 'key_backend_unavailable')
  let closed = 0
  const ring: Keyring = {
    ...keyring(memoryKeys()),
    open: (uri) =>
      uri === 'memory:a'
        ? Promise.resolve({ ...mlDsa, close: () => Promise.resolve(void closed++) })
        : Promise.reject(new SignetError('key_not_found', 'no such key')),
  }
  const uri = parseKeyUri('composite:ml-dsa=memory%3Aa;ed25519=memory%3Ab')
  await refusal({}, compositeKeys(ring).open(uri), 'key_not_found')
  assert.equal(closed, 1)
})

test('a wrapped seed opens under its kek alone, and as nothing else', async () => {
  const { provider, files, keks } = wrapped()
  const uri = parseKeyUri('wrapped:file=a;kek=right')
  const key = await provider.generate(uri, ALGORITHMS['ML-DSA-65-Ed25519'])
  const message = utf8('message')
  const again = await provider.open(uri)
  assert.ok(await key.publicKey.verify(message, await signMessage(again, message)))
  const bytes = files.get('a')!
  await refusal({}, provider.open(parseKeyUri('wrapped:file=a;kek=wrong')), 'key_mismatch')
  const file = JSON.parse(fromUtf8(bytes))
  const another = await generateKey(ALGORITHMS['ML-DSA-65-Ed25519'])
  const bent = [
    { ...file, jwk: another.publicKey.jwk },
    { ...file, wrapped: file.wrapped.replace(/^./, (one: string) => one === 'A' ? 'B' : 'A') },
    { ...file, format: 'signet-wrapped-key-v2' },
    { ...file, extra: '' },
    { ...file, jwk: { ...file.jwk, priv: 'AAAA' } },
  ]
  for (const one of bent) {
    const opening = unwrapKey(utf8(JSON.stringify(one)), keks.get('right')!)
    await refusal({}, opening, 'key_mismatch', 'key_malformed', 'jwk_malformed')
  }
  assert.ok(!fromUtf8(bytes).includes('priv'))
  assert.equal(toHex(key.publicKey.raw), toHex(again.publicKey.raw))
})
