/**
 * A program that the tests kill: says `ready`, then writes one file, then says `done`.
 * `path size overwrite`
 */
import process from 'node:process'
import { writeNew } from '../../backends/files.ts'

const [path = '', size = '0', overwrite] = process.argv.slice(2)
const bytes = new Uint8Array(Number(size)).fill(0x62)
process.stdout.write('ready\n')
await writeNew(path, bytes, { overwrite: overwrite === 'overwrite' })
process.stdout.write('done\n')
