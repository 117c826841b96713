/**
 * What the limits of a grant have counted on a device. The state file holds what was counted up to a place in the
 * log; what came after it is in the log's intents, and is counted again when the device is opened.
 */
import { SignetError } from '../errors.ts'
import { isObject, type JsonValue } from '../json.ts'
import {
  type Charge,
  type Ledger,
  type LedgerAnswer,
  type MemoryLedger,
  memoryLedger,
  type Reservation,
} from './ledger.ts'

/** An intent in the log, and what it cost. */
interface Counted {
  readonly index: number
  readonly charges: readonly Charge[]
  readonly time: number
}

/** A bound that no sum reaches: what is in the log was allowed when it happened. */
const UNBOUNDED = 10n ** 55n
const KINDS: readonly string[] = ['calls', 'rate', 'budget', 'approval']

/** The ledger of a device. */
export class DeviceLedger implements Ledger {
  /** All there is. */
  readonly #live: MemoryLedger
  /** Up to the last state only. */
  readonly #base: MemoryLedger
  /** Since then. */
  #since: Counted[] = []
  readonly #reserved = new WeakMap<Reservation, readonly Charge[]>()

  /** From what a state holds. Errors: `ledger_malformed`. */
  constructor(state?: JsonValue) {
    this.#live = memoryLedger({ state })
    this.#base = memoryLedger({ state })
  }

  /** Reserves all or nothing, at once. */
  reserve(charges: readonly Charge[], now: number): LedgerAnswer {
    const answer = this.#live.reserve(charges, now)
    if (answer.ok) this.#reserved.set(answer.reservation, charges)
    return answer
  }

  /** What the intent of a reservation has to hold, so that it can be counted again; undefined: nothing. */
  toLog(reservation: Reservation): JsonValue | undefined {
    return this.#reserved.get(reservation)?.map((
      { account, kind, amount, perSeconds, expires },
    ) => ({
      account,
      kind,
      amount: String(amount),
      per_seconds: perSeconds,
      expires,
    }))
  }

  /** The intent is in the log: what it costs stays counted, whatever becomes of the act. */
  confirm(index: number, reservation: Reservation, time: number): void {
    const charges = this.#reserved.get(reservation)
    reservation.commit()
    if (charges !== undefined) this.#since.push({ index, charges, time })
  }

  /** Counts an intent that was found in the log. Errors: `ledger_malformed`. */
  replay(index: number, logged: JsonValue, time: number): void {
    const charges = chargesOf(logged)
    count(this.#live, charges, time)
    this.#since.push({ index, charges, time })
  }

  /** What was counted by the intents before a place in the log. */
  snapshot(size: number): JsonValue {
    const folded = this.#since.filter(({ index }) => index < size)
    for (const { charges, time } of folded) count(this.#base, charges, time)
    this.#since = this.#since.filter(({ index }) => index >= size)
    return this.#base.toJson()
  }
}

function count(ledger: MemoryLedger, charges: readonly Charge[], time: number): void {
  const unbounded = charges.map((charge) => ({ ...charge, max: UNBOUNDED }))
  const answer = ledger.reserve(unbounded, time)
  // To leave it uncounted would be to allow it again.
  if (!answer.ok) throw malformed('it has no room for what the log holds')
  answer.reservation.commit()
}

function chargesOf(logged: JsonValue): Charge[] {
  if (!Array.isArray(logged)) throw malformed('the charges of an intent are no list')
  return logged.map((one: JsonValue): Charge => {
    if (!isObject(one)) throw malformed('a charge is no object')
    const { account, kind, amount, per_seconds: perSeconds, expires } = one
    if (
      typeof account !== 'string' || typeof kind !== 'string' || !KINDS.includes(kind) ||
      typeof amount !== 'string' || !/^[0-9]{1,40}$/.test(amount) || typeof expires !== 'number' ||
      perSeconds !== undefined && typeof perSeconds !== 'number'
    ) throw malformed('a charge is malformed')
    return {
      account,
      kind: kind as Charge['kind'],
      amount: BigInt(amount),
      max: UNBOUNDED,
      perSeconds,
      expires,
    }
  })
}

function malformed(why: string): SignetError {
  return new SignetError('ledger_malformed', `the ledger of the device: ${why}`)
}
