/** Tokens for SCIM: what a developer gives to their identity provider. It opens SCIM and nothing else. */
import * as v from 'valibot'
import { isSignetError } from '../../errors.ts'
import type { JsonObject } from '../../json.ts'
import { digestOf, newId, newSecret } from '../ids.ts'
import type { DocumentRecord } from '../records.ts'
import { retrying, type Stored } from '../store.ts'
import type { World } from '../world.ts'
import { type Answer, bodyOf, type Call, iso, notFound, Refusal, text } from './call.ts'

const MAX_TOKENS = 20
/** How exactly the last use is told, seconds. */
const USED_STEP = 60

/** The id of what is kept of a token. */
export function scimTokenId(digest: string): string {
  return `grantex:scimtoken:${digest}`
}

const keyOf = (tenant: string) => `grantex:scimtokens:${tenant}`

/** `POST /v1/scim/tokens`. The token is told this once; its digest is kept. */
export async function createScimToken(call: Call): Promise<Answer> {
  const { dialect: { world: { store, now } }, tenant } = call
  const { label } = bodyOf(call, v.object({ label: text(200) }))
  const token = newSecret('gxscim_')
  const value = { id: newId('scimtok_', now() * 1000), tenant, label, createdAt: now() }
  const record = { id: scimTokenId(await digestOf(token)), keys: [keyOf(tenant)], value }
  await retrying(async () => {
    // Before the list is: of two at once one looks again. What is beyond the list could not be deleted.
    const id = `grantex:scimseat:${tenant}`
    const seat = await store.records.get('document', id)
    if ((await tokensOf(call)).length >= MAX_TOKENS) {
      throw new Refusal(402, 'PLAN_LIMIT_EXCEEDED', `${MAX_TOKENS} SCIM tokens are the most`)
    }
    await store.commit([
      { put: 'document', record, version: 0 },
      {
        put: 'document',
        record: { id, keys: [], value: { last: value.id } },
        version: seat?.version ?? 0,
      },
    ])
  })
  return { status: 201, body: { id: value.id, label, token, createdAt: iso(value.createdAt) } }
}

/** `GET /v1/scim/tokens`. */
export async function listScimTokens(call: Call): Promise<Answer> {
  const tokens = (await tokensOf(call)).map(({ record: { value } }) => view(value))
  return { status: 200, body: { tokens } }
}

/** `DELETE /v1/scim/tokens/:id`: it is not taken from now on. */
export async function deleteScimToken(call: Call): Promise<Answer> {
  return await retrying(async () => {
    const found = (await tokensOf(call)).find(({ record: { value } }) =>
      value.id === call.params[0]
    )
    if (found === undefined) throw notFound('SCIM token')
    const { record: { id }, version } = found
    await call.dialect.world.store.commit([{ remove: 'document', id, version }])
    return { status: 204 }
  })
}

async function tokensOf({ dialect, tenant }: Call): Promise<Stored<DocumentRecord>[]> {
  const { records } = dialect.world.store
  return await records.list('document', { key: keyOf(tenant), limit: 2 * MAX_TOKENS })
}

/** Notes that a token was used, once in a while. */
export async function noteUse(
  { store, now }: World,
  { record, version }: Stored<DocumentRecord>,
): Promise<void> {
  if (Number(record.value.lastUsedAt ?? 0) + USED_STEP > now()) return
  const used = { ...record, value: { ...record.value, lastUsedAt: now() } }
  try {
    await store.commit([{ put: 'document', record: used, version }])
  } catch (error) {
    if (!isSignetError(error, 'store_conflict')) throw error // another request did, or it is gone
  }
}

function view({ id, label, createdAt, lastUsedAt }: JsonObject): JsonObject {
  const time = (at: unknown) => typeof at === 'number' ? iso(at) : null
  return { id, label, createdAt: time(createdAt), lastUsedAt: time(lastUsedAt) }
}
