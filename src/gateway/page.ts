/**
 * Pages for people: HTML made on the server, without script and without anything from elsewhere. All text is escaped
 * by the template; what is not text is an {@link Html} that the template made before.
 */
import { isSignetError } from '../errors.ts'
import { toBase64Url } from '../bytes.ts'

/** Markup that {@link html} made. */
export class Html {
  readonly #nominal = true
  /** The markup. */
  readonly text: string

  /** Called by {@link html} alone. */
  constructor(text: string) {
    this.text = text
  }
}

/** What can stand in a template. */
export type Part = string | number | Html | readonly Html[]

/** A template: all that is put in is escaped, unless it is markup already. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  let text = strings[0]!
  parts.forEach((part, i) => text += markup(part) + strings[i + 1]!)
  return new Html(text)
}

function markup(part: Part): string {
  if (part instanceof Html) return part.text
  if (typeof part === 'string' || typeof part === 'number') return escape(String(part))
  return part.map(({ text }) => text).join('')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Escapes, and shows what would turn or hide the text around it as a sign of its own. */
function escape(text: string): string {
  return text
    .replace(/[&<>"']/g, (sign) => ENTITIES[sign]!)
    .replace(
      /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
      (sign) => `[U+${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`,
    )
}

const STYLE = `
:root { color-scheme: light dark; --line: #8886; --warn: #b45309; --ok: #166534 }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; padding: 2rem 1rem; overflow-wrap: anywhere }
main { max-width: 40rem; margin: auto }
h1 { font-size: 1.4rem; line-height: 1.25 }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem }
ul { padding: 0; list-style: none; margin: 0 }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin: .5rem 0 }
li p { margin: .2rem 0 0 1.75rem; font-size: .9rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0 }
dt { opacity: .75 } dd { margin: 0 }
code { font: .9em ui-monospace, monospace }
.warn { color: var(--warn) }
.row { display: flex; gap: .75rem; margin-top: 1.5rem; flex-wrap: wrap }
button { font: inherit; padding: .6rem 1.4rem; border-radius: .5rem; border: 1px solid var(--line); cursor: pointer }
button.yes { background: var(--ok); color: #fff; border-color: var(--ok) }
input[type=text] { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem }
`

/** Options of {@link page}. */
export interface PageOptions {
  /** HTTP status. Default 200. */
  readonly status?: number | undefined
  /** Where forms may lead besides here: an origin, or a scheme with its colon. */
  readonly formTarget?: string | undefined
  /** More header fields. */
  readonly headers?: Headers | undefined
}

/** A whole page as answer. Its policy lets it load nothing and be shown in no frame. */
export function page(title: string, body: Html, options: PageOptions = {}): Response {
  const { status = 200, formTarget = '', headers = new Headers() } = options
  const nonce = toBase64Url(crypto.getRandomValues(new Uint8Array(16)))
  headers.set('content-type', 'text/html; charset=utf-8')
  headers.set(
    'content-security-policy',
    `default-src 'none'; style-src 'nonce-${nonce}'; form-action 'self' ${formTarget}; ` +
      "frame-ancestors 'none'; base-uri 'none'",
  )
  // Not no-referrer: browsers would then send "Origin: null" with our own forms.
  headers.set('referrer-policy', 'same-origin')
  headers.set('cross-origin-opener-policy', 'same-origin')
  const { text } = html`
    <!doctype html>
    <html lang="en">
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>${title}</title>
      <style nonce="${nonce}">${new Html(STYLE)}</style>
      <main>${body}</main>
  `
  return new Response(text, { status, headers })
}

/** An error as a page. A fault of our own says nothing. */
export function errorPage(error: unknown, status: number, headers: Headers): Response {
  const known = isSignetError(error) && status < 500
  const title = known ? 'This does not work' : 'The server failed'
  const text = known ? error.message : 'Please try again later.'
  const remedy = known ? error.remedy ?? '' : ''
  return page(
    title,
    html`
      <h1>${title}</h1>
      <p>${text}</p>
      <p>${remedy}</p>
    `,
    { status, headers },
  )
}
