/** The certificate bundle of the OMS test vectors (ossf/model-signing-spec, test-vectors/v1.0). */
import assert from 'node:assert/strict'
import { formatBundle, parseBundle, verifySeal } from '../../mod.ts'
import { vectorBytes, vectorTest } from './_vectors.ts'

const BUNDLE = 'oms/vectors/valid/certificate.bundle.json'
// Its certificates are valid from May 2025 to April 2035. Its root is not in the vectors, so the
// intermediate stands for it. Its leaf is named like the intermediate and marked CA, by mistake.
const now = Date.parse('2026-01-01T00:00:00Z') / 1000

function parts() {
  const { material, envelope } = parseBundle(vectorBytes(BUNDLE))
  assert.ok(material.method === 'certificate')
  const [leaf, intermediate] = material.chain
  assert.ok(leaf !== undefined && intermediate !== undefined && material.chain.length === 2)
  return { leaf, intermediate, envelope }
}

const under = (...roots: readonly Uint8Array<ArrayBuffer>[]) => ({
  signers: [],
  roots: roots.map((certificate) => ({ certificate })),
})

vectorTest(
  'the OMS certificate bundle is refused without its root, and out of time',
  BUNDLE,
  async () => {
    const bundle = vectorBytes(BUNDLE)
    const { leaf, intermediate, envelope } = parts()
    const trust = under(intermediate)
    await assert.rejects(verifySeal(bundle, under(), { now }), { code: 'signer_untrusted' })
    await assert.rejects(verifySeal(bundle, under(envelope.payload), { now }), {
      code: 'certificate_malformed',
      where: 'trusted root 1',
    })
    await assert.rejects(verifySeal(bundle, trust, { now: now + 10 * 366 * 86_400 }), {
      code: 'key_expired',
    })
    await assert.rejects(verifySeal(bundle, trust, { now: now - 366 * 86_400 }), {
      code: 'key_not_yet_valid',
    })
    // The leaf calls itself a CA of the right name; it may not issue, and did not.
    const swapped = formatBundle({
      material: { method: 'certificate', chain: [intermediate, leaf] },
      envelope,
    })
    await assert.rejects(verifySeal(swapped, under(leaf), { now }), {
      code: 'certificate_untrusted',
    })
    const payload = envelope.payload.slice()
    payload[100]! ^= 1
    const altered = formatBundle({
      material: { method: 'certificate', chain: [leaf, intermediate] },
      envelope: { ...envelope, payload },
    })
    await assert.rejects(verifySeal(altered, trust, { now }), { code: 'signature_invalid' })
  },
)

vectorTest('the OMS certificate bundle verifies', BUNDLE, async () => {
  const { intermediate } = parts()
  const { signer } = await verifySeal(vectorBytes(BUNDLE), under(intermediate), { now })
  assert.equal(signer.algorithm, 'ES384')
  assert.equal(signer.certificate, 'CN=intermediate-ca')
})
