/** What every store of a witness must do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WitnessStore } from '../../src/log/mod.ts'

/** A place for one store. */
export interface WitnessPlace {
  /** The store as a process sees it that just started. */
  open(): WitnessStore
  /** Removes the place. */
  remove(): void
}

/** Runs the suite. */
export function witnessStoreSuite(name: string, place: () => WitnessPlace): void {
  const on = (title: string, fn: (place: WitnessPlace) => Promise<void>) =>
    test(`${name} of a witness: ${title}`, async () => {
      const where = place()
      try {
        await fn(where)
      } finally {
        where.remove()
      }
    })

  on('swap refuses what is not what is kept', async (place) => {
    const store = place.open()
    assert.equal(await store.load('a'), undefined)
    assert.equal(await store.swap('a', 'x', 'y'), false)
    assert.equal(await store.load('a'), undefined)
    assert.equal(await store.swap('a', undefined, 'one'), true)
    assert.equal(await store.swap('a', undefined, 'two'), false)
    assert.equal(await store.swap('a', 'two', 'three'), false)
    assert.equal(await store.load('a'), 'one')
    assert.equal(await store.swap('a', 'one', 'two'), true)
    assert.equal(await store.load('a'), 'two')
  })

  on('logs are kept apart', async (place) => {
    const store = place.open()
    assert.equal(await store.swap('a', undefined, 'of a'), true)
    assert.equal(await store.swap('b', undefined, 'of b'), true)
    assert.equal(await store.load('a'), 'of a')
    assert.equal(await store.load("a' OR 1=1 --"), undefined)
  })

  on('of many that swap at once one wins, and what it wrote stays', async (place) => {
    const stores = [place.open(), place.open()]
    await stores[0]!.swap('a', undefined, 'start')
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => stores[i % 2]!.swap('a', 'start', `${i}`)),
    )
    assert.equal(results.filter((won) => won).length, 1)
    assert.equal(await place.open().load('a'), `${results.indexOf(true)}`)
  })
}
