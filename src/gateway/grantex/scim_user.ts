/**
 * A SCIM user as it is written (RFC 7643 §4.1), and what a PATCH makes of it (RFC 7644 §3.5.2). Attributes other than
 * those of the table are not kept, a password least of all.
 */
import * as v from 'valibot'
import { isObject, type JsonObject, type JsonValue } from '../../json.ts'
import { Refusal, text } from './call.ts'

/** The schema of users. */
export const USER_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:User'
const PATCH_SCHEMA = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'

/** What a user is written with. */
export interface UserContent {
  readonly userName: string
  readonly externalId?: string | undefined
  readonly displayName?: string | undefined
  readonly name?: Readonly<Record<string, string | undefined>> | undefined
  readonly active?: boolean | undefined
  readonly emails?: readonly Email[] | undefined
}

interface Email {
  readonly value: string
  readonly type?: string | undefined
  readonly display?: string | undefined
  readonly primary?: boolean | undefined
}

const wellFormed = v.pipe(text(200), v.check((one) => one.isWellFormed(), 'text'))
const email = v.object({
  value: v.pipe(text(320), v.check((one) => one.isWellFormed(), 'text')),
  type: v.optional(wellFormed),
  display: v.optional(wellFormed),
  primary: v.optional(v.boolean()),
})
const USER: v.GenericSchema<unknown, UserContent> = v.object({
  userName: wellFormed,
  externalId: v.optional(wellFormed),
  displayName: v.optional(wellFormed),
  name: v.optional(v.object({
    formatted: v.optional(wellFormed),
    familyName: v.optional(wellFormed),
    givenName: v.optional(wellFormed),
    middleName: v.optional(wellFormed),
    honorificPrefix: v.optional(wellFormed),
    honorificSuffix: v.optional(wellFormed),
  })),
  active: v.optional(v.boolean()),
  emails: v.optional(v.pipe(
    v.array(email),
    v.maxLength(20),
    v.check((all) => all.filter(({ primary }) => primary === true).length <= 1, 'one primary'),
  )),
})

const NAMES = [
  ...['formatted', 'familyName', 'givenName', 'middleName', 'honorificPrefix', 'honorificSuffix'],
]
const EMAIL = ['value', 'type', 'display', 'primary']
const ATTRIBUTES = ['userName', 'externalId', 'displayName', 'name', 'active', 'emails']
const READ_ONLY = /^(id|meta|schemas|groups)$/i
const MAX_OPERATIONS = 100

const invalid = (type: string, message: string) => new Refusal(400, type, message)

/** A user of the body of a POST or PUT. Errors: 400 `invalidSyntax`, `invalidValue`. */
export function userOf(body: JsonObject): UserContent {
  checkSchemas(body.schemas, USER_SCHEMA)
  return checked(Object.fromEntries(
    Object.entries(named(body, ATTRIBUTES)).map(([name, value]) => [name, shaped(name, value!)]),
  ))
}

/** The user after a PATCH. Errors: 400 `invalidSyntax`, `invalidValue`, `invalidPath`, `noTarget`, `mutability`. */
export function patched(user: UserContent, body: JsonObject): UserContent {
  checkSchemas(body.schemas, PATCH_SCHEMA)
  const { Operations: operations } = named(body, ['Operations'])
  if (!Array.isArray(operations) || operations.length === 0) {
    throw invalid('invalidSyntax', 'there are no Operations')
  }
  if (operations.length > MAX_OPERATIONS) throw invalid('tooMany', 'these are too many Operations')
  let content: JsonObject = { ...user } as unknown as JsonObject
  for (const operation of operations) {
    if (!isObject(operation)) throw invalid('invalidSyntax', 'an operation is no object')
    content = applied(content, named(operation, ['op', 'path', 'value']))
  }
  return checked(content)
}

function applied(user: JsonObject, { op, path, value }: JsonObject): JsonObject {
  const kind = typeof op === 'string' ? op.toLowerCase() : ''
  if (!['add', 'replace', 'remove'].includes(kind)) {
    throw invalid('invalidSyntax', 'op is add, replace or remove')
  }
  if (kind === 'remove') {
    if (path === undefined) throw invalid('noTarget', 'a removal has a path')
    return set(user, path, undefined, kind)
  }
  if (value === undefined) throw invalid('invalidValue', 'there is no value')
  if (path !== undefined) return set(user, path, value, kind)
  if (!isObject(value)) throw invalid('invalidValue', 'without a path the value is an object')
  let content = user
  for (const [name, one] of Object.entries(value)) {
    // What is not kept is passed over here, as in a POST: providers send all that they have.
    const isKnown = /^[a-z]+/i.exec(bare(name))?.[0] ?? ''
    if (!ATTRIBUTES.some((attribute) => same(attribute, isKnown))) continue
    content = set(content, name, one, kind)
  }
  return content
}

const EMAIL_PATH =
  /^emails\[\s*(type|value|primary)\s+eq\s+("[^"\\]*"|true|false)\s*\](?:\.([a-z]+))?$/i

function set(
  user: JsonObject,
  path: JsonValue,
  value: JsonValue | undefined,
  op: string,
): JsonObject {
  if (typeof path !== 'string' || path.length > 500) throw invalid('invalidPath', 'path is no path')
  const place = bare(path)
  const filter = EMAIL_PATH.exec(place)
  if (filter !== null) return { ...user, emails: setEmail(user.emails, filter, value, op) }
  const [, first = '', second] = /^([a-z]+)(?:\.([a-z]+))?$/i.exec(place) ?? []
  if (READ_ONLY.test(first)) throw invalid('mutability', `${first} cannot be written`)
  const name = ATTRIBUTES.find((one) => same(one, first))
  if (name === undefined) throw invalid('invalidPath', 'there is no such attribute')
  if (second !== undefined) {
    const part = name === 'name' ? NAMES.find((one) => same(one, second)) : undefined
    if (part === undefined) throw invalid('invalidPath', 'there is no such attribute')
    return {
      ...user,
      name: { ...isObject(user.name) ? user.name : {}, [part]: value ?? undefined },
    }
  }
  if (value === undefined && (name === 'userName' || name === 'active')) {
    throw invalid('mutability', `${name} cannot be removed`)
  }
  const after = value === undefined ? undefined : shaped(name, value)
  if (op === 'add' && name === 'emails') return { ...user, emails: joined(user.emails, after) }
  if (name === 'name' && isObject(user.name) && isObject(after)) {
    return { ...user, name: { ...user.name, ...after } } // §3.5.2.3: those parts that are named
  }
  return { ...user, [name]: after }
}

function setEmail(
  emails: JsonValue | undefined,
  [, by = '', wanted = '', part]: RegExpExecArray,
  value: JsonValue | undefined,
  op: string,
): JsonValue {
  const all = Array.isArray(emails) ? emails.filter(isObject) : []
  // Between the quotes nothing is escaped, and there may be what JSON does not let stand there.
  const sought = wanted.startsWith('"') ? wanted.slice(1, -1) : wanted.toLowerCase() === 'true'
  const name = by.toLowerCase()
  const field = part === undefined ? undefined : EMAIL.find((one) => same(one, part))
  if (part !== undefined && field === undefined) {
    throw invalid('invalidPath', 'there is no such attribute')
  }
  const fits = (one: JsonObject) =>
    typeof sought === 'string'
      ? typeof one[name] === 'string' && same(one[name] as string, sought)
      : (one[name] ?? false) === sought
  if (!all.some(fits)) {
    if (op === 'add') {
      const made = field === undefined
        ? isObject(value) ? named(value, EMAIL) : {}
        : { [field]: value }
      return joined(all, [{ [name]: sought, ...made }])
    }
    throw invalid('noTarget', 'no such value is there')
  }
  if (value === undefined && field === undefined) return all.filter((one) => !fits(one))
  return all.map((one) => {
    if (!fits(one)) return field === 'primary' && value === true ? { ...one, primary: false } : one
    if (field !== undefined) return { ...one, [field]: value }
    return isObject(value) ? { ...one, ...named(value, EMAIL) } : one
  })
}

/** Adds values; one that is primary takes that from those before (§3.5.2). */
function joined(emails: JsonValue | undefined, added: JsonValue | undefined): JsonValue {
  const fresh = (Array.isArray(added) ? added : [added]).filter(isObject)
  const values = fresh.map(({ value }) => value)
  const hasPrimary = fresh.some(({ primary }) => primary === true)
  const kept = (Array.isArray(emails) ? emails.filter(isObject) : [])
    .filter(({ value }) => !values.includes(value))
    .map((one) => hasPrimary ? { ...one, primary: false } : one)
  return [...kept, ...fresh]
}

/** One attribute as it is kept. `null` and `[]` are none (RFC 7643 §2.5). */
function shaped(name: string, value: JsonValue): JsonValue | undefined {
  if (value === null) return undefined
  if (name === 'name' && isObject(value)) return named(value, NAMES)
  if (name === 'emails') {
    const all = Array.isArray(value) ? value : [value]
    return all.length === 0 ? undefined : all.map((one) => isObject(one) ? named(one, EMAIL) : one)
  }
  // Entra ID writes it as a text.
  if (name === 'active' && typeof value === 'string' && /^(true|false)$/i.test(value)) {
    return value.toLowerCase() === 'true'
  }
  return value
}

/** The attributes of a table, by their right names: case does not count (RFC 7643 §2.1). `null` is none. */
function named(object: JsonObject, names: readonly string[]): JsonObject {
  const found: Record<string, JsonValue> = {}
  for (const [key, value] of Object.entries(object)) {
    const name = names.find((one) => same(one, bare(key)))
    if (name === undefined || value === null || value === undefined) continue
    if (Object.hasOwn(found, name)) throw invalid('invalidSyntax', `${name} is there twice`)
    found[name] = value
  }
  return found
}

/** Without the schema before it (RFC 7644 §3.10). */
function bare(path: string): string {
  const prefix = `${USER_SCHEMA}:`
  return same(path.slice(0, prefix.length), prefix) ? path.slice(prefix.length) : path
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

function checked(content: JsonObject): UserContent {
  const plain = JSON.parse(JSON.stringify(content))
  const { success, output, issues } = v.safeParse(USER, plain, { abortEarly: true })
  if (success) return output
  throw invalid('invalidValue', `${v.getDotPath(issues[0]) ?? 'the user'} is not as it must be`)
}

function checkSchemas(schemas: JsonValue | undefined, wanted: string): void {
  // Grantex' own clients name none.
  if (schemas === undefined) return
  const isThere = Array.isArray(schemas) &&
    schemas.some((one) => typeof one === 'string' && same(one, wanted))
  if (!isThere) throw invalid('invalidSyntax', `schemas does not name ${wanted}`)
}
