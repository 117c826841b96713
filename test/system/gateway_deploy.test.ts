import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { newSecret } from '../../src/gateway/mod.ts'
import {
  asOperator,
  authorize,
  bodyOf,
  device,
  granted,
  type Place,
  push,
  registered,
  send,
} from '../core/_gateway.ts'

const skip = 'Deno' in globalThis ? false : 'deno serve is in Deno only'
const entry = fileURLToPath(new URL('../../backends/gateway_deploy.ts', import.meta.url))
const config = fileURLToPath(new URL('../../deno.json', import.meta.url))

/** A new Ed25519 key as private JWK. */
async function privateJwk(): Promise<string> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
  const { kty, crv, x, d } = await crypto.subtle.exportKey(
    'jwk',
    (pair as CryptoKeyPair).privateKey,
  )
  return JSON.stringify({ kty, crv, x, d })
}

/** Runs the entry with `deno serve`, over a database in memory. */
async function deployed(
  settings: Record<string, string>,
  work: (at: Place) => Promise<void>,
): Promise<void> {
  // A port that was free a moment ago: the issuer must be known before it listens.
  const probe = Deno.listen({ port: 0, hostname: '127.0.0.1' })
  const { port } = probe.addr
  probe.close()
  const issuer = `http://127.0.0.1:${port}`
  const child = spawn(process.execPath, [
    'serve',
    '-A',
    '--unstable-kv',
    '--no-check',
    `--config=${config}`,
    '--host=127.0.0.1',
    `--port=${port}`,
    entry,
  ], {
    env: {
      ...process.env,
      NO_COLOR: '1',
      DENO_KV_DEFAULT_PATH: ':memory:',
      SIGNET_ISSUER: issuer,
      ...settings,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    await new Promise<void>((resolve, reject) => {
      let said = ''
      child.stderr.on('data', (part) => {
        said += part
        if (/listening/i.test(said)) resolve()
      })
      child.once('exit', () => reject(new Error(said)))
    })
    await work({
      issuer,
      fetch: (request) => fetch(request),
      operator: settings.SIGNET_OPERATOR_KEY ?? '',
      get now() {
        return Math.floor(Date.now() / 1000)
      },
    })
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

test(
  'the entry for Deno Deploy answers nothing while its secrets are missing',
  { skip },
  () =>
    deployed({ SIGNET_OPERATOR_KEY: newSecret('sgop_') }, async (at) => {
      const answer = await send(at, 'GET', '/.well-known/jwks.json')
      assert.equal(await answer.text(), 'not set up\n')
      assert.equal(answer.status, 503)
    }),
)

test(
  'the entry for Deno Deploy answers nothing under a policy that it does not understand whole',
  { skip },
  async () => {
    const rule = { id: 'none', effect: 'deny', scopes: ['mail:*'] }
    for (const policy of ['', '{', JSON.stringify({ format: 'signet-policy@v1', rules: [rule] })]) {
      const settings = {
        SIGNET_ISSUER_KEY: await privateJwk(),
        SIGNET_OPERATOR_KEY: newSecret('sgop_'),
        SIGNET_POLICY: policy,
      }
      await deployed(settings, async (at) => {
        const answer = await send(at, 'GET', '/.well-known/jwks.json')
        assert.equal(await answer.text(), 'not set up\n')
        assert.equal(answer.status, 503)
      })
    }
  },
)

test('the entry for Deno Deploy goes by its policy', { skip }, async () => {
  const rule = { id: 'none', effect: 'deny', scopes: ['mail:send'], reason: 'no mail' }
  const settings = {
    SIGNET_ISSUER_KEY: await privateJwk(),
    SIGNET_OPERATOR_KEY: newSecret('sgop_'),
    SIGNET_POLICY: JSON.stringify({ format: 'signet-policy@v1', rules: [rule] }),
  }
  await deployed(settings, async (at) => {
    const agent = await registered(at)
    const sentTo = async (scope: string) => {
      const answer = await authorize(at, agent, await push(at, agent, { scope }))
      return new URL(answer.headers.get('location')!, at.issuer)
    }
    assert.equal((await sentTo('mail:send')).searchParams.get('error_description'), 'no mail')
    assert.match((await sentTo('calendar:read')).pathname, /^\/consent\//)
  })
})

test('the entry for Deno Deploy gives grants under deno serve', { skip }, async () => {
  const settings = {
    SIGNET_ISSUER_KEY: await privateJwk(),
    SIGNET_OPERATOR_KEY: newSecret('sgop_'),
  }
  await deployed(settings, async (at) => {
    const { grant_id: id } = await granted(at, await device())
    const { state } = await bodyOf(await asOperator(at, 'GET', `/admin/grants/${id}`))
    assert.equal(state, 'active')
  })
})
