/** Optional parts that other packages bring, and whether they are here. */
import { createRequire } from 'node:module'

/** A part and its state, for people. */
export interface Part {
  /** What it is for. */
  readonly name: string
  /** `available`, or how to get it. */
  readonly state: string
}

const PARTS: readonly [string, string, () => unknown][] = [
  ['PKCS#11 tokens', 'pkcs11js', () => createRequire(import.meta.url)('pkcs11js')],
  ['AWS KMS', '@aws-sdk/client-kms', () => import('@aws-sdk/client-kms')],
  ['logs in SQLite', 'node:sqlite', () => import('node:sqlite')],
]

/** Loads each part to see. */
export async function inventory(): Promise<Part[]> {
  return await Promise.all(PARTS.map(async ([name, brings, load]) => {
    try {
      await load()
      return { name, state: 'available' }
    } catch {
      return { name, state: `not here: ${brings} cannot be loaded` }
    }
  }))
}
