import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type GatewayStore, grantexWebhooks, memoryGatewayStore } from '../../src/gateway/mod.ts'
import { enqueue, messagesOf } from '../../src/gateway/outbox.ts'
import { NOW } from './_gateway.ts'
import {
  call,
  type Face,
  face,
  good,
  newAgent,
  newBundle,
  refused,
  tokenOf,
} from './_grantex_face.ts'

const sandbox = { insecureSandboxApproval: true }

interface Attacked extends Face {
  scim(method: string, path: string, body?: unknown): ReturnType<typeof call>
}

async function attacked(store: GatewayStore = memoryGatewayStore()): Promise<Attacked> {
  const at = await face(sandbox, undefined, { store })
  const { token } = await good(call(at, 'POST', '/v1/scim/tokens', { label: 'idp' }), 201)
  return Object.assign(at, {
    scim: (method: string, path: string, body?: unknown) =>
      call(at, method, `/scim/v2${path}`, body, token),
  })
}

const isActive = async (at: Face, token: string) =>
  (await good(call(at, 'POST', '/v1/grants/verify', { token }))).active
const off = { Operations: [{ op: 'replace', path: 'active', value: false }] }

test('whoever is deactivated loses what they gave under their name in another case', async () => {
  const at = await attacked()
  const { grantToken } = await tokenOf(at, await newAgent(at), { principalId: 'alice@x.example' })
  const { id } = await good(at.scim('POST', '/Users', { userName: 'Alice@X.example' }), 201)
  assert.equal(await isActive(at, grantToken), true)
  await good(at.scim('PATCH', `/Users/${id}`, off))
  assert.equal(await isActive(at, grantToken), false)
  // Whoever comes back gets it anew, and not what was taken back.
  await good(at.scim('PUT', `/Users/${id}`, { userName: 'Alice@X.example', active: true }))
  assert.equal(await isActive(at, grantToken), false)
})

test('a deactivation that broke off half way leaves no way to a token', async () => {
  const store = memoryGatewayStore()
  let dies = false
  const commit: GatewayStore['commit'] = async (changes) => {
    // The process ends once it is kept that the person is barred.
    const isBar = changes.some((change) =>
      'put' in change && change.put === 'document' && change.record.value.isActive === false
    )
    if (dies && !isBar) throw new Error('killed')
    await store.commit(changes)
  }
  const at = await attacked({ ...store, commit })
  const agentId = await newAgent(at)
  const { id } = await good(at.scim('POST', '/Users', { userName: 'alice' }), 201)
  const { grantToken, refreshToken } = await tokenOf(at, agentId)
  const { bundleId } = await newBundle(at, agentId)
  dies = true
  assert.equal((await at.scim('PATCH', `/Users/${id}`, off)).status, 500)
  dies = false
  await refused(
    call(at, 'POST', '/v1/token/refresh', { refreshToken, agentId }),
    400,
    'BAD_REQUEST',
  )
  await refused(
    call(at, 'POST', `/v1/consent-bundles/${bundleId}/refresh`, {}),
    409,
    'GRANT_INACTIVE',
  )
  assert.equal(await isActive(at, grantToken), false)
})

test('who is barred while a grant of theirs is on its way gets none, though nobody knew them', async () => {
  const store = memoryGatewayStore()
  let between: (() => Promise<unknown>) | undefined
  const commit: GatewayStore['commit'] = async (changes) => {
    const now = between
    if (now !== undefined && changes.some((one) => 'put' in one && one.put === 'grant')) {
      between = undefined
      await now()
    }
    await store.commit(changes)
  }
  const at = await attacked({ ...store, commit })
  const agentId = await newAgent(at)
  const asks = { agentId, principalId: 'bob', scopes: ['calendar:read'] }
  const { code } = await good(call(at, 'POST', '/v1/authorize', asks), 201)
  between = () => good(at.scim('POST', '/Users', { userName: 'bob', active: false }), 201)
  await refused(call(at, 'POST', '/v1/token', { code, agentId }), 403, 'PRINCIPAL_INACTIVE')
  assert.deepEqual(await at.store.records.list('grant', { key: 'principal:bob' }), [])
})

test('of many SCIM tokens at once there are no more than may be, and each can be deleted', async () => {
  const at = await attacked()
  const made = await Promise.all(
    Array.from({ length: 60 }, () => call(at, 'POST', '/v1/scim/tokens', { label: 'x' })),
  )
  const { tokens } = await good(call(at, 'GET', '/v1/scim/tokens'))
  assert.equal(tokens.length, 20)
  assert.equal(made.filter(({ status }) => status === 201).length, 19)
  for (const { id } of tokens) await good(call(at, 'DELETE', `/v1/scim/tokens/${id}`), 204)
  for (const { body } of made) {
    if (body.token === undefined) continue
    assert.equal((await call(at, 'GET', '/scim/v2/Users', undefined, body.token)).status, 401)
  }
})

test('no operation on a user fails the server, whatever its path and value', async () => {
  const at = await attacked()
  const { id } = await good(at.scim('POST', '/Users', { userName: 'alice' }), 201)
  const patch = (op: object) => at.scim('PATCH', `/Users/${id}`, { Operations: [op] })
  const quoted = { op: 'add', path: 'emails[type eq "a\nb"].value', value: 'a@b.example' }
  assert.ok((await patch(quoted)).status < 500)
  const word = fc.constantFrom(
    ...['emails', 'name', 'userName', 'active', 'type', 'value', 'primary', 'eq', '[', ']', '.'],
    ...['"', '"work"', ' ', '\n', '\t', '\0', 'true', '__proto__', 'constructor', '\\', ':', '%00'],
    ...['urn:ietf:params:scim:schemas:core:2.0:User', 'familyName', 'toString', 'members'],
  )
  const path = fc.array(word, { maxLength: 8 }).map((words) => words.join(''))
  const value = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(path, fc.jsonValue(), { maxKeys: 3 }),
    fc.array(fc.dictionary(word, fc.oneof(word, fc.boolean(), fc.constant(null))), {
      maxLength: 3,
    }),
  )
  const op = fc.constantFrom('add', 'Replace', 'remove', 'x')
  await fc.assert(
    fc.asyncProperty(fc.record({ op, path, value }, { requiredKeys: ['op'] }), async (one) => {
      const { status, body } = await patch(one)
      assert.ok(status < 500, JSON.stringify([one, body]))
    }),
    { numRuns: 500 },
  )
})

test('of two tokens or webhooks at once, one of which is the last that may be, one is refused', async () => {
  const store = memoryGatewayStore()
  let between: (() => Promise<unknown>) | undefined
  const list: GatewayStore['records']['list'] = async (kind, options) => {
    const found = await store.records.list(kind, options)
    const now = between
    if (/^grantex:(scimtokens|webhooks):/.test(options?.key ?? '') && now !== undefined) {
      between = undefined
      await now()
    }
    return found
  }
  const given = { ...store, records: { ...store.records, list } }
  const webhooks = grantexWebhooks({
    store: given,
    key: new Uint8Array(32),
    fetch: () => Promise.resolve(new Response()),
  })
  const at = await face({ ...sandbox, webhooks }, undefined, { store: given })
  for (
    const [path, body, most] of [
      ['/v1/scim/tokens', { label: 'x' }, 20],
      ['/v1/webhooks', { url: 'https://a.example/', events: ['grant.created'] }, 10],
    ] as const
  ) {
    const make = () => call(at, 'POST', path, body)
    for (let i = 1; i < most; i++) await good(make(), 201)
    between = () => good(make(), 201)
    await refused(make(), 402, 'PLAN_LIMIT_EXCEEDED')
  }
})

test('a long list of messages is walked without holding anybody up, and shows the newest', async () => {
  const store = memoryGatewayStore()
  const fetch = () => Promise.resolve(new Response())
  const webhooks = grantexWebhooks({ store, key: new Uint8Array(32), fetch })
  const at = await face({ ...sandbox, webhooks }, undefined, { store })
  const hook = { url: 'https://a.example/', events: ['grant.created'] }
  const { id } = await good(call(at, 'POST', '/v1/webhooks', hook), 201)
  const put = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const given = { hook: id, owner: 'dev_one', type: 'grant.created', body: '', url: hook.url }
      await store.commit(enqueue({ ...given, event: `evt_${i}` }, NOW + i))
    }
  }
  let turns = 0
  const timer = setInterval(() => turns++)
  await put(0, 10_100)
  turns = 0
  const { deliveries: [newest], total } = await good(
    call(at, 'GET', `/v1/webhooks/${id}/deliveries`),
  )
  assert.deepEqual([newest.eventId, total], ['evt_10099', 10_000])
  assert.ok(turns > 10, `${turns} turns while they were listed`)
  await good(call(at, 'DELETE', `/v1/webhooks/${id}`), 204)
  clearInterval(timer)
  assert.ok(turns > 100, `${turns} turns while they were removed`)
  assert.deepEqual(await store.records.list('document', { key: messagesOf(id) }), [])
})
