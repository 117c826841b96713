/**
 * Seals made by hand, so that the code under test meets what it would never write itself, and small helps
 * for the tests of envelopes and models.
 */
import assert from 'node:assert/strict'
import {
  ALGORITHMS,
  type Bytes,
  type ErrorCode,
  formatBundle,
  generateKey,
  type Key,
  keyHint,
  signEnvelope,
  SignetError,
  type StreamFile,
} from '../../mod.ts'
import { fromUtf8, toHex, utf8 } from '../../src/bytes.ts'

/** The key that is trusted in most tests. */
export const key: Key = await generateKey(ALGORITHMS['ES256'])
/** A key that nobody trusts. */
export const stranger: Key = await generateKey(ALGORITHMS['ES256'])

/** How often to run a property: `SIGNET_FUZZ_RUNS`, where the environment may be read, else few times. */
export function runs(few: number): { readonly numRuns: number } {
  try {
    const { process } = globalThis as {
      process?: { env?: Readonly<Record<string, string | undefined>> }
    }
    return { numRuns: Number(process?.env?.SIGNET_FUZZ_RUNS) || few }
  } catch {
    return { numRuns: few } // no permission
  }
}

/** The code that an attempt ends with, or `accepted`. Any other error than a `SignetError` goes through. */
export async function outcome(attempt: () => unknown): Promise<ErrorCode | 'accepted'> {
  try {
    await attempt()
    return 'accepted'
  } catch (error) {
    if (error instanceof SignetError) return error.code
    throw error
  }
}

/** Asserts that an attempt ends with a code. */
export async function refuses(
  code: ErrorCode,
  attempt: () => unknown,
  what?: string,
): Promise<void> {
  assert.equal(await outcome(attempt), code, what)
}

/** A statement as JSON, to be spoilt. */
export interface Draft {
  [name: string]: unknown
  subject: Record<string, unknown>[]
  predicate: {
    [name: string]: unknown
    serialization: Record<string, unknown>
    resources: Record<string, unknown>[]
  }
}

/** Lower-case hex of the SHA-256 of text or bytes. */
export async function sha256(content: string | Uint8Array): Promise<string> {
  const bytes = typeof content === 'string' ? utf8(content) : Uint8Array.from(content)
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

/** The root over digests in hex, in their order (OMS v1.0 §6.5.1). */
export async function rootOf(resources: readonly Record<string, unknown>[]): Promise<string> {
  const digests = resources.flatMap(({ digest }) => String(digest).match(/[0-9a-fA-F]{2}/g) ?? [])
  return await sha256(Uint8Array.from(digests, (pair) => parseInt(pair, 16)))
}

/** An OMS v1.0 statement about files, in their order: written from the specification, not with our code. */
export async function draftOf(files: Readonly<Record<string, string>>): Promise<Draft> {
  const resources = await Promise.all(
    Object.entries(files).map(async ([name, content]) => ({
      name,
      algorithm: 'sha256',
      digest: await sha256(content),
    })),
  )
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'tiny', digest: { sha256: await rootOf(resources) } }],
    predicateType: 'https://model_signing/signature/v1.0',
    predicate: {
      serialization: { method: 'files', hash_type: 'sha256', allow_symlinks: false },
      resources,
    },
  }
}

/** What {@link sealOf} may do otherwise. */
export interface SealOfOptions {
  /** Who signs. Default: {@link key}. */
  readonly by?: Key
  /** Payload type. Default: that of in-toto. */
  readonly type?: string
  /** The hint; `null`: none. Default: that of the key that signs. */
  readonly hint?: string | null
}

/** A properly signed bundle over whatever payload: text, bytes, or a value to be written as JSON. */
export async function sealOf(payload: unknown, options: SealOfOptions = {}): Promise<Bytes> {
  const { by = key, type = 'application/vnd.in-toto+json' } = options
  const bytes = payload instanceof Uint8Array
    ? Uint8Array.from(payload)
    : utf8(typeof payload === 'string' ? payload : JSON.stringify(payload))
  const hint = options.hint === null ? undefined : options.hint ?? await keyHint(by.publicKey)
  const envelope = await signEnvelope(type, bytes, by)
  return formatBundle({ material: { method: 'key', hint }, envelope })
}

/** A bundle as a JSON value, to be spoilt. */
export interface BundleJson {
  [name: string]: unknown
  verificationMaterial: Record<string, unknown>
  dsseEnvelope: { [name: string]: unknown; signatures: Record<string, unknown>[] }
}

/** A bundle's bytes as a JSON value. */
export function jsonOf(bundle: Uint8Array): BundleJson {
  return JSON.parse(fromUtf8(bundle))
}

/** A JSON value as bytes. */
export function bytesOf(json: unknown): Bytes {
  return utf8(JSON.stringify(json))
}

/** Files of text as a stream tree takes them. */
export function filesOf(files: Readonly<Record<string, string>>): Map<string, StreamFile> {
  return new Map(Object.entries(files).map(([path, content]) => [path, utf8(content)]))
}

/** Names that no seal may hold, by what is wrong with them. */
export const BAD_NAMES: Readonly<Record<string, readonly string[]>> = {
  'empty': [''],
  'absolute': ['/', '/etc/passwd', '//host/share', '///'],
  'climbing': ['..', '../x', 'a/..', 'a/../b', 'a/b/..', '../../x', 'a/../../b'],
  'dotted': ['./a', 'a/.', 'a/./b', './.', './'],
  'with an empty component': ['a//b', 'a/', 'a/b/', 'a///b'],
  'with a NUL': ['\0', 'a\0', 'a\0.txt', 'a/\0/b'],
  'with a backslash': ['\\', 'a\\b', '..\\x', 'C:\\x', '\\\\host\\share'],
  'with a lone surrogate': ['\ud800', 'a\udc00', 'a/\udfff/b', '\udc00\ud800'],
  'longer than any path': ['a'.repeat(4097), 'a/'.repeat(3000) + 'a'],
}
