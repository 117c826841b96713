/**
 * SCIM 2.0 for users (RFC 7643, RFC 7644): create, read, list, replace, patch, delete, and what the service can do. No
 * groups, no bulk, no sorting, no versions; of filters `eq` on `userName`, `externalId` and `id`.
 *
 * A user who is not active gets nothing any more, and what they gave is taken back before it is answered; so too under a
 * name that a user had. A user that is removed leaves behind that they are barred.
 */
import * as v from 'valibot'
import type { JsonObject } from '../../json.ts'
import { digestOf, newId } from '../ids.ts'
import type { DocumentRecord } from '../records.ts'
import { type Change, everyRecord, retrying, type Stored } from '../store.ts'
import { type Answer, bodyOf, type Call, iso, Refusal } from './call.ts'
import { bar, personId, personOf } from './people.ts'
import { patched, USER_SCHEMA, type UserContent, userOf } from './scim_user.ts'

const CONFIG_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'
const LIST_SCHEMA = 'urn:ietf:params:scim:api:messages:2.0:ListResponse'
const ERROR_SCHEMA = 'urn:ietf:params:scim:api:messages:2.0:Error'
/** RFC 7644 §3.12. */
const TYPES =
  /^(invalidFilter|tooMany|uniqueness|mutability|invalidSyntax|invalidPath|noTarget|invalidValue)$/
const MAX_PAGE = 200

/** The media type of SCIM. */
export const SCIM_TYPE = 'application/scim+json'

/** A user, as it is kept. */
interface User {
  readonly id: string
  readonly tenant: string
  readonly content: UserContent
  readonly active: boolean
  readonly createdAt: number
  readonly updatedAt: number
}

const idOf = (id: string) => `grantex:scimuser:${id}`
const keyOf = (tenant: string) => `grantex:scimusers:${tenant}`
const externalKey = async (tenant: string, id: string) =>
  `grantex:scimexternal:${tenant}:${await digestOf(id)}`

/** The body of a refusal (RFC 7644 §3.12). */
export function scimError(status: number, code: string, message: string): JsonObject {
  const scimType = code === 'BAD_REQUEST' ? 'invalidSyntax' : TYPES.test(code) ? code : undefined
  return {
    schemas: [ERROR_SCHEMA],
    status: String(status),
    ...(scimType === undefined ? {} : { scimType }),
    detail: message,
  }
}

/** `GET /scim/v2/ServiceProviderConfig` (RFC 7643 §5). */
export function serviceConfig({ dialect }: Call): Answer {
  const no = { supported: false }
  return {
    status: 200,
    body: {
      schemas: [CONFIG_SCHEMA],
      patch: { supported: true },
      bulk: { ...no, maxOperations: 0, maxPayloadSize: 0 },
      filter: { supported: true, maxResults: MAX_PAGE },
      changePassword: no,
      sort: no,
      etag: no,
      authenticationSchemes: [{
        type: 'oauthbearertoken',
        name: 'Bearer token',
        description: 'A token of POST /v1/scim/tokens (RFC 6750)',
        primary: true,
      }],
      meta: {
        resourceType: 'ServiceProviderConfig',
        location: `${dialect.base}/scim/v2/ServiceProviderConfig`,
      },
    },
  }
}

/** `POST /scim/v2/Users`. */
export async function createUser(call: Call): Promise<Answer> {
  const { dialect, tenant } = call
  const { store, now } = dialect.world
  const content = userOf(bodyOf(call, anyObject))
  const { userName, active = true } = content
  const id = newId('scimu_', now() * 1000)
  return await retrying(async () => {
    await checkFree(call, userName, undefined)
    if (!active) await bar(dialect, tenant, userName)
    const user: User = { id, tenant, content, active, createdAt: now(), updatedAt: now() }
    await store.commit([await putUser(user, 0), await putPerson(call, userName, user)])
    return { status: 201, body: view(call, user), location: locationOf(call, id) }
  })
}

/** `GET /scim/v2/Users/:id`. */
export async function getUser(call: Call): Promise<Answer> {
  return { status: 200, body: view(call, valueOf(await storedUser(call, call.params[0]!))) }
}

/** `PUT /scim/v2/Users/:id`. What is not said is none any more, but `active` stays as it was. */
export async function replaceUser(call: Call): Promise<Answer> {
  const content = userOf(bodyOf(call, anyObject))
  return await change(call, () => content)
}

/** `PATCH /scim/v2/Users/:id`: all operations or none. */
export async function patchUser(call: Call): Promise<Answer> {
  const body = bodyOf(call, anyObject)
  return await change(call, ({ content, active }) => patched({ ...content, active }, body))
}

/** `DELETE /scim/v2/Users/:id`. */
export async function deleteUser(call: Call): Promise<Answer> {
  const { dialect, tenant, params } = call
  return await retrying(async () => {
    const stored = await storedUser(call, params[0]!)
    const { userName } = valueOf(stored).content
    await bar(dialect, tenant, userName)
    await dialect.world.store.commit([
      { remove: 'document', id: stored.record.id, version: stored.version },
      await putPerson(call, userName, undefined),
    ])
    return { status: 204 }
  })
}

/** `GET /scim/v2/Users`. */
export async function listUsers(call: Call): Promise<Answer> {
  const { query } = call
  const startIndex = Math.max(1, wholeOf(query.get('startIndex'), 1))
  const count = Math.min(MAX_PAGE, Math.max(0, wholeOf(query.get('count'), 100)))
  const found: JsonObject[] = []
  let totalResults = 0
  for await (const user of selected(call)) {
    totalResults++
    if (totalResults >= startIndex && found.length < count) found.push(view(call, user))
  }
  const itemsPerPage = found.length
  return {
    status: 200,
    body: { schemas: [LIST_SCHEMA], totalResults, startIndex, itemsPerPage, Resources: found },
  }
}

const anyObject: v.GenericSchema<unknown, JsonObject> = v.custom<JsonObject>((value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
)

/** RFC 7644 §3.4.2.4: what is no number is 400; what is below is taken for the least. */
function wholeOf(text: string | null, otherwise: number): number {
  if (text === null) return otherwise
  if (/^-?[0-9]{1,9}$/.test(text)) return Number(text)
  throw new Refusal(400, 'invalidValue', 'startIndex and count are numbers')
}

async function* selected(call: Call): AsyncGenerator<User> {
  const { dialect: { world: { store } }, tenant, query } = call
  const filter = query.get('filter')
  if (filter === null) {
    for await (const stored of everyRecord(store.records, 'document', keyOf(tenant))) {
      yield valueOf(stored)
    }
    return
  }
  const [, attribute = '', quoted = ''] =
    /^\s*(?:urn:ietf:params:scim:schemas:core:2\.0:user:)?(userName|externalId|id)\s+eq\s+("(?:[^"\\]|\\.)*")\s*$/i
      .exec(filter) ?? []
  const wanted = textOf(quoted)
  if (attribute.toLowerCase() === 'externalid') {
    const key = await externalKey(tenant, wanted)
    for await (const stored of everyRecord(store.records, 'document', key)) yield valueOf(stored)
    return
  }
  const id = attribute.toLowerCase() === 'id'
    ? wanted
    : (await personOf(store, tenant, wanted))?.record.value.user
  const stored = typeof id === 'string' && /^\w{1,64}$/.test(id)
    ? await store.records.get('document', idOf(id))
    : undefined
  if (stored !== undefined && valueOf(stored).tenant === tenant) yield valueOf(stored)
}

function textOf(quoted: string): string {
  const refuse = () =>
    new Refusal(400, 'invalidFilter', 'filters are userName, externalId or id, and eq')
  let text: unknown
  try {
    text = JSON.parse(quoted)
  } catch {
    throw refuse()
  }
  if (typeof text !== 'string' || !text.isWellFormed()) throw refuse()
  return text
}

/** Changes a user. Whoever is to be barred is barred first: if this breaks off, the same call again ends it. */
async function change(call: Call, work: (user: User) => UserContent): Promise<Answer> {
  const { dialect, tenant, params } = call
  const { store, now } = dialect.world
  return await retrying(async () => {
    const stored = await storedUser(call, params[0]!)
    const before = valueOf(stored)
    const content = work(before)
    const { active = before.active } = content
    const after: User = { ...before, content, active, updatedAt: now() }
    const [from, to] = [before.content.userName, content.userName]
    await checkFree(call, to, before.id)
    if (from !== to || !active) await bar(dialect, tenant, from)
    if (from !== to && !active) await bar(dialect, tenant, to)
    const isOther = await personId(tenant, from) !== await personId(tenant, to)
    await store.commit([
      await putUser(after, stored.version),
      await putPerson(call, to, after),
      ...(isOther ? [await putPerson(call, from, undefined)] : []),
    ])
    return { status: 200, body: view(call, after) }
  })
}

/** A name is one user's, whatever its case. Errors: 409 `uniqueness`. */
async function checkFree(call: Call, userName: string, id: string | undefined): Promise<void> {
  requireFree(await personOf(call.dialect.world.store, call.tenant, userName), id)
}

function requireFree(found: Stored<DocumentRecord> | undefined, id: string | undefined): void {
  const { user } = found?.record.value ?? {}
  if (user === undefined || user === id) return
  throw new Refusal(409, 'uniqueness', 'another user has this userName')
}

async function putUser(user: User, version: number): Promise<Change> {
  const { id, tenant, content: { externalId } } = user
  const external = externalId === undefined ? [] : [await externalKey(tenant, externalId)]
  const record = { id: idOf(id), keys: [keyOf(tenant), ...external], value: { ...user } }
  return { put: 'document', record: record as unknown as DocumentRecord, version }
}

/** What is kept of a principal from now on; of one without a user, that they are barred. */
async function putPerson(call: Call, principal: string, user: User | undefined): Promise<Change> {
  const { dialect: { world: { store } }, tenant } = call
  const found = await personOf(store, tenant, principal)
  // Of what is written over, not of what was there a moment ago.
  if (user !== undefined) requireFree(found, user.id)
  const value = { tenant, principal, user: user?.id, isActive: user?.active === true }
  const record = { id: await personId(tenant, principal), keys: [], value }
  return { put: 'document', record, version: found?.version ?? 0 }
}

async function storedUser(call: Call, id: string): Promise<Stored<DocumentRecord>> {
  const found = await call.dialect.world.store.records.get('document', idOf(id))
  if (found === undefined || valueOf(found).tenant !== call.tenant) {
    throw new Refusal(404, 'NOT_FOUND', 'there is no such user')
  }
  return found
}

function valueOf({ record }: Stored<DocumentRecord>): User {
  return record.value as unknown as User
}

const locationOf = ({ dialect }: Call, id: string) => `${dialect.base}/scim/v2/Users/${id}`

function view(call: Call, { id, content, active, createdAt, updatedAt }: User): JsonObject {
  const { userName, externalId, displayName, name, emails = [] } = content
  return {
    schemas: [USER_SCHEMA],
    id,
    userName,
    ...(externalId === undefined ? {} : { externalId }),
    ...(displayName === undefined ? {} : { displayName }),
    ...(name === undefined ? {} : { name }),
    active,
    emails: emails.map((one) => ({ ...one })),
    meta: {
      resourceType: 'User',
      created: iso(createdAt),
      lastModified: iso(updatedAt),
      location: locationOf(call, id),
    },
  }
}
