/** Lists in pages. The cursor is the id of the last one shown: ids are unique and sorted, so no tie is skipped. */
import { SignetError } from '../errors.ts'
import type { Kind, Records } from './records.ts'
import { json, type World } from './world.ts'

const LIMIT = 50
const MAX_LIMIT = 200

/** A page of records as answer: `?limit=` and `?after=`; `next` is there if there is more. */
export async function listing<K extends Kind>(
  world: World,
  request: Request,
  kind: K,
  key: string | undefined,
  show: (record: Records[K]) => object | Promise<object>,
): Promise<Response> {
  const query = new URL(request.url).searchParams
  const text = query.get('limit') ?? String(LIMIT)
  const limit = Number(text)
  if (!/^[0-9]{1,3}$/.test(text) || limit < 1 || limit > MAX_LIMIT) {
    throw new SignetError('request_malformed', `limit is not from 1 to ${MAX_LIMIT}`)
  }
  const after = query.get('after') ?? undefined
  const found = await world.store.records.list(kind, { key, after, limit: limit + 1 })
  const items = await Promise.all(found.slice(0, limit).map(({ record }) => show(record)))
  const next = found.length > limit ? found[limit - 1]!.record.id : undefined
  return json({ items, next })
}
