import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concat, toBase64 } from '../../src/bytes.ts'
import { noteVerifier } from '../../src/envelope/mod.ts'
import { memoryGatewayStore } from '../../src/gateway/mod.ts'
import { formatSyncHead, openBundle, parseSyncAnswer } from '../../src/grants/mod.ts'
import {
  defaultHasher,
  exportRange,
  type Log,
  memoryLogStorage,
  openLog,
  parseEntry,
  verifyRange,
} from '../../src/log/mod.ts'
import { hashOf } from './_grants.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  type Device,
  device,
  granted,
  ISSUER,
  refused,
  registered,
  type Scene,
  scene,
  signed,
} from './_gateway.ts'

const originOf = (who: Device) => `gateway.example/devices/${who.key.publicKey.id}`

/** A log of so many entries; the first is the log's own. */
async function logOf(who: Device, count: number, now: number): Promise<Log> {
  let time = now * 1000
  const log = await openLog(memoryLogStorage(), who.key, {
    origin: originOf(who),
    clock: () => time++,
  })
  await more(log, count - 1)
  return log
}

async function more(log: Log, count: number, note = ''): Promise<void> {
  await Promise.all(
    Array.from(
      { length: count },
      (_, i) => log.append({ type: 'action.outcome', data: { i, note } }),
    ),
  )
}

/** A message with entries `from` to `to`, all by default. */
async function message(log: Log, from = 0, to?: number, generation = 1): Promise<Uint8Array> {
  const head = await log.checkpoint()
  const parts: Uint8Array[] = []
  for await (const part of exportRange(log.view(), { start: from, end: to ?? head.size }, head)) {
    parts.push(part)
  }
  const claimed = { size: 0, root: defaultHasher.empty }
  return concat(formatSyncHead({ generation, claimed }), ...parts)
}

async function sync(at: Scene, who: Device, id: string, body: Uint8Array) {
  const answer = await asDevice(at, who, 'POST', `/bundles/${id}/sync`, body)
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  return parseSyncAnswer(text)
}

test("a device gets at no other device's bundle", async () => {
  const at = await scene()
  const [who, thief] = [await device(), await device()]
  const { bundle_id: mine } = await granted(at, who)
  const { bundle_id: theirs } = await granted(at, thief)
  for (const id of [mine, 'bundle_none']) {
    await refused(asDevice(at, thief, 'GET', `/bundles/${id}`), 401, 'signer_untrusted')
    await refused(asDevice(at, thief, 'POST', `/bundles/${id}/refresh`), 401, 'signer_untrusted')
    await refused(asDevice(at, thief, 'GET', `/bundles/${id}/sync`), 401, 'signer_untrusted')
    const log = await logOf(thief, 1, at.now)
    const body = await message(log)
    await refused(asDevice(at, thief, 'POST', `/bundles/${id}/sync`, body), 401, 'signer_untrusted')
  }
  // Nor does the operator's key open what is the device's.
  const headers = { authorization: `Bearer ${at.operator}` }
  const plain = new Request(`${ISSUER}/bundles/${theirs}`, { headers })
  await refused(at.fetch(plain), 400, 'http_signature_missing')
  const { bundles } = await bodyOf(await asDevice(at, thief, 'GET', '/bundles'))
  assert.deepEqual(bundles.map(({ bundle_id: id }: { bundle_id: string }) => id), [theirs])
  await refused(asDevice(at, await device(), 'GET', '/bundles'), 401, 'signer_untrusted')
})

test('a body is not read before the signature of its request holds', async () => {
  const at = await scene()
  const [who, stranger] = [await device(), await device()]
  const { bundle_id: id } = await granted(at, who)
  const path = `/bundles/${id}/sync`
  const body = new Uint8Array(100_000)
  const other = await signed(at, stranger, 'POST', path, body)
  const broken = await signed(at, who, 'POST', path, body)
  const value = broken.headers.get('signature')!
  broken.headers.set(
    'signature',
    value.replace(/=:(.)/, (_, one) => `=:${one === 'A' ? 'B' : 'A'}`),
  )
  for (const headers of [new Headers(), other.headers, broken.headers]) {
    let given = 0
    const stream = new ReadableStream({
      pull(controller) {
        given += body.length
        if (given > 8_000_000) controller.close()
        else controller.enqueue(body)
      },
    }, { highWaterMark: 0 })
    const init = { method: 'POST', headers, body: stream, duplex: 'half' }
    const answer = await at.fetch(new Request(ISSUER + path, init as RequestInit))
    assert.ok(answer.status === 400 || answer.status === 401, `${answer.status}`)
    assert.ok(given <= body.length, `${given} bytes read`)
  }
})

test('a signed request counts once, for one path, and not for long', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const request = await signed(at, who, 'GET', `/bundles/${id}`)
  const moved = new Request(`${ISSUER}/bundles/${id}/sync`, request)
  await refused(at.fetch(moved), 401, 'signature_invalid')
  assert.equal((await at.fetch(request.clone())).status, 200)
  await refused(at.fetch(request.clone()), 401, 'request_replayed')
  const old = await signed(at, who, 'GET', `/bundles/${id}`)
  at.now += 301
  await refused(at.fetch(old), 401, 'http_signature_stale')
})

test('sync refuses messages that are none, and takes nothing of them', async () => {
  const at = await scene()
  const [who, other] = [await device(), await device()]
  const { bundle_id: id } = await granted(at, who)
  const path = `/bundles/${id}/sync`
  const good = await message(await logOf(who, 3, at.now))
  const cut = good.subarray(0, good.length - 5)
  const flipped = good.slice()
  flipped[good.length - 20]! ^= 1
  const foreign = await message(await logOf(other, 3, at.now))
  const cases: [Uint8Array, number, string][] = [
    [new Uint8Array(), 400, 'sync_malformed'],
    [new TextEncoder().encode('{}\n'), 400, 'sync_malformed'],
    [new TextEncoder().encode('\n\n'), 400, 'sync_malformed'],
    [cut, 400, 'proof_malformed'],
    [flipped, 401, 'proof_invalid'],
    [foreign, 401, 'checkpoint_origin'],
  ]
  for (const [body, status, code] of cases) {
    await refused(asDevice(at, who, 'POST', path, body), status, code)
  }
  assert.equal(await at.store.logs.size(who.key.publicKey.id), 0)
})

test('sync takes each entry once, however often and in whatever pieces it comes', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 10, at.now)
  const first = await sync(at, who, id, await message(log, 0, 4))
  assert.equal(first.acknowledged.size, 4)
  assert.equal(first.log, 'consistent')
  // The answer got lost: all of it again, and more.
  assert.equal((await sync(at, who, id, await message(log, 0, 4))).acknowledged.size, 4)
  assert.equal((await sync(at, who, id, await message(log, 2, 7))).acknowledged.size, 7)
  const gap = await sync(at, who, id, await message(log, 8))
  assert.equal(gap.log, 'unproven')
  assert.equal(gap.acknowledged.size, 7)
  const several = await Promise.all(
    Array.from({ length: 5 }, async () => await sync(at, who, id, await message(log))),
  )
  for (const { acknowledged } of several) assert.equal(acknowledged.size, 10)
  const kept = await at.store.logs.entries(who.key.publicKey.id, 0, 100)
  assert.deepEqual(kept.map(({ bytes }) => parseEntry(bytes).seq), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  const { acknowledged } = parseSyncAnswer(
    await (await asDevice(at, who, 'GET', `/bundles/${id}/sync`)).text(),
  )
  assert.equal(acknowledged.size, 10)
})

test('the export of a log verifies with the key of the device alone', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const path = `/admin/bundles/${id}/audit`
  await refused(asOperator(at, 'GET', path), 404, 'not_found')
  const log = await logOf(who, 600, at.now)
  const verifier = await noteVerifier(originOf(who), who.key.publicKey)
  for (const to of [300, 600]) {
    await sync(at, who, id, await message(log, 0, to))
    const answer = await asOperator(at, 'GET', path)
    const file = new Uint8Array(await answer.arrayBuffer())
    const { entries, from } = await verifyRange(file, [verifier], { origin: originOf(who) })
    assert.deepEqual([from, entries.length], [0, to])
  }
  await refused(asDevice(at, who, 'GET', path), 401, 'unauthenticated')
})

test('an entry that is not as it should be is kept with a verdict and blocks nothing', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id, grant_id: grant } = await granted(at, who)
  const log = await logOf(who, 2, at.now)
  await log.append({ type: 'action.intent', ref: 'unknown grant', action: 'x'.repeat(5000) })
  const answer = await sync(at, who, id, await message(log))
  assert.equal(answer.acknowledged.size, 3)
  assert.deepEqual(answer.verdicts, [{ index: 2, code: 'entry_grant_unknown' }])
  await more(log, 1)
  assert.equal((await sync(at, who, id, await message(log))).acknowledged.size, 4)
  const { items } = await bodyOf(await asOperator(at, 'GET', `/admin/bundles/${id}/verdicts`))
  assert.deepEqual(items.map(({ index, code }: { index: number; code: string }) => [index, code]), [
    [2, 'entry_grant_unknown'],
  ])
  assert.equal(grant.startsWith('grant_'), true)
})

test('a log that forked, went back or was replaced is answered so, and kept as a finding', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 5, at.now)
  await sync(at, who, id, await message(log))
  const other = await logOf(who, 7, at.now + 5)
  const replaced = await sync(at, who, id, await message(other))
  assert.equal(replaced.log, 'replaced')
  assert.equal(replaced.acknowledged.size, 5)
  const short = await logOf(who, 3, at.now + 9)
  assert.match((await sync(at, who, id, await message(short))).log, /forked|replaced/)
  await sync(at, who, id, await message(other)) // once more: no second finding
  const { items } = await bodyOf(await asOperator(at, 'GET', `/admin/findings?bundle=${id}`))
  assert.equal(items.length, 2)
  assert.equal(items[0].known.size, 5)
  assert.equal(items[0].known.root, toBase64((await log.checkpoint()).root))
  assert.match(items[0].evidence, /^gateway\.example\/devices\//)
  // What was acknowledged stays.
  assert.equal((await sync(at, who, id, await message(log))).log, 'consistent')
})

test('an action is judged by its own grant, whichever bundle brings it', async () => {
  const at = await scene()
  const who = await device()
  const [over, good] = [await granted(at, who), await granted(at, who)]
  const lone = await granted(at, who) // its bundle alone is revoked
  await bodyOf(await asOperator(at, 'POST', `/admin/grants/${over.grant_id}/revoke`))
  await bodyOf(await asOperator(at, 'POST', `/admin/bundles/${lone.bundle_id}/revoke`))
  at.now += 100
  const log = await logOf(who, 1, at.now)
  const act = (token: string, action: string) =>
    log.append({ type: 'action.intent', action, ref: hashOf(token) })
  await act(over.access_token, 'mail:send')
  await act(good.access_token, 'mail:send')
  await act(lone.access_token, 'mail:send')
  await act(good.access_token, 'payments:initiate')
  const marked = [
    { index: 1, code: 'entry_after_revocation' },
    { index: 3, code: 'entry_after_revocation' },
    { index: 4, code: 'entry_outside_grant' },
  ]
  const body = await message(log)
  assert.deepEqual((await sync(at, who, good.bundle_id, body)).verdicts, marked)
  // By way of a revoked bundle the same: only the log's last entry is new.
  await act(good.access_token, 'mail:send')
  assert.deepEqual((await sync(at, who, over.bundle_id, await message(log))).verdicts, [])
})

test('a message that comes late, of a log that went on, is no finding', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 2, at.now)
  const path = `/bundles/${id}/sync`
  const late = await signed(at, who, 'POST', path, await message(log)) // stuck on its way
  const again = await message(log)
  at.now += 5
  await more(log, 1)
  assert.equal((await sync(at, who, id, await message(log))).log, 'consistent')
  const answer = parseSyncAnswer(await (await at.fetch(late)).text())
  assert.deepEqual([answer.log, answer.acknowledged.size], ['consistent', 3])
  const found = async () => (await bodyOf(await asOperator(at, 'GET', '/admin/findings'))).items
  assert.equal((await found()).length, 0)
  // The same, signed after the newer one: the device has forgotten an entry.
  at.now += 5
  assert.equal((await sync(at, who, id, again)).log, 'rolled_back')
  assert.equal((await found()).length, 1)
})

test('a device fills the server with no more than a hundred findings', async () => {
  const at = await scene()
  const who = await device()
  const bundles = [await granted(at, who), await granted(at, who)]
  await sync(at, who, bundles[0].bundle_id, await message(await logOf(who, 1, at.now)))
  for (let i = 0; i < 104; i++) {
    const body = await message(await logOf(who, 1, at.now + 1 + i))
    assert.equal((await sync(at, who, bundles[i % 2].bundle_id, body)).log, 'replaced')
  }
  const { items } = await bodyOf(await asOperator(at, 'GET', '/admin/findings?limit=200'))
  assert.equal(items.length, 100)
})

test('no more of a log is read at once than a few megabytes, and not all of it again and again', async () => {
  const inner = memoryGatewayStore()
  let [most, reads] = [0, 0]
  const at = await scene({
    store: {
      ...inner,
      logs: {
        ...inner.logs,
        async entries(...args) {
          const page = await inner.logs.entries(...args)
          most = Math.max(most, page.reduce((sum, { bytes }) => sum + bytes.length, 0))
          reads++
          return page
        },
      },
    },
  })
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 2, at.now)
  const short = await message(log)
  const size = 12
  const key = { log: who.key.publicKey.id, bytes: new Uint8Array(1_000_000).fill(65) }
  await more(log, 1)
  assert.equal((await sync(at, who, id, await message(log))).acknowledged.size, 3)
  // As if they had come so, six in a message.
  const entries = Array.from({ length: size - 3 }, () => ({ bytes: key.bytes, at: at.now }))
  await inner.commit([{ append: key.log, size: 3, entries }])
  const found = (await inner.records.get('log', key.log))!
  const state = { ...found.record.state, size }
  await inner.commit([{
    put: 'log',
    record: { ...found.record, state },
    version: found.version,
  }])
  const answer = await asOperator(at, 'GET', `/admin/bundles/${id}/audit`)
  assert.equal((await answer.text()).split('\n').length, size + 2)
  const { items } = await bodyOf(await asOperator(at, 'GET', `/admin/bundles/${id}/verdicts`))
  assert.equal(items.length, 0)
  assert.ok(most > 1_000_000 && most <= 4 * 1024 * 1024, `${most}`)
  at.now += 20
  reads = 0
  for (let i = 0; i < 5; i++) {
    assert.equal((await sync(at, who, id, short)).log, 'rolled_back')
  }
  assert.ok(reads > 0 && reads <= 4, `${reads}`)
})

test('every answer tells of a revocation, and the entries are still taken', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id, grant_id: grant } = await granted(at, who)
  const log = await logOf(who, 2, at.now)
  await sync(at, who, id, await message(log))
  await bodyOf(await asOperator(at, 'POST', `/admin/grants/${grant}/revoke`, { reason: 'lost' }))
  await more(log, 2)
  const answer = await sync(at, who, id, await message(log))
  assert.deepEqual(answer.status, { state: 'revoked', at: at.now, reason: 'lost' })
  assert.equal(answer.bundle, undefined)
  assert.equal(answer.acknowledged.size, 4)
  const head = await asDevice(at, who, 'GET', `/bundles/${id}/sync`)
  assert.equal(parseSyncAnswer(await head.text()).status.state, 'revoked')
})

test('an answer brings a newer bundle, and entries from before a refresh still count', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 3, at.now)
  assert.equal((await sync(at, who, id, await message(log))).bundle, undefined)
  at.now += 61
  await bodyOf(await asDevice(at, who, 'POST', `/bundles/${id}/refresh`))
  await more(log, 3)
  const answer = await sync(at, who, id, await message(log))
  assert.equal(answer.acknowledged.size, 6)
  const pinned = [{ issuer: ISSUER, keys: [at.key.publicKey] }]
  const bundle = await openBundle(answer.bundle!, pinned)
  assert.equal(bundle.generation, 2)
  assert.equal(bundle.log.origin, originOf(who))
  assert.equal(bundle.log.acknowledged?.size, 3)
  assert.equal((await sync(at, who, id, await message(log, 0, 6, 2))).bundle, undefined)
  at.now += 61
  const next = await openBundle(
    (await sync(at, who, id, await message(log, 0, 6, 2))).bundle!,
    pinned,
  )
  assert.equal(next.generation, 3)
  assert.equal(next.log.acknowledged?.size, 6)
})

test('a bundle ends with its grant, and cannot be refreshed beyond it', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id } = await granted(at, who, undefined, {
    duration: '7200',
    offline_max_age: '5400',
  })
  at.now += 3600
  const { expires_at: expires } = await bodyOf(
    await asDevice(at, who, 'POST', `/bundles/${id}/refresh`),
  )
  assert.equal(expires, at.now + 3600)
  at.now += 3600
  await refused(asDevice(at, who, 'POST', `/bundles/${id}/refresh`), 403, 'policy_denied')
})

test('one device has one log for all of its bundles', async () => {
  const at = await scene()
  const who = await device()
  const one = await granted(at, who)
  const two = await granted(at, who, await registered(at))
  const log = await logOf(who, 3, at.now)
  await sync(at, who, one.bundle_id, await message(log))
  await more(log, 2)
  const answer = await sync(at, who, two.bundle_id, await message(log))
  assert.equal(answer.acknowledged.size, 5)
  assert.deepEqual(answer.verdicts, [])
})

test('revoking one bundle leaves its grant and other bundles', async () => {
  const at = await scene()
  const who = await device()
  const { bundle_id: id, grant_id: grant } = await granted(at, who)
  const answer = await bodyOf(await asOperator(at, 'POST', `/admin/bundles/${id}/revoke`))
  assert.equal(answer.state, 'revoked')
  await refused(asDevice(at, who, 'POST', `/bundles/${id}/refresh`), 403, 'policy_denied')
  assert.equal(
    (await bodyOf(await asOperator(at, 'GET', `/admin/grants/${grant}`))).state,
    'active',
  )
  const both = await bodyOf(
    await asOperator(at, 'POST', `/admin/bundles/${id}/revoke`, { grant: true }),
  )
  assert.deepEqual(both.revoked, [grant])
})
