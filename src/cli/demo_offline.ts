/** `signet demo offline`: authority from a person, work without a network, and a revocation that comes with the sync. */
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import process from 'node:process'
import { isSignetError } from '../errors.ts'
import {
  type Device,
  formatChain,
  guard,
  narrowGrant,
  openDevice,
  type OpenDeviceOptions,
} from '../grants/mod.ts'
import { generateKey } from '../keys/mod.ts'
import { ALGORITHMS } from '../algorithms.ts'
import type { Run } from './context.ts'
import { inDemoHome } from './demo_home.ts'
import { decide, type DemoServer, startServer } from './demo_server.ts'
import { type Stage, stage } from './demo_stage.ts'
import { configOf, withParts } from './device_folder.ts'

const PASSPHRASE = 'correct horse battery staple'
const SECRET = ['--passphrase-file', 'passphrase']
const PAY = 'payments:transfer'

/** Runs the demo; 0 only if every step went as promised. */
export async function demoOffline(run: Run, flags: { readonly keep?: boolean }): Promise<number> {
  const script = resolve(process.argv[1] ?? '')
  return await inDemoHome(run, flags, () => {
    writeFileSync('passphrase', PASSPHRASE + '\n', { mode: 0o600 })
    return play(run, script)
  })
}

async function play(run: Run, script: string): Promise<number> {
  const show = stage(run)
  const { scene, command } = show

  scene('Online. A server and a robot get their keys; neither ever leaves its owner.')
  for (const name of ['issuer', 'robot']) {
    const args = ['keys', 'new', '--key', `${name}.pem`, '--algorithm', 'Ed25519', ...SECRET]
    await command(args, 0, `the ${name} makes its key`)
  }
  const serve = ['--key', 'issuer.pem', ...SECRET]
  let server = await startServer(script, 0, serve)
  try {
    await enrolled(show, server)

    scene('Offline. The server is killed: nobody can be asked.')
    await server.kill()
    await offline(run, show)
    await command(
      ['sync', 'robot', '--attempts', '2', ...SECRET],
      2,
      'nobody answers; what is in the log stays there',
    )

    scene('Online again. Meanwhile Alice has taken back what she gave.')
    server = await startServer(script, Number(new URL(server.url).port), serve)
    await backOnline(run, show, server)
  } finally {
    await server.kill()
  }
  return show.end()
}

/** The robot asks, and Alice allows it. */
async function enrolled({ command, check }: Stage, server: DemoServer): Promise<void> {
  const redirect = `http://127.0.0.1:${await freePort()}/callback`
  const robot = { name: 'Robot', redirect_uris: [redirect] }
  const { id } = await server.operator('POST', '/admin/agents', robot) as { id: string }
  check(id.startsWith('agent_'), 'the operator registers the robot')
  const jwks = await (await fetch(`${server.url}/.well-known/jwks.json`)).text()
  writeFileSync('server.jwks', jwks)
  writeFileSync(
    'wish.json',
    JSON.stringify({
      'calendar:read': {},
      [PAY]: {
        to: { constraint_type: 'one_of', values: ['bob', 'carol'] },
        amount: { constraint_type: 'range', min: 0, max: 50 },
      },
    }),
  )
  const budget = { argument: 'amount', max: 80, currency: 'EUR' }
  writeFileSync('limits.json', JSON.stringify({ [PAY]: { budget } }))
  let page: Promise<string> | undefined
  const ask = [
    ...['bundle', 'request', server.url, '--agent', id, '--redirect', redirect],
    ...['--device', 'robot', '--key', 'robot.pem', '--pin', 'server.jwks', ...SECRET],
    ...['--capability', 'wish.json', '--limits', 'limits.json', '--depth', '1'],
    ...['--anchor', 'robot.anchor'],
  ]
  await command(ask, 0, 'Alice approves in her browser, and the robot has its bundle', (text) => {
    const link = /^ {2}(http\S+)$/m.exec(text)?.[1]
    if (link !== undefined) page ??= decide(server, link, 'alice', 'approve')
  })
  cpSync('robot', 'robot.before', { recursive: true })
  await command(['bundle', 'refresh', 'robot', ...SECRET], 0, 'the newest bundle before it leaves')
  const shown = await page ?? ''
  check(/Robot/.test(shown) && /payments:transfer/.test(shown), 'she saw who asks, and for what')
}

/** What the robot does while nobody can be asked. */
async function offline(run: Run, { scene, command, check }: Stage): Promise<void> {
  await command(['bundle', 'status', 'robot', ...SECRET], 0, 'the bundle speaks for itself')
  const paid: string[] = []
  const bank = ({ to, amount }: { to: string; amount: number }) => paid.push(`${amount} to ${to}`)
  await withRobot(run, async (options) => {
    const device = await openDevice(options)
    const transfer = guard(bank, { tool: PAY, device })
    const pay = (to: string, amount: number) => outcome(() => transfer({ to, amount }))
    check(await calendar(device) === 'ok', 'it reads the calendar')
    check(await pay('bob', 40) === 'ok', 'it pays Bob 40')
    check(await pay('mallory', 5) === 'argument_denied', 'Mallory is none of those it may pay')
    check(await pay('bob', 60) === 'argument_denied', '60 is more than it may pay at once')
    const rush = await Promise.all(['bob', 'carol', 'bob', 'carol'].map((who) => pay(who, 40)))
    const through = rush.filter((one) => one === 'ok').length
    check(through === 1, `four payments of 40 at once: one fits into the budget of 80 (${rush})`)
    check(paid.length === 2, `the bank was called twice: ${paid.join(', ')}`)
    const mail = await outcome(() =>
      device.act('mail:send', {}, () => check(false, 'mail was sent'))
    )
    check(mail === 'tool_denied', `mail was never allowed (${mail})`)
    await narrowed(device, options, check)
    await device.close()
  })
  const grant = ['grant', 'verify', 'helper.txt', '--key', 'server.jwks', '--skip-revocation']
  const issuer = ['--issuer', await withRobot(run, (options) => options.trusted[0]!.issuer)]
  const call = (args: unknown) => ['--tool', PAY, '--args', JSON.stringify(args)]
  await command(
    [...grant, ...issuer, ...call({ to: 'bob', amount: 10 })],
    0,
    'the helper may pay Bob 10',
  )
  await command([...grant, ...issuer, ...call({ to: 'bob', amount: 11 })], 6, 'and no cent more')

  scene('Somebody with the robot in hand tries to get more out of it.')
  await withRobot(run, async (options) => {
    const device = await openDevice({ ...options, clock: () => Date.now() - 3_600_000 })
    const late = await calendar(device)
    check(late === 'clock_set_back', `the clock set back an hour is noticed (${late})`)
    await device.close()
  })
  cpSync('robot/state', 'state.now', { recursive: true })
  replace('robot/state', 'robot.before/state')
  await withRobot(run, async (options) => {
    const device = await openDevice(options)
    const transfer = guard(bank, { tool: PAY, device })
    const again = await outcome(() => transfer({ to: 'bob', amount: 40 }))
    check(again === 'device_state_rolled_back', `an older state put back is noticed (${again})`)
    await device.close()
  })
  replace('robot/state', 'state.now')
  cpSync('robot', 'robot.now', { recursive: true })
  replace('robot', 'robot.before')
  await command(
    ['bundle', 'status', 'robot', ...SECRET],
    5,
    'state and log put back together agree; the anchor, kept elsewhere, does not',
  )
  replace('robot', 'robot.now')
}

function replace(folder: string, by: string): void {
  rmSync(folder, { recursive: true })
  cpSync(by, folder, { recursive: true })
}

/** Passes a part of the grant on, without a server. */
async function narrowed(
  { bundle }: Device,
  { key }: OpenDeviceOptions,
  check: Stage['check'],
): Promise<void> {
  const helper = await generateKey(ALGORITHMS['Ed25519'])
  const narrow = (max: number) =>
    narrowGrant(bundle!.grant, key, {
      holder: helper.publicKey,
      tools: {
        [PAY]: {
          to: { constraint_type: 'exact', value: 'bob' },
          amount: { constraint_type: 'range', min: 0, max },
        },
      },
      lifetime: 300,
    })
  writeFileSync('helper.txt', formatChain(await narrow(10)))
  check(true, 'it gives a helper a tenth of that for five minutes, and asks no server')
  check(await outcome(() => narrow(500)) === 'grant_widened', 'it cannot give more than it has')
}

/** The sync: everything arrives, and so does the revocation. */
async function backOnline(run: Run, { command, check }: Stage, server: DemoServer): Promise<void> {
  const status = await command(['bundle', 'status', 'robot', '--json', ...SECRET], 0, 'it may act')
  const { bundle, log } = JSON.parse(status) as { bundle: { id: string }; log: { size: number } }
  await server.operator('POST', `/admin/bundles/${bundle.id}/revoke`)
  const said = await command(['sync', 'robot', '--json', ...SECRET], 6, 'the robot hears of it')
  const { acknowledged } = JSON.parse(said) as { acknowledged: number }
  check(acknowledged >= log.size, `and the server has all ${acknowledged} entries of its log`)
  await command(['bundle', 'status', 'robot', ...SECRET], 6, 'from now on it may do nothing')
  await withRobot(run, async (options) => {
    const device = await openDevice(options)
    check(await calendar(device) === 'bundle_revoked', 'not even read the calendar')
    await device.close()
  })
  const audit = await server.operator('GET', `/admin/bundles/${bundle.id}/audit`)
  writeFileSync('audit.jsonl', String(audit))
  const verify = ['log', 'verify', 'audit.jsonl', '--key']
  await command([...verify, 'robot.pem'], 0, 'what the server exports holds by the robot’s key')
  writeFileSync('forged.jsonl', String(audit).replace('tool_denied', 'tool_allowd'))
  await command(
    [...verify, 'robot.pem'].with(2, 'forged.jsonl'),
    3,
    'and one changed letter does not',
  )
}

async function withRobot<T>(
  run: Run,
  work: (options: OpenDeviceOptions) => T | Promise<T>,
): Promise<T> {
  const passphrase = () => Promise.resolve(PASSPHRASE)
  const keyring = () =>
    run.backends.keyring({ passphrase, insecureClearKey: false, warn: (text) => run.say(text) })
  const own = { ...run, keyring }
  return await withParts(
    own,
    'robot',
    await configOf(own, 'robot'),
    {},
    async (options) => await work(options),
  )
}

async function calendar(device: Device): Promise<string> {
  return await outcome(() => device.act('calendar:read', { day: 'today' }, () => ['dentist']))
}

/** `ok`, or the code of the refusal. */
async function outcome(work: () => unknown): Promise<string> {
  try {
    await work()
    return 'ok'
  } catch (error) {
    if (isSignetError(error)) return error.code
    throw error
  }
}

/** A port that nobody listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' ? address?.port ?? 0 : 0))
    })
  })
}
