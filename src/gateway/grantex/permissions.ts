/** The page on which a principal sees and revokes their grants; its session stands in the fragment of its URL. */
import type { Answer } from './call.ts'

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Your permissions</title>
<h1>Your permissions</h1>
<p id="state" role="status">Loading…</p>
<ul id="grants"></ul>
<script src="permissions.js"></script>
</html>
`

/** Only text is put into the page, nothing as markup. */
const SCRIPT = `'use strict'
const session = new URLSearchParams(location.hash.slice(1)).get('session') ?? ''
history.replaceState(null, '', location.pathname)
const state = document.getElementById('state')
const list = document.getElementById('grants')
const call = (method, path) =>
  fetch('v1/principal/' + path, { method, headers: { authorization: 'Bearer ' + session } })
async function show() {
  const answer = await call('GET', 'grants')
  if (!answer.ok) {
    state.textContent = 'This link is no longer good.'
    return
  }
  const { grants } = await answer.json()
  state.textContent = grants.length === 0 ? 'Nobody acts for you.' : ''
  list.replaceChildren(...grants.map((grant) => {
    const item = document.createElement('li')
    item.textContent = grant.agentId + ': ' + grant.scopes.join(', ') + ' (' + grant.status + ') '
    if (grant.status !== 'active') return item
    const button = document.createElement('button')
    button.textContent = 'Revoke'
    button.onclick = async () => {
      button.disabled = true
      await call('DELETE', 'grants/' + encodeURIComponent(grant.grantId))
      await show()
    }
    item.append(button)
    return item
  }))
}
show().catch(() => { state.textContent = 'The server does not answer.' })
`

/** `GET /permissions`. */
export function permissionsPage(): Answer {
  const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; " +
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
  return { status: 200, body: PAGE, type: 'text/html; charset=utf-8', policy }
}

/** `GET /permissions.js`. */
export function permissionsScript(): Answer {
  return { status: 200, body: SCRIPT, type: 'text/javascript; charset=utf-8' }
}
