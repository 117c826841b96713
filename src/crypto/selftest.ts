/**
 * Known-answer self-test of the platform's algorithms, once per process and algorithm, on first use.
 * It decides between WebCrypto and `@noble/*`. `SubtleCrypto.supports()` is not asked: Deno 2.9.6 says
 * yes to ML-DSA with a context, throws on sign, and calls a valid signature false.
 */
import type { Algorithm } from '../algorithms.ts'
import { fromBase64 } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { COMPOSITE_LABEL } from './composite.ts'
import type { Engine, EngineName, KnownAnswer, SigningInput } from './engine.ts'
import { webcrypto } from './webcrypto.ts'

/** The message that known answers sign. */
export const MESSAGE: SigningInput = {
  mode: 'message',
  bytes: new TextEncoder().encode('signet self-test'),
}

/** What a self-test found. */
export interface SelfTest {
  /** The engine that serves from now on; undefined when none does. */
  readonly engine: Engine | undefined
  /** Why it is not the native one; undefined when it is. */
  readonly fault: string | undefined
}

const results = new Map<string, Promise<SelfTest>>()

/** The engine that passed for an algorithm, with or without an ML-DSA context; tested once. */
export function selfTest(algorithm: Algorithm, context: boolean = false): Promise<SelfTest> {
  const id = context ? `${algorithm.name} with context` : algorithm.name
  let result = results.get(id)
  if (result === undefined) {
    result = test(algorithm, context)
    results.set(id, result)
  }
  return result
}

/** The engine for an algorithm: the one asked for, or the one that passed. */
export async function engineFor(
  algorithm: Algorithm,
  options: { readonly engine?: EngineName | undefined; readonly context?: boolean } = {},
): Promise<Engine> {
  if (options.engine === 'noble') return (await import('./noble.ts')).noble
  if (options.engine === 'native') return webcrypto
  const { engine, fault } = await selfTest(algorithm, options.context)
  if (engine !== undefined) return engine
  throw new SignetError('selftest_failed', `${algorithm.name} does not work here: ${fault}`)
}

async function test(algorithm: Algorithm, context: boolean): Promise<SelfTest> {
  const { KNOWN_ANSWERS } = algorithm.family === 'ml-dsa'
    ? await import('./kat_ml_dsa.ts')
    : await import('./kat.ts')
  const known = KNOWN_ANSWERS[context ? `${algorithm.name} with context` : algorithm.name]!
  const fault = await faultOf(webcrypto, algorithm, known, context ? COMPOSITE_LABEL : undefined)
  if (fault === undefined) return { engine: webcrypto, fault }
  if (algorithm.family === 'rsa') return { engine: undefined, fault }
  return { engine: (await import('./noble.ts')).noble, fault }
}

/** What is wrong with an engine's algorithm, or undefined. */
export async function faultOf(
  engine: Engine,
  algorithm: Algorithm,
  known: KnownAnswer,
  context?: Uint8Array,
): Promise<string | undefined> {
  try {
    const publicKey = fromBase64(known.publicKey)
    const signature = fromBase64(known.signature)
    const verify = await engine.verifier(algorithm, publicKey, context)
    if (!await verify(MESSAGE, signature)) return 'it refuses a valid signature'
    const wrong = signature.slice()
    wrong[wrong.length >> 1]! ^= 1
    if (await verify(MESSAGE, wrong)) return 'it accepts an invalid signature'
    if (context !== undefined) {
      const plain = await engine.verifier(algorithm, publicKey)
      if (await plain(MESSAGE, signature)) return 'it ignores the context'
    }
    if (known.privateKey === undefined) return undefined
    const pair = { privateKey: fromBase64(known.privateKey), publicKey }
    const made = await (await engine.signer(algorithm, pair, context)).sign(MESSAGE)
    return await verify(MESSAGE, made) ? undefined : 'it refuses its own signature'
  } catch (error) {
    return `it throws ${(error as Error).name}`
  }
}
