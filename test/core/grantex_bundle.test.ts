import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { concat, toBase64, utf8 } from '../../src/bytes.ts'
import { derivePublic, toPkcs8 } from '../../src/crypto/mod.ts'
import {
  formatGrantexBundle,
  grantexAuditKey,
  type GrantexBundle,
  grantexFileLayout,
  type GrantexFileOptions,
  grantexKeys,
  mintGrantexToken,
  openGrantexFile,
  parseGrantexBundle,
  sealGrantexFile,
  verifyGrantexBundle,
} from '../../src/interop/mod.ts'
import { generateKey, importKey, readPrivateKey, toPem, toPublicPem } from '../../src/keys/mod.ts'
import rsaJwk from '../vectors/rsa_2048.json' with { type: 'json' }

const ISSUER = 'https://signet.example'
const NOW = Math.floor(Date.now() / 1000)
const rsa = await readPrivateKey(JSON.stringify(rsaJwk.jwk), { insecureClearKey: true })
const seed = crypto.getRandomValues(new Uint8Array(32))
const pair = { privateKey: seed, publicKey: await derivePublic(ALGORITHMS['Ed25519'], seed) }
const audit = {
  pem: toPem('PRIVATE KEY', toPkcs8(ALGORITHMS['Ed25519'], pair)),
  publicKey: (await importKey(ALGORITHMS['Ed25519'], pair)).publicKey,
}
const iso = (seconds: number) => new Date(seconds * 1000).toISOString()
const jwk = { ...rsa.publicKey.jwk, use: 'sig', kid: 'k1' }
const bundle: GrantexBundle = {
  bundleId: 'bundle_01HX',
  grantToken: await mintGrantexToken(
    {
      issuer: ISSUER,
      principal: 'user_1',
      agent: 'did:grantex:ag_1',
      scopes: ['calendar:read'],
      grant: 'grnt_1',
      id: 'tok_1',
      issuedAt: NOW - 10,
      expiresAt: NOW + 7200,
      depth: 0,
    },
    rsa,
    'k1',
  ),
  jwksSnapshot: { keys: [jwk], fetchedAt: iso(NOW - 10), validUntil: iso(NOW + 3600) },
  offlineAuditKey: {
    publicKey: toPublicPem(audit.publicKey),
    privateKey: audit.pem,
    algorithm: 'Ed25519',
  },
  checkpointAt: (NOW - 10) * 1000,
  syncEndpoint: 'https://signet.example/v1/audit/offline-sync',
  offlineExpiresAt: iso(NOW + 3600),
}
const HEX = '0123456789abcdef'.repeat(4)
// The real cost takes a second and 128 MiB; that is for the tests against the real client.
const fast: GrantexFileOptions = {
  scrypt: async (password, salt, { length }) =>
    new Uint8Array(await crypto.subtle.digest('SHA-256', concat(password, salt))).slice(0, length),
}

test('parseGrantexBundle() refuses what is no bundle, member by member', () => {
  const json = JSON.parse(formatGrantexBundle(bundle))
  for (const name of Object.keys(json)) {
    for (const value of [undefined, null, 5, '', [], {}]) {
      if (name === 'checkpointAt' && value === 5) continue
      assert.throws(
        () => parseGrantexBundle(JSON.stringify({ ...json, [name]: value })),
        { name: 'SignetError', code: 'bundle_malformed' },
        `${name}: ${JSON.stringify(value)}`,
      )
    }
  }
  const wrong = { bundleId: '../../x', syncEndpoint: 'javascript:alert(1)', checkpointAt: -1 }
  for (const [name, value] of Object.entries(wrong)) {
    assert.throws(() => parseGrantexBundle(JSON.stringify({ ...json, [name]: value })), {
      code: 'bundle_malformed',
    })
  }
  assert.throws(() => parseGrantexBundle('[]'), { code: 'bundle_malformed' })
  assert.throws(() => parseGrantexBundle('{'), { code: 'json_malformed' })
  assert.throws(() => parseGrantexBundle(' '.repeat(300_000)), { code: 'too_large' })
  assert.equal(
    formatGrantexBundle(parseGrantexBundle(JSON.stringify({ ...json, data: json }))),
    formatGrantexBundle(bundle),
  )
})

test('verifyGrantexBundle() refuses a snapshot that nobody vouches for', async () => {
  await assert.rejects(verifyGrantexBundle(bundle, { issuer: ISSUER }), { code: 'usage_invalid' })
  const keys = await grantexKeys([jwk])
  assert.equal((await verifyGrantexBundle(bundle, { issuer: ISSUER, keys })).claims.grant, 'grnt_1')
  const mallory = await generateKey(ALGORITHMS['RS256'])
  const edited = {
    ...bundle,
    jwksSnapshot: {
      ...bundle.jwksSnapshot,
      keys: [{ ...mallory.publicKey.jwk, use: 'sig', kid: 'k1' }],
    },
    grantToken: await mintGrantexToken(
      {
        ...(await verifyGrantexBundle(bundle, { issuer: ISSUER, keys })).claims,
        scopes: ['admin'],
      },
      mallory,
      'k1',
    ),
  }
  await assert.rejects(verifyGrantexBundle(edited, { issuer: ISSUER, keys }), {
    code: 'signature_invalid',
  })
  // What the ugly option means.
  const options = { insecureTrustSnapshot: true }
  assert.ok(await verifyGrantexBundle(edited, { issuer: ISSUER }, options))
})

test('verifyGrantexBundle() refuses each kind of being over, by its own code', async () => {
  const trust = { issuer: ISSUER, keys: await grantexKeys([jwk]) }
  const snapshot = bundle.jwksSnapshot
  const cases: [GrantexBundle, string][] = [
    [{ ...bundle, offlineExpiresAt: iso(NOW - 60) }, 'bundle_expired'],
    [{ ...bundle, jwksSnapshot: { ...snapshot, validUntil: iso(NOW - 60) } }, 'keys_expired'],
    [{ ...bundle, jwksSnapshot: { ...snapshot, fetchedAt: iso(NOW + 60) } }, 'bundle_malformed'],
    [{ ...bundle, checkpointAt: (NOW + 60) * 1000 }, 'bundle_malformed'],
  ]
  for (const [one, code] of cases) {
    await assert.rejects(verifyGrantexBundle(one, trust), { code }, code)
  }
  await assert.rejects(verifyGrantexBundle(bundle, trust, { now: NOW + 7300 }), {
    code: 'grant_expired',
  })
  await assert.rejects(verifyGrantexBundle(bundle, trust, { now: NOW - 100 }), {
    code: 'grant_not_yet_valid',
  })
})

test('grantexAuditKey() refuses halves that do not belong together, and other keys', async () => {
  assert.equal((await grantexAuditKey(bundle)).publicKey.id, audit.publicKey.id)
  const other = await generateKey(ALGORITHMS['Ed25519'])
  const swapped = { ...bundle.offlineAuditKey, publicKey: toPublicPem(other.publicKey) }
  await assert.rejects(grantexAuditKey({ ...bundle, offlineAuditKey: swapped }), {
    code: 'key_mismatch',
  })
  const none = { ...bundle.offlineAuditKey, privateKey: 'nothing' }
  await assert.rejects(grantexAuditKey({ ...bundle, offlineAuditKey: none }), {
    code: 'pem_malformed',
  })
})

for (const layout of ['npm', 'gtxb', 'python'] as const) {
  test(`a ${layout} file is refused with a wrong secret and with any byte changed or cut off`, async () => {
    const file = await sealGrantexFile(bundle, HEX, layout, fast)
    assert.equal(grantexFileLayout(file), layout)
    const open = (bytes: Uint8Array, secret = HEX) => openGrantexFile(bytes, secret, fast)
    assert.equal(formatGrantexBundle(await open(file)), formatGrantexBundle(bundle))
    const wrong = { name: 'SignetError', code: 'passphrase_wrong' }
    await assert.rejects(open(file, HEX.replace('0', '1')), wrong)
    await assert.rejects(open(file, 'short'), wrong)
    await assert.rejects(open(file, '\ud800'), wrong)
    await assert.rejects(open(file, ''), { code: 'passphrase_required' })
    for (let at = 0; at < file.length; at += at < 80 ? 1 : 97) {
      const changed = file.slice()
      changed[at]! ^= 1
      const code = layout === 'gtxb' && at === 4 ? 'kdf_refused' : 'passphrase_wrong'
      await assert.rejects(open(changed), { name: 'SignetError', code }, `byte ${at}`)
    }
    for (const length of [0, 1, 4, 12, 28, 29, 48, 49, 50, file.length - 1]) {
      await assert.rejects(open(file.slice(0, length)), { name: 'SignetError' }, `length ${length}`)
    }
    await assert.rejects(open(concat(file, utf8('x'))), wrong)
  })
}

test('openGrantexFile() refuses large files and files that hold something else', async () => {
  await assert.rejects(openGrantexFile(new Uint8Array(1024 * 1024 + 1), HEX), { code: 'too_large' })
  const iv = new Uint8Array(12)
  const raw = Uint8Array.from(HEX.match(/../g)!, (pair) => parseInt(pair, 16))
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt'])
  for (const plain of ['', 'null', '{"bundleId":"x"}', '\u{1f600}']) {
    const sealed = new Uint8Array(
      await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, utf8(plain)),
    )
    const code = plain === '' ? 'passphrase_wrong' : 'bundle_malformed'
    await assert.rejects(openGrantexFile(utf8(toBase64(concat(iv, sealed))), HEX), { code })
  }
  await assert.rejects(
    sealGrantexFile(bundle, 'no hexadecimal', 'python'),
    { code: 'usage_invalid' },
  )
  await assert.rejects(sealGrantexFile(bundle, '', 'npm'), { code: 'passphrase_required' })
})

test('a scrypt that has not the memory is kdf_refused, not a raw error', async () => {
  const starved: GrantexFileOptions = {
    scrypt: () => Promise.reject(new RangeError('out of memory')),
  }
  await assert.rejects(sealGrantexFile(bundle, 'x', 'gtxb', starved), { code: 'kdf_refused' })
})
