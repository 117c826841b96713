/** What the operator's routes have in common: nobody else gets in, and records are shown in one way. */
import { operatorOf } from './operators.ts'
import { listing } from './paging.ts'
import type { Kind, Records } from './records.ts'
import type { RouteContext, Router } from './router.ts'
import { existing } from './store.ts'
import { json, type World } from './world.ts'

/** How records of a kind are shown. */
export interface View<K extends Kind> {
  /** Names of keys (see `KEYS`) by which they can be listed: `?name=value`, the first one that is given. */
  readonly by?: readonly string[]
  /** One of them. */
  show(record: Records[K]): object | Promise<object>
}

/** `GET /admin/KINDs`, in pages, and `GET /admin/KINDs/:id`. */
export function viewRoutes<K extends Kind>(
  app: Router,
  world: World,
  kind: K,
  { by = [], show }: View<K>,
): void {
  app.get(`/admin/${kind}s`, async (c) => {
    await operatorOf(world, c.req.raw)
    return await listing(world, c.req.raw, kind, keyOf(c, by), show)
  })
  app.get(`/admin/${kind}s/:id`, async (c) => {
    await operatorOf(world, c.req.raw)
    const { record } = await existing(world.store.records, kind, c.req.param('id'))
    return json(await show(record))
  })
}

function keyOf({ req }: RouteContext, names: readonly string[]): string | undefined {
  const name = names.find((one) => req.query(one) !== undefined)
  return name === undefined ? undefined : `${name}:${req.query(name)}`
}
