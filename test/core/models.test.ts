import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Algorithm,
  ALGORITHMS,
  generateKey,
  type Key,
  sealModel,
  type SealOptions,
  type StreamFile,
  streamTree,
  trustKeys,
  verifyModel,
  type VerifyModelOptions,
} from '../../mod.ts'
import { utf8 } from '../../src/bytes.ts'

const files = (): Map<string, StreamFile> =>
  new Map<string, StreamFile>([
    ['config.json', utf8('{"d":8}\n')],
    ['weights.bin', new Uint8Array(3000).fill(7)],
    ['sub/vocab.txt', utf8('a\nb\n')],
    ['sub-2/empty', new Uint8Array()],
    ['\u{10000}.txt', utf8('astral')],
    ['\uffee.txt', utf8('below astral in code points, above in UTF-16')],
  ])

const key = await generateKey(ALGORITHMS['ES256'])

async function sealed(options: Partial<SealOptions> = {}, keys: readonly Key[] = [key]) {
  const sealers = keys.map((key) => ({ key }))
  const { bundles } = await sealModel(streamTree(files()), sealers, { name: 'tiny', ...options })
  return bundles.map((bytes, i) => ({ name: `${i}.sig`, bytes }))
}

async function statuses(
  changed: ReadonlyMap<string, StreamFile>,
  options: VerifyModelOptions = {},
) {
  const report = await verifyModel(
    await sealed(),
    streamTree(changed),
    trustKeys(key.publicKey),
    options,
  )
  const odd = report.files.filter(({ status }) => status !== 'ok')
  return { ok: report.ok, odd: odd.map(({ path, status }) => `${status} ${path}`), report }
}

test('verifyModel() tells a changed, a missing and an extra file', async () => {
  const changed = files()
  changed.set('weights.bin', new Uint8Array(3000).fill(8))
  changed.set('config.json', utf8('{"d":8}\n '))
  changed.set('evil.py', utf8('import os'))
  changed.delete('sub/vocab.txt')
  const { ok, odd } = await statuses(changed)
  assert.equal(ok, false)
  assert.deepEqual(odd, [
    'changed config.json',
    'extra evil.py',
    'missing sub/vocab.txt',
    'changed weights.bin',
  ])
})

test('verifyModel() refuses a signer whom nobody trusts', async () => {
  const other = await generateKey(ALGORITHMS['ES256'])
  const bundles = await sealed({}, [other])
  await assert.rejects(
    verifyModel(bundles, streamTree(files()), trustKeys(key.publicKey)),
    { code: 'signer_untrusted' },
  )
})

test('verifyModel() finds nothing wrong with what was sealed, whatever the key', async () => {
  for (const algorithm of Object.values(ALGORITHMS) as Algorithm[]) {
    const signer = await generateKey(algorithm)
    for (const method of ['files', 'shards'] as const) {
      const bundles = await sealed({ method, shardSize: 1000 }, [signer])
      const report = await verifyModel(bundles, streamTree(files()), trustKeys(signer.publicKey))
      assert.ok(report.ok, algorithm.name)
      assert.equal(report.bundles[0]?.signer?.keyId, signer.publicKey.id)
      assert.equal(report.counts.ok, method === 'files' ? 6 : 5)
    }
  }
})
