/**
 * Counts what limits limit. Before the act everything that it costs is reserved at once, or nothing is; afterwards the
 * reservation is kept or given back. One that is neither, because the machine stopped, stays counted: whether the act
 * happened is then for whoever reads the log to say.
 */
import { quoted, SignetError } from '../errors.ts'
import { isObject, type JsonObject, type JsonValue } from '../json.ts'

/** One thing to be counted. */
export interface Charge {
  /** What it is counted on: link, kind and tool. */
  readonly account: string
  /** What kind of limit it is. */
  readonly kind: 'calls' | 'rate' | 'budget' | 'approval'
  /** How much: calls, or billionths of a budget's unit. Not negative. */
  readonly amount: bigint
  /** How much there may be in all, or in any span of `perSeconds`. */
  readonly max: bigint
  /** Span of a rate, in seconds. */
  readonly perSeconds?: number | undefined
  /** When nobody can ask for it any more, in seconds; the account may then be forgotten. */
  readonly expires: number
}

/** An answer to a reservation. */
export type LedgerAnswer =
  | { readonly ok: true; readonly reservation: Reservation }
  | { readonly ok: false; readonly kind: Charge['kind'] | 'full'; readonly account: string }

/** What was reserved. The first of `commit` and `release` counts. */
export interface Reservation {
  /** Its name in the ledger; empty when nothing had to be reserved. */
  readonly id: string
  /** Keeps it: the act happened, or may have happened. */
  commit(): void | Promise<void>
  /** Gives it back: the act certainly did not happen. */
  release(): void | Promise<void>
}

/** Counts. `reserve` is atomic: of two at once that fit only singly, one gets it. */
export interface Ledger {
  /** Reserves all charges or none. A ledger that cannot tell throws, and the call is denied. */
  reserve(charges: readonly Charge[], now: number): LedgerAnswer | Promise<LedgerAnswer>
}

/** A ledger in memory whose state can be kept elsewhere. All of it is synchronous, and so atomic. */
export interface MemoryLedger extends Ledger {
  /** As {@link Ledger.reserve}, at once. */
  reserve(charges: readonly Charge[], now: number): LedgerAnswer
  /** Keeps or gives back a reservation by name; false if there is none of it (any more). */
  settle(id: string, how: 'commit' | 'release'): boolean
  /** Names of the reservations that are neither kept nor given back. */
  open(): string[]
  /** The whole state. */
  toJson(): JsonObject
}

/** Options of {@link memoryLedger}. */
export interface MemoryLedgerOptions {
  /** A state to go on from: {@link MemoryLedger.toJson}. */
  readonly state?: JsonValue | undefined
  /** Most accounts. Default 100 000. */
  readonly capacity?: number | undefined
}

interface Account {
  /** Kept and reserved; for a rate: undefined. */
  total: bigint
  /** Of a rate: calls by slot. */
  readonly slots: Map<number, bigint>
  expires: number
}

interface Hold {
  readonly account: string
  readonly amount: bigint
  readonly slot: number | undefined
}

/**
 * A rate counts in slots of this part of its span. All slots that touch the span count whole, so no span ever holds
 * more than it may; at the edge a call may be refused one slot too early.
 */
const SLOTS = 64

/** A ledger in memory. Errors: `ledger_malformed` (of `state`). */
export function memoryLedger(options: MemoryLedgerOptions = {}): MemoryLedger {
  const { capacity = 100_000, state } = options
  const read = state === undefined ? undefined : readState(state)
  const accounts: Map<string, Account> = read?.accounts ?? new Map()
  const holds: Map<string, readonly Hold[]> = read?.holds ?? new Map()
  let forgottenTo = read?.forgottenTo ?? -Infinity
  let serial = read?.serial ?? 0

  const forget = (now: number) => {
    for (const [name, { expires }] of accounts) if (expires < now) accounts.delete(name)
    forgottenTo = Math.max(forgottenTo, now)
  }

  const settle = (id: string, how: 'commit' | 'release') => {
    const held = holds.get(id)
    if (held === undefined) return false
    holds.delete(id)
    if (how === 'release') {
      for (const { account, amount, slot } of held) {
        const found = accounts.get(account)
        if (found === undefined) continue
        if (slot === undefined) found.total -= amount
        else found.slots.set(slot, (found.slots.get(slot) ?? amount) - amount)
      }
    }
    return true
  }

  return {
    settle,
    open: () => [...holds.keys()],
    reserve(charges, now) {
      // Two charges on one account in one call would each look at the state before the other.
      if (new Set(charges.map(({ account }) => account)).size !== charges.length) {
        throw new TypeError('two charges on one account')
      }
      for (const charge of charges) {
        if (charge.amount < 0n) throw new TypeError('a negative charge')
        if (!fits(accounts.get(charge.account), charge, now)) {
          return { ok: false, kind: charge.kind, account: charge.account }
        }
      }
      const fresh = charges.filter(({ account }) => !accounts.has(account))
      if (fresh.length > 0 && accounts.size + fresh.length > capacity) forget(now)
      for (const { account, expires } of fresh) {
        // An account that was forgotten must not begin anew when the clock is set back.
        if (expires < forgottenTo || accounts.size + fresh.length > capacity) {
          return { ok: false, kind: 'full', account }
        }
      }
      const id = String(++serial)
      holds.set(id, charges.map((charge) => take(accounts, charge, now)))
      return {
        ok: true,
        reservation: {
          id,
          commit: () => void settle(id, 'commit'),
          release: () => void settle(id, 'release'),
        },
      }
    },
    toJson: () => ({
      serial,
      ...Number.isFinite(forgottenTo) ? { forgotten_to: forgottenTo } : {},
      accounts: [...accounts].map(([name, { total, slots, expires }]) => ({
        name,
        expires,
        total: String(total),
        slots: [...slots].map(([slot, calls]) => [slot, String(calls)]),
      })),
      holds: [...holds].map(([id, held]) => ({
        id,
        charges: held.map(({ account, amount, slot }) => ({
          account,
          amount: String(amount),
          ...slot === undefined ? {} : { slot },
        })),
      })),
    }),
  }
}

function slotOf(time: number, perSeconds: number): number {
  return Math.floor(time / (perSeconds / SLOTS))
}

function fits(account: Account | undefined, charge: Charge, now: number): boolean {
  let used = account?.total ?? 0n
  if (charge.perSeconds !== undefined) {
    used = 0n
    // Slots of the future count too: the clock was set back.
    const first = slotOf(now - charge.perSeconds, charge.perSeconds)
    for (const [slot, calls] of account?.slots ?? []) if (slot >= first) used += calls
  }
  return used + charge.amount <= charge.max
}

function take(accounts: Map<string, Account>, charge: Charge, now: number): Hold {
  let account = accounts.get(charge.account)
  if (account === undefined) {
    account = { total: 0n, slots: new Map(), expires: charge.expires }
    accounts.set(charge.account, account)
  }
  account.expires = Math.max(account.expires, charge.expires)
  if (charge.perSeconds === undefined) {
    account.total += charge.amount
    return { account: charge.account, amount: charge.amount, slot: undefined }
  }
  const slot = slotOf(now, charge.perSeconds)
  account.slots.set(slot, (account.slots.get(slot) ?? 0n) + charge.amount)
  const first = slotOf(now - charge.perSeconds, charge.perSeconds)
  for (const old of account.slots.keys()) if (old < first) account.slots.delete(old)
  return { account: charge.account, amount: charge.amount, slot }
}

interface State {
  readonly accounts: Map<string, Account>
  readonly holds: Map<string, readonly Hold[]>
  readonly forgottenTo: number
  readonly serial: number
}

function readState(json: JsonValue): State {
  if (!isObject(json)) throw malformedState('not an object')
  return {
    serial: wholeOf(json.serial, 'serial'),
    forgottenTo: json.forgotten_to === undefined
      ? -Infinity
      : numberOf(json.forgotten_to, 'forgotten_to'),
    accounts: new Map(
      listOf(json.accounts, 'accounts').map((one) => [textOf(one.name, 'name'), {
        expires: numberOf(one.expires, 'expires'),
        total: unitsOf(one.total, 'total'),
        slots: new Map(pairsOf(one.slots)),
      }]),
    ),
    holds: new Map(
      listOf(json.holds, 'holds').map((one) => [
        textOf(one.id, 'id'),
        listOf(one.charges, 'charges').map((charge) => ({
          account: textOf(charge.account, 'account'),
          amount: unitsOf(charge.amount, 'amount'),
          slot: charge.slot === undefined ? undefined : wholeOf(charge.slot, 'slot'),
        })),
      ]),
    ),
  }
}

function listOf(value: JsonValue | undefined, what: string): readonly JsonObject[] {
  if (Array.isArray(value) && value.every(isObject)) return value
  throw malformedState(what)
}

function pairsOf(value: JsonValue | undefined): [number, bigint][] {
  if (!Array.isArray(value)) throw malformedState('slots')
  return value.map((pair: JsonValue) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw malformedState('slots')
    return [wholeOf(pair[0], 'slots'), unitsOf(pair[1], 'slots')]
  })
}

function textOf(value: JsonValue | undefined, what: string): string {
  if (typeof value === 'string') return value
  throw malformedState(what)
}

function numberOf(value: JsonValue | undefined, what: string): number {
  if (typeof value === 'number') return value
  throw malformedState(what)
}

function wholeOf(value: JsonValue | undefined, what: string): number {
  if (Number.isSafeInteger(value)) return value as number
  throw malformedState(what)
}

function unitsOf(value: JsonValue | undefined, what: string): bigint {
  if (typeof value === 'string' && /^\d{1,60}$/.test(value)) return BigInt(value)
  throw malformedState(what)
}

function malformedState(what: string): SignetError {
  return new SignetError('ledger_malformed', `the state of a ledger: ${quoted(what)} is malformed`)
}
