/** `signet log witness`: have witnesses cosign a log, and be one. */
import process from 'node:process'
import type { Command } from 'commander'
import { formatVkey, noteSigner, type NoteVerifier, parseVkey } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import {
  LOG_SCHEMES,
  parsePolicy,
  requestCosignature,
  treeHasher,
  WITNESS_SCHEMES,
  type WitnessedLog,
  witnessHandler,
} from '../log/mod.ts'
import { action, group, several, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { withWriter, type WriterFlags, writing } from './log_writer.ts'
import { trustOf } from './log_trust.ts'
import { printable } from './text.ts'

const EXAMPLES = `
Examples:
  signet keys new --key witness.pem --algorithm Ed25519
  signet log witness serve --key witness.pem --name witness.example/w1 --vkey example.com/audit+… \\
    --store witness.db --listen 127.0.0.1:8083
  signet log witness ask audit --key log.pem --policy policy.txt

The serving witness prints the line that names it in a policy. A policy of one log and that witness:
  log example.com/audit+…
  witness w1 witness.example/w1+… http://127.0.0.1:8083
  quorum w1
"log witness audit …" is short for "log witness ask audit …".`

/** The commands below `log witness`. */
export function witnessCommands(context: CliContext): Command {
  const witness = group(context, 'witness', 'have witnesses cosign a log, and be one')
    .addHelpText('after', EXAMPLES)
  withWriter(witness.command('ask', { isDefault: true }))
    .description("have a policy's witnesses cosign the newest checkpoint")
    .argument('<log>', 'folder of the log')
    .requiredOption('--policy <file>', 'who the witnesses are (C2SP tlog-policy, with URLs)')
    .action(action(context, ask))
  withKeys(witness.command('serve'))
    .description('cosign checkpoints that only grow (C2SP tlog-witness), until stopped')
    .requiredOption('--key <uri>', "the witness's Ed25519 or ML-DSA-44 key")
    .option('--also-sign <uri>', 'a further key that cosigns', several)
    .requiredOption('--name <name>', "the witness's name, such as witness.example/w1")
    .requiredOption(
      '--store <file>',
      'what it remembers (SQLite, made if need be); never roll it back',
    )
    .option('--vkey <text>', 'verifier key of a log to witness, name+id+base64', several)
    .option('--policy <file>', 'or a file whose log lines name them (C2SP tlog-policy)')
    .option('--listen <address>', 'host and port; TLS is for a proxy before it', '127.0.0.1:8083')
    .action(action(context, serve))
  return witness
}

async function ask(
  run: Run,
  flags: WriterFlags & { policy: string },
  folder: string,
): Promise<number> {
  return await writing(run, folder, flags, async (log) => {
    const { policy } = await trustOf(run, flags, log.origin)
    const current = await log.checkpoint()
    const gathered: string[] = []
    const answers: { witness: string; ok: boolean; error?: string }[] = []
    for (const one of policy!.witnesses.filter(({ url }) => url !== undefined)) {
      try {
        const got = await requestCosignature(one, log.view(), current, { signal: run.signal })
        gathered.push(...got)
        answers.push({ witness: one.name, ok: true })
      } catch (error) {
        if (!(error instanceof SignetError) || error.code === 'aborted') throw error
        // A witness that knows another history is no mere outage.
        if (error.kind === 'content') throw error
        answers.push({ witness: one.name, ok: false, error: error.message })
      }
    }
    if (gathered.length > 0) await log.cosign(current, gathered)
    const text = answers.map(({ witness, ok, error }) =>
      `${printable(witness)}: ${ok ? 'cosigned' : printable(error!)}`
    )
    run.answer({ size: current.size, answers }, text.join('\n'))
    return answers.some(({ ok }) => ok) ? 0 : 2
  })
}

interface ServeFlags extends CommonFlags {
  readonly key: string
  readonly alsoSign?: string[]
  readonly name: string
  readonly store: string
  readonly vkey?: string[]
  readonly policy?: string
  readonly listen: string
}

async function serve(run: Run, flags: ServeFlags): Promise<void> {
  const address = parseAddress(flags.listen)
  const logs = await witnessedLogs(run, flags)
  const keys: Key[] = []
  const store = await run.backends.witnessStore(flags.store)
  try {
    const ring = await run.keyring()
    for (const uri of [flags.key, ...flags.alsoSign ?? []]) keys.push(await ring.open(uri))
    const signers = await Promise.all(keys.map((key) => cosigner(flags.name, key)))
    const answer = witnessHandler({
      logs,
      signers,
      store,
      hasher: treeHasher(await run.backends.sha256()),
    })
    const server = await run.backends.serveHttp(async (request) => {
      const response = await answer(request)
      run.say(`${request.method} ${printable(new URL(request.url).pathname)} ${response.status}`)
      return response
    }, { ...address, onFault: (error) => run.say(`warning: ${printable(String(error))}`) })
    try {
      const vkeys = signers.map(({ verifier }) => formatVkey(verifier))
      const names = logs.map(({ origin }) => printable(origin)).join(', ')
      run.answer(
        { url: server.url, name: flags.name, vkeys, logs: logs.map(({ origin }) => origin) },
        [
          `${server.url} witnesses ${names}; in a policy it is`,
          // A policy wants each name once.
          ...vkeys.map((vkey, i) =>
            `witness ${flags.name}${i === 0 ? '' : `.${i + 1}`} ${vkey} ${server.url}`
          ),
        ].join('\n'),
      )
      await stopped(run.signal)
    } finally {
      await server.close()
    }
  } finally {
    for (const key of keys) await key.close()
    store.close()
  }
}

async function cosigner(name: string, key: Key) {
  const { name: algorithm } = key.publicKey.algorithm
  const scheme = WITNESS_SCHEMES.find((one) => one.algorithm.name === algorithm)
  if (scheme !== undefined) return await noteSigner(name, key, { scheme })
  throw new SignetError('algorithm_unsupported', `${algorithm} keys cosign no checkpoints`, {
    remedy: 'use an Ed25519 or ML-DSA-44 key',
  })
}

/** The logs of the flags; keys of the same name are those of one log. */
async function witnessedLogs(run: Run, flags: ServeFlags): Promise<WitnessedLog[]> {
  const verifiers = await Promise.all(
    (flags.vkey ?? []).map((text) => parseVkey(text, LOG_SCHEMES)),
  )
  if (flags.policy !== undefined) {
    verifiers.push(...(await parsePolicy(await run.backends.readFile(flags.policy, 2 ** 21))).logs)
  }
  if (verifiers.length === 0) {
    throw new SignetError('usage_invalid', 'nothing says which logs to witness', {
      remedy: "give a log's verifier key: --vkey; log checkpoint --json prints it",
    })
  }
  const logs = new Map<string, NoteVerifier[]>()
  for (const one of verifiers) logs.set(one.name, [...logs.get(one.name) ?? [], one])
  return [...logs].map(([origin, verifiers]) => ({ origin, verifiers }))
}

function parseAddress(text: string): { host: string; port: number } {
  const [, bracketed, plain, port = ''] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/
    .exec(text) ?? []
  const host = bracketed ?? plain
  if (host === undefined || Number(port) > 65_535) {
    throw new SignetError('usage_invalid', `${printable(text)} is no address to listen at`, {
      remedy: 'such as 127.0.0.1:8083 or [::1]:8083; port 0 takes a free one',
    })
  }
  return { host, port: Number(port) }
}

/** Resolves when the run is to end: Ctrl-C, or a service manager's SIGTERM. */
function stopped(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    signal?.addEventListener('abort', () => resolve(), { once: true })
    process.once('SIGTERM', () => resolve())
  })
}
