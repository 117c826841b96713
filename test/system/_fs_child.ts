/**
 * A program that the tests start: digests a folder until a worker thread took part, prints one line
 * of JSON and must then end by itself. `folder program?`
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { digestPool } from '../../backends/fs_pool.ts'

const [folder = '.', program] = process.argv.slice(2)
const pool = program === undefined ? digestPool(2) : digestPool(2, program)
const digests = new Map<string, string>()
const deadline = performance.now() + (program === undefined ? 20_000 : 500)
let workers = 0
let rounds = 0
do {
  await Promise.all(
    readdirSync(folder).map(async (name) => {
      const file = join(folder, name)
      const span = { file, folder, start: 0, end: undefined, follow: false }
      const digest = await pool.digest(name, span, statSync(file).size, { algorithm: 'sha256' })
      workers = Math.max(workers, pool.workers)
      digests.set(name, Buffer.from(digest).toString('hex'))
    }),
  )
  rounds++
} while (workers === 0 && performance.now() < deadline)
console.log(JSON.stringify({ workers, rounds, digests: Object.fromEntries(digests) }))
