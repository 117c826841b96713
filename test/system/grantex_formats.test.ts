/** Formats of Grantex, judged by Grantex's own clients. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  createOfflineAuditLog,
  createOfflineVerifier,
  loadBundle,
  storeBundle,
  verifyChain,
  verifyEntrySignature,
} from '@grantex/gemma'
import { nodeScrypt } from '../../backends/node_crypto.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, utf8 } from '../../src/bytes.ts'
import {
  formatGrantexBundle,
  GRANTEX_START,
  grantexAuditKey,
  type GrantexChain,
  grantexKeys,
  mintGrantexToken,
  openGrantexFile,
  parseGrantexBundle,
  PythonFloat,
  readGrantexAudit,
  sealGrantexFile,
  verifyGrantexBundle,
  verifyGrantexToken,
  writeGrantexEntry,
} from '../../src/interop/mod.ts'
import { generateKey, readPrivateKey } from '../../src/keys/mod.ts'
import rsaJwk from '../vectors/rsa_2048.json' with { type: 'json' }
import gtxb from '../vectors/grantex_gtxb.json' with { type: 'json' }
import { pythonTest, runPython, someBundle } from './_grantex.ts'
import { inTemp } from './_temp.ts'

const rsa = await readPrivateKey(JSON.stringify(rsaJwk.jwk), { insecureClearKey: true })
const { bundle, audit } = await someBundle(rsa)
const HEX = '0123456789abcdef'.repeat(4)
const snapshot = JSON.parse(JSON.stringify(bundle.jwksSnapshot))
const EVENT = {
  action: 'tool:read_calendar',
  agent: 'did:grantex:ag_1',
  grant: 'grnt_1',
  scopes: ['calendar:read'],
  result: 'success',
  time: Date.now(),
}

test('their verifier refuses what ours refuses: another key, an expired token', async () => {
  const mallory = await generateKey(ALGORITHMS['RS256'])
  const { claims } = await verifyGrantexToken(bundle.grantToken, {
    issuer: 'https://signet.example',
    keys: await grantexKeys(snapshot),
  })
  const kid = rsa.publicKey.id
  const verifier = createOfflineVerifier({ jwksSnapshot: snapshot })
  await assert.rejects(verifier.verify(await mintGrantexToken(claims, mallory, kid)), {
    code: 'VERIFICATION_FAILED',
  })
  const old = { ...claims, issuedAt: 1000, expiresAt: 2000 }
  await assert.rejects(verifier.verify(await mintGrantexToken(old, rsa)), { code: 'TOKEN_EXPIRED' })
})

test('their verifier takes our token', async () => {
  const verifier = createOfflineVerifier({
    jwksSnapshot: snapshot,
    requireScopes: ['calendar:read'],
    maxDelegationDepth: 0,
  })
  const grant = await verifier.verify(bundle.grantToken)
  assert.deepEqual(
    { ...grant, expiresAt: grant.expiresAt.toISOString() },
    {
      agentDID: 'did:grantex:ag_1',
      principalDID: 'user_1',
      scopes: ['calendar:read', 'email:send'],
      expiresAt: bundle.offlineExpiresAt,
      jti: 'tok_1',
      grantId: 'grnt_1',
      depth: 0,
    },
  )
})

test('our chain passes their verifyChain and verifyEntrySignature; a changed one does not', async () => {
  let chain: GrantexChain = GRANTEX_START
  const lines: string[] = []
  for (let i = 0; i < 50; i++) {
    const metadata = {
      i,
      10: 'ten',
      f: i / 7,
      big: 1e21,
      note: 'café ☕ | , "',
      deep: [{ a: null }],
    }
    const event = { ...EVENT, time: EVENT.time + i, scopes: i % 5 === 0 ? [] : EVENT.scopes }
    const line = await writeGrantexEntry(
      'grantex-ts',
      i % 2 === 0 ? event : { ...event, metadata },
      chain,
      audit,
    )
    lines.push(line.text)
    chain = line
  }
  const entries = lines.map((line) => JSON.parse(line))
  assert.deepEqual(verifyChain(entries), { valid: true })
  const pem = bundle.offlineAuditKey.publicKey
  assert.ok(entries.every((entry) => verifyEntrySignature(entry, pem)))
  const changed = entries.with(7, { ...entries[7], result: 'denied' })
  assert.deepEqual(verifyChain(changed), { valid: false, brokenAt: 7 })
})

test('a log that their client wrote is whole to our reader, and can be gone on with by our writer', async () => {
  await inTemp(async (folder) => {
    const logPath = join(folder, 'audit.jsonl')
    const log = createOfflineAuditLog({ signingKey: { ...bundle.offlineAuditKey }, logPath })
    for (let i = 0; i < 20; i++) {
      await log.append({
        ...{ action: `tool:${i}`, agentDID: 'did:grantex:ag_1', grantId: 'grnt_1' },
        ...{ scopes: ['a', 'b'], result: 'success' },
        ...(i % 2 === 0 ? {} : { metadata: { n: i / 3, e: 1e-7, t: 'é\u2028"', 7: 1, z: [] } }),
      })
    }
    const read = await readGrantexAudit(new Uint8Array(readFileSync(logPath)), {
      key: audit.publicKey,
    })
    assert.deepEqual([read.format, read.faults, read.signed], ['grantex-ts', [], 20])
    const last = JSON.parse(read.lines.at(-1)!.text)
    const ours = await writeGrantexEntry('grantex-ts', EVENT, last, audit)
    assert.deepEqual(verifyChain([...await log.entries(), JSON.parse(ours.text)]), { valid: true })
  })
})

test('files of the npm client open here, ours open there, and both refuse a wrong passphrase', async () => {
  await inTemp(async (folder) => {
    const [theirs, ours] = [join(folder, 'theirs'), join(folder, 'ours')]
    const plain = JSON.parse(formatGrantexBundle(bundle))
    await storeBundle({ ...plain, data: plain }, theirs, 'pässphrase')
    const file = new Uint8Array(readFileSync(theirs))
    assert.equal(
      formatGrantexBundle(await openGrantexFile(file, 'pässphrase')),
      formatGrantexBundle(bundle),
    )
    await assert.rejects(openGrantexFile(file, 'passphrase'), { code: 'passphrase_wrong' })
    writeFileSync(ours, await sealGrantexFile(bundle, 'pässphrase', 'npm'))
    assert.deepEqual(await loadBundle(ours, 'pässphrase'), plain)
    await assert.rejects(loadBundle(ours, 'passphrase'), { code: 'BUNDLE_TAMPERED' })
  })
})

test('a GTXB file that their repository wrote opens here, with its passphrase alone', async () => {
  const file = fromBase64(gtxb.file)
  const options = { scrypt: nodeScrypt }
  const opened = await openGrantexFile(file, gtxb.passphrase, options)
  assert.equal(formatGrantexBundle(opened), JSON.stringify(gtxb.bundle))
  const wrong = openGrantexFile(file, 'passphrase', options)
  await assert.rejects(wrong, { code: 'passphrase_wrong' })
})

test('a GTXB file has the cost of its version, with the portable and with the platform scrypt', async () => {
  const file = await sealGrantexFile(bundle, 'secret', 'gtxb', { scrypt: nodeScrypt })
  assert.equal(
    formatGrantexBundle(await openGrantexFile(file, 'secret')),
    formatGrantexBundle(bundle),
  )
  const wrong = openGrantexFile(file, 'Secret', { scrypt: nodeScrypt })
  await assert.rejects(wrong, { code: 'passphrase_wrong' })
})

const PYTHON = `
import asyncio, json, os, sys, tempfile
from grantex_gemma import *
from grantex_gemma._audit_log import _parse_sync_bundle
from grantex_gemma._bundle_storage import _bundle_to_dict
from grantex_gemma._types import SignedAuditEntry
from grantex_gemma._hash_chain import verify_chain
given = json.load(sys.stdin)
folder = tempfile.mkdtemp()
path = os.path.join(folder, 'ours')
open(path, 'w').write(given['file'])
bundle = load_bundle(path, given['hex'])
again = os.path.join(folder, 'theirs')
store_bundle(bundle, again, given['hex'])
grant = asyncio.run(create_offline_verifier(bundle.jwks_snapshot, require_scopes=['email:send'], max_delegation_depth=0).verify(bundle.grant_token))
log_path = os.path.join(folder, 'log')
log = create_offline_audit_log(bundle.offline_audit_key, log_path)
async def appends():
    for i in range(25):
        await log.append('tool:%d' % i, grant, 'success', {'f': 24.0, 'e': 1e-7, 'n': 'caf\\u00e9 \\u2615 \\U0001f600', 'deep': {'b': [True, None], 'a': 1e16, '\\ufffd': i, '\\U0001f600': -0.0}, 'i': 10**30} if i % 2 else None)
asyncio.run(appends())
ours = [SignedAuditEntry(**json.loads(line)) for line in given['log'].splitlines()]
json.dump({
    'same': _bundle_to_dict(bundle),
    'file': open(again).read(),
    'agent': grant.agent_did,
    'log': open(log_path).read(),
    'chain': verify_chain(ours),
}, sys.stdout)
`

pythonTest('the Python client takes our file, token and chain, and we take its', async () => {
  let chain: GrantexChain = GRANTEX_START
  let log = ''
  for (let i = 0; i < 25; i++) {
    const metadata = {
      ...{ f: new PythonFloat(24), e: 1e-7, big: 10n ** 30n, z: -0, n: 'café ☕ 😀', x: i / 7 },
      ...{ '\ufffd': 1e16, '😀': [true, null, {}], a: 1e21, b: 0.0001, c: 123456789.125 },
    }
    const event = {
      ...EVENT,
      time: EVENT.time + i * 500,
      metadata: i % 2 === 0 ? undefined : metadata,
    }
    const line = await writeGrantexEntry('grantex-py', event, chain, audit)
    log += line.text + '\n'
    chain = line
  }
  const file = new TextDecoder().decode(await sealGrantexFile(bundle, HEX, 'python'))
  const back = runPython<
    Record<'file' | 'agent' | 'log', string> & { same: unknown; chain: unknown }
  >(
    PYTHON,
    { file, hex: HEX, log },
  )
  assert.deepEqual(back.chain, [true, null])
  assert.equal(back.agent, 'did:grantex:ag_1')
  assert.equal(
    formatGrantexBundle(parseGrantexBundle(JSON.stringify(back.same))),
    formatGrantexBundle(bundle),
  )
  const opened = await openGrantexFile(utf8(back.file), HEX)
  assert.equal(formatGrantexBundle(opened), formatGrantexBundle(bundle))
  const key = (await grantexAuditKey(opened)).publicKey
  const read = await readGrantexAudit(utf8(back.log), { key })
  assert.deepEqual([read.format, read.faults, read.signed], ['grantex-py', [], 25])
  const trust = { issuer: 'https://signet.example', keys: await grantexKeys(snapshot) }
  assert.equal((await verifyGrantexBundle(opened, trust)).claims.principal, 'user_1')
})
