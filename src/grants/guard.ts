/**
 * Putting a tool behind a device, so that nothing of it stays callable otherwise.
 *
 * What a guard gives out is made anew: a function, or a frozen object without a prototype of the tool's. The
 * original is in no property of it, and its methods run on the original, never on the guard, so private members
 * keep working and nothing hands the original out by `this`.
 */
import { SignetError } from '../errors.ts'
import type { JsonObject, JsonValue } from '../json.ts'
import type { Device } from './device.ts'
import { copyOf } from './copies.ts'
import type { ActOptions } from './device_parts.ts'
import { reaches } from './reaches.ts'

/** What can be guarded: a function of any kind. */
// deno-lint-ignore no-explicit-any -- parameters of functions compare the wrong way round for unknown
export type GuardableFunction = (...args: any[]) => unknown

/** How a call becomes a tool and arguments. */
export interface GuardOptions<F extends GuardableFunction = GuardableFunction> {
  /** What acts. */
  readonly device: Pick<Device, 'act'>
  /** The tool, or scope: its name in the grant. */
  readonly tool?: string | undefined
  /** The same under its simple name. */
  readonly scope?: string | undefined
  /**
   * The arguments by name, as the grant constrains and the log holds them: make it tell all that matters. Default: the
   * only parameter if it is an object, else the parameters by number, from "0"; then they must be JSON. Both this
   * and the function get copies of what the caller passed, so what was judged is what is run. Where this is given
   * parameters may be other data as well (dates, bytes, maps, an `AbortSignal`); functions and instances of classes
   * are refused as `arguments_malformed`.
   */
  readonly args?: ((...params: Parameters<F>) => JsonObject) | undefined
  /** More of a call: approvals, a trace id. */
  readonly options?: ((...params: Parameters<F>) => ActOptions) | undefined
}

/** A guarded function: the same, and asynchronous. */
export type Guarded<F extends GuardableFunction> = (
  ...params: Parameters<F>
) => Promise<Awaited<ReturnType<F>>>

/** Guards one function. */
export function guard<F extends GuardableFunction>(run: F, options: GuardOptions<F>): Guarded<F> {
  const tool = toolOf(options)
  const { device, args } = options
  if (typeof run !== 'function') throw new TypeError('guard() takes a function; see guardObject()')
  const guarded = async (...params: Parameters<F>): Promise<Awaited<ReturnType<F>>> => {
    const more = options.options?.(...params) ?? {}
    const { named, call } = args === undefined ? ofJson(params, run) : ofData(params, args, run)
    return await device.act(tool, named, call, more) as Awaited<ReturnType<F>>
  }
  return Object.freeze(guarded)
}

/** What is judged, and how the tool is then called with just that. */
interface Judged {
  readonly named: JsonObject
  readonly call: (copy: JsonObject) => unknown
}

/** The device copies what is JSON itself. */
function ofJson(params: readonly unknown[], run: GuardableFunction): Judged {
  if (params.length === 1 && isPlain(params[0])) {
    return { named: params[0] as JsonObject, call: (copy) => run(copy) }
  }
  const named = Object.fromEntries(params.map((value, i) => [String(i), value as JsonValue]))
  return { named, call: (copy) => run(...params.map((_, i) => copy[String(i)])) }
}

/** Of other data the names are told of copies, and the function gets the same copies. */
function ofData(
  params: readonly unknown[],
  args: GuardableFunction,
  run: GuardableFunction,
): Judged {
  let copies: unknown[]
  try {
    copies = params.map((value) => copyOf(value))
  } catch { // no data, or getters of the caller's: the device refuses and logs it
    return { named: undefined as never, call: () => {} }
  }
  return { named: args(...copies) as JsonObject, call: () => run(...copies) }
}

/** Guards of the methods of an object, by their names. */
export type MethodGuards<T> = {
  readonly [K in keyof T]?: Omit<GuardOptions, 'device'>
}

/** A guarded object: the methods that were named, and nothing else. */
export type GuardedObject<T, G> = {
  readonly [K in keyof G & keyof T]: T[K] extends GuardableFunction ? Guarded<T[K]> : never
}

/**
 * Guards methods of an object, a class instance as well. What is not named is not there: no other method, no data,
 * no prototype. Two names that reach one effect (`invoke` and `call`) need two guards, or are left out.
 *
 * A result or an error that leads to the target by its members, however deep, is refused (`policy_denied`) after the
 * method ran. NOT seen is what a function or an iterator in a result keeps to itself: let methods return data.
 */
export function guardObject<T extends object, const G extends MethodGuards<T>>(
  target: T,
  methods: G,
  device: Pick<Device, 'act'>,
): GuardedObject<T, G> {
  const facade: Record<string, unknown> = Object.create(null)
  for (const name of Object.keys(methods)) {
    const method: unknown = Reflect.get(target, name)
    if (typeof method !== 'function') throw new TypeError(`there is no method ${name}`)
    const run = (...params: unknown[]) =>
      withoutTarget(() => Reflect.apply(method, target, params), target)
    const options = methods[name as keyof T] as Omit<GuardOptions, 'device'>
    facade[name] = guard(run, { ...options, device })
  }
  return Object.freeze(facade) as GuardedObject<T, G>
}

/** Methods that return `this`, for chaining or inside of something, would give the original away; so would errors. */
async function withoutTarget(run: () => unknown, target: object): Promise<unknown> {
  let outcome: { readonly result: unknown } | { readonly error: unknown }
  try {
    outcome = { result: await run() }
  } catch (error) {
    outcome = { error }
  }
  if (reaches(outcome, target)) {
    throw new SignetError('policy_denied', 'the tool gave itself out, unguarded')
  }
  if ('error' in outcome) throw outcome.error
  return outcome.result
}

function toolOf({ tool, scope }: GuardOptions<never>): string {
  const name = tool ?? scope
  if (typeof name === 'string' && name !== '' && (tool === undefined || scope === undefined)) {
    return name
  }
  throw new TypeError('a guard names one tool, or one scope')
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
