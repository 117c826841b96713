/** Where people sign in with the one-time code that the operator gave them. */
import { SignetError } from '../errors.ts'
import { field, readForm } from './body.ts'
import { checkOrigin } from './consent.ts'
import { type Html, html, page } from './page.ts'
import { cookieName, principalOfCode, SESSION_SECONDS, signIn } from './principals.ts'
import type { Routes } from './world.ts'

/**
 * `GET /sign-in` shows the form; with `?code=…` it only lacks the click, so that whatever follows links by itself does
 * not use the code up. `POST /sign-in` uses it up.
 */
export const signInRoutes: Routes = (app, world) => {
  app.get('/sign-in', async (c) => {
    world.count(c.req.raw, 'start')
    const code = c.req.query('code') ?? ''
    const principal = await principalOfCode(world.store, code.trim(), world.now())
    return form(code, c.req.query('back') ?? '', principal)
  })
  app.post('/sign-in', async (c) => {
    world.count(c.req.raw, 'start')
    checkOrigin(world, c.req.raw)
    const fields = await readForm(c.req.raw)
    const back = field(fields, 'back') ?? ''
    const code = field(fields, 'code')?.trim() ?? ''
    const principal = await principalOfCode(world.store, code, world.now())
    if (principal !== undefined) await world.admit(principal)
    const cookie = await signIn(world.store, code, world.now())
    if (cookie === undefined) {
      throw new SignetError('unauthenticated', 'the code is unknown, used up or too old', {
        remedy: 'ask the operator for a new one',
      })
    }
    const secure = world.issuer.startsWith('https:') ? '; Secure' : ''
    const headers = new Headers({
      // Lax: a person comes to the consent page from the site of the agent.
      'set-cookie': `${cookieName(world.issuer)}=${cookie}; Path=/; HttpOnly; SameSite=Lax; ` +
        `Max-Age=${SESSION_SECONDS}${secure}`,
    })
    if (!isOurs(back)) {
      return page(
        'Signed in',
        html`
          <h1>You are signed in</h1>
          <p>Go back to the application.</p>
        `,
        {
          headers,
        },
      )
    }
    headers.set('location', back)
    return new Response(null, { status: 303, headers })
  })
}

/** Only pages of consent, so that nobody is sent elsewhere. */
function isOurs(back: string): boolean {
  return /^\/consent\/[\w-]{1,100}$/.test(back)
}

function asWhom(principal: string): Html {
  return html`
    <p>You sign in as <code>${principal}</code>. If this is not you, do not go on.</p>
  `
}

/** Says as whom: a stranger may have passed on a link of their own, to have somebody approve in their name. */
function form(code: string, back: string, principal: string | undefined): Response {
  return page(
    'Sign in',
    html`
      <h1>Sign in</h1>
      <p>The operator of this server gave you a link or a code. It works once.</p>
      ${principal === undefined ? '' : asWhom(principal)}
      <form method="post" action="/sign-in">
        <input type="hidden" name="back" value="${back}">
        <p><label>Code <input type="text" name="code" value="${code}" autocomplete="off" required></label></p>
        <div class="row"><button class="yes">Sign in</button></div>
      </form>
    `,
  )
}
