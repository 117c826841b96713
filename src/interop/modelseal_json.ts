/**
 * The bytes that aumai-modelseal 0.1.0 signs: Python's `json.dumps(…, sort_keys=True, separators=(",", ":"))`
 * over what pydantic v2 makes of the manifest. Not RFC 8785: everything outside printable ASCII is escaped.
 *
 * The old reader is lax, and re-serialises before it verifies, so that many texts have one signature. Here
 * only the laxness that its own files need or that is documented is copied: unknown members are dropped,
 * `files` and `description` may lack, numbers may be text or have a fraction of zero, times may be numbers or
 * lack a zone. All else it took (duplicate members above all) is refused.
 */
import { type Bytes, utf8 } from '../bytes.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { isObject, type JsonObject, type JsonValue } from '../json.ts'

/** A file of a manifest. */
export interface ManifestFile {
  /** Path in the model, `/`-separated. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** SHA-256, 64 characters. */
  readonly digest: string
}

/** A manifest as it was signed. */
export interface Manifest {
  /** Name of the model. */
  readonly name: string
  /** Its version. */
  readonly version: string
  /** What it runs on. */
  readonly framework: string
  /** Its files, in the order signed. */
  readonly files: readonly ManifestFile[]
  /** What the signer said that the files add up to, in bytes; nobody checks it. */
  readonly totalBytes: number
  /** When it was made, as pydantic writes it. The signer's word; without a zone if it gave none. */
  readonly created: string
  /** Who made it. */
  readonly author: string
  /** What it is. */
  readonly description: string
}

/** Reads the members of a manifest. Paths and digests are text as yet. Errors: `manifest_malformed`. */
export function readManifest(json: JsonValue | undefined): Manifest {
  const members = new Members(json, 'manifest')
  const files = members.get('files') ?? []
  if (!Array.isArray(files)) throw malformed('"manifest.files" is not a list')
  return {
    name: members.text('model_name'),
    version: members.text('model_version'),
    framework: members.text('framework'),
    files: files.map((file: JsonValue, i: number) => {
      const entry = new Members(file, `manifest.files[${i}]`)
      const digest = entry.text('sha256_hash')
      return { path: entry.text('path'), size: entry.count('size_bytes'), digest }
    }),
    totalBytes: members.count('total_size_bytes'),
    created: members.time('created_at'),
    author: members.text('author'),
    description: members.get('description') === undefined ? '' : members.text('description'),
  }
}

/** The signed bytes. Members stand in the order of their names (code points). */
export function manifestBytes(manifest: Manifest): Bytes {
  const files = manifest.files.map(({ path, size, digest }) =>
    `{"path":${quote(path)},"sha256_hash":${quote(digest)},"size_bytes":${size}}`
  )
  return utf8(
    `{"author":${quote(manifest.author)},"created_at":${quote(manifest.created)},` +
      `"description":${quote(manifest.description)},"files":[${files.join(',')}],` +
      `"framework":${quote(manifest.framework)},"model_name":${quote(manifest.name)},` +
      `"model_version":${quote(manifest.version)},"total_size_bytes":${manifest.totalBytes}}`,
  )
}

/** A JSON string as Python's `ensure_ascii` writes it: DEL is escaped too, `/` is not. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** The members of one object; what is not asked for is dropped, as pydantic does by default. */
export class Members {
  readonly #object: JsonObject
  readonly #what: string

  /** Errors: `manifest_malformed` if the value is no object. `what` names it in messages. */
  constructor(json: JsonValue | undefined, what: string) {
    if (!isObject(json)) throw malformed(`${quote(what)} is not an object`)
    this.#object = json
    this.#what = what
  }

  /** A member as it is. */
  get(name: string): JsonValue | undefined {
    return this.#object[name]
  }

  /** A text. Numbers are none. */
  text(name: string): string {
    const value = this.#object[name]
    return typeof value === 'string' ? value : this.#fail(name, 'text')
  }

  /** A whole number from 0: as number, also written `7.0`, or as decimal text. */
  count(name: string): number {
    const value = this.#object[name]
    const number = typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : value
    return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0
      ? number + 0 // -0 is written as 0
      : this.#fail(name, 'a whole number')
  }

  /** A time: ISO 8601 text or Unix time; gives it as pydantic writes it. */
  time(name: string): string {
    const value = this.#object[name]
    const time = typeof value === 'string'
      ? renderIso(value)
      : typeof value === 'number'
      ? renderUnix(value)
      : undefined
    return time ?? this.#fail(name, 'a time')
  }

  #fail(name: string, expected: string): never {
    throw malformed(`"${this.#what}.${name}" is not ${expected}`)
  }
}

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?$/

/**
 * A time as pydantic writes it: microseconds, cut off, not at all if 0, else six digits; `Z` for a zero
 * offset; no zone where none was given.
 */
function renderIso(text: string): string | undefined {
  const match = ISO.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second, fraction = '', zone = ''] = match
  const days = new Date(Date.UTC(2000 + Number(year) % 400, Number(month), 0)).getUTCDate()
  const valid = Number(year) > 0 && inRange(month!, 1, 12) && inRange(day!, 1, days) &&
    inRange(hour!, 0, 23) && inRange(minute!, 0, 59) && inRange(second!, 0, 59)
  if (!valid) return undefined
  const micros = fraction.padEnd(6, '0').slice(0, 6)
  const offset = /^[+-]00:00$/.test(zone) ? 'Z' : zone
  return `${year}-${month}-${day}T${hour}:${minute}:${second}${
    micros === '000000' ? '' : `.${micros}`
  }${offset}`
}

function inRange(digits: string, least: number, most: number): boolean {
  return Number(digits) >= least && Number(digits) <= most
}

/** Beyond this pydantic takes a number for milliseconds, not seconds. */
const WATERSHED = 2e10

/** Unix time as pydantic reads it: seconds up to 2e10, else milliseconds, which must be whole here. */
function renderUnix(value: number): string | undefined {
  const millis = Math.abs(value) > WATERSHED
  if (millis && !Number.isInteger(value)) return undefined
  let seconds = Math.floor(millis ? value / 1000 : value)
  // Before 1970 pydantic rounds the seconds down and keeps the fraction as it was: a flaw, copied.
  let micros = millis ? (value - seconds * 1000) * 1000 : Math.round(Math.abs(value % 1) * 1e6)
  if (micros === 1_000_000) [seconds, micros] = [seconds + 1, 0]
  // Years 1 to 9999 are all that Python has.
  if (seconds < -62_135_596_800 || seconds > 253_402_300_799) return undefined
  const whole = new Date(seconds * 1000).toISOString().replace('.000Z', '')
  return `${whole}${micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`}Z`
}

/** Runs a reader of old files; whatever is wrong with their text is `manifest_malformed`. */
export function reading<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!isSignetError(cause) || cause.kind !== 'input') throw cause
    if (cause.code === 'manifest_malformed' || cause.code === 'too_large') throw cause
    throw new SignetError('manifest_malformed', cause.message, { cause })
  }
}

/** An error about an old file. */
export function malformed(why: string): SignetError {
  return new SignetError('manifest_malformed', `aumai-modelseal file: ${why}`)
}
