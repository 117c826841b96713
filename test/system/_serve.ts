/** A real `signet serve` over a database on disk, which can be killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import type { Place } from '../core/_gateway.ts'
import { SIGNET, signet } from './_signet.ts'

/** A server that runs. */
export interface Served extends Place {
  /** Its process. */
  readonly pid: number
  /** What it said on standard error so far. */
  said(): string
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>
  /** Asks it to end; the exit code. */
  stop(): Promise<number | null>
}

/** Makes the issuer's key in a folder. */
export function makeIssuer(folder: string): void {
  const made = signet(
    folder,
    'keys',
    'new',
    '--key',
    'issuer.pem',
    '--algorithm',
    'Ed25519',
    '--insecure-clear-key',
  )
  if (made.code !== 0) throw new Error(made.err)
}

/** Starts a server on the folder `data`. The same port keeps the same issuer. */
export async function startServer(folder: string, port = 0, ...more: string[]): Promise<Served> {
  const [program, ...first] = SIGNET as [string, ...string[]]
  const child = spawn(program, [
    ...first,
    'serve',
    '--data',
    'data',
    '--key',
    'issuer.pem',
    '--insecure-clear-key',
    '--listen',
    `127.0.0.1:${port}`,
    '--json',
    ...more,
  ], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (part) => said += part)
  const ended = exitOf(child)
  const { issuer } = await firstAnswer(child, () => said)
  return {
    issuer,
    pid: child.pid!,
    fetch: (request) => fetch(request),
    operator: readFileSync(join(folder, 'data', 'operator.key'), 'utf8').trim(),
    get now() {
      return Math.floor(Date.now() / 1000)
    },
    said: () => said,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async stop() {
      // Not child.kill: Deno then says that the signal ended it, whatever its exit code was.
      process.kill(child.pid!, 'SIGTERM')
      return await ended
    },
  }
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve))
}

/** The answer that it prints once it listens. */
function firstAnswer(child: ChildProcess, said: () => string): Promise<{ issuer: string }> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout!.on('data', (part) => {
      text += part
      try {
        resolve(JSON.parse(text))
      } catch { /* more is to come */ }
    })
    child.once('exit', (code) => reject(new Error(`signet serve ended (${code}): ${said()}`)))
  })
}
