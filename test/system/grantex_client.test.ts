/** The life of the real `@grantex/gemma@0.1.1` against our server, over HTTP. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type ConsentBundle,
  createConsentBundle,
  createOfflineAuditLog,
  createOfflineVerifier,
  enforceScopes,
  hasScope,
  loadBundle,
  type OfflineAuditLog,
  refreshBundle,
  type SignedAuditEntry,
  storeBundle,
  syncAuditLog,
  type VerifiedGrant,
  verifyChain,
  verifyEntrySignature,
  withGrantexAuthADK,
  withGrantexAuthLangChain,
} from '@grantex/gemma'
import { utf8 } from '../../src/bytes.ts'
import { readGrantexAudit } from '../../src/interop/mod.ts'
import { readPublicKeys } from '../../src/keys/mod.ts'
import { type GrantexServer, newAgent, withServer } from './_grantex_server.ts'
import { inTemp } from './_temp.ts'

const SCOPES = ['calendar:read', 'email:send']
const SETTINGS = { allow: SCOPES }

async function newBundle(server: GrantexServer, agentId: string): Promise<ConsentBundle> {
  const { apiKey, base: baseUrl } = server
  const asked = { agentId, userId: 'user_1', scopes: SCOPES, offlineTTL: '72h' }
  return await createConsentBundle({ apiKey, baseUrl, ...asked })
}

async function granted(bundle: ConsentBundle): Promise<VerifiedGrant> {
  return await createOfflineVerifier({ jwksSnapshot: bundle.jwksSnapshot }).verify(
    bundle.grantToken,
  )
}

function logOf(bundle: ConsentBundle, logPath: string): OfflineAuditLog {
  return createOfflineAuditLog({ signingKey: bundle.offlineAuditKey, logPath })
}

const METADATA: readonly (Record<string, unknown> | undefined)[] = [
  undefined,
  { note: 'café ☕ 😀 | , "', n: 1.5, big: 1e21, tiny: 1e-7 },
  { nested: { b: [true, null, { z: 1, a: 2 }] }, 10: 'ten', 2: 'two' },
  {},
]

async function append(log: OfflineAuditLog, grant: VerifiedGrant, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const metadata = METADATA[i % METADATA.length]
    const { agentDID, grantId, scopes } = grant
    await log.append({
      ...{ action: `tool:t${i}`, agentDID, grantId, scopes, result: 'success' },
      ...(metadata === undefined ? {} : { metadata }),
    })
  }
}

/** Runs a life with an agent that a policy allows all it asks for. */
function life(
  name: string,
  body: (server: GrantexServer, agent: string, folder: string) => Promise<void>,
): void {
  test(
    name,
    { timeout: 120_000 },
    () =>
      inTemp((folder) =>
        withServer(folder, SETTINGS, async (server) => {
          await body(server, await newAgent(server, [...SCOPES, 'payments:initiate']), folder)
        })
      ),
  )
}

life('steps 1–5: register, create, store, load, verify, enforce', async (server, agent, folder) => {
  const bundle = await newBundle(server, agent)
  const names = ['bundleId', 'grantToken', 'jwksSnapshot', 'offlineAuditKey', 'checkpointAt']
  assert.deepEqual(Object.keys(bundle), [...names, 'syncEndpoint', 'offlineExpiresAt'])
  assert.ok(Math.abs(bundle.checkpointAt - Date.now()) < 10_000)
  const hours = (Date.parse(bundle.offlineExpiresAt) - Date.now()) / 3_600_000
  assert.ok(Math.abs(hours - 72) < 0.1)
  const path = join(folder, 'bundle.enc')
  await storeBundle(bundle, path, 'passphrase')
  assert.deepEqual(await loadBundle(path, 'passphrase'), bundle)
  await assert.rejects(loadBundle(path, 'wrong'), { code: 'BUNDLE_TAMPERED' })
  const grant = await granted(bundle)
  assert.match(grant.grantId, /^grnt_/)
  assert.deepEqual([grant.agentDID, grant.scopes, grant.depth], [
    `did:grantex:${agent}`,
    SCOPES,
    0,
  ])
  enforceScopes(grant.scopes, ['email:send'])
  assert.equal(hasScope(grant.scopes, 'payments:initiate'), false)
  const strict = createOfflineVerifier({
    jwksSnapshot: bundle.jwksSnapshot,
    requireScopes: ['payments:initiate'],
  })
  await assert.rejects(strict.verify(bundle.grantToken), { code: 'SCOPE_VIOLATION' })
})

life(
  'steps 6–9: 250 entries, synced once, also to bundle.syncEndpoint, and exported whole',
  async (server, agent, folder) => {
    const bundle = await newBundle(server, agent)
    const grant = await granted(bundle)
    const path = join(folder, 'log')
    const log = logOf(bundle, path)
    await append(log, grant, 250)
    const entries = await log.entries()
    assert.deepEqual(verifyChain(entries), { valid: true })
    const pem = bundle.offlineAuditKey.publicKey
    assert.ok(entries.every((entry) => verifyEntrySignature(entry, pem)))
    const { apiKey, base } = server
    const to = (endpoint: string, bundleId: string) => ({ endpoint, apiKey, bundleId })
    const requests = counting()
    assert.deepEqual(await syncAuditLog(log, to(base, bundle.bundleId)), {
      ...{ syncedCount: 250, hasErrors: false, errors: [] },
    })
    assert.equal(requests.count(), 3)
    assert.equal((await syncAuditLog(log, to(base, bundle.bundleId))).syncedCount, 0)
    assert.equal(requests.count(), 3)
    requests.stop()

    // Against the original this ends in 404 and nothing synced.
    const second = await newBundle(server, agent)
    const fresh = logOf(second, join(folder, 'second'))
    await append(fresh, await granted(second), 120)
    const synced = await syncAuditLog(fresh, to(second.syncEndpoint, second.bundleId))
    assert.deepEqual(synced, { syncedCount: 120, hasErrors: false, errors: [] })

    // Against the original the export does not verify.
    const exported = await server.call('GET', `/v1/consent-bundles/${bundle.bundleId}/audit`)
    assert.equal(exported.body.entries.length, 250)
    assert.deepEqual(verifyChain(exported.body.entries), { valid: true })
    const theirs = exported.body.entries as SignedAuditEntry[]
    assert.ok(theirs.every((entry) => verifyEntrySignature(entry, pem)))
    const raw = `/v1/consent-bundles/${bundle.bundleId}/audit?format=jsonl`
    assert.equal((await server.call('GET', raw)).body, readFileSync(path, 'utf8'))
    const page = await server.call(
      'GET',
      `/v1/consent-bundles/${bundle.bundleId}/audit?after=240&limit=5`,
    )
    assert.deepEqual(page.body.entries.map(({ seq }: SignedAuditEntry) => seq), [
      241,
      242,
      243,
      244,
      245,
    ])
    assert.equal(page.body.nextAfter, 245)
  },
)

life(
  'step 10: what their adapters write about denials is taken, and remarked',
  async (server, agent, folder) => {
    const bundle = await newBundle(server, agent)
    const auditLog = logOf(bundle, join(folder, 'log'))
    const forged = bundle.grantToken.slice(0, -8) + 'AAAAAAAA'
    const verifier = createOfflineVerifier({ jwksSnapshot: bundle.jwksSnapshot })
    type Run = () => Promise<string>
    const done: Run = () => Promise.resolve('done')
    const failing: Run = () => Promise.reject(new Error('no network'))
    const adapters = [
      (options: Parameters<typeof withGrantexAuthADK>[1], run: Run) =>
        withGrantexAuthADK({ name: 'x', func: run }, options).func,
      (options: Parameters<typeof withGrantexAuthLangChain>[1], run: Run) =>
        withGrantexAuthLangChain({ name: 'x', invoke: run }, options).invoke,
    ]
    const seen: string[] = []
    for (const adapter of adapters) {
      const attempt = async (grantToken: string, requiredScopes: string[], run: Run) => {
        const guarded = adapter({ verifier, auditLog, grantToken, requiredScopes }, run)
        seen.push(await guarded().catch((error: Error) => error.message))
      }
      await attempt(bundle.grantToken, ['calendar:read'], done)
      await attempt(bundle.grantToken, ['payments:initiate'], done)
      await attempt(forged, ['payments:initiate'], done)
      await attempt(bundle.grantToken, ['email:send'], failing)
    }
    assert.deepEqual([seen[0], seen[3], seen[4], seen[7]], [
      'done',
      'no network',
      'done',
      'no network',
    ])
    const entries = await auditLog.entries()
    const results = ['success', 'scope_violation', 'auth_failure', 'execution_error']
    assert.deepEqual(entries.map(({ result }) => result), [...results, ...results])
    const { bundleId } = bundle
    const answer = await server.call('POST', '/v1/audit/offline-sync', { bundleId, entries })
    assert.deepEqual([answer.status, answer.body.accepted, answer.body.rejected], [200, 8, 0])
    const told = answer.body.errors.map(({ seq, code }: { seq: number; code: string }) =>
      `${seq} ${code}`
    )
    const remarks = ['NO_GRANT', 'SCOPE_OUTSIDE_GRANT']
    assert.deepEqual(told, [3, 7].flatMap((seq) => remarks.map((code) => `${seq} ${code}`)))
    const { apiKey, base: endpoint } = server
    const synced = await syncAuditLog(auditLog, { endpoint, apiKey, bundleId })
    assert.deepEqual(synced, { syncedCount: 8, hasErrors: false, errors: [] })
  },
)

life(
  'steps 11 and 12: refresh, entries of before and after, revocation',
  async (server, agent, folder) => {
    const { apiKey, base } = server
    const bundle = await newBundle(server, agent)
    const path = join(folder, 'log')
    await append(logOf(bundle, path), await granted(bundle), 30)
    // Against the original: 400, for the body is empty.
    const fresh = await refreshBundle(bundle, apiKey, base)
    assert.equal(fresh.bundleId, bundle.bundleId)
    assert.notEqual(fresh.offlineAuditKey.publicKey, bundle.offlineAuditKey.publicKey)
    const grant = await granted(fresh)
    assert.equal(grant.grantId, (await granted(bundle)).grantId)
    const log = logOf(fresh, path)
    await append(log, grant, 30)
    const to = { endpoint: base, apiKey, bundleId: bundle.bundleId }
    // Against the original the first 30 are refused for ever.
    assert.deepEqual(await syncAuditLog(log, to), { syncedCount: 60, hasErrors: false, errors: [] })

    const revoked = await server.call('POST', `/v1/consent-bundles/${bundle.bundleId}/revoke`, {
      revokeGrant: true,
    })
    assert.equal(revoked.status, 200)
    await append(log, grant, 1)
    const entries = (await log.entries()).slice(-1)
    const answer = await server.call('POST', '/v1/audit/offline-sync', {
      ...{ bundleId: bundle.bundleId, entries },
    })
    assert.deepEqual([answer.status, answer.body.revocationStatus], [200, 'revoked'])
    assert.equal(answer.body.revokedAt, revoked.body.revokedAt)
    assert.deepEqual(await syncAuditLog(log, to), { syncedCount: 1, hasErrors: false, errors: [] })
    await assert.rejects(refreshBundle(fresh, apiKey, base), /HTTP 409 .*BUNDLE_REVOKED/)
    for (const token of [bundle.grantToken, fresh.grantToken]) {
      const { body } = await server.call('POST', '/v1/tokens/verify', { token })
      assert.deepEqual(body, { valid: false })
    }
  },
)

life(
  'step 13: a flipped bit, a gap and another order are refused, what stood before them is kept',
  async (server, agent, folder) => {
    const { apiKey, base } = server
    const cases: [string, (lines: string[]) => string[], RegExp, number][] = [
      [
        'flipped',
        (lines) => lines.with(5, lines[5]!.replace('success', 'succesS')),
        /INVALID_HASH/,
        5,
      ],
      ['cut', (lines) => lines.toSpliced(5, 1), /SEQ_GAP/, 5],
      ['moved', (lines) => [...lines.slice(0, 5), lines[6]!, lines[5]!], /SEQ_GAP/, 5],
      [
        'resigned',
        // Other hexadecimal digits than stand there, whatever these are.
        (lines) =>
          lines.with(
            5,
            lines[5]!.replace(/(signature":".{8})(..)/, (_, head, two) =>
              head + (two === 'ff' ? '00' : 'ff')),
          ),
        /INVALID_SIGNATURE/,
        5,
      ],
      ['headless', (lines) => lines.slice(1), /SEQ_GAP/, 0],
    ]
    for (const [name, damage, code, kept] of cases) {
      const bundle = await newBundle(server, agent)
      const path = join(folder, name)
      await append(logOf(bundle, path), await granted(bundle), 10)
      const whole = readFileSync(path, 'utf8')
      writeFileSync(path, damage(whole.trim().split('\n')).join('\n') + '\n')
      const to = { endpoint: base, apiKey, bundleId: bundle.bundleId }
      const synced = await syncAuditLog(logOf(bundle, path), to)
      assert.equal(synced.hasErrors, true, name)
      assert.match(synced.errors[0]!, /HTTP 4\d\d/, name)
      assert.match(synced.errors[0]!, code, name)
      const { body } = await server.call('GET', `/v1/consent-bundles/${bundle.bundleId}/audit`)
      assert.equal(body.entries.length, kept, name)
      // The device's own file, whole again, still gets in.
      writeFileSync(path, whole)
      writeFileSync(path + '.synced', '0')
      const { errors, syncedCount } = await syncAuditLog(logOf(bundle, path), to)
      assert.deepEqual([errors, syncedCount], [[], 10], name)
    }
  },
)

life(
  'step 14: the server is killed between batches; nothing is lost, nothing doubled',
  async (server, agent, folder) => {
    const { apiKey, base: endpoint } = server
    const bundle = await newBundle(server, agent)
    const { bundleId } = bundle
    const path = join(folder, 'log')
    const log = logOf(bundle, path)
    await append(log, await granted(bundle), 200)
    const real = globalThis.fetch
    let requests = 0
    globalThis.fetch = async (...args: Parameters<typeof fetch>) => {
      if (++requests === 3) await server.kill()
      const response = await real(...args)
      // The second batch is committed, and its answer gets lost.
      if (requests === 2) throw new TypeError('connection reset')
      return response
    }
    try {
      const cut = await syncAuditLog(log, { endpoint, apiKey, bundleId, batchSize: 50 })
      assert.equal(cut.hasErrors, true)
      assert.equal(cut.syncedCount, 50)
    } finally {
      globalThis.fetch = real
    }
    await server.start()
    // Their client has moved its marker past what failed: a device that knows better starts over.
    writeFileSync(path + '.synced', '0')
    const again = await syncAuditLog(logOf(bundle, path), {
      endpoint,
      apiKey,
      bundleId,
      batchSize: 50,
    })
    assert.deepEqual(again, { syncedCount: 200, hasErrors: false, errors: [] })
    const raw = await server.call('GET', `/v1/consent-bundles/${bundleId}/audit?format=jsonl`)
    assert.equal(raw.body, readFileSync(path, 'utf8'))
    const [key] = await readPublicKeys(bundle.offlineAuditKey.publicKey)
    const read = await readGrantexAudit(utf8(raw.body), { key })
    assert.deepEqual([read.faults, read.signed], [[], 200])
  },
)

/** Counts calls of fetch until stopped. */
function counting(): { count(): number; stop(): void } {
  const real = globalThis.fetch
  let count = 0
  globalThis.fetch = (...args: Parameters<typeof fetch>) => {
    count++
    return real(...args)
  }
  return { count: () => count, stop: () => void (globalThis.fetch = real) }
}
