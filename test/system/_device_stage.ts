/** A device's folder and a server that answers, for tests of the command line. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { formatJwks, newKeyset, readPublicKeys } from '../../src/keys/mod.ts'
import { listOf, makeBundle, serverKey } from '../core/_devices.ts'
import { type SyncServer, syncServer } from '../core/_sync_server.ts'
import { inFolder, type Outcome, SIGNET } from './_signet.ts'

const ORIGIN = 'grants.example/devices/1'
/** What a passphrase costs is tested with the keys. */
export const SECRET: readonly string[] = ['--insecure-clear-key']

/** Runs `signet` while this process goes on answering. What it keeps for its user stays in the folder. */
export function run(cwd: string, ...args: string[]): Promise<Outcome> {
  const [program, ...first] = SIGNET as [string, ...string[]]
  const own = { NO_COLOR: '1', NODE_NO_WARNINGS: '1', XDG_STATE_HOME: join(cwd, 'home') }
  const env = { ...process.env, ...own }
  const child = spawn(program, [...first, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (part) => out += part)
  child.stderr.on('data', (part) => err += part)
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

/** What is in the hands of a test. */
export interface Stage {
  readonly folder: string
  readonly url: string
  readonly sync: SyncServer
  /** A bundle of now for the device's key. */
  bundle(making?: Parameters<typeof makeBundle>[1]): Promise<string>
  ok(...args: string[]): Promise<Outcome>
  fails(code: number, name: string, ...args: string[]): Promise<Outcome>
}

/** A folder with a device key and the server's pins, and a server that answers. */
export function onStage(work: (stage: Stage) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    const made = await run(
      folder,
      'keys',
      'new',
      '--key',
      'd.pem',
      '--algorithm',
      'Ed25519',
      ...SECRET,
    )
    assert.equal(made.code, 0, made.err)
    writeFileSync(join(folder, 'pins.json'), formatJwks(newKeyset('server', serverKey.publicKey)))
    const [device] = await readPublicKeys(readFileSync(join(folder, 'd.pem')))
    const sync = syncServer(device!, ORIGIN, 0)
    const server = createServer(async (request, response) => {
      const parts: Uint8Array[] = []
      for await (const part of request) parts.push(part)
      sync.now = Math.floor(Date.now() / 1000)
      const answer = await sync.fetch(`${url}${request.url}`, {
        method: request.method!,
        headers: new Headers(request.headers as Record<string, string>),
        body: new Uint8Array(Buffer.concat(parts)),
        signal: new AbortController().signal,
        redirect: 'manual',
      })
      response.writeHead(answer.status, Object.fromEntries(answer.headers))
      response.end(new Uint8Array(await answer.arrayBuffer()))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      await work({
        folder,
        url,
        sync,
        async bundle(making = {}) {
          const now = Math.floor(Date.now() / 1000)
          const owner = { publicKey: device! } as typeof serverKey
          return await makeBundle(owner, {
            issuer: url,
            issuedAt: now,
            statusLists: [await listOf([], now)],
            sync: `${url}/bundles/1`,
            ...making,
            terms: { issuer: url, ...making.terms },
          })
        },
        async ok(...args) {
          const done = await run(folder, ...args)
          assert.equal(done.code, 0, `${args.join(' ')}: ${done.out}${done.err}`)
          return done
        },
        async fails(code, name, ...args) {
          const done = await run(folder, ...args)
          assert.equal(done.code, code, `${args.join(' ')}: ${done.out}${done.err}`)
          assert.match(done.out + done.err, new RegExp(`\\b${name}\\b`))
          return done
        },
      })
    } finally {
      await new Promise((resolve) => server.close(resolve).closeAllConnections())
    }
  })
}
