/** What a memory of publishers is, said as tests: every {@link PublishersMemory} passes this suite. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { generateKey } from '../../src/keys/mod.ts'
import {
  acceptPublishers,
  addOwner,
  newPublishers,
  type PublishersMemory,
  type PublishersState,
  revisePublishers,
  revokeKey,
  signPublishers,
} from '../../src/models/mod.ts'

const NOW = 1_800_000_000

/** Registers the tests of one memory. `fresh` gives an empty one, and another handle on the same store. */
export function publishersMemorySuite(
  name: string,
  fresh: () => Promise<readonly [PublishersMemory, PublishersMemory]>,
): void {
  const stage = async () => {
    const [owner, heir] = await Promise.all([
      generateKey(ALGORITHMS['Ed25519']),
      generateKey(ALGORITHMS['Ed25519']),
    ])
    const lists = [newPublishers({ name: 'list', owners: [owner.publicKey], issued: NOW })]
    for (let i = 1; i < 9; i++) lists.push(revisePublishers(lists.at(-1)!, { issued: NOW }))
    const files = await Promise.all(lists.map((list) => signPublishers(list, [owner])))
    const first = { owners: [owner.publicKey], now: NOW }
    return { owner, heir, lists, files, first }
  }

  test(`${name}: forgets nothing, and takes nothing for known that is not`, async () => {
    const { files, first } = await stage()
    const [memory, other] = await fresh()
    assert.equal(await memory.read('a'), undefined)
    await assert.rejects(acceptPublishers(files[0]!, memory, 'a', { now: NOW }), {
      code: 'publishers_untrusted',
    })
    assert.equal(await memory.read('a'), undefined, 'what was refused is not remembered')
    await acceptPublishers(files[3]!, memory, 'a', first)
    assert.equal((await other.read('a'))!.version, 4)
    await assert.rejects(acceptPublishers(files[2]!, other, 'a', first), {
      code: 'publishers_rollback',
    })
    await acceptPublishers(files[4]!, other, 'a', { now: NOW })
    assert.equal((await memory.read('a'))!.version, 5)
    assert.equal(await memory.read('A'), undefined, 'ids are told apart letter by letter')
    assert.equal(await memory.read('../a'), undefined)
  })

  test(`${name}: an owner named later does not replace the one remembered`, async () => {
    const { heir, files, first } = await stage()
    const [memory] = await fresh()
    await acceptPublishers(files[0]!, memory, 'a', first)
    const stolen = newPublishers({ name: 'list', owners: [heir.publicKey], issued: NOW })
    const file = await signPublishers({ ...stolen, version: 9 }, [heir])
    await assert.rejects(
      acceptPublishers(file, memory, 'a', { owners: [heir.publicKey], now: NOW }),
      { code: 'publishers_untrusted' },
    )
    assert.equal((await memory.read('a'))!.version, 1)
  })

  test(`${name}: writes only in the place of what the writer saw`, async () => {
    const { files, first } = await stage()
    const [memory, other] = await fresh()
    const states: PublishersState[] = []
    for (const file of files.slice(0, 3)) {
      const [scratch] = [(await fresh())[0]]
      states.push((await acceptPublishers(file, scratch, 'x', first)).state)
    }
    const [one, two, three] = states as [PublishersState, PublishersState, PublishersState]
    assert.equal(await memory.write('a', two, one), false, 'nothing stands there yet')
    assert.equal(await memory.read('a'), undefined)
    assert.equal(await memory.write('a', one, undefined), true)
    assert.equal(await other.write('a', two, undefined), false)
    assert.equal(await other.write('a', two, one), true)
    assert.equal(await memory.write('a', three, one), false)
    assert.equal((await memory.read('a'))!.version, 2)
    assert.equal(await memory.read('b'), undefined)
  })

  test(`${name}: of many at once, one writes`, async () => {
    const { files, first } = await stage()
    const [memory, other] = await fresh()
    const scratch = (await fresh())[0]
    const { state } = await acceptPublishers(files[0]!, scratch, 'x', first)
    const writes = Array.from(
      { length: 20 },
      (_, i) => (i % 2 ? memory : other).write('a', state, undefined),
    )
    assert.equal((await Promise.all(writes)).filter((written) => written).length, 1)
  })

  test(`${name}: versions accepted at once never go back`, async () => {
    const { files, first } = await stage()
    for (let round = 0; round < 5; round++) {
      const [memory, other] = await fresh()
      const order = files.map((file, i) => ({ file, i, key: (i * 7 + round * 3) % 11 }))
        .sort((a, b) => a.key - b.key)
      const outcomes = await Promise.allSettled(
        order.map(({ file }, n) => acceptPublishers(file, n % 2 ? memory : other, 'a', first)),
      )
      outcomes.forEach((outcome, n) => {
        if (outcome.status === 'rejected') {
          assert.equal(outcome.reason.code, 'publishers_rollback')
        } else assert.equal(outcome.value.state.version, order[n]!.i + 1)
      })
      assert.equal((await memory.read('a'))!.version, files.length)
    }
  })

  test(`${name}: an owner who was replaced while somebody else signed is out`, async () => {
    const { owner, heir, lists, files, first } = await stage()
    const given = revokeKey(addOwner(lists[1]!, heir.publicKey), owner.publicKey.id, NOW)
    const handover = await signPublishers(given, [owner, heir])
    const late = await signPublishers(lists[2]!, [owner])
    for (let round = 0; round < 10; round++) {
      const [memory, other] = await fresh()
      await acceptPublishers(files[0]!, memory, 'a', first)
      const seen: number[] = []
      const accept = async (file: Uint8Array, through: PublishersMemory) => {
        const { state } = await acceptPublishers(file, through, 'a', { now: NOW })
        seen.push(state.version)
      }
      await Promise.allSettled(
        round % 2
          ? [accept(handover, memory), accept(late, other)]
          : [accept(late, other), accept(handover, memory)],
      )
      // version 3 of the old owner first, and then 2 is a rollback; or 2, and then the old owner is out
      assert.equal(seen.length, 1)
      assert.equal((await memory.read('a'))!.version, seen[0])
    }
  })
}
