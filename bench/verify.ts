/**
 * Verifying a bundle over two small files, as a whole process: the single binary, this checkout on Deno, and
 * the reference implementation, in turn.
 *
 *     deno run -A bench/verify.ts [--runs 15] [--json]
 *
 * `SIGNET_MODEL_SIGNING` names the reference's program (or it is on the PATH); without it its row is missing.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const runs = Number(process.argv[process.argv.indexOf('--runs') + 1] || NaN) || 15
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'))

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
  })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(' ')}: ${stderr ?? error}`)
}

const cli = (...args: string[]) => run(process.execPath, 'run', '-A', join(root, 'cli.ts'), ...args)
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

try {
  const build = ['bun', 'build', '--compile', '--minify', '--bytecode', '--format=esm']
  const binary = join(folder, 'signet')
  spawnSync(
    process.execPath,
    ['run', '-A', 'test/runtime.ts', ...build, '--outfile', binary, 'cli.ts'],
    { cwd: root, stdio: 'ignore' },
  )
  writeFileSync(join(folder, 'pw'), 'bench\n', { mode: 0o600 })
  mkdirSync(join(folder, 'm'))
  for (const name of ['config.json', 'weights.bin']) {
    writeFileSync(join(folder, 'm', name), crypto.getRandomValues(new Uint8Array(60_000)))
  }
  cli('keys', 'new', '--key', 'a.pem', '--passphrase-file', 'pw')
  cli('model', 'sign', 'm', '--key', 'a.pem', '--passphrase-file', 'pw')
  writeFileSync(join(folder, 'a.pub.pem'), cli('keys', 'show', '--key', 'a.pem', '--pem'))

  const stock = process.env.SIGNET_MODEL_SIGNING ?? 'model_signing'
  const ours = ['model', 'verify', 'm', '--key', 'a.pub.pem']
  const theirs = ['verify', 'key', 'm', '--signature', 'm/model.sig', '--public_key', 'a.pub.pem']
  const contenders: Record<string, () => string> = {
    'signet, single binary': () => run(binary, ...ours),
    'signet, deno run': () => cli(...ours),
    'model_signing': () => run(stock, ...theirs),
    'floor: a process that does nothing': () => run('true'),
  }
  const times: Record<string, number[]> = {}
  for (let i = -1; i < runs; i++) { // the first round warms up
    for (const [name, work] of Object.entries(contenders)) {
      const start = performance.now()
      try {
        work()
      } catch (error) {
        if (name !== 'model_signing') throw error
        continue
      }
      if (i >= 0) (times[name] ??= []).push(performance.now() - start)
    }
  }
  const base = median(times['model_signing'] ?? [NaN])
  const rows = Object.entries(times).map(([name, all]) => ({
    what: name,
    'median ms': Math.round(median(all) * 10) / 10,
    'of model_signing': Math.round(median(all) / base * 1000) / 1000,
  }))
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ runs, cpu: cpus()[0]?.model, rows }))
  } else console.table(rows)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
