import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import {
  GRANTEX_START,
  type GrantexChain,
  type GrantexDialect,
  type GrantexEvent,
  judgeGrantexUpload,
  type OnlineAuditEntry,
  onlineAuditHash,
  parseGrantexUpload,
  type StoredChain,
  type UploadContext,
  writeGrantexEntry,
} from '../../src/interop/grantex/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'

const key = await generateKey(ALGORITHMS['Ed25519'])
const older = await generateKey(ALGORITHMS['Ed25519'])
const START: StoredChain = { dialect: undefined, seq: 0, hash: undefined }
const NOW = Date.parse('2026-04-03T13:00:00Z')
const CONTEXT: UploadContext = {
  keys: [key.publicKey, older.publicKey],
  grant: 'grnt_1',
  agent: 'did:a',
  scopes: ['read'],
  now: NOW,
}
const EVENT: GrantexEvent = {
  ...{ action: 'tool:x', agent: 'did:a', grant: 'grnt_1', scopes: ['read'], result: 'success' },
  time: Date.parse('2026-04-03T12:00:00Z'),
}

async function lines(
  dialect: GrantexDialect,
  events: readonly Partial<GrantexEvent>[],
  signer: Key = key,
): Promise<string[]> {
  let chain: GrantexChain = GRANTEX_START
  const out: string[] = []
  for (const event of events) {
    const line = await writeGrantexEntry(dialect, { ...EVENT, ...event }, chain, signer)
    out.push(line.text)
    chain = line
  }
  return out
}

const upload = (entries: readonly string[]) =>
  parseGrantexUpload(utf8(`{"bundleId":"b","entries":[${entries.join(',')}]}`)).entries
const judge = (entries: readonly string[], chain = START, context: Partial<UploadContext> = {}) =>
  judgeGrantexUpload(upload(entries), chain, { ...CONTEXT, ...context })

test('parseGrantexUpload() refuses what is no upload', () => {
  const refuses = (text: string, code: string) =>
    assert.throws(() => parseGrantexUpload(utf8(text)), { name: 'SignetError', code }, text)
  for (const text of ['[]', '1', '{}', '{"bundleId":"","entries":[]}', '{"bundleId":"b"}']) {
    refuses(text, 'entry_malformed')
  }
  refuses('{"bundleId":"b","entries":[1]}', 'entry_malformed')
  refuses('{"bundleId":"b","entries":[{}', 'json_malformed')
  refuses('{"bundleId":"b","bundleId":"c","entries":[]}', 'json_duplicate_key')
  refuses(`{"bundleId":"b","entries":[${Array(1001).fill('{}')}]}`, 'too_large')
  refuses('['.repeat(200), 'json_too_deep')
  assert.throws(() => parseGrantexUpload(Uint8Array.of(0xff)), { code: 'encoding_invalid' })
})

for (const dialect of ['grantex-ts', 'grantex-py'] as const) {
  test(`entries of ${dialect} that are changed, cut out, moved or unsigned are faults, each with its code`, async () => {
    const good = await lines(dialect, [{}, {}, {}, {}])
    const [one, two, three] = good as [string, string, string]
    const cases: [string[], string, number][] = [
      [[one, two.replace('success', 'denied'), three], 'INVALID_HASH', 1],
      [[one, three], 'SEQ_GAP', 1],
      [[two], 'SEQ_GAP', 0],
      [[one, one], 'SEQ_GAP', 1],
      [[one, ...(await lines(dialect, [{ action: 'y' }, {}])).slice(1)], 'BROKEN_CHAIN', 1],
      [[one.replace(/("signature":")...../, '$1AAAAA')], 'INVALID_SIGNATURE', 0],
      [
        await lines(dialect, [{}], await generateKey(ALGORITHMS['Ed25519'])),
        'INVALID_SIGNATURE',
        0,
      ],
      [[one.replace('{"seq":1,', '{"seq":1,"approved":true,')], 'INVALID_ENTRY', 0],
      [[one.replace('{"seq":1,', '{"seq":1.0,')], 'INVALID_ENTRY', 0],
      [[one.replace('{"seq":1,', '{"seq":-1,')], 'INVALID_ENTRY', 0],
      [['{}'], 'INVALID_ENTRY', 0],
      [[one.replace(/"result":"success"/, '"result":null')], 'INVALID_ENTRY', 0],
      [[one.replace(/"timestamp":"[^"]*"/, '"timestamp":"soon"')], 'INVALID_ENTRY', 0],
    ]
    for (const [entries, code, accepted] of cases) {
      const judged = await judge(entries)
      assert.deepEqual([judged.fault?.code, judged.accepted.length], [code, accepted], code)
    }
    const whole = await judge(good)
    assert.deepEqual([whole.fault, whole.accepted.length, whole.chain.seq], [undefined, 4, 4])
    assert.deepEqual(whole.accepted.flatMap(({ notes }) => notes), [])
  })
}

test('entries of one dialect do not go on a chain of the other', async () => {
  const [first] = await lines('grantex-ts', [{}])
  const { chain } = await judge([first!])
  const foreign = await writeGrantexEntry('grantex-py', EVENT, { seq: 1, hash: chain.hash }, key)
  assert.equal((await judge([foreign.text], chain)).fault?.code, 'BROKEN_CHAIN')
})

test('what is not in order is remarked and taken', async () => {
  const cases: [Partial<GrantexEvent>, string[], Partial<UploadContext>?][] = [
    [{ agent: '', grant: '', scopes: [], result: 'auth_failure' }, ['NO_GRANT']],
    [{ grant: 'grnt_2' }, ['GRANT_MISMATCH']],
    [{ agent: 'did:b' }, ['AGENT_MISMATCH']],
    [{ scopes: ['read', 'write'] }, ['SCOPE_OUTSIDE_GRANT']],
    [{ scopes: [] }, []],
    [{ time: NOW + 600_000 }, ['TIME_AHEAD']],
    [{}, ['AFTER_REVOCATION'], { revokedAt: EVENT.time - 1 }],
    [{ action: 'x'.repeat(300) }, []],
  ]
  for (const [event, codes, context] of cases) {
    const judged = await judge(await lines('grantex-ts', [event]), START, context)
    assert.equal(judged.fault, undefined)
    assert.deepEqual(judged.accepted[0]!.notes.map(({ code }) => code), codes)
  }
  const back = await judge(await lines('grantex-py', [{}, { time: EVENT.time - 1000 }, {}]))
  assert.deepEqual(back.accepted.map(({ notes }) => notes.map(({ code }) => code)), [
    [],
    ['TIME_BACK'],
    [],
  ])
})

test('entries of an earlier key of the same bundle hold, in spaced JSON too', async () => {
  const [old] = await lines('grantex-py', [{}], older)
  const { chain, fault } = await judge([old!.replaceAll('":', '": ').replaceAll(',"', ', "')])
  assert.deepEqual([fault, chain.seq], [undefined, 1])
  const next = await writeGrantexEntry('grantex-py', EVENT, { seq: 1, hash: chain.hash }, key)
  assert.equal((await judge([next.text], chain)).fault, undefined)
})

test('the online hash sorts the names of metadata and nothing else', async () => {
  const entry = {
    ...{ id: 'alog_1', agentId: 'ag', agentDid: 'did', grantId: 'g', principalId: 'p' },
    ...{ developerId: 'd', action: 'x', timestamp: '2026-01-01T00:00:00.000Z', prevHash: null },
    ...{ status: 'success' as const, metadata: { b: 1, a: { d: 1, c: 2 } } },
  } satisfies OnlineAuditEntry
  const hash = await onlineAuditHash(entry)
  assert.match(hash, /^[0-9a-f]{64}$/)
  assert.equal(await onlineAuditHash({ ...entry, metadata: { a: { c: 2, d: 1 }, b: 1 } }), hash)
  assert.notEqual(await onlineAuditHash({ ...entry, prevHash: '' }), hash)
})
