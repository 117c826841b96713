/**
 * What is asked for, out of the parameters of OAuth: `scope` (RFC 6749 §3.3) or `authorization_details` (RFC 9396, the
 * type of AAT), `resource` (RFC 8707), and ours: `limits`, `duration`, `offline_max_age`, `max_depth`.
 */
import { SignetError } from '../errors.ts'
import {
  DETAIL_TYPE,
  parseCapability,
  parseLimits,
  parseScopeText,
  plainScopes,
  scopesToTools,
  type ToolsJson,
} from '../grants/mod.ts'
import { isObject, type JsonObject, type JsonValue, parseJson } from '../json.ts'
import { field, type Form } from './body.ts'
import type { AgentRecord, Asked } from './records.ts'
import type { Ceilings } from './world.ts'

const DAY = 86_400
/** Anybody can push a request; it is kept, and a person has to read it. */
const MAX_DETAILS_BYTES = 32 * 1024
const MAX_URI = 2000

/**
 * Reads and checks what is asked for. Constraints and limits must be ones that every verifier of ours understands.
 * Errors: `request_malformed`, `scope_malformed`, `grant_malformed`, `constraint_unknown`, `scope_refused` (tools that
 * the agent is not registered for).
 */
export function readAsked(form: Form, agent: AgentRecord, ceilings: Ceilings): Asked {
  const tools = readTools(form)
  const names = Object.keys(tools)
  if (names.length === 0) throw malformed('no tool is asked for', 'scope')
  if (names.some((name) => agent.tools !== undefined && !agent.tools.includes(name))) {
    throw new SignetError('scope_refused', 'the agent is not registered for all of these tools')
  }
  const limits = readObject(form, 'limits')
  if (limits !== undefined) parseLimits(limits)
  return {
    tools,
    limits,
    audience: readAudience(form),
    duration: readSeconds(form, 'duration', Math.min(DAY, ceilings.duration), ceilings.duration),
    offlineAge: readSeconds(
      form,
      'offline_max_age',
      Math.min(DAY, ceilings.offlineAge),
      ceilings.offlineAge,
    ),
    maxDepth: readNumber(form, 'max_depth', 0, 0, ceilings.maxDepth),
  }
}

/** `scope` of an answer (RFC 6749 §5.1): what is granted without constraints and limits; undefined if nothing is. */
export function scopeOf({ tools, limits }: Asked): string | undefined {
  const scopes = plainScopes(tools as ToolsJson, [limits && parseLimits(limits)])
  return scopes.length === 0 ? undefined : scopes.join(' ')
}

function readTools(form: Form): JsonObject {
  const [scope, details] = [field(form, 'scope'), field(form, 'authorization_details')]
  if ((scope === undefined) === (details === undefined)) {
    throw malformed('exactly one of scope and authorization_details must be given', 'scope')
  }
  if (scope !== undefined) {
    const tools = { ...scopesToTools(parseScopeText(scope)) }
    parseCapability(tools) // no more than a grant may have
    return tools
  }
  const list = parseJson(details!, {
    what: 'authorization_details',
    maxDepth: 40,
    maxBytes: MAX_DETAILS_BYTES,
  })
  const entry: JsonValue | undefined = Array.isArray(list) && list.length === 1
    ? list[0]
    : undefined
  if (!isObject(entry) || entry.type !== DETAIL_TYPE || !isObject(entry.tools)) {
    throw malformed(`it is not one entry of type ${DETAIL_TYPE}`, 'authorization_details')
  }
  parseCapability(entry.tools)
  return entry.tools
}

function readObject(form: Form, name: string): JsonObject | undefined {
  const text = field(form, name)
  if (text === undefined) return undefined
  const value = parseJson(text, { what: name, maxDepth: 16, maxBytes: MAX_DETAILS_BYTES })
  if (isObject(value)) return value
  throw malformed('it is no JSON object', name)
}

function readAudience(form: Form): readonly string[] | undefined {
  const audience = [...form.get('resource') ?? []]
  if (audience.length === 0) return undefined
  // RFC 8707 §2: absolute, without fragment.
  const isWrong = (text: string) =>
    text.length > MAX_URI || URL.parse(text) === null || text.includes('#')
  if (audience.length > 16 || audience.some(isWrong)) {
    throw malformed('a resource is no absolute URI, or there are too many', 'resource')
  }
  return [...new Set(audience)]
}

function readSeconds(form: Form, name: string, usual: number, max: number): number {
  return readNumber(form, name, usual, 1, max)
}

function readNumber(form: Form, name: string, usual: number, min: number, max: number): number {
  const text = field(form, name)
  if (text === undefined) return usual
  const value = Number(text)
  if (/^[0-9]{1,10}$/.test(text) && value >= min && value <= max) return value
  throw malformed(`it is no whole number from ${min} to ${max}`, name)
}

function malformed(why: string, where: string): SignetError {
  return new SignetError('request_malformed', `${where}: ${why}`, { where })
}
