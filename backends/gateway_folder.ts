/** Where a gateway keeps everything: a folder with one database, made for its owner alone. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { SignetError } from '../src/errors.ts'
import type { GatewayStore } from '../src/gateway/mod.ts'
import { sqliteGatewayStore } from './gateway_sqlite.ts'

/** Opens the store of a folder, which is made if need be. Errors: `io_failed`, `store_version`. */
export function openGatewayFolder(folder: string): GatewayStore & { close(): void } {
  const path = join(folder, 'gateway.db')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // SQLite gives its other files the permissions of the first.
    closeSync(openSync(path, 'a', 0o600))
  } catch (cause) {
    throw new SignetError('io_failed', 'the folder of the gateway cannot be made', {
      where: folder,
      cause,
    })
  }
  return sqliteGatewayStore(path)
}
