/** Bundles that others made, and the JSON Schemas of OMS v1.0 held against ours. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import {
  type Algorithm,
  ALGORITHMS,
  type Bytes,
  generateKey,
  keyHint,
  pae,
  parseBundle,
  parseEnvelope,
  publicKey,
  readPublicKeys,
  sealModel,
  type SealOptions,
  streamTree,
  trustKeys,
  verifyEnvelope,
  verifyModel,
  verifySeal,
} from '../../mod.ts'
import { concat, fromBase64, fromHex, fromUtf8, toHex, utf8 } from '../../src/bytes.ts'
import { compositeMessage } from '../../src/crypto/mod.ts'
import { filesOf, jsonOf, refuses } from '../core/_seals.ts'
import { vectorBytes, vectors, vectorTest } from './_vectors.ts'

const VALID = 'oms/vectors/valid'
const sha256 = async (bytes: Bytes) =>
  toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))

/** The specification's P-384 key: that of the leaf in its certificate bundle. */
async function specKey() {
  const { material } = parseBundle(vectorBytes(`${VALID}/certificate.bundle.json`))
  assert.ok(material.method === 'certificate')
  const leaf = new X509Certificate(material.chain[0]!)
  const [key] = await readPublicKeys(String(leaf.publicKey.export({ type: 'spki', format: 'pem' })))
  return key!
}

vectorTest(
  "the specification's invalid bundles are refused, each with its code",
  'oms/vectors',
  async () => {
    const trust = trustKeys(await specKey())
    const codes = {
      'invalid/empty': 'json_malformed',
      'invalid/missing-envelope': 'envelope_malformed',
      'invalid/missing-tlog-entries': 'bundle_method_unsupported', // keyless
      'invalid/missing-verification-material': 'bundle_malformed',
      'invalid-payload/wrong-predicate': 'signature_invalid', // changed after signing
      'valid/sigstore': 'bundle_method_unsupported',
    } as const
    for (const [name, code] of Object.entries(codes)) {
      const bytes = vectorBytes(`oms/vectors/${name}.bundle.json`)
      await refuses(code, () => verifySeal(bytes, trust), name)
    }
  },
)

vectorTest(
  "the specification's key bundle holds under its key, which its hint names",
  VALID,
  async () => {
    const key = await specKey()
    const bytes = vectorBytes(`${VALID}/key.bundle.json`)
    const { material } = parseBundle(bytes)
    assert.deepEqual(material.method === 'key' && material.hint, await keyHint(key))
    const { signer, statement } = await verifySeal(bytes, trustKeys(key))
    assert.equal(signer.algorithm, 'ES384')
    assert.deepEqual(statement.resources.map(({ path }) => path), ['signme-1', 'signme-2'])
    assert.ok(statement.serialization.ignorePaths.includes('ignore-me'))
    const other = await generateKey(ALGORITHMS['ES384'])
    await refuses('signer_untrusted', () => verifySeal(bytes, trustKeys(other.publicKey)))
  },
)

vectorTest("the specification's certificate bundle is signed by its leaf", VALID, async () => {
  const { envelope } = parseBundle(vectorBytes(`${VALID}/certificate.bundle.json`))
  await verifyEnvelope(envelope, await specKey())
})

// Bundles by the reference implementation and by hand, over one model

interface Modelseal {
  readonly files: Readonly<Record<string, { readonly base64: string }>>
  readonly keys: { readonly ecdsa_p256: { readonly public_spki_pem: string } }
  readonly oms_v1_0: {
    readonly extra_files: Readonly<Record<string, { readonly base64: string }>>
    readonly public_key_hint: string
    readonly reference_signer_bundle: unknown
    readonly codepoint_order_bundle: unknown
    readonly two_signature_bundle_negative: { readonly bundle: unknown }
    readonly codepoint_payload_sha256: string
    readonly pae_of_codepoint_payload_sha256: string
    readonly detached_composite_envelope: {
      readonly envelope: unknown
      readonly mldsa65_seed_hex: string
      readonly ed25519_seed_hex: string
      readonly composite_public_key_sha256: string
      readonly message_representative_sha256: string
    }
  }
}

async function modelseal() {
  const { files, keys, oms_v1_0 } = vectors<Modelseal>('modelseal.json')
  const all = Object.entries({ ...files, ...oms_v1_0.extra_files })
  const [key] = await readPublicKeys(keys.ecdsa_p256.public_spki_pem)
  return {
    ...oms_v1_0,
    key: key!,
    model: new Map(all.map(([path, { base64 }]) => [path, fromBase64(base64)])),
  }
}

const inBundle = (json: unknown) => [{ name: 'model.sig', bytes: utf8(JSON.stringify(json)) }]

vectorTest(
  'a bundle by the reference and one in code-point order hold over their model',
  'modelseal.json',
  async () => {
    const { key, model, public_key_hint, ...bundles } = await modelseal()
    assert.equal(await keyHint(key), public_key_hint)
    const trust = trustKeys(key)
    for (const name of ['reference_signer_bundle', 'codepoint_order_bundle'] as const) {
      const report = await verifyModel(inBundle(bundles[name]), streamTree(model), trust)
      assert.ok(report.ok, name)
      assert.deepEqual(report.counts, { ok: 8, changed: 0, missing: 0, extra: 0, ignored: 2 })
      const spoilt = new Map(model).set('sub/vocab.txt', utf8('other')).set('evil.py', utf8(''))
      const { ok, counts } = await verifyModel(inBundle(bundles[name]), streamTree(spoilt), trust)
      assert.deepEqual([ok, counts.changed, counts.extra], [false, 1, 1])
    }
  },
)

vectorTest(
  'a bundle of two signatures is refused, though the first holds',
  'modelseal.json',
  async () => {
    const { key, two_signature_bundle_negative: { bundle } } = await modelseal()
    const bytes = utf8(JSON.stringify(bundle))
    await refuses('signature_count', () => verifySeal(bytes, trustKeys(key)))
    await verifyEnvelope(parseEnvelope(jsonOf(bytes).dsseEnvelope), key)
  },
)

vectorTest('a composite envelope over the same payload holds', 'modelseal.json', async () => {
  const { detached_composite_envelope: given, ...rest } = await modelseal()
  const raw = concat(
    ml_dsa65.keygen(fromHex(given.mldsa65_seed_hex)).publicKey,
    ed25519.getPublicKey(fromHex(given.ed25519_seed_hex)),
  )
  assert.equal(await sha256(raw), given.composite_public_key_sha256)
  const key = await publicKey(ALGORITHMS['ML-DSA-65-Ed25519'], raw)
  const envelope = parseEnvelope(given.envelope)
  const { payload, payloadType } = await verifyEnvelope(envelope, key)
  assert.equal(await sha256(Uint8Array.from(payload)), rest.codepoint_payload_sha256)
  const message = pae(payloadType, payload)
  assert.equal(await sha256(message), rest.pae_of_codepoint_payload_sha256)
  const representative = await compositeMessage({ mode: 'message', bytes: message })
  assert.equal(await sha256(representative), given.message_representative_sha256)
  const [{ signature }] = envelope.signatures as [{ signature: Bytes }]
  for (const at of [0, 3308, 3309, 3372]) {
    const spoilt = signature.slice()
    spoilt[at]! ^= 1
    const wrong = { ...envelope, signatures: [{ signature: spoilt }] }
    await refuses('signature_invalid', () => verifyEnvelope(wrong, key), `byte ${at}`)
  }
})

// What we write

/** The validators of the four schemas, by name. */
function schemas() {
  const ajv = new Ajv2020({ allErrors: true, strictRequired: false, strictTypes: false })
  const names = ['predicate', 'statement', 'envelope', 'bundle'] as const
  for (const name of names) ajv.addSchema(vectors<object>(`oms/schemas/${name}.schema.json`))
  return Object.fromEntries(names.map((name) => [name, (value: unknown) => {
    const validate = ajv.getSchema(`https://model_signing/${name}/v1.0/schema`)!
    return validate(value)
      ? []
      : validate.errors!.map(({ instancePath, message }) => `${instancePath} ${message}`)
  }])) as Record<typeof names[number], (value: unknown) => string[]>
}

const payloadOf = (bundle: Uint8Array): unknown =>
  JSON.parse(fromUtf8(fromBase64(String(jsonOf(bundle).dsseEnvelope.payload))))

vectorTest('the schemas tell valid bundles from invalid ones', 'oms/schemas', () => {
  const { bundle, statement } = schemas()
  for (const name of ['key', 'certificate', 'sigstore']) {
    const bytes = vectorBytes(`${VALID}/${name}.bundle.json`)
    assert.deepEqual([...bundle(jsonOf(bytes)), ...statement(payloadOf(bytes))], [], name)
  }
  for (
    const name of ['missing-envelope', 'missing-tlog-entries', 'missing-verification-material']
  ) {
    const bytes = vectorBytes(`oms/vectors/invalid/${name}.bundle.json`)
    assert.notDeepEqual(bundle(jsonOf(bytes)), [], name)
  }
  const wrong = vectorBytes('oms/vectors/invalid-payload/wrong-predicate.bundle.json')
  assert.notDeepEqual(statement(payloadOf(wrong)), [])
})

vectorTest(
  'what we seal conforms to the schemas, whatever the key, method, digest and metadata',
  'oms/schemas',
  async () => {
    const { bundle, envelope, statement, predicate } = schemas()
    const files = {
      'a b.txt': 'x',
      'sub/模型': 'yy',
      'path:with:colons:0:10': '',
      'sub-2/a': 'abcdef',
    }
    const metadata = {
      version: '1',
      framework: 'pytorch',
      author: 'Zoë',
      description: 'd',
      license: 'MIT',
      created: '2026-11-21T00:00:00Z',
    }
    const check = async (algorithm: Algorithm, options: Partial<SealOptions>) => {
      const what = `${algorithm.name} ${JSON.stringify(options)}`
      const { bundles: [bytes] } = await sealModel(
        streamTree(filesOf(files)),
        [{ key: await generateKey(algorithm) }],
        { name: 'tiny', ...options },
      )
      const json = jsonOf(bytes!)
      const payload = payloadOf(bytes!) as { predicate: unknown }
      assert.deepEqual(bundle(json), [], what)
      assert.deepEqual(envelope(json.dsseEnvelope), [], what)
      assert.deepEqual(statement(payload), [], what)
      assert.deepEqual(predicate(payload.predicate), [], what)
    }
    const ec = ALGORITHMS['ES256']
    for (const method of ['files', 'shards'] as const) {
      for (const hash of ['sha256', 'blake2b', 'blake3'] as const) {
        await check(ec, { method, hash, metadata, ignore: ['a b.txt'] })
      }
    }
    await check(ec, { noDefaultIgnores: true, insecureFollowSymlinks: true })
    for (const name of ['ES384', 'ES512', 'Ed25519', 'ML-DSA-65', 'ML-DSA-65-Ed25519'] as const) {
      await check(ALGORITHMS[name], {})
    }
  },
)
