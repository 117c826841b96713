/** Key handles, key URIs and keyrings: what a backend may do to its users, and what they may ask. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, type SigningMode } from '../../src/algorithms.ts'
import { type Bytes, utf8 } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'
import {
  abortable,
  generateKey,
  type Key,
  keyOf,
  keyring,
  type KeySigner,
  memoryKeys,
  parseKeyUri,
  publicKey,
  signMessage,
  uriAttributes,
} from '../../src/keys/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'

const ES256 = ALGORITHMS['ES256']
const message = utf8('message')
const input = { mode: 'message', bytes: message } as const

/** A key over a signer that misbehaves in one way. */
async function keyWith(signer: Partial<KeySigner>): Promise<Key> {
  const good = await generateKey(ES256, { engine: 'noble' })
  return keyOf(good.publicKey, {
    modes: good.modes,
    sign: (...args) => good.sign(...args),
    ...signer,
  })
}

test('signMessage() gives out no signature that the public key refuses', async () => {
  const other = await generateKey(ES256)
  const answers: Readonly<Record<string, KeySigner['sign']>> = {
    'another key': (input) => other.sign(input),
    'garbage': () => Promise.resolve(crypto.getRandomValues(new Uint8Array(64))),
    'nothing': () => Promise.resolve(new Uint8Array()),
    'half': async (input) => (await other.sign(input)).slice(32),
    'no bytes': () => Promise.resolve(undefined as unknown as Bytes),
    'a text': () => Promise.resolve('signature' as unknown as Bytes),
    'DER': () => Promise.resolve(Uint8Array.of(0x30, 6, 2, 1, 1, 2, 1, 1)),
  }
  for (const [name, sign] of Object.entries(answers)) {
    const key = await keyWith({ sign })
    await assert.rejects(signMessage(key, message), { code: 'key_backend_unavailable' }, name)
  }
})

test('signMessage() serves keys that see a digest or mu alone, and refuses those without a mode', async () => {
  const seen: string[] = []
  const only = async (name: 'ES256' | 'ML-DSA-65', mode: SigningMode) => {
    const good = await generateKey(ALGORITHMS[name], { engine: 'noble' })
    return keyOf(good.publicKey, {
      modes: [mode],
      sign: (given, options) => {
        seen.push(`${given.mode} ${given.bytes.length}`)
        return good.sign(given, options)
      },
    })
  }
  for (const [name, mode] of [['ES256', 'digest'], ['ML-DSA-65', 'external-mu']] as const) {
    const key = await only(name, mode)
    assert.ok(await key.publicKey.verify(message, await signMessage(key, message)))
  }
  assert.deepEqual(seen, ['digest 32', 'external-mu 64'])
  for (const [name, mode] of [['ES256', 'external-mu'], ['ML-DSA-65', 'digest']] as const) {
    await assert.rejects(signMessage(await only(name, mode), message), { code: 'mode_unsupported' })
  }
})

test('what a signer throws becomes one error with a code', async () => {
  const faults: readonly unknown[] = [
    new Error('CKR_DEVICE_ERROR'),
    new TypeError('fetch failed'),
    new RangeError('memory'),
    'a text',
    undefined,
    null,
  ]
  for (const fault of faults) {
    const key = await keyWith({ sign: () => Promise.reject(fault) })
    await assert.rejects(key.sign(input), { code: 'key_backend_unavailable' }, String(fault))
    const sudden = await keyWith({
      sign: () => {
        throw fault
      },
    })
    await assert.rejects(sudden.sign(input), { code: 'key_backend_unavailable' }, String(fault))
  }
  const own = new SignetError('too_large', 'more than 4096 bytes')
  const key = await keyWith({ sign: () => Promise.reject(own) })
  await assert.rejects(key.sign(input), own)
})

test('a key answers an abort at once, even if its store does not', async () => {
  const key = await keyWith({ sign: () => new Promise(() => {}) })
  const abort = new AbortController()
  const signing = key.sign(input, { signal: abort.signal })
  abort.abort(new Error('enough'))
  const error = await refusal({}, signing, 'aborted')
  assert.equal((error.cause as Error).message, 'enough')
})

test('a store that ends early in its own words is aborted, or closed', async () => {
  const abort = new AbortController()
  const stopped = await keyWith({
    sign: (_, { signal }) =>
      new Promise((_, reject) => {
        signal!.addEventListener('abort', () => reject(new DOMException('stop', 'AbortError')))
      }),
  })
  const signing = stopped.sign(input, { signal: abort.signal })
  abort.abort()
  await assert.rejects(signing, { code: 'aborted' })

  let end = (_: Error) => {}
  const key = await keyWith({
    sign: () => new Promise((_, reject) => void (end = reject)),
    close: () => end(new Error('CKR_SESSION_CLOSED')),
  })
  const pending = key.sign(input)
  await Promise.all([key.close(), assert.rejects(pending, { code: 'key_closed' })])
})

test('a signer is closed once, and asked for nothing that it does not declare', async () => {
  let [closed, asked] = [0, 0]
  const key = await keyWith({
    modes: ['digest'],
    sign: () => Promise.resolve((asked++, new Uint8Array(64))),
    close: () => void closed++,
  })
  await assert.rejects(key.sign(input), { code: 'mode_unsupported' })
  for (const mode of ['constructor', '__proto__', '', undefined]) {
    const odd = { mode: mode as 'message', bytes: message }
    await assert.rejects(key.sign(odd), { code: 'mode_unsupported' })
  }
  await assert.rejects(key.sign({ mode: 'digest', bytes: message }), { code: 'digest_malformed' })
  await assert.rejects(
    key.sign({ mode: 'digest', bytes: new Uint8Array(32) }, { signal: AbortSignal.abort() }),
    { code: 'aborted' },
  )
  assert.equal(asked, 0)
  await Promise.all([key.close(), key.close()])
  await key.close()
  assert.equal(closed, 1)
  await assert.rejects(key.sign({ mode: 'digest', bytes: new Uint8Array(32) }), {
    code: 'key_closed',
  })
})

test('a key cannot be changed, nor the modes that it declares', async () => {
  const modes: ('message' | 'digest')[] = ['message']
  const key = await keyWith({ modes })
  modes.push('digest')
  assert.deepEqual(key.modes, ['message'])
  assert.throws(() => (key.modes as string[]).push('digest'), TypeError)
  assert.throws(() => Object.assign(key, { sign: () => {} }), TypeError)
})

test('abortable() keeps no listener behind', async () => {
  const abort = new AbortController()
  let count = 0
  const { signal } = abort
  const counting = new Proxy(signal, {
    get(target, name) {
      if (name === 'addEventListener') count++
      if (name === 'removeEventListener') count--
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  assert.equal(await abortable(Promise.resolve(1), counting), 1)
  await assert.rejects(abortable(Promise.reject(new Error('no')), counting), /no/)
  await Promise.resolve()
  assert.equal(count, 0)
  assert.equal(await abortable(Promise.resolve(2), undefined), 2)
  await assert.rejects(abortable(Promise.resolve(3), AbortSignal.abort()), { code: 'aborted' })
})

test('parseKeyUri() refuses what is no URI', () => {
  for (const text of ['', 'file:a\nb', 'file:a\u0000', '\u001b[31m', 'x'.repeat(4097), 'a\u007f']) {
    assert.throws(
      () => parseKeyUri(text),
      { code: 'uri_malformed' },
      JSON.stringify(text.slice(0, 20)),
    )
  }
})

test('parseKeyUri() tells schemes from paths', () => {
  const cases: Readonly<Record<string, readonly [string, string]>> = {
    'key.pem': ['file', 'key.pem'],
    './pkcs11:x': ['file', './pkcs11:x'],
    'C:\\keys\\a.pem': ['file', 'C:\\keys\\a.pem'],
    'c:/keys/a.pem': ['file', 'c:/keys/a.pem'],
    '/a:b': ['file', '/a:b'],
    'file:key.pem': ['file', 'key.pem'],
    'FILE:///key.pem': ['file', '///key.pem'],
    'PKCS11:token=a%20b;object=c?pin-source=file:x': [
      'pkcs11',
      'token=a%20b;object=c?pin-source=file:x',
    ],
    'memory:': ['memory', ''],
    'a b:c': ['file', 'a b:c'],
    ':x': ['file', ':x'],
    '1a:x': ['file', '1a:x'],
  }
  for (const [text, [scheme, rest]] of Object.entries(cases)) {
    assert.deepEqual(parseKeyUri(text), { text, scheme, rest })
  }
})

test('uriAttributes() refuses what it does not know, what stands twice, and shows no value', () => {
  const known = ['token', 'object', 'pin-value']
  const read = (rest: string) => uriAttributes(parseKeyUri(`pkcs11:${rest}`), known)
  const wrong = [
    'tokem=a',
    'token',
    'token=a;token=b',
    'token=a?token=b',
    'token=a?pin-value=1?pin-value=2',
    'token=%zz',
    'token=%ff',
    '=a',
    'Token=a',
    '__proto__=a',
    'constructor=a',
    '%74oken=a',
    'token=a?31337',
    'token=a;31337',
    'token=a?pin-value=31337&pin-value=31337',
    'token=a?pin-valu=31337',
  ]
  for (const rest of wrong) {
    assert.throws(() => read(rest), (error) => {
      assert.ok(error instanceof SignetError && error.code === 'uri_malformed', rest)
      assert.ok(!`${error.message}${error.remedy}`.includes('31337'), rest)
      return true
    }, rest)
  }
})

test('uriAttributes() reads the path and the query', () => {
  const uri = parseKeyUri('pkcs11:token=a%20b;object=c%3Bd;?pin-value=1%2623=4&')
  const attributes = uriAttributes(uri, ['token', 'object', 'pin-value'])
  assert.deepEqual([...attributes], [['token', 'a b'], ['object', 'c;d'], ['pin-value', '1&23=4']])
  assert.deepEqual([...uriAttributes(parseKeyUri('awskms:'), [])], [])
})

test('keyring() asks the provider of the scheme, and knows no other', async () => {
  const memory = memoryKeys()
  const ring = keyring(memory)
  const key = await memory.generate(parseKeyUri('memory:mine'), ES256)
  assert.equal((await ring.open('MEMORY:mine')).publicKey.id, key.publicKey.id)
  assert.equal(ring.provider('memory:x').provider, memory)
  for (const uri of ['pkcs11:token=a?pin-value=31337', 'key.pem', '__proto__:x', 'constructor:x']) {
    await refusal({ secrets: ['31337'] }, ring.open(uri), 'uri_malformed')
    assert.throws(() => ring.provider(uri), { code: 'uri_malformed' })
  }
})

test('publicKey() refuses what is no key, and verify() is false for what is no signature', async () => {
  for (
    const raw of [new Uint8Array(), new Uint8Array(64), new Uint8Array(65), new Uint8Array(66)]
  ) {
    await assert.rejects(publicKey(ES256, raw), { code: 'key_malformed' })
  }
  const { publicKey: key } = await generateKey(ES256)
  for (
    const signature of [
      new Uint8Array(),
      new Uint8Array(63),
      new Uint8Array(64),
      new Uint8Array(72),
    ]
  ) {
    assert.equal(await key.verify(message, signature), false)
  }
})
