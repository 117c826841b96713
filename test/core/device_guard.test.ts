import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  guard,
  guardAiTool,
  guardBareMcpTool,
  guardMcpTool,
  guardObject,
  type McpToolResult,
} from '../../src/grants/mod.ts'
import type { JsonObject } from '../../src/json.ts'
import { enrolled, entriesOf } from './_devices.ts'

/** All functions that can be reached from a value, through properties, prototypes and constructors. */
function reachable(value: unknown): Set<unknown> {
  const seen = new Set<unknown>()
  const visit = (one: unknown) => {
    if (one === null || typeof one !== 'object' && typeof one !== 'function' || seen.has(one)) {
      return
    }
    seen.add(one)
    for (const key of Reflect.ownKeys(one)) {
      const { value, get, set } = Reflect.getOwnPropertyDescriptor(one, key)!
      for (const part of [value, get, set]) visit(part)
    }
    visit(Reflect.getPrototypeOf(one))
  }
  visit(value)
  return seen
}

class Mailbox {
  #sent: unknown[] = []
  readonly label = 'box'
  send(args: JsonObject): number {
    return this.#sent.push(args)
  }
  get count(): number {
    return this.#sent.length
  }
  wipe(): void {
    this.#sent = []
  }
  chain(): this {
    return this
  }
}

test('guard() wants a function and one name', async () => {
  const { device } = await enrolled()
  const run = () => {}
  assert.throws(() => guard(run, { device }), TypeError)
  assert.throws(() => guard(run, { device, tool: 'a', scope: 'b' }), TypeError)
  assert.throws(() => guard(run, { device, tool: '' }), TypeError)
  assert.throws(() => guard({} as never, { device, tool: 'a' }), TypeError)
  assert.throws(() => guardAiTool({ description: 'none' }, { device, tool: 'a' }), TypeError)
  assert.throws(() => guardObject({ a: 1 }, { a: { tool: 'a' } }, device), TypeError)
  await device.close()
})

test('a guarded function cannot be called past the guard', async () => {
  const { device } = await enrolled()
  let calls = 0
  const original = () => ++calls
  const denied = guard(original, { device, tool: 'not:granted' })
  await assert.rejects(denied(), { code: 'tool_denied' })
  await assert.rejects(Reflect.apply(denied, null, []), { code: 'tool_denied' })
  await assert.rejects(denied.call({ device: null }), { code: 'tool_denied' })
  await assert.rejects(denied.bind(null)(), { code: 'tool_denied' })
  assert.throws(() => new (denied as unknown as new () => unknown)(), TypeError)
  assert.throws(() => Object.assign(denied, { tool: 'calendar:read' }), TypeError)
  assert.ok(!reachable(denied).has(original))
  assert.equal(calls, 0)
  await device.close()
})

test('a guarded function gets copies: by name from an object, else by number', async () => {
  const { device } = await enrolled({}, { record: 'plain' })
  const seen: unknown[] = []
  const one = guard((args: { day: string }) => seen.push(args), { device, scope: 'calendar:read' })
  const args = { day: 'monday' }
  await one(args)
  assert.notEqual(seen[0], args)
  const two = guard((a: number, b: string[]) => seen.push(a, b), { device, tool: 'calendar:read' })
  await two(1, ['x'])
  assert.deepEqual(seen, [args, 1, ['x']])
  const logged = (await entriesOf(device)).flatMap(({ type, data }) =>
    type === 'action.intent' ? [(data as JsonObject).args] : []
  )
  assert.equal(JSON.stringify(logged), '[{"day":"monday"},{"0":1,"1":["x"]}]')
  await assert.rejects(two(1, [() => {}] as never), { code: 'arguments_malformed' })
  await assert.rejects(one(new Map() as never), { code: 'arguments_malformed' })
  const mapped = guard((date: Date) => date.getTime(), {
    device,
    tool: 'calendar:read',
    args: (date) => ({ day: date.toISOString() }),
  })
  assert.equal(await mapped(new Date(5)), 5)
  await device.close()
})

test('a guarded object has the named methods and nothing else, and class instances keep working', async () => {
  const { device } = await enrolled()
  const box = new Mailbox()
  const guarded = guardObject(
    box,
    { send: { tool: 'mail:send' }, chain: { tool: 'mail:send' } },
    device,
  )
  assert.deepEqual(Reflect.ownKeys(guarded).sort(), ['chain', 'send'])
  assert.equal(Object.getPrototypeOf(guarded), null)
  assert.equal((guarded as { wipe?: unknown }).wipe, undefined)
  assert.equal((guarded as { constructor?: unknown }).constructor, undefined)
  assert.equal(await guarded.send({ to: 'a' }), 1)
  assert.equal(await guarded.send({ to: 'b' }), 2)
  // What hands out itself would hand out everything.
  await assert.rejects(guarded.chain(), { code: 'policy_denied' })
  const found = reachable(guarded)
  assert.ok(!found.has(box) && !found.has(Mailbox.prototype) && !found.has(Mailbox.prototype.send))
  const denied = guardObject(box, { send: { tool: 'not:granted' } }, device)
  await assert.rejects(denied.send({ to: 'c' }), { code: 'tool_denied' })
  // The method on the guard, called on something else, still acts on the original and by the guard.
  await assert.rejects(Reflect.apply(denied.send, new Mailbox(), [{ to: 'd' }]), {
    code: 'tool_denied',
  })
  assert.equal(box.count, 2)
  await device.close()
})

test('an MCP handler is denied by a result, and its own faults stay faults', async () => {
  const { device } = await enrolled()
  let calls = 0
  const handler = (args: { q: string }, _extra: { signal: AbortSignal }) => {
    calls++
    if (args.q === 'fail') throw new Error('own')
    return { content: [{ type: 'text', text: args.q }] }
  }
  const extra = { signal: new AbortController().signal }
  const denied = guardMcpTool(handler, { device, tool: 'not:granted' })
  assert.deepEqual(await denied({ q: 'x' }, extra), {
    isError: true,
    content: [{ type: 'text', text: 'denied: tool_denied' }],
  })
  assert.equal(calls, 0)
  const allowed = guardMcpTool(handler, { device, tool: 'calendar:read' })
  assert.deepEqual(await allowed({ q: 'x' }, extra), { content: [{ type: 'text', text: 'x' }] })
  await assert.rejects(allowed({ q: 'fail' }, extra), { message: 'own' })
  await assert.rejects(allowed({ q: 'x' }, { signal: AbortSignal.abort() }), { code: 'aborted' })
  const bare = (tool: string) =>
    guardBareMcpTool(
      (_: typeof extra): McpToolResult => ({ content: [{ type: 'text', text: 'bare' }] }),
      {
        device,
        tool,
      },
    )
  assert.equal((await bare('calendar:read')(extra)).content[0]!.text, 'bare')
  assert.equal((await bare('not:granted')(extra)).isError, true)
  await device.close()
})

test('a tool of the AI SDK keeps its description and schema, and loses its execute', async () => {
  const { device } = await enrolled()
  let calls = 0
  const tool = {
    description: 'reads the calendar',
    inputSchema: { type: 'object' },
    execute: (input: { day: string }, _options: { abortSignal?: AbortSignal }) => {
      calls++
      return input.day
    },
  }
  const denied = guardAiTool(tool, { device, tool: 'not:granted' })
  await assert.rejects(async () => await denied.execute({ day: 'x' }, {}), { code: 'tool_denied' })
  assert.equal(calls, 0)
  assert.ok(!reachable(denied).has(tool.execute) && !reachable(denied).has(tool))
  const allowed = guardAiTool(tool, { device, tool: 'calendar:read' })
  assert.equal(await allowed.execute({ day: 'monday' }, {}), 'monday')
  assert.deepEqual([allowed.description, allowed.inputSchema], [tool.description, tool.inputSchema])
  assert.throws(() => (allowed as { execute: unknown }).execute = tool.execute, TypeError)
  const parts = guardAiTool({
    async *execute(input: { n: number }) {
      for (let i = 0; i < input.n; i++) yield await Promise.resolve(i)
    },
  }, { device, tool: 'calendar:read' })
  assert.equal(await parts.execute({ n: 3 }), 2)
  await device.close()
})
