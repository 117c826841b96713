/** The server of a demo: a real `signet serve`, its operator, and a person at a browser, all played here. */
import { readFileSync } from 'node:fs'
import { self } from './demo_self.ts'

/** A server that runs. */
export interface DemoServer {
  /** Its address, which is its name. */
  readonly url: string
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>
  /** What the operator asks of it; the answer's JSON, or its text. */
  operator(method: string, path: string, body?: unknown): Promise<unknown>
}

/** Starts a server on the folder `gateway`; on port 0 it finds one of its own. Throws if it does not start. */
export async function startServer(
  script: string,
  port: number,
  flags: readonly string[],
): Promise<DemoServer> {
  const listen = ['--listen', `127.0.0.1:${port}`]
  const child = self(script, ['serve', '--data', 'gateway', ...flags, ...listen, '--json'])
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const url = await new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (part: Uint8Array) => {
      text += new TextDecoder().decode(part)
      if (/\}\s*$/.test(text)) resolve((JSON.parse(text) as { url: string }).url)
    })
    void ended.then(() => reject(new Error('the server did not start')))
  })
  const key = readFileSync('gateway/operator.key', 'utf8').trim()
  return {
    url,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async operator(method, path, body) {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const answer = await fetch(url + path, {
        method,
        headers,
        ...body === undefined ? {} : { body: JSON.stringify(body) },
      })
      if (!answer.ok) throw new Error(`${method} ${path}: HTTP ${answer.status}`)
      const text = await answer.text()
      const isJson = answer.headers.get('content-type')?.split(';')[0] === 'application/json'
      return isJson ? JSON.parse(text) : text
    },
  }
}

/**
 * Signs a person in, opens the link of a request as their browser would, reads the page and decides. Gives the
 * text of the page that they saw.
 */
export async function decide(
  server: DemoServer,
  link: string,
  person: string,
  decision: 'approve' | 'deny',
): Promise<string> {
  const made = await server.operator('POST', '/admin/sign-in-codes', { principal: person })
  const { code } = made as { code: string }
  const signedIn = await post(`${server.url}/sign-in`, { code, back: '' })
  const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? ''
  const opened = await fetch(link, { redirect: 'manual' })
  await opened.body?.cancel()
  const page = new URL(opened.headers.get('location') ?? '', server.url)
  const shown = await (await fetch(page, { headers: { cookie } })).text()
  const token = /name="token" value="([\w-]+)"/.exec(shown)?.[1] ?? ''
  const tools = [...shown.matchAll(/name="tool" value="([^"]+)"/g)].map(([, tool]) => tool!)
  const answered = await post(page.href, { token, decision, tool: tools }, cookie)
  const back = answered.headers.get('location')
  if (back === null) throw new Error(`the consent page answered HTTP ${answered.status}`)
  await (await fetch(back)).text() // where the device waits
  return shown
}

async function post(
  url: string,
  fields: Readonly<Record<string, string | readonly string[]>>,
  cookie = '',
): Promise<Response> {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) body.append(name, one)
  }
  const answer = await fetch(url, {
    method: 'POST',
    body,
    headers: cookie === '' ? {} : { cookie },
    redirect: 'manual',
  })
  await answer.body?.cancel()
  return answer
}
