/**
 * Emulators of AWS KMS that others wrote, as programs: ministack signs as AWS does (EC, RSA, Ed25519) but
 * encrypts without integrity; moto encrypts with integrity and context but hashes a digest once more before
 * signing. Neither knows ML-DSA. `SIGNET_MINISTACK` and `SIGNET_MOTO` name them; CI puts them in place.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import process from 'node:process'

/** One emulator. */
export interface Emulator {
  readonly name: string
  /** The program, if the environment names it. */
  readonly program: string | undefined
  /** Arguments and environment for a port. */
  start(port: number): { readonly args: string[]; readonly env: Record<string, string> }
}

/** ministack 1.5. */
export const MINISTACK: Emulator = {
  name: 'ministack',
  program: process.env.SIGNET_MINISTACK,
  start: (port) => ({ args: [], env: { GATEWAY_PORT: String(port), SERVICES: 'kms' } }),
}
/** moto 5. */
export const MOTO: Emulator = {
  name: 'moto',
  program: process.env.SIGNET_MOTO,
  start: (port) => ({ args: ['-H', '127.0.0.1', '-p', String(port)], env: {} }),
}

/** Why tests with an emulator are skipped; in CI they are not. */
export function lacking({ name, program }: Emulator): string | undefined {
  return program !== undefined || process.env.CI === 'true' ? undefined : `${name} is not named`
}

/** A running emulator. */
export interface Running {
  readonly endpoint: string
  stop(): Promise<void>
}

/** Starts an emulator and waits until it listens. */
export async function run(emulator: Emulator): Promise<Running> {
  if (emulator.program === undefined) throw new Error(`${emulator.name} is not there`)
  const port = await freePort()
  const { args, env } = emulator.start(port)
  const child: ChildProcess = spawn(emulator.program, args, {
    stdio: 'ignore',
    env: { ...process.env, ...env },
  })
  const endpoint = `http://127.0.0.1:${port}`
  const stop = () =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve()
      child.once('exit', () => resolve())
      child.kill()
    })
  for (let i = 0; i < 300; i++) {
    if (child.exitCode !== null) throw new Error(`${emulator.name} ended by itself`)
    try {
      await (await fetch(endpoint)).body?.cancel()
      return { endpoint, stop }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await stop()
  throw new Error(`${emulator.name} does not answer`)
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
