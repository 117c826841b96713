#!/usr/bin/env -S deno run -A
/** The command line's front door: puts the backends and the commands together. */
import { lstatSync } from 'node:fs'
import process from 'node:process'
import type { Backends, CliContext } from './src/cli/context.ts'
import { main } from './src/cli/main.ts'
import { terminal } from './src/cli/terminal.ts'
import { VERSION } from './src/cli/version.ts'
import { SignetError } from './src/errors.ts'

const stat = (path: string) => lstatSync(path, { throwIfNoEntry: false })

/** The backends of this machine, each loaded when first used. */
const backends: Backends = {
  openTree: async (path, options) => (await import('./backends/fs.ts')).folderTree(path, options),
  // deno-lint-ignore require-await -- the port is asynchronous
  exists: async (path) => stat(path) !== undefined,
  // deno-lint-ignore require-await -- a fault must reject, not throw
  async isFolder(path) {
    const found = stat(path)
    if (found === undefined) {
      throw new SignetError('file_unreadable', `there is no ${path}`, { where: path })
    }
    return found.isDirectory()
  },
  readFile: async (path, maxBytes) =>
    (await import('./backends/files.ts')).readLimited(path, maxBytes),
  writeFile: async (path, bytes, options) =>
    (await import('./backends/files.ts')).writeNew(path, bytes, options),
  replaceFile: async (path, bytes, expected) =>
    (await import('./backends/replace.ts')).replaceFile(path, bytes, expected),
  publishersMemory: async () => (await import('./backends/publishers_state.ts')).publishersState(),
  deviceStorage: async (folder) =>
    (await import('./backends/device_fs.ts')).fileDeviceStorage(folder),
  async deviceAnchor(of) {
    const { deviceAnchor, fileAnchor } = await import('./backends/device_anchor.ts')
    return 'file' in of ? fileAnchor(of.file) : deviceAnchor(of.device, of.issuer)
  },
  logStorage: async (folder) => (await import('./backends/log_fs.ts')).fileLogStorage(folder),
  gatewayStore: async (folder) =>
    (await import('./backends/gateway_folder.ts')).openGatewayFolder(folder),
  publicFetch: async (options) => (await import('./backends/public_fetch.ts')).publicFetch(options),
  witnessStore: async (path) =>
    (await import('./backends/witness_sqlite.ts')).sqliteWitnessStore(path),
  serveHttp: async (handler, options) =>
    await (await import('./backends/serve.ts')).serve(handler, options),
  logChecker: async (folder) => (await import('./backends/log_pool.ts')).folderChecker(folder),
  sha256: async () => (await import('./backends/node_sha256.ts')).nodeSha256,
  runtime: runtime(),
  inventory: async () => (await import('./backends/inventory.ts')).inventory(),
  keyring: async (options) => (await import('./backends/keyring.ts')).openKeyring(options),
}

function runtime(): string {
  const { deno, bun, node } = process.versions as Record<string, string | undefined>
  return deno !== undefined ? `Deno ${deno}` : bun !== undefined ? `Bun ${bun}` : `Node ${node}`
}

// Node warns that its ML-DSA and its SQLite are experimental. The first passes a known-answer self-test before it is
// used, and the second is all that there is; neither is news to whoever runs a command. Other warnings stay.
const warn = process.listeners('warning')
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  if (warning.name === 'ExperimentalWarning' && /Web Crypto API|SQLite/.test(warning.message)) {
    return
  }
  for (const listener of warn) listener.call(process, warning)
})

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())
const context: CliContext = { backends, terminal, signal: stop.signal }
process.exitCode = await main(process.argv.slice(2), context, VERSION)
