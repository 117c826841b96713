/** The process's own streams, and a prompt that shows nothing of what is typed. */
import process from 'node:process'
import { writeSync } from 'node:fs'
import { SignetError } from '../errors.ts'
import type { Terminal } from './context.ts'

/** The terminal of this process. Writes are synchronous: nothing is lost when the process ends. */
export const terminal: Terminal = {
  out: (text) => write(1, text),
  err: (text) => write(2, text),
  interactive: process.stderr.isTTY ?? false,
  columns: process.stderr.columns ?? 80,
  askSecret: process.stdin.isTTY ? askSecret : undefined,
}

function write(fd: number, text: string): void {
  let bytes: Uint8Array = new TextEncoder().encode(text)
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes))
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'EPIPE') return // the reader has seen enough
      if (code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1) // a slow reader of a pipe
    }
  }
}

/** Reads a line in raw mode. Ctrl-C and Ctrl-D give up, backspace deletes. */
function askSecret(prompt: string): Promise<string> {
  const { stdin } = process
  write(2, prompt)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.resume()
  let typed = ''
  return new Promise((resolve, reject) => {
    const end = (finish: () => void) => {
      stdin.off('data', read)
      stdin.setRawMode(false)
      stdin.pause()
      write(2, '\n')
      finish()
    }
    const read = (chunk: string) => {
      for (const character of chunk) {
        if (character === '\r' || character === '\n') return end(() => resolve(typed))
        if (character === '\x03' || character === '\x04') {
          return end(() => reject(new SignetError('aborted', 'no passphrase was typed')))
        }
        if (character === '\x7f' || character === '\b') typed = [...typed].slice(0, -1).join('')
        else if (character >= ' ') typed += character
      }
    }
    stdin.on('data', read)
  })
}
