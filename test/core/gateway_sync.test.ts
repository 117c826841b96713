import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toBase64 } from '../../src/bytes.ts'
import { noteVerifier } from '../../src/envelope/mod.ts'
import { type GatewayStore, memoryGatewayStore } from '../../src/gateway/mod.ts'
import { openBundle, parseSyncAnswer } from '../../src/grants/mod.ts'
import { parseEntry, verifyRange } from '../../src/log/mod.ts'
import { hashOf } from './_grants.ts'
import { logOf, message, more, originOf, sync } from './_device_logs.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  device,
  granted,
  ISSUER,
  refused,
  registered,
  scene,
  signed,
} from './_gateway.ts'

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
  // A note with a signature that nobody asked for still verifies; no more than a few are kept.
  const stuffed = async (length: number) => {
    const signature = `— x.example ${toBase64(new Uint8Array(length))}\n`
    return await message(await logOf(who, 3, at.now), 0, 3, 1, signature)
  }
  const cases: [Uint8Array, number, string][] = [
    [await stuffed(16 * 1024), 400, 'sync_malformed'],
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
  assert.equal((await sync(at, who, id, await stuffed(100))).acknowledged.size, 3)
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
  assert.deepEqual(
    await bodyOf(await asOperator(at, 'GET', `/admin/findings/${items[0].id}`)),
    items[0],
  )
  await refused(asOperator(at, 'GET', '/admin/findings/none'), 404, 'not_found')
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

test('a device with very many bundles is judged by all of them, and finds its newest', async () => {
  const at = await scene()
  const who = await device()
  const first = await granted(at, who)
  const { record } = (await at.store.records.get('bundle', first.bundle_id))!
  for (let i = 0; i < 1000; i++) {
    const id = `${record.id}_${String(i).padStart(4, '0')}`
    await at.store.commit([{ put: 'bundle', record: { ...record, id }, version: 0 }])
  }
  at.now += 1
  const newest = await granted(at, who)
  const log = await logOf(who, 1, at.now)
  const ref = hashOf(newest.access_token)
  await log.append({ type: 'action.intent', action: 'mail:send', ref })
  assert.deepEqual((await sync(at, who, newest.bundle_id, await message(log))).verdicts, [])
  const { bundles } = await bodyOf(await asDevice(at, who, 'GET', '/bundles'))
  assert.deepEqual([bundles.length, bundles.at(-1).bundle_id], [200, newest.bundle_id])
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

/** What is kept of a device's log: as counted, and as it is. */
async function kept(store: GatewayStore, log: string) {
  const [found, entries] = [
    await store.records.get('log', log),
    await store.logs.entries(log, 0, 1e6),
  ]
  const { size, bytes } = found?.record.state ?? { size: 0, bytes: 0 }
  const sum = entries.reduce((all, entry) => all + entry.bytes.length, 0)
  assert.deepEqual([size, bytes], [entries.length, sum])
  return { entries: entries.length, bytes: sum }
}

test('what is above the ceilings of a log is not taken, and the answer brings all else', async () => {
  const at = await scene({ ceilings: { logEntries: 5 } })
  const who = await device()
  const { bundle_id: id, grant_id: grant } = await granted(at, who)
  const log = await logOf(who, 4, at.now)
  const [none, some] = [await message(await logOf(who, 6, at.now)), await message(log)]
  const first = await sync(at, who, id, none)
  assert.deepEqual(first.refused, { code: 'log_quota', entries: 5, bytes: 2 * 1024 ** 3 })
  assert.deepEqual([first.acknowledged.size, first.log], [0, 'consistent'])
  assert.deepEqual(await kept(at.store, who.key.publicKey.id), { entries: 0, bytes: 0 })
  const taken = await sync(at, who, id, some)
  assert.deepEqual([taken.acknowledged.size, taken.refused], [4, undefined])
  const { bytes } = await kept(at.store, who.key.publicKey.id)
  await more(log, 2)
  at.now += 61
  // A newer bundle comes along, and what is known already is no more than it was.
  const second = await sync(at, who, id, await message(log))
  assert.deepEqual(second.refused, { code: 'log_quota', entries: 1, bytes: 2 * 1024 ** 3 - bytes })
  assert.equal(second.acknowledged.size, 4)
  const bundle = await openBundle(second.bundle!, [{ issuer: ISSUER, keys: [at.key.publicKey] }])
  assert.deepEqual([bundle.generation, bundle.log.acknowledged?.size], [2, 4])
  assert.equal((await sync(at, who, id, await message(log, 0, 4))).refused, undefined)
  assert.equal((await sync(at, who, id, await message(log, 2, 5))).acknowledged.size, 5)
  assert.equal((await sync(at, who, id, await message(log, 5, 6))).refused?.entries, 0)
  const reason = { reason: 'lost' }
  await bodyOf(await asOperator(at, 'POST', `/admin/grants/${grant}/revoke`, reason))
  const last = await sync(at, who, id, await message(log))
  assert.deepEqual([last.status.state, last.refused?.code], ['revoked', 'log_quota'])
  assert.equal((await kept(at.store, who.key.publicKey.id)).entries, 5)
  // The operator is told once, and finds what is there in order.
  const { items } = await bodyOf(await asOperator(at, 'GET', `/admin/findings?bundle=${id}`))
  assert.deepEqual(
    items.map(({ kind, known }: { kind: string; known: { size: number } }) => [kind, known.size]),
    [['log_quota', 0]],
  )
  const audit = await asOperator(at, 'GET', `/admin/bundles/${id}/audit`)
  const verifier = await noteVerifier(originOf(who), who.key.publicKey)
  const file = new Uint8Array(await audit.arrayBuffer())
  const { entries } = await verifyRange(file, [verifier], { origin: originOf(who) })
  assert.equal(entries.length, 5)
  // With a higher ceiling it goes on where it stood.
  const { store, key } = at
  const wider = await scene({ store, key, ceilings: { logEntries: 6 } })
  assert.equal((await sync(wider, who, id, await message(log))).acknowledged.size, 6)
})

test('a log is bounded in bytes too, for all bundles of its device, and each device has its own', async () => {
  const at = await scene({ ceilings: { logBytes: 3000 } })
  const [who, other] = [await device(), await device()]
  const [one, two] = [await granted(at, who), await granted(at, who)]
  const log = await logOf(who, 2, at.now)
  await sync(at, who, one.bundle_id, await message(log))
  await more(log, 1, 'x'.repeat(3000))
  const before = await kept(at.store, who.key.publicKey.id)
  for (const { bundle_id: id } of [one, two]) {
    const { refused, acknowledged } = await sync(at, who, id, await message(log))
    assert.equal(acknowledged.size, 2)
    assert.equal(refused?.bytes, 3000 - before.bytes)
  }
  assert.deepEqual(await kept(at.store, who.key.publicKey.id), before)
  const { bundle_id: theirs } = await granted(at, other)
  const answer = await sync(at, other, theirs, await message(await logOf(other, 3, at.now)))
  assert.equal(answer.acknowledged.size, 3)
})

test('of two messages at once the second is measured with what the first has brought', async () => {
  const inner = memoryGatewayStore()
  let meddle: (() => Promise<unknown>) | undefined
  const at = await scene({
    ceilings: { logEntries: 5 },
    store: {
      ...inner,
      async commit(changes) {
        const what = changes.some((change) => 'append' in change) ? meddle : undefined
        if (what !== undefined) meddle = undefined
        await what?.()
        await inner.commit(changes)
      },
    },
  })
  const who = await device()
  const { bundle_id: id } = await granted(at, who)
  const log = await logOf(who, 6, at.now)
  await sync(at, who, id, await message(log, 0, 2))
  const [small, large] = [await message(log, 0, 3), await message(log, 0, 5)]
  meddle = () => sync(at, who, id, large)
  const overtaken = await sync(at, who, id, small)
  assert.deepEqual([overtaken.acknowledged.size, overtaken.refused], [5, undefined])
  const next = await message(log)
  assert.equal((await sync(at, who, id, next)).refused?.entries, 0)
  assert.equal((await kept(inner, who.key.publicKey.id)).entries, 5)
})

test('a log from before its bytes were counted is counted once', async () => {
  const at = await scene({ ceilings: { logBytes: 100_000 } })
  const who = await device()
  const id = who.key.publicKey.id
  const { bundle_id: bundle } = await granted(at, who)
  const log = await logOf(who, 3, at.now)
  await sync(at, who, bundle, await message(log))
  const { record, version } = (await at.store.records.get('log', id))!
  const { bytes, ...state } = record.state
  await at.store.commit([{ put: 'log', record: { ...record, state }, version }])
  await more(log, 1, 'x'.repeat(60_000))
  assert.equal((await sync(at, who, bundle, await message(log))).acknowledged.size, 4)
  const now = await kept(at.store, id)
  assert.ok(now.bytes > 60_000 + Number(bytes))
  await more(log, 1, 'x'.repeat(60_000))
  const { refused } = await sync(at, who, bundle, await message(log))
  assert.equal(refused?.bytes, 100_000 - now.bytes)
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
