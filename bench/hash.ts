/**
 * How fast folders are hashed, against what the machine can do: `openssl dgst -sha256` in the same
 * run, on the same files in the page cache.
 *
 *     deno run -A bench/hash.ts [--quick] [--json]      (also with node and bun)
 *
 * Every row is measured in alternation with openssl and told as the median of its ratios to the run
 * of openssl just before it: what else the machine does then hits both. `openssl x2` is two processes
 * at once, the most that two threads can reach. Whole processes that hash and sign: `signet model sign`, run by
 * the runtime that runs this; the reference implementation `model_signing` and `aumai-modelseal`, where they are
 * on PATH or named by SIGNET_MODEL_SIGNING and SIGNET_MODELSEAL.
 */
import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomFillSync } from 'node:crypto'
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { folderTree } from '../backends/fs.ts'

const run = promisify(execFile)
const MIB = 1 << 20
const quick = process.argv.includes('--quick')
const json = process.argv.includes('--json')
const total = (quick ? 256 : 1024) * MIB
const rounds = quick ? 3 : 5
const say = (line: string) => json ? console.error(line) : console.log(line)

/** Digests a whole folder as the models room does: a fixed number of runners over one listing. */
async function hashFolder(folder: string, workers: number): Promise<number> {
  const tree = folderTree(folder, { workers })
  const entries = tree.list()[Symbol.asyncIterator]()
  let bytes = 0
  const runner = async () => {
    for (let next = await entries.next(); !next.done; next = await entries.next()) {
      await tree.digest(next.value.path, { algorithm: 'sha256' })
      bytes += next.value.size ?? 0
    }
  }
  await Promise.all(Array.from({ length: tree.parallel }, runner))
  return bytes
}

async function makeFolder(root: string, name: string, size: number, count: number) {
  const folder = join(root, name)
  const block = new Uint8Array(Math.min(size, 16 * MIB))
  for (let i = 0; i < count; i++) {
    const sub = join(folder, `d${Math.floor(i / 1000)}`)
    if (i % 1000 === 0) await mkdir(sub, { recursive: true })
    const file = join(sub, `f${i}`)
    await writeFile(file, '')
    for (let at = 0; at < size; at += block.length) {
      randomFillSync(block)
      await appendFile(file, block.subarray(0, Math.min(block.length, size - at)))
    }
  }
  return folder
}

/** A program that hashes and signs a folder. */
interface Peer {
  readonly name: string
  sign(folder: string): Promise<unknown>
}

/** Those of the programs that are here. `root` takes their keys and what they write. */
async function findPeers(root: string): Promise<Peer[]> {
  const key = join(root, 'key.pem')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const out = join(root, 'out')
  const cli = fileURLToPath(new URL('../cli.ts', import.meta.url))
  const own = process.versions.deno === undefined ? [cli] : ['run', '-A', cli]
  const peers = [{
    name: 'signet model sign',
    command: process.execPath,
    version: [...own, '--version'],
    args: (folder: string) => [
      ...[...own, 'model', 'sign', folder, '--key', key, '--insecure-clear-key'],
      ...['--out', out, '--force'],
    ],
  }, {
    name: 'model_signing',
    command: process.env.SIGNET_MODEL_SIGNING ?? 'model_signing',
    version: ['--version'],
    args: (folder: string) => ['sign', 'key', folder, '--private_key', key, '--signature', out],
  }, {
    name: 'aumai-modelseal',
    command: process.env.SIGNET_MODELSEAL ?? 'aumai-modelseal',
    version: ['--version'],
    args: (folder: string) => [
      ...['sign', '--model-dir', folder, '--key', key, '--signer-id', 'bench', '--output', out],
    ],
  }]
  const here = await Promise.all(
    peers.map(({ command, version }) => run(command, version).then(() => true, () => false)),
  )
  return peers.filter((_, i) => here[i]).map(({ name, command, args }) => ({
    name,
    sign: (folder) => run(command, args(folder)),
  }))
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN
}

interface Row {
  readonly name: string
  readonly bytes: number
  readonly files: number
  work(): Promise<unknown>
}

const root = await mkdtemp(join(tmpdir(), 'signet-bench-'))
try {
  say(`${total / MIB} MiB of random files in the page cache, median of ${rounds} rounds`)
  const smallCount = quick ? 10_000 : 100_000
  const one = await makeFolder(root, 'one', total, 1)
  const big = await makeFolder(root, 'big', total / 16, 16)
  const mid = await makeFolder(root, 'mid', MIB, total / MIB)
  const small = await makeFolder(root, 'small', 1000, smallCount)
  const file = join(one, 'd0', 'f0')
  const openssl = () => run('openssl', ['dgst', '-sha256', file])

  const rows: Row[] = [
    {
      name: 'openssl x2',
      bytes: 2 * total,
      files: 2,
      work: () => Promise.all([openssl(), openssl()]),
    },
  ]
  const peers = await findPeers(root)
  for (
    const [name, folder, bytes, files] of [
      ['1 file', one, total, 1],
      ['16 files', big, total, 16],
      [`${total / MIB} files of 1 MiB`, mid, total, total / MIB],
      [`${smallCount} files of 1 kB`, small, 1000 * smallCount, smallCount],
    ] as const
  ) {
    for (const workers of files === 1 ? [1] : [1, 2]) {
      const work = () => hashFolder(folder, workers)
      rows.push({ name: `${name}, ${workers} worker${workers > 1 ? 's' : ''}`, bytes, files, work })
    }
    for (const peer of peers) {
      const work = () => peer.sign(folder)
      rows.push({ name: `${name}, ${peer.name}`, bytes, files, work })
    }
  }

  await openssl() // warms the cache
  const base: number[] = []
  const times = rows.map((): number[] => [])
  const ratios = rows.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, row] of rows.entries()) {
      const before = await seconds(openssl)
      const own = await seconds(row.work)
      base.push(before)
      times[i]?.push(own)
      ratios[i]?.push(row.bytes / own / (total / before))
    }
  }

  const opensslRate = total / median(base) / 1e6
  const results = rows.map(({ name, bytes, files }, i) => {
    const time = median(times[i] ?? [])
    return {
      name,
      seconds: time,
      min: Math.min(...times[i] ?? []),
      mbPerSecond: bytes / time / 1e6,
      filesPerSecond: files / time,
      ratioToOpenssl: median(ratios[i] ?? []),
    }
  })
  if (json) {
    const { arch, platform, version, versions } = process
    const runtime = versions.deno
      ? `deno ${versions.deno}`
      : versions.bun
      ? `bun ${versions.bun}`
      : version
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, arch, platform, runtime }
    console.log(
      JSON.stringify(
        { machine, bytes: total, rounds, opensslMbPerSecond: opensslRate, results },
        null,
        2,
      ),
    )
  } else {
    say(`${'openssl dgst -sha256'.padEnd(42)}${opensslRate.toFixed(0).padStart(7)} MB/s   1.00`)
    for (const { name, mbPerSecond, filesPerSecond, ratioToOpenssl } of results) {
      say(
        name.padEnd(42) +
          `${mbPerSecond.toFixed(0).padStart(7)} MB/s ${ratioToOpenssl.toFixed(2).padStart(6)}  ${
            filesPerSecond.toFixed(0).padStart(7)
          } files/s`,
      )
    }
  }
} finally {
  await rm(root, { recursive: true, force: true })
}
