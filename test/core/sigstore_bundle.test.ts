import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ErrorCode, formatBundle, parseBundle, SignetError } from '../../mod.ts'
import { concat, fromUtf8, utf8 } from '../../src/bytes.ts'
import {
  type BundleJson,
  bytesOf,
  draftOf,
  jsonOf,
  outcome,
  refuses,
  runs,
  sealOf,
} from './_seals.ts'

const good = await sealOf(await draftOf({ 'config.json': '{}' }))

/** The bundle with something done to it. */
function spoilt(edit: (bundle: BundleJson) => unknown): Uint8Array {
  const bundle = jsonOf(good)
  return bytesOf(edit(bundle) ?? bundle)
}

const MALFORMED: Readonly<Record<string, readonly [ErrorCode, (bundle: BundleJson) => unknown]>> = {
  'an array': ['bundle_malformed', (bundle) => [bundle]],
  'a number': ['bundle_malformed', () => 7],
  'a text': ['bundle_malformed', () => 'bundle'],
  'an empty object': ['bundle_malformed', () => ({})],
  'no media type': ['bundle_malformed', (bundle) => delete bundle.mediaType && undefined],
  'a media type that is no text': ['bundle_malformed', (bundle) => void (bundle.mediaType = 3)],
  'the media type of v0.2': [
    'bundle_media_type',
    (bundle) => void (bundle.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.2'),
  ],
  'the media type of a verification result': [
    'bundle_media_type',
    (bundle) =>
      void (bundle.mediaType = 'application/vnd.dev.sigstore.verificationresult+json;version=0.1'),
  ],
  'the media type in capitals': [
    'bundle_media_type',
    (bundle) => void (bundle.mediaType = String(bundle.mediaType).toUpperCase()),
  ],
  'a media type with a space': [
    'bundle_media_type',
    (bundle) => void (bundle.mediaType = `${bundle.mediaType} `),
  ],
  'no envelope': [
    'envelope_malformed',
    (bundle) => delete (bundle as never)['dsseEnvelope'] && undefined,
  ],
  'an envelope that is an array': [
    'envelope_malformed',
    (bundle) => ({ ...bundle, dsseEnvelope: [bundle.dsseEnvelope] }),
  ],
  'no material': ['bundle_malformed', (bundle) => ({ ...bundle, verificationMaterial: undefined })],
  'material of nothing': [
    'bundle_malformed',
    (bundle) => ({ ...bundle, verificationMaterial: {} }),
  ],
  'a member that nobody knows': ['bundle_malformed', (bundle) => ({ ...bundle, extra: 1 })],
  'a member __proto__': [
    'bundle_malformed',
    (bundle) => JSON.parse(`{"__proto__":{},${JSON.stringify(bundle).slice(1)}`),
  ],
  'a member of the material that nobody knows': [
    'bundle_malformed',
    (bundle) => void (bundle.verificationMaterial.extra = 1),
  ],
  'a member of the key that nobody knows': [
    'bundle_malformed',
    (bundle) => void (bundle.verificationMaterial.publicKey = { hint: '', extra: 1 }),
  ],
  'a hint that is a number': [
    'bundle_malformed',
    (bundle) => void (bundle.verificationMaterial.publicKey = { hint: 1 }),
  ],
  'two methods': [
    'bundle_malformed',
    (bundle) =>
      void (bundle.verificationMaterial.x509CertificateChain = {
        certificates: [{ rawBytes: 'AAAA' }],
      }),
  ],
  'a chain of no certificates': [
    'bundle_malformed',
    (bundle) => void (bundle.verificationMaterial = { x509CertificateChain: { certificates: [] } }),
  ],
  'a chain of 17 certificates': [
    'bundle_malformed',
    (bundle) =>
      void (bundle.verificationMaterial = {
        x509CertificateChain: { certificates: new Array(17).fill({ rawBytes: 'AAAA' }) },
      }),
  ],
  'a certificate that is not base64': [
    'certificate_malformed',
    (bundle) =>
      void (bundle.verificationMaterial = {
        x509CertificateChain: { certificates: [{ rawBytes: '-----BEGIN' }] },
      }),
  ],
  'a keyless bundle': [
    'bundle_method_unsupported',
    (bundle) => void (bundle.verificationMaterial = { certificate: { rawBytes: 'AAAA' } }),
  ],
  'a message signature': [
    'bundle_method_unsupported',
    ({ dsseEnvelope: _, ...bundle }) => ({
      ...bundle,
      messageSignature: { messageDigest: {}, signature: 'AAAA' },
    }),
  ],
  'no signature': ['signature_count', (bundle) => void (bundle.dsseEnvelope.signatures = [])],
  'two signatures': [
    'signature_count',
    ({ dsseEnvelope: { signatures } }) => void signatures.push(signatures[0]!),
  ],
}

for (const [what, [code, edit]] of Object.entries(MALFORMED)) {
  test(`parseBundle() refuses ${what}`, async () => {
    parseBundle(good)
    await refuses(code, () => parseBundle(spoilt(edit)))
  })
}

test('parseBundle() refuses names that stand twice, at every level', async () => {
  const text = fromUtf8(good)
  const names = [
    'mediaType',
    'verificationMaterial',
    'publicKey',
    'hint',
    'payload',
    'sig',
    'keyid',
  ]
  for (const name of names) {
    const twice = text.replace(`"${name}":`, `"${name}":0,"${name}":`)
    await refuses('json_duplicate_key', () => parseBundle(utf8(twice)), name)
  }
  const escaped = text.replace('"sig":', '"s\\u0069g":"AAAA","sig":')
  await refuses('json_duplicate_key', () => parseBundle(utf8(escaped)))
})

test('parseBundle() refuses a bundle that is cut off anywhere, but for its last newline', async () => {
  for (let length = 0; length < good.length - 1; length++) {
    await refuses('json_malformed', () => parseBundle(good.subarray(0, length)), `at ${length}`)
  }
  parseBundle(good.subarray(0, -1))
})

test('parseBundle() refuses what is no text, or more than one', async () => {
  const cases: Record<string, readonly [ErrorCode, Uint8Array]> = {
    'a byte order mark': ['json_malformed', concat(Uint8Array.of(0xef, 0xbb, 0xbf), good)],
    'a byte that is no UTF-8': ['encoding_invalid', concat(good, Uint8Array.of(0xff))],
    'a NUL behind': ['json_malformed', concat(good, Uint8Array.of(0))],
    'two bundles': ['json_malformed', concat(good, good)],
    'UTF-16': ['json_malformed', Uint8Array.from([...good].flatMap((byte) => [byte, 0]))],
    'a certificate in PEM': ['json_malformed', utf8('-----BEGIN CERTIFICATE-----\nAAAA\n')],
    'nothing': ['json_malformed', new Uint8Array()],
    'a lone surrogate': [
      'json_surrogate',
      utf8(fromUtf8(good).replace('"hint":"', '"hint":"\\ud800')),
    ],
    'an integer that no double holds': [
      'json_number_unsafe',
      utf8(fromUtf8(good).replace('"tlogEntries":[]', '"tlogEntries":[9007199254740993]')),
    ],
  }
  for (const [what, [code, bytes]] of Object.entries(cases)) {
    await refuses(code, () => parseBundle(bytes), what)
  }
})

test('parseBundle() refuses 20 MB of anything at once, in little memory', async () => {
  const fill = (inside: string) => {
    const [before, after] = fromUtf8(good).split('"tlogEntries":[]') as [string, string]
    const times = Math.floor(20e6 / inside.length)
    return utf8(`${before}"tlogEntries":[${inside.repeat(times)}0]${after}`)
  }
  const cases: Record<string, readonly [ErrorCode, Uint8Array]> = {
    'open arrays': ['json_too_deep', utf8('['.repeat(20e6))],
    'open objects': ['json_too_deep', utf8('{"a":'.repeat(4e6))],
    'deep log entries': ['json_too_deep', fill('[')],
    'flat log entries': ['too_large', fill('[],')],
    'log entries with names': ['too_large', fill('{"a":{}},')],
    'a string that never ends': ['json_malformed', utf8(`{"mediaType":"${'a'.repeat(20e6)}`)],
    'escapes that never end': ['json_malformed', utf8(`{"mediaType":"${'\\"'.repeat(10e6)}`)],
    'a long media type': ['bundle_media_type', utf8(`{"mediaType":"${'a'.repeat(20e6)}"}`)],
    'a long hint': [
      'bundle_malformed',
      utf8(fromUtf8(good).replace('"hint":"', `"hint":"${'a'.repeat(20e6)}`)),
    ],
    'white space': ['json_malformed', utf8(' '.repeat(20e6))],
    'digits': ['json_number_unsafe', utf8('1'.repeat(20e6))],
    'one name': ['bundle_malformed', utf8(`{"${'a'.repeat(20e6)}":1}`)],
  }
  for (const [what, [code, bytes]] of Object.entries(cases)) {
    await refuses(code, () => parseBundle(bytes), what)
  }
  const many = Array.from({ length: 1e6 }, (_, i) => `"${i}":0`).join()
  await refuses('too_large', () => parseBundle(utf8(`{${many}}`)))
})

test('parseBundle() shows little of what it refuses, and nothing that a terminal obeys', () => {
  const long = `\u001b[31m\u202e${'x'.repeat(1e5)}`
  for (
    const edit of [
      (bundle: BundleJson) => void (bundle.mediaType = long),
      (bundle: BundleJson) => void (bundle[long] = 1),
      (bundle: BundleJson) => void (bundle.verificationMaterial[long] = 1),
    ]
  ) {
    assert.throws(() => parseBundle(spoilt(edit)), (error) => {
      assert.ok(error instanceof SignetError)
      const text = `${error.message}${error.where}`
      assert.ok(text.length < 1000, `${text.length}`)
      // deno-lint-ignore no-control-regex -- what a terminal obeys
      assert.doesNotMatch(text, /[\u0000-\u001f\u202e]/)
      return true
    })
  }
})

test('parseBundle() takes no more bytes than it was told', async () => {
  await refuses('too_large', () => parseBundle(good, { maxBytes: good.length - 1 }))
  parseBundle(good, { maxBytes: good.length })
})

test('parseBundle() reads the forms that other versions and implementations write', () => {
  const forms: Record<string, (bundle: BundleJson) => unknown> = {
    'no log entries': (bundle) => delete bundle.verificationMaterial.tlogEntries && undefined,
    'a log entry': (bundle) => void (bundle.verificationMaterial.tlogEntries = [{ logIndex: '1' }]),
    'a timestamp': (bundle) =>
      void (bundle.verificationMaterial.timestampVerificationData = { rfc3161Timestamps: [] }),
    'no hint': (bundle) => void (bundle.verificationMaterial.publicKey = {}),
    'a hint of null': (bundle) => void (bundle.verificationMaterial.publicKey = { hint: null }),
    'an empty hint': (bundle) => void (bundle.verificationMaterial.publicKey = { hint: '' }),
    'the key of old': (bundle) =>
      void (bundle.verificationMaterial.publicKey = {
        rawBytes: 'AAAA',
        keyDetails: 'PKIX_ECDSA_P384_SHA_384',
      }),
  }
  for (const [what, edit] of Object.entries(forms)) {
    const { material, envelope } = parseBundle(spoilt(edit))
    assert.equal(material.method, 'key', what)
    assert.equal(envelope.signatures.length, 1, what)
    assert.deepEqual(envelope, parseBundle(good).envelope, what)
    if (material.method === 'key' && /hint|old/.test(what)) assert.equal(material.hint, undefined)
  }
})

test('formatBundle() writes what parseBundle() reads', () => {
  const bytes = fc.uint8Array().map((all) => Uint8Array.from(all))
  const material = fc.oneof(
    fc.record({
      method: fc.constant('key' as const),
      hint: fc.option(fc.string({ minLength: 1, unit: 'grapheme' }), { nil: undefined }),
      keyDetails: fc.constant(undefined),
    }, { noNullPrototype: true }),
    fc.record({
      method: fc.constant('certificate' as const),
      chain: fc.array(bytes, { minLength: 1, maxLength: 3 }),
    }, { noNullPrototype: true }),
  )
  fc.assert(
    fc.property(
      material,
      fc.string({ minLength: 1, maxLength: 100, unit: 'grapheme' }),
      bytes,
      (material, payloadType, payload) => {
        const signatures = [{ signature: payload.slice(0, 3), keyid: undefined }]
        const bundle = { material, envelope: { payloadType, payload, signatures } }
        const written = formatBundle(bundle)
        assert.deepEqual(parseBundle(written), bundle)
        assert.equal(fromUtf8(written), `${JSON.stringify(JSON.parse(fromUtf8(written)))}\n`)
      },
    ),
    runs(200),
  )
})

test('formatBundle() writes long payloads whole', () => {
  for (const length of [3 * 2 ** 16 - 1, 3 * 2 ** 16, 3 * 2 ** 16 + 1, 1_000_000]) {
    const payload = Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8))
    const envelope = { payloadType: 'a', payload, signatures: [{ signature: new Uint8Array(1) }] }
    const written = formatBundle({ material: { method: 'key' }, envelope })
    assert.deepEqual(parseBundle(written).envelope.payload, payload)
  }
})

test('parseBundle() throws nothing but SignetError, whatever is done to a bundle', async () => {
  const edit = fc.record({
    at: fc.nat(good.length),
    cut: fc.nat(4),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 4 }),
      fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', 'null', '\\ud800').map(utf8),
    ),
  })
  const edited = fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) =>
    edits.reduce<Uint8Array>(
      (bytes, { at, cut, put }) => concat(bytes.subarray(0, at), put, bytes.subarray(at + cut)),
      good,
    )
  )
  const random = fc.uint8Array({ maxLength: 300 })
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(fc.oneof(edited, random), async (bytes) => {
      if (await outcome(() => parseBundle(bytes)) === 'accepted') accepted++
    }),
    { ...runs(2000), examples: [[good]] },
  )
  assert.ok(accepted > 0, 'no edit left a bundle')
})

test('parseBundle() throws nothing but SignetError, whatever JSON stands in its places', async () => {
  const places = ['mediaType', 'verificationMaterial', 'dsseEnvelope'] as const
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...places, 'publicKey', 'x509CertificateChain', 'signatures', 'payload'),
      fc.jsonValue(),
      async (place, value) => {
        await outcome(() =>
          parseBundle(spoilt((bundle) => {
            if (place === 'publicKey' || place === 'x509CertificateChain') {
              bundle.verificationMaterial[place] = value
            } else if (place === 'signatures' || place === 'payload') {
              Object.assign(bundle.dsseEnvelope, { [place]: value })
            } else {
              return { ...bundle, [place]: value }
            }
          }))
        )
      },
    ),
    runs(500),
  )
})
