/** Syncs of one device at once. A message that another one overtook is that of a log that went back, to the server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import { formatSyncAnswer, refreshDevice, syncDevice } from '../../src/grants/mod.ts'
import { enrolled, makeBundle, open, T0 } from './_devices.ts'
import { syncServer } from './_sync_server.ts'

const READ = 'calendar:read'
const ORIGIN = 'grants.example/devices/1'
const nothing = () => {}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

test('a sync that is held up on its way is not taken for a log that went back', async () => {
  const { places, device } = await enrolled()
  const server = syncServer(places.key.publicKey, ORIGIN, places.now)
  await device.act(READ, {}, nothing)
  let held = false
  server.before = async () => {
    if (held) return undefined
    held = true
    await later(150)
    return undefined
  }
  const first = syncDevice(device, { fetch: server.fetch })
  while (!held) await later(1)
  await device.act(READ, {}, nothing)
  const second = syncDevice(device, { fetch: server.fetch })
  const [one, two] = await Promise.all([first, second])
  assert.ok(two.acknowledged > one.acknowledged)
  assert.equal(server.store.entries.length, two.acknowledged)
  await device.close()
})

test('a sync that waits for another one can be given up, and one that failed is no obstacle', async () => {
  const { places, device } = await enrolled()
  const server = syncServer(places.key.publicKey, ORIGIN, places.now)
  const fetch = server.fetch
  let [release, asked]: [() => void, number] = [nothing, 0]
  server.before = async () => {
    if (asked++ > 0) return undefined
    await new Promise<void>((resolve) => release = resolve)
    return new Response('', { status: 403 })
  }
  const first = syncDevice(device, { fetch })
  while (asked === 0) await later(1)
  const stop = new AbortController()
  const second = syncDevice(device, { fetch, signal: stop.signal })
  const third = syncDevice(device, { fetch })
  stop.abort()
  await assert.rejects(second, { code: 'aborted' })
  assert.equal(asked, 1, 'the third waits for the first')
  release()
  await assert.rejects(first, { code: 'sync_refused' })
  assert.ok((await third).acknowledged > 0)
  await device.close()
})

test('a server that loses again and again what it took is given up', async () => {
  const { places, device } = await enrolled()
  const server = syncServer(places.key.publicKey, ORIGIN, places.now)
  for (let i = 0; i < 3; i++) await device.act(READ, {}, nothing)
  await device.log!.checkpoint()
  const view = device.log!.view()
  server.before = async (_, n) => {
    assert.ok(n < 50, 'it does not end')
    const size = n % 2 === 0 ? 4 : 2
    const acknowledged = { size, root: await view.hash({ start: 0, end: size }) }
    const { status } = server
    return new Response(formatSyncAnswer({ acknowledged, verdicts: [], log: 'consistent', status }))
  }
  await assert.rejects(syncDevice(device, { fetch: server.fetch }), (error) => {
    return isSignetError(error, 'sync_failed') && /takes no entries/.test(error.message)
  })
  await device.close()
})

test('what the server says of one bundle does nothing to another that came meanwhile', async () => {
  for (const ways of ['sync', 'refresh'] as const) {
    const { places, device } = await enrolled()
    const server = syncServer(places.key.publicKey, ORIGIN, places.now)
    const ask = () =>
      ways === 'sync'
        ? syncDevice(device, { fetch: server.fetch })
        : refreshDevice(device, { fetch: server.fetch })
    const next = await makeBundle(places.key, { generation: 2, issuedAt: T0 + 18 })
    const sync = 'https://grants.example/bundles/bundle-2'
    const other = await makeBundle(places.key, { id: 'bundle-2', issuedAt: T0 + 10, sync })
    server.bundle = next
    server.refreshed = () => Promise.resolve({ bundle: next })
    server.after = async (response, n) => {
      if (n === 1) await device.enroll(other)
      return response
    }
    await ask()
    assert.equal(device.bundle?.id, 'bundle-2', ways)
    await device.enroll(await makeBundle(places.key, { generation: 3, issuedAt: T0 + 30 }))
    assert.equal(device.bundle?.id, 'bundle-1')

    server.bundle = undefined
    server.status = { state: 'revoked', at: T0, reason: 'lost' }
    server.refreshed = () => Promise.resolve({ status: server.status })
    const again = await makeBundle(places.key, { id: 'bundle-2', issuedAt: T0 + 40, sync })
    server.after = async (response) => {
      if (device.bundle?.id === 'bundle-1') await device.enroll(again)
      return response
    }
    await ask().catch(() => {})
    assert.deepEqual([device.bundle?.id, device.revoked], ['bundle-2', undefined], ways)
    await device.close()
    const reopened = await open(places)
    assert.equal(reopened.revoked, undefined)
    // It is known of the one that it was said of.
    await reopened.enroll(await makeBundle(places.key, { generation: 4, issuedAt: T0 + 50 }))
    assert.deepEqual(reopened.revoked, { at: T0, reason: 'lost' }, ways)
    await reopened.close()
  }
})
