import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { inFolder, SIGNET, signet } from './_signet.ts'

const SECRET = ['--passphrase-file', 'pw']

/** Alice's key and keyset, and a small model. */
function alice(folder: string): void {
  const made = signet(
    folder,
    'keys',
    'new',
    '--key',
    'a.pem',
    '--keyset',
    'a.json',
    '--name',
    'alice',
    ...SECRET,
  )
  assert.equal(made.code, 0, made.err)
  mkdirSync(join(folder, 'm/sub'), { recursive: true })
  writeFileSync(join(folder, 'm/weights.bin'), new Uint8Array(5000).fill(7))
  writeFileSync(join(folder, 'm/sub/vocab.txt'), 'a\nb\n')
}

const sign = (folder: string, ...more: string[]) =>
  signet(folder, 'model', 'sign', 'm', '--key', 'a.pem', ...SECRET, ...more)
const verify = (folder: string, ...more: string[]) =>
  signet(folder, 'model', 'verify', 'm', '--key', 'a.json', ...more)

test('usage errors exit with 1 and say what to do', () =>
  inFolder((folder) => {
    for (
      const args of [['nonsense'], ['keys', 'nonsense'], ['keys', 'new'], [
        'model',
        'verify',
        'm',
        '--nonsense',
      ]]
    ) {
      const { code, err } = signet(folder, ...args)
      assert.equal(code, 1, args.join(' '))
      assert.match(err, /error:|help/)
    }
    assert.equal(signet(folder, 'model', 'sign', '--help').code, 0)
    assert.match(signet(folder).out, /Exit codes/)
    assert.match(signet(folder, '--version').out, /^\d+\.\d+\.\d+/)
  }))

test('keys new writes an encrypted file for the owner alone, and never overwrites', () =>
  inFolder((folder) => {
    alice(folder)
    const file = join(folder, 'a.pem')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const before = readFileSync(file, 'utf8')
    assert.match(before, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
    const again = signet(folder, 'keys', 'new', '--key', 'a.pem', ...SECRET)
    assert.equal(again.code, 1)
    assert.match(again.err, /file_exists/)
    assert.equal(readFileSync(file, 'utf8'), before)
  }))

test('keys new asks nobody when nobody is there, and leaves nothing behind', () =>
  inFolder((folder) => {
    const { code, err } = signet(folder, 'keys', 'new', '--key', 'x.pem')
    assert.equal(code, 2)
    assert.match(err, /passphrase_required/)
    assert.match(err, /--passphrase-file/)
    assert.deepEqual(readdirSync(folder), ['pw'])
  }))

test('a passphrase comes through a descriptor', {
  skip: process.platform === 'win32' && 'no /bin/sh',
}, () =>
  inFolder((folder) => {
    const words = SIGNET.map((word) => `'${word}'`).join(' ')
    const command = `${words} keys new --key x.pem --passphrase-fd 3 3< pw`
    const { status, stderr } = spawnSync('/bin/sh', ['-c', command], {
      cwd: folder,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.equal(signet(folder, 'keys', 'test', '--key', 'x.pem', ...SECRET).code, 0)
  }))

test('keys show prints PEM, JWK and JWKS without a passphrase', () =>
  inFolder((folder) => {
    alice(folder)
    assert.match(
      signet(folder, 'keys', 'show', '--key', 'a.pem', '--pem').out,
      /^-----BEGIN PUBLIC KEY-----/,
    )
    const jwk = JSON.parse(signet(folder, 'keys', 'show', '--key', 'a.json', '--jwk').out)
    assert.equal(jwk.kty, 'EC')
    assert.equal(jwk.d, undefined)
    const jwks = JSON.parse(signet(folder, 'keys', 'show', '--key', 'a.json', '--jwks').out)
    assert.equal(jwks.keys[0].kid, jwk.kid)
    assert.equal(jwks.keys[0].key, undefined, 'the place of the private key is not published')
  }))

test('model verify has an exit code for each kind of no', () =>
  inFolder((folder) => {
    alice(folder)
    assert.equal(verify(folder).code, 2, 'no bundle yet')
    assert.equal(sign(folder).code, 0)
    assert.equal(verify(folder).code, 0)
    assert.equal(signet(folder, 'model', 'verify', 'm').code, 1, 'nobody is trusted')
    assert.equal(verify(folder, '--require', 'ML-DSA-65-Ed25519').code, 6)

    signet(folder, 'keys', 'new', '--key', 'b.pem', ...SECRET)
    assert.equal(signet(folder, 'model', 'verify', 'm', '--key', 'b.pem').code, 4)

    const bundle = JSON.parse(readFileSync(join(folder, 'm/model.sig'), 'utf8'))
    const { payload } = bundle.dsseEnvelope
    bundle.dsseEnvelope.payload = btoa(atob(payload).replace('weights', 'weighty'))
    writeFileSync(join(folder, 'bad.sig'), JSON.stringify(bundle))
    assert.equal(verify(folder, '--signature', 'bad.sig').code, 3)
    writeFileSync(join(folder, 'bad.sig'), '{"mediaType":')
    assert.equal(verify(folder, '--signature', 'bad.sig').code, 2)

    appendFileSync(join(folder, 'm/sub/vocab.txt'), 'c\n')
    const changed = verify(folder)
    assert.equal(changed.code, 5)
    assert.match(changed.out, /changed +sub\/vocab.txt/)
    const partial = verify(folder, '--only', 'weights.bin')
    assert.equal(partial.code, 0)
    assert.match(partial.out, /looked at weights.bin only; 1 sealed files were not checked/)
  }))

test('model verify refuses extra files, and reports what .github holds', () =>
  inFolder((folder) => {
    alice(folder)
    sign(folder)
    mkdirSync(join(folder, 'm/.github'))
    writeFileSync(join(folder, 'm/.github/ci.yml'), 'on: push\n')
    const ignored = verify(folder, '--json')
    assert.equal(ignored.code, 0)
    assert.deepEqual(JSON.parse(ignored.out).counts.ignored, 1)
    assert.equal(verify(folder, '--refuse-ignored').code, 5)
    writeFileSync(join(folder, 'm/evil\u001b[2K.py'), '')
    const extra = verify(folder)
    assert.equal(extra.code, 5)
    assert.match(
      extra.out,
      /extra +evil\\u001b\[2K\.py/,
      'control characters are shown, not obeyed',
    )
    assert.equal(verify(folder, '--allow-extra').code, 0)
  }))

test('model sign does not overwrite a bundle unless told, and signing again in place still verifies', () =>
  inFolder((folder) => {
    alice(folder)
    assert.equal(sign(folder).code, 0)
    assert.equal(sign(folder).code, 1)
    assert.equal(sign(folder, '--force').code, 0)
    assert.equal(verify(folder).code, 0)
  }))

test('model sign refuses links, an empty model and a wrong passphrase', () =>
  inFolder((folder) => {
    alice(folder)
    mkdirSync(join(folder, 'empty'))
    assert.match(
      signet(folder, 'model', 'sign', 'empty', '--key', 'a.pem', ...SECRET).err,
      /model_empty/,
    )
    writeFileSync(join(folder, 'guess'), 'wrong\n')
    const wrong = signet(
      folder,
      'model',
      'sign',
      'm',
      '--key',
      'a.pem',
      '--passphrase-file',
      'guess',
    )
    assert.equal(wrong.code, 2)
    assert.match(wrong.err, /passphrase_wrong/)
    assert.doesNotMatch(wrong.err, /guess\b.*wrong\n|horse/)
    symlinkSync('weights.bin', join(folder, 'm/link'))
    assert.match(sign(folder).err, /symlink_refused/)
    assert.equal(existsSync(join(folder, 'm/model.sig')), false)
    assert.equal(sign(folder, '--ignore', 'link').code, 0)
  }))

test('a model of one file has its bundle beside it', () =>
  inFolder((folder) => {
    alice(folder)
    copyFileSync(join(folder, 'm/weights.bin'), join(folder, 'one.gguf'))
    const made = signet(folder, 'model', 'sign', 'one.gguf', '--key', 'a.pem', ...SECRET)
    assert.equal(made.code, 0, made.err)
    assert.ok(existsSync(join(folder, 'one.gguf.sig')))
    assert.equal(signet(folder, 'model', 'verify', 'one.gguf', '--key', 'a.json').code, 0)
    appendFileSync(join(folder, 'one.gguf'), 'x')
    assert.equal(signet(folder, 'model', 'verify', 'one.gguf', '--key', 'a.json').code, 5)
  }))

test('after rotation the old seal holds, after revocation it does not', () =>
  inFolder((folder) => {
    alice(folder)
    sign(folder)
    const rotated = signet(
      folder,
      'keys',
      'rotate',
      '--keyset',
      'a.json',
      '--key',
      'a2.pem',
      ...SECRET,
    )
    assert.equal(rotated.code, 0, rotated.err)
    assert.equal(verify(folder).code, 0)
    const resigned = signet(
      folder,
      'model',
      'sign',
      'm',
      '--key',
      'a.json',
      '--out',
      'new.sig',
      ...SECRET,
    )
    assert.equal(resigned.code, 0, resigned.err)
    assert.equal(
      verify(folder, '--signature', 'new.sig').code,
      0,
      'a keyset signs with its primary',
    )
    const members = JSON.parse(signet(folder, 'keys', 'list', 'a.json', '--json').out)
    assert.deepEqual(members.map(({ status }: { status: string }) => status), [
      'primary',
      'verify-only',
    ])
    assert.equal(
      signet(folder, 'keys', 'revoke', '--keyset', 'a.json', '--id', members[1].id).code,
      0,
    )
    const revoked = verify(folder)
    assert.equal(revoked.code, 4)
    assert.match(revoked.err, /key_revoked/)
  }))

test('errors are JSON too when JSON is asked for', () =>
  inFolder((folder) => {
    const { code, out } = signet(
      folder,
      'model',
      'verify',
      'nowhere',
      '--key',
      'none.pem',
      '--json',
    )
    assert.equal(code, 2)
    const { ok, error } = JSON.parse(out)
    assert.equal(ok, false)
    assert.equal(error.code, 'file_unreadable')
  }))

test('model inspect says that nothing was verified; doctor finds every algorithm', () =>
  inFolder((folder) => {
    alice(folder)
    sign(folder)
    assert.match(signet(folder, 'model', 'inspect', 'm/model.sig').out, /^NOT VERIFIED/)
    const { code, out } = signet(folder, 'doctor', '--json')
    assert.equal(code, 0)
    assert.ok(JSON.parse(out).algorithms.length >= 8)
  }))

test('a private key that others may read is not used', {
  skip: process.platform === 'win32' && 'no modes',
}, () =>
  inFolder((folder) => {
    const made = signet(folder, 'keys', 'new', '--key', 'c.pem', '--insecure-clear-key')
    assert.equal(made.code, 0, made.err)
    const test = () => signet(folder, 'keys', 'test', '--key', 'c.pem', '--insecure-clear-key')
    assert.equal(test().code, 0)
    assert.equal(signet(folder, 'keys', 'test', '--key', 'c.pem').code, 1)
    chmodSync(join(folder, 'c.pem'), 0o644)
    assert.match(test().err, /key_exposed/)
  }))
