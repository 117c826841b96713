/**
 * A page in a real Chromium: Debian's, or the one that `SIGNET_CHROMIUM` names. Where there is none, tests
 * are skipped with the reason, and fail if `CI=true`.
 */
import { existsSync } from 'node:fs'
import process from 'node:process'
import { test } from 'node:test'
import { chromium, type Page } from 'playwright-core'
import { inTemp } from './_temp.ts'

const program = process.env.SIGNET_CHROMIUM ?? '/usr/bin/chromium'
const isAbsent = !existsSync(program)
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A test that needs Chromium. */
export function chromiumTest(name: string, fn: () => unknown): void {
  const skip = isAbsent && process.env.CI !== 'true' && `there is no ${program}`
  test(name, { skip, timeout: 120_000 }, async () => {
    if (isAbsent) throw new Error(`there is no ${program}; set SIGNET_CHROMIUM`)
    await fn()
  })
}

/** A page of a browser that knows nothing yet; gone afterwards. */
export async function withPage<T>(work: (page: Page) => Promise<T>): Promise<T> {
  let result: T
  await inTemp(async (profile) => {
    const options = { executablePath: program, headless: true, args: ARGS }
    const browser = await chromium.launchPersistentContext(profile, options)
    try {
      result = await work(browser.pages()[0] ?? await browser.newPage())
    } finally {
      await browser.close()
    }
  })
  return result!
}
