/** Composite signatures whose halves live in stores that know no composite. */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import {
  compositeKeys,
  type Key,
  type Keyring,
  keyring,
  parseKeyUri,
  readPublicKeys,
  signMessage,
  toPublicPem,
  wrappedKeys,
} from '../../src/keys/mod.ts'
import { awsKmsKeys } from '../../backends/aws_kms.ts'
import { readLimited, writeNew } from '../../backends/files.ts'
import { pkcs11Keys } from '../../backends/pkcs11.ts'
import { kmsDouble } from '../doubles/kms_double.ts'
import { refusal } from '../suites/key_provider_suite.ts'
import { lacking, MINISTACK, run } from './_emulators.ts'
import { hsmTest, makeToken } from './_softhsm.ts'

const credentials = { accessKeyId: 'AKIATESTTESTTESTTEST', secretAccessKey: 'secret' }
const encode = encodeURIComponent
const uri = (mlDsa: string, ed25519: string) =>
  parseKeyUri(`composite:ml-dsa=${encode(mlDsa)};ed25519=${encode(ed25519)}`)

function ringOf(): Keyring {
  const pkcs11 = pkcs11Keys()
  const kms = awsKmsKeys({ credentials })
  const stores = keyring(pkcs11, kms)
  return keyring(
    pkcs11,
    kms,
    wrappedKeys(stores, {
      readFile: readLimited,
      writeNew: (path, bytes) => writeNew(path, bytes),
    }),
  )
}

/** What any verifier does, that has the public key as PEM and knows nothing of stores. */
async function verifiesElsewhere(key: Key, message: Uint8Array, signature: Uint8Array) {
  const [publicKey] = await readPublicKeys(toPublicPem(key.publicKey))
  assert.ok(await publicKey!.verify(message, signature))
  assert.equal(await publicKey!.verify(utf8('another'), signature), false)
  for (const at of [0, 3308, 3309, 3372]) {
    const altered = signature.slice()
    altered[at]! ^= 1
    assert.equal(await publicKey!.verify(message, altered), false)
  }
}

/** Longer than KMS takes as a message: a composite signs it all the same. */
const long = crypto.getRandomValues(new Uint8Array(50_000))

hsmTest('Ed25519 in a token and ML-DSA in KMS make one composite key', async () => {
  const { token, module, pinFile } = makeToken('composite')
  const kms = await kmsDouble()
  try {
    const provider = compositeKeys(ringOf())
    const at = uri(
      `awskms:key-id=alias/pq;region=eu-west-1;endpoint=${kms.endpoint}`,
      `pkcs11:${token};object=ed?${module}&pin-source=${pinFile}`,
    )
    const made = await provider.generate(at, ALGORITHMS['ML-DSA-65-Ed25519'])
    const key = await provider.open(at)
    assert.equal(key.publicKey.id, made.publicKey.id)
    await verifiesElsewhere(key, long, await signMessage(key, long))
    const { body } = kms.calls.findLast(({ operation }) => operation === 'Sign')!
    assert.equal(body.MessageType, 'EXTERNAL_MU')
    const messages = Array.from({ length: 10 }, (_, i) => utf8(`message ${i}`))
    const all = await Promise.all(messages.map((one) => signMessage(key, one)))
    const valid = all.map((one, i) => key.publicKey.verify(messages[i]!, one))
    assert.ok((await Promise.all(valid)).every(Boolean))
    kms.fault = () => ({ status: 400, body: { __type: 'DisabledException' } })
    await refusal({}, signMessage(key, long), 'key_disabled')
    await key.close()
    await refusal({}, signMessage(key, long), 'key_closed')
  } finally {
    await kms.close()
  }
})

hsmTest('an ML-DSA seed wrapped by the token’s AES key is the other half', async () => {
  const { token, module, pinFile } = makeToken('composite-wrapped')
  const folder = mkdtempSync(join(tmpdir(), 'signet-wrapped-'))
  try {
    const at = (object: string) =>
      `pkcs11:${token};object=${object}?${module}&pin-source=${pinFile}`
    await (await pkcs11Keys().generateKek(parseKeyUri(at('kek')))).close()
    const provider = compositeKeys(ringOf())
    const file = join(folder, 'pq.json')
    const where = uri(`wrapped:file=${encode(file)};kek=${encode(at('kek'))}`, at('ed'))
    await provider.generate(where, ALGORITHMS['ML-DSA-65-Ed25519'])
    const key = await provider.open(where)
    await verifiesElsewhere(key, long, await signMessage(key, long))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

const skip = lacking(MINISTACK) ?? false
test('both halves in KMS: Ed25519 on ministack, ML-DSA wrapped by its key', { skip }, async () => {
  const { endpoint, stop } = await run(MINISTACK)
  const folder = mkdtempSync(join(tmpdir(), 'signet-wrapped-'))
  try {
    const at = (label: string) =>
      `awskms:key-id=alias/${label};region=eu-west-1;endpoint=${endpoint}`
    await (await awsKmsKeys({ credentials }).generateKek(parseKeyUri(at('kek')))).close()
    const provider = compositeKeys(ringOf())
    const file = join(folder, 'pq.json')
    const where = uri(`wrapped:file=${encode(file)};kek=${encode(at('kek'))}`, at('ed'))
    await provider.generate(where, ALGORITHMS['ML-DSA-65-Ed25519'])
    const key = await provider.open(where)
    await verifiesElsewhere(key, long, await signMessage(key, long))
  } finally {
    rmSync(folder, { recursive: true, force: true })
    await stop()
  }
})
