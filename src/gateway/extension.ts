/** What a dialect adds to what the gateway itself does: a say in who gets anything, and an eye on what ends. */
import type { BundleRecord, GrantRecord } from './records.ts'
import type { Change } from './store.ts'
import type { World } from './world.ts'

/** A dialect's say. A grant or bundle comes as it is once it has ended. */
export interface Extension {
  /** As {@link World.admit}. */
  admit?(principal: string, tenant: string | undefined): Promise<readonly Change[]>
  /** As {@link World.grantEnded}. */
  grantEnded?(grant: GrantRecord, hasDescendants: boolean): Promise<readonly Change[]>
  /** As {@link World.bundleEnded}. */
  bundleEnded?(bundle: BundleRecord): Promise<readonly Change[]>
}

/** The part of the world that asks all dialects. */
export function extensible(): Pick<World, 'extend' | 'admit' | 'grantEnded' | 'bundleEnded'> {
  const extensions: Extension[] = []
  const all = async (
    ask: (one: Extension) => Promise<readonly Change[]> | undefined,
  ): Promise<readonly Change[]> =>
    (await Promise.all(extensions.map((one) => ask(one) ?? []))).flat()
  return {
    extend: (extension) => void extensions.push(extension),
    async admit(principal, tenant) {
      const changes = await all((one) => one.admit?.(principal, tenant))
      // A dialect that is mounted twice says everything twice; nothing is written twice in one step.
      const named = changes.map((change) => [JSON.stringify(change), change] as const)
      return [...new Map(named).values()]
    },
    grantEnded: (grant, hasDescendants) => all((one) => one.grantEnded?.(grant, hasDescendants)),
    bundleEnded: (bundle) => all((one) => one.bundleEnded?.(bundle)),
  }
}
