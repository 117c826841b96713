/** Standard input by lines. */
import process from 'node:process'
import { SignetError } from '../errors.ts'

const MAX_LINE = 1024 * 1024

/** The lines of standard input, without their newlines; empty ones are left out. */
export async function* lines(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array()
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    if (signal?.aborted) throw new SignetError('aborted', 'cancelled by the caller')
    const all = new Uint8Array(rest.length + chunk.length)
    all.set(rest)
    all.set(chunk, rest.length)
    let at = 0
    for (let end = all.indexOf(10); end >= 0; end = all.indexOf(10, at)) {
      if (end > at) yield all.subarray(at, end)
      at = end + 1
    }
    rest = all.slice(at)
    if (rest.length > MAX_LINE) throw new SignetError('too_large', 'a line has more than 1 MiB')
  }
  if (rest.length > 0) yield rest
}
