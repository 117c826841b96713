/** Runs the command line as a process of its own, on the runtime that runs the tests. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../cli.ts', import.meta.url))
const RUN = 'Deno' in globalThis ? ['run', '-A', CLI] : [CLI]

/** What a run left. */
export interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** The program and its first arguments, for a shell. */
export const SIGNET: readonly string[] = [process.execPath, ...RUN]

/** Runs `signet` with arguments in a folder. Nobody can type. */
export function signet(cwd: string, ...args: string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...RUN, ...args], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
    timeout: 60_000,
  })
  return { code: status, out: stdout, err: stderr }
}

/** The same while this process goes on, with settings in the environment. */
export function signetBeside(
  cwd: string,
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<Outcome> {
  const child = spawn(process.execPath, [...RUN, ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...env },
    timeout: 60_000,
  })
  let [out, err] = ['', '']
  child.stdout.on('data', (part) => out += part)
  child.stderr.on('data', (part) => err += part)
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

/** A folder of its own for a test, with a passphrase in `pw`; gone afterwards. */
export async function inFolder(work: (folder: string) => unknown): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'signet-test-'))
  writeFileSync(join(folder, 'pw'), 'correct horse\n', { mode: 0o600 })
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
