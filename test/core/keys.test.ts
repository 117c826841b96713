import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { toHex, utf8 } from '../../src/bytes.ts'
import {
  fromJwk,
  generateKey,
  insecureToClearPem,
  readPrivateKey,
  readPublicKeys,
  signMessage,
  toEncryptedPem,
  toJwk,
  toPublicPem,
} from '../../src/keys/mod.ts'
import { generateRaw } from '../../src/crypto/mod.ts'

const message = utf8('message')

for (const algorithm of Object.values(ALGORITHMS)) {
  for (const engine of algorithm.family === 'rsa' ? [undefined] : [undefined, 'noble'] as const) {
    const name = `${algorithm.name} (${engine ?? 'chosen engine'})`

    test(`${name}: a signature verifies, an altered one and an altered message do not`, async () => {
      const key = await generateKey(algorithm, { engine })
      const signature = await signMessage(key, message)
      assert.ok(await key.publicKey.verify(message, signature))
      for (const at of [0, signature.length >> 1, signature.length - 1]) {
        const wrong = signature.slice()
        wrong[at]! ^= 1
        assert.equal(await key.publicKey.verify(message, wrong), false, `byte ${at}`)
      }
      assert.equal(await key.publicKey.verify(utf8('massage'), signature), false)
      assert.equal(await key.publicKey.verify(message, signature.subarray(1)), false)
      assert.equal(await key.publicKey.verify(message, new Uint8Array()), false)
    })
  }

  test(`${algorithm.name}: PEM, encrypted PEM and JWK carry the same key`, async () => {
    const pair = await generateRaw(algorithm)
    const cost = { N: 2, r: 1, p: 1 }
    const clear = insecureToClearPem(algorithm, pair)
    const encrypted = await toEncryptedPem(algorithm, pair, 'correct horse', { cost })
    const jwk = JSON.stringify(toJwk(algorithm, pair))
    const rsa = algorithm.name === 'PS256' ? 'PS256' : 'RS256'
    const keys = await Promise.all([
      readPrivateKey(clear, { insecureClearKey: true, rsa }),
      readPrivateKey(encrypted, { passphrase: () => 'correct horse', rsa }),
      readPrivateKey(jwk, { insecureClearKey: true }),
    ])
    const [published] = await readPublicKeys(toPublicPem(keys[0]!.publicKey), { rsa })
    for (const key of keys) {
      assert.equal(key.publicKey.id, published!.id)
      assert.ok(await published!.verify(message, await signMessage(key, message)))
    }
    assert.equal(toHex(fromJwk(toJwk(algorithm, pair)).publicKey), toHex(pair.publicKey))
    await assert.rejects(readPublicKeys(jwk), { code: 'key_malformed' })
    await assert.rejects(readPrivateKey(clear), { code: 'usage_invalid' })
  })
}

test('readPrivateKey() takes the EC and RSA files that OpenSSL wrote before PKCS#8', async () => {
  // openssl ecparam -name prime256v1 -genkey
  const sec1 = `-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIJpWYD+2N0VAzVZf9xJk9ANxNFp+M5nS9QEbCu1NtnzSoAoGCCqGSM49
AwEHoUQDQgAElFLS+UnbAR/NbHfFaqzrICYnQ/RsEZCaamsdxQaNOiUppUHEfjUK
uBP1/y3GvxHTLC7emSadD/kRskIMFRCS/A==
-----END EC PRIVATE KEY-----`
  const key = await readPrivateKey(sec1, { insecureClearKey: true })
  assert.equal(key.publicKey.algorithm.name, 'ES256')
  assert.ok(await key.publicKey.verify(message, await signMessage(key, message)))
})
