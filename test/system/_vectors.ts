/**
 * The shared test vectors: other people's data, too large for this repository. They lie in
 * `../shared/vectors` beside it, or where `SIGNET_VECTORS` says (`none`: do without, even in CI).
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const setting = process.env.SIGNET_VECTORS
const root = setting ?? fileURLToPath(new URL('../../../shared/vectors', import.meta.url))

/** Where a vector file or folder is on disk, whether or not it is there. */
export function vectorPath(path: string): string {
  return join(root, path)
}

/** The bytes of one vector file. */
export function vectorBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(vectorPath(path)))
}

/** One JSON vector file, parsed. Say what you expect in it; nothing checks that. */
export function vectors<T = unknown>(path: string): T {
  return JSON.parse(readFileSync(vectorPath(path), 'utf8')) as T
}

/**
 * A test that needs the vector file or folder at `path`. Where that is absent the test is skipped
 * with the reason, and fails if `CI=true`, so that no green run lacks it unseen.
 */
export function vectorTest(name: string, path: string, fn: () => unknown): void {
  const absent = !existsSync(vectorPath(path))
  if (absent && (process.env.CI !== 'true' || setting === 'none')) {
    test(name, { skip: `no vectors at ${vectorPath(path)}` }, () => {})
  } else {
    test(name, async () => {
      if (absent) throw new Error(`no vectors at ${vectorPath(path)}; set SIGNET_VECTORS`)
      await fn()
    })
  }
}
