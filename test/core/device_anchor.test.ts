import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SignetError } from '../../src/errors.ts'
import { peekDevice } from '../../src/grants/mod.ts'
import { type LogAnchor, memoryAnchor, memoryLogStorage } from '../../src/log/mod.ts'
import { enrolled, makeBundle, newPlaces, open, type Places, trusted } from './_devices.ts'

const READ = 'calendar:read'
const nothing = () => {}

/** Another device of the same key, with one bundle. */
async function twinOf({ key }: Places): Promise<Places> {
  const twin = { ...await newPlaces(), key }
  const device = await open(twin)
  await device.enroll(await makeBundle(key))
  await device.close()
  return twin
}

function peek(places: Places, anchor: LogAnchor | undefined) {
  return peekDevice({ ...places, trusted, anchor, clock: () => places.now * 1000 })
}

test('openDevice() refuses to begin anew where the anchor knows of a log', async () => {
  const anchor = memoryAnchor()
  const { places, device } = await enrolled({}, { anchor })
  await device.close()
  const empty = { ...await newPlaces(), key: places.key }
  await assert.rejects(open(empty, { anchor }), { code: 'log_rolled_back' })
  // Neither does the sealed state alone make a device.
  const stateOnly = { ...empty, storage: places.storage }
  await assert.rejects(open(stateOnly, { anchor }), { code: 'log_rolled_back' })
  const again = await open(places, { anchor })
  assert.ok(again.report().ok)
  await again.close()
})

test('openDevice() anchors a log that had no anchor', async () => {
  const { places, device } = await enrolled()
  await device.close()
  const anchor = memoryAnchor()
  await (await open(places, { anchor })).close()
  assert.notEqual(await anchor.load(), undefined)
  await assert.rejects(open(await twinOf(places), { anchor }), { code: 'log_replaced' })
})

test('openDevice() fails, and lets go of the log, where the anchor takes or gives nothing', async () => {
  const { places, device } = await enrolled()
  await device.close()
  const fault = () => Promise.reject(new SignetError('io_failed', 'full'))
  const anchors: LogAnchor[] = [
    { load: () => Promise.resolve(undefined), store: fault },
    { load: fault, store: () => Promise.resolve() },
  ]
  for (const anchor of anchors) {
    await assert.rejects(open(places, { anchor }), { code: 'io_failed' })
    const again = await open(places)
    await again.act(READ, {}, nothing)
    await again.close()
  }
})

test('peekDevice() compares what is published with the anchor, and reads nothing else of the log', async () => {
  const anchor = memoryAnchor()
  const { places, device } = await enrolled({}, { anchor })
  await device.act(READ, {}, nothing)
  await device.log!.checkpoint()
  // The log has a writer all the while.
  assert.ok((await peek(places, anchor)).report.ok)
  assert.ok((await peek({ ...places, log: memoryLogStorage() }, undefined)).report.ok)
  await assert.rejects(peek({ ...places, log: memoryLogStorage() }, anchor), {
    code: 'log_rolled_back',
  })
  await assert.rejects(peek(await twinOf(places), anchor), { code: 'log_replaced' })
  const other = await enrolled()
  await other.device.close()
  await assert.rejects(peek({ ...places, log: other.places.log }, anchor), {
    code: 'log_replaced',
  })
  await device.close()
})
