/** The acceptance list of `signed_manifest.json`, over vectors that the old tool computed. */
import assert from 'node:assert/strict'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, fromHex, toHex, utf8 } from '../../src/bytes.ts'
import {
  compareManifest,
  importRegistry,
  parseSignedManifest,
  verifyManifest,
} from '../../src/interop/mod.ts'
import { manifestBytes, Members } from '../../src/interop/modelseal_json.ts'
import { importKey, readPublicKeys } from '../../src/keys/mod.ts'
import { streamTree, trustKeys } from '../../src/models/mod.ts'
import { vectors, vectorTest } from './_vectors.ts'

interface Signed {
  readonly signed_manifest: { readonly signature: { readonly signature_hex: string } }
  readonly signed_manifest_file_sha256: string
}

interface Vectors {
  readonly files: Readonly<Record<string, { readonly base64: string }>>
  readonly canonical_bytes_utf8: string
  readonly canonical_len: number
  readonly canonical_sha256: string
  readonly keys: Readonly<
    Record<
      'ed25519' | 'ecdsa_p256',
      {
        readonly public_spki_pem: string
        readonly seed_hex?: string
        readonly public_raw_hex: string
      }
    >
  >
  readonly signed: Readonly<Record<'ed25519' | 'ecdsa_p256', Signed>>
  readonly datetime_rendering: Readonly<Record<string, string>>
  readonly registry_file_text: string
}

const PATH = 'modelseal.json'
const load = () => vectors<Vectors>(PATH)
const sha256 = async (bytes: Uint8Array<ArrayBuffer>) =>
  toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
/** The file as pydantic writes it. */
const fileOf = ({ signed_manifest }: Signed) => utf8(JSON.stringify(signed_manifest, null, 2))

vectorTest('modelseal vectors: the canonical bytes, byte for byte', PATH, async () => {
  const { signed, canonical_bytes_utf8, canonical_len, canonical_sha256 } = load()
  for (const one of Object.values(signed)) {
    const bytes = manifestBytes(parseSignedManifest(fileOf(one)).manifest)
    assert.equal(new TextDecoder().decode(bytes), canonical_bytes_utf8)
    assert.equal(bytes.length, canonical_len)
    assert.equal(await sha256(bytes), canonical_sha256)
  }
})

vectorTest('modelseal vectors: the Ed25519 signature, byte for byte', PATH, async () => {
  const { keys: { ed25519 }, signed } = load()
  const key = await importKey(ALGORITHMS['Ed25519'], {
    publicKey: fromHex(ed25519.public_raw_hex),
    privateKey: fromHex(ed25519.seed_hex!),
  })
  const message = manifestBytes(parseSignedManifest(fileOf(signed.ed25519)).manifest)
  const signature = await key.sign({ mode: 'message', bytes: message })
  assert.equal(toHex(signature), signed.ed25519.signed_manifest.signature.signature_hex)
})

for (const name of ['ed25519', 'ecdsa_p256'] as const) {
  vectorTest(`modelseal vectors: the ${name} file verifies, with all its files`, PATH, async () => {
    const { keys, signed, files } = load()
    const bytes = fileOf(signed[name])
    assert.equal(await sha256(bytes), signed[name].signed_manifest_file_sha256)
    const [key] = await readPublicKeys(keys[name].public_spki_pem)
    const verified = await verifyManifest(bytes, trustKeys(key!))
    assert.equal(verified.unverified.signerId, 'alice@example.com')
    const contents = Object.entries(files).map(([path, { base64 }]): [string, Uint8Array] => [
      path,
      fromBase64(base64),
    ])
    const report = await compareManifest(verified, streamTree(new Map(contents)))
    assert.ok(report.ok)
    assert.equal(report.counts.ok, 7)
    const more = new Map([...contents, ['evil.py', utf8('import os')]])
    assert.equal((await compareManifest(verified, streamTree(more))).counts.extra, 1)
  })
}

vectorTest('modelseal vectors: the six renderings of a time', PATH, () => {
  const { datetime_rendering } = load()
  const given: Readonly<Record<string, string | number>> = {
    'microsecond=0': '2025-01-02T03:04:05.000000Z',
    'microsecond=678901': '2025-01-02T03:04:05.678901+00:00',
    'microsecond=120000': '2025-01-02T03:04:05.12Z',
    'offset +02:00': '2025-01-02 03:04:05+02:00',
    'naive': '2025-01-02T03:04:05',
    'unix number 0': 0,
  }
  assert.deepEqual(Object.keys(datetime_rendering).sort(), Object.keys(given).sort())
  for (const [what, rendered] of Object.entries(datetime_rendering)) {
    assert.equal(new Members({ at: given[what] }, 'test').time('at'), rendered, what)
  }
})

vectorTest('modelseal vectors: the registry becomes publishers that verify', PATH, async () => {
  const { registry_file_text, signed } = load()
  const [publisher, ...more] = await importRegistry(utf8(registry_file_text))
  assert.deepEqual([publisher!.name, more], ['Alice', []])
  const signers = publisher!.members.map((member) => ({ ...member, publisher: publisher!.name }))
  const { signer } = await verifyManifest(fileOf(signed.ed25519), { signers })
  assert.equal(signer.publisher, 'Alice')
})
