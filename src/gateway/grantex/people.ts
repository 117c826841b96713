/**
 * Who may have anything: what a developer's SCIM users say of principals. The principal of a user is its `userName`. Of a
 * user who is inactive or gone it is kept that they are barred; nobody else is.
 *
 * A developer has a say in what their own agents get, and no more. The users of the one whom the operator names as the
 * server's `directory` are the people of the whole server: they sign in, or do not.
 */
import { isSignetError, SignetError } from '../../errors.ts'
import { digestOf } from '../ids.ts'
import { type DocumentRecord, personKey } from '../records.ts'
import { revokeGrant } from '../standing.ts'
import { type Change, everyRecord, type GatewayStore, retrying, type Stored } from '../store.ts'
import { type Dialect, Refusal } from './call.ts'
import { extraOf } from './grant_extra.ts'

/** What is kept of a principal. */
export interface Person {
  readonly [name: string]: string | boolean | undefined
  readonly tenant: string
  /** As it was written last. */
  readonly principal: string
  /** The SCIM user; undefined: there is none any more. */
  readonly user?: string | undefined
  readonly isActive: boolean
}

/** The id of what is kept. Case does not count in the names of users (RFC 7643 §4.1.1), so not in who is barred. */
export async function personId(tenant: string, principal: string): Promise<string> {
  return `grantex:person:${await digestOf(`${tenant}\n${principal.toLowerCase()}`)}`
}

/** What is kept of a principal, if anything is. */
export async function personOf(
  store: GatewayStore,
  tenant: string,
  principal: string,
): Promise<Stored<DocumentRecord> | undefined> {
  return await store.records.get('document', await personId(tenant, principal))
}

/** `World.admit` of the dialect. */
export async function admit(
  store: GatewayStore,
  directory: string | undefined,
  principal: string,
  tenant: string | undefined,
): Promise<Change[]> {
  const changes: Change[] = []
  for (const one of new Set([tenant, directory])) {
    if (one === undefined) continue
    const found = await personOf(store, one, principal)
    if (found === undefined) {
      // Nothing is kept of whoever was never barred; that it is still so when it is committed is.
      changes.push({ remove: 'document', id: await personId(one, principal), version: 0 })
      continue
    }
    if (found.record.value.isActive !== true) {
      throw new SignetError('policy_denied', 'the principal is not active any more')
    }
    // Written as it was: whoever bars them meanwhile comes first, or finds what was given.
    changes.push({ put: 'document', record: found.record, version: found.version })
  }
  return changes
}

/** The same in the words of the dialect. Errors: 403 `PRINCIPAL_INACTIVE`. */
export async function admitted(
  { world }: Dialect,
  principal: string,
  tenant: string,
): Promise<readonly Change[]> {
  try {
    return await world.admit(principal, tenant)
  } catch (error) {
    if (!isSignetError(error, 'policy_denied')) throw error
    throw new Refusal(403, 'PRINCIPAL_INACTIVE', error.message)
  }
}

/** Bars a principal, and then takes back all that they gave. Idempotent: a second call ends what a first began. */
export async function bar(dialect: Dialect, tenant: string, principal: string): Promise<void> {
  const { world, directory } = dialect
  await retrying(async () => {
    const found = await personOf(world.store, tenant, principal)
    if (found?.record.value.isActive === false) return
    const value = { tenant, principal, ...found?.record.value, isActive: false }
    const record = { id: await personId(tenant, principal), keys: [], value }
    await world.store.commit([{ put: 'document', record, version: found?.version ?? 0 }])
  })
  const given = everyRecord(world.store.records, 'grant', personKey(principal))
  for await (const { record } of given) {
    if (extraOf(record)?.developer !== tenant && tenant !== directory) continue
    await revokeGrant(world, record.id, 'the principal is not active any more')
  }
}
