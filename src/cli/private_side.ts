/** The private side of `--key`: a key that is open for as long as some work takes. */
import type { Key } from '../keys/mod.ts'
import type { Run } from './context.ts'

/** Opens a key, works with it, and closes it. */
export async function withKey<T>(
  run: Run,
  uri: string,
  work: (key: Key) => Promise<T>,
): Promise<T> {
  const key = await (await run.keyring()).open(uri)
  try {
    return await work(key)
  } finally {
    await key.close()
  }
}
