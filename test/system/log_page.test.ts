/** The report of a log in a real browser: what a person reads there, and what the page cannot do. */
import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, stop } from 'esbuild'
import type { Page } from 'playwright-core'
import { fileLogStorage } from '../../backends/log_fs.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromUtf8, toBase64 } from '../../src/bytes.ts'
import { formatVkey } from '../../src/envelope/mod.ts'
import { generateKey } from '../../src/keys/mod.ts'
import { formatProof, makeAnchor, openLog } from '../../src/log/mod.ts'
import { chromiumTest, withPage } from './_chromium.ts'
import { inFolder, signet } from './_signet.ts'
import type { InPage } from './_verify_in_page.ts'

const ORIGIN = 'example.com/audit'
const NASTY = '</code><script>document.title="owned"</script><img src="http://127.0.0.1:9/x">'
const SIZE = 600

/** A log in `audit` with 600 entries over ten hours, and an anchor of its first 500. Gives its vkeys. */
async function makeLog(folder: string) {
  const [key, postQuantum] = [
    await generateKey(ALGORITHMS['Ed25519']),
    await generateKey(ALGORITHMS['ML-DSA-44']),
  ]
  let now = Date.UTC(2026, 10, 21)
  const log = await openLog(fileLogStorage(join(folder, 'audit')), key, {
    origin: ORIGIN,
    alsoSign: [postQuantum],
    clock: () => now += 60_000,
  })
  const append = async (to: number) => {
    while (log.size < to) {
      await log.append({ type: 'tool.call', actor: NASTY, data: { i: log.size } })
    }
  }
  await append(500)
  const early = await log.checkpoint()
  writeFileSync(join(folder, 'anchor'), await makeAnchor(log.view(), early))
  await append(SIZE)
  await log.checkpoint()
  const proof = await log.prove(321)
  const entry = fromUtf8(await log.view().entry(321))
  await log.close()
  const [vkey, postQuantumVkey] = log.verifiers.map(formatVkey)
  return { proof: formatProof(proof), entry, vkey: vkey!, postQuantumVkey: postQuantumVkey! }
}

/** Opens a file with the network cut off; gives what it asked for, without what its own policy refused. */
async function openOffline(page: Page, file: string): Promise<ReadonlySet<string>> {
  const asked = new Set<string>()
  page.on('request', (request) => asked.add(request.url()))
  page.on('requestfailed', (request) => {
    if (request.failure()?.errorText === 'csp') asked.delete(request.url())
  })
  await page.context().setOffline(true)
  await page.goto(pathToFileURL(file).href)
  return asked
}

chromiumTest(
  'the report of a log reads well in Chromium, and asks nobody for anything',
  () =>
    inFolder(async (folder) => {
      const { vkey, postQuantumVkey } = await makeLog(folder)
      const trust = ['--vkey', vkey, '--vkey', postQuantumVkey, '--anchor', 'anchor']
      const done = signet(folder, 'log', 'verify', 'audit', ...trust, '--html', 'report.html')
      assert.equal(done.code, 0, done.err)
      const file = join(folder, 'report.html')
      await withPage(async (page) => {
        const asked = await openOffline(page, file)
        assert.equal(await page.title(), `Log ${ORIGIN}: whole`)
        assert.equal(await page.locator('header p').innerText(), `All ${SIZE} entries are whole`)
        const proved = await page.locator('section', { hasText: 'What is proved' }).innerText()
        assert.match(proved, /Signed by\s+example\.com\/audit\+[0-9a-f]{8} \(Ed25519\)/)
        assert.match(
          proved,
          /Signed by\s+example\.com\/audit\+[0-9a-f]{8} \(ML-DSA-44, 2026-11-21T/,
        )
        assert.match(proved, /the first 500 entries are those of the anchor; 100 came after/)
        assert.match(proved, /Written\s+2026-11-21T00:0/)

        const bars = await page.locator('svg rect').evaluateAll((all) =>
          all.map((bar) => {
            const { left, right } = bar.getBoundingClientRect()
            return { left, right, label: bar.textContent }
          })
        )
        const total = bars.reduce((sum, { label }) => sum + Number.parseInt(label ?? ''), 0)
        assert.equal(total, SIZE, 'the timeline shows every entry')
        const chart = (await page.locator('svg').boundingBox())!
        assert.ok(Math.abs(bars[0]!.left - chart.x) < 2, 'it starts where its axis starts')
        assert.ok(Math.abs(bars.at(-1)!.right - chart.x - chart.width) < 5, 'and ends there')

        const checkpoints = page.locator('section', { hasText: 'Checkpoint' }).filter({
          has: page.locator('details'),
        })
        assert.equal(await checkpoints.count(), 2)
        assert.match(await checkpoints.nth(0).innerText(), new RegExp(`\\n${SIZE}\\n`))
        assert.match(await checkpoints.nth(1).innerText(), /anchor[^]*\n500\n/)
        const signatures = checkpoints.nth(0).locator('details pre')
        assert.equal(await signatures.isVisible(), false)
        await checkpoints.nth(0).locator('summary').click()
        const note = readFileSync(join(folder, 'audit', 'checkpoint'), 'utf8')
        assert.equal((await signatures.innerText()).trim(), note.trim())

        const newest = page.locator('table.entries tr')
        assert.equal(await newest.count(), 200)
        assert.match(await newest.first().innerText(), /^599\s+\{"actor":"<\/code><script>/)
        for (const width of [360, 1280]) {
          await page.setViewportSize({ width, height: 800 })
          const over = await page.evaluate<number>('document.body.scrollWidth - innerWidth')
          assert.ok(over <= 0, `at ${width} pixels it is ${over} too wide`)
        }
        assert.deepEqual([...asked], [pathToFileURL(file).href])
      })

      // Even if something slipped through as markup, the page's policy lets it neither run nor load.
      const injected = readFileSync(file, 'utf8').replace('<main>', `<main>${NASTY}`)
      writeFileSync(file, injected)
      await withPage(async (page) => {
        const asked = await openOffline(page, file)
        await page.locator('main > img').waitFor({ state: 'attached' })
        // That the policy refused it is told a little later than that it was asked for.
        for (let i = 0; asked.size > 1 && i < 100; i++) await page.waitForTimeout(50)
        assert.equal(await page.title(), `Log ${ORIGIN}: whole`)
        assert.deepEqual([...asked], [pathToFileURL(file).href])
      })
    }),
)

/** Flips a byte in the first body of the second bundle, and loses the file of the third. */
function tamper(log: string): void {
  const path = join(log, 'tile', 'entries', '001')
  const bytes = readFileSync(path)
  bytes[bytes.indexOf('tool.call')] = 0x66
  writeFileSync(path, bytes)
  rmSync(join(log, 'tile', 'entries', '002.p'), { recursive: true })
}

chromiumTest('the report of a tampered log says so, and where', () =>
  inFolder(async (folder) => {
    const { vkey } = await makeLog(folder)
    tamper(join(folder, 'audit'))
    const done = signet(folder, 'log', 'verify', 'audit', '--vkey', vkey, '--html', 'report.html')
    assert.equal(done.code, 5, done.err)
    await withPage(async (page) => {
      await openOffline(page, join(folder, 'report.html'))
      assert.equal(await page.title(), `Log ${ORIGIN}: NOT WHOLE`)
      assert.equal(await page.locator('header p').innerText(), 'Not whole: 2 faults')
      const color = await page.evaluate<string>(
        "getComputedStyle(document.querySelector('header')).backgroundColor",
      )
      assert.equal(color, 'rgb(160, 28, 28)')
      assert.deepEqual(await page.locator('ol li').allInnerTexts(), [
        'entry 256 is not what was logged log_corrupt',
        'tile/entries/002.p/88 is missing log_corrupt',
      ])
      assert.match(await page.locator('main').innerText(), /a cut tail would not be noticed/)
    })
  }))

/** The files that a server of the log would serve. */
function published(log: string): Record<string, string> {
  const names = readdirSync(log, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => relative(log, join(one.parentPath, one.name)).split(sep).join('/'))
    .filter((name) => !name.startsWith('.signet'))
  return Object.fromEntries(names.map((name) => [name, toBase64(readFileSync(join(log, name)))]))
}

/** A page that holds the verifying core, and may load nothing. */
async function corePage(folder: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('_verify_in_page.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    platform: 'browser',
    write: false,
    logLevel: 'warning',
  })
  await stop()
  const code = outputFiles[0]!.text.replaceAll('</script', '<\\/script')
  const policy = "default-src 'none'; script-src 'unsafe-inline'"
  const file = join(folder, 'core.html')
  writeFileSync(
    file,
    `<!doctype html><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}"><script>${code}</script>`,
  )
  return file
}

chromiumTest(
  'a browser verifies proofs and whole logs by itself, with the same code',
  () =>
    inFolder(async (folder) => {
      const { proof, entry, vkey, postQuantumVkey } = await makeLog(folder)
      const file = await corePage(folder)
      const log = join(folder, 'audit')
      cpSync(log, join(folder, 'bad'), { recursive: true })
      tamper(join(folder, 'bad'))
      await withPage(async (page) => {
        const asked = await openOffline(page, file)
        const call = <F extends keyof InPage>(name: F, ...args: Parameters<InPage[F]>) =>
          page.evaluate(
            ([name, args]) =>
              (globalThis as unknown as { inPage: Record<string, (...a: unknown[]) => string> })
                .inPage[name]!(...args),
            [name, args] as const,
          )
        assert.equal(await call('proof', proof, entry, vkey), 'entry 321')
        assert.equal(await call('proof', proof, entry, postQuantumVkey), 'entry 321')
        assert.equal(await call('proof', proof, `${entry} `, vkey), 'proof_invalid')
        const forged = proof.replace(/\n600\n/, '\n601\n')
        assert.notEqual(forged, proof)
        assert.equal(await call('proof', forged, entry, vkey), 'signature_invalid')
        assert.equal(await call('proof', proof.slice(0, 100), entry, vkey), 'proof_malformed')

        const whole = await call('log', published(log), vkey)
        assert.match(whole, /All 600 entries are whole/)
        const bad = await call('log', published(join(folder, 'bad')), vkey)
        assert.match(bad, /Not whole: 2 faults[^]*entry 256 is not what was logged/)
        assert.deepEqual([...asked], [pathToFileURL(file).href])
      })
    }),
)
