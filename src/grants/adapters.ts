/**
 * Guards for tools in the shapes of others: handlers of MCP servers, and tools of the Vercel AI SDK. The shapes are
 * described here as far as they matter, so nothing of theirs is needed.
 */
import { isSignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import type { Device } from './device.ts'
import type { ActOptions } from './device_parts.ts'

/** The tool's name in the grant, and who acts. */
export interface AdapterOptions {
  /** What acts. */
  readonly device: Pick<Device, 'act'>
  /** The tool, or scope: its name in the grant. */
  readonly tool: string
}

/** The result of an MCP tool, as far as it matters here. */
export interface McpToolResult {
  /** What the model reads. */
  readonly content: readonly { readonly type: string; readonly [member: string]: unknown }[]
  /** True: the tool says that it failed. */
  readonly isError?: boolean | undefined
  /** Whatever else there is. */
  readonly [member: string]: unknown
}

/** What an MCP server passes along, as far as it matters here. */
export interface McpExtra {
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
  /** Meta data of the request; `signet/approvals` holds approvals of this call. */
  readonly _meta?: { readonly [name: string]: unknown } | undefined
}

/** A handler of an MCP tool with arguments. */
export type McpHandler<A, E, R> = (args: A, extra: E) => R | Promise<R>

/** A handler of an MCP tool that takes no arguments: servers call it with `extra` alone. */
export type BareMcpHandler<E, R> = (extra: E) => R | Promise<R>

/** As {@link guardMcpTool}, for a tool without arguments. */
export function guardBareMcpTool<E extends McpExtra | undefined, R extends McpToolResult>(
  handler: BareMcpHandler<E, R>,
  options: AdapterOptions,
): (extra: E) => Promise<R | McpToolResult> {
  const guarded = guardMcpTool((_args: JsonObject, extra: E) => handler(extra), options)
  return (extra) => guarded({}, extra)
}

/**
 * Guards the handler of an MCP tool. A denial is a result with `isError`, which the model reads, and not a fault of
 * the protocol; it names the code and no more than that. What else fails is thrown, as by the handler itself.
 */
export function guardMcpTool<A, E extends McpExtra | undefined, R extends McpToolResult>(
  handler: McpHandler<A, E, R>,
  { device, tool }: AdapterOptions,
): (args: A, extra: E) => Promise<R | McpToolResult> {
  return async (args, extra) => {
    let began = false
    try {
      const run = (copy: JsonObject) => {
        began = true
        return handler(copy as A, extra)
      }
      const options = { signal: extra?.signal, approvals: approvalsOf(extra?._meta) }
      return await device.act(tool, (args ?? {}) as JsonObject, run, options)
    } catch (error) {
      if (began || !isSignetError(error) || error.kind !== 'policy') throw error
      return { isError: true, content: [{ type: 'text', text: `denied: ${error.code}` }] }
    }
  }
}

function approvalsOf(meta: McpExtra['_meta']): ActOptions['approvals'] {
  const found = meta?.['signet/approvals']
  if (!Array.isArray(found)) return undefined
  return found.filter((one): one is string => typeof one === 'string')
}

/** A tool of the Vercel AI SDK, as far as it matters here. */
export interface AiTool {
  /** What it is for, for the model. */
  readonly description?: string | undefined
  /** Runs it. Tools without are run by the client, and cannot be guarded here. */
  // deno-lint-ignore no-explicit-any -- parameters of functions compare the wrong way round for unknown
  readonly execute?: ((input: any, options: any) => unknown) | undefined
}

/** What describes a tool of the SDK, as far as it knows of it. */
export type AiData =
  | 'type'
  | 'id'
  | 'name'
  | 'title'
  | 'description'
  | 'parameters'
  | 'inputSchema'
  | 'inputExamples'
  | 'outputSchema'
  | 'args'
  | 'strict'
  | 'dynamic'
  | 'metadata'
  | 'providerOptions'

/** What the SDK asks or tells a tool around a call, and that is not the call. */
export type AiHook =
  | 'needsApproval'
  | 'onInputStart'
  | 'onInputDelta'
  | 'onInputAvailable'
  | 'toModelOutput'
  | 'experimental_toToolResultContent'

const AI_DATA: readonly AiData[] = [
  'type',
  'id',
  'name',
  'title',
  'description',
  'parameters',
  'inputSchema',
  'inputExamples',
  'outputSchema',
  'args',
  'strict',
  'dynamic',
  'metadata',
  'providerOptions',
]
const AI_HOOKS: readonly AiHook[] = [
  'needsApproval',
  'onInputStart',
  'onInputDelta',
  'onInputAvailable',
  'toModelOutput',
  'experimental_toToolResultContent',
]

/** A guarded tool: what the SDK knows of a tool, and nothing else of it. */
export type GuardedAiTool<T> = T extends unknown
  ? Pick<T, Extract<keyof T, 'execute' | AiData | AiHook>>
  : never

/**
 * Guards a tool of the Vercel AI SDK. The guarded one has its description, schemas and hooks, by the names that the
 * SDK knows, and a guarded `execute`; whatever else the tool has, another way to run it may be, and is not
 * there. It is frozen and of no class of the tool's; hooks still run on the original.
 *
 * A tool without `execute` is refused (`TypeError`), and one that has its `execute` under another of these names too.
 * Results that come in parts (`execute` as a generator) are gathered: the last part is the result. Schemas and
 * hooks are the tool's own objects: what they give away is NOT looked at.
 */
export function guardAiTool<T extends AiTool>(
  tool: T,
  options: AdapterOptions,
): GuardedAiTool<T> {
  const { execute } = tool
  if (typeof execute !== 'function') throw new TypeError('the tool has no execute to be guarded')
  const guarded = async (input: JsonObject, more?: { readonly abortSignal?: AbortSignal }) =>
    await options.device.act(
      options.tool,
      input,
      async (copy) => await lastOf(Reflect.apply(execute, tool, [copy, more])),
      { signal: more?.abortSignal },
    )
  const copy: Record<string, unknown> = {}
  for (const name of [...AI_DATA, ...AI_HOOKS]) {
    if (!(name in tool)) continue
    const value: unknown = Reflect.get(tool, name)
    if (value === execute) throw new TypeError(`${name} of the tool runs it`)
    copy[name] = isHook(name) && typeof value === 'function' ? value.bind(tool) : value
  }
  copy.execute = Object.freeze(guarded)
  return Object.freeze(copy) as GuardedAiTool<T>
}

function isHook(name: string): boolean {
  return AI_HOOKS.some((one) => one === name)
}

async function lastOf(result: unknown): Promise<unknown> {
  const value = await result
  if (typeof value !== 'object' || value === null || !(Symbol.asyncIterator in value)) return value
  let last: unknown
  for await (const part of value as AsyncIterable<unknown>) last = part
  return last
}
