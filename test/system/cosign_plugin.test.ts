/** cosign's plugin protocol, version 1; the calls are those that sigstore 1.10.3 makes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, fromUtf8, toBase64, utf8 } from '../../src/bytes.ts'
import { ecdsaFromDer } from '../../src/crypto/mod.ts'
import { keyring, memoryKeys, parseKeyUri, readPublicKeys } from '../../src/keys/mod.ts'
import { cosignPlugin } from '../../src/cli/cosign_plugin.ts'
import { inFolder, signet } from './_signet.ts'

const message = utf8('message of cosign')
const ring = keyring(memoryKeys({ engine: 'noble' }))

interface Extra {
  readonly hashFunc?: number
  readonly ctxDeadline?: string
  readonly message?: Uint8Array
}

async function call(uri: string, methodName: string, args: object, extra: Extra = {}) {
  const initOptions = {
    protocolVersion: 'v1',
    keyResourceID: uri,
    hashFunc: extra.hashFunc ?? 5,
    ...(extra.ctxDeadline === undefined ? {} : { ctxDeadline: extra.ctxDeadline }),
    rpcOptions: { keyVersion: '', remoteVerification: false },
  }
  const { out, exitCode } = await cosignPlugin({
    args: ['v1', JSON.stringify({ initOptions, methodName, [methodName]: args })],
    keyring: () => Promise.resolve(ring),
    message: () => Promise.resolve(extra.message ?? message),
  })
  return { exitCode, ...JSON.parse(out) }
}

const options = (digest: Uint8Array | null = null) => ({
  rpcOptions: { keyVersion: '', remoteVerification: false },
  messageOptions: { digest: digest && toBase64(digest), ...(digest ? { hashFunc: 5 } : {}) },
})

for (const name of ['ES256', 'Ed25519'] as const) {
  test(`${name}: cosign makes a key, reads it, signs and verifies`, async () => {
    const uri = `memory:cosign-${name}`
    const made = await call(uri, 'createKey', { algorithm: name })
    const read = await call(uri, 'publicKey', { publicKeyOptions: options() })
    assert.equal(made.createKey.publicKeyPEM, read.publicKey.publicKeyPEM)
    const pem = fromUtf8(fromBase64(made.createKey.publicKeyPEM))
    const [key] = await readPublicKeys(pem)
    const signed = await call(uri, 'signMessage', { signOptions: options() })
    const signature = fromBase64(signed.signMessage.signature)
    const raw = name === 'ES256' ? ecdsaFromDer(signature, 64) : signature
    assert.ok(await key!.verify(message, raw))
    const args = { signature: toBase64(signature), verifyOptions: options() }
    assert.deepEqual((await call(uri, 'verifySignature', args)).verifySignature, {})
    const other = await call(uri, 'verifySignature', args, { message: utf8('another') })
    assert.equal(other.exitCode, 1)
    assert.match(other.errorMessage, /signature_invalid/)
  })
}

test('a digest is signed where the key signs one, and of the right hash only', async () => {
  const uri = 'memory:cosign-digest'
  await call(uri, 'createKey', { algorithm: 'ES256' })
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', message))
  const signed = await call(uri, 'signMessage', { signOptions: options(digest) })
  const { publicKey } = await ring.open(uri)
  const raw = ecdsaFromDer(fromBase64(signed.signMessage.signature), 64)
  assert.ok(await publicKey.verify(message, raw))
  const wrong = await call(uri, 'signMessage', { signOptions: options() }, { hashFunc: 7 })
  assert.match(wrong.errorMessage, /algorithm_unsupported/)
  await call('memory:cosign-ed', 'createKey', { algorithm: 'Ed25519' })
  const ed = await call('memory:cosign-ed', 'signMessage', { signOptions: options(digest) })
  assert.match(ed.errorMessage, /mode_unsupported/)
})

test('what makes no sense is an errorMessage and exit code 1', async () => {
  const lost = await call('memory:absent', 'publicKey', { publicKeyOptions: options() })
  assert.match(lost.errorMessage, /key_not_found/)
  assert.equal(lost.exitCode, 1)
  const unknown = await call('memory:a', 'destroyKey', {})
  assert.match(unknown.errorMessage, /usage_invalid/)
  const past = { ctxDeadline: '2020-01-01T00:00:00Z' }
  await ring.provider('memory:late').provider.generate(parseKeyUri('memory:late'), ALGORITHMS.ES256)
  const late = await call('memory:late', 'signMessage', { signOptions: options() }, past)
  assert.match(late.errorMessage, /aborted/)
  for (const args of [[], ['v2', '{}'], ['v1'], ['v1', '[]'], ['v1', '{"methodName":1}']]) {
    const { out, exitCode } = await cosignPlugin({
      args,
      keyring: () => Promise.resolve(ring),
      message: () => Promise.resolve(message),
    })
    assert.equal(exitCode, 1)
    assert.equal(typeof JSON.parse(out).errorMessage, 'string')
  }
})

test('the binary answers on standard output, also when it fails', async () => {
  await inFolder((folder) => {
    const initOptions = { protocolVersion: 'v1', keyResourceID: 'file:absent.pem', hashFunc: 5 }
    const json = JSON.stringify({ initOptions, methodName: 'publicKey', publicKey: {} })
    const failed = signet(folder, 'cosign-plugin', 'v1', json)
    assert.equal(failed.code, 1)
    assert.match(JSON.parse(failed.out).errorMessage, /absent\.pem/)
    const asked = json.replace('"publicKey"', '"defaultAlgorithm"')
    const told = signet(folder, 'cosign-plugin', 'v1', asked)
    assert.equal(told.code, 0)
    assert.deepEqual(JSON.parse(told.out), { defaultAlgorithm: { defaultAlgorithm: 'ES256' } })
  })
})
