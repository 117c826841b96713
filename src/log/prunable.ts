/** What of a log can be pruned. */
import { isSignetError } from '../errors.ts'
import { parseEntry } from './entry.ts'
import { TILE_WIDTH } from './tile.ts'
import type { LogView } from './view.ts'

/** After so many missing bundles in a row, older ones are taken to be pruned: a power cut may leave gaps. */
const PRUNE_GAP = 64

/** A bundle of bodies. */
export interface Prunable {
  /** Its index. */
  readonly n: number
  /** Indexes of the entries in it that have openings. */
  readonly secret: readonly number[]
}

/** The bundles below `end` that are there, in order. Errors: `log_corrupt`. */
export async function prunable(view: LogView, end: number): Promise<Prunable[]> {
  const there: Prunable[] = []
  for (let n = end - 1, missing = 0; n >= 0 && missing < PRUNE_GAP; n--) {
    const bundle = await view.bundle(n).catch((error) => {
      if (isSignetError(error, 'log_missing')) return undefined
      throw error
    })
    missing = bundle === undefined ? missing + 1 : 0
    if (bundle === undefined) continue
    const secret = [...bundle.keys()].filter((i) => parseEntry(bundle[i]!).private !== undefined)
    there.push({ n, secret: secret.map((i) => n * TILE_WIDTH + i) })
  }
  return there.reverse()
}
