import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromHex, toBase64Url, toHex, utf8 } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import { readGrantexAudit, readTrusthandoffEvents } from '../../src/interop/mod.ts'
import { parseLexical, pythonCanonical } from '../../src/interop/lexical_json.ts'
import { importKey, publicKey, signMessage } from '../../src/keys/mod.ts'

// RFC 8032 §7.1 test 1: the key that the reference entries were signed with.
const seed = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60')
const signer = await importKey(ALGORITHMS['Ed25519'], {
  privateKey: seed,
  publicKey: await derivePublic(ALGORITHMS['Ed25519'], seed),
})
const key = await publicKey(
  ALGORITHMS['Ed25519'],
  fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'),
)
const H1 = 'f10dd310635ea43843a9759ef747ed34f00daea2410e82c3d331cc7ae83190aa'
const S1 =
  'f75f905c25c5f7813ddf9dc8ece1c42357f6560749bb5899aefa440412ee237f64fb7010ebe6632033a15d3a95e0c40030193993de212ef0fad4d42527bf280d'
const H2 = '24b60dcf9f4be09e55f7d19bf22e8ba4973b832223d00b7d438dfc2621eadf12'
const S2 =
  '9512cdb4204531521d1254fd498b1aae4c357f53d09a7dd123baa5e40f84b1ef83c8c244b9e6ff7509f8be093c2c4052fbd1cb055899d81493739633d95c7304'
const COMMON =
  '"agentDID":"did:grantex:ag_01HXYZ","grantId":"grnt_01HXYZ","scopes":["calendar:read","email:send"]'
const TS = [
  `{"seq":1,"timestamp":"2026-04-03T12:00:00.000Z","action":"tool:read_calendar",${COMMON},"result":"success",` +
  `"metadata":{"eventCount":5,"note":"caf\u00e9 \u2615","f":1,"nested":{"b":[true,null],"a":1e+21}},` +
  `"prevHash":"0000000000000000","hash":"${H1}","signature":"${S1}"}\n`,
  `{"seq":2,"timestamp":"2026-04-03T12:00:01.250Z","action":"tool:send_email",${COMMON},` +
  `"result":"scope_violation","prevHash":"${H1}","hash":"${H2}","signature":"${S2}"}\n`,
]
const ZEROS = '0'.repeat(64)
const PY =
  `{"seq": 1, "timestamp": "2026-04-03T12:00:00.123456+00:00", "action": "tool:read_calendar", ` +
  `"agent_did": "did:grantex:ag_01HXYZ", "grant_id": "grnt_01HXYZ", "scopes": ["calendar:read", "email:send"], ` +
  `"result": "success", "metadata": {"eventCount": 5, "note": "caf\\u00e9 \\u2615", "f": 1.0, ` +
  `"nested": {"b": [true, null], "a": 1e+21}}, "prev_hash": "${ZEROS}", ` +
  `"hash": "ab7e7cbf4b0efa72b5a8953e6688fccef201b651f1e409a9fa119c213abb48be", ` +
  `"signature": "A0kq-2kn4ktZQzqRhpsKo1xsWkRdH-LVs4Gs7l141_dCH0TfbFqB0AW8hGWtQ3saJ6XZ1cnbzQRzFiLuKBTGDQ=="}\n`

const faults = async (file: string | Uint8Array) =>
  (await readGrantexAudit(typeof file === 'string' ? utf8(file) : file, { key })).faults
    .map(({ line, message }) => `${line}: ${message}`)

test('the worked entries of both dialects are whole, signatures too', async () => {
  const ts = await readGrantexAudit(utf8(TS.join('')), { key })
  assert.deepEqual([ts.format, ts.faults, ts.signed], ['grantex-ts', [], 2])
  const py = await readGrantexAudit(utf8(PY), { key })
  assert.deepEqual([py.format, py.faults, py.signed], ['grantex-py', [], 1])
  assert.deepEqual(py.lines.map(({ text }) => text + '\n'), [PY])
  assert.deepEqual(ts.lines[1]!.event, {
    type: 'import.grantex-ts',
    actor: 'did:grantex:ag_01HXYZ',
    action: 'tool:send_email',
    outcome: 'scope_violation',
    ref: 'grnt_01HXYZ',
    data: { line: TS[1]!.trim() },
  })
})

test('without a key nothing counts as signed', async () => {
  const { signed, faults } = await readGrantexAudit(utf8(TS.join('')))
  assert.deepEqual([signed, faults], [0, []])
})

test('every way to damage a Grantex log is named with its line', async () => {
  const both = TS.join('')
  const cases: [string | Uint8Array, RegExp][] = [
    [TS[1]!, /^1: it has number 2, not 1/],
    [both.replace('tool:send_email', 'tool:send_emails'), /^2: its hash/],
    [both.replace('"f":1,', '"f":1.0,'), /^1: its hash/],
    [both.replace(S2, S1), /^2: its signature fails/],
    [both.replace(S2, S2.toUpperCase()), /^2: its signature fails/],
    [both.replace(S2, ''), /^2: its signature fails/],
    [TS[0]! + TS[0]!, /^2: it has number 1, not 2/],
    [
      both.replace('0000000000000000', '0000000000000001'),
      /^1: it does not start from the genesis/,
    ],
    [both.slice(0, -1), /^2: the last line does not end/],
    [both.slice(0, -40), /^2: the last line does not end/],
    [
      both.replace('"result":"success",', '"result":"success","result":"x",'),
      /^1: JSON: a name stands twice/,
    ],
    [both.replace('"result":"success",', ''), /^1: it is no entry/],
    [both.replace('12:00:01.250Z', '11:00:01.250Z'), /^2: its hash/],
    [both + '[]\n', /^3: it is no object/],
    [PY.replace('1.0', '1'), /^1: its hash/],
    [PY.replace('==', ''), /^$/],
    [PY.replace('A0kq', 'A0kr'), /^1: its signature fails/],
    [new Uint8Array([255, 10]), /^1: line 1 is not valid UTF-8/],
  ]
  for (const [file, expected] of cases) {
    assert.match((await faults(file))[0] ?? '', expected, String(file).slice(-80))
  }
})

test('a chain that was forged with fresh hashes and no key is found by its signatures', async () => {
  const content = `2|2026-04-03T12:00:01.250Z|tool:nothing|did:grantex:ag_01HXYZ|grnt_01HXYZ|` +
    `calendar:read,email:send|scope_violation||${H1}`
  const hash = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(content))))
  const forged = TS.join('').replace('tool:send_email', 'tool:nothing').replace(H2, hash)
  assert.deepEqual(await faults(forged), ['2: its signature fails'])
  const { faults: unsigned } = await readGrantexAudit(utf8(forged))
  assert.deepEqual(unsigned, [])
})

test('fields that make two contents one are told', async () => {
  const line = async (action: string, agent: string) => {
    const time = '2026-04-03T12:00:00.000Z'
    const content = `1|${time}|${action}|${agent}|g|s|ok||${'0'.repeat(16)}`
    const hash = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(content))))
    const signature = toHex(await signMessage(signer, utf8(hash)))
    return JSON.stringify({
      ...{ seq: 1, timestamp: time, action, agentDID: agent, grantId: 'g', scopes: ['s'] },
      ...{ result: 'ok', prevHash: '0'.repeat(16), hash, signature },
    }) + '\n'
  }
  assert.deepEqual(await faults(await line('a', 'b')), [])
  assert.match((await faults(await line('a|b', 'c')))[0]!, /another content has the same hash/)
  assert.match((await faults(await line('a', 'b|c')))[0]!, /another content has the same hash/)
})

test('Python numbers, names and text are written as Python writes them', () => {
  const cases = [
    [
      '{"b": 1e-07, "a": -0.0, "c": 123456789012345678901234567890}',
      '{"a":-0.0,"b":1e-07,"c":123456789012345678901234567890}',
    ],
    ['[NaN, Infinity, -Infinity, 1e+16]', '[NaN,Infinity,-Infinity,1e+16]'],
    // By code point U+FFFD stands before U+1F600; by UTF-16 unit it would not.
    ['{"\ud83d\ude00":1,"\ufffd":2}', '{"\\ufffd":2,"\\ud83d\\ude00":1}'],
    ['"\\u007f\\ud800\\/\\n\u00e9"', '"\\u007f\\ud800/\\n\\u00e9"'],
    [' { "a" : [ ] , "b" : { } } ', '{"a":[],"b":{}}'],
  ]
  for (const [text, canonical] of cases) {
    assert.equal(pythonCanonical(parseLexical(text!)), canonical)
  }
})

test('parseLexical() refuses what is no JSON', () => {
  const bad = [
    '',
    '{',
    '[1,]',
    '{"a":1,}',
    '{"a"}',
    '01',
    '1.',
    '+1',
    'nul',
    '"\u0001"',
    '"\\x"',
    '[1] 2',
  ]
  for (const text of bad) assert.throws(() => parseLexical(text), { code: 'json_malformed' }, text)
  assert.throws(() => parseLexical('{"a":1,"a":2}'), { code: 'json_duplicate_key' })
  assert.throws(() => parseLexical('['.repeat(100)), { code: 'json_too_deep' })
})

test('trusthandoff events are read, and their faults told', () => {
  const event = (id: string, time: string) =>
    JSON.stringify({
      ...{ event_id: id, event_type: 'packet_rejected', timestamp: time, producer_id: 'a' },
      ...{ correlation_id: 'p1', idempotency_key: 'p1', packet_id: 'p1', reason: 'expired' },
    }) + '\n'
  const [early, late] = ['2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01.5+00:00']
  const good = readTrusthandoffEvents(utf8(event('1', early) + event('2', late)))
  assert.deepEqual(good.faults, [])
  assert.equal(good.lines[0]!.event.outcome, 'expired')
  const read = (text: string) => readTrusthandoffEvents(utf8(text)).faults[0]?.message ?? ''
  assert.match(read(event('1', early) + event('1', late)), /event_id stood before/)
  assert.match(read(event('1', late) + event('2', early)), /time is before/)
  assert.match(read(event('1', 'soon')), /time is none/)
  assert.match(read('{"event_type":"x"}\n'), /it has no event_id/)
  assert.equal(toBase64Url(utf8('')), '')
})
