import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBase64Url, toBase64Url } from '../../src/bytes.ts'
import { ERROR_KINDS, type ErrorCode } from '../../src/errors.ts'
import { signJws } from '../../src/envelope/mod.ts'
import {
  BUNDLE_TYPE,
  issueGrant,
  narrowGrant,
  openBundle,
  verifyOffline,
  type VerifyOfflineOptions,
} from '../../src/grants/mod.ts'
import { canonicalBytes, type JsonObject, parseJson } from '../../src/json.ts'
import {
  HOUR,
  ISSUER,
  LIST,
  listOf,
  makeBundle,
  type Making,
  newKey,
  serverKey,
  T0,
  trusted,
} from './_devices.ts'

const device = await newKey()
const stranger = await newKey()

async function codes(
  making: Making | string = {},
  more: Partial<VerifyOfflineOptions> = {},
): Promise<string[]> {
  const token = typeof making === 'string' ? making : await makeBundle(device, making)
  const report = await verifyOffline(token, {
    trusted,
    device: device.publicKey,
    now: T0 + 10,
    highWater: T0,
    ...more,
  })
  assert.equal(report.ok, report.findings.length === 0)
  assert.equal(report.worst, report.findings[0])
  return report.findings.map(({ code }) => code)
}

/** The claims of a bundle, changed and signed again. */
async function resigned(change: (claims: Record<string, unknown>) => void, typ = BUNDLE_TYPE) {
  const token = await makeBundle(device)
  const claims = { ...parseJson(fromBase64Url(token.split('.')[1]!)) as JsonObject }
  change(claims)
  return await signJws(canonicalBytes(claims as JsonObject), serverKey, { typ })
}

test('a bundle in order has nothing against it', async () => {
  assert.deepEqual(await codes(), [])
  assert.deepEqual(await codes({}, { tool: 'calendar:read' }), [])
})

test('a bundle of another signer, issuer, type, or edited anywhere is refused', async () => {
  assert.deepEqual(await codes({ signer: stranger }), ['signer_untrusted'])
  assert.deepEqual(await codes({ issuer: 'https://evil.example' }), ['signer_untrusted'])
  assert.deepEqual(await codes(await resigned(() => {}, 'jwt')), ['token_type'])
  assert.deepEqual(await codes(await resigned(() => {}, 'aat+jwt')), ['token_type'])
  const [head, body, signature] = (await makeBundle(device)).split('.') as [string, string, string]
  for (const at of [5, Math.floor(body.length / 2), body.length - 5]) {
    const other = body[at] === 'A' ? 'B' : 'A'
    const edited = `${head}.${body.slice(0, at)}${other}${body.slice(at + 1)}.${signature}`
    // Where it still parses its signature fails; where it does not, there is nothing to sign.
    const [worst, ...more] = await codes(edited)
    assert.ok(['signature', 'trust', 'input'].includes(ERROR_KINDS[worst as ErrorCode]), worst)
    assert.deepEqual(more, [])
  }
  const none = toBase64Url(
    canonicalBytes({ alg: 'none', typ: BUNDLE_TYPE, kid: serverKey.publicKey.id }),
  )
  assert.deepEqual(await codes(`${none}.${body}.`), ['algorithm_mismatch'])
  assert.deepEqual(await codes('no token'), ['token_malformed'])
})

test('claims of a bundle that make no sense are refused', async () => {
  const bad: ((claims: Record<string, unknown>) => void)[] = [
    (claims) => delete claims.generation,
    (claims) => claims.generation = 0,
    (claims) => claims.generation = '1',
    (claims) => delete claims.exp,
    (claims) => claims.exp = T0 + 0.5,
    (claims) => claims.exp = `${T0}`,
    (claims) => claims.aud = 'urn:ietf:params:oauth:jwk-thumbprint:sha-256:other',
    (claims) => claims.grant = [],
    (claims) => claims.grant = 'token',
    (claims) => claims.jwks = { keys: [] },
    (claims) => claims.jwks = { keys: [{ ...serverKey.publicKey.jwk, kid: 'another' }] },
    (claims) => claims.jwks = { keys: [{ ...serverKey.publicKey.jwk, d: 'AAAA' }] },
    (claims) => delete claims.jwks_exp,
    (claims) => claims.sync = 'http://grants.example/bundles/1',
    (claims) => claims.sync = 'no url',
    (claims) => claims.offline = { max_age: 10 },
    (claims) => claims.offline = { max_age: 10, skew: 60, and_more: true },
    (claims) => claims.offline = { max_age: 10, skew: 1e6 },
    (claims) => claims.log = { origin: 'x', acknowledged: { size: 1, root: 'AA==' } },
  ]
  for (const change of bad) {
    const token = await resigned(change)
    await assert.rejects(
      openBundle(token, trusted),
      { code: 'offline_bundle_malformed' },
      String(change),
    )
  }
  await assert.rejects(makeBundle(device, { generation: 0 }), { code: 'offline_bundle_malformed' })
})

test('a key snapshot that was edited or has expired is told', async () => {
  // Edited: the signature covers it. A snapshot without the key of the grant's issuer verifies nothing.
  assert.deepEqual(await codes({ keys: [stranger.publicKey] }), [
    'signer_untrusted',
    'signer_untrusted',
  ])
  const late = T0 + 5 * HOUR
  assert.deepEqual(await codes({ keysExpireAt: T0 + 4 * HOUR }, { now: late }), ['keys_expired'])
  assert.deepEqual(await codes({ keysExpireAt: late - 59 }, { now: late }), [])
})

test('a status list that is forged, foreign, missing, too short, too old or from the future is told', async () => {
  const lists = async (...statusLists: string[]) => await codes({ statusLists })
  assert.deepEqual(await lists(), ['status_list_missing'])
  assert.deepEqual(await lists(await listOf([], T0, stranger)), [
    'signer_untrusted',
    'status_list_missing',
  ])
  assert.deepEqual(await lists(await listOf([], T0, serverKey, `${LIST}0`)), [
    'status_list_missing',
  ])
  const good = await listOf()
  assert.deepEqual(await lists(good.slice(0, -8) + 'AAAAAAAA'), [
    'signature_invalid',
    'status_list_missing',
  ])
  assert.deepEqual(await codes({ terms: { status: { idx: 64, uri: LIST } } }), ['status_unknown'])
  assert.deepEqual(await codes({ listedAt: T0 - 30 * HOUR }), ['status_list_stale'])
  assert.deepEqual(await codes({ listedAt: T0 - 49 * HOUR }), ['status_list_expired'])
  assert.deepEqual(await codes({ listedAt: T0 + HOUR }), ['status_list_early'])
  // Of two lists for one address the newer counts.
  assert.deepEqual(await lists(await listOf([3], T0 - 10), good), [])
  assert.deepEqual(await lists(good, await listOf([3], T0 + 1)), ['grant_revoked'])
})

test('a revoked link takes all below it along, live as they are', async () => {
  assert.deepEqual(await codes({ revoked: [3] }), ['grant_revoked'])
  const agent = await newKey()
  const root = await issueGrant(serverKey, {
    issuer: ISSUER,
    holder: agent.publicKey,
    lifetime: 240 * HOUR,
    maxDepth: 2,
    scopes: ['calendar:read'],
    status: { idx: 5, uri: LIST },
  }, { now: T0 })
  const grant = await narrowGrant(root, agent, {
    holder: device.publicKey,
    status: { idx: 6, uri: LIST },
  }, { now: T0 })
  assert.deepEqual(await codes({ grant }), [])
  assert.deepEqual(await codes({ grant, revoked: [5] }), ['grant_revoked'])
  assert.deepEqual(await codes({ grant, revoked: [6] }), ['grant_revoked'])
})

test('a bundle or a grant of another device is told', async () => {
  const theirs = await makeBundle(stranger)
  assert.deepEqual(await codes(theirs), ['offline_audience', 'grant_holder'])
  const grant = await issueGrant(serverKey, {
    issuer: ISSUER,
    holder: stranger.publicKey,
    lifetime: HOUR * 100,
    scopes: ['calendar:read'],
  }, { now: T0 })
  assert.deepEqual(await codes({ grant }), ['grant_holder'])
  assert.deepEqual(await codes({ terms: { audience: 'https://elsewhere.example' } }), [
    'grant_audience',
  ])
  assert.deepEqual(
    await codes({ terms: { audience: 'https://here.example' } }, {
      audience: 'https://here.example',
    }),
    [],
  )
})

test('time: the end of everything, the future, and a clock that was set back', async () => {
  const at = (now: number, more: Partial<VerifyOfflineOptions> = {}) =>
    codes({ offline: { maxAge: 1000 * HOUR, skew: 60 } }, { now, highWater: T0, ...more })
  assert.deepEqual(await at(T0 + 72 * HOUR + 59), ['status_list_expired'])
  assert.deepEqual(await at(T0 + 72 * HOUR + 60), ['bundle_expired', 'status_list_expired'])
  assert.deepEqual(await at(T0 + 241 * HOUR), [
    'grant_expired',
    'bundle_expired',
    'keys_expired',
    'status_list_expired',
  ])
  assert.deepEqual(await at(T0 - 61, { highWater: 0 }), [
    'bundle_early',
    'grant_not_yet_valid',
    'status_list_early',
  ])
  // Set back, it does not make young again what had grown old.
  assert.deepEqual(await at(T0 + 10, { highWater: T0 + 73 * HOUR }), [
    'clock_set_back',
    'bundle_expired',
    'status_list_expired',
  ])
  assert.deepEqual(await at(T0 + 10, { highWater: T0 + 70 }), [])
  assert.deepEqual(await at(NaN), ['clock_set_back'])
})

test('contact: too long ago for all tools, for one tool by the bundle, and by the grant', async () => {
  const now = T0 + 25 * HOUR
  const listedAt = now
  assert.deepEqual(await codes({ listedAt }, { now }), ['contact_too_old'])
  assert.deepEqual(await codes({ listedAt }, { now, lastContact: now - HOUR }), [])
  const offline = { maxAge: 24 * HOUR, perTool: { 'mail:send': HOUR }, skew: 60 }
  const later = { now: T0 + 2 * HOUR }
  assert.deepEqual(await codes({ offline }, { ...later, tool: 'mail:send' }), [
    'tool_contact_too_old',
  ])
  assert.deepEqual(await codes({ offline }, { ...later, tool: 'calendar:read' }), [])
  assert.deepEqual(await codes({ offline }, { ...later, tool: 'constructor' }), [])
  // Tools may have names that objects have a use for.
  const odd = ['__proto__', 'constructor', 'prototype', 'toString']
  const perTool = Object.fromEntries(odd.map((name) => [name, HOUR]))
  for (const tool of odd) {
    const rules = { ...offline, perTool }
    assert.deepEqual(await codes({ offline: rules }, { ...later, tool }), ['tool_contact_too_old'])
    const wrong = Object.fromEntries([[tool, -1]])
    await assert.rejects(makeBundle(device, { offline: { ...offline, perTool: wrong } }), {
      code: 'offline_bundle_malformed',
    })
  }
  for (const name of ['mail:send', '*']) {
    const terms = { limits: { [name]: { offline_max_age: 2 * HOUR - 100 } } }
    assert.deepEqual(await codes({ terms }, { ...later, tool: 'mail:send' }), [
      'tool_contact_too_old',
    ])
  }
})

test('a log that waits too long, an older bundle, a revocation, and all at once, the worst first', async () => {
  const now = T0 + 25 * HOUR
  assert.deepEqual(
    await codes({ listedAt: now }, { now, lastContact: now, waitingSince: T0 }),
    ['checkpoint_stale'],
  )
  assert.deepEqual(await codes({}, { newestGeneration: 2 }), ['bundle_rolled_back'])
  assert.deepEqual(await codes({}, { revoked: {} }), ['bundle_revoked'])
  const found = [{ code: 'device_state_rolled_back', message: 'older' }] as const
  assert.deepEqual(
    await codes({ revoked: [3] }, {
      now: T0 + 300 * HOUR,
      highWater: T0 + 400 * HOUR,
      revoked: {},
      newestGeneration: 9,
      found,
    }),
    [
      'device_state_rolled_back',
      'bundle_rolled_back',
      'bundle_revoked',
      'grant_revoked',
      'clock_set_back',
      'grant_expired',
      'bundle_expired',
      'keys_expired',
      'status_list_expired',
      'contact_too_old',
    ],
  )
})
