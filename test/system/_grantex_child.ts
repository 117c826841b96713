/** A gateway with the Grantex dialect on a port of this machine, for tests that kill it. Settings come as JSON. */
import { createServer } from 'node:http'
import process from 'node:process'
import { publicFetch } from '../../backends/public_fetch.ts'
import { sqliteGatewayStore } from '../../backends/gateway_sqlite.ts'
import { concat } from '../../src/bytes.ts'
import {
  gateway,
  type GrantexOptions,
  grantexRoutes,
  grantexWebhooks,
  type WebhookOptions,
} from '../../src/gateway/mod.ts'
import { readPrivateKey } from '../../src/keys/mod.ts'

const { database, port, rsa, ed25519, options, webhooks, allow, deny } = JSON.parse(
  process.argv[2]!,
) as {
  database: string
  port: number
  rsa: string
  ed25519: string
  options: Partial<GrantexOptions>
  /** Runs webhooks only if it is there. */
  webhooks?: Partial<WebhookOptions>
  /** Scopes that a policy allows. */
  allow: readonly string[]
  /** Scopes that a policy denies. */
  deny: readonly string[]
}
const open = (pem: string) => readPrivateKey(pem, { insecureClearKey: true })
const store = sqliteGatewayStore(database)
const sender = grantexWebhooks({
  ...{ store, key: new Uint8Array(32).fill(7), fetch: publicFetch(webhooks) },
  ...webhooks,
})
if (webhooks !== undefined) sender.run(new AbortController().signal)
const answer = gateway({
  issuer: `http://127.0.0.1:${port}`,
  key: await open(ed25519),
  store,
  dialects: [
    grantexRoutes({ rate: 100_000, webhooks: sender, ...options, key: await open(rsa) }),
  ],
  decide: ({ tools, principalHint }) => {
    const asked = Object.keys(tools)
    if (asked.some((tool) => deny.includes(tool))) return { effect: 'deny', reason: 'not here' }
    return asked.every((tool) => allow.includes(tool)) && principalHint !== undefined
      ? { effect: 'allow', principal: principalHint }
      : { effect: 'ask' }
  },
})
const server = createServer(async (incoming, outgoing) => {
  const parts: Uint8Array[] = []
  for await (const part of incoming) parts.push(part)
  const body = concat(...parts)
  const headers = new Headers()
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!)
  }
  const method = incoming.method!
  const request = new Request(`http://127.0.0.1:${port}${incoming.url}`, {
    method,
    headers,
    ...(['GET', 'HEAD'].includes(method) ? {} : { body }),
  })
  const response = await answer(request)
  outgoing.writeHead(response.status, [...response.headers].flat())
  outgoing.end(new Uint8Array(await response.arrayBuffer()))
})
server.listen(port, '127.0.0.1', () => console.log('ready'))
