/**
 * The audit of a device, as exported: `GET /admin/bundles/:id/audit` is a range file of the log room: a line with the
 * device's own checkpoint, then every entry just as it was received. `verifyRange` (and `signet log verify`) checks
 * it with the device's key alone; the server is not believed.
 */
import { concat, fromUtf8, utf8 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { canonicalize } from '../json.ts'
import { pagesOf } from './device_log.ts'
import { operatorOf } from './operators.ts'
import { existing } from './store.ts'
import { json, type Routes, type World } from './world.ts'

/** Longer entries are not shown: they are in the export. */
const MAX_SHOWN = 16 * 1024
const NEWLINE = Uint8Array.of(10)

/** `GET /admin/bundles/:id/audit`, `…/verdicts`. */
export const auditRoutes: Routes = (app, world) => {
  app.get('/admin/bundles/:id/audit', async (c) => {
    await operatorOf(world, c.req.raw)
    const { record: { device } } = await existing(world.store.records, 'bundle', c.req.param('id'))
    const found = await world.store.records.get('log', device)
    if (found === undefined) throw new SignetError('not_found', 'nothing of this log has come yet')
    const { size, checkpoint, right } = found.record.state
    const head = canonicalize({
      format: 'signet-log-range@v1',
      from: 0,
      to: size,
      left: [],
      right,
      checkpoint,
    })
    const parts = exported(world, device, head, size as number)
    return new Response(streamOf(parts), {
      headers: {
        'content-type': 'application/jsonl',
        'content-disposition': 'attachment; filename="audit.jsonl"',
      },
    })
  })
  app.get('/admin/bundles/:id/verdicts', async (c) => {
    await operatorOf(world, c.req.raw)
    const { record: { device } } = await existing(world.store.records, 'bundle', c.req.param('id'))
    const items = []
    for await (const { index, entry } of everyEntry(world, device)) {
      if (entry.code === undefined) continue
      items.push({ index, code: entry.code, at: entry.at, entry: shown(entry.bytes) })
      if (items.length >= 1000) break
    }
    return json({ items })
  })
}

/** Page by page, so that a long log needs no memory; never more than the head says. */
async function* exported(
  world: World,
  device: string,
  head: string,
  size: number,
): AsyncGenerator<Uint8Array> {
  yield utf8(`${head}\n`)
  for await (const page of pagesOf(world.store, device, size)) {
    yield concat(...page.flatMap(({ bytes }) => [bytes, NEWLINE]))
  }
}

/** Not `ReadableStream.from`, which some runtimes lack. */
function streamOf(parts: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await parts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await parts.return(undefined)
    },
  })
}

async function* everyEntry(world: World, device: string) {
  let index = 0
  for await (const page of pagesOf(world.store, device)) {
    for (const entry of page) yield { index: index++, entry }
  }
}

/** An entry may be anything; what is no text is not shown. */
function shown(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_SHOWN) return undefined
  try {
    return fromUtf8(bytes)
  } catch {
    return undefined
  }
}
