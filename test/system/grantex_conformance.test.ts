/**
 * Grantex's own conformance suite against our server. It is on no registry: `SIGNET_GRANTEX_CONFORMANCE` names the
 * `dist/index.js` that was built from `packages/conformance` of its repository. Skipped, with the reason, without it.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'
import { withServer } from './_grantex_server.ts'
import { inTemp } from './_temp.ts'

const program = process.env.SIGNET_GRANTEX_CONFORMANCE
const skip = program === undefined
  ? 'SIGNET_GRANTEX_CONFORMANCE is not set'
  : !existsSync(program) && `there is no ${program}`
const OPTIONAL = [
  ...['token-refresh', 'principal-sessions', 'policies', 'webhooks', 'scim', 'compliance'],
]

interface Report {
  readonly suites: readonly {
    readonly name: string
    readonly tests: readonly {
      readonly name: string
      readonly status: string
      readonly error?: string
    }[]
  }[]
  readonly summary: { readonly total: number; readonly passed: number }
}

test('the official conformance suite passes', { skip, timeout: 120_000 }, () =>
  inTemp((folder) => {
    const options = { insecureSandboxApproval: true }
    return withServer(folder, { options }, async ({ base, apiKey }) => {
      const report = await run(base, apiKey)
      const failed = report.suites.flatMap(({ name, tests }) =>
        tests.filter(({ status }) => status !== 'pass').map((one) =>
          `${name}: ${one.name}: ${one.error}`
        )
      )
      assert.deepEqual(failed, [])
      const { total, passed } = report.summary
      assert.deepEqual([passed, total], [73, 73])
    })
  }))

function run(base: string, apiKey: string): Promise<Report> {
  const include = OPTIONAL.join(',')
  const args = ['--base-url', base, '--api-key', apiKey, '--include', include, '--format', 'json']
  return new Promise((resolve, reject) => {
    const child = spawn('node', [program!, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    const out: string[] = []
    child.stdout.setEncoding('utf8').on('data', (text) => out.push(text))
    child.once('error', reject)
    child.once('close', () => {
      try {
        resolve(JSON.parse(out.join('')))
      } catch (error) {
        reject(error)
      }
    })
  })
}
