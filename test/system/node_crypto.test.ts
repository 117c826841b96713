import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeHasher, nodeScrypt } from '../../backends/node_crypto.ts'
import { toHex, utf8 } from '../../src/bytes.ts'
import { DIGEST_BYTES, type DigestAlgorithm, portableHasher } from '../../src/crypto/mod.ts'
import { isSignetError } from '../../src/errors.ts'

test('nodeScrypt() refuses parameters that are none', async () => {
  const good = { N: 1024, r: 8, p: 1, length: 32 }
  for (
    const bad of [{ N: 1000 }, { N: 1 }, { N: 0 }, { N: -2 }, { N: 1.5 }, { r: 0 }, { p: 0 }, {
      length: -1,
    }, {
      N: 2 ** 53,
    }]
  ) {
    await assert.rejects(
      nodeScrypt(utf8('p'), utf8('s'), { ...good, ...bad }),
      (error) => isSignetError(error, 'kdf_refused'),
      JSON.stringify(bad),
    )
  }
})

test('nodeScrypt() gives the keys of RFC 7914 §12', async () => {
  const vectors = [
    ['', '', 16, 1, 1, '77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442'],
    [
      'password',
      'NaCl',
      1024,
      8,
      16,
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162',
    ],
    [
      'pleaseletmein',
      'SodiumChloride',
      16384,
      8,
      1,
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2',
    ],
  ] as const
  for (const [password, salt, N, r, p, start] of vectors) {
    const key = await nodeScrypt(utf8(password), utf8(salt), { N, r, p, length: 64 })
    assert.equal(key.length, 64)
    assert.equal(toHex(key.subarray(0, 32)), start)
  }
})

test('nodeScrypt() takes the memory that strong parameters need', async () => {
  const key = await nodeScrypt(utf8('p'), utf8('s'), { N: 2 ** 17, r: 8, p: 1, length: 32 })
  assert.equal(key.length, 32)
})

test('nodeHasher gives what the portable hasher gives, in any pieces', async () => {
  const bytes = new Uint8Array(100_003).map((_, i) => i * 7 + (i >> 8))
  for (const algorithm of Object.keys(DIGEST_BYTES) as DigestAlgorithm[]) {
    const digests = new Set<string>()
    for (const make of [nodeHasher, portableHasher]) {
      for (const piece of [1 << 20, 4096, 1021]) {
        const hash = await make(algorithm)
        for (let at = 0; at < bytes.length; at += piece) hash.update(bytes.subarray(at, at + piece))
        const digest = hash.digest()
        assert.equal(digest.length, DIGEST_BYTES[algorithm])
        digests.add(toHex(digest))
      }
    }
    assert.equal(digests.size, 1, algorithm)
  }
})
