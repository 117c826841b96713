/** PEM, and key files in PEM: what is refused, and with which code. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, toHex, utf8 } from '../../src/bytes.ts'
import { generateRaw, toSpki } from '../../src/crypto/mod.ts'
import { KNOWN_ANSWERS } from '../../src/crypto/kat.ts'
import { SignetError } from '../../src/errors.ts'
import {
  fromPem,
  insecureToClearPem,
  pemDigest,
  readPrivateKey,
  readPublicKeys,
  toPem,
} from '../../src/keys/mod.ts'

const ED25519 = ALGORITHMS['Ed25519']
const spki = toSpki(ED25519, fromBase64(KNOWN_ANSWERS['Ed25519']!.publicKey))
const PUBLIC = toPem('PUBLIC KEY', spki)
const clear = { insecureClearKey: true }

test('fromPem() refuses a text in which any block is not whole', () => {
  const cases = {
    'nothing': '',
    'no block': 'key',
    'an end alone': '-----END PUBLIC KEY-----',
    'no end': PUBLIC.slice(0, -10),
    'another end': PUBLIC.replace('END PUBLIC', 'END PRIVATE'),
    'a second block without end': PUBLIC + PUBLIC.slice(0, -10),
    'a second block with another end': PUBLIC + PUBLIC.replace('END PUBLIC', 'END PRIVATE'),
    'headers': PUBLIC.replace('\n', '\nProc-Type: 4,ENCRYPTED\n\n'),
    'a label in small letters': PUBLIC.replaceAll('PUBLIC', 'public'),
    'a label too long': PUBLIC.replaceAll('PUBLIC', 'X'.repeat(60)),
    'no label': PUBLIC.replaceAll('PUBLIC KEY', ''),
    'a block within a block': PUBLIC.replace('\n', '\n-----BEGIN PUBLIC KEY-----\n'),
    'base64url': PUBLIC.replace('MC', '_-'),
    'no padding': PUBLIC.replace('=', ''),
    'too much padding': PUBLIC.replace('=', '=='),
    'padding within': PUBLIC.replace('MC', 'M='),
    'a cut group': toPem('PUBLIC KEY', utf8('abc')).replace('YWJj', 'YWJ'),
    'stray bits': toPem('PUBLIC KEY', utf8('a')).replace('YQ==', 'YR=='),
    'a dash': PUBLIC.replace('MC', 'M-'),
    'a no-break space': PUBLIC.replace('MC', 'M\u00a0C'),
  }
  for (const [name, text] of Object.entries(cases)) {
    assert.throws(() => fromPem(text), { code: 'pem_malformed' }, name)
  }
})

test('fromPem() takes what others write around, between and into blocks', () => {
  const wanted = { label: 'PUBLIC KEY', bytes: spki }
  const texts = [
    PUBLIC,
    PUBLIC.trimEnd(),
    PUBLIC.replaceAll('\n', '\r\n'),
    `subject=CN = somebody\r\n\r\n${PUBLIC}# end\n`,
    PUBLIC.replace(/(.)(?=[^-]*\n-----END)/g, '$1\n'),
    PUBLIC.replace('\n', ' \t\n'),
    `\ufeff${PUBLIC}`,
  ]
  for (const text of texts) assert.deepEqual(fromPem(text).map(plain), [plain(wanted)])
  assert.equal(fromPem(PUBLIC + PUBLIC).length, 2)
})

const plain = ({ label, bytes }: { label: string; bytes: Uint8Array }) => `${label} ${toHex(bytes)}`

test('toPem() writes 64 columns and a final newline, and fromPem() reads it', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    const text = toPem('PUBLIC KEY', bytes)
    assert.ok(text.split('\n').every((line) => line.length <= 64))
    assert.ok(text.endsWith('-----END PUBLIC KEY-----\n'))
    assert.equal(toHex(fromPem(text)[0]!.bytes), toHex(bytes))
  }))
})

test('fromPem() is done with hostile text in time', () => {
  const started = performance.now()
  const hostile = [
    '-----BEGIN '.repeat(90_000),
    '-----BEGIN A-----'.repeat(60_000),
    `-----BEGIN A-----${'A'.repeat(1e6)}`,
    `-----BEGIN A-----${' '.repeat(1e6)}-----END B-----`,
    '-----BEGIN A-----\n-----END B-----\n'.repeat(30_000),
    `-----BEGIN ${'A '.repeat(500_000)}`,
  ]
  for (const text of hostile) assert.throws(() => fromPem(text), { code: 'pem_malformed' })
  assert.ok(performance.now() - started < 3000)
})

test('fromPem() throws nothing but SignetError', () => {
  const piece = fc.oneof(
    fc.constantFrom('-----BEGIN A-----', '-----END A-----', '-----', '\n', '=', 'QUJD', 'A B', ' '),
    fc.string({ maxLength: 8 }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      try {
        fromPem(pieces.join(''))
      } catch (error) {
        assert.ok(error instanceof SignetError)
      }
    }),
    { numRuns: 500 },
  )
})

test('pemDigest() is over the text, as OMS wants it, not over the DER', async () => {
  const digest = await crypto.subtle.digest('SHA-256', utf8(PUBLIC))
  assert.equal(toHex(await pemDigest(PUBLIC)), toHex(new Uint8Array(digest)))
})

test('readPublicKeys() refuses PEM without a public key', async () => {
  const pair = await generateRaw(ED25519)
  const own = insecureToClearPem(ED25519, pair)
  const [privateBlock] = own.split(/(?=-----BEGIN PUBLIC)/)
  await assert.rejects(readPublicKeys(privateBlock!), { code: 'key_malformed' })
  await assert.rejects(readPublicKeys(toPem('CERTIFICATE', spki)), { code: 'key_malformed' })
  assert.equal((await readPublicKeys(own)).length, 1)
  assert.equal((await readPublicKeys(PUBLIC + PUBLIC)).length, 2)
  await assert.rejects(readPublicKeys(PUBLIC + toPem('PUBLIC KEY', spki.slice(1))), {
    code: 'der_malformed',
  })
})

test('readPrivateKey() refuses PEM without exactly one private key that it can read', async () => {
  const pair = await generateRaw(ED25519)
  const own = insecureToClearPem(ED25519, pair)
  const [privateBlock] = own.split(/(?=-----BEGIN PUBLIC)/)
  await assert.rejects(readPrivateKey(PUBLIC, clear), { code: 'key_malformed' })
  await assert.rejects(readPrivateKey(privateBlock! + own, clear), { code: 'key_malformed' })
  const ssh = toPem('OPENSSH PRIVATE KEY', utf8('openssh-key-v1'))
  await assert.rejects(readPrivateKey(ssh, clear), (error) => {
    assert.ok(error instanceof SignetError && error.code === 'key_malformed')
    return /ssh-keygen/.test(error.remedy ?? '')
  })
  const dsa = toPem('DSA PRIVATE KEY', spki)
  await assert.rejects(readPrivateKey(dsa, clear), { code: 'key_malformed' })
  // Somebody else's public key beside the private one.
  await assert.rejects(readPrivateKey(privateBlock! + PUBLIC, clear), (error) => {
    assert.ok(error instanceof SignetError)
    return ['key_mismatch', 'key_malformed'].includes(error.code)
  })
  const es256 = toSpki(ALGORITHMS['ES256'], fromBase64(KNOWN_ANSWERS['ES256']!.publicKey))
  const mixed = privateBlock! + toPem('PUBLIC KEY', es256)
  await assert.rejects(readPrivateKey(mixed, clear), { code: 'key_mismatch' })
  assert.ok(await readPrivateKey(privateBlock!, clear))
})

test('key files that are too large or no text are refused', async () => {
  await assert.rejects(readPublicKeys(PUBLIC.repeat(1001)), { code: 'too_large' })
  const keys = new Array(1001).fill({ kty: 'OKP', crv: 'Ed25519', x: 'AA' })
  await assert.rejects(readPublicKeys(JSON.stringify({ keys })), { code: 'too_large' })
  const large = PUBLIC + '\n'.repeat(2 ** 20)
  await assert.rejects(readPublicKeys(large), { code: 'too_large' })
  await assert.rejects(readPrivateKey(utf8(large), clear), { code: 'too_large' })
  await assert.rejects(readPublicKeys(Uint8Array.of(0xff)), { code: 'encoding_invalid' })
  await assert.rejects(readPublicKeys(''), { code: 'pem_malformed' })
})
