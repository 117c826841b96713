/** The hierarchy of data keys over real stores of key encryption keys. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/bytes.ts'
import { dataKeys, type Kek, memoryDataKeys, parseKeyUri } from '../../src/keys/mod.ts'
import { awsKmsKeys } from '../../backends/aws_kms.ts'
import { pkcs11Keys } from '../../backends/pkcs11.ts'
import { kmsDouble } from '../doubles/kms_double.ts'
import { refusal } from '../suites/key_provider_suite.ts'
import { lacking, MOTO, run } from './_emulators.ts'
import { hsmTest, makeToken } from './_softhsm.ts'

const credentials = { accessKeyId: 'AKIATESTTESTTESTTEST', secretAccessKey: 'secret' }
const scope = { tenant: 'acme', purpose: 'weights' }
const text = utf8('the weights of acme')

/** Encrypts, rotates, moves from one KEK to the other, destroys. */
async function walk(first: Kek, second: Kek) {
  const store = memoryDataKeys()
  const before = dataKeys({ kek: first, store })
  const one = await before.encrypt(scope, text)
  await before.rotate(scope)
  const two = await before.encrypt(scope, text)
  const earlier = () => Promise.resolve({ ...first, close: () => Promise.resolve() })
  const after = dataKeys({ kek: second, store, earlier })
  assert.deepEqual(await after.decrypt(scope, one), text)
  assert.deepEqual(await after.decrypt(scope, two), text)
  assert.deepEqual((await after.list(scope)).map(({ kek }) => kek), [second.id, second.id])
  const evil = { tenant: 'evil', purpose: 'weights' }
  const { records } = await store.load(scope)
  await store.save(evil, '0', records)
  await refusal({}, after.decrypt(evil, one), 'key_mismatch')
  await after.destroy(scope, records[0]!.id)
  await refusal({}, after.decrypt(scope, one), 'key_destroyed')
  assert.deepEqual(await after.decrypt(scope, two), text)
}

hsmTest('data keys move from a token to KMS and lose nothing', async () => {
  const { token, module, pinFile } = makeToken('hierarchy')
  const kms = await kmsDouble()
  try {
    const inToken = await pkcs11Keys().generateKek(
      parseKeyUri(`pkcs11:${token};object=kek?${module}&pin-source=${pinFile}`),
    )
    const inKms = await awsKmsKeys({ credentials }).generateKek(
      parseKeyUri(`awskms:key-id=alias/kek;region=eu-west-1;endpoint=${kms.endpoint}`),
    )
    await walk(inToken, inKms)
    await walk(inKms, inToken)
    await inToken.close()
    await inKms.close()
  } finally {
    await kms.close()
  }
})

const skip = lacking(MOTO) ?? false
test('data keys under two keys of moto', { skip }, async () => {
  const { endpoint, stop } = await run(MOTO)
  try {
    const provider = awsKmsKeys({ credentials })
    const at = (label: string) =>
      parseKeyUri(`awskms:key-id=alias/${label};region=eu-west-1;endpoint=${endpoint}`)
    const first = await provider.generateKek(at('first'))
    const second = await provider.generateKek(at('second'))
    await walk(first, second)
    await first.close()
    await second.close()
  } finally {
    await stop()
  }
})
