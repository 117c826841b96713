/** Entries of devices, given out as they came in. */
import { fromUtf8 } from '../../bytes.ts'
import { bundleExtra, bundleOf, logName, MAX_CHAINS } from './bundle_record.ts'
import { type Answer, badRequest, type Call, iso } from './call.ts'

const MAX_EXPORT = 1000

/**
 * `GET /v1/consent-bundles/:id/audit`: entries as they came, with `id` and `syncedAt` before. `chain`, `after` (a
 * seq) and `limit` choose; `format=jsonl` gives the very lines of the device's file.
 */
export async function exportEntries(call: Call): Promise<Answer> {
  const { record: bundle } = await bundleOf(call, call.params[0]!)
  const { chains } = bundleExtra(bundle)
  const number = (name: string, otherwise: number, most: number) => {
    const value = call.query.get(name)
    if (value === null) return otherwise
    if (/^[0-9]{1,12}$/.test(value) && Number(value) <= most) return Number(value)
    throw badRequest(`${name} is no number up to ${most}`)
  }
  const chain = number('chain', 0, MAX_CHAINS - 1)
  const after = number('after', 0, 1e12)
  const limit = number('limit', MAX_EXPORT, MAX_EXPORT)
  const stored = await call.dialect.world.store.logs.entries(
    logName(bundle.id, chain),
    after,
    limit,
  )
  const lines = stored.map(({ bytes }) => fromUtf8(bytes))
  if (call.query.get('format') === 'jsonl') {
    const body = lines.map((line) => line + '\n').join('')
    return { status: 200, body, type: 'application/jsonl' }
  }
  const entries = lines.map((line, i) => {
    const { at, code } = stored[i]!
    const seq = after + i + 1
    const more = { id: `oae_${bundle.id.slice(7)}_${chain}_${seq}`, syncedAt: iso(at) }
    const remarks = code === undefined ? {} : { remarks: code.split(',') }
    return `${JSON.stringify({ ...more, ...remarks }).slice(0, -1)},${line.trimStart().slice(1)}`
  })
  const next = after + lines.length
  const isMore = next < (chains[chain]?.seq ?? 0)
  const tail = { chain, chains: chains.length, ...(isMore ? { nextAfter: next } : {}) }
  return {
    status: 200,
    body: `{"entries":[${entries.join(',')}],${JSON.stringify(tail).slice(1)}`,
  }
}
