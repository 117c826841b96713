/** Builds the program beside this file, which compares Signet's log with Tessera's. Needs Go. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const program = join(here, '../../.cache/tessera')

/** Why it cannot be built on this machine, or undefined. */
export function lacksGo(): string | undefined {
  if (process.platform === 'win32') return "Tessera's POSIX storage is not for Windows"
  return spawnSync('go', ['version']).status === 0 ? undefined : 'no go on this machine'
}

/** Builds it; gives its path. Go's proxy is asked for the modules that this machine has not, else nothing. */
export function buildTessera(): string {
  mkdirSync(join(here, '../../.cache'), { recursive: true })
  const mine = `${program}.${process.pid}` // another process may build it at the same time
  const { status, stderr, error } = spawnSync(
    'go',
    ['build', '-mod=readonly', '-o', mine, '.'],
    {
      cwd: here,
      encoding: 'utf8',
      timeout: 300_000,
    },
  )
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`go build: ${stderr}`)
  renameSync(mine, program)
  return program
}

/** Runs it. */
export function runTessera(
  program: string,
  args: readonly string[],
  { input, timeout = 60_000 }: { readonly input?: unknown; readonly timeout?: number } = {},
): { readonly ok: boolean; readonly out: string; readonly err: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    input: JSON.stringify(input) ?? '',
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    timeout,
  })
  if (error !== undefined) throw error
  return { ok: status === 0, out: stdout, err: stderr }
}
