/**
 * Everything, on every runtime: `deno task test:all [--only check,deno,node,bun,workerd]`.
 *
 * Each suite is a task of `deno.json`; this program runs them one after another, but for two that mostly wait
 * for other processes, reads the counts from each runner's own closing lines and adds them up. A suite that exits 0 without saying that
 * tests ran has failed. A runtime that can't be had is a skip, and a failure where `CI=true`.
 */
import { spawn } from 'node:child_process'
import process from 'node:process'

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

interface Suite {
  /** What `--only` calls it. */
  readonly group: string
  readonly title: string
  /** The task of deno.json. */
  readonly task: string
  /** Reads the closing lines; undefined if they are not there. */
  readonly counts: (output: string) => Counts | undefined
  /** The part of the output that tells what failed. */
  readonly failures?: RegExp
  /** It runs beside the one before it: each of the two runs one file after another. */
  readonly beside?: boolean
}

const LIMIT_MS = 15 * 60_000
/** What a suite exits with when its runtime can't be had (EX_UNAVAILABLE, see runtime.ts). */
const UNAVAILABLE = 69

const SUITES: readonly Suite[] = [
  { group: 'check', title: 'static checks', task: 'check', counts: noTests },
  {
    group: 'deno',
    title: 'Deno, core',
    task: 'test:core',
    counts: denoCounts,
    failures: /^ ERRORS $[^]*/m,
  },
  {
    group: 'deno',
    title: 'Deno, system',
    task: 'test:system',
    counts: denoCounts,
    failures: /^ ERRORS $[^]*/m,
  },
  { group: 'bun', title: 'Bun', task: 'test:bun', counts: bunCounts, beside: true },
  {
    group: 'node',
    title: 'Node',
    task: 'test:node',
    counts: nodeCounts,
    failures: /^✖ failing tests:$[^]*/m,
  },
  { group: 'workerd', title: 'workerd, core', task: 'test:workerd', counts: plainCounts },
]

function noTests(): Counts {
  return { passed: 0, failed: 0, skipped: 0 }
}

/** `ok | 9 passed (2 steps) | 0 failed | 1 ignored (0.4s)` */
function denoCounts(output: string): Counts | undefined {
  const line = last(output, /^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed(.*)$/gm)
  if (line === undefined) return undefined
  const ignored = /(\d+) ignored/.exec(line[3] ?? '')
  return { passed: Number(line[1]), failed: Number(line[2]), skipped: Number(ignored?.[1] ?? 0) }
}

/** `ℹ pass 9`, one line for each count. */
function nodeCounts(output: string): Counts | undefined {
  const count = (what: string) => last(output, new RegExp(`^ℹ ${what} (\\d+)$`, 'gm'))?.[1]
  const passed = count('pass')
  if (passed === undefined) return undefined
  const sum = (...what: string[]) => what.reduce((total, one) => total + Number(count(one) ?? 0), 0)
  return {
    passed: Number(passed),
    failed: sum('fail', 'cancelled'),
    skipped: sum('skipped', 'todo'),
  }
}

/** ` 8 pass`, ` 1 skip`, ` 0 fail`, one line each. */
function bunCounts(output: string): Counts | undefined {
  const count = (what: string) => last(output, new RegExp(`^ *(\\d+) ${what}$`, 'gm'))?.[1]
  const passed = count('pass')
  if (passed === undefined) return undefined
  return {
    passed: Number(passed),
    failed: Number(count('fail') ?? 0) + Number(count('errors?') ?? 0),
    skipped: Number(count('skip') ?? 0) + Number(count('todo') ?? 0),
  }
}

/** `8 passed, 0 failed` */
function plainCounts(output: string): Counts | undefined {
  const line = last(output, /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)
  return line &&
    { passed: Number(line[1]), failed: Number(line[2]), skipped: Number(line[3] ?? 0) }
}

function last(text: string, pattern: RegExp): RegExpMatchArray | undefined {
  return [...text.matchAll(pattern)].at(-1)
}

/** Runs one task to its end; its output comes back as text without colours. */
function runTask(task: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    // A group of its own, so that a suite that hangs can be ended with all its children.
    const isWindows = process.platform === 'win32'
    const child = spawn(process.execPath, ['task', '--quiet', task], {
      detached: !isWindows,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
    })
    let output = ''
    let late = false
    const timer = setTimeout(() => {
      late = true
      if (isWindows || child.pid === undefined) child.kill()
      else process.kill(-child.pid, 'SIGKILL')
    }, LIMIT_MS)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => output += text)
    }
    child.on('error', (error) => resolve({ code: 1, output: `${output}\n${error}` }))
    child.on('close', (code) => {
      clearTimeout(timer)
      if (late) output += `\nended after ${LIMIT_MS / 60_000} minutes`
      resolve({ code: late ? 1 : code ?? 1, output })
    })
  })
}

function wanted(args: readonly string[]): readonly Suite[] {
  if (args.length === 0) return SUITES
  const groups = args[0] === '--only' && args.length === 2 ? (args[1] ?? '').split(',') : []
  const known = new Set(SUITES.map(({ group }) => group))
  if (groups.length === 0 || groups.some((group) => !known.has(group))) {
    console.error(`usage: deno task test:all [--only ${[...known].join(',')}]`)
    process.exit(1)
  }
  return SUITES.filter(({ group }) => groups.includes(group))
}

const isCi = process.env.CI === 'true'
const total = { passed: 0, failed: 0, skipped: 0 }
const row = (...cells: readonly string[]) =>
  console.log(
    cells.map((cell, i) => i === 0 ? cell.padEnd(16) : cell.padStart(9)).join('').trimEnd(),
  )

async function run(suite: Suite): Promise<void> {
  const started = performance.now()
  const { code, output } = await runTask(suite.task)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  if (code === UNAVAILABLE) {
    total[isCi ? 'failed' : 'skipped']++
    const reason = /^.* is not available here.*$/m.exec(output)?.[0] ?? ''
    row(suite.title, '-', isCi ? '1' : '-', isCi ? '-' : '1', seconds, `  ${reason}`)
    return
  }
  const found = suite.counts(output)
  const ranNothing = suite.counts !== noTests && (found === undefined || found.passed === 0)
  const { passed, skipped } = found ?? { passed: 0, skipped: 0 }
  // An exit code that the counts do not explain is a failure of its own.
  const failed = Math.max(found?.failed ?? 0, code !== 0 || ranNothing ? 1 : 0)
  total.passed += passed
  total.failed += failed
  total.skipped += skipped
  if (suite.counts === noTests) row(suite.title, failed ? '-' : 'ok', `${failed}`, '-', seconds)
  else row(suite.title, `${passed}`, `${failed}`, `${skipped}`, seconds)
  if (failed > 0) {
    console.log(`\n--- ${suite.title} (deno task ${suite.task}, exit code ${code}) ---`)
    if (ranNothing) console.log('no test ran')
    console.log((suite.failures?.exec(output)?.[0] ?? output).trim())
    console.log(`--- end of ${suite.title} ---\n`)
  }
}

row('', 'passed', 'failed', 'skipped', 'seconds')
const running: Promise<void>[] = []
for (const suite of wanted(process.argv.slice(2))) {
  if (!suite.beside) await Promise.all(running.splice(0))
  running.push(run(suite))
}
await Promise.all(running)

const ending = total.skipped === 0 ? '' : `, ${total.skipped} skipped`
console.log(`\n${total.passed} passed, ${total.failed} failed${ending}`)
process.exitCode = total.failed > 0 ? 1 : 0
