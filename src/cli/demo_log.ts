/** `signet demo log`: a log under load whose writer is killed, a proof, and three ways to cheat. */
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'
import type { Run } from './context.ts'
import { inDemoHome } from './demo_home.ts'
import { self } from './demo_self.ts'
import { stage } from './demo_stage.ts'

/** Runs the demo; 0 only if nothing acknowledged was lost and every cheat was noticed. */
export async function demoLog(run: Run, flags: { readonly keep?: boolean }): Promise<number> {
  const script = resolve(process.argv[1] ?? '')
  return await inDemoHome(run, flags, () => {
    writeFileSync('passphrase', 'correct horse battery staple\n', { mode: 0o600 })
    return play(run, script)
  })
}

async function play(run: Run, script: string): Promise<number> {
  const { scene, command, check, end } = stage(run)
  const secret = ['--passphrase-file', 'passphrase']
  const writer = (folder: string) => ['log', 'append', folder, '--key', 'log.pem', ...secret]
  const anchored = ['--anchor', 'log.anchor']
  const verify = (folder: string, ...more: string[]) => [
    ...['log', 'verify', folder, '--key', 'log.pem'],
    ...more,
  ]

  scene('A log gets a key, and its first entry. The anchor lies next to the key.')
  const algorithm = ['--algorithm', 'Ed25519']
  await command(['keys', 'new', '--key', 'log.pem', ...algorithm, ...secret], 0, 'the key is made')
  const first = ['--type', 'tool.call', '--actor', 'agent-7', '--action', 'calendar.read']
  await command(
    [...writer('audit'), '--origin', 'example.com/audit', ...anchored, ...first],
    0,
    'acknowledged: it would survive a power cut',
  )

  scene('A writer appends under load, and is killed in the middle of it.')
  const killed = await killUnderLoad(script, [...writer('audit'), ...anchored, '--stdin'])
  check(killed.signal === 'SIGKILL', `kill -9 after ${killed.indexes.length} acknowledged entries`)
  const torn = join('audit', '.signet', 'journal.0')
  writeFileSync(torn, 'SGJ1 half of a frame', { flag: 'a' })
  check(true, 'and as if the power had gone, half a frame lies at the end of its journal')

  scene('The next writer finds all that was acknowledged, and says in the log what it found.')
  await command([...writer('audit'), ...anchored, ...first], 0, 'the log opens')
  const whole = await command(verify('audit', ...anchored, '--json'), 0, 'and is whole')
  const { verified } = parse(whole)
  const lost = killed.indexes.filter((index) => !(index < Number(verified)))
  check(lost.length === 0, `none of the ${killed.indexes.length} acknowledged entries is lost`)
  check(new Set(killed.indexes).size === killed.indexes.length, 'no place was given twice')
  await command(
    ['log', 'tail', 'audit', '--key', 'log.pem', '-n', '2'],
    0,
    'the recovery is an entry',
  )

  scene('One entry is proved to somebody who has nothing but the public key.')
  await command(
    ['log', 'prove', 'audit', '2', '--key', 'log.pem', '--out', 'two.tlog-proof'],
    0,
    'one text file',
  )
  await command(verify('two.tlog-proof'), 0, 'it verifies offline')
  const proof = readFileSync('two.tlog-proof', 'utf8')
  writeFileSync('forged.tlog-proof', proof.replace(/^index 2$/m, 'index 3'))
  await command(verify('forged.tlog-proof'), 3, 'with another index it does not')

  scene('Cheating, one: the tail is cut off.')
  cpSync('audit', 'backup', { recursive: true })
  for (let i = 0; i < 3; i++) {
    await command([...writer('audit'), ...anchored, ...first], 0, 'three more entries')
  }
  renameSync('audit', 'audit.whole')
  renameSync('backup', 'audit')
  await command(verify('audit'), 0, 'without the anchor it looks whole')
  await command(verify('audit', ...anchored), 5, 'with the anchor: rolled back')
  await command([...writer('audit'), ...anchored, ...first], 5, 'and no writer goes on from there')

  scene('Cheating, two: another log under the same name, made with the same key.')
  rmSync('audit', { recursive: true })
  await command([...writer('audit'), '--origin', 'example.com/audit', ...first], 0, 'the other log')
  await command(verify('audit', ...anchored), 5, 'replaced')
  rmSync('audit', { recursive: true })
  renameSync('audit.whole', 'audit')

  scene('Cheating, three: one byte of an entry.')
  const [name = ''] = readdirSync(join('audit', 'tile', 'entries'))
  const bundle = join('audit', 'tile', 'entries', name)
  cpSync('audit', 'edited', { recursive: true })
  const edited = name.endsWith('.p')
    ? newest(join('edited', 'tile', 'entries', name))
    : bundle.replace('audit', 'edited')
  const bytes = readFileSync(edited)
  bytes[100]! ^= 1
  writeFileSync(edited, bytes)
  await command(verify('edited', ...anchored), 5, 'the place is named')

  scene('And two writers at once.')
  const other = await holdOpen(script, [...writer('audit'), ...anchored, '--stdin'])
  await command([...writer('audit'), ...anchored, ...first], 2, 'the second one is refused')
  await other.end()
  await command([...writer('audit'), ...anchored, ...first], 0, 'until the first has ended')
  await command(verify('audit', ...anchored), 0, 'the log is whole')
  return end()
}

function parse(json: string): Record<string, unknown> {
  try {
    return JSON.parse(json)
  } catch {
    return {}
  }
}

/** The widest partial bundle of a folder. */
function newest(folder: string): string {
  const widths = readdirSync(folder).map(Number).sort((a, b) => a - b)
  return join(folder, String(widths.at(-1)))
}

/** Feeds events as fast as they are taken, and kills the writer once it has acknowledged a few hundred. */
async function killUnderLoad(script: string, args: readonly string[]) {
  const child = self(script, args)
  let out = ''
  const line = JSON.stringify({ type: 'tool.call', actor: 'agent-7', data: { rows: 12 } }) + '\n'
  child.stdin.on('error', () => {}) // it will be gone
  child.stdin.write(line.repeat(200_000))
  child.stdout.on('data', (chunk: Uint8Array) => {
    out += new TextDecoder().decode(chunk)
    if (out.length > 3000) child.kill('SIGKILL')
  })
  const signal = await new Promise<string | null>((resolve) =>
    child.on('close', (_code, signal) => resolve(signal))
  )
  return { signal, indexes: out.split('\n').slice(0, -1).map(Number) }
}

/** Starts a writer that waits for input, once it has the log. */
async function holdOpen(
  script: string,
  args: readonly string[],
): Promise<{ end(): Promise<void> }> {
  const child = self(script, args)
  child.stdin.write('{"type":"tool.call"}\n')
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended])
  return {
    end() {
      child.stdin.end()
      return ended
    },
  }
}
