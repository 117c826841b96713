import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { concat } from '../../src/bytes.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { main } from '../../src/cli/main.ts'
import { noteVerifier } from '../../src/envelope/mod.ts'
import { formatSyncHead, parseSyncAnswer, type SyncAnswer } from '../../src/grants/mod.ts'
import {
  defaultHasher,
  exportRange,
  type Log,
  memoryLogStorage,
  openLog,
  parseEntry,
  verifyRange,
} from '../../src/log/mod.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  codeFor,
  type Device,
  device,
  granted,
  parFields,
  postForm,
  refused,
  registered,
  send,
  signed,
  signedForm,
  tokenFields,
} from '../core/_gateway.ts'
import { makeIssuer, type Served, startServer } from './_serve.ts'
import { inFolder, signet } from './_signet.ts'

const portOf = ({ issuer }: Served) => Number(new URL(issuer).port)
const SERVE = ['serve', '--data', 'data', '--key', 'issuer.pem', '--insecure-clear-key']

test('signet serve refuses flags that make no sense', () =>
  inFolder((folder) => {
    makeIssuer(folder)
    for (
      const flags of [
        ['--listen', '8787'],
        ['--listen', '127.0.0.1:99999'],
        ['--listen', '127.0.0.1:0', '--issuer', 'http://gateway.example'],
        ['--listen', '127.0.0.1:0', '--issuer', 'https://gateway.example/path'],
        ['--listen', '127.0.0.1:0', '--max-duration', '91d'],
        ['--listen', '127.0.0.1:0', '--max-depth', '65'],
      ]
    ) {
      const { code, err } = signet(folder, ...SERVE, ...flags)
      assert.equal(code, 1, err)
      assert.match(err, /usage_invalid/)
    }
    const { code } = signet(folder, 'serve', '--data', 'pw/x', ...SERVE.slice(3))
    assert.equal(code, 2)
  }))

test('signet serve refuses ceilings that are none before it opens anything', async () => {
  const wrong = {
    'max-duration': ['0', '-1', '1.5h', '1y', 'x', '9999999999'],
    'max-offline-age': ['0', '7days', ''],
    'max-depth': ['-1', '1.5', 'x'],
    'max-log-entries': ['0', '-1', '1e7', '1k', ''],
    'max-log-size': ['0', '0GiB', '-1', '1.5GiB', '2 GiB', '2gb', '2Gi', 'GiB', '99999999TiB'],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      let err = ''
      const terminal = { out() {}, err: (text: string) => void (err += text) }
      // Whatever it did with these would be a fault of its own: exit code 2.
      const context = { terminal, backends: {} } as unknown as CliContext
      const code = await main([...SERVE, `--${name}=${value}`], context, '0')
      assert.equal(code, 1, `${name} ${value}: ${err}`)
      assert.match(
        err,
        new RegExp(`option '--${name} <.*>' argument '${value}' is invalid. not a `),
      )
    }
  }
})

test('signet serve gives and keeps no more than its flags say', () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    const times = ['--max-duration', '1h', '--max-offline-age', '10m', '--max-depth', '1']
    const logs = ['--max-log-entries', '3', '--max-log-size', '4KiB']
    const server = await startServer(folder, 0, ...times, ...logs)
    try {
      const agent = await registered(server)
      const over = { duration: '3601', offline_max_age: '601', max_depth: '2' }
      for (const [name, value] of Object.entries(over)) {
        const fields = await parFields(agent, { [name]: value })
        const { error_description: why } = await bodyOf(
          await postForm(server, '/oauth/par', fields),
          400,
        )
        assert.match(why, new RegExp(name))
      }
      const who = await device()
      const most = { duration: '3600', offline_max_age: '600', max_depth: '1' }
      const { bundle_id: id } = await granted(server, who, agent, most)
      const origin = `${new URL(server.issuer).host}/devices/${who.key.publicKey.id}`
      const log = await openLog(memoryLogStorage(), who.key, { origin })
      await Promise.all([1, 2, 3].map((i) => log.append({ type: 'note', data: { i } })))
      const sent = await asDevice(
        server,
        who,
        'POST',
        `/bundles/${id}/sync`,
        await message(log, 0, 4),
      )
      assert.deepEqual(parseSyncAnswer(await sent.text()).refused, {
        code: 'log_quota',
        entries: 3,
        bytes: 4096,
      })
    } finally {
      assert.equal(await server.stop(), 0)
    }
  }))

test('signet serve keeps what it has to itself, and says no secret but the link it was asked for', () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    const server = await startServer(folder, 0, '--sign-in', 'alice')
    try {
      if (process.platform !== 'win32') {
        assert.equal(statSync(join(folder, 'data')).mode & 0o777, 0o700)
        for (const name of ['operator.key', 'gateway.db', 'gateway.db-wal']) {
          assert.equal(statSync(join(folder, 'data', name)).mode & 0o777, 0o600, name)
        }
      }
      const answer = await granted(server, await device())
      const said = server.said()
      assert.match(said, /sign-in link of alice, for once: http:\S+code=sgin_/)
      assert.match(said, /POST \/oauth\/token 200/)
      for (const secret of [server.operator, answer.access_token, 'sgco_']) {
        assert.equal(said.includes(secret), false)
      }
    } finally {
      assert.equal(await server.stop(), 0)
    }
    const again = await startServer(folder)
    try {
      // The same operator, and nobody was given another key.
      assert.equal((await asOperator(again, 'GET', '/admin/agents')).status, 200)
      assert.doesNotMatch(again.said(), /operator's key/)
    } finally {
      await again.stop()
    }
  }))

test('a code that was redeemed before a power cut stays redeemed, and the grant is there', () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    let server = await startServer(folder)
    const who = await device()
    try {
      const agent = await registered(server)
      const code = await codeFor(server, agent)
      const fields = tokenFields(agent, code, who)
      const { bundle_id: id } = await bodyOf(await signedForm(server, who, '/oauth/token', fields))
      await server.kill()
      server = await startServer(folder, portOf(server))
      const again = await signedForm(server, who, '/oauth/token', fields)
      assert.equal((await bodyOf(again, 400)).error, 'invalid_grant')
      const { bundles } = await bodyOf(await asDevice(server, who, 'GET', '/bundles'))
      assert.deepEqual(bundles.map((one: { bundle_id: string }) => one.bundle_id), [id])
      // A request that was taken before a cut is not taken again after it.
      const request = await signed(server, who, 'GET', `/bundles/${id}`)
      assert.equal((await server.fetch(request.clone())).status, 200)
      await bodyOf(await asOperator(server, 'POST', `/admin/bundles/${id}/revoke`))
      await server.kill()
      server = await startServer(folder, portOf(server))
      await refused(server.fetch(request.clone()), 401, 'request_replayed')
      const found = await bodyOf(await asOperator(server, 'GET', `/admin/bundles/${id}`))
      assert.equal(found.state, 'revoked')
    } finally {
      await server.kill()
    }
  }))

async function message(log: Log, from: number, to: number): Promise<Uint8Array> {
  const head = await log.checkpoint()
  const parts: Uint8Array[] = []
  for await (const part of exportRange(log.view(), { start: from, end: to }, head)) {
    parts.push(part)
  }
  const claimed = { size: 0, root: defaultHasher.empty }
  return concat(formatSyncHead({ generation: 1, claimed }), ...parts)
}

/** Sends from where the server stands; false when the server is gone. */
async function sync(at: Served, who: Device, id: string, log: Log, size: number) {
  const path = `/bundles/${id}/sync`
  const ask = async (method: string, body?: Uint8Array): Promise<SyncAnswer> => {
    const answer = await asDevice(at, who, method, path, body)
    assert.equal(answer.status, 200)
    return parseSyncAnswer(await answer.text())
  }
  try {
    let { acknowledged } = await ask('GET')
    while (acknowledged.size < size) {
      const to = Math.min(size, acknowledged.size + 25)
      ;({ acknowledged } = await ask('POST', await message(log, acknowledged.size, to)))
    }
    return true
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    return false
  }
}

test('the server is killed again and again in the middle of a sync, and loses and doubles nothing', () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    let server = await startServer(folder)
    const who = await device()
    const { bundle_id: id } = await granted(server, who)
    const origin = `${new URL(server.issuer).host}/devices/${who.key.publicKey.id}`
    const log = await openLog(memoryLogStorage(), who.key, { origin })
    const SIZE = 1000
    await Promise.all(
      Array.from(
        { length: SIZE - 1 },
        (_, i) => log.append({ type: 'action.outcome', data: { i } }),
      ),
    )
    let cuts = 0
    try {
      for (let round = 0; round < 6; round++) {
        const running = server
        const cut = new Promise<void>((resolve) =>
          setTimeout(() => running.kill().then(resolve), 20 + Math.random() * 200)
        )
        const done = await sync(server, who, id, log, SIZE)
        await cut
        if (!done) cuts++
        server = await startServer(folder, portOf(server))
        if (done) break
      }
      assert.ok(cuts >= 1, `${cuts} cuts`)
      assert.equal(await sync(server, who, id, log, SIZE), true)
      const exported = await asOperator(server, 'GET', `/admin/bundles/${id}/audit`)
      const file = new Uint8Array(await exported.arrayBuffer())
      const verifier = await noteVerifier(origin, who.key.publicKey)
      const { entries } = await verifyRange(file, [verifier], { origin })
      assert.deepEqual(
        entries.map((entry) => parseEntry(entry).seq),
        Array.from({ length: SIZE }, (_, i) => i),
      )
    } finally {
      await server.kill()
    }
  }))

test('signet serve answers what is no request of ours, and goes on', () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    const server = await startServer(folder)
    try {
      const large = await send(server, 'POST', '/oauth/par', {
        body: 'x'.repeat(300_000),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
      assert.equal(large.status, 413)
      await large.text()
      assert.equal((await send(server, 'GET', '/health')).status, 200)
      assert.equal((await send(server, 'GET', '/../../etc/passwd')).status, 404)
    } finally {
      assert.equal(await server.stop(), 0)
    }
  }))
