/** Encrypted PKCS#8: what a hostile key file may not do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, concat, toHex, utf8 } from '../../src/bytes.ts'
import { der, derInteger, derOid, generateRaw, TAG } from '../../src/crypto/mod.ts'
import { SignetError } from '../../src/errors.ts'
import {
  decryptPkcs8,
  encryptPkcs8,
  fromPem,
  readPrivateKey,
  type Scrypt,
  toEncryptedPem,
  toPem,
} from '../../src/keys/mod.ts'
import { refusal } from '../suites/key_provider_suite.ts'

const PASSPHRASE = 'correct horse battery staple'
const SECRET = utf8('what is encrypted here')
const cost = { N: 4, r: 1, p: 1 }

const number = (value: number) => {
  const bytes: number[] = []
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return derInteger(Uint8Array.from(bytes.length === 0 ? [0] : bytes))
}
const sequence = (...parts: Uint8Array[]) => der(TAG.sequence, ...parts)
const octets = (bytes: Uint8Array) => der(TAG.octetString, bytes)
const NULL = der(TAG.null)
const OID = {
  pbes2: derOid('1.2.840.113549.1.5.13'),
  pbkdf2: derOid('1.2.840.113549.1.5.12'),
  scrypt: derOid('1.3.6.1.4.1.11591.4.11'),
  sha1: derOid('1.2.840.113549.2.7'),
  sha256: derOid('1.2.840.113549.2.9'),
  sha512: derOid('1.2.840.113549.2.11'),
  md5: derOid('1.2.840.113549.2.6'),
  aes128: derOid('2.16.840.1.101.3.4.1.2'),
  aes256: derOid('2.16.840.1.101.3.4.1.42'),
  gcm256: derOid('2.16.840.1.101.3.4.1.46'),
  des: derOid('1.2.840.113549.3.7'),
}
const SALT = octets(new Uint8Array(16))
const IV = octets(new Uint8Array(16))

const scrypt = (...rest: Uint8Array[]) => sequence(OID.scrypt, sequence(SALT, ...rest))
const pbkdf2 = (...rest: Uint8Array[]) => sequence(OID.pbkdf2, sequence(SALT, ...rest))
const cheap = scrypt(number(4), number(1), number(1))
const aes256 = sequence(OID.aes256, IV)

function file(
  kdf: Uint8Array,
  cipher: Uint8Array = aes256,
  data: Uint8Array = new Uint8Array(32),
  scheme: Uint8Array = OID.pbes2,
): Bytes {
  return sequence(sequence(scheme, sequence(kdf, cipher)), octets(data))
}

/** A scrypt that must not be called. */
const never: Scrypt = () => {
  throw new Error('scrypt was called')
}

const decrypt = (bytes: Uint8Array, scrypt?: Scrypt) => decryptPkcs8(bytes, PASSPHRASE, { scrypt })

test('scrypt that asks for too much is refused before it starts', async () => {
  const costs: readonly [number, number, number][] = [
    [2 ** 24, 1, 1],
    [2 ** 20, 16, 1],
    [2 ** 14, 8, 65],
    [2, 2 ** 22, 16],
    [2, 1, 2 ** 30],
    [2 ** 47, 1, 1],
    [2 ** 33, 1, 1],
    [0, 1, 1],
    [1, 1, 1],
    [3, 1, 1],
    [2 ** 17 + 1, 8, 1],
    [1024, 0, 1],
    [1024, 1, 0],
  ]
  for (const [N, r, p] of costs) {
    const hostile = file(scrypt(number(N), number(r), number(p)))
    await assert.rejects(decrypt(hostile, never), { code: 'kdf_refused' }, `${N} ${r} ${p}`)
  }
})

test('PBKDF2 that asks for too much is refused before it starts', async () => {
  for (const rounds of [0, 20_000_001, 2 ** 31, 2 ** 47]) {
    const hostile = file(pbkdf2(number(rounds)))
    await assert.rejects(decrypt(hostile), { code: 'kdf_refused' }, String(rounds))
  }
})

test('PBKDF2 that the platform does not do is refused, not an error of its own', async () => {
  // Cloudflare's workers do no more than 100 000 rounds; workerd itself sets no limit.
  const limited = () => {
    throw new DOMException('iteration counts above 100000 are not supported', 'NotSupportedError')
  }
  Object.defineProperty(crypto.subtle, 'deriveBits', { value: limited, configurable: true })
  try {
    await assert.rejects(decrypt(file(pbkdf2(number(100_001)))), { code: 'kdf_refused' })
  } finally {
    Reflect.deleteProperty(crypto.subtle, 'deriveBits')
  }
  await assert.rejects(decrypt(file(pbkdf2(number(2)))), { code: 'passphrase_wrong' })
})

test('a scrypt that fails is refused, not an error of its own', async () => {
  const broken: Scrypt = () => Promise.reject(new RangeError('memory'))
  await assert.rejects(decrypt(file(cheap), broken), { code: 'kdf_refused' })
})

test('unknown schemes, KDFs, functions and ciphers are refused', async () => {
  const cases = {
    'another scheme': file(cheap, aes256, undefined, derOid('1.2.840.113549.1.12.1.3')),
    'another KDF': file(sequence(OID.sha256, sequence(SALT, number(1)))),
    'MD5': file(pbkdf2(number(1), sequence(OID.md5, NULL))),
    'triple DES': file(cheap, sequence(OID.des, octets(new Uint8Array(8)))),
    'AES-GCM': file(cheap, sequence(OID.gcm256, IV)),
  }
  for (const [name, bytes] of Object.entries(cases)) {
    await assert.rejects(decrypt(bytes, never), { code: 'algorithm_unsupported' }, name)
  }
})

test('structures that are not DER to the last byte are refused', async () => {
  const good = file(cheap)
  const cases = {
    'nothing': new Uint8Array(),
    'bytes behind': concat(good, Uint8Array.of(0)),
    'cut off': good.slice(0, -1),
    'an element behind the data': sequence(
      sequence(OID.pbes2, sequence(cheap, aes256)),
      octets(new Uint8Array(32)),
      NULL,
    ),
    'an element behind the scheme': sequence(
      sequence(OID.pbes2, sequence(cheap, aes256), NULL),
      octets(new Uint8Array(32)),
    ),
    'an element behind the cipher': sequence(
      sequence(OID.pbes2, sequence(cheap, aes256, NULL)),
      octets(new Uint8Array(32)),
    ),
    'an element in the cipher': file(cheap, sequence(OID.aes256, IV, NULL)),
    'an element in the KDF': file(
      sequence(OID.scrypt, sequence(SALT, number(4), number(1), number(1)), NULL),
    ),
    'an element in the costs': file(scrypt(number(4), number(1), number(1), number(32), NULL)),
    'an IV of 15 bytes': file(cheap, sequence(OID.aes256, octets(new Uint8Array(15)))),
    'no IV': file(cheap, sequence(OID.aes256)),
    'a cost less': file(scrypt(number(4), number(1))),
    'a negative cost': file(scrypt(der(TAG.integer, Uint8Array.of(0xff)), number(1), number(1))),
    'a cost of ten bytes': file(
      scrypt(derInteger(new Uint8Array(10).fill(1)), number(1), number(1)),
    ),
    'another key length': file(scrypt(number(4), number(1), number(1), number(16))),
    'another key length for PBKDF2': file(pbkdf2(number(1), number(16))),
    'a function with content': file(pbkdf2(number(1), sequence(OID.sha256, octets(SALT)))),
    'a salt that is no string': file(pbkdf2(number(1), NULL, NULL)),
  }
  for (const [name, bytes] of Object.entries(cases)) {
    await assert.rejects(decrypt(bytes, never), { code: 'der_malformed' }, name)
  }
})

test('data that does not come out of its encryption is a wrong passphrase', async () => {
  for (const length of [0, 1, 15, 16, 17, 32, 4096]) {
    const work = decrypt(file(cheap, aes256, new Uint8Array(length)))
    await assert.rejects(work, { code: 'passphrase_wrong' }, String(length))
  }
})

test('every KDF and cipher that is read gives back what was encrypted', async () => {
  const kdfs: readonly [Uint8Array, string][] = [
    [pbkdf2(number(3)), 'SHA-1'],
    [pbkdf2(number(3), number(16)), 'SHA-1'],
    [pbkdf2(number(3), sequence(OID.sha1, NULL)), 'SHA-1'],
    [pbkdf2(number(3), sequence(OID.sha256)), 'SHA-256'],
    [pbkdf2(number(3), number(16), sequence(OID.sha512, NULL)), 'SHA-512'],
  ]
  for (const [kdf, hash] of kdfs) {
    const base = await crypto.subtle.importKey('raw', utf8(PASSPHRASE), 'PBKDF2', false, [
      'deriveKey',
    ])
    const key = await crypto.subtle.deriveKey(
      { name: 'PBKDF2', hash, salt: new Uint8Array(16), iterations: 3 },
      base,
      { name: 'AES-CBC', length: 128 },
      false,
      ['encrypt'],
    )
    const data = await crypto.subtle.encrypt(
      { name: 'AES-CBC', iv: new Uint8Array(16) },
      key,
      SECRET,
    )
    const bytes = file(kdf, sequence(OID.aes128, IV), new Uint8Array(data))
    assert.equal(toHex(await decrypt(bytes)), toHex(SECRET), hash)
  }
})

test('encryptPkcs8() never writes the same bytes twice, and decryptPkcs8() reads them', async () => {
  const one = await encryptPkcs8(SECRET, PASSPHRASE, { cost })
  const two = await encryptPkcs8(SECRET, PASSPHRASE, { cost })
  assert.notEqual(toHex(one), toHex(two))
  for (const bytes of [one, two]) assert.equal(toHex(await decrypt(bytes)), toHex(SECRET))
  for (const wrong of ['', 'Correct horse battery staple', `${PASSPHRASE} `, 'é']) {
    const work = decryptPkcs8(one, wrong)
    await refusal({ secrets: [PASSPHRASE, SECRET] }, work, 'passphrase_wrong')
  }
})

test('a passphrase is its UTF-8, without any normalisation', async () => {
  const composed = await encryptPkcs8(SECRET, '\u00e9', { cost })
  assert.equal(toHex(await decryptPkcs8(composed, '\u00e9')), toHex(SECRET))
  await assert.rejects(decryptPkcs8(composed, 'e\u0301'), { code: 'passphrase_wrong' })
  await assert.rejects(decryptPkcs8(composed, '\ud800'), { code: 'encoding_invalid' })
})

test('an encrypted file that was changed anywhere opens no other key', async () => {
  const algorithm = ALGORITHMS['Ed25519']
  const pem = await toEncryptedPem(algorithm, await generateRaw(algorithm), PASSPHRASE, { cost })
  const key = await readPrivateKey(pem, { passphrase: () => PASSPHRASE })
  const [encrypted, spki] = fromPem(pem)
  const quick: Scrypt = async (password, salt, options) => {
    // Whatever the change makes of the costs, the test should not wait for it.
    if (options.N * options.r * options.p > 1024) throw new RangeError('too slow for a test')
    const { scryptAsync } = await import('@noble/hashes/scrypt.js')
    return await scryptAsync(password, salt, { ...options, dkLen: options.length })
  }
  const edit = fc.record({
    at: fc.nat(encrypted!.bytes.length - 1),
    flip: fc.integer({ min: 1, max: 255 }),
  })
  await fc.assert(
    fc.asyncProperty(edit, async ({ at, flip }) => {
      const bytes = encrypted!.bytes.slice()
      bytes[at]! ^= flip
      const text = toPem('ENCRYPTED PRIVATE KEY', bytes) + toPem('PUBLIC KEY', spki!.bytes)
      try {
        const opened = await readPrivateKey(text, { passphrase: () => PASSPHRASE, scrypt: quick })
        assert.equal(opened.publicKey.id, key.publicKey.id)
      } catch (error) {
        assert.ok(error instanceof SignetError, String(error))
      }
    }),
    { numRuns: 150 },
  )
})

test('toEncryptedPem() wants a passphrase', async () => {
  const algorithm = ALGORITHMS['Ed25519']
  const pair = await generateRaw(algorithm)
  await assert.rejects(toEncryptedPem(algorithm, pair, '', { cost }), {
    code: 'passphrase_required',
  })
  for (const passphrase of [undefined, () => '', () => Promise.resolve('')]) {
    const pem = await toEncryptedPem(algorithm, pair, PASSPHRASE, { cost })
    await assert.rejects(readPrivateKey(pem, { passphrase }), { code: 'passphrase_required' })
  }
})
