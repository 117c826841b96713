/** The consent page in a real browser, before a real `signet serve`: what a person clicks, and what others cannot. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import process from 'node:process'
import type { Page } from 'playwright-core'
import { serveHttp } from '../../backends/http_server.ts'
import {
  asOperator,
  bodyOf,
  claimsOf,
  device,
  formOf,
  parFields,
  postForm,
  registered,
  signedForm,
  tokenFields,
} from '../core/_gateway.ts'
import { chromiumTest, withPage } from './_chromium.ts'
import { makeIssuer, type Served, startServer } from './_serve.ts'
import { inFolder } from './_signet.ts'

/** The site of an application: says what it was called with, and shows whatever page it is given. */
interface Site {
  readonly url: string
  show(page: string): void
  readonly calls: readonly URL[]
}

async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  const calls: URL[] = []
  let page = '<h1>Application</h1>'
  const server = await serveHttp((request) => {
    calls.push(new URL(request.url))
    const headers = { 'content-type': 'text/html' }
    return Promise.resolve(new Response(page, { headers }))
  }, { port: 0 })
  try {
    await work({ url: server.url, calls, show: (text) => void (page = text) })
  } finally {
    await server.close()
  }
}

async function signInLink(server: Served, principal: string): Promise<string> {
  const made = await asOperator(server, 'POST', '/admin/sign-in-codes', { principal })
  return (await bodyOf(made, 201)).link
}

async function push(server: Served, agent: string, redirectUri: string): Promise<string> {
  const fields = await parFields(agent, { redirect_uri: redirectUri, limits: LIMITS })
  const { request_uri: uri } = await bodyOf(await postForm(server, '/oauth/par', fields), 201)
  return `${server.issuer}/oauth/authorize?${formOf({ client_id: agent, request_uri: uri })}`
}

const LIMITS = '{"mail:send":{"calls":{"max":3,"per_seconds":86400}}}'
const NASTY = '<script>document.title="owned"</script><img src="http://127.0.0.1:9/x">'

/** A request for authority that an agent has pushed, with its application beside the server. */
interface Scene {
  readonly server: Served
  readonly site: Site
  readonly agent: string
  readonly redirectUri: string
  /** Where the application sends the person. */
  readonly start: string
}

async function withRequest(work: (scene: Scene) => Promise<void>, about = {}): Promise<void> {
  await inFolder(async (folder) => {
    makeIssuer(folder)
    const server = await startServer(folder)
    try {
      await withSite(async (site) => {
        const redirectUri = `${site.url}/cb`
        const agent = await registered(server, { ...about, redirect_uris: [redirectUri] })
        const start = await push(server, agent, redirectUri)
        await work({ server, site, agent, redirectUri, start })
      })
    } finally {
      await server.kill()
    }
  })
}

/** On the page that asks for it. */
async function typeCode(page: Page, code: string): Promise<void> {
  await page.waitForURL(/\/sign-in/)
  await page.getByLabel('Code').fill(code)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

chromiumTest(
  'a person signs in, reads what is asked, leaves one tool out, and allows the rest',
  () =>
    withRequest(async ({ server, site, agent, redirectUri, start }) => {
      const link = await signInLink(server, 'alice')
      await withPage(async (page) => {
        const asked: string[] = []
        const faults: string[] = []
        page.on('request', (request) => asked.push(request.url()))
        page.on('console', (message) => {
          if (message.type() === 'error') faults.push(message.text())
        })
        // The application sends the person over; nobody is signed in yet.
        site.show(`<a href="${start.replaceAll('&', '&amp;')}">Connect</a>`)
        await page.goto(site.url)
        await page.getByText('Connect').click()
        await typeCode(page, new URL(link).searchParams.get('code')!)

        await page.waitForURL(/\/consent\//)
        assert.equal(
          await page.getByRole('heading', { level: 1 }).innerText(),
          'Post robot asks to act for you',
        )
        const text = await page.locator('main').innerText()
        for (
          const words of [
            'calendar:read',
            'at most 3 calls in 24 hours',
            '24 hours',
            agent,
            'alice',
            redirectUri,
            NASTY,
          ]
        ) assert.ok(text.includes(words), words)
        assert.equal(await page.title(), 'Post robot asks for your permission')
        // The style of the page is let through by its own policy.
        assert.equal(
          await page.evaluate('getComputedStyle(document.querySelector("button.yes")).color'),
          'rgb(255, 255, 255)',
        )
        if (process.env.SIGNET_SCREENSHOTS !== undefined) {
          await page.screenshot({
            path: join(process.env.SIGNET_SCREENSHOTS, 'consent.png'),
            fullPage: true,
          })
        }
        await page.getByRole('checkbox', { name: 'calendar:read' }).uncheck()
        await page.getByRole('button', { name: 'Allow' }).click()
        await page.waitForURL(`${redirectUri}?**`)
        const own = [server.issuer, site.url]
        assert.deepEqual(asked.filter((url) => !own.includes(new URL(url).origin)), [])
        assert.deepEqual(faults.filter((fault) => !fault.includes('favicon')), [])
      })
      const answer = site.calls.find(({ pathname }) => pathname === '/cb')!.searchParams
      assert.equal(answer.get('state'), 's1')
      assert.equal(answer.get('iss'), server.issuer)
      const who = await device()
      const fields = tokenFields(agent, answer.get('code')!, who, { redirect_uri: redirectUri })
      const { access_token: token } = await bodyOf(
        await signedForm(server, who, '/oauth/token', fields),
      )
      assert.deepEqual(Object.keys(claimsOf(token).authorization_details[0].tools), ['mail:send'])
      const { items } = await bodyOf(
        await asOperator(server, 'GET', '/admin/grants?principal=alice'),
      )
      assert.equal(items.length, 1)
    }, { name: 'Post robot', description: NASTY }),
)

chromiumTest(
  'another site can neither send the form nor frame the page, for a person who is signed in',
  () =>
    withRequest(async ({ server, site, redirectUri, start }) => {
      const link = await signInLink(server, 'alice')
      await withPage(async (page) => {
        await page.goto(link)
        await page.getByRole('button', { name: 'Sign in' }).click()
        await page.getByText('You are signed in').waitFor()
        await page.goto(start)
        await page.waitForURL(/\/consent\//)
        const consent = page.url()
        const token = await page.locator('input[name=token]').getAttribute('value')

        // Even with a token that it cannot have: the browser says where the form comes from.
        site.show(`<form method="post" action="${consent}">
          <input name="token" value="${token}"><input name="tool" value="mail:send">
          <input name="decision" value="approve"></form>
          <script>document.forms[0].submit()</script>`)
        await page.goto(site.url)
        await page.getByText('sent from elsewhere').waitFor()

        site.show(`<iframe src="${consent}"></iframe>`)
        await page.goto(site.url)
        await page.waitForLoadState('networkidle')
        const frame = page.frames().find((one) => one !== page.mainFrame())
        assert.equal(await frame?.getByRole('button').count() ?? 0, 0)

        // Nothing was decided by that; the person still can.
        await page.goto(consent)
        await page.getByRole('button', { name: 'Deny' }).click()
        await page.waitForURL(`${redirectUri}?**`)
      })
      const answer = site.calls.find(({ pathname }) => pathname === '/cb')!.searchParams
      assert.equal(answer.get('error'), 'access_denied')
      assert.equal(answer.get('code'), null)
    }),
)

chromiumTest(
  'whoever has the address of a request, and is not signed in, cannot approve it',
  () =>
    withRequest(async ({ site, start }) => {
      await withPage(async (page) => {
        await page.goto(start)
        await page.waitForURL(/\/sign-in/)
        assert.equal(await page.getByRole('button', { name: 'Allow' }).count(), 0)
        await typeCode(page, 'sgin_' + 'A'.repeat(43))
        await page.getByText('unknown, used up or too old').waitFor()
      })
      assert.equal(site.calls.length, 0)
    }),
)
