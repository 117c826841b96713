/** A device's folder that was put back, log and state together: only what lies elsewhere can tell. */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { deviceAnchor, fileAnchor, fileDeviceStorage } from '../../backends/device_fs.ts'
import { openKeyring } from '../../backends/keyring.ts'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { openDevice } from '../../src/grants/mod.ts'
import { readPublicKeys } from '../../src/keys/mod.ts'
import { serverKey } from '../core/_devices.ts'
import { onStage, run, SECRET, type Stage } from './_device_stage.ts'
import { inTemp } from './_temp.ts'

const STATUS = ['bundle', 'status', 'agent', ...SECRET]
const SYNC = ['sync', 'agent', '--attempts', '1', ...SECRET]
const REFRESH = ['bundle', 'refresh', 'agent', ...SECRET]
/** As if nobody had ever looked. */
const BLIND = ['--anchor', 'nowhere']

/** Pulls a bundle into `agent`, and copies the folder to `old`. Each refresh then gives a newer one. */
async function pulled({ folder, url, sync, bundle, ok }: Stage, ...more: string[]): Promise<void> {
  sync.refreshed = async () => ({ bundles: [{ bundle_id: '1', bundle: await bundle() }] })
  await ok(...pull(url), ...more)
  cpSync(join(folder, 'agent'), join(folder, 'old'), { recursive: true })
  let generation = 1
  sync.refreshed = async () => ({
    bundle: await bundle({ generation: ++generation }),
    status: { state: 'active' },
  })
}

function pull(url: string): string[] {
  return [
    'bundle',
    'pull',
    url,
    '--device',
    'agent',
    '--key',
    'd.pem',
    '--pin',
    'pins.json',
    ...SECRET,
  ]
}

/** Puts another folder in the place of the device's. */
function swap(folder: string, other: string, aside: string): void {
  renameSync(join(folder, 'agent'), join(folder, aside))
  cpSync(join(folder, other), join(folder, 'agent'), { recursive: true })
}

test('a folder that was put back is noticed by every command, and none goes on with it', () =>
  onStage(async (stage) => {
    const { folder, url, sync, ok, fails } = stage
    await pulled(stage)
    await ok(...REFRESH)
    swap(folder, 'old', 'newest')
    const before = readdirSync(join(folder, 'agent/log'), { recursive: true }).length
    const asked = sync.seen.length
    for (const command of [STATUS, SYNC, REFRESH]) {
      const { err } = await fails(5, 'log_rolled_back', ...command)
      assert.match(err, /the last \d+ entries are gone/)
      assert.match(err, /try: .*put the newest copy of the log back/)
      assert.match(err, /home.signet.devices/)
    }
    const { out } = await fails(5, 'log_rolled_back', ...STATUS, '--json')
    assert.equal(JSON.parse(out).error.code, 'log_rolled_back')
    await fails(5, 'log_rolled_back', ...pull(url), '--bundle', '1')
    assert.equal(readdirSync(join(folder, 'agent/log'), { recursive: true }).length, before)
    assert.ok(sync.seen.slice(asked).every(({ method }) => method === 'GET'), 'it acted')
    swap(folder, 'newest', 'put-back')
    await ok(...STATUS)
  }))

test('a log that is gone, forked or another one is told apart', () =>
  onStage(async (stage) => {
    const { folder, url, sync, bundle, ok, fails } = stage
    await pulled(stage)
    await ok(...REFRESH)

    // An older copy that went on elsewhere.
    swap(folder, 'old', 'newest')
    for (let i = 0; i < 3; i++) await ok(...REFRESH, ...BLIND)
    await fails(5, 'log_forked', ...STATUS)

    // What the device remembers and its log, both gone.
    rmSync(join(folder, 'agent'), { recursive: true })
    cpSync(join(folder, 'newest'), join(folder, 'agent'), { recursive: true })
    for (const part of ['state', 'log']) rmSync(join(folder, 'agent', part), { recursive: true })
    await fails(5, 'log_rolled_back', ...STATUS)
    const again = async () => ({
      bundles: [{ bundle_id: '1', bundle: await bundle({ generation: 9 }) }],
    })
    sync.refreshed = again
    await fails(5, 'log_rolled_back', ...pull(url))

    // The same key begins anew.
    rmSync(join(folder, 'nowhere'))
    await ok(...pull(url), ...BLIND)
    rmSync(join(folder, 'agent/device.json'))
    await fails(5, 'log_replaced', ...pull(url))
  }))

test('a folder that was put back is noticed while an agent has it in use', () =>
  onStage(async (stage) => {
    const { folder, ok, fails } = stage
    await pulled(stage)
    await ok(...REFRESH)
    swap(folder, 'old', 'newest')
    const ring = await openKeyring({
      passphrase: () => Promise.resolve(undefined),
      insecureClearKey: true,
      warn: () => {},
    })
    const key = await ring.open(join(folder, 'd.pem'))
    const agent = await openDevice({
      key,
      storage: fileDeviceStorage(join(folder, 'agent/state')),
      log: fileLogStorage(join(folder, 'agent/log')),
      trusted: [{ issuer: stage.url, keys: [serverKey.publicKey] }],
    })
    try {
      await fails(5, 'log_rolled_back', ...STATUS)
      assert.match((await ok(...STATUS, ...BLIND)).err, /in use/)
    } finally {
      await agent.close()
      await key.close()
    }
  }))

test('without an anchor the server tells, and the command says what to do', () =>
  onStage(async (stage) => {
    const { folder, sync, ok, fails } = stage
    await pulled(stage)
    await ok(...REFRESH)
    await ok(...SYNC)
    const had = sync.store.entries.length
    // The server judges by seconds whether a message was overtaken.
    await new Promise((resolve) => setTimeout(resolve, 1100))
    swap(folder, 'old', 'newest')
    await ok(...STATUS, ...BLIND)
    const { err } = await fails(5, 'log_rolled_back', ...SYNC, ...BLIND)
    assert.match(err, /the server had more entries of this log/)
    assert.match(err, /try: .*newest copy.*another key/)
    const { out } = await fails(5, 'log_rolled_back', ...SYNC, ...BLIND, '--json')
    assert.match(JSON.parse(out).error.remedy, /another key/)
    for (let i = 0; i < 4; i++) await ok(...REFRESH, ...BLIND)
    assert.match((await fails(5, 'log_forked', ...SYNC, ...BLIND)).err, /try: .*another key/)
    assert.equal(sync.store.entries.length, had)
  }))

test('an anchor that is damaged is no reason to go on, and is named', () =>
  onStage(async (stage) => {
    const { folder, ok, fails } = stage
    await pulled(stage, '--anchor', 'my.anchor')
    assert.ok(!existsSync(join(folder, 'home')), 'the anchor that was asked for, and no other')
    // It is remembered, as the key is.
    await ok(...REFRESH)
    writeFileSync(join(folder, 'my.anchor'), 'c2sp.org/tlog-proof@v1\n')
    const { err } = await fails(2, 'proof_malformed', ...STATUS)
    assert.match(err, /my\.anchor/)
    // Wherever the command is given.
    mkdirSync(join(folder, 'elsewhere'))
    const there = await run(
      join(folder, 'elsewhere'),
      ...['bundle', 'status', '../agent', '--key', '../d.pem', ...SECRET],
    )
    assert.deepEqual([there.code, /proof_malformed/.test(there.err)], [2, true], there.err)
    rmSync(join(folder, 'my.anchor'))
    await ok(...SYNC)
    assert.ok(existsSync(join(folder, 'my.anchor')))
  }))

test('an anchor that cannot be written is an error, and not an anchor less', () =>
  onStage(async (stage) => {
    const { folder, url, sync, bundle, fails } = stage
    sync.refreshed = async () => ({ bundles: [{ bundle_id: '1', bundle: await bundle() }] })
    writeFileSync(join(folder, 'file'), '')
    const { err } = await fails(2, 'io_failed', ...pull(url), '--anchor', 'file/anchor')
    assert.match(err, /file\/anchor/)
    assert.match(err, /--anchor/)
  }))

test('deviceAnchor() gives each key and server a file of its own, for its owner only', () =>
  inTemp(async (folder) => {
    const key = (await readPublicKeys(JSON.stringify(serverKey.publicKey.jwk)))[0]!.id
    const one = deviceAnchor(key, 'https://one.example', { folder: join(folder, 'deep/er') })
    const two = deviceAnchor(key, 'https://two.example', { folder: join(folder, 'deep/er') })
    assert.notEqual(one.path, two.path)
    assert.equal(await one.load(), undefined)
    await one.store(new Uint8Array([1]))
    await one.store(new Uint8Array([2]))
    assert.deepEqual(await fileAnchor(one.path).load(), new Uint8Array([2]))
    assert.equal(await two.load(), undefined)
    if (process.platform === 'win32') return
    assert.equal(statSync(one.path).mode & 0o777, 0o600)
    assert.equal(statSync(join(folder, 'deep/er')).mode & 0o777, 0o700)
  }))
