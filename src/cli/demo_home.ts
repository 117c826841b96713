/** A folder of its own in which a demo plays, and which goes when it ends. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import type { Run } from './context.ts'

/** Plays in a new folder, as the working directory: so the commands shown are short, and work when typed. */
export async function inDemoHome(
  run: Run,
  flags: { readonly keep?: boolean },
  play: (home: string) => number | Promise<number>,
): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), 'signet-demo-'))
  const here = process.cwd()
  try {
    process.chdir(home)
    return await play(home)
  } finally {
    process.chdir(here)
    if (flags.keep) run.say(`kept in ${home}`)
    else rmSync(home, { recursive: true, force: true })
  }
}
