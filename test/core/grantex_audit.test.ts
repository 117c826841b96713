import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromHex, utf8 } from '../../src/bytes.ts'
import { derivePublic } from '../../src/crypto/mod.ts'
import {
  GRANTEX_START,
  type GrantexChain,
  type GrantexDialect,
  type GrantexEvent,
  PythonFloat,
  readGrantexAudit,
  writeGrantexEntry,
} from '../../src/interop/mod.ts'
import { pythonFloat, pythonJson } from '../../src/interop/grantex/python_json.ts'
import { generateKey, importKey } from '../../src/keys/mod.ts'

// RFC 8032 §7.1 test 1, as in the worked entries of both clients.
const seed = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60')
const key = await importKey(ALGORITHMS['Ed25519'], {
  privateKey: seed,
  publicKey: await derivePublic(ALGORITHMS['Ed25519'], seed),
})
const H1 = 'f10dd310635ea43843a9759ef747ed34f00daea2410e82c3d331cc7ae83190aa'
const S1 =
  'f75f905c25c5f7813ddf9dc8ece1c42357f6560749bb5899aefa440412ee237f64fb7010ebe6632033a15d3a95e0c40030193993de212ef0fad4d42527bf280d'
const H2 = '24b60dcf9f4be09e55f7d19bf22e8ba4973b832223d00b7d438dfc2621eadf12'
const S2 =
  '9512cdb4204531521d1254fd498b1aae4c357f53d09a7dd123baa5e40f84b1ef83c8c244b9e6ff7509f8be093c2c4052fbd1cb055899d81493739633d95c7304'
const EVENT: GrantexEvent = {
  action: 'tool:read_calendar',
  agent: 'did:grantex:ag_01HXYZ',
  grant: 'grnt_01HXYZ',
  scopes: ['calendar:read', 'email:send'],
  result: 'success',
  time: Date.parse('2026-04-03T12:00:00.000Z'),
}

async function file(dialect: GrantexDialect, events: readonly GrantexEvent[]): Promise<string> {
  let chain: GrantexChain = GRANTEX_START
  let out = ''
  for (const event of events) {
    const line = await writeGrantexEntry(dialect, event, chain, key)
    out += line.text + '\n'
    chain = line
  }
  return out
}

test('writeGrantexEntry() refuses what two contents would share a hash by', async () => {
  const refused: Partial<GrantexEvent>[] = [
    { action: 'a|b' },
    { agent: 'b|c' },
    { grant: '|' },
    { result: 'x|' },
    { scopes: ['a,b'] },
    { scopes: ['a|b'] },
    { scopes: [''] },
    { action: 'a\ud800' },
    { time: NaN },
    { metadata: { n: 12345678901234567890n } },
    { metadata: { n: new PythonFloat(1) } },
  ]
  for (const part of refused) {
    await assert.rejects(
      writeGrantexEntry('grantex-ts', { ...EVENT, ...part }, GRANTEX_START, key),
      { code: 'entry_malformed' },
      String(Object.keys(part)),
    )
  }
  const rejects = (metadata: GrantexEvent['metadata'], code: string) =>
    assert.rejects(
      writeGrantexEntry('grantex-ts', { ...EVENT, metadata }, GRANTEX_START, key),
      { code },
    )
  await rejects({ n: 2 ** 53 }, 'json_number_unsafe')
  await rejects({ n: '\udc00' }, 'json_surrogate')
})

test('writeGrantexEntry() refuses a foreign key, a foreign chain and numbers that JSON lacks', async () => {
  const es = await generateKey(ALGORITHMS['ES256'])
  await assert.rejects(writeGrantexEntry('grantex-ts', EVENT, GRANTEX_START, es), {
    code: 'algorithm_mismatch',
  })
  for (const hash of ['0'.repeat(63), H1.toUpperCase(), 'x|y']) {
    await assert.rejects(writeGrantexEntry('grantex-py', EVENT, { seq: 1, hash }, key), {
      code: 'entry_malformed',
    })
  }
  for (const n of [NaN, Infinity]) {
    await assert.rejects(
      writeGrantexEntry('grantex-py', { ...EVENT, metadata: { n } }, GRANTEX_START, key),
      { code: 'json_number_unsafe' },
    )
  }
})

test('the worked entries of the TypeScript dialect come out byte for byte', async () => {
  const metadata = { eventCount: 5, note: 'café ☕', f: 1.0, nested: { b: [true, null], a: 1e21 } }
  const first = await writeGrantexEntry('grantex-ts', { ...EVENT, metadata }, GRANTEX_START, key)
  assert.equal(
    first.text,
    `{"seq":1,"timestamp":"2026-04-03T12:00:00.000Z","action":"tool:read_calendar",` +
      `"agentDID":"did:grantex:ag_01HXYZ","grantId":"grnt_01HXYZ","scopes":["calendar:read","email:send"],` +
      `"result":"success","metadata":${JSON.stringify(metadata)},"prevHash":"0000000000000000",` +
      `"hash":"${H1}","signature":"${S1}"}`,
  )
  const next = { ...EVENT, action: 'tool:send_email', result: 'scope_violation' }
  const second = await writeGrantexEntry(
    'grantex-ts',
    { ...next, time: Date.parse('2026-04-03T12:00:01.250Z') },
    first,
    key,
  )
  assert.deepEqual([second.seq, second.hash], [2, H2])
  assert.ok(second.text.endsWith(`"prevHash":"${H1}","hash":"${H2}","signature":"${S2}"}`))
})

test('the worked entry of the Python dialect has the hash and signature of Python', async () => {
  // Its time has microseconds, which a Date lacks: the text is put together here, the reader judges.
  const metadata = {
    eventCount: 5,
    note: 'café ☕',
    f: new PythonFloat(1),
    nested: { b: [true, null], a: 1e21 },
  }
  const { text } = await writeGrantexEntry('grantex-py', { ...EVENT, metadata }, GRANTEX_START, key)
  const worked = text.replace('12:00:00+00:00', '12:00:00.123456+00:00')
    .replace(
      /"hash":"[0-9a-f]+","signature":".*"/,
      () =>
        '"hash":"ab7e7cbf4b0efa72b5a8953e6688fccef201b651f1e409a9fa119c213abb48be","signature":' +
        '"A0kq-2kn4ktZQzqRhpsKo1xsWkRdH-LVs4Gs7l141_dCH0TfbFqB0AW8hGWtQ3saJ6XZ1cnbzQRzFiLuKBTGDQ=="',
    )
  const read = await readGrantexAudit(utf8(worked + '\n'), { key: key.publicKey })
  assert.deepEqual([read.faults, read.signed], [[], 1])
  assert.match(
    worked,
    /"note":"caf\\u00e9 \\u2615","f":1\.0,"nested":\{"b":\[true,null\],"a":1e\+21\}/,
  )
})

test('what the writer writes, the reader finds whole, in both dialects', async () => {
  const events = Array.from({ length: 20 }, (_, i) => ({
    ...EVENT,
    time: EVENT.time + i * 250,
    result: i % 3 === 0 ? 'scope_violation' : 'success',
    scopes: i % 4 === 0 ? [] : EVENT.scopes,
    ...(i % 2 === 0
      ? {}
      : { metadata: { i, 2: 'two', 1: 'one', f: i / 3, e: 1e-7, t: '\u007f"\\\n😀' } }),
  }))
  for (const dialect of ['grantex-ts', 'grantex-py'] as const) {
    const text = await file(dialect, events)
    const read = await readGrantexAudit(utf8(text), { key: key.publicKey })
    assert.deepEqual([read.format, read.faults, read.signed], [dialect, [], 20])
    const cut = await readGrantexAudit(utf8(text.slice(text.indexOf('\n') + 1)), {
      key: key.publicKey,
    })
    assert.notEqual(cut.faults.length, 0)
  }
})

test('floats are written as Python writes them', () => {
  const cases: [number, string][] = [
    [0, '0.0'],
    [-0, '-0.0'],
    [1, '1.0'],
    [24, '24.0'],
    [0.1, '0.1'],
    [-1.5, '-1.5'],
    [123.456, '123.456'],
    [1e-4, '0.0001'],
    [1e-5, '1e-05'],
    [1.25e-7, '1.25e-07'],
    [1e15, '1000000000000000.0'],
    [1e16, '1e+16'],
    [1.5e16, '1.5e+16'],
    [123456789012345680, '1.2345678901234568e+17'],
    [1e21, '1e+21'],
    [1e-100, '1e-100'],
    [5e-324, '5e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
  ]
  for (const [value, text] of cases) assert.equal(pythonFloat(value), text)
  assert.equal(
    pythonJson({ a: 5, b: 2 ** 53, c: 10n ** 30n, d: -0 }),
    '{"a":5,"b":9007199254740992.0,"c":1' + '0'.repeat(30) + ',"d":-0.0}',
  )
})
