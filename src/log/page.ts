/**
 * The report of a verification as one page: no script, no network, nothing that a log says is markup.
 * A pure function, so a browser that ran the verification can show it as well.
 */
import { fromUtf8 } from '../bytes.ts'
import type { VerifiedCheckpoint } from './checkpoint.ts'
import { MAX_FAULTS } from './bundle_report.ts'
import type { LogReport } from './verify.ts'

/** What the page shows besides the report. */
export interface PageFacts {
  /** The verified checkpoint. */
  readonly checkpoint: VerifiedCheckpoint
  /** The anchored checkpoint, if there was an anchor. */
  readonly anchored?: VerifiedCheckpoint | undefined
  /** Names of a policy's witnesses, and whether they cosigned. */
  readonly witnesses?: readonly { readonly name: string; readonly cosigned: boolean }[] | undefined
  /** When it was verified, milliseconds since 1970. */
  readonly now: number
}

/** Entries that the page lists. */
const LISTED = 200
const BARS = 80
/** Rows of the timeline at most; then two become one. */
const ROWS = 2048

/** Collects what the page shows of the entries; hand `add` to `verifyLog` as `onEntry`. Its size is bounded. */
export interface PageEntries {
  /** Takes an entry in. */
  add(index: number, entry: Uint8Array): void
  /** Entries by type, most frequent first. */
  readonly types: ReadonlyMap<string, number>
  /** Number of entries, and the time of the first of them; at most 2048 rows. */
  readonly times: readonly { readonly time: string; readonly count: number }[]
  /** The newest entries. */
  readonly newest: readonly { readonly index: number; readonly text: string }[]
}

/** An empty collection. */
export function pageEntries(): PageEntries {
  const types = new Map<string, number>()
  let times: { time: string; count: number }[] = []
  let perRow = 1
  const newest: { index: number; text: string }[] = []
  return {
    types,
    get times() {
      return times
    },
    newest,
    add(index, entry) {
      const { text, type, time } = shown(entry)
      const name = types.has(type) || types.size < 50 ? type : 'others'
      types.set(name, (types.get(name) ?? 0) + 1)
      const row = times.at(-1)
      if (row !== undefined && row.count < perRow) row.count++
      else {
        if (times.length === ROWS) {
          times = times.filter((_, i) => i % 2 === 0).map(({ time }, i) => ({
            time,
            count: times[2 * i]!.count + times[2 * i + 1]!.count,
          }))
          perRow *= 2
        }
        times.push({ time, count: 1 })
      }
      newest.push({ index, text })
      if (newest.length > 2 * LISTED) newest.splice(0, LISTED)
    },
  }
}

/** What the page says of an entry. A log may hold what is none; the report has a fault for it then. */
function shown(entry: Uint8Array): { text: string; type: string; time: string } {
  try {
    const text = fromUtf8(entry)
    const { type, time } = JSON.parse(text)
    return { text, type: String(type), time: String(time) }
  } catch {
    return { text: `${entry.length} bytes that are no entry`, type: 'unreadable', time: '' }
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
<p>${whole ? wholeCount(head.size) : `Not whole: ${faultCount(report)}`}</p>
</header>
<main>
${section('What is proved, and by whom', proved(report, facts))}
${faults.length === 0 ? '' : section('Faults', faultList(report))}
${section('Timeline', timeline(report, entries))}
${section('Kinds of entries', kinds(entries))}
${section('Checkpoint', checkpointText(facts.checkpoint))}
${
    facts.anchored === undefined
      ? ''
      : section('Checkpoint of the anchor', checkpointText(facts.anchored))
  }
${section('Newest entries', listed(entries))}
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
      : `the first ${anchored.size} entries are those of the anchor; ${
        head.size - anchored.size
      } came after`,
  ])
  return `<table>${
    rows.map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`).join(
      '',
    )
  }</table>`
}

function wholeCount(size: number): string {
  return size === 1 ? 'The only entry is whole' : `All ${size} entries are whole`
}

function faultCount({ faults }: LogReport): string {
  if (faults.length === 1) return '1 fault'
  return faults.length < MAX_FAULTS ? `${faults.length} faults` : `${MAX_FAULTS} faults or more`
}

/** What was signed; the signatures, which may be long, on demand. */
function checkpointText({ note }: VerifiedCheckpoint): string {
  const end = note.indexOf('\n\n') + 1
  return `<pre>${
    escape(note.slice(0, end))
  }</pre><details><summary>as it was signed</summary><pre>${escape(note)}</pre></details>`
}

function faultList({ faults }: LogReport): string {
  return `<ol>${
    faults.map(({ code, message }) => `<li>${escape(message)} <code>${escape(code)}</code></li>`)
      .join('')
  }</ol>`
}

function timeline({ times: span }: LogReport, { times }: PageEntries): string {
  const [first, last] = [Date.parse(span?.first ?? ''), Date.parse(span?.last ?? '')]
  const points = times.map(({ time, count }) => ({ at: Date.parse(time), count }))
    .filter(({ at }) => at >= first && at <= last)
  if (points.length === 0) return '<p>No entry was read.</p>'
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
  return `<svg viewBox="0 0 ${
    BARS * 10
  } 100" preserveAspectRatio="none" role="img" aria-label="entries over time">${
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
th{white-space:nowrap;font-weight:600;width:1%}
details{font-size:.85rem}summary{cursor:pointer}
pre,code{font:.85rem/1.4 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
table.entries code{word-break:break-all}
svg{width:100%;height:6rem;fill:#2f6fb3;background:#8881}
.axis{display:flex;justify-content:space-between;margin:.2rem 0;font-size:.8rem}
footer{margin:2rem 0;font-size:.85rem;opacity:.8}
`
