/** A witness as a process of its own, asked by the command line, as two operators would run them. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { inFolder, SIGNET, signet } from './_signet.ts'

const SECRET = ['--insecure-clear-key']
const ORIGIN = 'example.com/audit'

interface Witness {
  readonly url: string
  readonly vkeys: readonly string[]
  /** Ends it; gives its exit code, null if a signal ended it. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

/** Starts a witness and waits until it says where it listens. */
async function start(folder: string, vkey: string, ...more: string[]): Promise<Witness> {
  const [program = '', ...args] = SIGNET
  const flags = ['--key', 'w.pem', ...SECRET, '--name', 'witness.example/w', '--vkey', vkey]
  const child: ChildProcess = spawn(
    program,
    [...args, 'log', 'witness', 'serve', ...flags, '--store', 'w.db', '--json', ...more],
    { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } },
  )
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  let [out, err] = ['', '']

  child.stderr!.setEncoding('utf8').on('data', (text: string) => err += text)
  const { url, vkeys } = await new Promise<{ url: string; vkeys: string[] }>((resolve, reject) => {
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (out.endsWith('}\n')) resolve(JSON.parse(out))
    })
    ended.then((code) => reject(new Error(`the witness ended with ${code}: ${err}`)))
  })
  return {
    url,
    vkeys,
    async stop(signal) {
      // Not child.kill(): Deno tells of a child that it so ended, even though that ended by itself.
      if (child.exitCode === null && child.signalCode === null) process.kill(child.pid!, signal)
      return await ended
    },
  }
}

function run(folder: string, ...args: string[]): string {
  const done = signet(folder, ...args)
  assert.equal(done.code, 0, `${args.join(' ')}: ${done.out}${done.err}`)
  return done.out
}

function fails(folder: string, code: number, name: string, ...args: string[]): void {
  const done = signet(folder, ...args)
  assert.equal(done.code, code, `${args.join(' ')}: ${done.out}${done.err}`)
  assert.match(done.out + done.err, new RegExp(name))
}

const WRITER = ['--key', 'k.pem', ...SECRET]

function append(folder: string, log: string, ...types: string[]): void {
  for (const type of types) run(folder, 'log', 'append', log, ...WRITER, '--type', type)
}

/** Two keys, and a log of two entries; gives its verifier key. */
function makeLog(folder: string): string {
  for (const name of ['k.pem', 'w.pem']) {
    run(folder, 'keys', 'new', '--key', name, '--algorithm', 'Ed25519', ...SECRET)
  }
  run(folder, 'log', 'append', 'audit', ...WRITER, '--origin', ORIGIN, '--type', 'a')
  const { signatures } = JSON.parse(
    run(folder, 'log', 'checkpoint', 'audit', '--key', 'k.pem', '--json'),
  )
  return signatures[0].vkey
}

const ANYWHERE = ['--listen', '127.0.0.1:0']

test('log witness serve cosigns growth, remembers it through restarts, and refuses a rollback and a fork', () =>
  inFolder(async (folder) => {
    const vkey = makeLog(folder)
    const policyOf = ({ url, vkeys }: Witness) =>
      writeFileSync(
        join(folder, 'policy'),
        `log ${vkey}\nwitness w ${vkeys[0]} ${url}\nquorum w\n`,
      )
    const ask = (log: string) => ['log', 'witness', log, ...WRITER, '--policy', 'policy']
    const verify = ['log', 'verify', 'audit', '--policy', 'policy']

    let witness = await start(folder, vkey, ...ANYWHERE)
    try {
      policyOf(witness)
      fails(folder, 6, 'witness_quorum', ...verify)
      cpSync(join(folder, 'audit'), join(folder, 'old'), { recursive: true })
      append(folder, 'audit', 'b')
      assert.match(run(folder, ...ask('audit')), /w: cosigned/)
      assert.match(run(folder, ...verify), /cosigned by w\n/)
      append(folder, 'audit', 'c', 'd')
      run(folder, 'log', 'witness', 'ask', 'audit', ...WRITER, '--policy', 'policy')
      assert.equal(await witness.stop('SIGTERM'), 0)
      fails(folder, 2, 'does not answer', ...ask('audit'))

      witness = await start(folder, vkey, ...ANYWHERE)
      policyOf(witness)
      fails(folder, 5, 'log_rolled_back', ...ask('old'))
      append(folder, 'audit', 'e')
      run(folder, ...ask('audit'))
      await witness.stop('SIGKILL')

      witness = await start(folder, vkey, ...ANYWHERE)
      policyOf(witness)
      // Another history of the same key and name, as long as the one that was cosigned, and longer.
      append(folder, 'old', 'B', 'C', 'D', 'E')
      fails(folder, 5, 'log_forked', ...ask('old'))
      append(folder, 'old', 'F')
      fails(folder, 5, 'log_forked', ...ask('old'))
      run(folder, ...ask('audit'))
      run(folder, ...verify)
    } finally {
      await witness.stop('SIGKILL')
    }
  }))

test('log witness serve knows its own logs only, and says what is wrong with its flags', () =>
  inFolder(async (folder) => {
    const vkey = makeLog(folder)
    const serve = ['log', 'witness', 'serve', '--key', 'w.pem', ...SECRET, '--store', 'w.db']
    const named = [...serve, '--name', 'witness.example/w']
    fails(folder, 1, 'usage_invalid', ...named)
    for (const address of ['8083', 'localhost', '127.0.0.1:99999', 'a b:1', '::1:80']) {
      fails(folder, 1, 'usage_invalid', ...named, '--vkey', vkey, '--listen', address)
    }
    fails(folder, 2, 'vkey_malformed', ...named, '--vkey', `${vkey}x`)
    fails(folder, 2, 'vkey_malformed', ...serve, '--name', 'a b', '--vkey', vkey)
    run(folder, 'keys', 'new', '--key', 'es.pem', '--algorithm', 'ES256', ...SECRET)
    const other = ['--also-sign', 'es.pem', '--vkey', vkey]
    fails(folder, 7, 'algorithm_unsupported', ...named, ...other, ...ANYWHERE)

    const witness = await start(folder, vkey, ...ANYWHERE)
    try {
      const { host } = new URL(witness.url)
      fails(folder, 2, 'io_failed', ...named, '--vkey', vkey, '--listen', host)
      const stranger = ['--origin', 'example.com/other', '--type', 'a']
      run(folder, 'log', 'append', 'other', ...WRITER, ...stranger)
      const line = `witness w ${witness.vkeys[0]} ${witness.url}`
      writeFileSync(join(folder, 'policy'), `${line}\nquorum w\n`)
      fails(folder, 2, 'answered 404', 'log', 'witness', 'other', ...WRITER, '--policy', 'policy')
      const nonsense = await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body: 'x' })
      assert.equal(nonsense.status, 400)
    } finally {
      await witness.stop('SIGKILL')
    }
  }))
