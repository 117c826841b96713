/** A receiver of webhooks on a port of this machine: what it got, and how it behaves. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

/** A request that came. */
export interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  // deno-lint-ignore no-explicit-any -- whatever it says
  readonly json: any
}

/** A receiver. */
export interface Receiver {
  readonly url: string
  /** All that came, also what was then refused. */
  readonly got: Received[]
  /** What it does next; answers 200 by default. */
  answer: (response: ServerResponse, received: Received) => void
  /** Waits until `enough` holds. */
  until(enough: () => boolean, seconds?: number): Promise<void>
}

/** Runs a receiver while `body` does. */
export async function withReceiver(body: (receiver: Receiver) => unknown): Promise<void> {
  const got: Received[] = []
  const server = createServer(async (incoming, outgoing) => {
    let text = ''
    for await (const part of incoming.setEncoding('utf8')) text += part
    const received = { headers: incoming.headers, body: text, json: JSON.parse(text) }
    got.push(received)
    receiver.answer(outgoing, received)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address!.port : 0
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/in`,
    got,
    answer: (response) => void response.end(),
    async until(enough, seconds = 20) {
      for (let left = seconds * 50; left > 0; left--) {
        if (enough()) return
        await wait(20)
      }
      throw new Error(`not within ${seconds} seconds; ${got.length} came`)
    },
  }
  try {
    await body(receiver)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}
