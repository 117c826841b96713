/** Logs of devices, and the messages that bring them to a gateway. */
import assert from 'node:assert/strict'
import { concat } from '../../src/bytes.ts'
import { formatSyncHead, parseSyncAnswer, type SyncAnswer } from '../../src/grants/mod.ts'
import {
  defaultHasher,
  exportRange,
  type Log,
  memoryLogStorage,
  openLog,
} from '../../src/log/mod.ts'
import { asDevice, type Device, type Place } from './_gateway.ts'

export const originOf = (who: Device): string => `gateway.example/devices/${who.key.publicKey.id}`

/** A log of so many entries; the first is the log's own. */
export async function logOf(who: Device, count: number, now: number): Promise<Log> {
  let time = now * 1000
  const log = await openLog(memoryLogStorage(), who.key, {
    origin: originOf(who),
    clock: () => time++,
  })
  await more(log, count - 1)
  return log
}

export async function more(log: Log, count: number, note = ''): Promise<void> {
  await Promise.all(
    Array.from(
      { length: count },
      (_, i) => log.append({ type: 'action.outcome', data: { i, note } }),
    ),
  )
}

/** A message with entries `from` to `to`, all by default. */
export async function message(
  log: Log,
  from = 0,
  to?: number,
  generation = 1,
  more = '',
): Promise<Uint8Array> {
  const made = await log.checkpoint()
  const head = { ...made, note: made.note + more }
  const parts: Uint8Array[] = []
  for await (const part of exportRange(log.view(), { start: from, end: to ?? head.size }, head)) {
    parts.push(part)
  }
  const claimed = { size: 0, root: defaultHasher.empty }
  return concat(formatSyncHead({ generation, claimed }), ...parts)
}

/** What the gateway answers to a message. */
export async function sync(
  at: Place,
  who: Device,
  id: string,
  body: Uint8Array,
): Promise<SyncAnswer> {
  const answer = await asDevice(at, who, 'POST', `/bundles/${id}/sync`, body)
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  return parseSyncAnswer(text)
}
