/** The resources of a log in a folder: tiles and checkpoint where a web server finds them, openings where none does. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bytes, owned } from '../src/bytes.ts'
import { SignetError } from '../src/errors.ts'
import { type LogReader, parseTilePath } from '../src/log/mod.ts'

/** A resource, or undefined if there is none. Errors: `io_failed`. */
export async function readResource(
  folder: string,
  path: string,
  readFile: (file: string) => Promise<Uint8Array> | Uint8Array,
): Promise<Bytes | undefined> {
  const file = resourcePath(folder, path)
  try {
    return owned(new Uint8Array(await readFile(file)))
  } catch (cause) {
    if (isCode(cause, 'ENOENT', 'ENOTDIR')) return undefined
    throw new SignetError('io_failed', `cannot read ${path}`, { where: file, cause })
  }
}

/**
 * Reads a log without leaving the thread, for one that does nothing else: files of some kilobytes cost less
 * to read than to ask another thread for.
 */
export function blockingLogReader(folder: string): LogReader {
  return { read: (path) => readResource(folder, path, (file) => readFileSync(file)) }
}

/** Where a resource lies. */
export function resourcePath(folder: string, path: string): string {
  if (/^private\/(?:x[0-9]{3}\/)*[0-9]{3}$/.test(path)) return join(folder, '.signet', path)
  // A folder of partial tiles is deleted whole.
  const tile = path.replace(/\.p$/, '')
  if (path === 'checkpoint' || parseTilePath(tile) !== undefined) return join(folder, path)
  throw new TypeError('not a path of a log resource')
}

/** Whether an error of the file system has one of these codes. */
export function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as { code?: string }).code ?? '')
}
