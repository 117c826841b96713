/** The operator: whoever holds a key of theirs may register, list, suspend and revoke. */
import { isSignetError, SignetError } from '../errors.ts'
import { digestOf, newSecret } from './ids.ts'
import type { OperatorRecord } from './records.ts'
import type { GatewayStore } from './store.ts'
import type { World } from './world.ts'

const PREFIX = 'sgop_'

/**
 * Makes an operator's key. Shown once; only its digest is kept. `show` is called before it counts, so that what it does
 * (write it to a file) is done even if the process ends in between.
 */
export async function newOperatorKey(
  store: GatewayStore,
  name: string,
  now: number,
  show: (key: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  const key = newSecret(PREFIX)
  await show(key)
  await keepOperatorKey(store, key, name, now)
  return key
}

/** Takes an operator's key that was made elsewhere. Once taken, and once revoked, it stays so. Errors: `usage_invalid`. */
export async function keepOperatorKey(
  store: GatewayStore,
  key: string,
  name: string,
  now: number,
): Promise<void> {
  if (!/^sgop_[\w-]{43}$/.test(key)) {
    throw new SignetError('usage_invalid', "the operator's key is not of the form sgop_…", {
      remedy: 'sgop_ and 43 characters of base64url, of 32 random bytes',
    })
  }
  const id = await digestOf(key)
  if (await store.records.get('operator', id) !== undefined) return
  try {
    await store.commit([{ put: 'operator', record: { id, name, createdAt: now }, version: 0 }])
  } catch (error) {
    if (!isSignetError(error, 'store_conflict')) throw error // two that start at once
  }
}

/** The operator of a request (RFC 6750 §2.1). Errors: `unauthenticated`. */
export async function operatorOf(world: World, request: Request): Promise<OperatorRecord> {
  world.count(request, 'operator')
  const found = await bearer(world.store, request)
  if (found !== undefined) return found
  throw new SignetError('unauthenticated', "this needs an operator's key", {
    remedy: 'send it as Authorization: Bearer sgop_…',
  })
}

/** The operator whose key a request brings, if it does. */
export async function bearer(
  store: GatewayStore,
  request: Request,
): Promise<OperatorRecord | undefined> {
  const [, key] = /^Bearer (sgop_[\w-]{43})$/i.exec(request.headers.get('authorization') ?? '') ??
    []
  if (key === undefined) return undefined
  const found = (await store.records.get('operator', await digestOf(key)))?.record
  return found?.revokedAt === undefined ? found : undefined
}
