/**
 * The part of `node:test` that the core tests use, for runtimes that have no test runner (workerd).
 * `test/workerd.ts` puts this module in the place of `node:test`. What is missing here fails at
 * bundling or with a TypeError, never silently.
 */

/** What a test function gets. */
interface Context {
  readonly name: string
  test(name: string, ...rest: Rest): Promise<void>
  skip(reason?: string): void
  diagnostic(message: string): void
  after(fn: () => unknown): void
}

type TestFn = (t: Context) => unknown
interface Options {
  readonly skip?: boolean | string
  readonly timeout?: number
}
type Rest = [fn: TestFn] | [options: Options, fn: TestFn]

interface Entry {
  readonly name: string
  readonly options: Options
  readonly fn: TestFn
}

const registered: Entry[] = []

/** Takes a test in; it runs when {@link run} comes to its file. */
export function test(name: string, ...rest: Rest): void {
  registered.push(entry(name, rest))
}

export default test

function entry(name: string, rest: Rest): Entry {
  const [options, fn] = rest.length === 1 ? [{}, rest[0]] : rest
  return { name, options, fn }
}

/**
 * Loads each file, runs the tests it registers, prints what fails and `N passed, N failed`.
 *
 * Throws after the last line when a test failed, a file did not load, a file registered no test,
 * or there were no files: an empty suite never passes.
 */
export async function run(files: Readonly<Record<string, () => Promise<unknown>>>): Promise<void> {
  let passed = 0
  let failed = 0
  let skipped = 0
  const report = (name: string, error: unknown) => {
    failed++
    console.log(`FAIL ${name}\n${describe(error)}`)
  }
  for (const [file, load] of Object.entries(files)) {
    registered.length = 0
    try {
      await load()
      if (registered.length === 0) throw new Error('no test in this file')
    } catch (error) {
      report(file, error)
      continue
    }
    for (const one of [...registered]) {
      try {
        if (await runOne(one) === 'skipped') skipped++
        else passed++
      } catch (error) {
        report(`${file}: ${one.name}`, error)
      }
    }
  }
  const ending = skipped === 0 ? '' : `, ${skipped} skipped`
  console.log(`${passed} passed, ${failed} failed${ending}`)
  if (failed > 0 || passed === 0) throw new Error('the suite failed')
}

async function runOne({ name, options, fn }: Entry): Promise<'passed' | 'skipped'> {
  if (options.skip) return 'skipped'
  let outcome: 'passed' | 'skipped' = 'passed'
  const cleanups: (() => unknown)[] = []
  // A subtest that nobody awaited still counts for its parent.
  const subtests: Promise<void>[] = []
  const context: Context = {
    name,
    test(subname, ...rest) {
      const sub = entry(subname, rest)
      const running = runOne(sub).then(() => {}, (cause) => {
        throw new Error(`subtest '${subname}' failed`, { cause })
      })
      subtests.push(running)
      return running
    },
    skip() {
      outcome = 'skipped'
    },
    diagnostic(message) {
      console.log(`${name}: ${message}`)
    },
    after(cleanup) {
      cleanups.push(cleanup)
    },
  }
  try {
    await within(options.timeout, async () => {
      await fn(context)
      await Promise.all(subtests)
    })
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup()
  }
  return outcome
}

async function within(ms: number | undefined, work: () => Promise<void>): Promise<void> {
  if (ms === undefined) return await work()
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${ms} ms`)), ms)
  })
  try {
    await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const stack = error.stack ?? ''
  const text = stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`
  return error.cause === undefined ? text : `${text}\ncaused by: ${describe(error.cause)}`
}
