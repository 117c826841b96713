/** The verifying core as a browser loads it: bundled into a page by `log_page.test.ts`, it does all there. */
import { fromBase64 } from '../../src/bytes.ts'
import { parseVkey } from '../../src/envelope/mod.ts'
import { isSignetError } from '../../src/errors.ts'
import {
  LOG_SCHEMES,
  openCheckpoint,
  pageEntries,
  reportPage,
  verifyLog,
  verifyProof,
} from '../../src/log/mod.ts'

/** What happened, or the code of the error that it ended with. */
async function told(work: () => Promise<string>): Promise<string> {
  try {
    return await work()
  } catch (error) {
    if (isSignetError(error)) return error.code
    throw error
  }
}

const verifier = async (vkey: string) => [await parseVkey(vkey, LOG_SCHEMES)]

/** What the test calls in the page. */
export interface InPage {
  /** Verifies a proof of an entry, whose text is given. */
  proof(text: string, entry: string, vkey: string): Promise<string>
  /** Verifies a whole log, its files by path as base64, and gives the report as a page. */
  log(files: Readonly<Record<string, string>>, vkey: string): Promise<string>
}

const inPage: InPage = {
  proof: (text, entry, vkey) =>
    told(async () => {
      const log = await verifier(vkey)
      const { index } = await verifyProof(text, new TextEncoder().encode(entry), { log })
      return `entry ${index}`
    }),
  log: (files, vkey) =>
    told(async () => {
      const read = (path: string) =>
        Promise.resolve(files[path] === undefined ? undefined : fromBase64(files[path]))
      const checkpoint = await openCheckpoint(await read('checkpoint') ?? '', await verifier(vkey))
      const entries = pageEntries()
      const report = await verifyLog({ read }, checkpoint, { onEntry: entries.add })
      return reportPage(report, entries, { checkpoint, now: 0 })
    }),
}
Object.assign(globalThis, { inPage })
