/** This program as a process of its own, so that a demo can kill it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import process from 'node:process'
import type { Readable, Writable } from 'node:stream'

/** Starts the program of `script` (what runs now) with arguments. Its standard error goes nowhere. */
export function self(
  script: string,
  args: readonly string[],
): ChildProcessByStdio<Writable, Readable, null> {
  const flags = 'Deno' in globalThis && /\.ts$/.test(script) ? ['run', '-A', script] : [script]
  const program = /\.(ts|js|mjs)$/.test(script) ? flags : []
  return spawn(process.execPath, [...program, ...args], { stdio: ['pipe', 'pipe', 'ignore'] })
}
