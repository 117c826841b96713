/**
 * Run by log.ts in a process of its own: what proofs from a log on disk cost whoever has just come.
 * Arguments: the folder of the log and its verifier key. Writes one JSON object, milliseconds.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import { fileLogStorage } from '../backends/log_fs.ts'
import { nodeSha256 } from '../backends/node_sha256.ts'
import { parseVkey } from '../src/envelope/mod.ts'
import {
  LOG_SCHEMES,
  type LogReader,
  LogView,
  openCheckpoint,
  treeHasher,
  verifyProof,
} from '../src/log/mod.ts'

/** What {@link process.stdout} gets. */
export interface ProofFigures {
  /** Checkpoint read and verified, entry read and proved, proof verified: the first of the process. */
  readonly first: number
  /** Each from a view of its own: no tile is in our memory, all are in the system's. */
  readonly coldView: Spread
  /** All from one view. */
  readonly warmView: Spread
  /** From a view of its own, after the system let go of the tiles. Absent where `dd` cannot have it do so. */
  readonly coldDisk?: Spread | undefined
}

/** Median, 99th percentile and greatest. */
export interface Spread {
  readonly median: number
  readonly p99: number
  readonly max: number
}

const [folder = '', vkey = ''] = process.argv.slice(2)
const storage = fileLogStorage(folder)
const hasher = treeHasher(nodeSha256)
const log = [await parseVkey(vkey, LOG_SCHEMES)]

let at = performance.now()
const note = await storage.read('checkpoint')
if (note === undefined) throw new Error(`no log in ${folder}`)
const head = await openCheckpoint(note, log)
const random = () => Math.floor(Math.random() * head.size)
const view = new LogView(storage, head, { hasher })
const index = random()
const [proof, entry] = [await view.prove(index, head), await view.entry(index)]
await verifyProof(proof, entry, { log, hasher })
const first = performance.now() - at

const cold: number[] = []
const warm: number[] = []
for (let i = 0; i < 2000; i++) {
  at = performance.now()
  await new LogView(storage, head, { hasher }).prove(random(), head)
  cold.push(performance.now() - at)
  at = performance.now()
  await view.prove(random(), head)
  warm.push(performance.now() - at)
}

const disk: number[] = []
for (let i = 0; i < 200; i++) {
  const index = random()
  const read = new Set<string>()
  const noting: LogReader = {
    read(path) {
      read.add(join(folder, path))
      return storage.read(path)
    },
  }
  await new LogView(noting, head, { hasher }).prove(index, head)
  if (![...read].every(letGo)) break
  at = performance.now()
  await new LogView(storage, head, { hasher }).prove(index, head)
  disk.push(performance.now() - at)
}
const figures: ProofFigures = {
  first,
  coldView: spread(cold),
  warmView: spread(warm),
  coldDisk: disk.length === 0 ? undefined : spread(disk),
}
console.log(JSON.stringify(figures))

/** Has Linux drop a file from its page cache (posix_fadvise DONTNEED). A file that is not there is no matter. */
function letGo(path: string): boolean {
  const { status, stderr } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0'])
  return status === 0 || String(stderr).includes('No such file')
}

function spread(values: number[]): Spread {
  values.sort((a, b) => a - b)
  const part = (share: number) => values[Math.min(values.length - 1, values.length * share | 0)]!
  return { median: part(0.5), p99: part(0.99), max: part(1) }
}
