/** The first operator of a server. */
import { utf8 } from '../bytes.ts'
import { type GatewayStore, newOperatorKey } from '../gateway/mod.ts'
import type { Run } from './context.ts'
import { printable } from './text.ts'

/** If there is no operator yet: makes their key, into a file that only its owner reads. */
export async function firstOperator(run: Run, folder: string, store: GatewayStore): Promise<void> {
  if ((await store.records.list('operator', { limit: 1 })).length > 0) return
  const path = `${folder}/operator.key`
  await newOperatorKey(store, 'operator', Math.floor(Date.now() / 1000), async (key) => {
    await run.backends.writeFile(path, utf8(`${key}\n`), { mode: 0o600, overwrite: true })
  })
  run.say(`the operator's key is in ${printable(path)}`)
}
