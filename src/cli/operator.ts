/**
 * What the operator's commands share: requests to a server under the operator's key. The key comes out of a file or the
 * environment, never from the command line, and goes to the one server that was named, over TLS, or to this machine.
 */
import process from 'node:process'
import type { Command } from 'commander'
import * as v from 'valibot'
import { type Bytes, fromUtf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { common, wholeNumber } from './command.ts'
import type { CommonFlags, Run } from './context.ts'
import { failed, read, request } from './operator_http.ts'
import { printable } from './text.ts'

/** The environment's name for the key. */
const VARIABLE = 'SIGNET_OPERATOR_KEY'
const MAX_ANSWER = 16 * 2 ** 20
/** Most that the server gives at once. */
const PAGE = 200

/** What flags say of themselves, wherever they stand. */
export const SERVER_HELP: string = "the server's URL, https: or on this machine"
export const OPERATOR_KEY_HELP: string =
  `file of the operator's key; default: what ${VARIABLE} holds`
export const REASON_HELP: string = 'why; whoever has it is told'
export const YES_HELP: string = 'do it; without this the command only says what it would do'
/** What is said when it was not done. */
export const NOT_DONE: string = 'nothing was changed: this cannot be undone, so say --yes to do it'

/** Flags of commands that talk to a server as its operator. */
export interface ServerFlags extends CommonFlags {
  readonly server: string
  readonly operatorKey?: string
}

/** Flags of commands that take something back for good. */
export interface TakeBackFlags extends ServerFlags {
  readonly reason?: string
  readonly yes?: boolean
}

/** Flags of lists. */
export interface ListFlags extends ServerFlags {
  readonly limit: number
}

/** Adds the flags that name the server and the key. */
export function withServer(command: Command): Command {
  return common(command)
    .requiredOption('--server <url>', SERVER_HELP)
    .option('--operator-key <file>', OPERATOR_KEY_HELP)
}

/** Adds the flags of a list. */
export function withList(command: Command): Command {
  return withServer(command)
    .option('--limit <n>', 'how many at most', wholeNumber, 1000)
}

/** Adds the flags of a command that takes something back for good. */
export function withTakeBack(command: Command): Command {
  return withServer(command).option('--reason <text>', REASON_HELP).option('--yes', YES_HELP)
}

/** Some of a list, and whether there is more. */
export interface Listed<T> {
  /** In the order of the server. */
  readonly items: readonly T[]
  /** There is more than was asked for. */
  readonly more: boolean
}

/**
 * A server, as its operator talks to it. Errors of all: the server's own code and words; `server_refused`,
 * `server_failed` (no answer, or none that a server of ours gives), `aborted`.
 */
export interface Operator {
  /** The server's URL, an origin. */
  readonly server: string
  /** What is at a path. */
  get<T>(path: string, schema: v.GenericSchema<unknown, T>): Promise<T>
  /** Has something done. */
  post<T>(path: string, schema: v.GenericSchema<unknown, T>, body?: object): Promise<T>
  /** Has something changed. */
  patch<T>(path: string, schema: v.GenericSchema<unknown, T>, body: object): Promise<T>
  /** The records at a path, page by page, up to a number. */
  list<T>(
    path: string,
    schema: v.GenericSchema<unknown, T>,
    limit: number,
    query?: Readonly<Record<string, string | undefined>>,
  ): Promise<Listed<T>>
  /** The bytes at a path. */
  download(path: string, maxBytes: number): Promise<Bytes>
}

/** The server of the flags. Errors: `usage_invalid`, `file_unreadable`. */
export async function operatorOf(run: Run, flags: ServerFlags): Promise<Operator> {
  const server = originOf(flags.server)
  const key = await keyOf(run, flags.operatorKey)
  const ask = (method: string, path: string, maxBytes: number, body?: object) =>
    request(server, key, { method, path, maxBytes, body }, run.signal)
  const get = async <T>(path: string, schema: v.GenericSchema<unknown, T>) =>
    read(await ask('GET', path, MAX_ANSWER), schema, server)
  return {
    server,
    get,
    async post(path, schema, body = {}) {
      return read(await ask('POST', path, MAX_ANSWER, body), schema, server)
    },
    async patch(path, schema, body) {
      return read(await ask('PATCH', path, MAX_ANSWER, body), schema, server)
    },
    async list(path, schema, limit, query = {}) {
      const page = v.object({ items: v.array(schema), next: v.optional(v.string()) })
      const items: v.InferOutput<typeof schema>[] = []
      let after: string | undefined
      for (;;) {
        const params = new URLSearchParams({ limit: String(Math.min(PAGE, limit - items.length)) })
        for (const [name, value] of Object.entries({ ...query, after })) {
          if (value !== undefined) params.set(name, value)
        }
        const { items: some, next } = await get(`${path}?${params}`, page)
        for (const one of some) items.push(one)
        if (next === undefined) return { items, more: false }
        if (items.length >= limit) return { items: items.slice(0, limit), more: true }
        if (some.length === 0 || next === after) throw failed(server, 'gives a list without an end')
        after = next
      }
    },
    download: (path, maxBytes) => ask('GET', path, maxBytes),
  }
}

/** A part of a path: an id, which a server made up of these. Errors: `usage_invalid`. */
export function idOf(text: string): string {
  if (/^[\w-]{1,200}$/.test(text)) return text
  throw new SignetError('usage_invalid', `${printable(text)} is no id of anything`)
}

/** By what a list is asked for: the server takes one thing. Errors: `usage_invalid`. */
export function oneOf(
  query: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  const given = Object.keys(query).filter((name) => query[name] !== undefined)
  if (given.length < 2) return query
  throw new SignetError('usage_invalid', `a list goes by one of ${given.join(' and ')}`)
}

/** Whom the key goes to: an origin, reached over TLS or on this machine. */
function originOf(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.href !== `${url.origin}/`) {
    throw new SignetError('usage_invalid', '--server is no URL of a server', {
      remedy: 'write it as https://gateway.example',
    })
  }
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url.protocol === 'https:' || url.protocol === 'http:' && isLocal) return url.origin
  throw new SignetError('usage_invalid', "the operator's key is not sent without TLS", {
    where: url.origin,
    remedy: 'use https:; http: is for this machine only',
  })
}

async function keyOf(run: Run, file: string | undefined): Promise<string> {
  if (file?.startsWith('sgop_')) {
    throw new SignetError('usage_invalid', 'a key on the command line can be read by others', {
      remedy: `give the name of its file, or set ${VARIABLE}; and have this key replaced`,
    })
  }
  const text = file === undefined
    ? process.env[VARIABLE]
    : fromUtf8(await run.backends.readFile(file, 4096), file)
  if (text === undefined) {
    throw new SignetError('usage_invalid', "the operator's key is missing", {
      remedy:
        `give --operator-key FILE, or set ${VARIABLE}; signet serve writes it to DIR/operator.key`,
    })
  }
  const key = text.trim()
  if (/^sgop_[\w-]{43}$/.test(key)) return key
  const place = file === undefined ? VARIABLE : printable(file)
  throw new SignetError('usage_invalid', `${place} holds no operator's key`, {
    where: place,
    remedy: 'it is sgop_ and 43 characters',
  })
}
