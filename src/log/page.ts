/**
 * The report of a verification as one page: no script, no network, nothing that a log says is markup.
 * A pure function, so a browser that ran the verification can show it as well.
 */
import { fromUtf8 } from '../bytes.ts'
import type { VerifiedCheckpoint } from './checkpoint.ts'
import type { LogReport } from './verify.ts'

/** What the page shows besides the report. */
export interface PageFacts {
  /** The verified checkpoint. */
  readonly checkpoint: VerifiedCheckpoint
  /** Entries of the anchored checkpoint, if there was an anchor. */
  readonly anchored?: number | undefined
  /** Names of a policy's witnesses, and whether they cosigned. */
  readonly witnesses?: readonly { readonly name: string; readonly cosigned: boolean }[] | undefined
  /** When it was verified, milliseconds since 1970. */
  readonly now: number
}

/** Entries that the page lists. */
const LISTED = 200
const BARS = 80

/** Collects what the page shows of the entries; hand `add` to `verifyLog` as `onEntry`. Its size is bounded. */
export interface PageEntries {
  /** Takes an entry in. */
  add(index: number, entry: Uint8Array): void
  /** Entries by type, most frequent first. */
  readonly types: ReadonlyMap<string, number>
  /** Time and number of entries, one row for every 256. */
  readonly times: readonly { readonly time: string; readonly count: number }[]
  /** The newest entries. */
  readonly newest: readonly { readonly index: number; readonly text: string }[]
}

/** An empty collection. */
export function pageEntries(): PageEntries {
  const types = new Map<string, number>()
  const times: { time: string; count: number }[] = []
  const newest: { index: number; text: string }[] = []
  return {
    types,
    times,
    newest,
    add(index, entry) {
      const text = fromUtf8(entry)
      const { type, time } = JSON.parse(text)
      const name = types.has(String(type)) || types.size < 50 ? String(type) : 'others'
      types.set(name, (types.get(name) ?? 0) + 1)
      const row = times.at(-1)
      if (row === undefined || row.count === 256) times.push({ time: String(time), count: 1 })
      else row.count++
      newest.push({ index, text })
      if (newest.length > 2 * LISTED) newest.splice(0, LISTED)
    },
  }
}

/** The page, HTML. */
export function reportPage(report: LogReport, entries: PageEntries, facts: PageFacts): string {
  const { head, whole, faults } = report
  const title = `Log ${head.origin}: ${whole ? 'whole' : 'NOT WHOLE'}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header class="${whole ? 'good' : 'bad'}">
<h1>${escape(head.origin)}</h1>
<p>${whole ? `All ${head.size} entries are whole` : `Not whole: ${faults.length} faults`}</p>
</header>
<main>
${section('What is proved, and by whom', proved(report, facts))}
${faults.length === 0 ? '' : section('Faults', faultList(report))}
${section('Timeline', timeline(entries))}
${section('Kinds of entries', kinds(entries))}
${section('Checkpoint', `<pre>${escape(facts.checkpoint.note)}</pre>`)}
${section(`Newest entries`, listed(entries))}
</main>
<footer>Verified ${
    escape(new Date(facts.now).toISOString())
  } by Signet. The page itself proves nothing:
verify the log again to be sure.</footer>
</body>
</html>
`
}

function section(title: string, body: string): string {
  return `<section><h2>${escape(title)}</h2>${body}</section>`
}

function proved({ head, pruned, times, verified }: LogReport, facts: PageFacts): string {
  const { checkpoint, anchored, witnesses } = facts
  const rows: [string, string][] = [
    ['Entries', `${head.size}, of which ${verified} bodies were read`],
  ]
  if (pruned > 0) rows.push(['Pruned', `the first ${pruned} bodies; their hashes hold`])
  if (times !== undefined) rows.push(['Written', `${times.first} to ${times.last}`])
  for (const { verifier, time } of checkpoint.verified) {
    const when = time === undefined
      ? ''
      : `, ${new Date(Math.min(time, 8.64e12) * 1000).toISOString()}`
    const what = `${verifier.name}+${verifier.id} (${verifier.key.algorithm.name}${when})`
    rows.push([verifier.name === head.origin ? 'Signed by' : 'Cosigned by', what])
  }
  for (const { name, cosigned } of witnesses ?? []) {
    rows.push([`Witness ${name}`, cosigned ? 'cosigned this checkpoint' : 'did not cosign'])
  }
  rows.push([
    'Anchor',
    anchored === undefined
      ? 'none was given: a cut tail would not be noticed'
      : `the first ${anchored} entries are those of the anchor; ${head.size - anchored} came after`,
  ])
  return `<table>${
    rows.map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`).join(
      '',
    )
  }</table>`
}

function faultList({ faults }: LogReport): string {
  return `<ol>${
    faults.map(({ code, message }) => `<li>${escape(message)} <code>${escape(code)}</code></li>`)
      .join('')
  }</ol>`
}

function timeline({ times }: PageEntries): string {
  const points = times.map(({ time, count }) => ({ at: Date.parse(time), count }))
    .filter(({ at }) => !Number.isNaN(at))
  const [first, last] = [points[0]?.at, points.at(-1)?.at]
  if (first === undefined || last === undefined) return '<p>No entry was read.</p>'
  const bars = Array.from({ length: BARS }, () => 0)
  for (const { at, count } of points) {
    const bar = Math.min(BARS - 1, Math.floor((at - first) / Math.max(1, last - first) * BARS))
    bars[bar]! += count
  }
  const most = Math.max(...bars)
  const shapes = bars.map((count, i) => {
    const height = count === 0 ? 0 : Math.max(1, Math.round(100 * count / most))
    return `<rect x="${i * 10}" y="${
      100 - height
    }" width="9" height="${height}"><title>${count} entries</title></rect>`
  })
  return `<svg viewBox="0 0 ${BARS * 10} 100" role="img" aria-label="entries over time">${
    shapes.join('')
  }</svg><p class="axis"><span>${iso(first)}</span><span>${iso(last)}</span></p>`
}

function kinds({ types }: PageEntries): string {
  const rows = [...types].sort(([, a], [, b]) => b - a)
  return `<table>${
    rows.map(([name, count]) => `<tr><th>${escape(name)}</th><td>${count}</td></tr>`).join('')
  }</table>`
}

function listed({ newest }: PageEntries): string {
  const rows = newest.slice(-LISTED).reverse()
  return `<table class="entries">${
    rows.map(({ index, text }) => `<tr><th>${index}</th><td><code>${escape(text)}</code></td></tr>`)
      .join('')
  }</table>`
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const ODD =
  // deno-lint-ignore no-control-regex -- these are what is replaced
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** Text as HTML text. What turns the direction of writing, and controls, are shown as escapes. */
function escape(text: string): string {
  return text
    .replace(ODD, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(/[&<>"']/g, (c) => ENTITIES[c]!)
}

const STYLE = `
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
header{padding:1rem 1.5rem;border-radius:.5rem;color:#fff}
header.good{background:#17663a}header.bad{background:#a01c1c}
h1{margin:0;font-size:1.4rem;overflow-wrap:anywhere}header p{margin:.25rem 0 0;font-size:1.1rem}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .75rem .2rem 0;border-top:1px solid #8884;overflow-wrap:anywhere}
th{white-space:nowrap;font-weight:600}
pre,code{font:.85rem/1.4 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
svg{width:100%;height:6rem;fill:#2f6fb3;background:#8881}
.axis{display:flex;justify-content:space-between;margin:.2rem 0;font-size:.8rem}
footer{margin:2rem 0;font-size:.85rem;opacity:.8}
`
