import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64Url, toBase64Url, toHex, utf8 } from '../../src/bytes.ts'
import { signJws } from '../../src/envelope/mod.ts'
import {
  checkStatusListAge,
  openStatusList,
  packStatusList,
  signStatusList,
  type StatusBits,
  StatusList,
  TOKEN_STATUS,
  unpackStatusList,
} from '../../src/grants/status_list.ts'
import { adler32, deflate, inflate } from '../../src/grants/zlib.ts'
import { canonicalBytes, type JsonValue } from '../../src/json.ts'
import { generateKey } from '../../src/keys/mod.ts'
import vectors from '../vectors/status_list.json' with { type: 'json' }

const key = await generateKey(ALGORITHMS.Ed25519)
const other = await generateKey(ALGORITHMS.Ed25519)
const keys = [key.publicKey]
const uri = 'https://grants.example/status/1'

/** A stream without the help of the packer under test: stored blocks (RFC 1951 §3.2.4). */
function stored(bytes: Uint8Array): Uint8Array {
  const parts = [0x78, 0x01]
  for (let at = 0; at < bytes.length || at === 0; at += 65535) {
    const part = bytes.subarray(at, at + 65535)
    const length = part.length
    const last = at + 65535 >= bytes.length ? 1 : 0
    parts.push(last, length & 255, length >> 8, ~length & 255, (~length >> 8) & 255, ...part)
  }
  const sum = adler32(bytes)
  return Uint8Array.from([...parts, sum >>> 24, sum >>> 16 & 255, sum >>> 8 & 255, sum & 255])
}

async function tokenOf(claims: JsonValue, typ = 'statuslist+jwt', signer = key): Promise<string> {
  return await signJws(canonicalBytes(claims), signer, { typ })
}

const good = { sub: uri, iat: 1000, status_list: { ...packStatusList(StatusList.of(16)) } }

test('a status list refuses an index outside of it, below, above, and far above', () => {
  const list = StatusList.of(16)
  for (const index of [-1, 16, 0.5, NaN, 2 ** 32, 2 ** 32 + 3, 2 ** 53, Infinity, -0.1]) {
    assert.throws(() => list.get(index), { code: 'status_unknown' }, String(index))
    assert.throws(() => list.set(index, 1), { code: 'status_unknown' }, String(index))
  }
  assert.throws(() => list.get('1' as unknown as number), { code: 'status_unknown' })
  for (const status of [-1, 2, 0.5, NaN]) {
    assert.throws(() => list.set(0, status), { code: 'status_list_malformed' })
  }
  for (const size of [0, -1, 1.5, NaN, 2 ** 40]) {
    assert.throws(() => StatusList.of(size), { code: 'status_list_malformed' })
  }
})

test('inflate() refuses a bomb, a cut stream, a tail and a wrong checksum', async () => {
  const bomb = deflate(new Uint8Array(8 * 1024 * 1024))
  assert.ok(bomb.length < 10_000)
  await assert.rejects(inflate(bomb, 1024 * 1024), { code: 'too_large' })
  await assert.rejects(unpackStatusList({ bits: 1, lst: toBase64Url(bomb) }), { code: 'too_large' })
  const packed = deflate(crypto.getRandomValues(new Uint8Array(500)))
  for (let cut = 0; cut < packed.length; cut += 7) {
    await assert.rejects(inflate(packed.slice(0, cut), 1000), { code: 'encoding_invalid' })
  }
  for (const cut of [1, 2, 3, 4]) {
    await assert.rejects(inflate(packed.slice(0, -cut), 1000), { code: 'encoding_invalid' })
  }
  await assert.rejects(inflate(Uint8Array.of(...packed, 0), 1000), { code: 'encoding_invalid' })
  const wrong = packed.slice()
  wrong[wrong.length - 1]! ^= 1
  await assert.rejects(inflate(wrong, 1000), { code: 'encoding_invalid' })
  await assert.rejects(inflate(utf8('no stream at all'), 1000), { code: 'encoding_invalid' })
})

test('unpackStatusList() refuses what is no list', async () => {
  const { lst } = packStatusList(StatusList.of(16))
  const bad: unknown[] = [
    null,
    [],
    {},
    { bits: 3, lst },
    { bits: '1', lst },
    { bits: 1 },
    { bits: 1, lst: `${lst}=` },
    { bits: 1, lst: lst.slice(1) },
    { bits: 1, lst: '' },
    { bits: 1, lst: 7 },
  ]
  for (const one of bad) {
    await assert.rejects(unpackStatusList(one), { code: 'status_list_malformed' }, String(one))
  }
})

test('openStatusList() refuses a foreign key, another type, another list, and claims that are none', async () => {
  const open = (token: string) => openStatusList(token, keys, { uri })
  await assert.rejects(open(await tokenOf(good, 'statuslist+jwt', other)), {
    code: 'signer_untrusted',
  })
  await assert.rejects(open(await tokenOf(good, 'jwt')), { code: 'token_type' })
  await assert.rejects(open(await tokenOf(good, 'statuslist+cwt')), { code: 'token_type' })
  await assert.rejects(open(await tokenOf({ ...good, sub: `${uri}0` })), {
    code: 'status_list_foreign',
  })
  const bad: Record<string, JsonValue>[] = [
    { sub: '' },
    { sub: 1 },
    { iat: '1000' },
    { iat: -1 },
    { exp: 'never' },
    { ttl: 0 },
    { ttl: -5 },
    { status_list: 'eNrbuRgAAhcBXQ' },
    { iss: 5 },
  ]
  for (const change of bad) {
    await assert.rejects(open(await tokenOf({ ...good, ...change })), {
      code: 'status_list_malformed',
    }, JSON.stringify(change))
  }
  const token = await tokenOf(good)
  const [head, , signature] = token.split('.')
  const edited = toBase64Url(canonicalBytes({ ...good, iat: 2000 }))
  await assert.rejects(open(`${head}.${edited}.${signature}`), { code: 'signature_invalid' })
  const none = toBase64Url(
    utf8('{"alg":"none","typ":"statuslist+jwt","kid":"' + key.publicKey.id + '"}'),
  )
  await assert.rejects(open(`${none}.${edited}.`), { code: 'algorithm_mismatch' })
})

test('checkStatusListAge() refuses the future, the expired and the stale, and allows the skew', () => {
  const at = (now: number, more = {}) => () =>
    checkStatusListAge({ issuedAt: 1000, expiresAt: 2000 }, { now, skew: 10, maxAge: 500, ...more })
  assert.throws(at(989), { code: 'status_list_early' })
  assert.throws(at(2010, { maxAge: undefined }), { code: 'status_list_expired' })
  assert.throws(at(1511), { code: 'status_list_stale' })
  for (const now of [990, 1000, 1510]) at(now)()
  at(2009, { maxAge: undefined })()
})

test('the packed bytes are those of the draft, and so is the compressed form of its examples', async () => {
  for (const { bits, statuses, hex, lst } of vectors.packed) {
    const list = StatusList.of(statuses.length, bits as StatusBits)
    statuses.forEach((status, i) => list.set(i, status))
    assert.equal(toHex(list.bytes), hex)
    assert.deepEqual(packStatusList(list), { bits, lst })
    const again = await unpackStatusList({ bits, lst })
    assert.deepEqual(statuses.map((_, i) => again.get(i)), statuses)
  }
})

test('the lists of the draft with a million entries hold what the draft says', async () => {
  for (const { bits, lst, statuses } of vectors.sparse) {
    const list = await unpackStatusList({ bits, lst })
    assert.equal(list.size, vectors.size)
    const expected = StatusList.of(vectors.size, bits as StatusBits)
    for (const [index, status] of statuses as [number, number][]) {
      assert.equal(list.get(index), status, `${bits} bits, index ${index}`)
      expected.set(index, status)
    }
    assert.equal(toHex(list.bytes), toHex(expected.bytes))
    const packed = packStatusList(expected)
    assert.ok(packed.lst.length <= lst.length * 1.1, `${packed.lst.length} of ${lst.length}`)
    const again = await unpackStatusList(packed)
    assert.equal(toHex(again.bytes), toHex(expected.bytes))
  }
})

test('deflate() is read back by the platform, for runs and noise of every length', async () => {
  const samples = [0, 1, 2, 3, 4, 5, 10, 11, 138, 257, 258, 259, 260, 261, 262, 515, 516, 517, 4096]
  for (const length of samples) {
    for (const share of [0, 0.01, 0.5, 1]) {
      const bytes = Uint8Array.from(
        { length },
        () => Math.random() < share ? Math.floor(Math.random() * 256) : 0,
      )
      assert.equal(toHex(await inflate(deflate(bytes), length)), toHex(bytes))
    }
  }
  // One symbol that is far more frequent than all others wants codes longer than 15 bits.
  const skewed = Uint8Array.from(
    Array.from(
      { length: 24 },
      (_, i) => Array.from({ length: 2 ** Math.min(i, 16) }, (_, j) => (j % 2 === 0 ? i : 255 - i)),
    ).flat(),
  )
  assert.equal(toHex(await inflate(deflate(skewed), skewed.length)), toHex(skewed))
  const noise = crypto.getRandomValues(new Uint8Array(65536))
  assert.equal(toHex(await inflate(deflate(noise), noise.length)), toHex(noise))
  assert.equal(toHex(await inflate(stored(noise), noise.length)), toHex(noise))
})

test('a million statuses with one percent revoked take at most 14 KB', async () => {
  const list = StatusList.of(1_000_000)
  let seed = 42
  for (let revoked = 0; revoked < 10_000;) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    const index = Math.floor(seed / 2 ** 32 * list.size)
    if (list.get(index) !== 0) continue
    list.set(index, TOKEN_STATUS.invalid)
    revoked++
  }
  const { lst } = packStatusList(list)
  const { length } = fromBase64Url(lst)
  assert.ok(length <= 14_000, `${length} bytes`)
  const again = await unpackStatusList({ bits: 1, lst })
  assert.equal(toHex(again.bytes), toHex(list.bytes))
})

test('a signed list comes back with its facts and its verdicts', async () => {
  const list = StatusList.of(100, 2)
  list.set(5, TOKEN_STATUS.invalid)
  list.set(6, TOKEN_STATUS.suspended)
  list.set(7, 3)
  const facts = { uri, issuedAt: 1000, expiresAt: 2000, ttl: 60, issuer: 'https://grants.example' }
  const token = await signStatusList(list, key, facts)
  const found = await openStatusList(token, [other.publicKey, ...keys], { uri })
  assert.deepEqual(
    [found.uri, found.issuedAt, found.expiresAt, found.ttl, found.issuer, found.size],
    [uri, 1000, 2000, 60, facts.issuer, 100],
  )
  assert.deepEqual([4, 5, 6, 7].map((i) => found.verdict(i)), [
    'valid',
    'invalid',
    'suspended',
    'invalid',
  ])
  assert.throws(() => found.verdict(100), { code: 'status_unknown' })
  // What others add is no reason to refuse a list (§5.1).
  await openStatusList(await tokenOf({ ...good, extra: [1] }), keys)
})
