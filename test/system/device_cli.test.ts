import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { formatJwks, newKeyset, readPublicKeys } from '../../src/keys/mod.ts'
import { ISSUER, listOf, makeBundle, newKey, serverKey } from '../core/_devices.ts'
import { type SyncServer, syncServer } from '../core/_sync_server.ts'
import { inFolder, type Outcome, SIGNET } from './_signet.ts'

const ORIGIN = 'grants.example/devices/1'
// What a passphrase costs is tested with the keys.
const SECRET = ['--insecure-clear-key']

/** Runs `signet` while this process goes on answering. */
function run(cwd: string, ...args: string[]): Promise<Outcome> {
  const [program, ...first] = SIGNET as [string, ...string[]]
  const env = { ...process.env, NO_COLOR: '1', NODE_NO_WARNINGS: '1' }
  const child = spawn(program, [...first, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (part) => out += part)
  child.stderr.on('data', (part) => err += part)
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

interface Stage {
  readonly folder: string
  readonly url: string
  readonly sync: SyncServer
  /** A bundle of now for the device's key. */
  bundle(making?: Parameters<typeof makeBundle>[1]): Promise<string>
  ok(...args: string[]): Promise<Outcome>
  fails(code: number, name: string, ...args: string[]): Promise<Outcome>
}

/** A folder with a device key and the server's pins, and a server that answers. */
function onStage(work: (stage: Stage) => Promise<void>): Promise<void> {
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

test('bundle: what is wrong ends in the exit code of its kind, and leaves no device behind', () =>
  onStage(async ({ folder, url, sync, bundle, fails }) => {
    const pull = ['bundle', 'pull', url, '--device', 'agent', ...SECRET]
    await fails(1, 'usage_invalid', ...pull)
    await fails(1, 'usage_invalid', ...pull, '--key', 'd.pem')
    await fails(6, 'device_unenrolled', 'bundle', 'status', 'agent', ...SECRET)
    await fails(6, 'device_unenrolled', 'sync', 'agent', ...SECRET)
    const first = [...pull, '--key', 'd.pem', '--pin', 'pins.json']
    sync.refreshed = () => Promise.resolve({ bundles: [] })
    await fails(6, 'device_unenrolled', ...first)
    sync.refreshed = async () => ({
      bundles: [{ bundle_id: '1', bundle: await bundle({ signer: await newKey() }) }],
    })
    await fails(4, 'signer_untrusted', ...first)
    const both = async () => ({
      bundles: [{ bundle_id: 'a', bundle: await bundle() }, {
        bundle_id: 'b',
        bundle: await bundle(),
      }],
    })
    sync.refreshed = both
    const { err } = await fails(1, 'usage_invalid', ...first)
    assert.match(err, /--bundle a, --bundle b/)
    sync.before = () => new Response('', { status: 401 })
    await fails(6, 'sync_refused', ...first)
    writeFileSync(join(folder, 'b.jwt'), await bundle({ issuer: ISSUER }))
    await fails(4, 'signer_untrusted', ...first, '--file', 'b.jwt')
    await fails(6, 'device_unenrolled', 'bundle', 'status', 'agent', ...SECRET)
  }))

test('bundle and sync: pull, status, sync, refresh, and a revocation that arrives', () =>
  onStage(async ({ folder, url, sync, bundle, ok, fails }) => {
    sync.refreshed = async () => ({ bundles: [{ bundle_id: '1', bundle: await bundle() }] })
    const pulled = await ok(
      'bundle',
      'pull',
      `${url}/`,
      '--device',
      'agent',
      '--key',
      'd.pem',
      '--pin',
      'pins.json',
      ...SECRET,
    )
    assert.match(pulled.out, /^may act\n/)
    if (process.platform !== 'win32') {
      assert.equal(statSync(join(folder, 'agent', 'device.json')).mode & 0o777, 0o600)
    }
    const status = await ok('bundle', 'status', 'agent', '--json', ...SECRET)
    const report = JSON.parse(status.out)
    assert.deepEqual([report.ok, report.bundle.generation], [true, 1])
    assert.deepEqual(report.tools, ['calendar:read', 'mail:send'])
    const sent = JSON.parse((await ok('sync', 'agent', '--json', ...SECRET)).out)
    assert.deepEqual([sent.ok, sent.sent], [true, sync.store.entries.length])
    assert.ok(sent.sent >= 2)
    sync.refreshed = async () => ({
      bundle: await bundle({ generation: 2 }),
      status: { state: 'active' },
    })
    assert.match((await ok('bundle', 'refresh', 'agent', ...SECRET)).out, /generation 2/)
    // Imported from a file, an older one is no way back.
    writeFileSync(join(folder, 'old.jwt'), await bundle({ generation: 1 }))
    await fails(
      5,
      'bundle_rolled_back',
      'bundle',
      'pull',
      url,
      '--device',
      'agent',
      '--file',
      'old.jwt',
      ...SECRET,
    )
    sync.status = { state: 'revoked', at: sync.now, reason: 'lost' }
    const over = await run(folder, 'sync', 'agent', ...SECRET)
    assert.equal(over.code, 6, over.err)
    assert.match(over.out, /the bundle was revoked: lost/)
    await fails(6, 'bundle_revoked', 'bundle', 'status', 'agent', ...SECRET)
  }))
