/** The real client against `signet serve` as it comes: no sandbox, no policy; a person is asked. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'node:test'
import {
  createConsentBundle,
  createOfflineAuditLog,
  createOfflineVerifier,
  syncAuditLog,
} from '@grantex/gemma'
import { sqliteGatewayStore } from '../../backends/gateway_sqlite.ts'
import { digestOf } from '../../src/gateway/mod.ts'
import { enqueue } from '../../src/gateway/outbox.ts'
import { type Received, withReceiver } from './_receiver.ts'
import { makeIssuer, startServer } from './_serve.ts'
import { inFolder, signet } from './_signet.ts'

const REDIRECT = 'https://app.example/cb'
const VERIFIER = 'v'.repeat(43)

test('signet serve refuses flags of the dialect without it, and a key that is not RS256', () =>
  inFolder((folder) => {
    makeIssuer(folder)
    const serve = (...more: string[]) => {
      const key = ['--key', 'issuer.pem', '--insecure-clear-key', '--listen', '127.0.0.1:0']
      return signet(folder, 'serve', '--data', 'data', ...key, ...more).code
    }
    for (
      const flags of [
        ...[['--grantex-developer', 'dev_me'], ['--grantex-directory', 'dev_me']],
        ['--insecure-local-webhooks'],
      ]
    ) assert.equal(serve(...flags), 1, flags[0])
    assert.equal(existsSync(join(folder, 'data')), false)
    assert.equal(serve('--grantex', 'issuer.pem'), 3)
  }))

test('a person consents on the page of signet serve, then the real client gets its bundle', {
  timeout: 120_000,
}, () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    const rsa = ['--key', 'rsa.pem', '--algorithm', 'RS256', '--insecure-clear-key']
    assert.equal(signet(folder, 'keys', 'new', ...rsa).code, 0)
    const more = ['--grantex', 'rsa.pem', '--grantex-developer', 'dev_me', '--sign-in', 'alice']
    const server = await startServer(folder, 0, ...more)
    try {
      const said = async (pattern: RegExp): Promise<string> => {
        for (let left = 100; left > 0; left--) {
          const found = pattern.exec(server.said())?.[1]
          if (found !== undefined) return found
          await wait(50)
        }
        throw new Error(server.said())
      }
      const apiKey = await said(/: (gx_live_[\w-]+)/)
      const baseUrl = `${server.issuer}/grantex`
      const post = async (path: string, body: object) => {
        const answer = await fetch(baseUrl + path, {
          method: 'POST',
          headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
        assert.equal(answer.status, 201, path)
        return await answer.json()
      }
      const scopes = ['calendar:read']
      const { agentId } = await post('/v1/agents', { name: 'Pi', scopes, redirectUris: [REDIRECT] })
      const asked = { apiKey, baseUrl, agentId, userId: 'alice', scopes, offlineTTL: '1h' }
      await assert.rejects(createConsentBundle(asked), /HTTP 403 .*CONSENT_REQUIRED/)

      const { consentUrl } = await post('/v1/authorize', {
        ...{ agentId, principalId: 'alice', scopes, redirectUri: REDIRECT },
        codeChallenge: await digestOf(VERIFIER),
      })
      const form = (url: string, fields: Record<string, string>, headers = {}) =>
        fetch(url, {
          method: 'POST',
          redirect: 'manual',
          headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
          body: new URLSearchParams(fields).toString(),
        })
      const code = await said(/sign-in\?code=([\w-]+)/)
      const signedIn = await form(`${server.issuer}/sign-in`, { code, back: '/consent/x' })
      const cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!
      const page = await (await fetch(consentUrl, { headers: { cookie } })).text()
      assert.match(page, /calendar:read/)
      const token = /name="token" value="([\w-]+)"/.exec(page)![1]!
      const fields = { token, decision: 'approve', tool: 'calendar:read' }
      const approved = await form(consentUrl, fields, { cookie })
      assert.equal(approved.status, 303)
      const to = new URL(approved.headers.get('location')!)
      assert.equal(to.origin + to.pathname, REDIRECT)
      await post('/v1/token', {
        agentId,
        code: to.searchParams.get('code'),
        codeVerifier: VERIFIER,
      })

      const bundle = await createConsentBundle(asked)
      const { jwksSnapshot, grantToken, bundleId, offlineAuditKey: signingKey } = bundle
      const grant = await createOfflineVerifier({ jwksSnapshot }).verify(grantToken)
      assert.deepEqual([grant.principalDID, grant.scopes], ['alice', scopes])
      const log = createOfflineAuditLog({ signingKey, logPath: join(folder, 'log') })
      const { agentDID, grantId } = grant
      await log.append({ action: 'tool:x', agentDID, grantId, scopes, result: 'success' })
      const synced = await syncAuditLog(log, { endpoint: bundle.syncEndpoint, apiKey, bundleId })
      assert.deepEqual(synced, { syncedCount: 1, hasErrors: false, errors: [] })
    } finally {
      await server.kill()
    }
  }))

test('signet serve sends webhooks over its restarts, with a key that only its owner reads', {
  timeout: 120_000,
}, () =>
  inFolder((folder) =>
    withReceiver(async (receiver) => {
      makeIssuer(folder)
      const rsa = ['--key', 'rsa.pem', '--algorithm', 'RS256', '--insecure-clear-key']
      assert.equal(signet(folder, 'keys', 'new', ...rsa).code, 0)
      const dialect = ['--grantex', 'rsa.pem', '--grantex-directory', 'dev_me']
      let server = await startServer(folder, 0, ...dialect, '--grantex-developer', 'dev_me')
      try {
        const keyFile = join(folder, 'data', 'webhooks.key')
        const key = readFileSync(keyFile, 'utf8')
        assert.match(key, /^[0-9a-f]{64}\n$/)
        assert.equal(statSync(keyFile).mode & 0o777, 0o600)
        let apiKey = ''
        for (let left = 100; left > 0 && apiKey === ''; left--) {
          apiKey = /: (gx_live_[\w-]+)/.exec(server.said())?.[1] ?? ''
          await wait(50)
        }
        const call = async (method: string, path: string, body?: object, secret = apiKey) =>
          await fetch(`${server.issuer}/grantex${path}`, {
            method,
            headers: { authorization: `Bearer ${secret}` },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          })
        const hook = { url: receiver.url, events: ['consent_bundle.created', 'grant.revoked'] }
        assert.equal((await call('POST', '/v1/webhooks', hook)).status, 400)
        assert.equal(await server.stop(), 0)

        const { port } = new URL(server.issuer)
        server = await startServer(folder, Number(port), ...dialect, '--insecure-local-webhooks')
        assert.equal(readFileSync(keyFile, 'utf8'), key)
        const { id, secret } = await (await call('POST', '/v1/webhooks', hook)).json()
        // What there is to tell of without a person: a grant that the gateway's database got otherwise.
        const store = sqliteGatewayStore(join(folder, 'data', 'gateway.db'))
        const given = { hook: id, owner: 'dev_me', event: 'evt_1', type: 'grant.revoked' }
        const now = Math.floor(Date.now() / 1000)
        await store.commit(enqueue({ ...given, body: '{"id":"evt_1"}', url: receiver.url }, now))
        store.close()
        await receiver.until(() => receiver.got.length === 1)
        const [{ headers, body }] = receiver.got as [Received]
        const signed = `${headers['x-grantex-timestamp']}.${body}`
        const mac = createHmac('sha256', secret).update(signed).digest('hex')
        assert.equal(headers['x-grantex-signature-v2'], `sha256=${mac}`)

        // The developer's users are this server's people.
        const made = await call('POST', '/v1/scim/tokens', { label: 'idp' })
        const { token } = await made.json()
        const user = { userName: 'alice', active: false }
        assert.equal((await call('POST', '/scim/v2/Users', user, token)).status, 201)
        const codes = await fetch(`${server.issuer}/admin/sign-in-codes`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${server.operator}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify({ principal: 'alice' }),
        })
        const { code } = await codes.json()
        const entered = await fetch(`${server.issuer}/sign-in`, {
          method: 'POST',
          redirect: 'manual',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({ code }).toString(),
        })
        await entered.body?.cancel()
        assert.deepEqual([entered.status, entered.headers.get('set-cookie')], [403, null])
        assert.equal(await server.stop(), 0)
      } finally {
        await server.kill()
      }
    })
  ))
