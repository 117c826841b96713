import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { type Bytes, concat, fromUtf8, utf8 } from '../../src/bytes.ts'
import {
  formatVkey,
  type NoteSigner,
  noteSigner,
  type NoteVerifier,
  openNote,
  signNote,
} from '../../src/envelope/mod.ts'
import { SignetError } from '../../src/errors.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  checkPolicy,
  decodeBundle,
  defaultHasher,
  ED25519_COSIGNATURE,
  encodeBundle,
  exportRange,
  formatTreeHead,
  type LogReader,
  LogView,
  memoryLogStorage,
  memoryWitnessStore,
  ML_DSA_44_COSIGNATURE,
  openCheckpoint,
  openLog,
  pageEntries,
  parseEntry,
  reportPage,
  requestCosignature,
  rootOf,
  simplePolicy,
  type VerifiedCheckpoint,
  verifyLog,
  verifyRange,
  witnessHandler,
} from '../../src/log/mod.ts'

const origin = 'example.com/log'
const key = await generateKey(ALGORITHMS['Ed25519'])

/** A published log of 600 entries as a map of its resources. */
async function published(): Promise<{
  resources: Map<string, Bytes>
  checkpoint: VerifiedCheckpoint
  verifiers: readonly NoteVerifier[]
}> {
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { origin, publishAfter: 100_000 })
  await Promise.all(Array.from({ length: 599 }, (_, i) => log.append({ type: 'test', data: i })))
  const checkpoint = await log.checkpoint()
  await log.close()
  const resources = new Map<string, Bytes>()
  const paths = [
    'tile/0/000',
    'tile/0/001',
    'tile/0/002.p/88',
    'tile/1/000.p/2',
    'tile/entries/000',
  ]
  paths.push('tile/entries/001', 'tile/entries/002.p/88', 'checkpoint')
  for (const path of paths) resources.set(path, (await storage.read(path))!)
  return { resources, checkpoint, verifiers: log.verifiers }
}
const { resources, checkpoint, verifiers } = await published()

function reader(changes: Record<string, Bytes | undefined> = {}): LogReader {
  const all = new Map<string, Bytes | undefined>([...resources, ...Object.entries(changes)])
  return { read: (path) => Promise.resolve(all.get(path)) }
}
const verify = (changes: Record<string, Bytes | undefined> = {}) =>
  verifyLog(reader(changes), checkpoint, { strict: true })
const bundle = (n: number) =>
  decodeBundle(resources.get(`tile/entries/00${n}`)!, 256, 'bundle').map((one) => one.slice())

test('a whole log is whole, with and without reading entries strictly', async () => {
  for (const strict of [true, false]) {
    const done: number[] = []
    const report = await verifyLog(reader(), checkpoint, {
      strict,
      onProgress: (n) => done.push(n),
    })
    assert.deepEqual([report.whole, report.verified, report.pruned], [true, 600, 0])
    assert.deepEqual(done, [256, 512, 600])
    assert.ok(report.times!.first <= report.times!.last)
  }
})

test('flipped, dropped, duplicated, reordered and inserted entries are named', async () => {
  const [a, b] = [bundle(0), bundle(1)]
  const flipped = a.map((one) => one.slice())
  flipped[17]![20]! ^= 1
  const cases: [string, Record<string, Bytes | undefined>, string][] = [
    ['flipped', { 'tile/entries/000': encodeBundle(flipped) }, 'entry 17'],
    [
      'dropped',
      { 'tile/entries/000': encodeBundle([...a.slice(0, 9), ...a.slice(10)]) },
      'tile/entries/000',
    ],
    [
      'dropped and filled up',
      { 'tile/entries/000': encodeBundle([...a.slice(0, 9), ...a.slice(10), b[0]!]) },
      'entry 9',
    ],
    [
      'duplicated',
      { 'tile/entries/000': encodeBundle([...a.slice(0, 9), a[8]!, ...a.slice(10)]) },
      'entry 9',
    ],
    [
      'reordered',
      { 'tile/entries/000': encodeBundle([...a.slice(0, 30), a[31]!, a[30]!, ...a.slice(32)]) },
      'entry 30',
    ],
    ['inserted', { 'tile/entries/000': encodeBundle([utf8('{}'), ...a]) }, 'tile/entries/000'],
    ['bundles swapped', {
      'tile/entries/000': encodeBundle(b),
      'tile/entries/001': encodeBundle(a),
    }, 'entry 0'],
    ['a bundle in the middle gone', { 'tile/entries/001': undefined }, 'tile/entries/001'],
    ['rewritten tile', { 'tile/0/001': resources.get('tile/0/000')! }, 'entry 256'],
    ['rewritten upper tile', { 'tile/1/000.p/2': new Uint8Array(64) }, 'tile/1/000.p/2'],
    ['missing upper tile', { 'tile/1/000.p/2': undefined }, 'tile/1/000.p/2'],
    ['short tile', { 'tile/0/000': new Uint8Array(8191) }, 'tile/0/000'],
  ]
  for (const [name, changes, where] of cases) {
    const report = await verify(changes)
    assert.equal(report.whole, false, name)
    assert.equal(report.faults[0]!.where, where, name)
  }
})

test('an entry that was rewritten together with its tile does not lead to the root', async () => {
  const entries = bundle(0)
  entries[5] = utf8(fromUtf8(entries[5]!).replace('"data":4', '"data":5'))
  const tile = concat(...entries.map((entry) => defaultHasher.leaf(entry)))
  const report = await verify({ 'tile/entries/000': encodeBundle(entries), 'tile/0/000': tile })
  assert.deepEqual(report.faults.map(({ where }) => where), ['tile/1/000.p/2', 'checkpoint'])
})

test('a log that was pruned is whole, and says how much is gone', async () => {
  const report = await verify({ 'tile/entries/000': undefined, 'tile/entries/001': undefined })
  assert.deepEqual([report.whole, report.verified, report.pruned], [true, 88, 512])
})

test('a signer that lies about places and times is found out', async () => {
  const hasher = defaultHasher
  const lie = async (...entries: string[]) => {
    const leaves = entries.map((entry) => hasher.leaf(utf8(entry)))
    const tiles: Record<string, Bytes> = {
      [`tile/entries/000.p/${entries.length}`]: encodeBundle(entries.map(utf8)),
      [`tile/0/000.p/${entries.length}`]: concat(...leaves),
    }
    const head = { origin, size: entries.length, root: rootOf(leaves) }
    return await verifyLog({ read: (path) => Promise.resolve(tiles[path]) }, head)
  }
  const entry = (seq: number, time: string) => `{"seq":${seq},"time":"${time}","type":"a","v":1}`
  const [early, late] = ['2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z']
  assert.equal((await lie(entry(0, early), entry(1, late))).whole, true)
  assert.match((await lie(entry(0, late), entry(1, early))).faults[0]!.message, /time runs back/)
  assert.match((await lie(entry(0, early), entry(0, late))).faults[0]!.message, /says that it is 0/)
  assert.equal((await lie('not json')).faults[0]!.code, 'entry_malformed')
  // What cannot be made into text, and what is too much of it.
  for (const seq of ['{"toString":1,"valueOf":1}', '[[]]', 'null', `"${'\\u001b'.repeat(9000)}"`]) {
    const { faults, verified } = await lie(`{"seq":${seq},"time":"${early}"}`)
    assert.deepEqual([faults[0]!.code, verified], ['entry_malformed', 1])
    assert.ok(faults[0]!.message.length < 60)
  }
})

test('verification can be cancelled', async () => {
  const signal = AbortSignal.abort()
  await assert.rejects(verifyLog(reader(), checkpoint, { signal }), { code: 'aborted' })
})

async function collect(start: number, end: number): Promise<Bytes> {
  const parts: Bytes[] = []
  const view = new LogView(reader(), checkpoint)
  for await (const part of exportRange(view, { start, end }, checkpoint)) parts.push(part)
  return concat(...parts)
}

test('an exported range verifies by itself, wherever it starts and ends', async () => {
  for (
    const [start, end] of [[0, 600], [0, 1], [599, 600], [255, 257], [100, 530], [
      512,
      600,
    ]] as const
  ) {
    const range = await verifyRange(await collect(start, end), verifiers, { origin })
    assert.equal(range.from, start)
    assert.deepEqual(
      range.entries.map((one) => parseEntry(one).seq),
      range.entries.map((_, i) => start + i),
    )
    assert.equal(range.entries.length, end - start)
  }
  for (const [start, end] of [[5, 5], [6, 5], [0, 601], [-1, 5], [0.5, 2]] as const) {
    await assert.rejects(collect(start, end), { code: 'log_range' })
  }
})

test('an exported range with anything changed is refused', async () => {
  const file = fromUtf8(await collect(100, 140))
  const lines = file.split('\n')
  const bad: [string, string][] = [
    [file.replace('"data":110', '"data":111'), 'proof_invalid'],
    [[lines[0], ...lines.slice(2)].join('\n'), 'proof_malformed'],
    [[lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n'), 'proof_invalid'],
    [file + lines[1] + '\n', 'proof_malformed'],
    [file.slice(0, -1), 'proof_malformed'],
    [file.replace('"from":100', '"from":101').replace('"to":140', '"to":141'), 'proof_malformed'],
    [file.replace('"to":140', '"to":1e300'), 'proof_malformed'],
    [file.replace('@v1', '@v2'), 'proof_malformed'],
    [file.replace(/"left":\["./, '"left":["!'), 'proof_malformed'],
    [file.replace('\\n600\\n', '\\n601\\n'), 'signature_invalid'],
    ['', 'json_malformed'],
  ]
  for (const [text, code] of bad) {
    await assert.rejects(verifyRange(utf8(text), verifiers), { code }, text.slice(0, 80))
  }
  const stranger = await noteSigner(origin, await generateKey(ALGORITHMS['Ed25519']))
  await assert.rejects(verifyRange(utf8(file), [stranger.verifier]), { code: 'signer_untrusted' })
})

test('verifyRange() takes no line apart that the head does not announce, or beyond what is asked for', async () => {
  const empty = new Uint8Array(4_000_000).fill(10)
  for (const head of [`{"from":0,"to":4000000}\n`, '{}\n', '\n']) {
    const started = performance.now()
    await assert.rejects(verifyRange(concat(utf8(head), empty), []))
    assert.ok(performance.now() - started < 2000, head)
  }
  const signer = await noteSigner('flood.example', key)
  const size = 4_000_000
  const text = formatTreeHead({ origin: 'flood.example', size, root: defaultHasher.empty })
  const fileOf = async (to: number) => {
    const checkpoint = await signNote(text, [signer])
    const head = { format: 'signet-log-range@v1', from: 0, to, left: [], right: [], checkpoint }
    return concat(utf8(JSON.stringify(head) + '\n'), empty)
  }
  const started = performance.now()
  await assert.rejects(
    verifyRange(await fileOf(size), [signer.verifier], { maxEntries: 8192 }),
    { code: 'proof_malformed', message: /more than 8192 entries/ },
  )
  await assert.rejects(
    verifyRange(await fileOf(2), [signer.verifier]),
    { code: 'proof_malformed', message: /more than its 2 entries/ },
  )
  assert.ok(performance.now() - started < 2000)
})

async function witness(name: string, scheme = ED25519_COSIGNATURE) {
  const signer: NoteSigner = await noteSigner(name, await generateKey(scheme.algorithm), { scheme })
  const store = memoryWitnessStore()
  const handler = witnessHandler({
    logs: [{ origin, verifiers }],
    signers: [signer],
    store,
    prefix: '/w',
  })
  return {
    signer,
    store,
    handler,
    entry: { name, verifier: signer.verifier, url: 'https://w.example/w/' },
  }
}
const post = (
  handler: (r: Request) => Promise<Response>,
  body: string,
  path = '/w/add-checkpoint',
) => handler(new Request(`https://w.example${path}`, { method: 'POST', body }))

/** A growing log: checkpoints and views at sizes 1, 4 and 9. */
async function growing() {
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { origin, publishAfter: 100_000 })
  const stages = []
  for (const count of [0, 3, 5]) {
    for (let i = 0; i < count; i++) await log.append({ type: 'test' })
    stages.push({ checkpoint: await log.checkpoint(), view: log.view() })
  }
  return { log, stages }
}

test('a witness answers malformed requests as the protocol says', async () => {
  const { handler } = await witness('w')
  const { stages: [, four] } = await growing()
  const note = four!.checkpoint.note
  const other = await noteSigner('example.com/other', key)
  const unknown = await signNote(four!.checkpoint.text.replace(origin, 'example.com/other'), [
    other,
  ])
  const stranger = await noteSigner(origin, await generateKey(ALGORITHMS['Ed25519']))
  const unsigned = await signNote(four!.checkpoint.text, [stranger])
  const forged = note.replace('\n4\n', '\n5\n')
  const cases: [number, string][] = [
    [400, ''],
    [400, 'old 0\n'],
    [400, `old 00\n\n${note}`],
    [400, `old -1\n\n${note}`],
    [400, `new 0\n\n${note}`],
    [400, `old 0\nAAAA\n\n${note}`],
    [400, `old 0\n${'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'.repeat(64)}\n${note}`],
    [400, `old 5\n\n${note}`],
    [404, `old 0\n\n${unknown}`],
    [403, `old 0\n\n${unsigned}`],
    [403, `old 0\n\n${forged}`],
    [422, `old 0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n${note}`],
    [409, `old 1\n\n${note}`],
    [400, 'x'.repeat(3_000_000)],
  ]
  for (const [status, body] of cases) {
    assert.equal((await post(handler, body)).status, status, body.slice(0, 60))
  }
  const get = (path: string) => handler(new Request(`https://w.example${path}`))
  assert.equal((await get('/w/add-checkpoint')).status, 405)
  assert.equal((await get('/')).status, 404)
  assert.equal((await get(`/w/${'0'.repeat(64)}/checkpoint`)).status, 404)
})

test('a witness cosigns growth only, and tells what it has', async () => {
  const { handler, entry, signer } = await witness('w')
  const { stages: [one, four, nine] } = await growing()
  const ask = (stage: typeof one) =>
    requestCosignature(entry, stage!.view, stage!.checkpoint, { fetch: handler })
  const [line] = await ask(one)
  const cosigned = await openNote(one!.checkpoint.note + line, [signer.verifier])
  assert.equal(cosigned.verified.length, 1)
  assert.equal((await ask(nine)).length, 1)
  assert.equal((await ask(nine)).length, 1)
  // An older checkpoint of the same log.
  await assert.rejects(ask(four), { code: 'log_rolled_back' })
  const answer = await post(handler, `old 0\n\n${nine!.checkpoint.note}`)
  assert.equal(answer.status, 409)
  assert.equal(answer.headers.get('content-type'), 'text/x.tlog.size')
  assert.equal(await answer.text(), '9\n')
  // Another log under the same key, as large and larger.
  const fork = await growing()
  await assert.rejects(ask(fork.stages[2]), { code: 'log_forked' })
  for (let i = 0; i < 3; i++) await fork.log.append({ type: 'test' })
  const larger = { checkpoint: await fork.log.checkpoint(), view: fork.log.view() }
  await assert.rejects(ask(larger), { code: 'log_forked' })
  // What it serves is what it cosigned.
  const hash = await crypto.subtle.digest('SHA-256', utf8(origin))
  const path = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join(
    '',
  )
  const recent = await handler(new Request(`https://w.example/w/${path}/checkpoint`))
  const served = await openCheckpoint(await recent.text(), verifiers, {
    witnesses: [signer.verifier],
  })
  assert.deepEqual([served.size, served.verified.length], [9, 2])
})

test('a note full of signatures of strangers does not make a witness unable to go on', async () => {
  const { handler, entry, store } = await witness('w')
  const { stages: [one, four] } = await growing()
  // As many as a note may have: with the cosignature it would be one too many to read again.
  const line = one!.checkpoint.note.trimEnd().split('\n').at(-1)!
  const stranger = `${line.replace(origin, 'example.com/stranger')}\n`
  const full = one!.checkpoint.note + stranger.repeat(31)
  assert.equal((await post(handler, `old 0\n\n${full}`)).status, 200)
  assert.ok(!(await store.load(origin))!.includes('stranger'))
  const { view, checkpoint } = four!
  assert.equal((await requestCosignature(entry, view, checkpoint, { fetch: handler })).length, 1)
})

test('two requests at once cannot roll a witness back', async () => {
  const { handler, store } = await witness('w')
  const { stages: [one, four, nine] } = await growing()
  const first = await post(handler, `old 0\n\n${one!.checkpoint.note}`)
  assert.equal(first.status, 200)
  const body = async (stage: typeof four) => {
    const proof = await stage!.view.consistency(one!.checkpoint)
    const lines = proof.map((hash) => btoa(String.fromCharCode(...hash)) + '\n').join('')
    return `old 1\n${lines}\n${stage!.checkpoint.note}`
  }
  const answers = await Promise.all([
    post(handler, await body(four)),
    post(handler, await body(nine)),
  ])
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 409])
  assert.match((await store.load(origin))!, answers[0]!.status === 200 ? /\n4\n/ : /\n9\n/)
})

test("a witness that answers with a wrong signature, or somebody else's, is not believed", async () => {
  const { entry } = await witness('w')
  const { stages: [one] } = await growing()
  const impostor = await witness('w')
  const ask = (fetch: (r: Request) => Promise<Response>) =>
    requestCosignature(entry, one!.view, one!.checkpoint, { fetch })
  await assert.rejects(ask(impostor.handler), { code: 'signer_untrusted' })
  await assert.rejects(ask(() => Promise.resolve(new Response('junk\n'))), {
    code: 'note_malformed',
  })
  await assert.rejects(ask(() => Promise.resolve(new Response('', { status: 500 }))), {
    code: 'io_failed',
  })
  await assert.rejects(ask(() => Promise.reject(new TypeError('down'))), { code: 'io_failed' })
  await assert.rejects(ask(() => Promise.resolve(new Response('0\n', { status: 409 }))), {
    code: 'io_failed',
  })
})

test('two of three witnesses, one post-quantum, make the quorum of a published checkpoint', async () => {
  const { log } = await growing()
  const names = ['w1.example', 'w2.example', 'w3.example']
  const witnesses = await Promise.all(
    names.map((name, i) => witness(name, i === 0 ? ML_DSA_44_COSIGNATURE : ED25519_COSIGNATURE)),
  )
  const policy = simplePolicy(log.verifiers, witnesses.map(({ entry }) => entry), 2)
  const check = async (note: string) =>
    checkPolicy(
      policy,
      await openCheckpoint(note, log.verifiers, {
        witnesses: policy.witnesses.map(({ verifier }) => verifier),
      }),
    )
  const current = await log.checkpoint()
  await assert.rejects(check(current.note), { code: 'witness_quorum' })
  const lines: string[] = []
  for (const { entry, handler } of witnesses.slice(0, 2)) {
    lines.push(...await requestCosignature(entry, log.view(), current, { fetch: handler }))
  }
  await assert.rejects(check(current.note + lines[0]), { code: 'witness_quorum' })
  const cosigned = await log.cosign(current, lines)
  await check(cosigned.note)
  // They stay on the checkpoint until the log grows.
  await check((await log.checkpoint()).note)
  await log.append({ type: 'test' })
  const grown = await log.checkpoint()
  await assert.rejects(check(grown.note), { code: 'witness_quorum' })
  await assert.rejects(log.cosign(current, lines), { code: 'log_range' })
  assert.match(formatVkey(witnesses[0]!.signer.verifier), /^w1\.example\+/)
  await log.close()
})

test('the page shows what a log says as text, whatever it says', async () => {
  const storage = memoryLogStorage()
  const log = await openLog(storage, key, { origin, publishAfter: 100_000 })
  const nasty = "<script>alert(1)</script>\" onload='x' &amp; \u202e\u0000"
  const add = () => log.append({ type: 'a', actor: nasty, data: { [nasty]: nasty } })
  await add()
  const anchored = await log.checkpoint()
  await add()
  await add()
  const head = await log.checkpoint()
  const entries = pageEntries()
  const report = await verifyLog(storage, head, { onEntry: entries.add })
  const fault = new SignetError('log_corrupt', `fault ${nasty}`)
  const page = reportPage(
    { ...report, faults: [fault], whole: false },
    entries,
    { checkpoint: head, anchored, witnesses: [{ name: nasty, cosigned: false }], now: 0 },
  )
  assert.ok(!/<script|onload=\'|\u202e|&amp;amp;lt/.test(page))
  assert.match(page, /NOT WHOLE/)
  assert.match(page, /&lt;script&gt;alert/)
  assert.match(page, /the first 2 entries are those of the anchor; 2 came after/)
  assert.match(page, /default-src &#39;none&#39;|default-src 'none'/)
  // Every tag that is opened is one of ours.
  const tags = new Set([...page.matchAll(/<([a-z0-9]+)/g)].map(([, tag]) => tag))
  const ours =
    'html head meta title style body header h1 p main section h2 table tr th td ol li code svg rect span pre details summary footer'
  assert.deepEqual([...tags].filter((tag) => !ours.split(' ').includes(tag!)), [])
  await log.close()
})

test('what the page collects of a log is bounded, and counts every entry, also one that is none', () => {
  const entries = pageEntries()
  const size = 5000
  for (let i = 0; i < size; i++) {
    const time = new Date(i * 1000).toISOString()
    const text = i % 1000 === 7 ? 'null' : JSON.stringify({ type: `t${i % 60}`, time })
    entries.add(i, utf8(text))
  }
  entries.add(size, Uint8Array.of(0xff))
  assert.equal([...entries.types.values()].reduce((sum, count) => sum + count), size + 1)
  assert.equal(entries.types.get('unreadable'), 6)
  assert.ok(entries.types.size <= 51 && entries.newest.length <= 400)
  assert.equal(entries.times.reduce((sum, { count }) => sum + count, 0), size + 1)
  assert.ok(entries.times.length > 500 && entries.times.length <= 2048)
  assert.equal(entries.times[1]!.time, '1970-01-01T00:00:04.000Z')
})
