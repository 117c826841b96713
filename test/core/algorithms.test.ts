import assert from 'node:assert/strict'
import { test } from 'node:test'
import { algorithm, ALGORITHMS } from '../../src/algorithms.ts'
import { toHex, utf8 } from '../../src/bytes.ts'
import { DIGEST_BYTES, type DigestAlgorithm, portableHasher } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'

test('algorithm() knows the names of the table and no others', () => {
  const others = [
    ...['', 'none', 'ed25519', 'EdDSA', 'HS256', 'ES256K', 'RS1', 'ML-DSA-65 ', 'es256'],
    ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'],
  ]
  for (const name of others) {
    assert.throws(() => algorithm(name), { code: 'algorithm_unsupported' }, name)
  }
  for (const [name, entry] of Object.entries(ALGORITHMS)) {
    assert.equal(entry.name, name)
    assert.equal(algorithm(name), entry)
  }
})

test('algorithm() shows a hostile name short and harmless', () => {
  const name = '\u001b[2J' + 'x'.repeat(1e6)
  assert.throws(() => algorithm(name), (error) => {
    assert.ok(isSignetError(error, 'algorithm_unsupported'))
    return error.message.length < 200 && /^[\x20-\x7e…]*$/.test(error.message)
  })
})

test('nobody changes the table of algorithms', () => {
  const entry = ALGORITHMS['Ed25519']
  const targets: readonly [object, string][] = [
    [ALGORITHMS, 'Ed25519'],
    [ALGORITHMS, 'none'],
    [entry, 'family'],
    [entry, 'hash'],
    [entry.jwk, 'crv'],
    [entry.webcrypto, 'name'],
    [entry.modes, '0'],
    [ALGORITHMS['ES256'].parameters, '0'],
  ]
  for (const [target, name] of targets) {
    assert.throws(() => Object.assign(target, { [name]: 'changed' }), TypeError, name)
  }
})

test('portableHasher() knows three digests and no others', async () => {
  const digests: Readonly<Record<DigestAlgorithm, string>> = {
    sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    blake2b: 'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
      '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923',
    blake3: '6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85',
  }
  for (const [name, digest] of Object.entries(digests) as [DigestAlgorithm, string][]) {
    const hasher = await portableHasher(name)
    hasher.update(utf8('a'))
    hasher.update(utf8('bc'))
    const bytes = hasher.digest()
    assert.equal(toHex(bytes), digest)
    assert.equal(bytes.length, DIGEST_BYTES[name])
  }
  for (const name of ['md5', 'SHA256', '', '__proto__', 'constructor', 'toString']) {
    const hasher = Promise.resolve(portableHasher(name as DigestAlgorithm))
    await assert.rejects(hasher, { code: 'algorithm_unsupported' }, name)
  }
})
