/** What a log is compared with. */
import { equalBytes } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import type { Log } from '../log/mod.ts'
import type { AcknowledgedHead } from './bundle.ts'

/**
 * The server's head must be a head of this log. Errors: `log_replaced`, `log_rolled_back`, `log_forked`.
 */
export async function checkHead(log: Log, head: AcknowledgedHead | undefined): Promise<void> {
  if (head === undefined || head.size === 0) return
  const { size } = await log.checkpoint()
  if (head.size > size) {
    throw new SignetError(
      size <= 1 ? 'log_replaced' : 'log_rolled_back',
      `the server has ${head.size} entries of the log, the device ${size}`,
      { remedy: 'keep this state for inquiry, and enrol the device anew' },
    )
  }
  const root = await log.view().hash({ start: 0, end: head.size })
  if (equalBytes(root, head.root)) return
  throw new SignetError('log_forked', 'the server has another log than the device', {
    remedy: 'keep this state for inquiry, and enrol the device anew',
  })
}
