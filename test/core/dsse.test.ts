import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Algorithm,
  ALGORITHMS,
  envelopeToJson,
  generateKey,
  pae,
  parseEnvelope,
  publicKey,
  signEnvelope,
  SignetError,
  verifyEnvelope,
} from '../../mod.ts'
import { fromBase64, fromHex, fromUtf8, toBase64, utf8 } from '../../src/bytes.ts'
import { ecdsaFromDer, ecdsaToDer } from '../../src/crypto/mod.ts'
import { key, outcome, refuses, runs, stranger } from './_seals.ts'

const TYPE = 'application/vnd.in-toto+json'
const json = (changes: object = {}) => ({
  payload: 'e30=',
  payloadType: TYPE,
  signatures: [{ sig: 'AAAA', keyid: 'a' }],
  ...changes,
})

test('parseEnvelope() refuses what is no envelope', async () => {
  const malformed: Record<string, unknown> = {
    'nothing': undefined,
    'null': null,
    'text': 'DSSE',
    'an array': [json()],
    'no payload': json({ payload: undefined }),
    'a payload that is no text': json({ payload: {} }),
    'a payload in base64url': json({ payload: '-_-_' }),
    'a payload without padding': json({ payload: 'e30' }),
    'a payload with stray bits': json({ payload: 'e31=' }),
    'a payload with a newline': json({ payload: 'e30=\n' }),
    'no type': json({ payloadType: undefined }),
    'an empty type': json({ payloadType: '' }),
    'a long type': json({ payloadType: 'a'.repeat(257) }),
    'no signatures': json({ signatures: undefined }),
    'a signature that is no object': json({ signatures: ['AAAA'] }),
    'signatures that are no array': json({ signatures: { sig: 'AAAA' } }),
    'a signature without bytes': json({ signatures: [{ keyid: '' }] }),
    'a signature in hex': json({ signatures: [{ sig: 'abc' }] }),
    'a key id that is a number': json({ signatures: [{ sig: 'AAAA', keyid: 1 }] }),
    'a member of a signature that nobody knows': json({ signatures: [{ sig: 'AAAA', cert: '' }] }),
    'a member that nobody knows': json({ extra: 1 }),
    '65 signatures': json({ signatures: new Array(65).fill({ sig: 'AAAA' }) }),
  }
  for (const [what, value] of Object.entries(malformed)) {
    await refuses('envelope_malformed', () => parseEnvelope(value), what)
  }
  await refuses('signature_count', () => parseEnvelope(json({ signatures: [] })))
})

test('parseEnvelope() takes an absent, a null and an empty key id for none (OMS §11.1)', () => {
  for (const keyid of [undefined, null, '']) {
    const { signatures } = parseEnvelope(json({ signatures: [{ sig: 'AAAA', keyid }] }))
    assert.equal(signatures[0]?.keyid, undefined)
  }
  assert.equal(parseEnvelope(json()).signatures[0]?.keyid, 'a')
})

test('verifyEnvelope() refuses another key, another payload and another type', async () => {
  const envelope = await signEnvelope(TYPE, utf8('{}'), key)
  const { payload, payloadType } = await verifyEnvelope(envelope, key.publicKey)
  assert.deepEqual([fromUtf8(payload), payloadType], ['{}', TYPE])
  await refuses('signature_invalid', () => verifyEnvelope(envelope, stranger.publicKey))
  for (
    const change of [
      { payload: utf8('{} ') },
      { payload: utf8('') },
      { payloadType: TYPE.toUpperCase() },
      { payloadType: '' },
      // The lengths in PAE keep what moves from one to the other from going unseen.
      { payloadType: `${TYPE} 2`, payload: utf8('{}') },
      { payloadType: TYPE.slice(0, -1), payload: utf8('n{}') },
    ]
  ) {
    await refuses(
      'signature_invalid',
      () => verifyEnvelope({ ...envelope, ...change }, key.publicKey),
      JSON.stringify(change),
    )
  }
})

test('verifyEnvelope() refuses a signature of the payload alone, without its type', async () => {
  const payload = utf8('{}')
  const signature = ecdsaToDer(await key.sign({ mode: 'message', bytes: payload }))
  const envelope = { payloadType: TYPE, payload, signatures: [{ signature }] }
  await refuses('signature_invalid', () => verifyEnvelope(envelope, key.publicKey))
})

test('verifyEnvelope() takes ECDSA in DER only, and in one form of it', async () => {
  const { signatures, ...rest } = await signEnvelope(TYPE, utf8('{}'), key)
  const der = signatures[0]!.signature
  const raw = ecdsaFromDer(der, 64)
  const [r, s] = [raw.subarray(0, 32), raw.subarray(32)]
  const integer = (bytes: Uint8Array) => [2, bytes.length, ...bytes]
  const sequence = (...body: number[]) => Uint8Array.of(0x30, body.length, ...body)
  const forms: Record<string, Uint8Array> = {
    'raw r and s': raw,
    'nothing': new Uint8Array(),
    'a byte behind': Uint8Array.of(...der, 0),
    'a byte missing': der.subarray(0, -1),
    'integers with superfluous zeroes': sequence(
      ...integer(Uint8Array.of(0, 0, ...r)),
      ...integer(s),
    ),
    'negative integers': sequence(
      ...integer(Uint8Array.of(0x80, ...r.subarray(1))),
      ...integer(Uint8Array.of(0x80, ...s.subarray(1))),
    ),
    'a long form of the length': Uint8Array.of(0x30, 0x81, ...der.subarray(1)),
    'an indefinite length': Uint8Array.of(0x30, 0x80, ...der.subarray(2), 0, 0),
    'zeroes': sequence(2, 1, 0, 2, 1, 0),
  }
  for (const [what, form] of Object.entries(forms)) {
    const signature = Uint8Array.from(form)
    await refuses(
      'signature_invalid',
      () => verifyEnvelope({ ...rest, signatures: [{ signature }] }, key.publicKey),
      what,
    )
  }
})

test('verifyEnvelope() goes by the key it is given, whatever key the envelope names', async () => {
  const mine = await signEnvelope(TYPE, utf8('{}'), key, { keyid: stranger.publicKey.id })
  await verifyEnvelope(mine, key.publicKey)
  const theirs = await signEnvelope(TYPE, utf8('{}'), stranger, { keyid: key.publicKey.id })
  await refuses('signature_invalid', () => verifyEnvelope(theirs, key.publicKey))
  const both = { ...theirs, signatures: [...theirs.signatures, ...mine.signatures] }
  assert.equal((await verifyEnvelope(both, key.publicKey)).key.id, key.publicKey.id)
})

test('an envelope of one algorithm holds under no key of another', async () => {
  const keys = await Promise.all(
    (Object.values(ALGORITHMS) as Algorithm[]).map((one) => generateKey(one)),
  )
  for (const signer of keys) {
    const envelope = await signEnvelope(TYPE, utf8('{}'), signer)
    for (const { publicKey } of keys) {
      assert.equal(
        await outcome(() => verifyEnvelope(envelope, publicKey)),
        publicKey.id === signer.publicKey.id ? 'accepted' : 'signature_invalid',
        `${signer.publicKey.algorithm.name} under ${publicKey.algorithm.name}`,
      )
    }
  }
})

test('no flipped bit of a signature holds', async () => {
  const { signatures, ...rest } = await signEnvelope(TYPE, utf8('{}'), key)
  for (let bit = 0; bit < signatures[0]!.signature.length * 8; bit++) {
    const signature = signatures[0]!.signature.slice()
    signature[bit >> 3]! ^= 1 << (bit & 7)
    await refuses(
      'signature_invalid',
      () => verifyEnvelope({ ...rest, signatures: [{ signature }] }, key.publicKey),
      `bit ${bit}`,
    )
  }
})

test('signEnvelope() makes no envelope once it was cancelled', async () => {
  await refuses(
    'aborted',
    () => signEnvelope(TYPE, utf8('{}'), key, { signal: AbortSignal.abort() }),
  )
})

test('pae() counts bytes, not characters', () => {
  assert.equal(fromUtf8(pae('ä', utf8('€'))), 'DSSEv1 2 ä 3 €')
  assert.equal(fromUtf8(pae('', new Uint8Array())), 'DSSEv1 0  0 ')
})

test('the example of the DSSE protocol verifies', async () => {
  // secure-systems-lab/dsse, protocol.md, "Test Vectors". Its signature is r and s without DER.
  const key = await publicKey(
    ALGORITHMS['ES256'],
    fromHex(
      '0467cd390f77aa359cb08c2235f652270493a9ed832b0abcc01f70954c0390d238' +
        '0c782bd54e269125a44f4433aff1432ce94e12bca73aa67ac80cea12608ddf74',
    ),
  )
  const raw = fromBase64(
    'A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==',
  )
  const envelope = parseEnvelope({
    payload: 'aGVsbG8gd29ybGQ=',
    payloadType: 'http://example.com/HelloWorld',
    signatures: [{ sig: toBase64(ecdsaToDer(raw)) }],
  })
  assert.equal(fromUtf8((await verifyEnvelope(envelope, key)).payload), 'hello world')
})

test('envelopes survive being written and read', () => {
  const signature = fc.record({
    signature: fc.uint8Array().map((bytes) => Uint8Array.from(bytes)),
    keyid: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  }, { noNullPrototype: true })
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 100 }),
      fc.uint8Array().map((bytes) => Uint8Array.from(bytes)),
      fc.array(signature, { minLength: 1, maxLength: 3 }),
      (payloadType, payload, signatures) => {
        const envelope = { payloadType, payload, signatures }
        const text = JSON.stringify(envelopeToJson(envelope))
        assert.deepEqual(parseEnvelope(JSON.parse(text)), envelope)
      },
    ),
    runs(100),
  )
})

test('parseEnvelope() throws nothing but SignetError, whatever JSON it gets', () => {
  const near = fc.record({
    payload: fc.oneof(fc.constant('e30='), fc.jsonValue()),
    payloadType: fc.oneof(fc.constant(TYPE), fc.jsonValue()),
    signatures: fc.oneof(
      fc.array(fc.oneof(fc.constant({ sig: 'AAAA' }), fc.jsonValue()), { maxLength: 3 }),
      fc.jsonValue(),
    ),
  }, { requiredKeys: [] })
  let accepted = 0
  fc.assert(
    fc.property(fc.oneof(near, fc.jsonValue()), (value) => {
      try {
        parseEnvelope(value)
        accepted++
      } catch (error) {
        assert.ok(error instanceof SignetError)
      }
    }),
    {
      ...runs(500),
      examples: [[{ payloadType: TYPE, payload: 'e30=', signatures: [{ sig: 'AAAA' }] }]],
    },
  )
  assert.ok(accepted > 0, 'the property never saw an envelope')
})
