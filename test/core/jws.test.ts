import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  algorithm,
  ALGORITHMS,
  fromJwk,
  generateKey,
  parseJws,
  type PublicKey,
  publicKey,
  signJws,
  verifyJws,
} from '../../mod.ts'
import { fromUtf8, toBase64Url, utf8 } from '../../src/bytes.ts'
import { outcome, refuses, runs } from './_seals.ts'

const TYP = 'example+jwt'
const key = await generateKey(ALGORITHMS['Ed25519'])
const payload = utf8('{"a":1}')
const good = await signJws(payload, key, { typ: TYP })

/** A token with its header replaced and, where told, signed again over it. */
async function withHeader(header: unknown, options: { readonly resign?: boolean } = {}) {
  const text = typeof header === 'string' ? header : JSON.stringify(header)
  const [, body, signature] = good.split('.')
  const input = `${toBase64Url(utf8(text))}.${body}`
  if (!options.resign) return `${input}.${signature}`
  const fresh = await key.sign({ mode: 'message', bytes: utf8(input) })
  return `${input}.${toBase64Url(fresh)}`
}

const verify = (text: string, options: Partial<Parameters<typeof verifyJws>[2]> = {}) =>
  verifyJws(parseJws(text), key.publicKey, { typ: TYP, ...options })

test('verifyJws() gives the bytes that were signed, and the key that was trusted', async () => {
  const verified = await verify(good)
  assert.equal(fromUtf8(verified.payload), '{"a":1}')
  assert.equal(verified.key, key.publicKey)
  assert.deepEqual({ ...verified.header }, { alg: 'EdDSA', typ: TYP, kid: key.publicKey.id })
})

test('verifyJws() refuses every other algorithm than its key has', async () => {
  for (
    const alg of ['none', 'None', 'HS256', 'RS256', 'ES256', 'ed25519', '', 7, null, ['EdDSA']]
  ) {
    const text = await withHeader({ alg, typ: TYP }, { resign: true })
    await refuses('algorithm_mismatch', () => verify(text), String(alg))
  }
  const text = await withHeader({ typ: TYP }, { resign: true })
  await refuses('algorithm_mismatch', () => verify(text))
})

test('verifyJws() takes Ed25519 by both of its names', async () => {
  await verify(await withHeader({ alg: 'Ed25519', typ: TYP }, { resign: true }))
})

test('verifyJws() does not take a public key for an HMAC secret', async () => {
  const input = `${toBase64Url(utf8(`{"alg":"HS256","typ":"${TYP}"}`))}.${toBase64Url(payload)}`
  const secret = await crypto.subtle.importKey(
    'raw',
    key.publicKey.raw,
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  )
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', secret, utf8(input)))
  await refuses('algorithm_mismatch', () => verify(`${input}.${toBase64Url(mac)}`))
})

test('verifyJws() refuses a token of another type, or of none', async () => {
  for (const typ of ['JWT', 'example+jwtx', 'at+jwt', '', 1, undefined]) {
    const text = await withHeader({ alg: 'EdDSA', typ }, { resign: true })
    await refuses('token_type', () => verify(text), String(typ))
  }
  for (const typ of ['Example+JWT', 'application/example+jwt']) {
    await verify(await withHeader({ alg: 'EdDSA', typ }, { resign: true }))
  }
})

test('verifyJws() refuses what a token demands and nobody here understands', async () => {
  for (const crit of [['limits'], [], 'limits', ['limits', 'b64'], [1], [null]]) {
    const text = await withHeader({ alg: 'EdDSA', typ: TYP, crit, b64: true }, { resign: true })
    await refuses('token_critical', () => verify(text, { understands: ['limits'] }), String(crit))
  }
  const known = await withHeader({ alg: 'EdDSA', typ: TYP, crit: ['limits'], limits: true }, {
    resign: true,
  })
  await refuses('token_critical', () => verify(known))
  await verify(known, { understands: ['limits'] })
})

test('verifyJws() refuses a changed header, payload or signature, and another key', async () => {
  await refuses(
    'signature_invalid',
    async () => verify(await withHeader({ alg: 'EdDSA', typ: TYP })),
  )
  const [head, body, signature] = good.split('.')
  await refuses(
    'signature_invalid',
    () => verify(`${head}.${toBase64Url(utf8('{"a":2}'))}.${signature}`),
  )
  await refuses('signature_invalid', () => verify(`${head}.${body}.`))
  await refuses('signature_invalid', () => verify(`${head}.${body}.${signature}AAAA`))
  const other = await generateKey(ALGORITHMS['Ed25519'])
  await refuses(
    'signature_invalid',
    () => verifyJws(parseJws(good), other.publicKey, { typ: TYP }),
  )
})

test('verifyJws() takes no key from a header', async () => {
  const other = await generateKey(ALGORITHMS['Ed25519'])
  const text = await signJws(payload, other, {
    typ: TYP,
    header: { jwk: other.publicKey.jwk, kid: key.publicKey.id },
  })
  await refuses('signature_invalid', () => verify(text))
})

test('parseJws() refuses what is no text', () => {
  for (
    const wrong of [undefined, null, 5, [good], { length: 1 }, { split: () => good.split('.') }]
  ) {
    assert.throws(() => parseJws(wrong as unknown as string), { code: 'token_malformed' })
  }
})

test('parseJws() refuses other forms than three parts of strict base64url', async () => {
  const [head, body, signature] = good.split('.')
  for (
    const text of [
      '',
      '.',
      '..',
      `${head}.${body}`,
      `${good}.`,
      `${good}.x`,
      ` ${good}`,
      `${good}\n`,
      `${head}=.${body}.${signature}`,
      `${head}.${body}+.${signature}`,
      `.${body}.${signature}`,
      await withHeader('[]'),
      await withHeader('{"alg":"EdDSA","alg":"none"}'),
      await withHeader('{"alg":'),
    ]
  ) await refuses('token_malformed', () => parseJws(text), text.slice(0, 20))
  for (const text of [5, null, undefined, {}, ['a.b.c']] as never[]) {
    await refuses('token_malformed', () => parseJws(text), String(text))
  }
  await refuses('too_large', () => parseJws(good, { maxLength: good.length - 1 }))
})

test('parseJws() throws nothing but SignetError', async () => {
  const part = fc.oneof(
    fc.base64String(),
    fc.string(),
    fc.json().map((json) => toBase64Url(utf8(json))),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      await outcome(() => verify(parts.join('.')))
    }),
    runs(500),
  )
})

/** Published tokens, each with its key: RFC 8037 A.4, RFC 7515 A.2 and A.3. They say no type. */
const PUBLISHED = [
  {
    jwk: { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
    token: 'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.' +
      'hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
  },
  {
    jwk: {
      kty: 'EC',
      crv: 'P-256',
      x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
      y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    },
    token:
      'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9' +
      'pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqP' +
      'P3-Kg6NU1Q',
  },
] as const

async function keyOfJwk(jwk: typeof PUBLISHED[number]['jwk']): Promise<PublicKey> {
  const content = fromJwk(jwk)
  return await publicKey(algorithm(content.algorithm.name), content.publicKey)
}

test('verifyJws() agrees with the published examples', async () => {
  for (const { jwk, token } of PUBLISHED) {
    const trusted = await keyOfJwk(jwk)
    const verified = await verifyJws(parseJws(token), trusted, { typ: undefined })
    assert.ok(verified.payload.length > 0)
    await refuses('token_type', () => verifyJws(parseJws(token), trusted, { typ: 'JWT' }))
  }
})

test('signJws() signs with every kind of key, and says the algorithm that verifies', async () => {
  for (const name of ['ES256', 'ES384', 'ML-DSA-65', 'ML-DSA-65-Ed25519'] as const) {
    const own = await generateKey(ALGORITHMS[name])
    const text = await signJws(payload, own, { typ: TYP })
    const verified = await verifyJws(parseJws(text), own.publicKey, { typ: TYP })
    assert.equal(verified.header.alg, name)
  }
})
