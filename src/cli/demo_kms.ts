/**
 * The KMS of the demo: ministack, an emulator of AWS that others wrote, behind a line that can be made busy.
 * `SIGNET_MINISTACK` names its program; else it is looked for on the PATH (pip install ministack).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, request, type Server } from 'node:http'
import { type AddressInfo, createServer as createSocket } from 'node:net'
import process from 'node:process'
import { SignetError } from '../errors.ts'

/** A running KMS. */
export interface DemoKms {
  /** Host and port, for `awskms://`. */
  readonly host: string
  /** Throttles so many calls from now on. */
  throttle(calls: number): void
  close(): void
}

/** Starts the emulator and the line before it. `key_backend_unavailable` if there is no emulator. */
export async function startKms(): Promise<DemoKms> {
  const port = await freePort()
  const child = spawn(process.env.SIGNET_MINISTACK ?? 'ministack', [], {
    stdio: 'ignore',
    env: { ...process.env, GATEWAY_PORT: String(port), SERVICES: 'kms' },
  })
  let fault: unknown
  child.once('error', (error) => fault = error)
  for (let i = 0; i < 300 && fault === undefined && child.exitCode === null; i++) {
    const answers = await fetch(`http://127.0.0.1:${port}`).then((answer) => answer.body?.cancel())
      .then(() => true, () => false)
    if (answers) return await line(port, child)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  child.kill()
  throw new SignetError('key_backend_unavailable', 'the emulator of KMS does not start', {
    remedy: 'pip install ministack, or name the program in SIGNET_MINISTACK',
    cause: fault,
  })
}

async function line(port: number, child: ChildProcess): Promise<DemoKms> {
  let busy = 0
  const server: Server = createServer((incoming, outgoing) => {
    if (busy > 0) {
      busy--
      outgoing.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' })
      outgoing.end('{"__type":"ThrottlingException","message":"Rate exceeded"}')
      return
    }
    const { method, url, headers } = incoming
    const onward = request({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    onward.once('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    throttle: (calls) => void (busy = calls),
    close() {
      server.close()
      server.closeAllConnections()
      child.kill()
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createSocket()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
