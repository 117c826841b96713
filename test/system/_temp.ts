/** What tests on a real disk need: a folder that goes away, and programs that make odd things. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** Runs a test in a fresh folder, named without links. */
export async function inTemp(body: (folder: string) => unknown): Promise<void> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'signet-test-'))
  try {
    await body(folder)
  } finally {
    // rm, not rmSync: it gets rid of names that are no UTF-8 and of paths longer than PATH_MAX.
    execFileSync('rm', ['-rf', folder])
  }
}

/** Runs a line of shell; `$1` … are the arguments. */
export function shell(line: string, ...args: string[]): void {
  execFileSync('sh', ['-ec', line, 'sh', ...args])
}

/** The command line that runs a script of this repository in the runtime of this test. */
export function sameRuntime(script: string, ...args: string[]): [string, string[]] {
  const config = fileURLToPath(new URL('../../deno.json', import.meta.url))
  const flags = process.versions.deno ? ['run', '-A', '--no-check', `--config=${config}`] : []
  return [process.execPath, [...flags, script, ...args]]
}
