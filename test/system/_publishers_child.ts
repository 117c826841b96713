/** Accepts versions 1 to 12 in an order of its own; prints each that was accepted. See publishers_state.test.ts. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { publishersState } from '../../backends/publishers_state.ts'
import { isSignetError } from '../../src/errors.ts'
import { readPublicKeys } from '../../src/keys/mod.ts'
import { acceptPublishers } from '../../src/models/mod.ts'

const [folder = '', state = '', seed = '1'] = process.argv.slice(2)
const owners = await readPublicKeys(readFileSync(join(folder, 'owner.pem')))
const memory = publishersState({ folder: state })
for (let i = 0; i < 36; i++) {
  // mostly upward, sometimes back
  const version = Math.max(1, Math.min(12, Math.ceil(i / 3) + (i * Number(seed)) % 5 - 2))
  const file = readFileSync(join(folder, `${version}.list`))
  try {
    const { state } = await acceptPublishers(file, memory, 'list', { owners, now: 1_800_000_000 })
    process.stdout.write(`${state.version}\n`)
  } catch (error) {
    if (!isSignetError(error, 'publishers_rollback')) throw error
  }
}
