/**
 * What a token allows: tools, and for each a map from arguments to constraints (draft §3.3). An empty map allows
 * the tool with any arguments. A map with anything in it is closed: each argument it names must be there, and no
 * other may be.
 */
import { quoted } from '../errors.ts'
import { isObject, type JsonObject, type JsonValue } from '../json.ts'
import {
  type Constraint,
  type ConstraintExtensions,
  NO_EXTENSIONS,
  parseConstraint,
  satisfies,
} from './constraints.ts'
import { isName, malformed, MAX_CONSTRAINTS, MAX_TOOLS, type Place } from './sizes.ts'
import { subsumes } from './subsumption.ts'

/** Constraints by argument. */
export type ArgumentMap = ReadonlyMap<string, Constraint>

/** What is allowed: argument maps by tool. */
export type Capability = ReadonlyMap<string, ArgumentMap>

/** `tools` as JSON: tool → argument → constraint. */
export type ToolsJson = { readonly [tool: string]: { readonly [argument: string]: JsonObject } }

/** Nothing at all. */
export const NO_CAPABILITY: Capability = new Map()

/** Why a call is not covered. */
export type CallRefusal =
  | 'tool_denied'
  | 'argument_missing'
  | 'argument_unexpected'
  | 'argument_denied'
  | 'arguments_malformed'

/** An answer about a call. `reason` names tools and arguments, and never a value. */
export type CallDecision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly code: CallRefusal; readonly reason: string }

/** Reads a `tools` map. Errors: `grant_malformed`, `constraint_unknown`. */
export function parseCapability(
  json: JsonValue | undefined,
  extensions: ConstraintExtensions = NO_EXTENSIONS,
): Capability {
  if (!isObject(json)) throw malformed('"tools" is not an object', 'tools')
  const names = Object.keys(json)
  if (names.length > MAX_TOOLS) throw malformed(`more than ${MAX_TOOLS} tools`, 'tools')
  const capability = new Map<string, ArgumentMap>()
  for (const tool of names) {
    if (!isName(tool)) throw malformed('a tool has no proper name', 'tools')
    capability.set(tool, parseArguments(json[tool], { inside: 'tools', at: tool }, extensions))
  }
  return capability
}

function parseArguments(
  json: JsonValue | undefined,
  where: Place,
  extensions: ConstraintExtensions,
): ArgumentMap {
  if (!isObject(json)) throw malformed('the constraints of a tool are not an object', where)
  const map = new Map<string, Constraint>()
  const count = { left: MAX_CONSTRAINTS }
  for (const name of Object.keys(json)) {
    if (!isName(name)) throw malformed('an argument has no proper name', where)
    map.set(name, parseConstraint(json[name], { inside: where, at: name }, extensions, count))
  }
  return map
}

/** A capability as the JSON it was read from. */
export function capabilityToJson(capability: Capability): ToolsJson {
  return Object.fromEntries(
    Array.from(capability, ([tool, map]) => [
      tool,
      Object.fromEntries(Array.from(map, ([name, { json }]) => [name, json])),
    ]),
  )
}

/** Whether a call is covered (draft §7 step 6b). Total: hostile arguments give a refusal. */
export function checkCall(capability: Capability, tool: string, args: unknown): CallDecision {
  const map = capability.get(tool)
  if (map === undefined) return refused('tool_denied', `tool ${name(tool)} is not granted`)
  try {
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      return refused('arguments_malformed', `the arguments of ${name(tool)} are not an object`)
    }
    if (map.size === 0) return ALLOWED
    if (!isPlain(args)) {
      return refused('arguments_malformed', `the arguments of ${name(tool)} are not a plain object`)
    }
    // All that is there: what is not enumerable, or named by a symbol, would reach the tool too.
    for (const argument of Reflect.ownKeys(args)) {
      if (typeof argument !== 'string' || !map.has(argument)) {
        return refused('argument_unexpected', `${name(tool)} takes no argument ${name(argument)}`)
      }
    }
    for (const [argument, constraint] of map) {
      const value: unknown = Object.hasOwn(args, argument)
        ? (args as Record<string, unknown>)[argument]
        : undefined
      if (value === undefined) {
        return refused('argument_missing', `${name(tool)} needs the argument ${name(argument)}`)
      }
      if (!satisfies(constraint, value)) {
        return refused(
          'argument_denied',
          `the argument ${name(argument)} of ${name(tool)} is outside of what is granted`,
        )
      }
    }
  } catch { // a getter or a proxy of the caller's
    return refused('arguments_malformed', `the arguments of ${name(tool)} cannot be read`)
  }
  return ALLOWED
}

const ALLOWED: CallDecision = Object.freeze({ allowed: true })

function refused(code: CallRefusal, reason: string): CallDecision {
  return { allowed: false, code, reason }
}

function name(text: unknown): string {
  return typeof text === 'string' ? quoted(text) : `that is no text but a ${typeof text}`
}

/** An object without a prototype, or with that of object literals (of any realm): it inherits no arguments. */
function isPlain(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value)
  return prototype === null ||
    Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'hasOwnProperty')
}

/** What makes a child wider than its parent; undefined if nothing does (I4). */
export function widening(parent: Capability, child: Capability): string | undefined {
  for (const [tool, map] of child) {
    const above = parent.get(tool)
    if (above === undefined) return `tool ${name(tool)} is not the parent's`
    if (above.size === 0) continue
    // Closed world: with another set of arguments the child would accept calls that the parent refuses.
    if (map.size !== above.size) return `tool ${name(tool)} has other arguments than the parent's`
    for (const [argument, constraint] of map) {
      const bound = above.get(argument)
      if (bound === undefined) return `tool ${name(tool)} has other arguments than the parent's`
      if (!subsumes(bound, constraint)) {
        return `argument ${name(argument)} of tool ${name(tool)} is not narrower than the parent's`
      }
    }
  }
  return undefined
}
