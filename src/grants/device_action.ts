/** One action that was allowed: an entry that it begins, the tool, and an entry that tells how it ended. */
import { isSignetError, SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Log, LogEvent } from '../log/mod.ts'
import { argumentDigest, type ReadArguments } from './arguments.ts'
import type { VerifiedBundle } from './bundle.ts'
import type { DeviceMemory } from './device_memory.ts'
import type { ActContext, ActOptions, DeviceSettings } from './device_parts.ts'
import type { Reservation } from './ledger.ts'
import type { VerifiedGrant } from './verified.ts'

/** An action that nothing speaks against, and by what it was judged. */
export interface AllowedAction {
  readonly tool: string
  readonly args: ReadArguments
  readonly bundle: VerifiedBundle
  readonly grant: VerifiedGrant
  /** What it costs; not yet spent. */
  readonly reservation: Reservation
  /** The time that was judged by. */
  readonly time: number
  /** As `DeviceSettings.record` says. */
  readonly record: DeviceSettings['record']
}

/** Logs the intent, runs, and logs the outcome. Errors: see `Device.act`. */
export async function perform<T>(
  memory: DeviceMemory,
  log: Log,
  action: AllowedAction,
  run: (args: JsonObject, context: ActContext) => T | Promise<T>,
  options: ActOptions,
): Promise<T> {
  const { tool, args, grant } = action
  const intent = await begin(memory, log, action, options)
  const end = (outcome: string, data?: JsonObject) =>
    finish(memory, log, intent, { type: 'action.outcome', action: tool, outcome }, data)
  let result: T
  try {
    result = await run(args.value, { intent, grant: grant.id, signal: options.signal })
  } catch (error) {
    await end('error', { error: nameOf(error) })
    throw error
  }
  await end('ok')
  return result
}

/** From here on it costs what it costs, whatever becomes of it. Gives the intent's index. */
async function begin(
  memory: DeviceMemory,
  log: Log,
  action: AllowedAction,
  { trace, signal }: ActOptions,
): Promise<number> {
  const { tool, args, bundle, grant, reservation, time, record } = action
  const event: LogEvent = {
    type: 'action.intent',
    action: tool,
    ref: grant.id,
    trace,
    data: {
      bundle: bundle.id,
      generation: bundle.generation,
      at: time,
      ...argumentData(args, record),
      charges: memory.ledger.toLog(reservation),
    },
    private: record === 'private' ? { args: args.value } : undefined,
  }
  let index: number
  try {
    if (signal?.aborted) throw new SignetError('aborted', 'cancelled by the caller')
    index = (await log.append(event)).index
  } catch (error) {
    // In doubt it may be in the log after all, and would be counted when the device is opened again.
    if (!isSignetError(error, 'log_in_doubt')) await reservation.release()
    throw error
  }
  memory.ledger.confirm(index, reservation, time)
  memory.begun(index)
  memory.acted(index, time)
  return index
}

async function finish(
  memory: DeviceMemory,
  log: Log,
  intent: number,
  event: LogEvent,
  more?: JsonObject,
): Promise<void> {
  const time = Math.max(memory.now, memory.state.newestTime)
  try {
    const data = { at: time, ...more }
    const { index } = await log.append({ ...event, ref: `${intent}`, data })
    memory.ended(intent, index)
    memory.acted(index, time)
  } catch (cause) {
    throw new SignetError(
      'outcome_not_logged',
      `the tool ran (${event.outcome}), and the log could not take its outcome`,
      { cause, where: `entry ${intent}`, remedy: 'do not repeat the action before you know' },
    )
  }
}

/** What an intent says in the open of the arguments. */
function argumentData({ text, value }: ReadArguments, record: DeviceSettings['record']) {
  if (record === 'plain') return { args: value }
  return record === 'private' ? {} : { digest: argumentDigest(text) }
}

/** The kind of an error, for the log: its message may hold anything. */
function nameOf(error: unknown): string {
  if (isSignetError(error)) return error.code
  return error instanceof Error ? error.name.slice(0, 64).toWellFormed() : typeof error
}
