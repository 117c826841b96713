/**
 * Grantex's own clients. That of npm is a dependency of the tests; that of PyPI is run by the Python that
 * `SIGNET_GRANTEX_PYTHON` names.
 */
import { spawn } from 'node:child_process'
import process from 'node:process'
import {
  grantexAuditKey,
  type GrantexBundle,
  mintGrantexToken,
  newGrantexAuditKey,
} from '../../src/interop/grantex/mod.ts'
import type { Key } from '../../src/keys/mod.ts'
import { type Declare, PYTHON_ENV, runScript, testsWith } from './_python.ts'

const python = process.env.SIGNET_GRANTEX_PYTHON

/** A test that needs the Python client. */
export const pythonTest: Declare = testsWith('SIGNET_GRANTEX_PYTHON', 120_000)

/** Runs a script with the Python client; `input` is JSON on its standard input, so is what it prints. */
export function runPython<T>(script: string, input: unknown): T {
  return runScript(python!, script, input)
}

/** A script that runs, and is talked to: a line of JSON in, a line of JSON out. */
export interface Talking {
  /** Says something; what it answers. */
  // deno-lint-ignore no-explicit-any -- whatever it says
  say(value: unknown): Promise<any>
  /** Waits until it has ended well. */
  end(): Promise<void>
}

/** Starts a script with the Python clients. */
export function startPython(script: string): Talking {
  const child = spawn(python!, ['-c', script], { env: PYTHON_ENV })
  let [out, err] = ['', '']
  child.stderr.setEncoding('utf8').on('data', (text) => err += text)
  const ended = new Promise<void>((resolve, reject) => {
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`python ended with ${code}: ${err}`))
    })
  })
  ended.catch(() => {}) // whoever waits hears of it
  child.stdout.setEncoding('utf8')
  const failed = new Promise<never>((_, reject) => ended.catch(reject))
  failed.catch(() => {})
  return {
    async say(value) {
      child.stdin.write(`${JSON.stringify(value)}\n`)
      const told = new Promise<string>((resolve) => {
        const take = (text: string) => {
          out += text
          const end = out.indexOf('\n')
          if (end < 0) return
          child.stdout.off('data', take)
          const first = out.slice(0, end)
          out = out.slice(end + 1)
          resolve(first)
        }
        child.stdout.on('data', take)
      })
      return JSON.parse(await Promise.race([told, failed]))
    },
    async end() {
      child.stdin.end()
      await ended
    },
  }
}

/** The Python client's program, for what takes longer than a moment. */
export function pythonProgram(): string {
  return python!
}

/** A bundle of ours, issued now, with its audit key. */
export async function someBundle(rsa: Key): Promise<{ bundle: GrantexBundle; audit: Key }> {
  const now = Math.floor(Date.now() / 1000)
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString()
  const { pem } = await newGrantexAuditKey()
  const grantToken = await mintGrantexToken(
    {
      issuer: 'https://signet.example',
      principal: 'user_1',
      agent: 'did:grantex:ag_1',
      developer: 'dev_1',
      scopes: ['calendar:read', 'email:send'],
      grant: 'grnt_1',
      id: 'tok_1',
      issuedAt: now,
      expiresAt: now + 3600,
      depth: 0,
    },
    rsa,
  )
  const keys = [{ ...rsa.publicKey.jwk, use: 'sig', kid: rsa.publicKey.id }]
  const bundle = {
    bundleId: 'bundle_01HX',
    grantToken,
    jwksSnapshot: { keys, fetchedAt: iso(now), validUntil: iso(now + 3600) },
    offlineAuditKey: pem,
    checkpointAt: now * 1000,
    syncEndpoint: 'https://signet.example/v1/audit/offline-sync',
    offlineExpiresAt: iso(now + 3600),
  }
  return { bundle, audit: await grantexAuditKey(bundle) }
}
