import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GatewayStore, memoryGatewayStore } from '../../src/gateway/mod.ts'
import { call, type Face, face, good, newAgent, tokenOf } from './_grantex_face.ts'

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
