/**
 * Programs of others in Python, that tests compare with. A variable of the environment names each; where it is absent
 * tests are skipped with the reason, and fail if `CI=true`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'

/** What runs Python with UTF-8 everywhere. */
export const PYTHON_ENV: NodeJS.ProcessEnv = { ...process.env, PYTHONUTF8: '1' }

/** Declares a test. */
export type Declare = (name: string, fn: () => unknown) => void

/** Declares tests that need the program that a variable names; `timeout` in milliseconds. */
export function testsWith(variable: string, timeout: number): Declare {
  const program = process.env[variable]
  const isAbsent = program === undefined || !existsSync(program)
  const why = program === undefined ? `${variable} is not set` : `there is no ${program}`
  return (name, fn) => {
    const skip = isAbsent && process.env.CI !== 'true' && why
    test(name, { skip, timeout }, async () => {
      if (isAbsent) throw new Error(why)
      await fn()
    })
  }
}

/** Runs a script with a Python; `input` is JSON on its standard input, so is what it prints. */
export function runScript<T>(python: string, script: string, input: unknown): T {
  const { status, stdout, stderr, error } = spawnSync(python, ['-c', script], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    env: PYTHON_ENV,
  })
  if (error) throw error
  if (status !== 0) throw new Error(`python ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}
