/**
 * Runs the core tests inside workerd: bundles them with `node:test` replaced by `_runner.ts`,
 * writes a configuration and starts `workerd test`. Exit code 0, 1, or 69 when there is no workerd
 * for this platform (69 is EX_UNAVAILABLE of sysexits.h; `test/all.ts` reads it as "missing").
 *
 * Runs under Deno, Node and Bun alike.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const files = readdirSync(join(here, 'core')).filter((name) => name.endsWith('.test.ts')).sort()

// Loaded one by one and inside the handler, where workerd allows randomness and timers.
const entry = `import { run } from './_runner.ts'
export default {
  test: () => run({
    ${files.map((name) => `'${name}': () => import('./core/${name}'),`).join('\n    ')}
  }),
}`

const { build, workerd, compatibilityDate } = await tools()
const folder = mkdtempSync(join(tmpdir(), 'signet-workerd-'))
try {
  await build({
    stdin: { contents: entry, resolveDir: here, sourcefile: 'workerd-entry.ts', loader: 'ts' },
    alias: { 'node:test': join(here, '_runner.ts') },
    external: ['node:*'],
    bundle: true,
    format: 'esm',
    target: 'esnext',
    logLevel: 'warning',
    outfile: join(folder, 'bundle.js'),
  })
  writeFileSync(
    join(folder, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "core", worker = (
  modules = [(name = "bundle.js", esModule = embed "bundle.js")],
  compatibilityDate = "${compatibilityDate}",
))]);
`,
  )
  const { status, error } = spawnSync(workerd, ['test', join(folder, 'config.capnp')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) throw error
  process.exitCode = status === 0 ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** The bundler and workerd's binary; ends the process when the platform has none. */
async function tools() {
  try {
    const { build } = await import('esbuild')
    // The binary's path is the default export; Node and Deno wrap the CommonJS module once more.
    const found: unknown = await import('workerd')
    const module = found as { default: string | { default: string } } & Record<string, unknown>
    const inner = typeof module.default === 'string' ? module : module.default
    const { default: workerd, compatibilityDate } = inner as {
      default: string
      compatibilityDate: string
    }
    return { build, workerd, compatibilityDate }
  } catch (error) {
    console.error(
      `workerd is not available here: ${error instanceof Error ? error.message : error}`,
    )
    process.exit(69)
  }
}
