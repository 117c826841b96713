/**
 * `sigstore-kms-signet`: cosign's protocol for key stores, version 1, so that cosign signs with any key of ours
 * (github.com/sigstore/sigstore, pkg/signature/kms/cliplugin). cosign calls a program of that name for keys
 * `signet://URI` with two arguments, `v1` and a JSON object, and the message on standard input; the answer is a
 * JSON object on standard output. Faults are an `errorMessage` in it, and exit code 1.
 */
import process from 'node:process'
import { Command } from 'commander'
import * as v from 'valibot'
import { type Algorithm, algorithm, type AlgorithmName } from '../algorithms.ts'
import { concat, fromBase64, toBase64, utf8 } from '../bytes.ts'
import { ecdsaFromDer, ecdsaToDer } from '../crypto/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { type Key, type Keyring, signMessage, type SignOptions, toPublicPem } from '../keys/mod.ts'
import { conform } from '../schema.ts'
import { action, withKeys } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'

/** What the protocol gives a plugin. */
export interface PluginInput {
  /** The program's arguments. */
  readonly args: readonly string[]
  /** Opens and makes the keys. */
  readonly keyring: () => Promise<Keyring>
  /** All of standard input; asked for at most once, and only where there is a message. */
  readonly message: () => Promise<Uint8Array>
  /** Milliseconds since 1970; for the caller's deadline. Default: the clock. */
  readonly now?: (() => number) | undefined
}

/** What the plugin answers with. */
export interface PluginOutput {
  /** For standard output. */
  readonly out: string
  readonly exitCode: 0 | 1
}

/** Names of hashes by Go's numbers (package crypto). 0 is none. */
const HASHES: Readonly<Record<number, Algorithm['hash']>> = {
  5: 'SHA-256',
  6: 'SHA-384',
  7: 'SHA-512',
}

/** cosign verifies these; the others it cannot read. */
const SUPPORTED: readonly AlgorithmName[] = ['ES256', 'ES384', 'ES512', 'Ed25519', 'RS256']

const Deadline = v.nullish(v.string())
const Options = v.nullish(v.looseObject({
  rpcOptions: v.nullish(v.looseObject({ ctxDeadline: Deadline })),
  messageOptions: v.nullish(
    v.looseObject({ digest: v.nullish(v.string()), hashFunc: v.nullish(v.number()) }),
  ),
}))
const ArgsSchema = v.looseObject({
  initOptions: v.looseObject({
    ctxDeadline: Deadline,
    protocolVersion: v.literal('v1'),
    keyResourceID: v.string(),
    hashFunc: v.optional(v.number()),
  }),
  methodName: v.string(),
  createKey: v.nullish(v.looseObject({ ctxDeadline: Deadline, algorithm: v.string() })),
  signMessage: v.nullish(v.looseObject({ signOptions: Options })),
  verifySignature: v.nullish(v.looseObject({ signature: v.string(), verifyOptions: Options })),
})
type Args = v.InferOutput<typeof ArgsSchema>

interface Call {
  readonly args: Args
  readonly uri: string
  readonly input: PluginInput
  readonly options: SignOptions
}

const METHODS: Readonly<Record<string, (call: Call) => Promise<object> | object>> = {
  defaultAlgorithm: () => ({ defaultAlgorithm: SUPPORTED[0]! }),
  supportedAlgorithms: () => ({ supportedAlgorithms: SUPPORTED }),
  async createKey({ args, uri, input, options }) {
    const { provider, uri: parsed } = (await input.keyring()).provider(uri)
    const entry = algorithm(args.createKey?.algorithm ?? '')
    return await withKey(() => provider.generate(parsed, entry, options), pemOf)
  },
  publicKey: async ({ uri, input, options }) =>
    await withKey(async () => (await input.keyring()).open(uri, options), pemOf),
  signMessage: async ({ args, uri, input, options }) =>
    await withKey(async () => (await input.keyring()).open(uri, options), async (key) => {
      const { family } = key.publicKey.algorithm
      const digest = digestOf(key, args, args.signMessage?.signOptions)
      const raw = digest === undefined
        ? await signMessage(key, await input.message(), options)
        : await key.sign({ mode: 'digest', bytes: digest }, options)
      // RSA digests alone are not verified here: no engine takes them. cosign does it in a moment.
      if (digest !== undefined && family !== 'rsa') await verify(key, { digest }, raw)
      return { signature: toBase64(family === 'ecdsa' ? ecdsaToDer(raw) : raw) }
    }),
  verifySignature: async ({ args, uri, input, options }) =>
    await withKey(async () => (await input.keyring()).open(uri, options), async (key) => {
      const { family, signatureBytes } = key.publicKey.algorithm
      const given = fromBase64(args.verifySignature?.signature ?? '', 'signature')
      const raw = family === 'ecdsa' ? ecdsaFromDer(given, signatureBytes!) : given
      const digest = digestOf(key, args, args.verifySignature?.verifyOptions)
      await verify(key, digest === undefined ? { message: await input.message() } : { digest }, raw)
      return {}
    }),
}

/** Answers one call of the protocol. Throws nothing. */
export async function cosignPlugin(input: PluginInput): Promise<PluginOutput> {
  try {
    const [version, text = ''] = input.args
    if (version !== 'v1') {
      throw new SignetError('usage_invalid', 'the only version of the protocol known here is v1')
    }
    const value = parseJson(text, { what: 'arguments', maxBytes: 2 ** 20 })
    const args = conform(ArgsSchema, value, 'usage_invalid', 'arguments')
    const method = Object.hasOwn(METHODS, args.methodName) ? METHODS[args.methodName] : undefined
    if (method === undefined) throw new SignetError('usage_invalid', 'the method is not known')
    const uri = args.initOptions.keyResourceID.replace(/^signet:\/\//, '')
    const options = { signal: deadlineOf(args, input.now ?? Date.now) }
    const answer = await method({ args, uri, input, options })
    return { out: JSON.stringify({ [args.methodName]: answer }), exitCode: 0 }
  } catch (error) {
    const errorMessage = isSignetError(error)
      ? `${error.message} [${error.code}]`
      : `fault in signet itself: ${(error as Error)?.name}`
    return { out: JSON.stringify({ errorMessage }), exitCode: 1 }
  }
}

async function withKey<T>(
  open: () => Promise<Key>,
  work: (key: Key) => T | Promise<T>,
): Promise<T> {
  const key = await open()
  try {
    return await work(key)
  } finally {
    await key.close()
  }
}

function pemOf(key: Key): object {
  return { publicKeyPEM: toBase64(utf8(toPublicPem(key.publicKey))) }
}

/** The digest in place of a message, if there is one. cosign's hash must be that of the key's algorithm. */
function digestOf(
  { publicKey }: Key,
  { initOptions }: Args,
  options: v.InferOutput<typeof Options>,
): Uint8Array | undefined {
  const { family, hash, name } = publicKey.algorithm
  const { hashFunc, digest } = options?.messageOptions ?? {}
  const number = hashFunc || initOptions.hashFunc || 0
  const prehashed = family === 'ecdsa' || family === 'rsa'
  if (prehashed && number !== 0 && HASHES[number] !== hash) {
    throw new SignetError(
      'algorithm_unsupported',
      `cosign wants another hash than ${hash} (${name})`,
      {
        remedy: 'cosign’s default is SHA-256: use a P-256 key',
      },
    )
  }
  return digest ? fromBase64(digest, 'digest') : undefined
}

async function verify(
  { publicKey }: Key,
  over: { readonly message: Uint8Array } | { readonly digest: Uint8Array },
  signature: Uint8Array,
): Promise<void> {
  const input = 'message' in over ? over.message : { mode: 'digest', bytes: over.digest } as const
  if (await publicKey.verify(input, signature)) return
  throw new SignetError('signature_invalid', 'the signature does not hold')
}

/** Go's contexts: the earliest deadline that a call names. */
function deadlineOf(args: Args, now: () => number): AbortSignal | undefined {
  const deadlines = [
    args.initOptions.ctxDeadline,
    args.createKey?.ctxDeadline,
    args.signMessage?.signOptions?.rpcOptions?.ctxDeadline,
    args.verifySignature?.verifyOptions?.rpcOptions?.ctxDeadline,
  ].flatMap((text) => text ? [Date.parse(text)] : []).filter((at) => !Number.isNaN(at))
  if (deadlines.length === 0) return undefined
  const left = Math.min(...deadlines) - now()
  return left <= 0 ? AbortSignal.abort() : AbortSignal.timeout(Math.min(left, 2 ** 31 - 1))
}

/** Longest message taken from standard input. */
const MAX_MESSAGE = 2 ** 30

/** The command `signet cosign-plugin`: a script named `sigstore-kms-signet` hands its arguments to it. */
export function cosignPluginCommand(context: CliContext): Command {
  return withKeys(new Command('cosign-plugin'))
    .description('answer cosign as the program sigstore-kms-signet (keys signet://URI)')
    .argument('[arguments...]', 'what cosign gives: v1 and a JSON object')
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
    .action(action(context, async (run: Run, _flags: CommonFlags, args: string[]) => {
      const { out, exitCode } = await cosignPlugin({
        args,
        keyring: () => run.keyring(),
        message: readStandardInput,
      })
      run.terminal.out(out + '\n')
      return exitCode
    }))
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Uint8Array)
    length += (chunk as Uint8Array).length
    if (length > MAX_MESSAGE) throw new SignetError('too_large', 'the message exceeds 1 GiB')
  }
  return concat(...chunks)
}
