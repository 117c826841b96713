/** The operator: whoever holds a key of theirs may register, list, suspend and revoke. */
import { SignetError } from '../errors.ts'
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
  const record: OperatorRecord = { id: await digestOf(key), name, createdAt: now }
  await store.commit([{ put: 'operator', record, version: 0 }])
  return key
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
