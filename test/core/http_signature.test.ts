import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, fromBase64Url, owned, toBase64, utf8 } from '../../src/bytes.ts'
import {
  checkContentDigest,
  contentDigest,
  type HttpRequestParts,
  type NonceStore,
  type ReceivedRequest,
  signatureBase,
  signRequest,
  verifyRequest,
} from '../../src/envelope/mod.ts'
import { parseDictionary } from '../../src/envelope/structured_fields.ts'
import { type ErrorCode, isSignetError } from '../../src/errors.ts'
import { generateKey, importKey, type PublicKey, signMessage } from '../../src/keys/mod.ts'

const NOW = 1_763_719_200
const URL_ = 'https://gateway.example/bundles/b1/sync?x=1'
const is = (code: ErrorCode) => (error: unknown) => isSignetError(error, code)

function nonces(): NonceStore & { readonly seen: Set<string> } {
  const seen = new Set<string>()
  // deno-lint-ignore require-await -- the port is asynchronous
  return { seen, insert: async (id) => seen.size < seen.add(id).size }
}

const key = await generateKey(ALGORITHMS['Ed25519'])
const other = await generateKey(ALGORITHMS['Ed25519'])
const known = (id: string): PublicKey | undefined =>
  id === key.publicKey.id ? key.publicKey : undefined

async function signed(parts: Partial<HttpRequestParts> = {}, more = {}): Promise<HttpRequestParts> {
  const request = { method: 'POST', url: URL_, body: utf8('{"a":1}'), ...parts }
  return { ...request, headers: await signRequest(request, key, { created: NOW, ...more }) }
}

const check = (request: ReceivedRequest, more = {}) =>
  verifyRequest(request, { keyOf: known, nonces: nonces(), now: NOW, ...more })

/** The request with one field changed by a function. */
function edited(
  request: HttpRequestParts,
  name: string,
  change: (value: string) => string,
): HttpRequestParts {
  const headers = new Headers(request.headers)
  headers.set(name, change(headers.get(name) ?? ''))
  return { ...request, headers }
}

/** A request signed by hand, over an input of one's own. */
async function handmade(components: string[], parameters: string): Promise<HttpRequestParts> {
  const list = `(${components.map((name) => `"${name}"`).join(' ')})${parameters}`
  const request = { method: 'POST', url: URL_, headers: new Headers(), body: utf8('{}') }
  request.headers.set('content-digest', await contentDigest(request.body))
  const base = signatureBase(request, components, list)
  request.headers.set('signature-input', `sig1=${list}`)
  request.headers.set('signature', `sig1=:${toBase64(await signMessage(key, base))}:`)
  return request
}

const ALL = ['@method', '@target-uri', 'content-digest']
const PARAMETERS =
  `;created=${NOW};nonce="n";keyid="${key.publicKey.id}";alg="ed25519";tag="signet-device"`

test('verifyRequest() refuses a request that is not signed', async () => {
  await assert.rejects(check({ method: 'GET', url: URL_ }), is('http_signature_missing'))
  const request = await signed()
  for (const name of ['signature', 'signature-input']) {
    const headers = new Headers(request.headers)
    headers.delete(name)
    await assert.rejects(check({ ...request, headers }), is('http_signature_missing'))
  }
  const label = edited(request, 'signature-input', (value) => value.replace('sig1', 'sig2'))
  await assert.rejects(check(label), is('http_signature_missing'))
})

test('verifyRequest() refuses another method, target, body or digest', async () => {
  const request = await signed()
  await assert.rejects(check({ ...request, method: 'PUT' }), is('signature_invalid'))
  for (const url of [URL_ + '2', URL_.replace('https', 'http'), URL_.replace('b1', 'b2')]) {
    await assert.rejects(check({ ...request, url }), is('signature_invalid'))
  }
  await assert.rejects(check({ ...request, body: utf8('{"a":2}') }), is('content_digest_mismatch'))
  await assert.rejects(
    check({ ...request, body: new Uint8Array() }),
    is('content_digest_mismatch'),
  )
  const digest = await contentDigest(utf8('{"a":2}'))
  const changed = edited({ ...request, body: utf8('{"a":2}') }, 'content-digest', () => digest)
  await assert.rejects(check(changed), is('signature_invalid'))
})

test('verifyRequest() refuses a body that is not covered', async () => {
  const request = await signed({ body: undefined })
  await check(request)
  const grown = { ...request, body: utf8('{}') }
  await assert.rejects(check(grown), is('http_signature_malformed'))
  const withDigest = edited(grown, 'content-digest', () => 'sha-256=:AAAA:')
  await assert.rejects(check(withDigest), is('http_signature_malformed'))
})

test('verifyRequest() refuses what does not cover method and target', async () => {
  await check(await handmade(ALL, PARAMETERS))
  for (const missing of ALL) {
    const request = await handmade(ALL.filter((name) => name !== missing), PARAMETERS)
    await assert.rejects(check(request), is('http_signature_malformed'))
  }
})

test('verifyRequest() refuses parameters that are missing, unknown or of a wrong type', async () => {
  const cases = [
    '',
    PARAMETERS.replace(/;created=\d+/, ''),
    PARAMETERS.replace(/;nonce="n"/, ''),
    PARAMETERS.replace(/;keyid="[^"]*"/, ''),
    PARAMETERS.replace(';tag="signet-device"', ''),
    PARAMETERS.replace(';alg="ed25519"', ''),
    PARAMETERS.replace('"signet-device"', '"web-bot-auth"'),
    PARAMETERS.replace('"signet-device"', 'signet-device'),
    PARAMETERS.replace('"n"', '""'),
    PARAMETERS.replace('"n"', `"${'n'.repeat(129)}"`),
    PARAMETERS.replace('"n"', ':AAAA:'),
    PARAMETERS.replace(/created=\d+/, `created="${NOW}"`),
    PARAMETERS + ';expires=9999999999',
  ]
  for (const parameters of cases) {
    const request = await handmade(ALL, parameters)
    await assert.rejects(check(request), is('http_signature_malformed'), parameters)
  }
  for (const alg of ['hmac-sha256', 'none', 'rsa-pss-sha512']) {
    const request = await handmade(ALL, PARAMETERS.replace('ed25519', alg))
    await assert.rejects(check(request), is('algorithm_mismatch'))
  }
})

test('verifyRequest() refuses unknown keys, foreign signatures and keys of another algorithm', async () => {
  const request = await signed()
  await assert.rejects(check(request, { keyOf: () => undefined }), is('signer_untrusted'))
  // The records of a server give the wrong key: its id is not the one named.
  await assert.rejects(check(request, { keyOf: () => other.publicKey }), is('signer_untrusted'))
  const forged = { method: 'POST', url: URL_, body: utf8('{"a":1}') }
  const headers = await signRequest(forged, other, { created: NOW })
  headers.set(
    'signature-input',
    headers.get('signature-input')!.replace(other.publicKey.id, key.publicKey.id),
  )
  await assert.rejects(check({ ...forged, headers }), is('signature_invalid'))
  const ec = await generateKey(ALGORITHMS['ES256'])
  await assert.rejects(signRequest(forged, ec), is('key_usage'))
})

test('verifyRequest() refuses old requests and those from the future', async () => {
  const request = await signed()
  await check(request, { now: NOW + 300 })
  await check(request, { now: NOW - 300 })
  for (const now of [NOW + 301, NOW - 301]) {
    await assert.rejects(check(request, { now }), is('http_signature_stale'))
  }
})

test('verifyRequest() refuses a request the second time, and burns no nonce of a forged one', async () => {
  const store = nonces()
  const request = await signed()
  const forged = edited(request, 'signature', () => `sig1=:${toBase64(new Uint8Array(64))}:`)
  await assert.rejects(check(forged, { nonces: store }), is('signature_invalid'))
  const body = { ...request, body: utf8('{"a":2}') }
  await assert.rejects(check(body, { nonces: store }), is('content_digest_mismatch'))
  assert.equal(store.seen.size, 0)
  await check(request, { nonces: store })
  await assert.rejects(check(request, { nonces: store }), is('request_replayed'))
})

test('verifyRequest() reads no body of whoever did not sign', async () => {
  const request = await signed()
  const body = () => Promise.reject(new Error('read'))
  await assert.rejects(
    check({ ...request, body }, { keyOf: () => undefined }),
    is('signer_untrusted'),
  )
  const forged = edited(request, 'signature', () => `sig1=:${toBase64(new Uint8Array(64))}:`)
  await assert.rejects(check({ ...forged, body }), is('signature_invalid'))
  await assert.rejects(check({ ...request, body }), /read/)
  const { body: bytes } = request
  const verified = await check({ ...request, body: () => Promise.resolve(bytes!) })
  assert.deepEqual(verified.body, bytes)
})

test('verifyRequest() refuses when the store of nonces does not answer', async () => {
  const broken = { insert: () => Promise.reject(new Error('gone')) }
  await assert.rejects(check(await signed(), { nonces: broken }), /gone/)
})

test('signatureBase() refuses components that are unknown, absent, repeated or not ASCII', () => {
  const headers = new Headers({ 'x-name': 'caf\u00e9', 'x-ok': 'ok' })
  const request = { method: 'GET', url: URL_, headers }
  for (
    const components of [
      ['@status'],
      ['@query-param'],
      ['__proto__'],
      ['@constructor'],
      ['X-Ok'],
      ['x-none'],
      ['x-name'],
      ['x-ok', 'x-ok'],
      ['x-ok"'],
    ]
  ) {
    assert.throws(
      () => signatureBase(request, components, '()'),
      is('http_signature_malformed'),
      components[0]!,
    )
  }
  assert.throws(
    () => signatureBase({ ...request, url: '/relative' }, ['@path'], '()'),
    is('http_signature_malformed'),
  )
})

test('parseDictionary() refuses what is not strict', () => {
  const bad = [
    '',
    ' a=1',
    'a=1 ',
    'a=1,',
    'a=1,,b=2',
    'A=1',
    'a=1, a=2',
    'a=1;x;x',
    'a=1.5',
    'a=1234567890123456',
    'a="x',
    'a="\u00e9"',
    'a="\\n"',
    'a=:AB:',
    'a=:A B=:',
    'a=(1  2)',
    'a=(1 2',
    'a=(1,2)',
    'a=( 1)',
    'a=@1',
    'a=%"x"',
    'a=?2',
    'a=;x',
    `a=${'"x"'.padEnd(9000, ';')}`,
    Array.from({ length: 65 }, (_, i) => `k${i}`).join(','),
    `a=(${Array.from({ length: 65 }, (_, i) => `${i}`).join(' ')})`,
  ]
  for (const text of bad) {
    assert.throws(() => parseDictionary(text, 'X'), is('field_malformed'), text)
  }
})

test('parseDictionary() reads members with parameters and keeps their text', () => {
  const read = parseDictionary('a=("x" tok;p=?0 -7);q="\\"\\\\", b;c, d=:AQI=:', 'X')
  assert.deepEqual([...read.keys()], ['a', 'b', 'd'])
  assert.equal(read.get('a')?.raw, '("x" tok;p=?0 -7);q="\\"\\\\"')
  assert.deepEqual(read.get('a')?.parameters, new Map([['q', '"\\']]))
  assert.deepEqual(read.get('a')?.value, [
    { value: 'x', parameters: new Map() },
    { value: { token: 'tok' }, parameters: new Map([['p', false]]) },
    { value: -7, parameters: new Map() },
  ])
  assert.equal(read.get('b')?.value, true)
  assert.deepEqual(read.get('d')?.value, Uint8Array.of(1, 2))
})

test('checkContentDigest() refuses a digest that is missing, malformed or another', async () => {
  const body = utf8('{"hello": "world"}')
  // RFC 9530, appendix D.
  await checkContentDigest('sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:', body)
  assert.equal(await contentDigest(body), 'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:')
  for (const field of ['', 'sha-512=:AAAA:', 'sha-256="X48E"', 'sha-256', 'md5=:AAAA:']) {
    await assert.rejects(checkContentDigest(field, body), is('field_malformed'), field)
  }
  await assert.rejects(checkContentDigest('sha-256=:AAAA:', body), is('content_digest_mismatch'))
})

test('signatureBase() and the signature are those of RFC 9421 B.2.6', async () => {
  const pair = {
    publicKey: fromBase64Url('JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs'),
    privateKey: fromBase64Url('n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU'),
  }
  const example = await importKey(ALGORITHMS['Ed25519'], pair)
  const request = {
    method: 'POST',
    url: 'https://example.com/foo?param=Value&Pet=dog',
    headers: new Headers({
      date: 'Tue, 20 Apr 2021 02:07:55 GMT',
      'content-type': 'application/json',
      'content-length': '18',
    }),
  }
  const components = [
    'date',
    '@method',
    '@path',
    '@authority',
    'content-type',
    'content-length',
  ]
  const input =
    '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"'
  const base = signatureBase(request, components, input)
  assert.deepEqual(
    base,
    utf8(
      `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ${input}`,
    ),
  )
  const signature = fromBase64(
    'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==',
  )
  assert.equal(await example.publicKey.verify(base, signature), true)
  assert.deepEqual(await signMessage(example, base), signature)
})

test('verifyRequest() takes what signRequest() made, through a real Request', async () => {
  const parts = await signed({ url: URL_ + '#fragment' })
  const request = new Request(parts.url, {
    method: 'POST',
    headers: parts.headers,
    body: owned(parts.body!),
  })
  const verified = await check({
    method: request.method,
    url: request.url,
    headers: request.headers,
    body: new Uint8Array(await request.arrayBuffer()),
  })
  assert.equal(verified.key.id, key.publicKey.id)
  assert.equal(verified.created, NOW)
  const more = await handmade(['@authority', '@query', ...ALL], PARAMETERS)
  assert.equal((await check(more)).key.id, key.publicKey.id)
  const extra = edited(parts, 'signature', (value) => `proxy=:AAAA:, ${value}`)
  await check(edited(extra, 'signature-input', (value) => `${value}, proxy=("@path")`))
})
