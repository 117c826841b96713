import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
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

test('guard({args}) runs with copies of what was judged, whatever the caller makes of it since', async () => {
  const exact = { constraint_type: 'exact', value: '/a' }
  const { device } = await enrolled({ terms: { tools: { read: { path: exact } } } })
  const ran: unknown[] = []
  const read = guard((from: { path: string }, into: Uint8Array) => ran.push([from.path, into[0]]), {
    device,
    tool: 'read',
    args: ({ path }) => ({ path }),
  })
  const given = { path: '/a' }
  const bytes = new Uint8Array(new SharedArrayBuffer(1))
  const done = read(given, bytes)
  given.path = '/etc/shadow'
  bytes[0] = 1
  await done
  let asked = 0
  const shifting = {
    get path() {
      return asked++ === 0 ? '/a' : '/etc/shadow'
    },
  }
  await read(shifting, bytes)
  assert.deepEqual([ran, asked], [[['/a', 0], ['/a', 1]], 1])
  await device.close()
})

test('guard({args}) refuses parameters that are no data, and hands signals on', async () => {
  const { device } = await enrolled()
  const ran: unknown[] = []
  const tool = 'calendar:read'
  const read = guard((...params: unknown[]) => ran.push(...params), {
    device,
    tool,
    args: () => ({}),
  })
  const circle: unknown[] = []
  circle.push(circle)
  const trap = new Proxy({}, {
    ownKeys() {
      throw new Error('trap')
    },
  })
  for (const odd of [() => '/a', new Mailbox(), [new Mailbox()], { f() {} }, circle, trap]) {
    await assert.rejects(read('x', odd), { code: 'arguments_malformed' })
  }
  assert.deepEqual(ran, [])
  assert.equal((await entriesOf(device)).at(-1)!.outcome, 'arguments_malformed')
  const { signal } = new AbortController()
  const data = [
    1n,
    undefined,
    new Date(5),
    new URL('https://a.example/b'),
    new Map([['a', new Set([1])]]),
    { list: [new Float64Array([0.5])], ['__proto__']: null },
  ]
  await read(signal, ...data)
  assert.equal(ran[0], signal)
  assert.deepEqual(ran.slice(1), data)
  assert.notEqual(ran[3], data[2])
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

test('guardObject() hands the original out in no result, and in no error', async () => {
  class Leaky {
    wiped = 0
    wipe() {
      this.wiped++
    }
    give(how: string): unknown {
      const ways: Record<string, () => unknown> = {
        member: () => ({ a: { b: this } }),
        list: () => [[this]],
        map: () => new Map([['a', new Set([this])]]),
        hidden: () => Object.defineProperty({}, 'box', { value: this }),
        prototype: () => Object.create(this),
        method: () => Object.assign(() => {}, { box: this }),
        promise: () => Promise.resolve([this]),
        error: () => {
          throw Object.assign(new Error('no'), { box: this })
        },
        cause: () => {
          throw new Error('no', { cause: this })
        },
        plain: () => ({ wiped: [this.wiped], date: new Date(5), bytes: new Uint8Array(3) }),
        fault: () => {
          throw new RangeError('own')
        },
      }
      return ways[how]!()
    }
  }
  const { device } = await enrolled()
  const box = new Leaky()
  const { give } = guardObject(box, { give: { tool: 'mail:send' } }, device)
  for (
    const how of [
      'member',
      'list',
      'map',
      'hidden',
      'prototype',
      'method',
      'promise',
      'error',
      'cause',
    ]
  ) {
    await assert.rejects(async () => await give(how), (error) => {
      assert.ok(isSignetError(error, 'policy_denied'), how)
      return !reachable(error).has(box)
    })
  }
  assert.deepEqual(await give('plain'), {
    wiped: [0],
    date: new Date(5),
    bytes: new Uint8Array(3),
  })
  await assert.rejects(async () => await give('fault'), { name: 'RangeError', message: 'own' })
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

test('a guarded tool of the AI SDK has no second way to be run', async () => {
  const { device } = await enrolled()
  let ran = 0
  class Tool {
    readonly description = 'pays'
    readonly #prefix = 'paid '
    readonly inner = { execute: () => ++ran }
    readonly invoke = () => ++ran
    execute(_input: JsonObject) {
      return ++ran
    }
    call() {
      return ++ran
    }
    toModelOutput({ output }: { output: unknown }) {
      return { type: 'text', value: this.#prefix + output }
    }
  }
  const tool = new Tool()
  const guarded = guardAiTool(tool, { device, tool: 'not:granted' })
  assert.deepEqual(Reflect.ownKeys(guarded).sort(), ['description', 'execute', 'toModelOutput'])
  await assert.rejects(async () => await guarded.execute({}), { code: 'tool_denied' })
  const found = reachable(guarded)
  for (const way of [tool, tool.invoke, tool.inner, Tool.prototype.execute, Tool.prototype.call]) {
    assert.ok(!found.has(way))
  }
  // What is left of the tool works as before.
  assert.equal(guarded.toModelOutput({ output: 5 }).value, 'paid 5')
  const { execute } = tool
  for (const name of ['toModelOutput', 'needsApproval', 'args']) {
    const twice = { execute, [name]: execute }
    assert.throws(() => guardAiTool(twice, { device, tool: 'not:granted' }), TypeError)
  }
  assert.equal(ran, 0)
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
